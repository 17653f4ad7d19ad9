//! The tracer: one thread that blocks in waitpid, and one short function for each kind of stop.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::admit::{gone, ptracer};
use super::inject;
use super::mailbox::{Mailbox, Request};
use super::memory::Stack;
use super::stop::Report;
use super::wrap;
use crate::event::Keep;
use crate::fault;
use crate::procfs::Status;
use crate::source::launch::Launched;
use crate::source::lineage::Lineage;
use crate::source::stopped::StoppedProcess;
use crate::source::{
    Admit, Control, ExitStatus, Held, Judge, NotHeld, ParkError, SourceEvent, Stop,
};
use crate::sys::{self, Pid};
use crate::wrapped::{WrapError, WrapOrder, traces_others};

/// What every tracee is seized with. No EXITKILL: our death lets go. TRACESYSGOOD tells the stops of
/// an injected call from a SIGTRAP.
pub const OPTIONS: i32 = libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACESYSGOOD;

/// The tracer's state. There is none for a tracee that waits for nothing.
pub struct Tracer<J, E> {
    waiting: Waiting,
    lineage: Option<Lineage>,
    command: Pid,
    /// Until COMMAND's first exec.
    launched: Option<Launched>,
    judge: J,
    tell: E,
}

/// The processes that are kept in their exec stop.
struct Waiting {
    pids: HashSet<Pid>,
    mailbox: Arc<Mailbox>,
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
    pub fn new(launched: Launched, keep: Keep, mailbox: Arc<Mailbox>, judge: J, tell: E) -> Self {
        Tracer {
            waiting: Waiting { pids: HashSet::new(), mailbox },
            lineage: Lineage::new(keep, launched.pid),
            command: launched.pid,
            launched: Some(launched),
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
            match sys::wait_tracee(-1) {
                Ok(Some((pid, status))) => self.stopped(pid, Report::decode(status)),
                Ok(None) => {}
                // ECHILD: all are gone.
                Err(_) => return,
            }
        }
    }

    fn stopped(&mut self, pid: Pid, report: Report) {
        match report {
            Report::Exec => self.executed(pid),
            Report::NewTask { clone } => self.forked(pid, clone),
            Report::Trap => self.trapped(pid),
            Report::Signal(signal) => unless_gone(sys::cont(pid, signal)),
            Report::GroupStop => unless_gone(sys::listen(pid)),
            Report::Ended(status) => self.ended(pid, status),
            Report::Syscall | Report::Other => unless_gone(sys::cont(pid, 0)),
        }
    }

    fn executed(&mut self, pid: Pid) {
        if pid == self.command && self.launched.take().is_some() {
            (self.tell)(SourceEvent::Started(pid));
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
        facts
    }

    fn forked(&mut self, pid: Pid, clone: bool) {
        if let Some(lineage) = &mut self.lineage
            && let Ok(child) = sys::event_message(pid)
        {
            lineage.forked(pid, child as Pid, clone);
        }
        unless_gone(sys::cont(pid, 0));
    }

    fn trapped(&mut self, pid: Pid) {
        if let Some(lineage) = &mut self.lineage {
            lineage.seen(pid);
        }
        unless_gone(sys::cont(pid, 0));
    }

    fn ended(&mut self, pid: Pid, status: ExitStatus) {
        self.waiting.pids.remove(&pid);
        if let Some(lineage) = &mut self.lineage {
            lineage.ended(pid);
        }
        if pid == self.command {
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
                if self.waiting.pids.remove(&pid) {
                    unless_gone(sys::cont(pid, 0));
                }
                let _ = answer.send(());
            }
            Request::Park(pid, admit, answer) => {
                let result = self.park(pid, admit);
                let _ = answer.send(result);
            }
            Request::Wrap(pid, order, answer) => {
                let result = self.wrap(pid, &order);
                let _ = answer.send(result);
            }
            Request::LetGo => return Flow::End,
        }
        Flow::On
    }

    fn park(&mut self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        if !self.waiting.pids.remove(&pid) {
            return Err(ParkError::Gone);
        }
        let result = park(pid, admit);
        match &result {
            Ok(_) => {
                if let Some(lineage) = &mut self.lineage {
                    lineage.ended(pid);
                }
            }
            // Whatever was refused, it must not stay where it is.
            Err(_) => unless_gone(sys::cont(pid, 0)),
        }
        result
    }

    /// A wrapper is followed, and with it the children of what it wraps, unless it is a tracer itself.
    fn wrap(&mut self, pid: Pid, order: &WrapOrder) -> Result<bool, WrapError> {
        if !self.waiting.pids.remove(&pid) {
            return Err(WrapError::Gone);
        }
        if let Err(failed) = wrap::execute(pid, inject::At::Exec, order) {
            unless_gone(sys::cont(pid, 0));
            return Err(failed.into());
        }
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

/// Takes a process from its exec stop to state T, traced by nobody. PTRACE_DETACH ignores a signal
/// at an event stop, so the signal is sent first.
fn park(pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
    if let Some(signal) = Status::read(pid).map_err(|_| ParkError::Gone)?.fatal_pending() {
        return Err(ParkError::Dying(signal));
    }
    let call = |ptracer| inject::set_ptracer(pid, ptracer, inject::At::Exec);
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

impl Control for Waiting {
    fn release(&mut self, pid: Pid) {
        unless_gone(sys::cont(pid, 0));
    }

    fn hold(&mut self, pid: Pid) -> Result<Held, NotHeld> {
        let status = Status::read(pid).map_err(|_| NotHeld::Gone)?;
        if let Some(signal) = status.fatal_pending() {
            self.release(pid);
            return Err(NotHeld::Dying(signal));
        }
        let pidfd = sys::pidfd_open(pid).map_err(|_| {
            self.release(pid);
            NotHeld::Gone
        })?;
        self.pids.insert(pid);
        fault::point("held");
        Ok(Held::new(pid, pidfd, self.mailbox.clone()))
    }
}
