//! The thread that records: it blocks in wait4, and has one short function for each kind of stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::Way;
use super::patience::Patience;
use super::read::{Entered, Reader};
use super::tasks::{End, Process, Tasks};
use crate::event::{Begun, Ended, Facts, Keep, Usage, Wanted};
use crate::linux::sys::{self, AtCall, Pid};
use crate::source::launch::Launched;
use crate::source::lineage::Lineage;
use crate::source::ptrace::arch;
use crate::source::ptrace::attach::Attached;
use crate::source::ptrace::mailbox::{Mailbox, Request};
use crate::source::ptrace::memory::Stack;
use crate::source::ptrace::stop::Report;
use crate::source::recorded::Recorded;
use crate::source::stopped::{Place, StoppedProcess};
use crate::source::{AGAIN, ExitStatus, Judge, SourceEvent};

/// The tracer's state.
pub struct Tracer<J, E> {
    way: Way,
    lives: bool,
    mailbox: Arc<Mailbox>,
    tasks: Tasks,
    patience: Patience,
    reader: Reader,
    lineage: Option<Lineage>,
    /// Exec calls that have begun, by thread.
    entered: HashMap<Pid, Entered>,
    command: Option<Pid>,
    /// Until COMMAND's first exec.
    launched: Option<Launched>,
    judge: J,
    tell: E,
}

impl<J: Judge, E: Fn(SourceEvent)> Tracer<J, E> {
    pub fn new(
        (launched, attached): (Option<Launched>, &[Attached]),
        keep: Keep,
        (wanted, way): (Wanted, Way),
        mailbox: Arc<Mailbox>,
        judge: J,
        tell: E,
    ) -> Self {
        let command = launched.as_ref().map(|launched| launched.pid);
        let mut tasks = Tasks::default();
        if let Some(pid) = command {
            tasks.enter(pid, 0, sys::boot_time(), &[]);
        }
        for process in attached {
            tasks.enter(process.pid, process.depth, process.began, &process.threads);
        }
        // Where calls are seen, the name before is read at them.
        let wanted = Wanted { prev_comm: wanted.prev_comm || keep.prev_comm, ..wanted };
        let keep = Keep { prev_comm: way == Way::Execs, ..keep };
        Tracer {
            way,
            lives: wanted.lives,
            mailbox,
            tasks,
            patience: Patience::default(),
            reader: Reader::new(wanted),
            lineage: Lineage::new(keep, command, attached),
            entered: HashMap::new(),
            command,
            launched,
            judge,
            tell,
        }
    }

    /// Runs until nothing is left to trace, or until it is told to let go. When this returns, the thread must
    /// end: that frees every tracee, or, where they cannot be let go, ends them.
    pub fn run(&mut self) {
        loop {
            for request in self.mailbox.take() {
                match request {
                    Request::LetGo => return,
                    Request::Keep(answer, ended) => {
                        let _ = answer.send(has_tracees());
                        self.keep();
                        // What the process still holds is no more what it was: it is to be dropped by nobody.
                        let _ = ended.send(());
                        std::thread::park();
                    }
                    _ => {}
                }
            }
            // Even then what has come already comes first.
            let block = !self.patience.is_over(self.tasks.waits());
            match sys::wait_any_tracee(block, self.lives) {
                Ok(Some((tid, status, usage))) => self.stopped(tid, status, &usage),
                Ok(None) if !block => self.let_orphans_run(),
                Ok(None) => {}
                // ECHILD: all are gone.
                Err(_) => return (self.tell)(SourceEvent::NothingLeft),
            }
        }
    }

