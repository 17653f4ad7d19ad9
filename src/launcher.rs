//! From a template to a debugger that runs.
//!
//! - [`template`]: the files under `launch-templates/`, parsed and checked once;
//! - [`catalog`]: which of them there are, built in and the user's own;
//! - [`command`]: a template and a hit's values become words, never a shell's line;
//! - [`place`]: the terminal in which those words run;
//! - [`shim`]: our own program in that place, which asks the session what to execute;
//! - [`editor`], [`vscode`]: an editor that attaches by itself, or when its user presses a key;
//! - [`relay`]: a terminal of the debugger's own inside this one, for the place `here`.

pub mod catalog;
pub mod command;
pub mod editor;
pub mod place;
pub mod relay;
pub mod shim;
pub mod template;
pub mod vscode;
