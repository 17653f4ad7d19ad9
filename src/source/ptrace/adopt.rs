//! A tracer for processes that another source has found: each is seized while that source has it stopped
//! right after its exec, and followed until something happens to it, by the same code as where ptrace
//! is the source.
//!
//! What it forks is attached by the kernel, and counts as its parent does until it has executed something.
//! At any further exec a process is let go on the spot, with nothing sticking to it: the other source has
//! judged that exec already, and stopped it if it may count, so that it comes here again. So each exec is
//! judged once, in one place.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::follow::Look;
use super::mailbox::{Mailbox, Request};
use super::wait::{OPTIONS, Tracer};
use crate::debug::matcher::Candidate;
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::Status;
use crate::source::{Control, Judge, NotHeld, SourceEvent};

/// A process to be followed.
#[derive(Debug)]
pub struct Adoptee {
    pub pid: Pid,
    pub candidate: Arc<Candidate>,
    /// Whether it is COMMAND, our child, whose end is to be told.
    pub is_command: bool,
}

/// The tracer, as the other source's threads see it.
pub struct Adopter {
    mailbox: Arc<Mailbox>,
    tid: Pid,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Adopter {
    /// Starts a tracer that has nothing to trace yet.
    pub fn start(
        look: Look,
        judge: impl Judge + 'static,
        tell: impl Fn(SourceEvent) + Send + 'static,
    ) -> io::Result<Adopter> {
        sys::default_sigchld();
        sys::install_wake_handler()?;
        let mailbox = Arc::new(Mailbox::new());
        let inside = Arc::clone(&mailbox);
        let (sender, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("tracer".into()).spawn(move || {
            inside.serve_here();
            let _ = sender.send(sys::gettid());
            Tracer::adopting(look, inside, judge, tell).run();
        })?;
        let tid = started.recv().map_err(io::Error::other)?;
        Ok(Adopter { mailbox, tid, thread: Mutex::new(Some(thread)) })
    }

    /// The thread that traces.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Seizes a process that is stopped by a SIGSTOP, or is about to be, right after its exec. From here on
    /// it is enough to send it SIGCONT, in whatever state it is.
    pub fn adopt(&self, adoptee: Adoptee) -> Result<(), NotHeld> {
        self.mailbox.call(|answer| Request::Adopt(adoptee, answer)).unwrap_or(Err(NotHeld::Gone))
    }

    /// Whether it tells, or has told, of the end of a process that has just ended.
    pub fn tells_end_of(&self, pid: Pid) -> bool {
        self.mailbox.call(|answer| Request::TellsEnd(pid, answer)).unwrap_or(false)
    }

    /// Lets all go. To be called when no more processes come.
    pub fn let_go(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.mailbox.let_go(|| thread.is_finished());
            let _ = thread.join();
        }
    }
}

impl Drop for Adopter {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What the tracer's thread keeps beside what it follows.
#[derive(Default)]
pub(super) struct Adopting {
    /// Those that come again before their exec has been reported here.
    again: HashMap<Pid, Arc<Candidate>>,
    /// Those that have yet to get the SIGCONT that ends their exec's stop; with their signal mask, where it
    /// blocks that signal.
    continuing: HashMap<Pid, Option<u64>>,
    /// COMMAND's end was told.
    ended: Option<Pid>,
}

const SIGCONT_BIT: u64 = 1 << (libc::SIGCONT - 1);

/// Whether this thread traces a task.
fn is_ours(tid: Pid) -> bool {
    Status::read(tid).is_ok_and(|status| status.tracer == sys::gettid())
}

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    pub(super) fn adopt(&mut self, adoptee: Adoptee) -> Result<(), NotHeld> {
        let Adoptee { pid, candidate, is_command } = adoptee;
        fault::point("seizing");
        let seized = sys::seize(pid, OPTIONS);
        fault::point("seized");
        match (seized, &mut self.adopting) {
            (Ok(()), Some(adopting)) => {
                adopting.continuing.insert(pid, None);
                self.waiting.followed.executed(pid, Some(candidate));
            }
            (Ok(()), None) => {}
            // Its exec's stop is yet to be seen.
            (Err(_), Some(adopting)) if is_ours(pid) => {
                adopting.again.insert(pid, candidate);
            }
            (Err(error), _) => return Err(refused(pid, &error)),
        }
        if is_command {
            self.command = Some(pid);
        }
        Ok(())
    }

