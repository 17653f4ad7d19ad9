//! The tracer: one thread that blocks in waitpid, and one short function for each kind of stop.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admit::{gone, ptracer};
use super::adopt::Adopting;
use super::attach::Attached;
use super::follow::{Followed, Look};
use super::hold::Hold;
use super::inject::{self, At};
use super::mailbox::{Mailbox, Request};
use super::memory::Stack;
use super::stop::Report;
use super::wrap;
use crate::debug::matcher::Candidate;
use crate::event::Keep;
use crate::linux::fault;
use crate::linux::sys::{self, Alarm, Pid};
use crate::machine::procfs::Status;
use crate::source::launch::Launched;
use crate::source::lineage::Lineage;
use crate::source::stopped::StoppedProcess;
use crate::source::wrapped::{WrapError, WrapOrder, traces_others};
use crate::source::{
    Admit, Control, ExitStatus, Held, Judge, NotHeld, ParkError, SourceEvent, Stop,
};

/// What every tracee is seized with. No EXITKILL: our death lets go. TRACESYSGOOD tells the stops of
/// an injected call from a SIGTRAP.
pub const OPTIONS: i32 = libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACESYSGOOD;

/// How long a first thread that ends is given to do so.
pub(super) const A_MOMENT: Duration = Duration::from_millis(5);

/// The tracer's state. There is none for a tracee that waits for nothing.
pub struct Tracer<J, E> {
    pub(super) waiting: Waiting,
    lineage: Option<Lineage>,
    /// Where another source finds the processes.
    pub(super) adopting: Option<Adopting>,
    pub(super) command: Option<Pid>,
    /// Until COMMAND's first exec.
    launched: Option<Launched>,
    pub(super) judge: J,
    tell: E,
}

/// The processes that are kept in a stop, and those that are followed until something happens.
pub(super) struct Waiting {
    /// In their exec stop, or in one right after it.
    pub pids: HashMap<Pid, At>,
    /// In state T and traced by nobody, and to be taken back; with the hold that it was in, after its exec.
    pub lent: HashMap<Pid, Option<Hold>>,
    /// Threads that are to see nothing of the SIGCONT that has ended such a state.
    pub continued: HashSet<Pid>,
    /// Of both, what is followed once it is let run.
    pub later: HashMap<Pid, Arc<Candidate>>,
    pub holds: HashMap<Pid, Hold>,
    /// When holds are to be looked at again that wait for threads.
    pub again: Option<(Instant, Alarm)>,
    pub followed: Followed,
    pub mailbox: Arc<Mailbox>,
}

enum Flow {
    On,
    End,
}

