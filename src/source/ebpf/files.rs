//! Paths and descriptors as the programs tell of them, put into the words of /proc/PID/fd.

use super::skeleton::types::fd_event;
use crate::event::{Faults, Fd, FdKind, FdRecord};

/// Magic numbers of file systems, see statfs(2) and linux/magic.h.
const PIPEFS: u64 = 0x5049_5045;
const SOCKFS: u64 = 0x534f_434b;
const ANON_INODE: u64 = 0x0904_1934;
const PIDFS: u64 = 0x5049_4446;
const TMPFS: u64 = 0x0102_1994;
const HUGETLBFS: u64 = 0x9584_58f6;

/// A path, from its names in reverse order, each with its NUL byte.
fn path(names: &[u8], apart: bool, deleted: bool) -> Vec<u8> {
    let names = names.strip_suffix(b"\0").unwrap_or(names);
    if apart {
        return names.to_vec();
    }
    let mut path = Vec::with_capacity(names.len() + 12);
    if !names.is_empty() {
        for name in names.rsplit(|&byte| byte == 0) {
            path.push(b'/');
            path.extend_from_slice(name);
        }
    } else {
        path.push(b'/');
    }
    if deleted {
        path.extend_from_slice(b" (deleted)");
    }
    path
}

/// A path, or what the kernel shows of a file that lies nowhere.
pub fn named(names: &[u8], which: &Which<'_>) -> (Vec<u8>, Faults) {
    let path = path(names, which.apart, which.deleted);
    if !which.apart {
        return (path, Faults::empty());
    }
    match apart(which, &path) {
        Some(name) => (name, Faults::empty()),
        None => {
            let number = format!(":[{}]", which.inode);
            ([which.file_system, number.as_bytes()].concat(), Faults::PATH_UNREADABLE)
        }
    }
}

/// What is known of a file beside its names.
pub struct Which<'a> {
    pub apart: bool,
    pub deleted: bool,
    pub inode: u64,
    pub magic: u64,
    pub file_system: &'a [u8],
}

fn apart(which: &Which<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let numbered = |what: &str| Some(format!("{what}:[{}]", which.inode).into_bytes());
    match which.magic {
        PIPEFS => numbered("pipe"),
        SOCKFS => numbered("socket"),
        PIDFS => Some(b"anon_inode:[pidfd]".to_vec()),
        ANON_INODE => Some([b"anon_inode:", name].concat()),
        TMPFS | HUGETLBFS => Some([b"/", name, b" (deleted)"].concat()),
        _ => None,
    }
}

/// A descriptor, from its record and what follows that.
pub fn descriptor(event: &fd_event, file_system: &[u8], names: &[u8]) -> FdRecord {
    let which = Which {
        apart: event.apart != 0,
        deleted: event.deleted != 0,
        inode: event.inode,
        magic: event.magic,
        file_system,
    };
    let (target, faults) = named(names, &which);
    let device = (u64::from(event.device >> 20), u64::from(event.device & 0xf_ffff));
    let kind = FdKind::of(event.mode, device, matches!(event.magic, ANON_INODE | PIDFS));
    FdRecord {
        fd: Fd { number: event.number, target, kind },
        flags: event.flags,
        close_on_exec: event.close_on_exec != 0,
        position: event.position,
        mount_id: event.mount_id,
        inode: event.inode,
        file_system: file_system.to_vec(),
        faults: faults | Faults::from_bits_truncate(event.header.flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_turned_around() {
        assert_eq!(path(b"c\0b\0a\0", false, false), b"/a/b/c");
        assert_eq!(path(b"", false, false), b"/");
        assert_eq!(path(b"gone\0", false, true), b"/gone (deleted)");
        assert_eq!(path(b"[eventfd]\0", true, true), b"[eventfd]");
    }

    #[test]
    fn what_lies_nowhere_is_named_as_proc_does() {
        let event = |magic| fd_event { magic, inode: 7, apart: 1, ..fd_event::default() };
        let target = |magic, name: &[u8]| descriptor(&event(magic), b"type", name).fd.target;
        assert_eq!(target(PIPEFS, b"\0"), b"pipe:[7]");
        assert_eq!(target(ANON_INODE, b"[eventfd]\0"), b"anon_inode:[eventfd]");
        assert_eq!(target(TMPFS, b"memfd:x\0"), b"/memfd:x (deleted)");
        let unknown = descriptor(&event(1), b"type", b"\0");
        assert_eq!(
            (unknown.fd.target.as_slice(), unknown.faults),
            (&b"type:[7]"[..], Faults::PATH_UNREADABLE)
        );
    }
}
