//! Whose a process is, and whose child.

use std::io;

use super::{malformed, path, read_small};
use crate::event::Ids;
use crate::linux::sys::Pid;

/// What `/proc/PID/status` says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub tgid: Pid,
    pub parent: Pid,
    pub ids: Ids,
}

/// Reads it.
pub fn credentials(pid: Pid) -> io::Result<Credentials> {
    parse(&read_small(&path(pid, "status"))?).ok_or_else(|| malformed("status"))
}

fn numbers(value: &[u8]) -> Option<Vec<u32>> {
    let words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
    words.map(|word| word.parse().ok()).collect()
}

fn parse(text: &[u8]) -> Option<Credentials> {
    let mut found = Credentials::default();
    // Nothing that is wanted comes before this, and the name above it may hold anything but a newline.
    for line in text.split(|&byte| byte == b'\n').skip(1) {
        let colon = memchr::memchr(b':', line)?;
        let value = &line[colon + 1..];
        let number = || numbers(value)?.first().map(|&number| number as Pid);
        match &line[..colon] {
            b"Tgid" => found.tgid = number()?,
            b"PPid" => found.parent = number()?,
            b"Uid" => found.ids.uids = numbers(value)?.try_into().ok()?,
            b"Gid" => found.ids.gids = numbers(value)?.try_into().ok()?,
            b"Groups" => {
                found.ids.groups = numbers(value)?;
                return Some(found);
            }
            _ => {}
        }
    }
    None
}

#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = parse(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_are_read() {
        let own = credentials(std::process::id() as Pid).unwrap();
        assert_eq!(own.tgid, std::process::id() as Pid);
        assert_eq!(own.ids.uids[1], nix::unistd::geteuid().as_raw());
        assert_eq!(own.parent, nix::unistd::getppid().as_raw());
    }

    #[test]
    fn all_ids_and_groups_are_told_apart() {
        let text = b"Name:\ta\nUmask:\t0022\nTgid:\t7\nPPid:\t3\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t9 10 \nNStgid:\t7\n";
        let found = parse(text).unwrap();
        assert_eq!((found.tgid, found.parent), (7, 3));
        let ids = Ids { uids: [1, 2, 3, 4], gids: [5, 6, 7, 8], groups: vec![9, 10] };
        assert_eq!(found.ids, ids);
        assert_eq!(parse(b"Name:\ta\n"), None);
    }
}
