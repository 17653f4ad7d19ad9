//! `--elevate`: the same command line again by sudo(8), with COMMAND left as it would have been.
//!
//! We become sudo, so that its process, whose number we pass on, still shows the caller's environment in
//! /proc; root reads it there, since sudo(8) keeps little of it, and what stands on a command line is seen by
//! everybody. The ids are on the command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, getgroups};

use crate::linux::caller;
use crate::linux::identity::Identity;
use crate::linux::sys;
use crate::machine::procfs;
use crate::text::report::Trouble;

/// Tells us, in our second life as root, that our environment is the caller's by now.
const DRESSED: &str = "TRACEXEC_ELEVATED";
/// What is left out of root's own environment: who may become root need not lend root his libraries.
const NOT_FOR_ROOT: [&[u8]; 3] = [b"LD_", b"GCONV_PATH", b"GLIBC_TUNABLES"];

/// The caller of `--elevate`: `PID,UID,GID,UMASK,GROUP...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elevated {
    /// sudo's process, which was ours.
    pid: sys::Pid,
    uid: u32,
    gid: u32,
    umask: u32,
    groups: Vec<u32>,
}

impl FromStr for Elevated {
    type Err = String;

    fn from_str(text: &str) -> Result<Elevated, String> {
        let wrong = || format!("{text} is not PID,UID,GID,UMASK,GROUP...");
        let numbers: Option<Vec<u32>> = text.split(',').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some([pid, uid, gid, umask, groups @ ..]) => Ok(Elevated {
                pid: i32::try_from(*pid).map_err(|_| wrong())?,
                uid: *uid,
                gid: *gid,
                umask: *umask,
                groups: groups.to_vec(),
            }),
            _ => Err(wrong()),
        }
    }
}

/// Runs our own command line again by sudo. Returns only if that cannot be done.
pub fn by_sudo() -> Trouble {
    // It can be read by being set only; nobody else makes files yet.
    let mask = umask(Mode::empty());
    umask(mask);
    let ids = [std::process::id(), Uid::current().as_raw(), Gid::current().as_raw(), mask.bits()];
    let groups = getgroups().unwrap_or_default().into_iter().map(Gid::as_raw);
    let ids: Vec<String> = ids.into_iter().chain(groups).map(|id| id.to_string()).collect();
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return Trouble::new(format!("--elevate: cannot find our own file: {error}")),
    };
    let error = Command::new("sudo")
        .arg("--")
        .arg(own)
        .arg(format!("--elevated={}", ids.join(",")))
        .args(std::env::args_os().skip(1))
        .exec();
    Trouble::new(format!("--elevate: cannot run sudo: {error}"))
        .hint("install sudo, or run tracexec as root, with -u for the user of COMMAND")
}

impl Elevated {
    /// As root: takes over the caller's environment. Returns if it is ours already, or if that cannot be done.
    pub fn dress(&self) -> Result<(), Trouble> {
        if std::env::var_os(DRESSED).is_some() {
            caller::owns_what_is_made(self.uid, self.gid);
            return Ok(());
        }
        if caller::caller() != Some((self.uid, self.gid)) {
            return Err(Trouble::new("--elevated: it was not sudo that ran this for that user")
                .hint("the option is tracexec's own: say --elevate"));
        }
        let own = std::env::current_exe();
        let own = own.map_err(|error| {
            Trouble::new(format!("--elevate: cannot find our own file: {error}"))
        })?;
        let safe = |(name, _): &(OsString, OsString)| {
            !NOT_FOR_ROOT.iter().any(|start| name.as_bytes().starts_with(start))
        };
        let by_sudo = std::env::vars_os().filter(|(name, _)| {
            matches!(name.as_bytes(), b"SUDO_UID" | b"SUDO_GID" | b"SUDO_USER" | b"SUDO_COMMAND")
        });
        let error = Command::new(own)
            .args(std::env::args_os().skip(1))
            .env_clear()
            .envs(self.environment()?.into_iter().filter(safe))
            .envs(by_sudo)
            .env(DRESSED, "1")
            .exec();
        Err(Trouble::new(format!("--elevate: cannot run ourselves again: {error}")))
    }

    /// The caller's environment.
    fn environment(&self) -> Result<Vec<(OsString, OsString)>, Trouble> {
        let block = procfs::read(self.pid, "environ").map_err(|error| {
            Trouble::new(format!(
                "--elevate: cannot read the environment of process {}, which is sudo's: {error}",
                self.pid
            ))
        })?;
        Ok(procfs::variables(&block).collect())
    }

    /// Whom COMMAND is to run as.
    pub fn identity(&self) -> Result<Identity, Trouble> {
        // Whoever has the number is to be the one who called us.
        let sudo = Pid::from_raw(self.pid);
        if !ancestors().contains(&sudo) {
            return Err(Trouble::new(format!("--elevate: process {} is not above us", self.pid)));
        }
        umask(Mode::from_bits_truncate(self.umask));
        Ok(Identity::exactly(self.uid, self.gid, self.groups.clone(), self.environment()?))
    }
}

/// Our parents, up to the first.
fn ancestors() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut at = Pid::this();
    while let Ok(stat) = procfs::Stat::read(at.as_raw())
        && stat.ppid != 0
    {
        at = Pid::from_raw(stat.ppid);
        found.push(at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_told_by_numbers() {
        let expected = Elevated { pid: 7, uid: 1000, gid: 100, umask: 0o22, groups: vec![100, 27] };
        assert_eq!("7,1000,100,18,100,27".parse(), Ok(expected));
        for wrong in ["", "1,2,3", "a,b,c,d", "4294967295,0,0,0"] {
            assert!(wrong.parse::<Elevated>().is_err(), "{wrong}");
        }
    }
}
