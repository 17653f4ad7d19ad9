//! The descriptors of a process: what they point to, and what `/proc/PID/fdinfo` tells of them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::{fdinfo, link, path, read_small};
use crate::event::{Faults, Fd, FdKind, FdRecord};
use crate::linux::sys::Pid;

/// Descriptor `number` of a process; `Ok(None)` if it is not open.
pub fn fd(pid: Pid, number: u32) -> io::Result<Option<Fd>> {
    Ok(target(pid, number)?.map(|record| record.fd))
}

/// The same with the inode, and nothing else that is known of it.
pub fn target(pid: Pid, number: u32) -> io::Result<Option<FdRecord>> {
    let name = format!("fd/{number}");
    let target = match link(pid, &name) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = fs::metadata(path(pid, &name));
    let kind = metadata.as_ref().map_or(FdKind::Anon, |metadata| kind(&target, metadata));
    let mut record = untold(Fd { number, target, kind });
    match metadata {
        Ok(metadata) => record.inode = metadata.ino(),
        Err(_) => record.faults |= Faults::INODE_UNREADABLE,
    }
    Ok(Some(record))
}

fn kind(target: &[u8], metadata: &fs::Metadata) -> FdKind {
    let device = (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
    FdKind::of(metadata.mode(), device, target.starts_with(b"anon_inode:"))
}

/// All open descriptors of a process, by number.
pub fn fds(pid: Pid) -> io::Result<Vec<Fd>> {
    Ok(targets(pid)?.into_iter().map(|record| record.fd).collect())
}

fn targets(pid: Pid) -> io::Result<Vec<FdRecord>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path(pid, "fd"))? {
        let number = entry?.file_name().to_string_lossy().parse();
        if let Ok(number) = number {
            found.extend(target(pid, number)?);
        }
    }
    found.sort_by_key(|record| record.fd.number);
    Ok(found)
}

/// All open descriptors of a process with what `/proc/PID/fdinfo` tells of them, by number.
pub fn open_files(pid: Pid) -> io::Result<Vec<FdRecord>> {
    Ok(targets(pid)?.into_iter().map(|record| told(pid, record)).collect())
}

/// Those of our own that COMMAND is given, as far as all of each is known. The folder in which we look is closed by
/// then, so that it is none of them.
pub fn given_files() -> Vec<FdRecord> {
    let mut found = open_files(std::process::id() as Pid).unwrap_or_default();
    found.retain(|fd| !fd.close_on_exec && fd.faults.is_empty());
    found
}

/// A descriptor of which nothing more is known.
pub(super) fn untold(fd: Fd) -> FdRecord {
    FdRecord {
        flags: 0,
        close_on_exec: false,
        position: 0,
        mount_id: 0,
        inode: 0,
        file_system: Vec::new(),
        faults: Faults::empty(),
        fd,
    }
}

/// Adds what `/proc/PID/fdinfo` tells of a descriptor; what cannot be told is a fault.
fn told(pid: Pid, mut record: FdRecord) -> FdRecord {
    match read_small(&path(pid, &format!("fdinfo/{}", record.fd.number))) {
        Ok(text) => fdinfo::parse(&text, &mut record),
        Err(_) => record.faults |= Faults::FLAGS_UNREADABLE,
    }
    // Since Linux 5.14 the inode is there, too.
    if record.inode != 0 {
        record.faults.remove(Faults::INODE_UNREADABLE);
    }
    record
}
