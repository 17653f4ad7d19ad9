//! Exec events that are recorded and not held: nothing is handed to a debugger, so that more may be done to
//! see failing execs.
//!
//! - [`Way::Execs`]: where only successful execs are wanted, their own stops will do.
//! - [`Way::Seccomp`]: a filter stops execve and execveat, and nothing else. It stays with the tree, whose
//!   execs fail without a tracer: so our death ends it (PTRACE_O_EXITKILL).
//! - [`Way::Calls`]: every system call stops on its way in and on its way out.

mod pages;
mod read;
mod tasks;
mod tracer;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use super::attach;
use super::mailbox::Mailbox;
use super::{PtraceSource, wait};
use crate::event::{Keep, Wanted};
use crate::report::Trouble;
use crate::source::launch::{self, Command, Launched, Seccomp};
use crate::source::{Judge, LaunchError, SourceEvent};
use crate::sys::{self, Pid};

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

/// A source, and what it could not follow.
pub struct Started {
    pub source: PtraceSource,
    pub not_followed: Vec<(Pid, io::Error)>,
}

impl PtraceSource {
    /// Starts COMMAND, if there is one, under a tracer of its own thread, which records. How that went is told
    /// by `tell`.
    pub fn record(
        command: Option<Command>,
        keep: Keep,
        recording: Recording,
        judge: impl Judge + 'static,
        tell: impl Fn(SourceEvent) + Send + 'static,
    ) -> Result<Started, Trouble> {
        sys::default_sigchld();
        let no_thread = |error| Trouble::new(format!("cannot start the tracer's thread: {error}"));
        sys::install_wake_handler().map_err(no_thread)?;
        let mailbox = Arc::new(Mailbox::new());
        let inside = Arc::clone(&mailbox);
        let (sender, attached) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("tracer".into()).spawn(move || {
            inside.serve_here();
            let options = recording.way.options();
            let attached = match attach::attach(&recording.pids, options) {
                Ok(found) => {
                    let _ = sender.send(Ok(found.not_followed));
                    found.processes
                }
                Err(trouble) => {
                    inside.close();
                    return drop(sender.send(Err(trouble)));
                }
            };
            match start(command.as_ref(), recording.way, options) {
                Ok(launched) => {
                    tracer::Tracer::new(
                        (launched, &attached),
                        keep,
                        &recording,
                        inside,
                        judge,
                        tell,
                    )
                    .run();
                }
                Err(error) => {
                    inside.close();
                    tell(SourceEvent::NotStarted(error));
                }
            }
        });
        let thread = thread.map_err(no_thread)?;
        let not_followed = match attached.recv() {
            Ok(Ok(not_followed)) => not_followed,
            Ok(Err(trouble)) => {
                let _ = thread.join();
                return Err(trouble);
            }
            Err(_) => return Err(Trouble::new("the tracer's thread has ended")),
        };
        let source = PtraceSource { mailbox, thread: Some(thread) };
        Ok(Started { source, not_followed })
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
