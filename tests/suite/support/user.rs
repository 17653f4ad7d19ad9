//! An ordinary user of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::eventually;

/// A user, who is removed at the end.
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    sudoers: Option<PathBuf>,
}

impl User {
    pub fn new() -> User {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tracexec-{}-{number}", std::process::id());
        // Another useradd may have the files locked.
        eventually("a new user: this test must run as root", || {
            let done = Command::new("useradd")
                .args(["--no-create-home", "--user-group", "--shell", "/bin/bash", &name])
                .status()
                .expect("useradd is needed: apt install passwd");
            done.success().then_some(())
        });
        let user = nix::unistd::User::from_name(&name).unwrap().unwrap();
        User { name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), sudoers: None }
    }

    /// Lets the user run anything by sudo without a password.
    pub fn may_sudo(&mut self) {
        let path = Path::new("/etc/sudoers.d").join(&self.name);
        fs::write(&path, format!("{} ALL=(ALL) NOPASSWD: ALL\n", self.name))
            .expect("sudo is needed: apt install sudo");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        self.sudoers = Some(path);
    }

    /// Gives the user a folder with all that is in it.
    pub fn give(&self, folder: &Path) {
        let owner = format!("{}:{}", self.uid, self.gid);
        let status = Command::new("chown").args(["-R", &owner]).arg(folder).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(path) = &self.sudoers {
            let _ = fs::remove_file(path);
        }
        let gone = || nix::unistd::User::from_name(&self.name).is_ok_and(|user| user.is_none());
        eventually("the user's removal", || {
            let _ = Command::new("userdel").arg(&self.name).output();
            gone().then_some(())
        });
    }
}

/// Whether a user namespace can be made, which the kernel refuses in a chroot.
pub fn namespaces() -> bool {
    let made = Command::new("unshare").args(["-Ur", "true"]).status().unwrap().success();
    if !made {
        eprintln!("not tested: a user namespace cannot be made here");
        let excused = std::env::var_os("TRACEXEC_IN_CHROOT").is_some();
        assert!(excused || std::env::var_os("TRACEXEC_TEST_ALL").is_none());
    }
    made
}
