//! A hit and its stages: waiting, (launching,) parked, attached, over. Each passage is one function.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::debug::matcher::Program;
use crate::launcher::command::Findings;
use crate::launcher::control::{Client, HitState, Reply};
use crate::launcher::place::Place;
use crate::launcher::relay::Before;
use crate::linux::children;
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Status};
use crate::source::coredump::Focus;
use crate::source::{Held, Lent, NotHeld};
use crate::text::escape;
use crate::text::report;

/// How long a shim may take to come, from its start in a terminal.
const SHIM_COMES: Duration = Duration::from_secs(20);

/// How long after the first thread a debugger may attach to the last one.
const THREADS_FOLLOW: Duration = Duration::from_secs(5);

fn is_traced(tid: &Pid) -> io::Result<bool> {
    Status::read(*tid).map(|status| status.tracer != 0)
}

/// The status of a process: of its first thread, or where that has ended, of another one, which is traced if any is.
fn status_of(pid: Pid) -> Option<Status> {
    if !procfs::first_thread_ended(pid) {
        return Status::read(pid).ok();
    }
    let tids = procfs::threads(pid).ok()?;
    let statuses = tids.into_iter().filter_map(|tid| Status::read(tid).ok());
    statuses.max_by_key(|status| (status.tracer != 0, status.stops()))
}

/// Whether every thread of a process is traced.
fn has_all_threads(pid: Pid) -> bool {
    procfs::threads(pid)
        .is_ok_and(|threads| threads.iter().all(|tid| is_traced(tid).unwrap_or(false)))
}

/// Whether any of them still is, for all that is known.
fn has_some_thread(pid: Pid) -> bool {
    let is = |tid: &Pid| is_traced(tid).unwrap_or_else(|error| !procfs::says_gone(*tid, &error));
    match procfs::threads(pid) {
        Ok(threads) => threads.iter().any(is),
        Err(error) => !procfs::says_gone(pid, &error),
    }
}

/// A match that was taken.
pub struct Hit {
    pub id: u64,
    pub pid: Pid,
    pub program: Box<Program>,
    /// Becomes readable when the process has ended.
    pub pidfd: OwnedFd,
    pub stage: Stage,
    /// The place in which its debugger was started last.
    pub place: Option<String>,
    /// What was found out about it for its debugger.
    pub findings: Findings,
    /// What runs in our terminal, or writes to our standard error, on behalf of this hit: we outlast it.
    pub shim: Option<Shim>,
    /// How our terminal was before that.
    pub before: Option<Before>,
    /// The folder in which something of it was saved.
    pub folder: Option<PathBuf>,
    /// Whether that has been tried.
    pub saved: bool,
    /// Whether a debugger has looked at a core of it, in place of itself.
    pub shown: bool,
    /// What it is stopped for, where that is not its exec.
    pub focus: Focus,
    pub moment: &'static str,
    /// Who lent us the terminal on which that runs.
    pub lender: Option<Client>,
}

pub enum Stage {
    /// In its exec stop, owned by the source.
    Waiting(Held),
    /// The same, and its debugger's place is being made.
    Launching(Launching),
    /// In state T, in the hands of a thread that saves it; the guardian knows of it.
    Saving(Saving),
    /// In state T, traced by nobody; the guardian knows of it.
    Parked(Parked),
    /// In a debugger's hands, its SIGCONT sent.
    Attached(Option<Debugger>),
    /// The process has ended, or its debugger is gone.
    Over,
}

pub struct Launching {
    pub held: Held,
    pub place: Box<Place>,
    /// The terminal's command, if it is not the shim itself.
    pub opener: Option<Child>,
    pub deadline: Instant,
}

pub struct Saving {
    /// Its source's claim on it.
    pub lent: Lent,
    /// Set when it is not wanted any more.
    pub cancelled: Arc<AtomicBool>,
}

pub struct Parked {
    /// `None`: somebody may attach by hand.
    pub debugger: Option<Debugger>,
    pub since: Instant,
    pub deadline: Option<Instant>,
    /// Since when a debugger has had some of its threads.
    attaching: Option<Instant>,
}

/// A debugger that we started.
pub struct Debugger {
    pub pid: Pid,
    pidfd: OwnedFd,
    /// By which descriptor it has the process, if it does not attach by ptrace.
    ready_fd: Option<String>,
    /// Where it gives the process back: its source's claim. Until then the process gets no SIGCONT.
    lent: Option<Lent>,
}

impl Debugger {
    pub fn new(
        (pid, pidfd): (Pid, OwnedFd),
        ready_fd: Option<String>,
        lent: Option<Lent>,
    ) -> Debugger {
        Debugger { pid, pidfd, ready_fd, lent }
    }

