//! Root's manners in the files of the user who called it by sudo.

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

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