/// A tracee may die at any moment, under every call: ESRCH means that its end will be, or was,
/// reported. What else could fail would leave it stopped, and it is let go by the kernel at the
/// latest when this thread ends.
fn unless_gone(result: io::Result<()>) {
    debug_assert!(
        result.as_ref().err().is_none_or(|error| error.raw_os_error() == Some(libc::ESRCH)),
        "{result:?}"
    );
}

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    pub fn new(
        (launched, attached): (Option<Launched>, &[Attached]),
        (keep, look): (Keep, Look),
        mailbox: Arc<Mailbox>,
        judge: J,
        tell: E,
    ) -> Self {
        let mut waiting = Waiting::new(look, mailbox);
        let command = launched.as_ref().map(|launched| launched.pid);
        // Until it has executed COMMAND it is ours. What ran before us is not looked for.
        for pid in command.into_iter().chain(attached.iter().map(|process| process.pid)) {
            waiting.followed.executed(pid, None);
        }
        Tracer {
            waiting,
            lineage: Lineage::new(keep, command, attached),
            adopting: None,
            command,
            launched,
            judge,
            tell,
        }
    }

    /// A tracer that has nothing to trace but what it is given.
    pub fn adopting(look: Look, mailbox: Arc<Mailbox>, judge: J, tell: E) -> Self {
        Tracer {
            waiting: Waiting::new(look, mailbox),
            lineage: None,
            adopting: Some(Adopting::default()),
            command: None,
            launched: None,
            judge,
            tell,
        }
    }

    /// Runs until nothing is left to trace, or until it is told to let go. When this returns, the
    /// thread must end: that frees every tracee, without an EINTR in anybody's system call.
    pub fn run(&mut self) {
        loop {
            for request in self.waiting.mailbox.take() {
                if let Flow::End = self.serve(request) {
                    return;
                }
            }
            for pid in self.waiting.followed.hanging() {
                self.hangs(pid);
            }
            self.look_for_the_first();
            match sys::wait_tracee(-1) {
                Ok(Some((pid, status))) => self.stopped(pid, Report::decode(status)),
                Ok(None) => {}
                // ECHILD: all are gone, and a request says what becomes of those that were lent.
                Err(_) if !self.waiting.lent.is_empty() => sys::wait_for_wake(),
                Err(_) if self.rest() => {}
                Err(_) => return (self.tell)(SourceEvent::NothingLeft),
            }
        }
    }

    fn stopped(&mut self, pid: Pid, report: Report) {
        if self.stopped_for_a_hold(pid, report) {
            return;
        }
        match report {
            Report::Exec => self.executed(pid),
            Report::NewTask { clone } => self.forked(pid, clone),
            Report::Trap => self.trapped(pid),
            Report::Signal(signal) => self.signalled(pid, signal),
            Report::GroupStop => unless_gone(sys::listen(pid)),
            Report::Ended(status) => self.ended(pid, status),
            Report::Syscall => self.calls(pid),
            Report::Leaving => self.exits(pid),
            Report::Seccomp | Report::Other => self.waiting.resume(pid, 0),
        }
    }

    fn executed(&mut self, pid: Pid) {
        if self.executed_elsewhere(pid) {
            return;
        }
        if Some(pid) == self.command && self.launched.take().is_some() {
            (self.tell)(SourceEvent::Started(pid, sys::boot_time()));
        }
        let mut facts = self.noted(pid);
        self.judge.exec(&mut facts, Stop::new(pid, &mut self.waiting));
    }

    /// Enters an exec into the lineage; its facts.
    fn noted(&mut self, pid: Pid) -> StoppedProcess {
        let mut place = None;
        if let Some(lineage) = &mut self.lineage {
            let before = sys::event_message(pid).map_or(pid, |tid| tid as Pid);
            lineage.executing(pid, before);
            place = Some(lineage.place(pid));
        }
        let mut facts = StoppedProcess::new(pid, place, |pid| Ok(Box::new(Stack::read(pid)?)));
        if let Some(lineage) = &mut self.lineage {
            lineage.executed(pid, &mut facts);
        }
        if self.waiting.followed.is_at_the_last() {
            // What it was before may have been a candidate.
            unless_gone(sys::set_options(pid, OPTIONS));
        }
        // What is ruled out, held or let go is no candidate; the judge says which one is.
        self.waiting.followed.executed(pid, None);
        facts
    }

    fn forked(&mut self, pid: Pid, clone: bool) {
        self.note_fork(pid, clone);
        self.waiting.resume(pid, 0);
    }

    pub(super) fn note_fork(&mut self, pid: Pid, clone: bool) {
        if (self.lineage.is_some() || self.waiting.followed.is_needed())
            && let Ok(child) = sys::event_message(pid)
            && self.has_child(child as Pid)
        {
            if let Some(lineage) = &mut self.lineage {
                lineage.forked(pid, child as Pid, clone);
            }
            self.waiting.followed.forked(pid, child as Pid, clone);
        }
    }

    fn trapped(&mut self, pid: Pid) {
        if let Some(lineage) = &mut self.lineage {
            lineage.seen(pid);
        }
        self.waiting.followed.begins(pid);
        self.lets_continue(pid);
        self.waiting.resume(pid, 0);
    }

    /// A task is no more, or is ours no longer.
    pub(super) fn forget(&mut self, pid: Pid) {
        self.waiting.later.remove(&pid);
        self.waiting.continued.remove(&pid);
        self.waiting.followed.ended(pid);
        if let Some(lineage) = &mut self.lineage {
            lineage.ended(pid);
        }
    }

    pub(super) fn ended(&mut self, pid: Pid, status: ExitStatus) {
        self.waiting.pids.remove(&pid);
        self.missed(pid, status);
        self.forget(pid);
        self.note_end(pid);
        if Some(pid) == self.command {
            let failure = self.launched.take().and_then(Launched::failure);
            (self.tell)(match failure {
                Some(error) => SourceEvent::NotStarted(error),
                None => SourceEvent::CommandEnded(status),
            });
        }
    }

    fn serve(&mut self, request: Request) -> Flow {
        match request {
            Request::Release(pid, answer) => {
                if self.waiting.pids.remove(&pid).is_some() || self.waiting.holds.contains_key(&pid)
                {
                    self.waiting.release(pid);
                }
                let _ = answer.send(());
            }
            Request::Park(pid, admit, answer) => {
                let result = self.park(pid, admit);
                let _ = answer.send(result);
            }
            Request::Lend(pid, admit, focus, answer) => {
                let _ = answer.send(self.lend(pid, admit, focus));
            }
            Request::TakeBack(pid, answer) => {
                let _ = answer.send(self.take_back(pid));
            }
            Request::GiveUp(pid, answer) => {
                self.give_up(pid);
                let _ = answer.send(());
            }
            Request::Wrap(pid, order, answer) => {
                let result = self.wrap(pid, &order);
                let _ = answer.send(result);
            }
            Request::Adopt(adoptee, answer) => {
                let result = self.adopt(adoptee);
                let _ = answer.send(result);
            }
            Request::TellsEnd(pid, answer) => {
                let _ = answer.send(self.tells_end_of(pid));
            }
            // What this one follows needs no tracer.
            Request::Keep(..) => {}
            Request::LetGo => {
                self.waiting.release_holds();
                return Flow::End;
            }
        }
        Flow::On
    }

    pub(super) fn park(&mut self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        let hold = self.waiting.holds.remove(&pid);
        let result = match (&hold, self.waiting.pids.remove(&pid)) {
            (Some(hold), _) => hold.park(admit),
            (None, Some(at)) => park(pid, at, admit),
            (None, None) => return Err(ParkError::Gone),
        };
        match (&result, hold) {
            (Ok(_), _) => self.forget(pid),
            // Whatever was refused, it must not stay where it is.
            (Err(_), Some(hold)) => hold.release(|tid, signal| self.waiting.resume(tid, signal)),
            (Err(_), None) => self.waiting.begin(pid),
        }
        result
    }

    /// A wrapper is followed, and with it the children of what it wraps, unless it is a tracer itself.
    fn wrap(&mut self, pid: Pid, order: &WrapOrder) -> Result<bool, WrapError> {
        if self.waiting.holds.contains_key(&pid) {
            self.waiting.release(pid);
            return Err(WrapError::Impossible("it is past its exec".into()));
        }
        let at = self.waiting.pids.remove(&pid).ok_or(WrapError::Gone)?;
        if let Err(failed) = wrap::execute(pid, at, order) {
            self.waiting.begin(pid);
            return Err(failed.into());
        }
        self.waiting.later.remove(&pid);
        let follow = !traces_others(pid);
        if follow {
            self.noted(pid);
            unless_gone(sys::cont(pid, 0));
        } else {
            if let Some(lineage) = &mut self.lineage {
                lineage.ended(pid);
            }
            unless_gone(sys::detach(pid, 0));
        }
        Ok(follow)
    }
}

