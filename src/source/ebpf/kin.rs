//! The ancestors that a process has now, from /proc.

use std::sync::Arc;

use super::vectors::FromProc;
use crate::event::{Image, Reading, Strings};
use crate::procfs::{self, Stat, Status};
use crate::source::stopped::{Ancestry, Vectors};
use crate::sys::Pid;

/// The living ancestors of a process, read when they are asked for.
pub struct Living {
    pid: Pid,
    /// How many of them count: up to COMMAND, or all.
    depth: Option<u32>,
}

impl Living {
    pub fn new(pid: Pid, depth: Option<u32>) -> Living {
        Living { pid, depth }
    }

    fn pids(&self) -> Vec<Pid> {
        let most = self.depth.map_or(usize::MAX, |depth| depth as usize);
        let parent =
            |&pid: &Pid| Stat::read(pid).ok().map(|stat| stat.ppid).filter(|&ppid| ppid > 0);
        std::iter::successors(parent(&self.pid), parent).take(most).collect()
    }
}

impl Ancestry for Living {
    fn depth(&self) -> Reading<u32> {
        Reading::Known(self.depth.unwrap_or_else(|| self.pids().len() as u32))
    }

    fn images(&self) -> Reading<Vec<Arc<Image>>> {
        let pids = self.pids();
        let depth = |at: usize| (pids.len() - 1 - at) as u32;
        Reading::Known(
            pids.iter().enumerate().map(|(at, &pid)| Arc::new(image(pid, depth(at)))).collect(),
        )
    }
}

fn image(pid: Pid, depth: u32) -> Image {
    fn known<T>(result: std::io::Result<T>) -> Reading<T> {
        result.map_or(Reading::Unknown, Reading::Known)
    }
    let mut vectors = FromProc::of(pid);
    let status = known(Status::read(pid));
    Image {
        pid: pid as u32,
        depth,
        argv: known(vectors.argv().map(|block| Strings::from_block(block.to_vec()))),
        filename: known(vectors.filename().map(<[u8]>::to_vec)),
        exe: known(procfs::link(pid, "exe")),
        // Which file it was passed is told by a path, which may name another one by now.
        interpreter: Reading::Unknown,
        comm: known(procfs::comm(pid)),
        cwd: known(procfs::link(pid, "cwd")),
        uid: status.map(|status| status.uid),
        gid: status.map(|status| status.gid),
        cgroup: known(procfs::cgroup(pid)),
    }
}
