//! Seizes processes that run already: with all their threads, and with all that have come from them.
//!
//! Nothing is stopped for it, so that no call of theirs is interrupted. What a process that is seized already
//! makes is ours from its beginning; what others have made meanwhile is found by looking again, until nothing
//! new is there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use crate::linux::sys::{self, Pid};
use crate::machine::diagnose::{Circumstances, refusal};
use crate::machine::procfs::{self, Stat, Status};
use crate::text::report::Trouble;

/// A process that was seized.
#[derive(Debug, Clone)]
pub struct Attached {
    pub pid: Pid,
    /// Among those that were seized; itself, if it is one that was asked for.
    pub parent: Pid,
    pub depth: u32,
    /// In nanoseconds since boot, to a clock tick.
    pub began: u64,
    pub threads: Vec<Pid>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Found {
    pub processes: Vec<Attached>,
    /// Descendants that were refused.
    pub not_followed: Vec<(Pid, io::Error)>,
}

/// Seizes them, for the calling thread. When that ends they run on.
pub fn attach(pids: &[Pid], options: i32) -> Result<Found, Trouble> {
    let mut found = Found::default();
    for &pid in pids {
        if found.processes.iter().any(|process| process.pid == pid) {
            continue;
        }
        check(pid)?;
        let process = seize(pid, (pid, 0), options).map_err(|error| refused(pid, &error))?;
        found.processes.push(process);
    }
    if pids.is_empty() {
        return Ok(found);
    }
    let mut refused = HashSet::new();
    loop {
        let new = descendants(|pid| {
            let process = found.processes.iter().find(|process| process.pid == pid)?;
            Some(process.depth)
        });
        let new: Vec<_> = new.into_iter().filter(|(pid, ..)| !refused.contains(pid)).collect();
        if new.is_empty() {
            return Ok(found);
        }
        for (pid, parent, depth) in new {
            match seize(pid, (parent, depth), options) {
                Ok(process) => found.processes.push(process),
                Err(error) => {
                    refused.insert(pid);
                    // One that has ended meanwhile is nobody's loss.
                    if error.raw_os_error() != Some(libc::ESRCH) {
                        found.not_followed.push((pid, error));
                    }
                }
            }
        }
    }
}

/// What can be known wrong before anything is tried.
pub fn check(pid: Pid) -> Result<(), Trouble> {
    let gone = || {
        Trouble::new(format!("-p {pid}: there is no such process"))
            .hint("`ps -e` lists those that there are")
    };
    let status = Status::read(pid).map_err(|error| match procfs::says_gone(pid, &error) {
        true => gone(),
        false => Trouble::new(format!("-p {pid}: cannot look at it: {error}")),
    })?;
    let own = std::process::id() as Pid;
    if status.tgid != pid {
        return Err(Trouble::new(format!("-p {pid}: that is a thread of process {}", status.tgid))
            .hint(format!("-p {} follows all its threads", status.tgid)));
    }
    if pid == own {
        return Err(Trouble::new(format!("-p {pid}: that is tracexec itself")));
    }
    if matches!(status.state, b'Z' | b'X') {
        return Err(Trouble::new(format!("-p {pid}: it has ended")));
    }
    Ok(())
}

fn refused(pid: Pid, error: &io::Error) -> Trouble {
    let trouble = Trouble::new(format!("-p {pid}: cannot trace it: {error}"));
    if error.raw_os_error() != Some(libc::EPERM) {
        return trouble;
    }
    let facts = Circumstances::of(pid);
    let found = refusal(&facts);
    let hint = match facts.tracer {
        // Somebody's debugger is no business of ours; the programs in the kernel do not mind it.
        0 if !facts.capable => {
            format!("{}; or start it under tracexec", "attach as root: sudo tracexec ... -p")
        }
        0 => found.hint,
        tracer => format!("end process {tracer} or have it detach, or use --backend ebpf as root"),
    };
    Trouble::new(format!("-p {pid}: cannot trace it: {}", found.cause)).hint(hint)
}

/// Seizes a process and all its threads.
fn seize(pid: Pid, (parent, depth): (Pid, u32), options: i32) -> io::Result<Attached> {
    let began = Stat::read(pid).map(|stat| sys::from_clock_ticks(stat.start_time)).unwrap_or(0);
    if !is_ours(pid) {
        sys::seize(pid, options)?;
    }
    let mut threads = vec![pid];
    seize_threads(pid, options, &mut threads)?;
    Ok(Attached { pid, parent, depth, began, threads })
}

/// Seizes the threads of a process that are not in `seized` yet, until there is no new one.
pub(super) fn seize_threads(pid: Pid, options: i32, seized: &mut Vec<Pid>) -> io::Result<()> {
    loop {
        let before = seized.len();
        for tid in procfs::threads(pid)? {
            if seized.contains(&tid) {
                continue;
            }
            // A thread that one of ours has made is ours already.
            match sys::seize(tid, options) {
                Ok(()) => seized.push(tid),
                Err(_) if is_ours(tid) => seized.push(tid),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        if seized.len() == before {
            return Ok(());
        }
    }
}

/// Whether the calling thread traces a task already.
fn is_ours(tid: Pid) -> bool {
    Status::read(tid).is_ok_and(|status| status.tracer == sys::gettid())
}

/// The processes that come from those whose depth is known and that are not known themselves, parents first:
/// each with its parent and its depth.
pub fn descendants(depth_of: impl Fn(Pid) -> Option<u32>) -> Vec<(Pid, Pid, u32)> {
    let mut parents: HashMap<Pid, Pid> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse::<Pid>()
            && let Ok(stat) = Stat::read(pid)
            && !matches!(stat.state, b'Z' | b'X')
        {
            parents.insert(pid, stat.ppid);
        }
    }
    let own = std::process::id() as Pid;
    parents.remove(&own);
    let mut found: Vec<(Pid, Pid, u32)> = Vec::new();
    let mut depths: HashMap<Pid, u32> = HashMap::new();
    loop {
        let before = found.len();
        for (&pid, &parent) in &parents {
            if depths.contains_key(&pid) || depth_of(pid).is_some() {
                continue;
            }
            if let Some(above) = depth_of(parent).or_else(|| depths.get(&parent).copied()) {
                depths.insert(pid, above + 1);
                found.push((pid, parent, above + 1));
            }
        }
        if found.len() == before {
            found.sort_by_key(|&(_, _, depth)| depth);
            return found;
        }
    }
}
