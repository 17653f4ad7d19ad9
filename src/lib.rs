//! tracexec stops the exec you are looking for, deep in a process tree, and hands it to your debugger.
//!
//! ARCHITECTURE.md tells how the modules belong together.

pub mod cli;
pub mod commands;
pub mod debug;
pub mod event;
pub mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod launcher;
pub mod linux;
pub mod machine;
pub mod source;
pub mod text;
pub mod trace;

pub use commands::run;