impl<J, E> Drop for Tracer<J, E> {
    fn drop(&mut self) {
        self.waiting.mailbox.close();
    }
}

/// Takes a process from where it waits to state T, traced by nobody. PTRACE_DETACH ignores a signal
/// at an event stop, so the signal is sent first.
pub(super) fn park(pid: Pid, at: At, admit: Admit) -> Result<Option<String>, ParkError> {
    if let Some(signal) =
        Status::read(pid).map_err(|error| ParkError::by(pid, error))?.fatal_pending()
    {
        return Err(ParkError::Dying(signal));
    }
    let call = |ptracer| inject::set_ptracer(pid, ptracer, at);
    let trouble = match ptracer(admit).map(call) {
        None | Some(Ok(())) => None,
        Some(Err(inject::Failed::Died)) => return Err(ParkError::Gone),
        Some(Err(inject::Failed::Impossible(why))) => Some(why),
    };
    fault::point("before-stop");
    sys::kill(pid, libc::SIGSTOP).map_err(gone)?;
    fault::point("stop-sent");
    sys::detach(pid, 0).map_err(gone)?;
    fault::point("detached");
    Ok(trouble)
}

impl Waiting {
    fn new(look: Look, mailbox: Arc<Mailbox>) -> Waiting {
        let followed = Followed::new(look);
        Waiting {
            pids: HashMap::new(),
            lent: HashMap::new(),
            continued: HashSet::new(),
            later: HashMap::new(),
            holds: HashMap::new(),
            again: None,
            followed,
            mailbox,
        }
    }

