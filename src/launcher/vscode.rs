//! VS Code and what reads its launch.json.
//!
//! - [`document`]: the file's text, edited without touching what is not ours.

pub mod document;
mod gap;
