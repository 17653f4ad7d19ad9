//! Lending a process that waits at its exec: it is in state T and traced by nobody for a while, in which
//! something of it is saved; then it is traced again, where it was, and followed as before. One that is at
//! its exit cannot be lent: it stays, and who saves is told what only its tracer sees.

use std::io;

use super::inject::At;
use super::stop::Report;
use super::wait::{OPTIONS, Tracer, park};
use crate::dump::{Focus, Prepared};
use crate::source::{Admit, Control, Judge, ParkError, SourceEvent};
use crate::sys::{self, Pid};

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    pub(super) fn lend(
        &mut self,
        pid: Pid,
        admit: Admit,
        focus: Focus,
    ) -> Result<Option<Prepared>, ParkError> {
        if let Some(hold) = self.waiting.holds.get(&pid) {
            return match hold.prepare(focus) {
                Some(Ok(prepared)) => Ok(Some(prepared)),
                Some(Err(error)) => {
                    self.give_up(pid);
                    Err(ParkError::Refused(io::Error::other(error)))
                }
                // It is not followed afterwards.
                None => self.park(pid, admit).map(|_| None),
            };
        }
        let at = self.waiting.pids.remove(&pid).ok_or(ParkError::Gone)?;
        match park(pid, at, admit) {
            Ok(_) => {
                self.waiting.lent.insert(pid);
                Ok(None)
            }
            Err(error) => {
                self.waiting.begin(pid);
                Err(error)
            }
        }
    }

    pub(super) fn take_back(&mut self, pid: Pid) -> bool {
        if self.waiting.holds.contains_key(&pid) {
            return true;
        }
        if !self.waiting.lent.remove(&pid) {
            return false;
        }
        let traced = self.trace_again(pid);
        if traced {
            self.waiting.pids.insert(pid, At::UserMode);
        } else {
            self.forget(pid);
        }
        traced
    }

    pub(super) fn give_up(&mut self, pid: Pid) {
        if self.waiting.lent.remove(&pid) {
            self.forget(pid);
        } else if self.waiting.holds.contains_key(&pid) {
            self.waiting.release(pid);
        }
    }

    /// Whether it is in a stop of ours again.
    fn trace_again(&mut self, pid: Pid) -> bool {
        if sys::seize(pid, OPTIONS).is_err() {
            return false;
        }
        // Should somebody have set it going in this moment, it stops for us.
        let _ = sys::interrupt(pid);
        loop {
            let status = match sys::wait_tracee(pid) {
                Ok(Some((_, status))) => status,
                Ok(None) => continue,
                Err(_) => return false,
            };
            let signal = match Report::decode(status) {
                Report::Trap => return true,
                // The stop stays, but is no group-stop any more.
                Report::GroupStop => return sys::kill(pid, libc::SIGCONT).is_ok(),
                Report::Ended(status) => {
                    self.ended(pid, status);
                    return false;
                }
                Report::Signal(signal) => signal,
                _ => 0,
            };
            let _ = sys::cont(pid, signal);
        }
    }
}
