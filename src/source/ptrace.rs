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
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::launch::{self, Command};
use super::{Judge, Source, SourceEvent};
use crate::diagnose::Circumstances;
use crate::event::Keep;
use crate::sys;
pub use follow::Look;
use mailbox::Mailbox;

/// A running tracer.
pub struct PtraceSource {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl PtraceSource {
    /// Starts COMMAND under a tracer of its own thread. How that went is told by `tell`.
    pub fn start(
        command: Command,
        keep: Keep,
        look: Look,
        judge: impl Judge + 'static,
        tell: impl Fn(SourceEvent) + Send + 'static,
    ) -> io::Result<PtraceSource> {
        sys::default_sigchld();
        sys::install_wake_handler()?;
        let mailbox = Arc::new(Mailbox::new());
        let inside = Arc::clone(&mailbox);
        let thread = thread::Builder::new().name("tracer".into()).spawn(move || {
            inside.serve_here();
            match launch::launch(&command, |pid| sys::seize(pid, wait::OPTIONS)) {
                Ok(launched) => {
                    wait::Tracer::new(launched, (keep, look), inside, judge, tell).run()
                }
                Err(error) => {
                    inside.close();
                    tell(SourceEvent::NotStarted(error));
                }
            }
        })?;
        Ok(PtraceSource { mailbox, thread: Some(thread) })
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
}

impl Drop for PtraceSource {
    fn drop(&mut self) {
        self.let_go();
    }
}
