//! An exec as a source has recorded it, for those that look at it when its process has long gone on.

use super::{Faults, Fd, Reading, Strings};

/// A part of a record: absent where it was not asked for or nothing of it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part<T> {
    pub value: Option<T>,
    pub faults: Faults,
}

impl<T> Part<T> {
    pub fn of(value: T) -> Part<T> {
        Part { value: Some(value), faults: Faults::empty() }
    }

    /// The value, where all of it came.
    pub fn whole(&self) -> Reading<&T> {
        match &self.value {
            Some(value) if self.faults.is_empty() => Reading::Known(value),
            _ => Reading::Unknown,
        }
    }
}

/// argv or the environment. Where a string could not be read, an empty one stands in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vector {
    pub strings: Strings,
    /// The places of those.
    pub unread: Vec<usize>,
}

/// A descriptor with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdRecord {
    pub fd: Fd,
    /// As of open(2).
    pub flags: u32,
    pub close_on_exec: bool,
    pub position: i64,
    pub mount_id: u32,
    pub inode: u64,
    /// The type of its file system.
    pub file_system: Vec<u8>,
    pub faults: Faults,
}

/// How an exec was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecCall {
    /// By execveat(2), with this descriptor.
    pub at: Option<i32>,
    /// execveat's flags.
    pub flags: u32,
}

/// An exec, successful or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRecord {
    /// No other one of the session has it.
    pub id: u64,
    pub pid: u32,
    pub parent: Reading<u32>,
    pub depth: Reading<u32>,
    /// In nanoseconds since boot, see CLOCK_BOOTTIME in clock_gettime(2).
    pub time: u64,
    /// When its process began, in the same way.
    pub began: u64,
    /// 0, or the negative errno with which it failed.
    pub result: i32,
    /// Where calls are recorded.
    pub call: Option<ExecCall>,
    /// Whether the program, or the failed call, is of 32 bits.
    pub compat: bool,
    pub uid: u32,
    pub gid: u32,
    pub comm: Part<Vec<u8>>,
    pub prev_comm: Part<Vec<u8>>,
    pub filename: Part<Vec<u8>>,
    pub argv: Part<Vector>,
    pub env: Part<Vector>,
    pub cwd: Part<Vec<u8>>,
    pub exe: Part<Vec<u8>>,
    /// The path in the hierarchy of version 2.
    pub cgroup: Part<Vec<u8>>,
    pub fds: Part<Vec<FdRecord>>,
    pub pid_namespace: Reading<u32>,
    pub mount_namespace: Reading<u32>,
    /// Of the whole.
    pub faults: Faults,
}

impl ExecRecord {
    /// All that is not as it should be, of the whole and of its parts.
    pub fn all_faults(&self) -> Faults {
        let descriptors = self.fds.value.iter().flatten().map(|fd| fd.faults);
        [
            self.faults,
            self.comm.faults,
            self.filename.faults,
            self.argv.faults,
            self.env.faults,
            self.cwd.faults,
            self.exe.faults,
            self.cgroup.faults,
            self.fds.faults,
        ]
        .into_iter()
        .chain(descriptors)
        .fold(Faults::empty(), |all, faults| all | faults)
    }
}
