//! The processes that may be held later than at their exec, and when the next of them will have run too
//! long. A process that was forked and has executed nothing is its parent's program, and counts as
//! that does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leaving::{Libraries, Way};
use crate::debug::matcher::Candidate;
use crate::event::moment::{Moments, What, signals};
use crate::linux::sys::{self, Alarm, Pid};
use crate::machine::procfs::{Stat, Status};

/// How far up the ancestors are looked at.
const FAR: usize = 64;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub moments: Moments,
    /// Signals that are no faults, too.
    pub all_signals: bool,
    /// A status of 0, too.
    pub all_statuses: bool,
    /// What fails is only saved from: it need not be able to turn back.
    pub at_the_last: bool,
}

impl Look {
    /// Whether this signal may be a crash.
    pub fn at_signal(self, signal: i32) -> bool {
        let may = if self.all_signals { signals::ends } else { signals::is_fault };
        self.moments.crash && may(signal)
    }

    pub fn at_status(self, status: u8) -> bool {
        self.moments.fail && (status != 0 || self.all_statuses)
    }
}

/// A process of the tree.
struct Entry {
    /// None: the filter has ruled it out.
    candidate: Option<Arc<Candidate>>,
    parent: Pid,
    /// How it is caught when it leaves, if that is looked for.
    way: Option<Way>,
    /// Whether it has executed something since it was forked.
    executed: bool,
    /// Since when it has not been waiting for a candidate that comes from it.
    since: Instant,
    /// Whether it has been seen to leave.
    left: bool,
    /// Whether it has been found to hang.
    hung: bool,
    /// What comes from it and was told of.
    told: Option<Told>,
}

/// A process that was told of.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub pid: Pid,
    pub what: What,
}

pub struct Followed {
    pub look: Look,
    processes: HashMap<Pid, Entry>,
    /// The processes of threads, by thread id.
    threads: HashMap<Pid, Pid>,
    /// Tasks that are beyond their last stop.
    leaving: HashSet<Pid>,
    /// When a process is to be looked at. What has ended since is passed over.
    due: BinaryHeap<Reverse<(Instant, Pid)>>,
    alarm: Option<Alarm>,
    libraries: Libraries,
}

impl Followed {
    pub fn new(look: Look) -> Followed {
        Followed {
            look,
            processes: HashMap::new(),
            threads: HashMap::new(),
            leaving: HashSet::new(),
            due: BinaryHeap::new(),
            alarm: None,
            libraries: Libraries::new(look.moments.calls, look.at_the_last),
        }
    }

    /// Whether anything has to be noted at all.
    pub fn is_needed(&self) -> bool {
        self.look.moments.follow()
    }

    /// A process has executed a program which is a candidate, or is none.
    pub fn executed(&mut self, pid: Pid, candidate: Option<Arc<Candidate>>) {
        if !self.is_needed() {
            return;
        }
        let parent = self.processes.get(&pid).map(|entry| entry.parent);
        let parent = parent.unwrap_or_else(|| self.nearest_above(pid));
        self.enter(pid, parent, candidate, true);
    }

    /// The nearest ancestor that is followed; 0 if none is. Between them there may be some that another
    /// source has ruled out.
    fn nearest_above(&self, pid: Pid) -> Pid {
        let mut at = pid;
        for _ in 0..FAR {
            match Stat::read(at) {
                Ok(stat) if stat.ppid > 1 => at = stat.ppid,
                _ => return 0,
            }
            if self.processes.contains_key(&at) {
                return at;
            }
        }
        0
    }

    /// Whether a process is followed, be it as one that is no candidate.
    pub fn knows(&self, pid: Pid) -> bool {
        self.processes.contains_key(&pid)
    }

    /// Nothing is followed any more.
    pub fn clear(&mut self) {
        *self = Followed::new(self.look);
    }

    fn enter(&mut self, pid: Pid, parent: Pid, candidate: Option<Arc<Candidate>>, executed: bool) {
        let since = Instant::now();
        if let (Some(time), Some(_)) = (self.look.moments.hang, &candidate) {
            self.look_at(pid, since + time);
        }
        let way = match &candidate {
            Some(_) if self.look.moments.fail && executed => Some(self.libraries.at_exec(pid)),
            Some(_) if self.look.moments.fail => {
                let way = self.processes.get(&parent).and_then(|entry| entry.way.as_ref());
                Some(self.libraries.forked(pid, way))
            }
            _ => None,
        };
        let entry =
            Entry { candidate, parent, way, executed, since, left: false, hung: false, told: None };
        self.processes.insert(pid, entry);
    }

