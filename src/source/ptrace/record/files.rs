//! The descriptors of an exec.
//!
//! Nearly every program has just those that COMMAND was given. Where no more than what they lead to is wanted, that
//! is found out by comparing them with our own, which is one call for each instead of five.

use std::fs;

use crate::event::{Faults, FdRecord, Part};
use crate::procfs::{self, FileSystems};
use crate::sys::{self, Pid};

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
        if self.are_as_given(pid) { Part::of(self.given.clone()) } else { self.whole(pid) }
    }

    /// Whether it has the very descriptors that COMMAND has got, and no other. Before Linux 6.2 the folder does not
    /// tell how many there are.
    fn are_as_given(&self, pid: Pid) -> bool {
        let many = |metadata: fs::Metadata| metadata.len() == self.given.len() as u64;
        !self.given.is_empty()
            && fs::metadata(procfs::path(pid, "fd")).is_ok_and(many)
            && self.given.iter().all(|fd| sys::is_same_file(self.own, pid, fd.fd.number))
    }
}