    /// Whether it has the process without tracing it: it holds the descriptor, and waits for what
    /// comes.
    fn is_ready(&self) -> bool {
        let Some(wanted) = &self.ready_fd else { return false };
        procfs::waits_in_poll(self.pid)
            && procfs::links(self.pid, "fd").any(|link| link == wanted.as_bytes())
    }

    /// Whether it has the process in a way that its end alone shows to be over.
    fn holds_unseen(&self) -> bool {
        self.ready_fd.is_some() && !self.ended()
    }

    fn ended(&self) -> bool {
        is_readable(&self.pidfd)
    }
}

/// Whether a pidfd says that its process has ended.
pub fn is_readable(fd: impl AsFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// A process that we have started in a debugger's place. Its number is its own until it has been collected, and may
/// be anybody's then.
pub struct Shim {
    child: Child,
    collected: bool,
}

impl Shim {
    pub fn new(child: Child) -> Shim {
        Shim { child, collected: false }
    }

    /// How it has ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.collected |= status.is_some();
        status
    }

    /// Sends it a signal, or all of its process group; nobody else gets that.
    pub fn signal(&self, whole_group: bool, signal: i32) {
        if !self.collected {
            let pid = self.child.id() as Pid;
            // An error says that it has ended.
            let _ = sys::kill(if whole_group { -pid } else { pid }, signal);
        }
    }

    /// Ends it; one that does not heed that is killed.
    pub fn end(mut self) {
        if !self.collected {
            self.signal(false, libc::SIGTERM);
            let _ = children::wait(&mut self.child, report::PATIENCE);
        }
    }
}

/// Something that happened to a hit, for the session to act on.
#[derive(Debug)]
pub enum Progress {
    /// The process has ended.
    Ended,
    /// A debugger has it now.
    Attached,
    /// Its debugger has let it go; why it is not followed any more, if it was to be.
    DebuggerGone(Option<NotHeld>),
    /// The place could not be made, or no shim came from it.
    NoPlace(String),
    /// The debugger ended, or the time ran out, without it having attached.
    NotAttached(String),
    /// The shim that shared our terminal has ended.
    ShimEnded,
}

impl Hit {
    pub fn new(id: u64, mut held: Held, program: Box<Program>) -> Option<Hit> {
        let pidfd = held.take_pidfd()?;
        Some(Hit {
            id,
            pid: held.pid(),
            pidfd,
            focus: Focus::of(held.pid(), program.happened),
            moment: program.happened.map_or("exec", |happened| happened.what.name()),
            folder: None,
            saved: false,
            shown: false,
            stage: Stage::Waiting(held),
            place: None,
            findings: Findings::default(),
            shim: None,
            before: None,
            lender: None,
            program,
        })
    }

    /// Whether what it is held for is not its end.
    pub fn goes_on(&self) -> bool {
        self.program.happened.is_some_and(|happened| happened.what.goes_on())
    }

