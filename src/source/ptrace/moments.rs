//! What happens to the processes that are followed: a signal that ends them, a call by which they leave,
//! a time that is up. Each is judged on the thread's stop, and what is wanted is held.

use std::sync::Arc;
use std::time::Instant;

use super::arch;
use super::hold::{Cause, Gathered, Hold};
use super::leaving::Way;
use super::stop::Report;
use super::wait::{A_MOMENT, Tracer};
use crate::debug::matcher::Candidate;
use crate::event::moment::{Happened, What};
use crate::linux::sys::{self, Pid, perf};
use crate::machine::procfs::{self, Status};
use crate::source::{ExitStatus, Judge, SourceEvent, Stop};

/// Signals whose information has an address.
const WITH_ADDRESS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    /// A stop of a thread whose process is about to be held.
    pub(super) fn stopped_for_a_hold(&mut self, tid: Pid, report: Report) -> bool {
        if self.waiting.holds.is_empty() {
            return false;
        }
        let report = match report {
            Report::Signal(signal) if self.breakpoint(tid, signal).is_some() => Report::Other,
            other => other,
        };
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
        if let Some((pid, address)) = self.breakpoint(tid, signal) {
            if self.leaves(pid, tid, address).is_none() {
                self.waiting.resume(tid, 0);
            }
        } else if self.is_our_continue(tid, signal)
            || (signal == libc::SIGCONT && self.waiting.continued.remove(&tid))
        {
            self.waiting.resume(tid, 0);
        } else if self.is_crash(tid, signal).is_none() {
            self.waiting.resume(tid, signal);
        }
    }

    /// Where a breakpoint of ours has sent this signal: the process and the address.
    fn breakpoint(&mut self, tid: Pid, signal: i32) -> Option<(Pid, u64)> {
        let followed = &mut self.waiting.followed;
        if signal != perf::SIGNAL || !followed.look.moments.fail {
            return None;
        }
        let pid = followed.process_of(tid)?;
        let info = sys::signal_info(tid).ok()?;
        Some((pid, followed.way(pid)?.reached(tid, &info)?))
    }

    /// Begins to hold a process that has called its library's `_exit`, if it is wanted.
    fn leaves(&mut self, pid: Pid, tid: Pid, address: u64) -> Option<()> {
        let registers = sys::get_registers(tid).ok()?;
        let followed = &mut self.waiting.followed;
        // The processor knows no breakpoint that comes late, but a machine that is emulated might.
        if arch::program_counter(&registers) != address {
            return None;
        }
        if let Way::Entry(_) = followed.way(pid)? {
            followed.loaded(pid);
            return None;
        }
        followed.leaves(pid);
        let status = arch::first_argument(tid, &registers).ok()? as u8;
        if !followed.look.at_status(status) {
            return None;
        }
        let candidate = Arc::clone(followed.candidate(pid)?);
        self.happens(pid, tid, candidate, What::Fail { status }, Cause::Reached)
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

    /// A task is about to end.
    pub(super) fn exits(&mut self, tid: Pid) {
        if self.is_leaving(tid).is_none() {
            self.waiting.followed.passes_its_last(tid);
            self.waiting.resume(tid, 0);
        }
    }

    /// Begins to hold a process that leaves with this thread, if it is wanted.
    fn is_leaving(&mut self, tid: Pid) -> Option<()> {
        let status = sys::event_message(tid).ok()? as i32;
        let exits = arch::in_exit_call(&sys::get_registers(tid).ok()?);
        let followed = &mut self.waiting.followed;
        if !libc::WIFEXITED(status)
            || !followed.look.at_status(libc::WEXITSTATUS(status) as u8)
            || (exits == Some(false) && Status::read(tid).ok()?.threads > 1)
        {
            return None;
        }
        let pid = followed.process_of(tid)?;
        if followed.has_left(pid) {
            return None;
        }
        // Another thread's exit ends it, too, and may be told later; unless that was let go.
        if exits.is_none()
            && !procfs::threads(pid).ok()?.into_iter().all(|tid| followed.may_stop(tid))
        {
            return None;
        }
        let candidate = Arc::clone(followed.candidate(pid)?);
        let what = What::Fail { status: libc::WEXITSTATUS(status) as u8 };
        self.happens(pid, tid, candidate, what, Cause::Last)?;
        // A thread that comes late to its end is not another moment.
        self.waiting.followed.leaves(pid);
        Some(())
    }

    /// A process has ended: if it has left by a call of its own, that could not be held.
    pub(super) fn missed(&mut self, pid: Pid, status: ExitStatus) {
        if !libc::WIFEXITED(status.0) {
            return;
        }
        let what = What::Fail { status: libc::WEXITSTATUS(status.0) as u8 };
        let followed = &self.waiting.followed;
        if let Some(candidate) = followed.left_unseen(pid).cloned()
            && what.status().is_some_and(|status| followed.look.at_status(status))
            && followed.because_of(pid, what).is_none()
        {
            let happened = Happened { what, tid: pid, age: candidate.since.elapsed() };
            if self.judge.wants(&candidate, happened) {
                self.judge.missed(&candidate, happened);
            }
        }
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

    /// Looks whether a first thread that was waited for has ended, or a thread has had its time.
    pub(super) fn look_for_the_first(&mut self) {
        if self.waiting.again.take_if(|(when, _)| *when <= Instant::now()).is_some() {
            let held: Vec<Pid> = self.waiting.holds.keys().copied().collect();
            held.into_iter().for_each(|pid| self.gather(pid));
        }
    }

    /// Stops what is left to stop of a process, and tells of it when nothing is.
    fn gather(&mut self, pid: Pid) {
        let followed = &self.waiting.followed;
        let Some(hold) = self.waiting.holds.get_mut(&pid) else { return };
        if hold.announced {
            return;
        }
        match hold.gather(|tid| followed.may_stop(tid)) {
            Gathered::Some => {
                let left = hold.left();
                return self.waiting.look_again(left);
            }
            Gathered::AllButTheFirst => return self.waiting.look_again(A_MOMENT),
            Gathered::Late => (hold.announced, hold.late) = (true, true),
            Gathered::All => hold.announced = true,
        }
        let (candidate, happened) = (Arc::clone(&hold.candidate), hold.happened);
        self.judge.moment(&candidate, happened, Stop::new(pid, &mut self.waiting));
    }
}
