//! Holding a process where something has happened to it: all its threads are stopped, one after the
//! other as they come, and none has executed anything since.
//!
//! Until it is parked, our death at any point lets the process do what it was about to do: a signal
//! that was reported, and would be lost, is sent again before anything else, and a call that would
//! end the process is set up to be made anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admit::{gone, ptracer};
use super::arch::{self, Registers};
use super::inject::{self, Failed};
use super::stop::{self, Report};
use crate::debug::matcher::Candidate;
use crate::event::moment::Happened;
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Status};
use crate::source::coredump::{DumpError, Focus, Prepared};
use crate::source::{Admit, ParkError};

/// Why a thread is stopped, which says how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It is on its way to a stop.
    Coming,
    /// It goes on with this signal, 0 for none.
    With(i32),
    /// It is in a group-stop.
    Group,
}

/// What has happened, as far as the thread must be put right for it.
#[derive(Debug)]
pub enum Cause {
    /// At the delivery of this signal.
    Signal(i32),
    /// On its way into a call that ends the process; these were the registers.
    Leaving(Box<Registers>),
    /// At a breakpoint.
    Reached,
    /// At its exit, from which there is no way back.
    Last,
    /// Nothing: it was interrupted.
    Time,
}

/// How many of a process's threads have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathered {
    Some,
    /// The first may end without a stop, which is not reported while there are others.
    AllButTheFirst,
    All,
    /// One has had its time.
    Late,
}

/// How long the threads of a process may take to stop. One that waits in vfork(2) does not, and keeps the others.
const GATHERS_WITHIN: Duration = Duration::from_secs(5);

pub struct Hold {
    pub candidate: Arc<Candidate>,
    pub happened: Happened,
    pid: Pid,
    cause: Cause,
    threads: HashMap<Pid, Rest>,
    /// Whether the judge has been told.
    pub announced: bool,
    /// The error for which it cannot be held: not all of its threads are known.
    pub failed: Option<i32>,
    /// When its threads began to be stopped.
    since: Instant,
    /// A thread has not stopped in time: it is let go.
    pub late: bool,
}

/// Whether a signal comes from what the thread itself executes, and comes again when it goes on.
pub(super) fn comes_again(signal: i32, code: i32) -> bool {
    code > 0 && matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL)
}

impl Hold {
    /// Begins, with the thread to which it happened at its stop.
    pub fn begin(
        pid: Pid,
        candidate: Arc<Candidate>,
        happened: Happened,
        cause: Cause,
    ) -> std::io::Result<Hold> {
        let mut threads = HashMap::new();
        match &cause {
            &Cause::Signal(signal) => {
                let code = sys::signal_info(happened.tid)?.code;
                if !comes_again(signal, code) {
                    sys::tgkill(pid, happened.tid, signal)?;
                }
                threads.insert(happened.tid, Rest::With(0));
            }
            Cause::Leaving(registers) => {
                sys::set_registers(happened.tid, &arch::call_again(registers))?;
                threads.insert(happened.tid, Rest::With(0));
            }
            Cause::Reached | Cause::Last => drop(threads.insert(happened.tid, Rest::With(0))),
            Cause::Time => {}
        }
        fault::point("moment-begun");
        Ok(Hold {
            candidate,
            happened,
            pid,
            cause,
            threads,
            announced: false,
            failed: None,
            since: Instant::now(),
            late: false,
        })
    }

    /// Stops the threads that are not on their way to it yet; how many are there.
    pub fn gather(&mut self, may_stop: impl Fn(Pid) -> bool) -> Gathered {
        let living = match procfs::threads(self.pid) {
            Ok(living) => living,
            Err(error) if procfs::says_gone(self.pid, &error) => Vec::new(),
            Err(error) => {
                self.failed = Some(error.raw_os_error().unwrap_or(libc::EIO));
                return Gathered::All;
            }
        };
        if self.is_coming(self.pid) && !living.contains(&self.pid) {
            self.threads.remove(&self.pid);
        }
        for tid in living {
            // A new one that nobody traces yet is in its first stop soon, and is looked for then.
            if !self.threads.contains_key(&tid) && may_stop(tid) && sys::interrupt(tid).is_ok() {
                self.threads.insert(tid, Rest::Coming);
            }
        }
        match self.threads.keys().filter(|tid| self.is_coming(**tid)).count() {
            0 => Gathered::All,
            _ if self.left().is_zero() => Gathered::Late,
            1 if self.is_coming(self.pid) => Gathered::AllButTheFirst,
            _ => Gathered::Some,
        }
    }

    /// How much time its threads have left to stop.
    pub fn left(&self) -> Duration {
        GATHERS_WITHIN.saturating_sub(self.since.elapsed())
    }

    /// A thread is on its way to a stop, and has taken too long.
    pub fn comes(&mut self, tid: Pid) {
        self.threads.insert(tid, Rest::Coming);
    }

    fn is_coming(&self, tid: Pid) -> bool {
        self.threads.get(&tid) == Some(&Rest::Coming)
    }

    /// A thread of it has stopped; whether that is the hold's affair.
    pub fn stopped(&mut self, tid: Pid, report: Report) -> bool {
        let rest = match report {
            Report::Trap
            | Report::NewTask { .. }
            | Report::Syscall
            | Report::Seccomp
            | Report::Leaving
            | Report::Other => {
                if report == Report::Syscall {
                    leave_later(tid);
                }
                if report == Report::Leaving && is_in_exit(tid) && matches!(self.cause, Cause::Last)
                {
                    // Whose exit it is that ends the others.
                    self.happened.tid = tid;
                }
                Rest::With(0)
            }
            Report::GroupStop => Rest::Group,
            Report::Signal(signal) => {
                let code = sys::signal_info(tid).map_or(0, |info| info.code);
                Rest::With(if comes_again(signal, code) { 0 } else { signal })
            }
            Report::Exec | Report::Ended(_) => return false,
        };
        self.threads.insert(tid, rest);
        true
    }

