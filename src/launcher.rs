//! From a template to a debugger that runs.
//!
//! - [`template`] and [`terminal`]: the files under `launch-templates/`, parsed and checked once;
//! - [`catalog`]: which of them there are, built in and the user's own;
//! - [`inherit`]: templates that are like another one;
//! - [`image`]: what kind of program was executed, and [`choice`]: which debugger that calls for;
//! - [`inside`]: how a process in a container or the like sees itself and its files;
//! - [`listen`]: where a debugger listens that is used from elsewhere;
//! - [`command`]: a template and a hit's values become words, never a shell's line;
//! - [`place`]: the terminal in which those words run, and [`caller`]: whose it is under sudo;
//! - [`shim`]: our own program in that place, which asks the session what to execute;
//! - [`editor`], [`vscode`]: an editor that attaches by itself, or when its user presses a key;
//! - [`relay`]: a terminal of the debugger's own inside this one, for the place `here`.

pub mod catalog;
pub mod choice;
pub mod command;
pub mod control;
pub mod editor;
pub mod image;
mod inherit;
pub mod inside;
pub mod place;
pub mod relay;
pub mod shim;
pub mod template;
pub mod terminal;
pub mod vscode;
