//! Where exec events come from, and the contract that every source keeps.
//!
//! A source stops each process that may match right after a successful exec, before its first
//! instruction, and calls the [`Judge`] with what is known of it and a [`Stop`]. From then on:
//!
//! - A `Stop` is consumed once: released, and the process runs; or held, and it becomes a [`Held`].
//!   Dropping either lets the process run. Nothing is ever forgotten in a stop.
//! - While it is held, the source owns it, and our death, however it comes, lets it run.
//! - [`Held::park`] gives it up: the process is then in state T, not traced, with not one user
//!   instruction executed, and whoever parked it answers for it.
//! - When the source ends, everything that it still holds runs on.
//!
//! The judge may run in a thread of the source; it must not wait for anything.

pub mod coredump;
#[cfg(feature = "ebpf")]
pub mod ebpf;
pub mod guardian;
pub(crate) mod interpreters;
pub mod launch;
pub(crate) mod lineage;
pub mod ptrace;
pub mod recorded;
pub mod responses;
pub mod scripted;
pub(crate) mod stopped;
mod vectors;
pub mod wrapped;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::debug::matcher::Candidate;
use crate::event::moment::Happened;
use crate::event::{Begun, Ended, Facts};
use crate::linux::sys::Pid;
use crate::machine::procfs;
use crate::source::coredump::{Focus, Prepared};
use crate::source::recorded::Recorded;
use crate::source::wrapped::{WrapError, WrapOrder};

/// Decides what becomes of each exec.
pub trait Judge: Send {
    fn exec(&mut self, facts: &mut dyn Facts, stop: Stop<'_>);

    /// An exec that the source has ruled out itself, and that came near; its process runs on.
    fn ruled_out(&mut self, _: &mut dyn Facts) {}

    /// An exec that was recorded, which may have failed; its process runs on.
    fn recorded(&mut self, _: Recorded) {}

    /// A process was made, where all is recorded.
    fn begun(&mut self, _: Begun) {}

    /// A process has ended, where all is recorded. Which exec it comes from is not for the source to say.
    fn ended(&mut self, _: Ended) {}

    /// Whether what happens to a process that was to be followed is looked for.
    fn wants(&mut self, _: &Candidate, _: Happened) -> bool {
        false
    }

    /// It was wanted, and all threads of the process stand still.
    fn moment(&mut self, _: &Candidate, _: Happened, _: Stop<'_>) {}

    /// What was wanted has happened, and was seen too late.
    fn missed(&mut self, _: &Candidate, _: Happened) {}

    /// A process fails after another one that comes from it has been told of; it runs on.
    fn failed_after(&mut self, _: &Candidate, _: Happened, _: Pid) {}
}

/// What a call returns that a signal has interrupted before it did anything, and that is made anew: ERESTARTSYS,
/// ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK. No program sees them.
const AGAIN: [i64; 4] = [-512, -513, -514, -516];

/// A running source.
pub trait Source {
    /// Whether it follows nothing any more.
    fn ended(&self) -> bool;
    /// Lets go of all that it follows: everything runs on, watched by nobody.
    fn let_go(&mut self);
    /// Tells nothing any more, and goes on in the background for what cannot run without it; `None` if it cannot, or
    /// has ended.
    fn keep(&mut self) -> Option<Kept> {
        None
    }
    /// What was counted where the judge does not see every exec.
    fn totals(&self) -> Option<Totals> {
        None
    }
    /// Never to be matched, nor its children: a debugger of ours.
    fn exempt(&self, _: Pid) {}
}

/// What a source goes on for when nothing is reported any more.
pub struct Kept {
    /// Whether there is anything.
    pub some: bool,
    /// Told once none of them is left.
    pub ended: Receiver<()>,
}

/// What a source has counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Execs seen.
    pub execs: u64,
    /// Matches that could not be stopped.
    pub not_stopped: u64,
    /// Processes that could not be followed.
    pub not_followed: u64,
    /// Records for which there was no room.
    pub not_told: u64,
    /// Events that the kernel passed over.
    pub missed: u64,
    /// Execs that were stopped to be judged, and ran on.
    pub short_stops: u64,
}

/// The source's side of a [`Stop`].
pub trait Control {
    fn release(&mut self, pid: Pid);
    /// On an error it is as it was, and is released.
    fn hold(&mut self, pid: Pid) -> Result<Held, NotHeld>;
    /// The same at an exec after which more may count: it is followed if the source lets it run.
    fn hold_and_follow(&mut self, pid: Pid, _: Arc<Candidate>) -> Result<Held, NotHeld> {
        self.hold(pid)
    }
    /// Lets it run, and tells what happens to it, unless there is an error.
    fn follow(&mut self, pid: Pid, candidate: Arc<Candidate>) -> Result<(), NotHeld>;
}

/// The source's side of a [`Held`]; called from any thread.
pub trait Holder: Send + Sync {
    fn release(&self, pid: Pid);
    fn park(&self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError>;
    /// Parks it for a while: the source answers for it again afterwards, if it can. One that cannot be
    /// parked stays where it is, and what only its tracer can see of it is given.
    fn lend(&self, pid: Pid, admit: Admit, _: Focus) -> Result<Loan, ParkError> {
        self.park(pid, admit).map(|trouble| Loan { prepared: None, trouble })
    }
    /// Takes back a process that was lent and is in state T: it is held as before. One that runs already is
    /// followed as before. An error says why that cannot be.
    fn take_back(&self, _: Pid) -> Result<(), NotHeld> {
        Err(NotHeld::Gone)
    }
    /// A process that was lent is not taken back.
    fn give_up(&self, _: Pid) {}
    /// Has it execute another program in its place; whether the source still follows it.
    fn wrap(&self, pid: Pid, _: &WrapOrder) -> Result<bool, WrapError> {
        self.release(pid);
        Err(WrapError::Impossible("this source cannot do that".into()))
    }
}

/// A process stopped right after its exec.
#[must_use = "dropping a stop lets the process run"]
pub struct Stop<'a> {
    pid: Pid,
    control: Option<&'a mut dyn Control>,
}

impl<'a> Stop<'a> {
    pub fn new(pid: Pid, control: &'a mut dyn Control) -> Self {
        Stop { pid, control: Some(control) }
    }

