//! What happens to the processes that are followed: a signal that ends them, a call by which they leave,
//! a time that is up. Each is judged on the thread's stop, and what is wanted is held.

use std::sync::Arc;

use super::arch;
use super::hold::{Cause, Hold};
use super::stop::Report;
use super::wait::Tracer;
use crate::judge::Candidate;
use crate::moment::{Happened, What};
use crate::procfs::Status;
use crate::source::{Judge, SourceEvent, Stop};
use crate::sys::{self, Pid};

/// Signals whose information has an address.
const WITH_ADDRESS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    /// A stop of a thread whose process is about to be held.
    pub(super) fn stopped_for_a_hold(&mut self, tid: Pid, report: Report) -> bool {
        if self.waiting.holds.is_empty() {
            return false;
        }
        let Some(pid) = self.waiting.followed.process_of(tid) else { return false };
        let Some(hold) = self.waiting.holds.get_mut(&pid) else { return false };
        if let Report::Ended(_) = report {
            hold.lost(tid);
            if tid == pid {
                self.waiting.holds.remove(&pid);
            } else {
                self.gather(pid);
            }
            return false;
        }
        if let Report::Exec = report {
            // Another thread of it has executed a program, and it is another process now.
            self.waiting.holds.remove(&pid);
            return false;
        }
        let ours = hold.stopped(tid, report);
        if let Report::NewTask { clone } = report {
            self.note_fork(tid, clone);
        }
        self.gather(pid);
        ours
    }

    /// A signal is about to be delivered.
    pub(super) fn signalled(&mut self, tid: Pid, signal: i32) {
        if self.is_our_continue(tid, signal) {
            self.waiting.resume(tid, 0);
        } else if self.is_crash(tid, signal).is_none() {
            self.waiting.resume(tid, signal);
        }
    }

    /// Begins to hold a process which that signal ends, if it is wanted.
    fn is_crash(&mut self, tid: Pid, signal: i32) -> Option<()> {
        if !self.waiting.followed.look.at_signal(signal) {
            return None;
        }
        let pid = self.waiting.followed.process_of(tid)?;
        let candidate = Arc::clone(self.waiting.followed.candidate(pid)?);
        if !Status::read(tid).ok()?.takes_by_default(signal) {
            return None;
        }
        let info = sys::signal_info(tid).ok()?;
        let by_fault = info.code > 0 && info.code != libc::SI_KERNEL;
        let address = (by_fault && WITH_ADDRESS.contains(&signal)).then_some(info.address);
        let sent = matches!(info.code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        // It is named by its number in the process's own namespace.
        let itself = Status::read(pid).ok()?.ns_pid;
        let sender = (sent && info.sender != itself).then_some(info.sender);
        let what = What::Crash { signal, code: info.code, address, sender };
        self.happens(pid, tid, candidate, what, Cause::Signal(signal))
    }

    /// A system call of a task begins or ends.
    pub(super) fn calls(&mut self, tid: Pid) {
        if self.is_failure(tid).is_none() {
            self.waiting.resume(tid, 0);
        }
    }

    /// Begins to hold a process which leaves by this call, if it is wanted.
    fn is_failure(&mut self, tid: Pid) -> Option<()> {
        let call = sys::entered_call(tid).ok()??;
        let ends_all = arch::exit_call(call)?;
        let status = call.first as u8;
        let pid = self.waiting.followed.process_of(tid)?;
        let candidate = Arc::clone(self.waiting.followed.candidate(pid)?);
        if !self.waiting.followed.look.at_status(status)
            || (!ends_all && Status::read(tid).ok()?.threads > 1)
        {
            return None;
        }
        let registers = Box::new(sys::get_registers(tid).ok()?);
        self.happens(pid, tid, candidate, What::Fail { status }, Cause::Leaving(registers))
    }

    /// A candidate has run too long.
    pub(super) fn hangs(&mut self, pid: Pid) {
        let Some(candidate) = self.waiting.followed.candidate(pid).map(Arc::clone) else { return };
        let _ = self.happens(pid, pid, candidate, What::Hang, Cause::Time);
    }

    fn happens(
        &mut self,
        pid: Pid,
        tid: Pid,
        candidate: Arc<Candidate>,
        what: What,
        cause: Cause,
    ) -> Option<()> {
        if self.waiting.holds.contains_key(&pid) || self.waiting.waits_at_exec(pid) {
            return None;
        }
        let happened = Happened { what, tid, age: candidate.since.elapsed() };
        if !self.judge.wants(&candidate, happened) {
            return None;
        }
        if let Some(first) = self.waiting.followed.because_of(pid, what) {
            self.judge.failed_after(&candidate, happened, first);
            return None;
        }
        // An error means that it is gone.
        let hold = Hold::begin(pid, candidate, happened, cause).ok()?;
        self.waiting.holds.insert(pid, hold);
        self.gather(pid);
        Some(())
    }

    /// Stops what is left to stop of a process, and tells of it when nothing is.
    fn gather(&mut self, pid: Pid) {
        let Some(hold) = self.waiting.holds.get_mut(&pid) else { return };
        if hold.announced || !hold.gather() {
            return;
        }
        hold.announced = true;
        let (candidate, happened) = (Arc::clone(&hold.candidate), hold.happened);
        self.judge.moment(&candidate, happened, Stop::new(pid, &mut self.waiting));
    }
}
