//! The user who called us by sudo, and his environment, of which sudo drops most.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Uid;

use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Stat, Status};

/// He in whose terminal we are, if he is not us.
#[derive(Debug, Clone)]
pub struct Caller {
    pub uid: u32,
    gid: u32,
    environment: Vec<u8>,
}

/// How far up he is looked for: past sudo, and what it puts between to watch over a terminal.
const FURTHEST: usize = 8;

impl Caller {
    pub fn find() -> Option<Caller> {
        let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
        if uid == Uid::effective().as_raw() {
            return None;
        }
        let (pid, status) = ancestors()
            .filter_map(|pid| Some((pid, Status::read(pid).ok()?)))
            .find(|(_, status)| status.real_uid == uid)?;
        let environment = procfs::read(pid, "environ").ok()?;
        Some(Caller { uid, gid: status.gid, environment })
    }

    pub fn variable(&self, name: &str) -> Option<OsString> {
        let value = procfs::variable(&self.environment, name.as_bytes())?;
        (!value.is_empty()).then(|| OsString::from_vec(value.to_vec()))
    }

    /// Has a command run as him, in his environment.
    pub fn run(&self, command: &mut Command) {
        let variables = procfs::variables(&self.environment);
        command.env_clear().envs(variables).uid(self.uid).gid(self.gid);
    }
}

fn ancestors() -> impl Iterator<Item = Pid> {
    let parent = |pid: &Pid| Stat::read(*pid).ok().map(|stat| stat.ppid).filter(|&pid| pid > 1);
    std::iter::successors(parent(&(std::process::id() as Pid)), parent).take(FURTHEST)
}

/// A variable of our own environment.
pub fn own_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