    /// Chooses anew how a program is caught when it leaves, at a stop before its first instruction.
    pub fn catch(&mut self, pid: Pid) {
        if let Some(entry) = self.processes.get_mut(&pid)
            && entry.candidate.is_some()
            && self.look.moments.fail
        {
            entry.way = Some(self.libraries.at_exec(pid));
        }
    }

    /// Task `parent` has made task `child`.
    pub fn forked(&mut self, parent: Pid, child: Pid, clone: bool) {
        if !self.is_needed() {
            return;
        }
        let Some(process) = self.process_of(parent) else { return };
        if clone && sys::is_thread_of(process, child) {
            self.threads.insert(child, process);
            return;
        }
        match self.processes.get_mut(&child) {
            Some(entry) if entry.executed => entry.parent = process,
            _ => {
                let candidate = self.candidate(process).cloned();
                self.enter(child, process, candidate, false);
            }
        }
    }

    /// The process of a task. One whose fork has not been told yet is entered as what /proc says.
    pub fn process_of(&mut self, tid: Pid) -> Option<Pid> {
        if self.processes.contains_key(&tid) {
            return Some(tid);
        }
        if let Some(process) = self.threads.get(&tid) {
            return Some(*process);
        }
        let process = Status::read(tid).ok()?.tgid;
        if process != tid {
            self.threads.insert(tid, process);
        }
        if !self.processes.contains_key(&process) {
            let parent = Stat::read(process).ok()?.ppid;
            let candidate = self.candidate(parent).cloned();
            self.enter(process, parent, candidate, false);
        }
        Some(process)
    }

    pub fn candidate(&self, pid: Pid) -> Option<&Arc<Candidate>> {
        self.processes.get(&pid)?.candidate.as_ref()
    }

    /// The threads that a process is known to have, beside its first.
    pub fn threads_of(&self, pid: Pid) -> Vec<Pid> {
        let of_it = self.threads.iter().filter(|(_, process)| **process == pid);
        of_it.map(|(tid, _)| *tid).collect()
    }

    /// Whether a task's system calls are looked at.
    pub fn watches_calls(&self, tid: Pid) -> bool {
        let process = self.threads.get(&tid).unwrap_or(&tid);
        self.processes.get(process).is_some_and(|entry| matches!(entry.way, Some(Way::Calls)))
    }

    /// How a process is caught when it leaves.
    pub fn way(&self, pid: Pid) -> Option<&Way> {
        self.processes.get(&pid)?.way.as_ref()
    }

    /// It has been seen to leave.
    pub fn leaves(&mut self, pid: Pid) {
        if let Some(entry) = self.processes.get_mut(&pid) {
            entry.left = true;
        }
    }

    pub fn has_left(&self, pid: Pid) -> bool {
        self.processes.get(&pid).is_some_and(|entry| entry.left)
    }

    /// A process that has ended by an exit that its breakpoint has not seen.
    pub fn left_unseen(&self, pid: Pid) -> Option<&Arc<Candidate>> {
        let entry = self.processes.get(&pid)?;
        let unseen = matches!(entry.way, Some(Way::Exit(..) | Way::Entry(_))) && !entry.left;
        entry.candidate.as_ref().filter(|_| unseen)
    }

    /// A program's libraries are there.
    pub fn loaded(&mut self, pid: Pid) {
        let others = self.threads_of(pid);
        if let Some(entry) = self.processes.get_mut(&pid) {
            // The breakpoint at the entry goes first: there are but four.
            entry.way = None;
            entry.way = Some(self.libraries.at_entry(pid, &others));
        }
    }

    /// A task is in its first stop, or in another one: how it is caught must be known before it goes on.
    pub fn begins(&mut self, tid: Pid) {
        if !self.look.moments.fail {
            return;
        }
        if let Some(pid) = self.process_of(tid)
            && pid != tid
            && let Some(way) = self.processes.get_mut(&pid).and_then(|entry| entry.way.as_mut())
        {
            self.libraries.threaded(tid, way);
        }
    }

    /// A task goes on from its last stop.
    pub fn passes_its_last(&mut self, tid: Pid) {
        self.leaving.insert(tid);
    }

    /// Whether a task may still stop.
    pub fn may_stop(&self, tid: Pid) -> bool {
        !self.leaving.contains(&tid)
    }

    /// Whether a process that executes a program may have been stopped at its exit, and its children.
    pub fn is_at_the_last(&self) -> bool {
        self.look.moments.fail && self.look.at_the_last
    }