    /// Whether it counts against the number of sessions.
    pub fn is_active(&self) -> bool {
        let busy = !matches!(self.stage, Stage::Waiting(_) | Stage::Over);
        busy || self.shim.is_some()
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over) && self.shim.is_none()
    }

    /// How soon it has to be looked at again, besides when its pidfd says so. TracerPid cannot be
    /// polled for.
    pub fn look_again(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Waiting(_) | Stage::Saving(_) => None,
            Stage::Launching(_) => Some(Duration::from_millis(10)),
            // A debugger attaches within a second, as a rule, and ought not to wait for us.
            Stage::Parked(parked)
                if parked.debugger.is_some() && parked.since.elapsed().as_secs() < 3 =>
            {
                Some(Duration::from_millis(2))
            }
            // It ought not to wait for us to be taken back, either.
            Stage::Attached(Some(Debugger { lent: Some(_), .. })) => Some(Duration::from_millis(5)),
            Stage::Parked(_) | Stage::Attached(_) => Some(Duration::from_millis(50)),
            Stage::Over => self.shim.as_ref().map(|_| Duration::from_millis(20)),
        }
    }

    /// The place is being made.
    pub fn launching(&mut self, place: Box<Place>, child: Child) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let (Stage::Waiting(held) | Stage::Launching(Launching { held, .. })) = stage else {
            self.stage = stage;
            return;
        };
        let apart = !place.terminal.shares_terminal && !place.terminal.attached;
        self.before = if place.terminal.shares_terminal { Before::note().ok() } else { None };
        let (opener, shim) =
            if apart { (Some(child), None) } else { (None, Some(Shim::new(child))) };
        self.shim = shim;
        self.place = Some(place.terminal.name.clone());
        let deadline = Instant::now() + SHIM_COMES;
        self.stage = Stage::Launching(Launching { held, place, opener, deadline });
    }

    /// Takes the token of a process that is still held.
    pub fn take_held(&mut self) -> Option<Held> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting(held) => Some(held),
            Stage::Launching(launching) => {
                if let Some(mut opener) = launching.opener {
                    // Some terminals' commands run as long as what is in them, and speak meanwhile.
                    let _ = std::thread::Builder::new().spawn(move || {
                        let _ = opener
                            .stderr
                            .take()
                            .map(|mut said| std::io::copy(&mut said, &mut std::io::sink()));
                        opener.wait()
                    });
                }
                Some(launching.held)
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// It was parked.
    pub fn parked(&mut self, debugger: Option<Debugger>, timeout: Option<Duration>) {
        let since = Instant::now();
        let deadline = timeout.map(|timeout| since + timeout);
        self.stage = Stage::Parked(Parked { debugger, since, deadline, attaching: None });
    }

    /// Lets the process run on, whoever's it is by now; false if it is in a debugger's hands.
    pub fn let_run(&mut self) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting(held) => held.release(),
            Stage::Launching(launching) => launching.held.release(),
            Stage::Parked(parked) => match parked.debugger.and_then(|debugger| debugger.lent) {
                Some(lent) => drop(self.take_back(lent)),
                None => self.send_continue(),
            },
            Stage::Saving(saving) => {
                saving.cancelled.store(true, Ordering::Relaxed);
                self.send_continue();
            }
            other => {
                self.stage = other;
                return false;
            }
        }
        true
    }

    /// SIGCONT. A refusal means that the process has changed its user since: it is not ours any more.
    pub fn send_continue(&self) {
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGCONT);
    }

    /// Gives a process that was lent to a debugger back to its source, and lets it run on; why the source cannot
    /// follow it any more, if that is so.
    fn take_back(&self, lent: Lent) -> Option<NotHeld> {
        let taken = match self.pidfd.try_clone() {
            Ok(pidfd) => lent.take_back(pidfd).map(Held::release),
            Err(error) => Err(NotHeld::by(self.pid, &error)),
        };
        if taken.is_err() {
            self.send_continue();
        }
        taken.err()
    }

    /// What is in a debugger's hands, and was to be given back, is left there.
    pub fn leave(&mut self) {
        if let Stage::Attached(Some(debugger)) = &mut self.stage
            && debugger.lent.take().is_some()
        {
            self.continue_attached();
        }
    }

    /// Whether its guardian answers for it until its debugger has gone.
    pub fn is_lent(&self) -> bool {
        matches!(self.stage, Stage::Attached(Some(Debugger { lent: Some(_), .. })))
    }

    /// SIGCONT for one that is in a debugger's hands: it ends the stop of all threads, and is reported by
    /// the one that it is sent to. That is the thread to which something has happened, where its end cannot
    /// come between: another one would hold the report back until the process has died of its signal.
    fn continue_attached(&self) {
        if let Some(happened) = self.program.happened
            && sys::tgkill(self.pid, happened.tid, libc::SIGCONT).is_ok()
        {
            return;
        }
        self.send_continue();
    }

    /// Looks what has happened, and makes the passages that need nobody's decision.
    pub fn look(&mut self) -> Option<Progress> {
        if let Some(shim) = &mut self.shim
            && matches!(self.stage, Stage::Over)
        {
            let ended = shim.ended()?;
            self.shim = None;
            if let Some(before) = self.before.take() {
                before.ended(Some(ended));
            }
            if let Some(lender) = self.lender.take() {
                let _ = lender.answer(&Reply::TerminalFree);
            }
            return Some(Progress::ShimEnded);
        }
        if !matches!(self.stage, Stage::Over) && is_readable(&self.pidfd) {
            self.stage = Stage::Over;
            return Some(Progress::Ended);
        }
        match &mut self.stage {
            Stage::Launching(launching) => launching.look(self.shim.as_mut()),
            Stage::Parked(_) => self.look_parked(),
            Stage::Attached(_) => self.look_attached(),
            Stage::Waiting(_) | Stage::Saving(_) | Stage::Over => None,
        }
    }

    fn look_parked(&mut self) -> Option<Progress> {
        let Stage::Parked(parked) = &mut self.stage else { return None };
        // Asked before the process is looked at: what ends after that is seen the next time.
        let debugger_ended = parked.debugger.as_ref().is_some_and(Debugger::ended);
        // What cannot be read now may be the next time; the deadline holds all the same.
        let status = status_of(self.pid);
        if status.is_some_and(|status| status.tracer != 0)
            || parked.debugger.as_ref().is_some_and(Debugger::is_ready)
        {
            // A thread that is about to die must be in the debugger's hands before it goes on.
            let attaching = *parked.attaching.get_or_insert_with(Instant::now);
            if self.program.happened.is_some()
                && attaching.elapsed() < THREADS_FOLLOW
                && !has_all_threads(self.pid)
            {
                return None;
            }
            let debugger = parked.debugger.take();
            self.stage = Stage::Attached(debugger);
            fault::point("attached");
            if !self.is_lent() {
                self.continue_attached();
            }
            fault::point("continued");
            return Some(Progress::Attached);
        }
        let settled = debugger_ended || parked.since.elapsed() > Duration::from_secs(1);
        // Looked at twice: the stop may come into force while the status is read.
        let runs = |status: Option<Status>| status.is_some_and(|status| !status.stops());
        if settled && runs(status) && runs(status_of(self.pid)) {
            // Somebody has set it going: perhaps a debugger that has come and gone between two looks.
            let lent = parked.debugger.take().and_then(|debugger| debugger.lent);
            return Some(self.debugger_gone(lent));
        }
        if debugger_ended {
            return Some(Progress::NotAttached("it ended without having attached".into()));
        }
        let late = parked.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        late.then(|| {
            let seconds = parked.since.elapsed().as_secs_f32();
            Progress::NotAttached(format!("it has not attached after {seconds:.0} s"))
        })
    }

    fn look_attached(&mut self) -> Option<Progress> {
        let status = status_of(self.pid)?;
        let Stage::Attached(debugger) = &mut self.stage else { return None };
        if status.tracer != 0 || debugger.as_ref().is_some_and(Debugger::holds_unseen) {
            return None;
        }
        if let Some(debugger) = debugger
            && debugger.lent.is_some()
        {
            if has_some_thread(self.pid) {
                return None;
            }
            let lent = debugger.lent.take();
            return Some(self.debugger_gone(lent));
        }
        // Its SIGCONT may have been undone by a stop of the debugger's own making, which may still be
        // on its way.
        self.send_continue();
        Some(self.debugger_gone(None))
    }

    fn debugger_gone(&mut self, lent: Option<Lent>) -> Progress {
        self.stage = Stage::Over;
        Progress::DebuggerGone(lent.and_then(|lent| self.take_back(lent)))
    }

    /// The hit as `ps` shows it.
    pub fn state(&self) -> HitState {
        let (stage, debugger) = match &self.stage {
            Stage::Waiting(_) | Stage::Launching(_) => ("waiting", None),
            Stage::Saving(_) => ("saving", None),
            Stage::Parked(parked) => ("parked", parked.debugger.as_ref().map(|d| d.pid)),
            Stage::Attached(debugger) => ("attached", debugger.as_ref().map(|d| d.pid)),
            Stage::Over => ("over", None),
        };
        HitState {
            id: self.id,
            pid: self.pid,
            stage: stage.into(),
            debugger,
            line: escape::command_line(&self.program.argv, 100),
        }
    }
}

