//! Processes that run already, entered into the tree that the programs follow.
//!
//! The programs are at work before anything is entered: what a process that is in the tree makes from then on
//! they enter themselves. What others have made in the meantime is found by looking again, until nothing new
//! is there. Only what has lost its parent between two looks, which are some milliseconds, cannot be found.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libbpf_rs::{MapCore, MapFlags};

use super::load::Programs;
use crate::debug::hits::is_readable;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Stat};
use crate::source::lineage::Lineage;
use crate::source::ptrace::attach;
use crate::source::stopped::StoppedProcess;
use crate::source::vectors::FromProc;
use crate::text::report::Trouble;

/// How often the tree is looked at once those that were named have ended, in milliseconds.
const LOOK_EVERY: u16 = 200;
/// Ids of the programs' own count from 0, with the CPU above.
const FIRST_ID: u64 = 1 << 63;
/// Of each test on a parent's program: unknown. What ran before us is asked in /proc.
const UNKNOWN: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// The processes that were named, and whether their tree still lives.
pub struct Roots {
    pidfds: Vec<OwnedFd>,
}

/// What can be known wrong before anything is loaded; with a pidfd of each.
pub fn check(pids: &[Pid]) -> Result<Vec<OwnedFd>, Trouble> {
    if pids.is_empty() {
        return Ok(Vec::new());
    }
    let namespace = procfs::namespace(std::process::id() as Pid, crate::event::Namespace::Pid);
    if namespace.is_ok_and(|number| u64::from(number) != procfs::FIRST_PID_NAMESPACE) {
        return Err(Trouble::new(
            "-p over eBPF: this is a pid namespace of its own, in which processes have other numbers",
        )
        .hint("--backend ptrace does without them"));
    }
    let open = |&pid: &Pid| {
        attach::check(pid)?;
        sys::pidfd_open(pid)
            .map_err(|error| Trouble::new(format!("-p {pid}: cannot watch it: {error}")))
    };
    pids.iter().map(open).collect()
}

impl Roots {
    /// Enters them, and what has come from them. `None` where there are none.
    pub fn enter(
        (pids, pidfds): (&[Pid], Vec<OwnedFd>),
        programs: &Programs<'_>,
        mut lineage: Option<&mut Lineage>,
    ) -> Option<Roots> {
        if pids.is_empty() {
            return None;
        }
        let mut known: HashMap<Pid, (u32, u64)> = HashMap::new();
        let mut new: Vec<(Pid, Pid, u32)> = pids.iter().map(|&pid| (pid, pid, 0)).collect();
        while !new.is_empty() {
            for (pid, parent, depth) in new {
                if known.contains_key(&pid) {
                    continue;
                }
                let id = FIRST_ID + known.len() as u64;
                let above = known.get(&parent).map_or((0, 0), |&(_, id)| (parent, id));
                known.insert(pid, (depth, id));
                insert(programs, pid, depth, id, above);
                if let Some(lineage) = lineage.as_deref_mut() {
                    let program = &mut StoppedProcess::new(pid, None, FromProc::read);
                    lineage.enter((pid, parent, depth), program);
                }
            }
            new = attach::descendants(|pid| known.get(&pid).map(|&(depth, _)| depth));
        }
        Some(Roots { pidfds })
    }

    /// Those that live, as far as is known.
    pub fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pidfds.iter().map(AsFd::as_fd)
    }

    /// When the tree is to be looked at if nothing happens.
    pub fn look_again(&self) -> Option<u16> {
        self.pidfds.is_empty().then_some(LOOK_EVERY)
    }

    /// Whether nothing lives any more.
    pub fn ended(&mut self, programs: &Programs<'_>) -> bool {
        self.pidfds.retain(|pidfd| !is_readable(pidfd));
        if !self.pidfds.is_empty() {
            return false;
        }
        let tree = &programs.skeleton.maps.tree;
        let mut lives = false;
        for key in tree.keys().collect::<Vec<_>>() {
            let pid = key.as_slice().try_into().map(Pid::from_ne_bytes).unwrap_or_default();
            let ended = match Stat::read(pid) {
                Ok(stat) => matches!(stat.state, b'Z' | b'X'),
                Err(error) => procfs::says_gone(pid, &error),
            };
            if !ended {
                lives = true;
            } else {
                // It may have ended while it was entered.
                let _ = tree.delete(&key);
            }
        }
        !lives
    }
}

fn insert(programs: &Programs<'_>, pid: Pid, depth: u32, id: u64, (parent, parent_id): (Pid, u64)) {
    let tree = &programs.skeleton.maps.tree;
    let began = Stat::read(pid).map(|stat| stat.start_time).ok();
    let member = [
        &depth.to_ne_bytes()[..],
        &parent.to_ne_bytes(),
        &id.to_ne_bytes(),
        &parent_id.to_ne_bytes(),
        &UNKNOWN.to_ne_bytes(),
    ]
    .concat();
    let key = pid.to_ne_bytes();
    // The programs' own entry is the better one.
    if tree.update(&key, &member, MapFlags::NO_EXIST).is_ok() {
        let same = Stat::read(pid)
            .is_ok_and(|stat| Some(stat.start_time) == began && !matches!(stat.state, b'Z' | b'X'));
        if !same {
            let _ = tree.delete(&key);
        }
    }
}
