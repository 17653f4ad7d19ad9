//! The descriptors of an exec.
//!
//! Nearly every program has those that COMMAND was given, or another one in a place or two. Where no more than what
//! they lead to is wanted, each is compared with our own, which is one call instead of five, and takes nothing that
//! the kernel has to make for it.

use std::fs;

use crate::event::{Faults, FdRecord, Part};
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, FileSystems};

/// Reads descriptors.
pub struct Files {
    own: Pid,
    /// Those of ours that COMMAND has got.
    given: Vec<FdRecord>,
    file_systems: FileSystems,
}

impl Files {
    pub fn new() -> Files {
        Files {
            own: std::process::id() as Pid,
            given: procfs::given_files(),
            file_systems: FileSystems::default(),
        }
    }

    /// All that is known of them.
    pub fn whole(&mut self, tid: Pid) -> Part<Vec<FdRecord>> {
        let Ok(mut found) = procfs::open_files(tid) else {
            return Part { value: None, faults: Faults::FDS_UNREADABLE };
        };
        for record in &mut found {
            self.file_systems.name(tid, record);
        }
        Part::of(found)
    }

    /// What a new program's lead to. None of them is closed by the exec any more.
    pub fn targets(&mut self, pid: Pid) -> Part<Vec<FdRecord>> {
        match self.compared(pid) {
            Some(found) => Part::of(found),
            None => self.whole(pid),
        }
    }

    /// The same of a program that has the very numbers that COMMAND has got, and no other. Before Linux 6.2 the folder
    /// does not tell how many there are.
    fn compared(&self, pid: Pid) -> Option<Vec<FdRecord>> {
        let many = fs::metadata(procfs::path(pid, "fd")).ok()?.len();
        if self.given.is_empty() || many != self.given.len() as u64 {
            return None;
        }
        let compared = |given: &FdRecord| match sys::is_same_file(self.own, pid, given.fd.number) {
            true => Some(given.clone()),
            // What cannot be looked at has an inode in fdinfo still.
            false => procfs::target(pid, given.fd.number).ok()?.filter(|fd| fd.faults.is_empty()),
        };
        self.given.iter().map(compared).collect()
    }
}
