//! The user that COMMAND and its debuggers run as.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use serde::{Deserialize, Serialize};

/// A user's ids, resolved beforehand: between fork and exec nothing can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    home: OsString,
    shell: OsString,
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
            home: user.dir.into_os_string(),
            shell: user.shell.into_os_string(),
        }))
    }

    /// Sets the variables that su(1) sets.
    pub fn adjust(&self, environment: &mut Vec<(OsString, OsString)>) {
        let name = || OsString::from_vec(self.name.clone().into_bytes());
        let values = [
            ("HOME", self.home.clone()),
            ("SHELL", self.shell.clone()),
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
