//! Exec events by ptrace: no privileges needed, one tree followed.
//!
//! All ptrace calls come from one thread ([`wait`]), which blocks in waitpid. Other threads reach it
//! through [`mailbox`]. Ending that thread is how the whole tree is let go.

pub mod admit;
pub mod adopt;
mod arch;
pub mod attach;
mod follow;
mod hold;
mod inject;
mod leaving;
mod lend;
mod mailbox;
mod memory;
mod moments;
pub mod record;
pub mod stop;
mod wait;
pub mod wrap;

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use super::launch::{self, Command};
use super::{Judge, Kept, Source, SourceEvent};
use crate::event::Keep;
use crate::linux::sys::{self, Pid};
use crate::machine::diagnose::Circumstances;
use crate::text::report::Trouble;
use attach::Attached;
pub use follow::Look;
use mailbox::Mailbox;

/// A running tracer.
pub struct PtraceSource {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// A source that has begun, and what it could not follow of the processes that run already.
pub struct Started {
    pub source: PtraceSource,
    pub not_followed: Vec<(Pid, io::Error)>,
}

impl PtraceSource {
    /// Starts COMMAND, if there is one, under a tracer of its own thread, and follows `pids`. How COMMAND fares
    /// is told by `tell`.
    pub fn start(
        command: Option<Command>,
        pids: Vec<Pid>,
        (keep, look): (Keep, Look),
        judge: impl Judge + 'static,
        tell: impl Fn(SourceEvent) + Send + 'static,
    ) -> Result<Started, Trouble> {
        spawn(pids, wait::OPTIONS, move |mailbox, attached| {
            let launched = command
                .as_ref()
                .map(|command| launch::launch(command, |pid| sys::seize(pid, wait::OPTIONS)));
            match launched.transpose() {
                Ok(launched) => {
                    let what = (launched, attached.as_slice());
                    wait::Tracer::new(what, (keep, look), mailbox, judge, tell).run();
                }
                Err(error) => {
                    mailbox.close();
                    tell(SourceEvent::NotStarted(error));
                }
            }
        })
    }
}

/// Starts the thread of a tracer, which seizes `pids` and then does the rest.
fn spawn(
    pids: Vec<Pid>,
    options: i32,
    run: impl FnOnce(Arc<Mailbox>, Vec<Attached>) + Send + 'static,
) -> Result<Started, Trouble> {
    let no_thread = |error| Trouble::new(format!("cannot start the tracer's thread: {error}"));
    sys::default_sigchld();
    sys::install_wake_handler().map_err(no_thread)?;
    let mailbox = Arc::new(Mailbox::new());
    let inside = Arc::clone(&mailbox);
    let (sender, attached) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("tracer".into()).spawn(move || {
        inside.serve_here();
        match attach::attach(&pids, options) {
            Ok(found) => {
                let _ = sender.send(Ok(found.not_followed));
                run(inside, found.processes);
            }
            Err(trouble) => {
                inside.close();
                let _ = sender.send(Err(trouble));
            }
        }
    });
    let thread = thread.map_err(no_thread)?;
    match attached.recv() {
        Ok(Ok(not_followed)) => {
            Ok(Started { source: PtraceSource { mailbox, thread: Some(thread) }, not_followed })
        }
        Ok(Err(trouble)) => {
            let _ = thread.join();
            Err(trouble)
        }
        Err(_) => Err(Trouble::new("the tracer's thread has ended")),
    }
}

/// Why [`probe`] could not trace.
#[derive(Debug)]
pub enum Untraceable {
    /// There was no child to try it on.
    NoChild(io::Error),
    /// The kernel refused, and this is what held between us and the child.
    Refused(io::Error, Circumstances),
}

/// Tries to trace a child of our own, as COMMAND is traced. For a process of one thread.
pub fn probe() -> Result<(), Untraceable> {
    let child = sys::stand_in().map_err(Untraceable::NoChild)?;
    let tried = sys::seize(child, wait::OPTIONS)
        .map_err(|error| Untraceable::Refused(error, Circumstances::of(child)));
    let _ = sys::kill(child, libc::SIGKILL);
    let _ = sys::reap(child);
    tried
}

impl Source for PtraceSource {
    fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn let_go(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.mailbox.let_go(|| thread.is_finished());
            let _ = thread.join();
        }
    }

    fn keep(&mut self) -> Option<Kept> {
        let kept = self.mailbox.keep()?;
        // The thread goes on by itself.
        self.thread.take();
        Some(kept)
    }
}

impl Drop for PtraceSource {
    fn drop(&mut self) {
        self.let_go();
    }
}
