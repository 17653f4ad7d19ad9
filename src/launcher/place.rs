//! The terminal in which a debugger runs.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
        if variable("TMUX").is_some_and(|tmux| is_our_tmux(&tmux)) && which::which("tmux").is_ok() {
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
                format!("there are auto, {}; `tracexec templates` tells more", names.join(", ")),
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
        for name in &terminal.env {
            let Some(value) = variable(name) else {
                return Err(Trouble::new(format!(
                    "--in {}: ${name} is not set, so this is no such terminal",
                    terminal.name
                ))
                .hint("start tracexec inside it, or choose another place with --in"));
            };
            env.push((name.clone(), value));
        }
        if terminal.shares_terminal && File::open("/dev/tty").is_err() {
            return Err(Trouble::new(format!("--in {name}: this process has no terminal"))
                .hint("choose --in tmux, or --in background with a debugger that needs nobody"));
        }
        let otherwise = match &terminal.otherwise {
            Some(other) => Some(Box::new(Place::named(other, catalog)?)),
            None => None,
        };
        Ok(Place { terminal: terminal.clone(), env, otherwise })
    }

    /// Starts the shim there, for `hit`.
    pub fn start(&self, socket: &Path, hit: u64, pid: Pid) -> io::Result<Child> {
        let own = std::env::current_exe()?;
        let subcommand =
            if self.terminal.shares_terminal { shim::RELAY_SUBCOMMAND } else { shim::SUBCOMMAND };
        let shim: Vec<OsString> =
            vec![own.into(), subcommand.into(), socket.into(), hit.to_string().into()];
        let dir = std::env::current_dir()?;
        let env =
            |name: &str| self.env.iter().find(|(have, _)| have == name).map(|(_, v)| v.clone());
        let values = PlaceValues { shim: &shim, dir: &dir, hit, pid, env: &env };
        let words = place_words(&self.terminal.command, &values);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if self.terminal.attached {
            command.stdin(Stdio::null()).stdout(io::stderr());
            sys::own_session(&mut command, false);
        } else if !self.terminal.shares_terminal {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        }
        command.spawn()
    }
}

/// A variable of our environment or, under sudo, which drops most, of the one who called it.
fn variable(name: &str) -> Option<OsString> {
    let ours = std::env::var_os(name).filter(|value| !value.is_empty());
    if ours.is_some() || std::env::var_os("SUDO_UID").is_none() {
        return ours;
    }
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
            return Some(OsString::from_vec(value.to_vec()));
        }
    }
    None
}

/// Whether panes of that server run as the user that we are: $TMUX is "socket,pid,session".
fn is_our_tmux(tmux: &OsString) -> bool {
    let socket = tmux.to_string_lossy();
    let socket = socket.split(',').next().unwrap_or_default();
    std::fs::metadata(socket)
        .is_ok_and(|metadata| metadata.uid() == nix::unistd::Uid::effective().as_raw())
}