    /// Lets the process run.
    pub fn release(self) {}

    /// Lets the process run, and has the judge told of what happens to it later. An error says why nothing
    /// will be told.
    pub fn follow(mut self, candidate: Arc<Candidate>) -> Result<(), NotHeld> {
        match self.control.take() {
            Some(control) => control.follow(self.pid, candidate),
            None => Err(NotHeld::Gone),
        }
    }

    /// Keeps the process where it is, and has the judge told of what happens to it once it is let run. Who
    /// is given it by [`Held::park`] has it alone.
    pub fn hold_and_follow(mut self, candidate: Arc<Candidate>) -> Result<Held, NotHeld> {
        self.hold_by(|control, pid| control.hold_and_follow(pid, candidate))
    }

    /// Keeps the process where it is.
    pub fn hold(mut self) -> Result<Held, NotHeld> {
        self.hold_by(|control, pid| control.hold(pid))
    }

    /// Whatever the error is, the process does not stay in its stop.
    fn hold_by(
        &mut self,
        hold: impl FnOnce(&mut dyn Control, Pid) -> Result<Held, NotHeld>,
    ) -> Result<Held, NotHeld> {
        let Some(control) = self.control.take() else { return Err(NotHeld::Gone) };
        hold(control, self.pid).inspect_err(|_| control.release(self.pid))
    }
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.release(self.pid);
        }
    }
}

/// Why a stop could not be held; the process runs, or is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHeld {
    /// It died while it was looked at.
    Gone,
    /// A signal that ends it is already pending: a debugger would find a corpse.
    Dying(i32),
    /// This process traces it already.
    Traced(Pid),
    /// Somebody else has stopped it in the same moment.
    StoppedElsewhere,
    /// The kernel does not let us trace it, with this error.
    Refused(i32),
    /// One of its threads waits in the kernel, and does not stop.
    Stuck,
    /// Something that is needed to hold it has failed with this error, which says nothing of the process.
    Failed(i32),
}

