//! The user that COMMAND and its debuggers run as.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use serde::{Deserialize, Serialize};

use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Status};

/// A user's ids, resolved beforehand: between fork and exec nothing can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    variables: Variables,
}

/// What becomes of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Variables {
    /// It tells of the user, as su(1) has it.
    OfUser { home: OsString, shell: OsString },
    /// It is this one.
    Exactly(Vec<(OsString, OsString)>),
}

impl Identity {
    /// Looks a user up by name. `Ok(None)`: there is none.
    pub fn of(name: &str) -> nix::Result<Option<Identity>> {
        let Some(user) = User::from_name(name)? else { return Ok(None) };
        let c_name = CString::new(name).map_err(|_| nix::errno::Errno::EINVAL)?;
        let groups = getgrouplist(&c_name, user.gid)?;
        Ok(Some(Identity {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            variables: Variables::OfUser {
                home: user.dir.into_os_string(),
                shell: user.shell.into_os_string(),
            },
        }))
    }

    /// These very ids, which need no name, with this environment.
    pub fn exactly(
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
        environment: Vec<(OsString, OsString)>,
    ) -> Identity {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map_or_else(|| uid.to_string(), |user| user.name);
        Identity { name, uid, gid, groups, variables: Variables::Exactly(environment) }
    }

    /// The user of a process of somebody else, where we are root, and it has that user's rights and no others. What looks at
    /// it for us runs as that user: debuggers can be made to run code by what they look at.
    pub fn of_process(pid: Pid) -> Option<Identity> {
        let ids = procfs::credentials(pid).ok()?.ids;
        let (uid, gid) = (ids.uids[0], ids.gids[0]);
        let plain = ids.uids == [uid; 4] && ids.gids == [gid; 4];
        let namespace = |pid| procfs::link(pid, "ns/user").ok();
        if !Uid::effective().is_root()
            || uid == 0
            || !plain
            || Status::read(pid).ok()?.effective_capabilities != 0
            || namespace(pid) != namespace(std::process::id() as Pid)
        {
            return None;
        }
        // What it inherits can be read by that user, too.
        let kept = ["PATH", "LANG", "LC_ALL", "LC_CTYPE"].into_iter();
        let kept = kept.filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
        let variables = Variables::Exactly(kept.chain([("HOME".into(), "/".into())]).collect());
        // Its name would have to be looked up, for which nobody is to wait.
        Some(Identity { name: uid.to_string(), uid, gid, groups: ids.groups, variables })
    }

    /// Has a program run as that user, without further groups.
    pub fn take(&self, command: &mut Command) {
        let mut environment = std::env::vars_os().collect();
        self.adjust(&mut environment);
        command.env_clear().envs(environment).uid(self.uid).gid(self.gid);
    }

    /// Sets the variables that tell of the user.
    pub fn adjust(&self, environment: &mut Vec<(OsString, OsString)>) {
        let (home, shell) = match &self.variables {
            Variables::OfUser { home, shell } => (home, shell),
            Variables::Exactly(variables) => {
                environment.clone_from(variables);
                return;
            }
        };
        let name = || OsString::from_vec(self.name.clone().into_bytes());
        let values = [
            ("HOME", home.clone()),
            ("SHELL", shell.clone()),
            ("USER", name()),
            ("LOGNAME", name()),
        ];
        for (key, value) in values {
            environment.retain(|(have, _)| have != key);
            environment.push((key.into(), value));
        }
    }

    /// Becomes that user, for good. Async-signal-safe; errno says why it failed.
    pub fn assume(&self) -> bool {
        let groups = self.groups.as_ptr();
        // SAFETY: plain system calls (not glibc's wrappers, which would have every thread of a
        // forked process join in) on numbers of our own.
        unsafe {
            libc::syscall(libc::SYS_setgroups, self.groups.len(), groups) == 0
                && libc::syscall(libc::SYS_setresgid, self.gid, self.gid, self.gid) == 0
                && libc::syscall(libc::SYS_setresuid, self.uid, self.uid, self.uid) == 0
        }
    }

    /// Whether that is who we are already.
    pub fn is_ours(&self) -> bool {
        Uid::effective().as_raw() == self.uid
    }
}
