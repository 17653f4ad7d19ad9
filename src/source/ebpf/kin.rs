//! The ancestors that a process has now, from /proc.

use std::sync::Arc;

use crate::event::{Image, Keep, Reading};
use crate::linux::sys::Pid;
use crate::machine::procfs::Stat;
use crate::source::stopped::{Ancestry, StoppedProcess};
use crate::source::vectors::FromProc;

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

/// All that can be read of an ancestor. Which file an interpreter was passed is told by a path, which may
/// name another one by now.
const KEPT: Keep = Keep {
    lineage: true,
    prev_comm: false,
    argv: true,
    filename: true,
    exe: true,
    interpreter: false,
    comm: true,
    cwd: true,
    ids: true,
    cgroup: true,
};

fn image(pid: Pid, depth: u32) -> Image {
    Image::capture(pid as u32, depth, KEPT, &mut StoppedProcess::new(pid, None, FromProc::read))
}