impl NotHeld {
    /// What an error about a process means for its hold.
    pub fn by(pid: Pid, error: &io::Error) -> NotHeld {
        match procfs::says_gone(pid, error) {
            true => NotHeld::Gone,
            false => NotHeld::Failed(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// A process that is stopped and owned by its source.
#[must_use = "dropping it lets the process run"]
pub struct Held {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    holder: Option<Arc<dyn Holder>>,
}

impl Held {
    pub fn new(pid: Pid, pidfd: OwnedFd, holder: Arc<dyn Holder>) -> Self {
        Held { pid, pidfd: Some(pidfd), holder: Some(holder) }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets the process run.
    pub fn release(self) {}

    /// Leaves the process in state T, traced by nobody. `admit` says which debugger Yama is to let
    /// in. On success: what could not be done of that, if anything.
    pub fn park(mut self, admit: Admit) -> Result<Option<String>, ParkError> {
        match self.holder.take() {
            Some(holder) => holder.park(self.pid, admit),
            None => Err(ParkError::LetGo),
        }
    }

    /// Parks it for a while, after which its source takes it back.
    pub fn lend(mut self, admit: Admit, focus: Focus) -> Result<(Loan, Lent), ParkError> {
        let Some(holder) = self.holder.take() else { return Err(ParkError::LetGo) };
        let loan = holder.lend(self.pid, admit, focus)?;
        Ok((loan, Lent { pid: self.pid, holder: Some(holder) }))
    }

    /// Has the process execute another program in its place; whether the source still follows it. Where
    /// that is impossible it runs.
    pub fn wrap(mut self, order: &WrapOrder) -> Result<bool, WrapError> {
        match self.holder.take() {
            Some(holder) => holder.wrap(self.pid, order),
            None => Err(WrapError::LetGo),
        }
    }

    /// The process's pidfd, once.
    pub fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.take() {
            holder.release(self.pid);
        }
    }
}

/// How a process was lent.
#[derive(Debug, Default)]
pub struct Loan {
    /// Where it stays in a stop of its tracer's: what that sees of it.
    pub prepared: Option<Prepared>,
    /// What could not be done for a debugger to be admitted, if anything.
    pub trouble: Option<String>,
}

/// The claim on a process that was lent.
pub struct Lent {
    pid: Pid,
    holder: Option<Arc<dyn Holder>>,
}

impl Lent {
    /// Takes it back, stopped and not run since; an error says why its source cannot.
    pub fn take_back(mut self, pidfd: OwnedFd) -> Result<Held, NotHeld> {
        let Some(holder) = self.holder.take() else { return Err(NotHeld::Gone) };
        holder.take_back(self.pid).map(|()| Held::new(self.pid, pidfd, holder))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.take() {
            holder.give_up(self.pid);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// How a process ended, as wait(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

impl ExitStatus {
    /// The status that a shell would report: the exit code, or 128 + N for signal N.
    pub fn shell_code(self) -> u8 {
        let code = if libc::WIFSIGNALED(self.0) {
            128 + libc::WTERMSIG(self.0)
        } else {
            libc::WEXITSTATUS(self.0)
        };
        code as u8
    }
}

/// What a source tells beside the execs.
#[derive(Debug)]
pub enum SourceEvent {
    /// COMMAND runs, under this pid, since this moment (nanoseconds since boot).
    Started(Pid, u64),
    /// COMMAND could not be started.
    NotStarted(LaunchError),
    /// COMMAND has ended.
    CommandEnded(ExitStatus),
    /// COMMAND is about to be told as ended, and it leaves processes that cannot be let go.
    Bound,
    /// Nothing is left to follow.
    NothingLeft,
}

/// Why COMMAND could not be started.
#[derive(Debug)]
pub enum LaunchError {
    /// exec failed, with this error.
    Exec(io::Error),
    /// Its ids could not be changed.
    Identity(io::Error),
    /// It could not be traced.
    Trace(io::Error),
    /// The filter that stops its execs was refused.
    Seccomp(io::Error),
    /// No process could be made, or something as basic failed.
    System(io::Error),
}

/// Whom a parked process is to admit as its debugger where Yama restricts that (PR_SET_PTRACER).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Nothing is to be done: the debugger may attach as things are.
    AsIs,
    /// This process and its descendants.
    Process(Pid),
    /// Any process of the same user.
    Anyone,
}

/// Why a held process could not be parked.
#[derive(Debug, thiserror::Error)]
pub enum ParkError {
    #[error("it ended before it could be handed over")]
    Gone,
    #[error("it is about to die of signal {0}")]
    Dying(i32),
    #[error("its SIGSTOP has had no effect after {} s", .0.as_secs())]
    StillRunning(std::time::Duration),
    #[error("it had been let go")]
    LetGo,
    #[error("it is at its exit, which it cannot turn back from")]
    Leaving,
    #[error("the kernel refused: {0}")]
    Refused(#[from] io::Error),
}

impl ParkError {
    /// What an error about a process means for its passage.
    pub fn by(pid: Pid, error: io::Error) -> ParkError {
        match procfs::says_gone(pid, &error) {
            true => ParkError::Gone,
            false => ParkError::Refused(error),
        }
    }
}
