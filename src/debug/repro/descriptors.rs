//! The descriptors of a process, and which of them can be opened again.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};

use serde::{Deserialize, Serialize};

use crate::event::{Fd, FdKind, FdRecord};
use crate::linux::sys::Pid;
use crate::machine::procfs;
use crate::text::json::OwnedBytes;

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    pub number: u32,
    /// What it is, in the words of the filter language.
    pub kind: String,
    /// Its path, or what the kernel calls it.
    pub target: OwnedBytes,
    pub reads: bool,
    pub writes: bool,
    pub appends: bool,
    pub position: u64,
    /// Why it cannot be opened again; null if it can.
    pub lost: Option<String>,
}

/// All descriptors of a process.
pub fn of(pid: Pid) -> Vec<Descriptor> {
    procfs::open_files(pid).unwrap_or_default().into_iter().map(|fd| describe(pid, fd)).collect()
}

fn describe(pid: Pid, FdRecord { fd, flags, position, .. }: FdRecord) -> Descriptor {
    let flags = flags as i32;
    let mode = flags & libc::O_ACCMODE;
    Descriptor {
        number: fd.number,
        kind: fd.kind.name().to_string(),
        reads: mode != libc::O_WRONLY,
        writes: mode != libc::O_RDONLY,
        appends: flags & libc::O_APPEND != 0,
        position: position.try_into().unwrap_or_default(),
        lost: lost(pid, &fd).map(String::from),
        target: OwnedBytes(fd.target),
    }
}

/// Why a descriptor cannot be opened again.
fn lost(pid: Pid, fd: &Fd) -> Option<&'static str> {
    match fd.kind {
        FdKind::File | FdKind::Dir | FdKind::Char => {}
        FdKind::Tty => return Some("a terminal"),
        FdKind::Pipe => return Some("a pipe"),
        FdKind::Socket => return Some("a socket"),
        FdKind::Block => return Some("a block device"),
        FdKind::Anon => return Some("no file"),
    }
    let there = fs::metadata(procfs::path(pid, &format!("fd/{}", fd.number))).ok();
    let here = fs::metadata(OsStr::from_bytes(&fd.target)).ok();
    let same = here
        .zip(there)
        .is_some_and(|(here, there)| (here.dev(), here.ino()) == (there.dev(), there.ino()));
    (!same).then_some("a file without that name any more")
}

impl Descriptor {
    /// Opens it again, at its position.
    pub fn open(&self) -> io::Result<fs::File> {
        // Another file may have come there since.
        if fs::metadata(OsStr::from_bytes(&self.target.0))?.file_type().is_fifo() {
            return Err(io::Error::other("it is a FIFO by now"));
        }
        let mut options = fs::OpenOptions::new();
        options.read(self.reads).write(self.writes && !self.appends).append(self.appends);
        options.custom_flags(libc::O_NOCTTY);
        let mut file = options.open(OsStr::from_bytes(&self.target.0))?;
        if self.position > 0 {
            file.seek(SeekFrom::Start(self.position))?;
        }
        Ok(file)
    }
}
