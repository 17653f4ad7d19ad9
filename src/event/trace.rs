//! What a tracer tells of the processes that it follows, in the order in which it happened.

use std::sync::Arc;
use std::time::Duration;

use super::ExecRecord;
use crate::machine::procfs::view::View;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum TraceEvent {
    /// A process was made.
    Begun(Begun),
    /// A program was executed, or could not be.
    Exec(Box<Execution>),
    /// A process has ended.
    Ended(Ended),
}

impl TraceEvent {
    /// How much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        let more = match self {
            TraceEvent::Exec(execution) => size_of::<Execution>() + execution.record.size(),
            TraceEvent::Begun(_) | TraceEvent::Ended(_) => 0,
        };
        size_of::<TraceEvent>() + more
    }
}

/// A process was made, by fork(2) or its kin; threads are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    pub pid: u32,
    /// The process that made it.
    pub parent: u32,
    /// In nanoseconds since boot, see CLOCK_BOOTTIME in clock_gettime(2).
    pub time: u64,
}

/// A process has ended, with all its threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub pid: u32,
    /// In nanoseconds since boot.
    pub time: u64,
    /// As wait(2) gives it.
    pub status: i32,
    /// The exec, by its id, whose program it was; `None` where that was not told.
    pub exec: Option<u64>,
    /// Where we are the ones who wait for it.
    pub usage: Option<Usage>,
}

/// What a process has used, with its children that it has waited for; see getrusage(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub user: Duration,
    pub system: Duration,
    /// In bytes.
    pub peak_memory: u64,
}

/// An exec, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub record: ExecRecord,
    /// The exec whose program asked for this one.
    pub parent: Option<ParentEvent>,
    /// How its process sees files, where that is wanted and is not as we see them.
    pub view: Option<Arc<View>>,
}

/// The exec whose program did the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentEvent {
    /// In the same process, which becomes another program.
    Becomes(u64),
    /// In a parent, or further up, of a process that had executed nothing itself.
    Spawned(u64),
}

impl ParentEvent {
    pub fn id(self) -> u64 {
        match self {
            ParentEvent::Becomes(id) | ParentEvent::Spawned(id) => id,
        }
    }
}
