//! The places in which a debugger is shown, each with a real terminal: panes of a tmux server.

mod failures;
mod here;
mod hostile;
mod odd_paths;
mod panes;
mod screen;
mod sessions;
mod users;
