//! Exec events that are recorded and not held: nothing is handed to a debugger, so that more may be done to
//! see failing execs.
//!
//! - [`Way::Execs`]: where only successful execs are wanted, their own stops will do.
//! - [`Way::Seccomp`]: a filter stops execve and execveat, and nothing else. It stays with the tree, whose
//!   execs fail without a tracer: so our death ends it (PTRACE_O_EXITKILL).
//! - [`Way::Calls`]: every system call stops on its way in and on its way out.

mod files;
mod pages;
mod patience;
mod read;
mod tasks;
mod tracer;

use super::{PtraceSource, Started, spawn, wait};
use crate::event::{Keep, Wanted};
use crate::linux::sys::{self, Pid};
use crate::source::launch::{self, Command, Launched, Seccomp};
use crate::source::{Judge, LaunchError, SourceEvent};
use crate::text::report::Trouble;

/// How execs are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Execs,
    Seccomp,
    Calls,
}

/// What is recorded, and of whom beside COMMAND.
#[derive(Debug, Clone)]
pub struct Recording {
    pub wanted: Wanted,
    pub way: Way,
    /// Processes that run already; with `Way::Seccomp` there can be none.
    pub pids: Vec<Pid>,
}

impl Way {
    fn options(self) -> i32 {
        match self {
            Way::Seccomp => wait::OPTIONS | libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL,
            Way::Execs | Way::Calls => wait::OPTIONS,
        }
    }
}

impl PtraceSource {
    /// The same as [`PtraceSource::start`], but to record.
    pub fn record(
        command: Option<Command>,
        keep: Keep,
        recording: Recording,
        judge: impl Judge + 'static,
        tell: impl Fn(SourceEvent) + Send + 'static,
    ) -> Result<Started, Trouble> {
        let Recording { wanted, way, pids } = recording;
        let options = way.options();
        spawn(pids, options, move |mailbox, attached| match start(command.as_ref(), way, options) {
            Ok(launched) => {
                let what = (launched, attached.as_slice());
                tracer::Tracer::new(what, keep, (wanted, way), mailbox, judge, tell).run();
            }
            Err(error) => {
                mailbox.close();
                tell(SourceEvent::NotStarted(error));
            }
        })
    }
}

fn start(
    command: Option<&Command>,
    way: Way,
    options: i32,
) -> Result<Option<Launched>, LaunchError> {
    let Some(command) = command else { return Ok(None) };
    let seccomp = if way == Way::Seccomp { Seccomp::On } else { Seccomp::Off };
    launch::launch_under(command, seccomp, |pid| sys::seize(pid, options)).map(Some)
}