    /// A process that blocks SIGCONT would find it pending. So it is let through for once: the first stop
    /// without a signal comes of it.
    pub(super) fn lets_continue(&mut self, pid: Pid) {
        let Some(adopting) = &mut self.adopting else { return };
        if adopting.continuing.get(&pid) == Some(&None) {
            // It could not be told while it was in no stop of ours.
            self.waiting.followed.catch(pid);
        }
        if let Some(kept @ None) = adopting.continuing.get_mut(&pid)
            && let Ok(mask) = sys::signal_mask(pid)
            && mask & SIGCONT_BIT != 0
            && sys::set_signal_mask(pid, mask & !SIGCONT_BIT).is_ok()
        {
            *kept = Some(mask);
        }
    }

    /// Whether a signal that is about to be delivered is that one, of which the process is to see nothing. A
    /// SIGSTOP that had not come into force yet is let act: were the process to run before its SIGCONT is
    /// sent, that could come when it is held, and end the hold.
    pub(super) fn is_our_continue(&mut self, pid: Pid, signal: i32) -> bool {
        let Some(adopting) = &mut self.adopting else { return false };
        if signal != libc::SIGCONT {
            return false;
        }
        match adopting.continuing.remove(&pid) {
            Some(Some(mask)) => sys::set_signal_mask(pid, mask).is_ok(),
            found => found.is_some(),
        }
    }

    /// An exec that is the other source's to judge; false where there is none.
    pub(super) fn executed_elsewhere(&mut self, pid: Pid) -> bool {
        let Some(adopting) = &mut self.adopting else { return false };
        if let Ok(thread) = sys::event_message(pid)
            && thread as Pid != pid
        {
            self.waiting.followed.ended(thread as Pid);
        }
        adopting.continuing.remove(&pid);
        if let Some(candidate) = adopting.again.remove(&pid) {
            adopting.continuing.insert(pid, None);
            let _ = self.waiting.follow(pid, candidate);
        } else if sys::detach(pid, 0).is_ok() {
            self.waiting.followed.ended(pid);
        }
        // Otherwise it dies, which will be reported.
        true
    }

    /// Whether a process that was forked is followed: its exec may be over before its parent's fork is told.
    pub(super) fn has_child(&self, child: Pid) -> bool {
        self.adopting.is_none() || is_ours(child)
    }

    /// Nothing is traced. Waits until that changes; false if it cannot.
    pub(super) fn rest(&mut self) -> bool {
        let Some(adopting) = &mut self.adopting else { return false };
        *adopting = Adopting { ended: adopting.ended, ..Adopting::default() };
        self.waiting.followed.clear();
        self.waiting.mailbox.wait();
        true
    }

    pub(super) fn tells_end_of(&self, pid: Pid) -> bool {
        let told = self.adopting.as_ref().is_some_and(|adopting| adopting.ended == Some(pid));
        told || (self.command == Some(pid) && self.waiting.followed.knows(pid))
    }

    /// COMMAND's end is told now.
    pub(super) fn note_end(&mut self, pid: Pid) {
        if let Some(adopting) = &mut self.adopting {
            adopting.again.remove(&pid);
            adopting.continuing.remove(&pid);
            if Some(pid) == self.command {
                adopting.ended = Some(pid);
            }
        }
    }
}

/// Why a process could not be seized; it runs on.
pub(super) fn refused(pid: Pid, error: &io::Error) -> NotHeld {
    let status = match Status::read(pid) {
        Ok(status) => status,
        Err(error) => return NotHeld::by(pid, &error),
    };
    match error.raw_os_error() {
        _ if status.tracer != 0 => NotHeld::Traced(status.tracer),
        // Whoever ends cannot be seized either.
        _ if status.is_killed() || matches!(status.state, b'Z' | b'X') => NotHeld::Gone,
        None | Some(libc::ESRCH) => NotHeld::Gone,
        Some(errno) => NotHeld::Refused(errno),
    }
}
