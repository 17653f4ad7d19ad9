//! Which task belongs to which process.
//!
//! A new task's first stop, or even its end, may be seen before the event that tells who made it. Then its stop
//! is kept until that event comes, so that a process's beginning is told before anything that it does.

use std::collections::{HashMap, HashSet};

use crate::event::{Begun, Usage};
use crate::linux::sys::{self, Pid};
use crate::machine::procfs;

/// A process that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: Pid,
    /// In nanoseconds since boot.
    pub began: u64,
    /// How far it is from COMMAND.
    pub depth: u32,
}

/// How a task has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct End {
    pub time: u64,
    pub status: i32,
    pub usage: Option<Usage>,
}

/// What is known of a new task once its maker's event has come.
#[derive(Debug)]
pub struct Made {
    /// `None` for a thread.
    pub begun: Option<Begun>,
    /// Its first stop has been kept.
    pub stopped: bool,
    /// It is no more.
    pub ended: Option<End>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Tasks {
    processes: HashMap<Pid, Process>,
    /// The processes of threads that are no leaders.
    threads: HashMap<Pid, Pid>,
    /// Tasks in their first stop whose maker is not known yet.
    early: Vec<Pid>,
    /// Those of them that have ended.
    ended_early: HashMap<Pid, End>,
    /// Processes that were told to have begun before their maker's event, which may come even after their end.
    adopted: HashSet<Pid>,
}

impl Tasks {
    /// A process that was there before.
    pub fn enter(&mut self, pid: Pid, depth: u32, began: u64, threads: &[Pid]) {
        self.processes.insert(pid, Process { pid, began, depth });
        self.threads.extend(threads.iter().filter(|&&tid| tid != pid).map(|&tid| (tid, pid)));
    }

    /// The process of a task.
    pub fn process_of(&self, tid: Pid) -> Option<&Process> {
        self.processes.get(self.threads.get(&tid).unwrap_or(&tid))
    }

    /// Whether any process has more than one thread, or may have.
    pub fn have_threads(&self) -> bool {
        !(self.threads.is_empty() && self.early.is_empty())
    }

    /// A task is in its first stop, or in another one of that form; whether it may go on.
    pub fn stopped(&mut self, tid: Pid) -> bool {
        let known = self.process_of(tid).is_some();
        if !known {
            // Whoever ended under this number was another one.
            self.ended_early.remove(&tid);
            self.adopted.remove(&tid);
            self.early.push(tid);
        }
        known
    }

    /// The task whose stop has been kept for the longest.
    pub fn waits(&self) -> Option<Pid> {
        self.early.first().copied()
    }

    /// Task `maker` has made task `new`.
    pub fn made(&mut self, maker: Pid, new: Pid, clone: bool) -> Made {
        let stopped = self.early.iter().position(|&tid| tid == new);
        let stopped = stopped.map(|at| self.early.remove(at)).is_some();
        let nothing = Made { begun: None, stopped, ended: None };
        if self.adopted.remove(&new) || self.process_of(new).is_some() {
            return nothing;
        }
        let Some(process) = self.process_of(maker).copied() else { return nothing };
        let ended = self.ended_early.remove(&new);
        if clone && (sys::is_thread_of(process.pid, new) || ended.is_some()) {
            if ended.is_none() {
                self.threads.insert(new, process.pid);
            }
            return nothing;
        }
        let time = sys::boot_time();
        if ended.is_none() {
            let depth = process.depth.saturating_add(1);
            self.processes.insert(new, Process { pid: new, began: time, depth });
        }
        let begun = Begun { pid: new as u32, parent: process.pid as u32, time };
        Made { begun: Some(begun), stopped, ended }
    }

    /// The tasks whose stops are kept, of which their maker will tell nothing, it seems: it was killed. They may
    /// go on; those that are processes have begun.
    pub fn orphans(&mut self) -> Vec<(Pid, Option<Begun>)> {
        let early = std::mem::take(&mut self.early);
        early.into_iter().map(|tid| (tid, self.adopt(tid))).collect()
    }

    /// Enters a task as what /proc says of it.
    pub fn adopt(&mut self, tid: Pid) -> Option<Begun> {
        let found = procfs::credentials(tid).ok()?;
        if found.tgid != tid {
            self.threads.insert(tid, found.tgid);
            return None;
        }
        let time = sys::boot_time();
        let above = self.process_of(found.parent).map_or(0, |parent| parent.depth);
        let depth = above.saturating_add(1);
        self.processes.insert(tid, Process { pid: tid, began: time, depth });
        self.adopted.insert(tid);
        Some(Begun { pid: tid as u32, parent: found.parent as u32, time })
    }

    /// Thread `before` has executed a program, and is its process's leader now.
    pub fn executed(&mut self, before: Pid) {
        self.threads.remove(&before);
    }

    /// A task is no more; whether a process has ended that is known.
    pub fn ended(&mut self, tid: Pid, end: End) -> bool {
        if self.threads.remove(&tid).is_some() {
            return false;
        }
        let known = self.processes.remove(&tid).is_some();
        if !known {
            self.early.retain(|&early| early != tid);
            self.ended_early.insert(tid, end);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: End = End { time: 9, status: 0, usage: None };

    fn begun(made: &Made) -> Option<(u32, u32)> {
        made.begun.map(|begun| (begun.pid, begun.parent))
    }

    #[test]
    fn a_first_stop_before_its_event_is_kept() {
        let mut tasks = Tasks::default();
        tasks.enter(10, 0, 1, &[]);
        assert!(!tasks.stopped(11) && tasks.waits() == Some(11));
        let made = tasks.made(10, 11, false);
        assert_eq!((begun(&made), made.stopped), (Some((11, 10)), true));
        assert!(tasks.waits().is_none() && tasks.stopped(11));
        assert_eq!(tasks.process_of(11).unwrap().depth, 1);
        // And the other way round.
        let made = tasks.made(11, 12, false);
        assert_eq!((begun(&made), made.stopped), (Some((12, 11)), false));
        assert!(tasks.stopped(12));
    }

    #[test]
    fn an_end_before_its_event_is_told_after_it() {
        let mut tasks = Tasks::default();
        tasks.enter(10, 0, 1, &[]);
        assert!(!tasks.ended(11, END));
        let made = tasks.made(10, 11, false);
        assert_eq!((begun(&made), made.ended), (Some((11, 10)), Some(END)));
        assert_eq!(tasks.processes.len(), 1);
        // A thread's is not.
        assert!(!tasks.ended(12, END));
        let made = tasks.made(10, 12, true);
        assert_eq!((begun(&made), made.ended), (None, None));
    }

    #[test]
    fn what_was_told_to_have_begun_is_not_told_again_after_its_end() {
        let mut tasks = Tasks::default();
        tasks.enter(10, 0, 1, &[]);
        let own = std::process::id() as Pid;
        assert!(!tasks.stopped(own));
        assert_eq!(tasks.orphans()[0].1.map(|begun| begun.pid as Pid), Some(own));
        assert!(tasks.ended(own, END));
        assert_eq!(begun(&tasks.made(10, own, false)), None);
        // Another one of that number is.
        assert_eq!(begun(&tasks.made(10, own, false)), Some((own as u32, 10)));
    }

    #[test]
    fn a_thread_is_its_process_and_may_become_its_leader() {
        let mut tasks = Tasks::default();
        tasks.enter(10, 3, 1, &[10, 20]);
        assert_eq!(tasks.process_of(20).map(|process| process.pid), Some(10));
        tasks.executed(20);
        assert!(tasks.process_of(20).is_none());
        assert!(tasks.ended(10, END));
    }
}
