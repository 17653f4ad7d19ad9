//! The terminal in which a debugger runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::Uid;

use super::catalog::{self, Catalog};
use super::command::{PlaceValues, place_words};
use super::shim;
use super::template::Terminal;
use crate::procfs;
use crate::report::Trouble;
use crate::sys::{self, Pid};

/// A terminal that was chosen, with what it needs of the environment.
#[derive(Debug, Clone)]
pub struct Place {
    pub terminal: Terminal,
    env: Vec<(String, OsString)>,
    /// What runs there runs as this user, who is not us: he called us by sudo, in his terminal.
    pub foreign: Option<u32>,
    /// Where to go if this one has no room.
    pub otherwise: Option<Box<Place>>,
}

impl Place {
    /// Finds the place of that name; `auto` for the one that fits where we are.
    pub fn choose(name: &str, interactive: bool, catalog: &Catalog) -> Result<Place, Trouble> {
        if name != "auto" {
            return Place::named(name, catalog);
        }
        if !interactive {
            return Place::named("background", catalog);
        }
        if variable("TMUX").is_some() && which::which("tmux").is_ok() {
            return Place::named("tmux", catalog);
        }
        if File::open("/dev/tty").is_ok() {
            return Place::named("here", catalog);
        }
        Err(Trouble::new("there is no terminal here in which a debugger could run (--in auto)").hint(
            "run it in tmux or a terminal; or choose --in background with a debugger that needs \
             nobody, such as --debugger gdb-backtrace or gdbserver; or --hold",
        ))
    }

    fn named(name: &str, catalog: &Catalog) -> Result<Place, Trouble> {
        let Some(terminal) = catalog.terminal(name) else {
            let names: Vec<&str> =
                catalog.terminals.iter().map(|entry| entry.template.name.as_str()).collect();
            return Err(Trouble::new(format!("--in {name}: there is no such place")).hint(
                format!(
                    "there are auto, vscode, {}; `tracexec templates` tells more",
                    names.join(", ")
                ),
            ));
        };
        let (_, missing) = catalog::look_up(&[], &terminal.needs);
        if let Some(missing) = missing.first() {
            return Err(Trouble::new(format!(
                "--in {name}: the program {missing} is not installed"
            ))
            .hint(format!("install {missing}, or choose another place with --in")));
        }
        let mut env = Vec::new();
        let mut foreign = None;
        for name in &terminal.env {
            let Some((value, owner)) = variable(name) else {
                return Err(Trouble::new(format!(
                    "--in {}: ${name} is not set, so this is no such terminal",
                    terminal.name
                ))
                .hint("start tracexec inside it, or choose another place with --in"));
            };
            env.push((name.clone(), value));
            foreign = foreign.or(owner.filter(|&uid| uid != Uid::effective().as_raw()));
        }
        if terminal.shares_terminal && File::open("/dev/tty").is_err() {
            return Err(Trouble::new(format!("--in {name}: this process has no terminal"))
                .hint("choose --in tmux, or --in background with a debugger that needs nobody"));
        }
        let otherwise = match &terminal.otherwise {
            Some(other) => Some(Box::new(Place::named(other, catalog)?)),
            None => None,
        };
        Ok(Place { terminal: terminal.clone(), env, foreign, otherwise })
    }

    /// The variable of that name which it needs.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_os_str())
    }

    /// Starts the shim there, for `hit`.
    pub fn start(&self, socket: &Path, hit: u64, pid: Pid) -> io::Result<Child> {
        let own = std::env::current_exe()?;
        let subcommand =
            if self.terminal.shares_terminal { shim::RELAY_SUBCOMMAND } else { shim::SUBCOMMAND };
        let shim: Vec<OsString> =
            vec![own.into(), subcommand.into(), socket.into(), hit.to_string().into()];
        let dir = std::env::current_dir()?;
        let env = |name: &str| self.variable(name).map(OsStr::to_os_string);
        let values = PlaceValues { shim: &shim, dir: &dir, hit, pid, env: &env };
        let words = place_words(&self.terminal.command, &values);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if self.terminal.attached {
            command.stdin(Stdio::null()).stdout(io::stderr());
            sys::own_session(&mut command, sys::Controlling::Nothing);
        } else if !self.terminal.shares_terminal {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            sys::unblocked(&mut command);
        }
        command.spawn()
    }
}

/// Runs the shim for `hit` on a terminal that another user has offered.
pub fn start_on(terminal: OwnedFd, socket: &Path, hit: u64) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(shim::SUBCOMMAND).arg(socket).arg(hit.to_string());
    command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
    sys::own_session(&mut command, sys::Controlling::StdinOfAnother);
    command.spawn()
}

/// A variable of our environment or, under sudo, which drops most, of the one who called it, and then
/// his user id.
pub fn variable(name: &str) -> Option<(OsString, Option<u32>)> {
    if let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) {
        return Some((value, None));
    }
    let caller = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    let mut pid = std::process::id() as Pid;
    // Past sudo, and the process that it may put between to watch over a terminal.
    for _ in 0..8 {
        pid = procfs::Stat::read(pid).ok()?.ppid;
        if pid <= 1 {
            return None;
        }
        let block = std::fs::read(procfs::path(pid, "environ")).ok()?;
        if let Some(value) = procfs::variable(&block, name.as_bytes())
            && !value.is_empty()
        {
            return Some((OsString::from_vec(value.to_vec()), Some(caller)));
        }
    }
    None
}