    /// A task is no more, or is ours no longer.
    pub fn ended(&mut self, tid: Pid) {
        self.leaving.remove(&tid);
        if let Some(process) = self.threads.remove(&tid)
            && let Some(entry) = self.processes.get_mut(&process)
            && let Some(Way::Exit(_, breakpoints)) = &mut entry.way
        {
            breakpoints.remove(&tid);
        }
        let Some(entry) = self.processes.remove(&tid) else { return };
        if entry.candidate.is_some() && self.look.moments.hang.is_some() {
            let now = Instant::now();
            for at in self.ancestors(entry.parent) {
                if let Some(above) = self.processes.get_mut(&at) {
                    above.since = now;
                }
            }
        }
    }

    /// A process and what it comes from, as far as it is followed.
    fn ancestors(&self, pid: Pid) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut at = pid;
        while let Some(entry) = self.processes.get(&at)
            && !found.contains(&at)
        {
            found.push(at);
            at = entry.parent;
        }
        found
    }

    /// A process was told of: those that it comes from will wait for it, and fail because of it.
    pub fn told(&mut self, pid: Pid, what: What) {
        let parent = self.processes.get(&pid).map(|entry| entry.parent).unwrap_or_default();
        for at in self.ancestors(parent) {
            if let Some(entry) = self.processes.get_mut(&at) {
                // What has hung may crash after all, of which nobody fails but then.
                let hung = |told: Told| told.pid == pid && told.what == What::Hang;
                if entry.told.is_none_or(hung) {
                    entry.told = Some(Told { pid, what });
                }
            }
        }
    }

    /// What was told of that comes from this process, if what happens to it now is because of that: it
    /// passes on a failure by its own, or a signal by sending it to itself.
    pub fn because_of(&self, pid: Pid, what: What) -> Option<Pid> {
        let told = self.processes.get(&pid)?.told?;
        let passed_on = match what {
            What::Fail { .. } => told.what != What::Hang,
            What::Crash { signal, code, sender: None, .. } => {
                code <= 0 && told.what.signal() == Some(signal)
            }
            What::Crash { .. } | What::Hang => false,
        };
        passed_on.then_some(told.pid)
    }

    fn look_at(&mut self, pid: Pid, when: Instant) {
        let first = self.due.peek().is_none_or(|Reverse((first, _))| when < *first);
        self.due.push(Reverse((when, pid)));
        if first {
            self.set_alarm();
        }
    }

    fn set_alarm(&mut self) {
        if self.alarm.is_none() {
            self.alarm = Alarm::new().ok();
        }
        let Some(alarm) = &mut self.alarm else { return };
        let _ = match self.due.peek() {
            Some(Reverse((when, _))) => alarm.set(when.saturating_duration_since(Instant::now())),
            None => alarm.clear(),
        };
    }

    /// The candidates that have run too long by now; each is given once.
    pub fn hanging(&mut self) -> Vec<Pid> {
        let Some(time) = self.look.moments.hang else { return Vec::new() };
        let now = Instant::now();
        let mut hanging = Vec::new();
        let mut again = Vec::new();
        let mut looked = false;
        let mut awaiting = None;
        while let Some(&Reverse((when, pid))) = self.due.peek() {
            if when > now {
                break;
            }
            looked = true;
            self.due.pop();
            // What was told of is not followed any more, and may still be waited for.
            if let Some(entry) = self.processes.get_mut(&pid)
                && entry.told.is_some_and(|told| sys::kill(told.pid, 0).is_ok())
            {
                entry.since = now;
            }
            let waits = awaiting.get_or_insert_with(|| self.awaiting()).contains(&pid);
            match self.left(pid, waits, time, now) {
                Some(left) if left.is_zero() => {
                    if let Some(entry) = self.processes.get_mut(&pid) {
                        entry.hung = true;
                    }
                    hanging.push(pid);
                }
                Some(left) => again.push(Reverse((now + left, pid))),
                None => {}
            }
        }
        if looked {
            self.due.extend(again);
            self.set_alarm();
        }
        hanging
    }

    /// The processes from which a candidate comes: each is looked at once, however many are due.
    fn awaiting(&self) -> HashSet<Pid> {
        let mut found = HashSet::new();
        for entry in self.processes.values().filter(|entry| entry.candidate.is_some()) {
            let mut at = entry.parent;
            // What is above one that is known is, too.
            while let Some(above) = self.processes.get(&at)
                && found.insert(at)
            {
                at = above.parent;
            }
        }
        found
    }

    /// How long a process may still run. One from which another candidate comes waits for that.
    fn left(&self, pid: Pid, waits: bool, time: Duration, now: Instant) -> Option<Duration> {
        let entry = self.processes.get(&pid).filter(|entry| !entry.hung)?;
        entry.candidate.as_ref()?;
        Some(if waits { time } else { (entry.since + time).saturating_duration_since(now) })
    }
}