    /// Whether a process is in its exec stop.
    pub fn waits_at_exec(&self, pid: Pid) -> bool {
        self.pids.contains_key(&pid)
    }

    /// Lets a task run on, with this signal.
    pub fn resume(&self, tid: Pid, signal: i32) {
        unless_gone(if self.followed.watches_calls(tid) {
            sys::cont_to_syscall(tid, signal)
        } else {
            sys::cont(tid, signal)
        });
    }

    /// Wakes the tracer after this time, to look at its holds again.
    pub fn look_again(&mut self, after: Duration) {
        let when = Instant::now() + after;
        if self.again.as_ref().is_none_or(|(before, _)| when < *before)
            && let Ok(mut alarm) = Alarm::new()
        {
            let _ = alarm.set(after);
            self.again = Some((when, alarm));
        }
    }

    /// Lets a process run on from its exec.
    pub fn begin(&mut self, pid: Pid) {
        if let Some(candidate) = self.later.remove(&pid) {
            self.followed.executed(pid, Some(candidate));
        }
        self.resume(pid, 0);
    }

    fn release_holds(&mut self) {
        for (_, hold) in std::mem::take(&mut self.holds) {
            hold.release(|tid, signal| self.resume(tid, signal));
        }
    }
}

impl Control for Waiting {
    fn release(&mut self, pid: Pid) {
        match self.holds.remove(&pid) {
            Some(hold) => hold.release(|tid, signal| self.resume(tid, signal)),
            None => self.begin(pid),
        }
    }

    fn follow(&mut self, pid: Pid, candidate: Arc<Candidate>) -> Result<(), NotHeld> {
        self.followed.executed(pid, Some(candidate));
        self.resume(pid, 0);
        Ok(())
    }

    fn hold(&mut self, pid: Pid) -> Result<Held, NotHeld> {
        if let Some(hold) = self.holds.get(&pid) {
            if hold.late {
                return Err(NotHeld::Stuck);
            }
            if let Some(errno) = hold.failed {
                return Err(NotHeld::Failed(errno));
            }
        }
        let status = Status::read(pid).map_err(|error| NotHeld::by(pid, &error))?;
        let dying = match self.holds.contains_key(&pid) {
            // What it dies of is what it is held for.
            true => status.is_killed().then_some(libc::SIGKILL),
            false => status.fatal_pending(),
        };
        if let Some(signal) = dying {
            return Err(NotHeld::Dying(signal));
        }
        let pidfd = sys::pidfd_open(pid)
            .and_then(|pidfd| sys::leaves_room(pidfd.as_fd()).map(|()| pidfd))
            .map_err(|error| NotHeld::by(pid, &error))?;
        match self.holds.get_mut(&pid) {
            Some(hold) => self.followed.told(pid, hold.happened.what),
            None => drop(self.pids.insert(pid, At::Exec)),
        }
        fault::point("held");
        Ok(Held::new(pid, pidfd, self.mailbox.clone()))
    }

    fn hold_and_follow(&mut self, pid: Pid, candidate: Arc<Candidate>) -> Result<Held, NotHeld> {
        self.later.insert(pid, candidate);
        self.hold(pid)
    }
}