    fn stopped(&mut self, tid: Pid, status: i32, usage: &libc::rusage) {
        match Report::decode(status) {
            Report::Exec => self.executed(tid),
            Report::Seccomp | Report::Syscall => self.at_call(tid),
            Report::NewTask { clone } => self.forked(tid, clone),
            Report::Trap => {
                if self.tasks.stopped(tid) {
                    self.begins(tid);
                }
            }
            Report::Signal(signal) => self.resume(tid, signal),
            Report::GroupStop => gone_or(sys::listen(tid)),
            Report::Ended(ended) => self.ended(tid, ended, usage),
            Report::Leaving | Report::Other => self.resume(tid, 0),
        }
    }

    /// Lets a task run on, with this signal, to its next stop.
    fn resume(&self, tid: Pid, signal: i32) {
        gone_or(match self.way {
            Way::Calls => sys::cont_to_syscall(tid, signal),
            Way::Execs | Way::Seccomp => sys::cont(tid, signal),
        });
    }

    fn at_call(&mut self, tid: Pid) {
        match sys::at_call(tid) {
            Ok(AtCall::Entry { number, arguments, arch }) => {
                if let Some(call) = arch::exec_call(number, arch)
                    && self.tells_of(tid)
                {
                    let entered = self.reader.enter(tid, call, arguments);
                    self.entered.insert(tid, entered);
                    // Either the exec's own stop comes, or that of its return.
                    return gone_or(sys::cont_to_syscall(tid, 0));
                }
            }
            Ok(AtCall::Exit(result)) => {
                if let Some(entered) = self.entered.remove(&tid)
                    && result < 0
                    && !AGAIN.contains(&result)
                {
                    self.failed(tid, entered, result as i32);
                }
            }
            // It is gone.
            Ok(AtCall::Neither) | Err(_) => {}
        }
        self.resume(tid, 0);
    }

    /// Lets a task whose maker is known run on from its first stop, or from another one of that form.
    fn begins(&mut self, tid: Pid) {
        if let Some(lineage) = &mut self.lineage {
            lineage.seen(tid);
        }
        self.resume(tid, 0);
    }

    /// Our own search for COMMAND is nobody's affair.
    fn tells_of(&self, tid: Pid) -> bool {
        !(self.launched.is_some() && Some(tid) == self.command)
    }

    fn process(&mut self, tid: Pid) -> Process {
        if self.tasks.process_of(tid).is_none() {
            let begun = self.tasks.adopt(tid);
            self.begun(begun);
        }
        let unknown = Process { pid: tid, began: 0, depth: 0 };
        self.tasks.process_of(tid).copied().unwrap_or(unknown)
    }

    fn failed(&mut self, tid: Pid, entered: Entered, result: i32) {
        let process = self.process(tid);
        let record = self.reader.failed(tid, &process, entered, result);
        let ancestry = self.place(tid).ancestry;
        self.judge.recorded(Recorded::new(record, ancestry, None));
    }

    fn place(&self, pid: Pid) -> Place {
        match &self.lineage {
            Some(lineage) => lineage.place(pid),
            None => Place { ancestry: Lineage::none(), comm_before: None },
        }
    }

    fn executed(&mut self, pid: Pid) {
        let ours = if Some(pid) == self.command { self.launched.take() } else { None };
        let begins = ours.is_some();
        if begins {
            (self.tell)(SourceEvent::Started(pid, sys::boot_time()));
        }
        // Which of its threads has done it is no question where there is one.
        let mut before = pid;
        if self.tasks.have_threads() {
            before = sys::event_message(pid).map_or(pid, |tid| tid as Pid);
        }
        if before != pid {
            self.tasks.executed(before);
        }
        if let Some(lineage) = &mut self.lineage {
            lineage.executing(pid, before);
        }
        // What the old leader was about to do is over, too.
        let own = self.entered.remove(&pid);
        let entered = if before == pid { own } else { self.entered.remove(&before) };
        let process = self.process(pid);
        let place = self.place(pid);
        // Before it was COMMAND it was ours.
        let prev_comm = place.comm_before.clone().filter(|_| !begins);
        let mut record =
            self.reader.succeeded(pid, &process, entered, prev_comm, ours.map(|ours| ours.name));
        record.tid = before as u32;
        let live = StoppedProcess::new(pid, None, |pid| Ok(Box::new(Stack::read(pid)?)));
        let mut facts = Recorded::new(record, place.ancestry, Some(live));
        if let Some(lineage) = &mut self.lineage {
            lineage.executed(pid, &mut facts as &mut dyn Facts);
        }
        self.judge.recorded(facts);
        self.resume(pid, 0);
    }

