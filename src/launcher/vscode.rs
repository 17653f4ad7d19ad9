//! VS Code, and what else reads its launch.json.
//!
//! - [`document`]: the file's text, edited without touching what is not ours;
//! - [`ours`]: which entries are ours, and their coming and going;
//! - [`kind`]: the debugger types, and which one to take;
//! - [`attach`], [`launch`]: what an entry says, from [`again`] where a program is to be run again;
//! - [`text`]: which values of a process may stand there at all;
//! - [`workspace`]: the file, read and written;
//! - [`ask`]: asking a running editor to begin.

pub mod again;
pub mod ask;
pub mod attach;
pub mod document;
mod gap;
pub mod kind;
pub mod launch;
mod ours;
pub mod text;
pub mod workspace;