impl Launching {
    fn look(&mut self, shim: Option<&mut Shim>) -> Option<Progress> {
        if let Some(status) = shim.and_then(Shim::ended) {
            return Some(Progress::NoPlace(format!("our own process in it ended ({status})")));
        }
        if let Some(opener) = &mut self.opener
            && let Ok(Some(status)) = opener.try_wait()
        {
            let said = opener.stderr.take().map(children::said).unwrap_or_default();
            self.opener = None;
            if !status.success() {
                let said = escape::text(said.trim_ascii());
                return Some(Progress::NoPlace(if said.is_empty() {
                    status.to_string()
                } else {
                    said
                }));
            }
        }
        (Instant::now() >= self.deadline).then(|| {
            Progress::NoPlace(format!("nothing came from it in {} s", SHIM_COMES.as_secs()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_s_number_is_signalled_only_until_it_has_been_collected() {
        let start = || Shim::new(std::process::Command::new("sleep").arg("1000").spawn().unwrap());
        let mut shim = start();
        assert_eq!(shim.ended(), None);
        shim.signal(false, libc::SIGKILL);
        while shim.ended().is_none() {
            std::thread::yield_now();
        }
        assert!(shim.collected);
        // As if another process had its number.
        let mut other = start();
        shim.child = std::mem::replace(&mut other.child, shim.child);
        shim.signal(false, libc::SIGKILL);
        let pid = shim.child.id() as Pid;
        assert!(Status::read(pid).unwrap().pending & 1 << (libc::SIGKILL - 1) == 0);
        assert_eq!(shim.child.try_wait().unwrap(), None);
        shim.child.kill().unwrap();
        shim.child.wait().unwrap();
    }
}
