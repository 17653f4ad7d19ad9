//! Exec events by ptrace: no privileges needed, one tree followed.
//!
//! All ptrace calls come from one thread ([`wait`]), which blocks in waitpid. Other threads reach it
//! through [`mailbox`]. Ending that thread is how the whole tree is let go.

mod arch;
mod facts;
mod inject;
mod launch;
mod lineage;
mod mailbox;
mod memory;
mod stop;
mod wait;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub use launch::Command;

use super::{Judge, SourceEvent};
use crate::event::Keep;
use crate::sys;
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
                Ok(launched) => wait::Tracer::new(launched, keep, inside, judge, tell).run(),
                Err(error) => {
                    inside.close();
                    tell(SourceEvent::NotStarted(error));
                }
            }
        })?;
        Ok(PtraceSource { mailbox, thread: Some(thread) })
    }

    /// Whether the tracer has ended.
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets go of the whole tree: everything runs on, traced by nobody.
    pub fn let_go(&mut self) {
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
