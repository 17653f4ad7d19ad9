//! Our own program in the place where the debugger is to run. It asks the session what to execute, so
//! that no terminal ever sees a value of a traced process, and executes that in its own place, so
//! that its pid is the debugger's.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::SigSet;
use serde::{Deserialize, Serialize};

use super::command::ReadyWord;
use crate::control::{self, Reply, Request};
use crate::identity::Identity;
use crate::report::Trouble;
use crate::sys;

/// The hidden subcommand that [`run`]s, and the one with a terminal of its own ([`super::relay`]).
pub const SUBCOMMAND: &str = "shim";
pub const RELAY_SUBCOMMAND: &str = "shim-here";

/// What a shim is to execute.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub words: Vec<ReadyWord>,
    /// The environment in which tracexec was started.
    pub environment: Vec<(OsString, OsString)>,
    pub identity: Option<Identity>,
}

/// Variables that say what terminal this is: the shim's own hold, not those of where tracexec runs.
const OF_THE_TERMINAL: [&str; 22] = [
    "TERM",
    "COLORTERM",
    "TERMINFO",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WINDOW",
    "WINDOWID",
    "LINES",
    "COLUMNS",
    "VTE_VERSION",
    "KITTY_WINDOW_ID",
    "KITTY_PID",
    "WEZTERM_PANE",
    "KONSOLE_VERSION",
    "ALACRITTY_WINDOW_ID",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "INSIDE_EMACS",
    "NVIM",
];

/// Asks the session behind `socket` what to execute for `hit`, and becomes that.
pub fn run(socket: &Path, hit: u64) -> Result<(), Trouble> {
    // The session and the relay block signals for their own sake; the debugger lives by them.
    let _ = SigSet::empty().thread_set_mask();
    if control::is_foreign(socket) {
        return offer_terminal(socket, hit);
    }
    Err(become_debugger(socket, hit))
}

/// In a terminal of the user who called sudo, the debugger must be root's all the same: the session
/// is given the terminal, and runs it there.
fn offer_terminal(socket: &Path, hit: u64) -> Result<(), Trouble> {
    match control::offer_terminal(socket, hit) {
        Ok(Reply::Refused(why)) => Err(Trouble::new(format!("no debugger for hit {hit}: {why}"))),
        Ok(_) => Ok(()),
        Err(error) => Err(Trouble::new(format!("the session has ended: {error}"))),
    }
}

fn become_debugger(socket: &Path, hit: u64) -> Trouble {
    // As long as it takes: the session may have to wait for the process.
    let reply = control::ask(socket, &Request::Shim(hit), None);
    let order = match reply {
        Ok(Reply::Execute(order)) => order,
        Ok(Reply::Refused(why)) => {
            return Trouble::new(format!("no debugger for hit {hit}: {why}"));
        }
        Ok(_) => return Trouble::new("the session gave an answer that was not asked for"),
        Err(error) => {
            return Trouble::new(format!(
                "cannot ask the session at {}: {error}",
                socket.display()
            ))
            .hint("the process has been let go; run tracexec again");
        }
    };
    execute(*order)
}

/// Executes the order in place of this process.
fn execute(order: Order) -> Trouble {
    let mut words = Vec::new();
    let mut scripts = Vec::new();
    for word in order.words {
        match word {
            ReadyWord::Text(text) => words.push(text),
            ReadyWord::File(content) => match file(&content) {
                Ok((path, file)) => {
                    words.push(path.into());
                    scripts.push(file);
                }
                Err(error) => {
                    return Trouble::new(format!("cannot make a debugger script: {error}"));
                }
            },
        }
    }
    let Some((program, arguments)) = words.split_first() else {
        return Trouble::new("the session sent an empty command");
    };
    let own: Vec<(&str, Option<OsString>)> =
        OF_THE_TERMINAL.iter().map(|&name| (name, std::env::var_os(name))).collect();
    let mut environment = order.environment;
    if let Some(identity) = order.identity.as_ref().filter(|identity| !identity.is_ours()) {
        identity.adjust(&mut environment);
        if !identity.assume() {
            let error = io::Error::last_os_error();
            return Trouble::new(format!("cannot become user {}: {error}", identity.name));
        }
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment);
    for (name, value) in own {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    sys::inherit(&mut command, scripts.iter().map(File::as_raw_fd).collect());
    let error = command.exec();
    let shown = crate::escape::word(program.as_bytes());
    Trouble::new(format!("cannot execute {shown}: {error}"))
}

/// A file in memory, and its path in a program that inherits it.
pub fn file(content: &str) -> io::Result<(String, File)> {
    let name = CString::new("tracexec-script")?;
    let mut file = File::from(memfd_create(name.as_c_str(), MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content.as_bytes())?;
    file.rewind()?;
    Ok((format!("/dev/fd/{}", file.as_raw_fd()), file))
}