    fn forked(&mut self, tid: Pid, clone: bool) {
        if let Ok(new) = sys::event_message(tid) {
            let new = new as Pid;
            self.process(tid);
            if let Some(lineage) = &mut self.lineage {
                lineage.forked(tid, new, clone);
            }
            let made = self.tasks.made(tid, new, clone);
            self.begun(made.begun);
            if made.stopped {
                self.begins(new);
            }
            if let Some(end) = made.ended {
                self.told_ended(new, end);
            }
        }
        self.resume(tid, 0);
    }

    /// Lets all that is left run to its end, and tells nothing: without a tracer its execs would fail.
    fn keep(&mut self) {
        self.patience = Patience::default();
        for (tid, _) in self.tasks.orphans() {
            gone_or(sys::cont(tid, 0));
        }
        loop {
            match sys::wait_any_tracee(true, false) {
                Ok(Some((tid, status, _))) => match Report::decode(status) {
                    Report::Signal(signal) => gone_or(sys::cont(tid, signal)),
                    Report::GroupStop => gone_or(sys::listen(tid)),
                    Report::Ended(_) => {}
                    _ => gone_or(sys::cont(tid, 0)),
                },
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn let_orphans_run(&mut self) {
        for (tid, begun) in self.tasks.orphans() {
            self.begun(begun);
            self.begins(tid);
        }
    }

    fn begun(&mut self, begun: Option<Begun>) {
        if let Some(begun) = begun.filter(|_| self.lives) {
            self.judge.begun(begun);
        }
    }

    fn ended(&mut self, tid: Pid, status: ExitStatus, usage: &libc::rusage) {
        self.entered.remove(&tid);
        if let Some(lineage) = &mut self.lineage {
            lineage.ended(tid);
        }
        let end = End { time: sys::boot_time(), status: status.0, usage: Some(used(usage)) };
        if self.tasks.ended(tid, end) {
            self.told_ended(tid, end);
        }
        if Some(tid) == self.command {
            let failure = self.launched.take().and_then(Launched::failure);
            if self.way == Way::Seccomp && has_tracees() {
                (self.tell)(SourceEvent::Bound);
            }
            (self.tell)(match failure {
                Some(error) => SourceEvent::NotStarted(error),
                None => SourceEvent::CommandEnded(status),
            });
        }
    }

    fn told_ended(&mut self, pid: Pid, end: End) {
        if self.lives {
            let End { time, status, usage } = end;
            self.judge.ended(Ended { pid: pid as u32, time, status, exec: None, usage });
        }
    }
}

impl<J, E> Drop for Tracer<J, E> {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// Whether the kernel has anything left to report to this thread, such as a child that has not come to its first stop.
fn has_tracees() -> bool {
    let all = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
    let only_ask = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WNOTHREAD;
    waitid(Id::All, all | only_ask) != Err(Errno::ECHILD)
}

/// A tracee may die at any moment, under every call; its end is told.
fn gone_or(result: std::io::Result<()>) {
    debug_assert!(
        result.as_ref().err().is_none_or(|error| error.raw_os_error() == Some(libc::ESRCH)),
        "{result:?}"
    );
}

/// What the kernel gives to whoever waits, a tracer among them: of the process with all its threads, and of its
/// children that it has waited for.
fn used(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        Duration::new(time.tv_sec as u64, (time.tv_usec as u32).saturating_mul(1000))
    };
    Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        // It is in KiB.
        peak_memory: (usage.ru_maxrss as u64) << 10,
    }
}
