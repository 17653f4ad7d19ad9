//! Lending a process: it is in state T and traced by nobody for a while, in which something of it is saved,
//! or a debugger looks at it; then all its threads are traced again, where they were, and it is followed as
//! before. One that is at its exit cannot be lent: it stays, and who saves is told what only its tracer sees.

use std::io;
use std::time::Instant;

use super::adopt::refused;
use super::attach::seize_threads;
use super::hold::{Hold, comes_again};
use super::inject::At;
use super::leaving::Way;
use super::stop::{self, Report};
use super::wait::{OPTIONS, Tracer, park};
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Status};
use crate::source::coredump::Focus;
use crate::source::{Admit, Control, Judge, Loan, NotHeld, ParkError, SourceEvent};

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    pub(super) fn lend(&mut self, pid: Pid, admit: Admit, focus: Focus) -> Result<Loan, ParkError> {
        if let Some(hold) = self.waiting.holds.remove(&pid) {
            return self.lend_hold(pid, hold, admit, focus);
        }
        let at = self.waiting.pids.remove(&pid).ok_or(ParkError::Gone)?;
        match park(pid, at, admit) {
            Ok(trouble) => {
                self.waiting.lent.insert(pid, None);
                Ok(Loan { prepared: None, trouble })
            }
            Err(error) => {
                self.waiting.begin(pid);
                Err(error)
            }
        }
    }

    fn lend_hold(
        &mut self,
        pid: Pid,
        hold: Hold,
        admit: Admit,
        focus: Focus,
    ) -> Result<Loan, ParkError> {
        let loan = match hold.prepare(focus) {
            Some(Ok(prepared)) => {
                self.waiting.holds.insert(pid, hold);
                return Ok(Loan { prepared: Some(prepared), trouble: None });
            }
            Some(Err(error)) => Err(ParkError::Refused(io::Error::other(error))),
            None => hold.park(admit).map(|trouble| Loan { prepared: None, trouble }),
        };
        match &loan {
            Ok(_) if hold.happened.what.goes_on() => {
                drop(self.waiting.lent.insert(pid, Some(hold)))
            }
            // What ends is not followed afterwards.
            Ok(_) => self.forget(pid),
            Err(_) => hold.release(|tid, signal| self.waiting.resume(tid, signal)),
        }
        loan
    }

    /// Traces again what was lent.
    pub(super) fn take_back(&mut self, pid: Pid) -> Result<(), NotHeld> {
        if self.waiting.holds.contains_key(&pid) {
            return Ok(());
        }
        let taken = match self.waiting.lent.remove(&pid).ok_or(NotHeld::Gone)? {
            Some(hold) => self.hold_again(pid, hold),
            None => self.trace_again(pid).map(|()| {
                self.waiting.pids.insert(pid, At::UserMode);
            }),
        };
        if taken.is_err() {
            self.forget_all(pid);
        }
        taken
    }

    pub(super) fn give_up(&mut self, pid: Pid) {
        if self.waiting.lent.remove(&pid).is_some() {
            self.forget_all(pid);
        } else if self.waiting.holds.contains_key(&pid) {
            self.waiting.release(pid);
        }
    }

    fn forget_all(&mut self, pid: Pid) {
        for tid in self.waiting.followed.threads_of(pid) {
            self.forget(tid);
        }
        self.forget(pid);
    }

    /// Seizes all threads of a process that was held after its exec. It is held again before it is set going; one
    /// that somebody has set going already is followed.
    fn hold_again(&mut self, pid: Pid, mut hold: Hold) -> Result<(), NotHeld> {
        let before = statuses(pid).map_err(|error| NotHeld::by(pid, &error))?;
        if let Some(traced) = before.iter().find(|status| status.tracer != 0) {
            return Err(NotHeld::Traced(traced.tracer));
        }
        let stands = before.iter().any(Status::stops);
        let exits = matches!(self.waiting.followed.way(pid), Some(Way::Last));
        let options = OPTIONS | if exits { libc::PTRACE_O_TRACEEXIT } else { 0 };
        let mut tids = Vec::new();
        if let Err(error) = seize_threads(pid, options, &mut tids)
            && tids.is_empty()
        {
            return Err(refused(pid, &error));
        }
        for gone in self.waiting.followed.threads_of(pid) {
            if !tids.contains(&gone) {
                self.forget(gone);
            }
        }
        for &tid in &tids {
            self.waiting.followed.begins(tid);
        }
        if tids.is_empty() {
            return Err(NotHeld::Gone);
        }
        fault::point("seized-again");
        if !stands {
            // A stop may still be on its way.
            self.end_stop(pid, &tids);
            return Ok(());
        }
        let was_stopped = hold.was_stopped();
        hold.begin_again();
        let deadline = stop::deadline();
        for &tid in &tids {
            // Should somebody have set it going in this moment, it stops for us.
            let _ = sys::interrupt(tid);
            self.stop_again(pid, tid, &mut hold, deadline);
        }
        if hold.is_empty() {
            return Err(NotHeld::Gone);
        }
        if !was_stopped {
            self.end_stop(pid, &hold.tids());
            hold.stop_is_over();
        }
        fault::point("held-again");
        self.waiting.holds.insert(pid, hold);
        Ok(())
    }

    /// Ends the state T of a process, whose threads stay in stops of ours if they are in them. The SIGCONT is for
    /// one that takes it at once, since it is to see nothing of it.
    fn end_stop(&mut self, pid: Pid, tids: &[Pid]) {
        let takes =
            |tid: &&Pid| Status::read(**tid).is_ok_and(|status| !status.blocks(libc::SIGCONT));
        // An error means that it is gone.
        let _ = match tids.iter().find(takes) {
            Some(&tid) => sys::tgkill(pid, tid, libc::SIGCONT).map(|()| {
                self.waiting.continued.insert(tid);
            }),
            None => sys::kill(pid, libc::SIGCONT),
        };
    }

    /// Waits for the stop of a thread.
    fn stop_again(&mut self, pid: Pid, tid: Pid, hold: &mut Hold, deadline: Instant) {
        let report = match stop::next(tid, deadline) {
            Ok(report) => report,
            // When it stops it goes on at once.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return hold.comes(tid),
            Err(_) => return,
        };
        match report {
            // What ends the process is told of as ever.
            Report::Ended(status) => self.ended(tid, status),
            Report::Signal(signal) => {
                let code = sys::signal_info(tid).map_or(0, |info| info.code);
                let of_ours = matches!(signal, libc::SIGSTOP | libc::SIGCONT);
                if !of_ours && !comes_again(signal, code) {
                    let _ = sys::tgkill(pid, tid, signal);
                }
                hold.stopped(tid, Report::Other);
            }
            report => {
                hold.stopped(tid, report);
                if let Report::NewTask { clone } = report {
                    self.note_fork(tid, clone);
                }
            }
        }
    }

    /// Has a process that waited at its exec in a stop of ours again.
    fn trace_again(&mut self, pid: Pid) -> Result<(), NotHeld> {
        sys::seize(pid, OPTIONS).map_err(|error| refused(pid, &error))?;
        // Should somebody have set it going in this moment, it stops for us.
        let _ = sys::interrupt(pid);
        let deadline = stop::deadline();
        loop {
            let report = stop::next(pid, deadline).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => NotHeld::Stuck,
                _ => NotHeld::Gone,
            })?;
            let signal = match report {
                Report::Trap => return Ok(()),
                // The stop stays, but is no group-stop any more.
                Report::GroupStop => {
                    return sys::kill(pid, libc::SIGCONT).map_err(|error| {
                        let _ = sys::detach(pid, 0);
                        NotHeld::by(pid, &error)
                    });
                }
                Report::Ended(status) => {
                    self.ended(pid, status);
                    return Err(NotHeld::Gone);
                }
                Report::Signal(signal) => signal,
                _ => 0,
            };
            let _ = sys::cont(pid, signal);
        }
    }
}

/// What is known of each thread of a process.
fn statuses(pid: Pid) -> io::Result<Vec<Status>> {
    let read = |tid| match Status::read(tid) {
        Err(error) if procfs::says_gone(tid, &error) => None,
        result => Some(result),
    };
    procfs::threads(pid)?.into_iter().filter_map(read).collect()
}