    /// Whether it was in a stop already when it was held.
    pub fn was_stopped(&self) -> bool {
        self.threads.values().all(|rest| *rest == Rest::Group)
    }

    /// Its threads are traced anew, and are looked at one after the other.
    pub fn begin_again(&mut self) {
        self.threads.clear();
    }

    /// Its stop is over: all threads go on.
    pub fn stop_is_over(&mut self) {
        for rest in self.threads.values_mut().filter(|rest| **rest == Rest::Group) {
            *rest = Rest::With(0);
        }
    }

    /// Whether nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// The threads that have stopped.
    pub fn tids(&self) -> Vec<Pid> {
        self.threads.keys().copied().collect()
    }

    /// A thread of it is no more.
    pub fn lost(&mut self, tid: Pid) {
        self.threads.remove(&tid);
    }

    /// What a core says of it, where it cannot be parked.
    pub fn prepare(&self, focus: Focus) -> Option<Result<Prepared, DumpError>> {
        matches!(self.cause, Cause::Last)
            .then(|| Prepared::of_traced(self.pid, &self.tids(), focus))
    }

    /// Lets it do what it was about to do. `resume` lets a thread run on with a signal.
    pub fn release(&self, resume: impl Fn(Pid, i32)) {
        for (&tid, &rest) in &self.threads {
            match (rest, &self.cause) {
                (Rest::Coming, _) => {}
                (Rest::Group, _) => drop(sys::listen(tid)),
                (Rest::With(_), Cause::Signal(signal)) if tid == self.happened.tid => {
                    resume(tid, *signal);
                }
                (Rest::With(_), Cause::Leaving(registers)) if tid == self.happened.tid => {
                    let _ = sys::set_registers(tid, registers);
                    resume(tid, 0);
                }
                (Rest::With(signal), _) => resume(tid, signal),
            }
        }
    }

    /// Leaves all threads in state T, traced by nobody. The process does what it was about to do when it
    /// gets SIGCONT.
    pub fn park(&self, admit: Admit) -> Result<Option<String>, ParkError> {
        if Status::read(self.pid).map_err(|error| ParkError::by(self.pid, error))?.is_killed() {
            return Err(ParkError::Dying(libc::SIGKILL));
        }
        if let Cause::Last = self.cause {
            return Err(ParkError::Leaving);
        }
        let trouble = match ptracer(admit) {
            Some(ptracer) => self.admit(ptracer)?,
            None => None,
        };
        let by_signal = matches!(self.cause, Cause::Signal(_));
        fault::point("before-stop");
        if !by_signal || self.threads.len() > 1 {
            sys::kill(self.pid, libc::SIGSTOP).map_err(gone)?;
        }
        fault::point("stop-sent");
        for (&tid, &rest) in self.threads.iter().filter(|(tid, _)| **tid != self.happened.tid) {
            let signal = if let Rest::With(signal) = rest { signal } else { 0 };
            // One that has ended meanwhile needs no stop.
            let _ = sys::detach(tid, signal);
        }
        // Last, and by a stop in the signal's place: what is pending for the thread must not come first.
        if self.threads.contains_key(&self.happened.tid) {
            let signal = if by_signal { libc::SIGSTOP } else { 0 };
            sys::detach(self.happened.tid, signal).map_err(gone)?;
        }
        fault::point("detached");
        Ok(trouble)
    }

    /// Has the process name its debugger; what could not be done of that, if anything.
    fn admit(&self, ptracer: u64) -> Result<Option<String>, ParkError> {
        let (pid, tid) = (self.pid, self.happened.tid);
        let in_call = matches!(self.cause, Cause::Leaving(_));
        if !self.threads.contains_key(&tid) {
            return Ok(Some("its first thread has ended".into()));
        }
        let kept = match inject::set_ptracer_amid(pid, tid, ptracer, in_call) {
            Ok(kept) => kept,
            Err(Failed::Died) => return Err(ParkError::Gone),
            // Nothing has been changed yet.
            Err(Failed::Impossible(why)) => return Ok(Some(why)),
        };
        for signal in kept {
            sys::tgkill(pid, tid, signal).map_err(gone)?;
        }
        let Cause::Signal(signal) = self.cause else { return Ok(None) };
        let deadline = stop::deadline();
        // It is at the end of a call now, and must be at the signal's delivery again.
        loop {
            sys::cont(tid, 0).map_err(gone)?;
            match stop::next(tid, deadline).map_err(gone)? {
                Report::Signal(number) => {
                    let code = sys::signal_info(tid).map_or(0, |info| info.code);
                    if !comes_again(number, code) {
                        sys::tgkill(pid, tid, number).map_err(gone)?;
                    }
                    if number == signal {
                        return Ok(None);
                    }
                }
                Report::Ended(_) => return Err(ParkError::Gone),
                _ => {}
            }
        }
    }
}

/// Whether a thread ends the process by a call of its own.
fn is_in_exit(tid: Pid) -> bool {
    sys::get_registers(tid).is_ok_and(|registers| arch::in_exit_call(&registers) == Some(true))
}

/// A call on its way that would end the thread or the process is made anew when the thread goes on.
fn leave_later(tid: Pid) {
    if let Ok(Some(call)) = sys::entered_call(tid)
        && arch::exit_call(call).is_some()
        && let Ok(registers) = sys::get_registers(tid)
    {
        let _ = sys::set_registers(tid, &arch::call_again(&registers));
    }
}
