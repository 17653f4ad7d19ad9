//! tracexec stops the exec you are looking for, deep in a process tree, and hands it to your debugger.
//!
//! ARCHITECTURE.md tells how the modules belong together.

pub mod caller;
pub mod cgroup;
pub mod children;
pub mod cli;
pub mod commands;
pub mod complete;
pub mod config;
pub mod control;
pub mod diagnose;
pub mod doctor;
pub mod dump;
pub mod elevate;
pub mod escape;
pub mod event;
pub mod fault;
pub mod files;
pub mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod guardian;
pub mod hits;
pub mod identity;
pub mod journal;
pub mod json;
pub mod judge;
pub mod launcher;
pub mod moment;
pub mod notify;
pub mod outlet;
pub mod procfs;
pub mod report;
pub mod repro;
pub mod responses;
pub mod save;
pub mod session;
pub mod settings;
pub mod source;
pub mod suggest;
pub mod sys;
pub mod trace;
pub mod wrapped;

pub use commands::run;
