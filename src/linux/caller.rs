//! Root's manners in the files of the user who called it by sudo.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::{Gid, Uid, fchown, setfsgid, setfsuid};

/// Whose the files are that we make, after `--elevate`.
static OWNER: OnceLock<(u32, u32)> = OnceLock::new();

/// Who called us by sudo.
pub fn caller() -> Option<(u32, u32)> {
    let id = |name: &str| std::env::var(name).ok()?.parse().ok();
    if !Uid::effective().is_root() {
        return None;
    }
    Some((id("SUDO_UID")?, id("SUDO_GID")?)).filter(|(uid, _)| *uid != 0)
}

/// While it lives, files are touched with the rights of another user only: what is made is his, and no
/// link of his making leads us where he could not go.
pub struct As;

impl As {
    pub fn user(owner: Option<(u32, u32)>) -> Option<As> {
        let (uid, gid) = owner?;
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        Some(As)
    }
}

impl Drop for As {
    fn drop(&mut self) {
        setfsuid(Uid::effective());
        setfsgid(Gid::effective());
    }
}

/// From here on, what is made for the user belongs to this one.
pub fn owns_what_is_made(uid: u32, gid: u32) {
    let _ = OWNER.set((uid, gid));
}

/// The uid of the one whom new files are given.
pub fn owner() -> Option<u32> {
    OWNER.get().map(|(uid, _)| *uid)
}

/// Opens a file. If that makes it, it is the caller's after `--elevate`; one that is there stays whose it is.
/// `options` are for one that may be there, and do not make it.
pub fn open_or_make(path: &Path, options: &OpenOptions) -> io::Result<File> {
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            give(&file);
            Ok(file)
        }
        // Also a link to where nothing is yet: what that makes stays ours.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            options.clone().create(true).open(path)
        }
        Err(error) => Err(error),
    }
}

/// Gives a file that we have just made to the caller of `--elevate`. Not every file system knows owners: there it is
/// good enough as it is.
pub fn give(file: &File) {
    let (Some((uid, gid)), Ok(made)) = (OWNER.get(), file.metadata()) else { return };
    // The group of a folder that hands it on is meant.
    let ours = made.gid() == Gid::effective().as_raw();
    let _ = fchown(file, Some(Uid::from_raw(*uid)), ours.then(|| Gid::from_raw(*gid)));
}
