//! The tracer: what is executed, told as it happens (`log`) or written to a file (`collect`).
//!
//! A source calls the [`Tracer`], which is its judge; what the filter lets through goes over a channel
//! to the session, which hands it to a [`Sink`].

mod family;
pub mod front;
mod judge;
pub mod replay;
pub mod session;
pub mod sinks;
pub mod source;

use std::io;
use std::time::SystemTime;

use crate::event::{FdRecord, Strings, TraceEvent};
use crate::linux::sys::Pid;
use crate::source::Totals;

pub use family::Family;
pub use judge::Tracer;

/// A writer of what a tracer sees: lines for people, a file of some format.
pub trait Sink {
    /// Before anything has happened.
    fn begin(&mut self, about: &About) -> io::Result<()>;
    /// COMMAND runs, as this process.
    fn started(&mut self, _pid: Pid) -> io::Result<()> {
        Ok(())
    }
    fn event(&mut self, event: &TraceEvent) -> io::Result<()>;
    /// Somebody looks at it as it comes, perhaps between what COMMAND itself says.
    fn is_watched(&self) -> bool {
        false
    }
    /// Nothing is there to be told at the moment: what people look at is to be shown by now.
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Nothing more will come: the file is made whole. After an error, too, as well as can be.
    fn finish(&mut self, end: &End) -> io::Result<()>;
    /// How many events are lost, to whoever reads it, by one that it is not told any more, after an error.
    fn missed(&self, _event: &TraceEvent) -> u64 {
        1
    }
    /// How many of the events that it was told of have come nowhere, after an error.
    fn unwritten(&self) -> u64 {
        0
    }
    /// After the end: what the reader of the file has to know and does not see in it.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// What is traced.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// COMMAND; empty where only the system is watched, or processes that were there.
    pub command: Vec<Vec<u8>>,
    /// Processes that ran already, as long as it is not read from a file.
    pub pids: Vec<Pid>,
    /// What COMMAND was given.
    pub baseline: Baseline,
    /// `ptrace` or `ebpf`.
    pub source: String,
    /// tracexec's own.
    pub version: String,
    pub host: Vec<u8>,
    /// When it began, by the clock on the wall, and in nanoseconds since boot at the same moment. Times of
    /// events are of the second kind.
    pub wall: SystemTime,
    pub boot: u64,
}

/// The environment, the working directory and the descriptors with which COMMAND began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baseline {
    pub env: Strings,
    pub cwd: Vec<u8>,
    pub fds: Vec<FdRecord>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct End {
    /// COMMAND's, as wait(2) gives it; `None` where it still runs, or there was none.
    pub status: Option<i32>,
    /// In nanoseconds since boot.
    pub time: u64,
    /// What was not seen.
    pub totals: Lost,
}

/// What is missing, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records for which there was no room, and events that the kernel passed over.
    pub events: u64,
    /// Processes that could not be followed.
    pub processes: u64,
}

impl From<Totals> for Lost {
    fn from(totals: Totals) -> Lost {
        Lost { events: totals.not_told + totals.missed, processes: totals.not_followed }
    }
}
