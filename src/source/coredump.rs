//! An ELF core of a process that is stopped, written by us, after which it is as it was. See core(5), and
//! fs/binfmt_elf.c in the kernel, whose order of things is kept.

mod image;
mod mappings;
mod notes;

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use crate::event::moment::{Happened, What};
use crate::linux::sys::{self, Pid, SignalInfo};
use crate::machine::procfs;
use crate::source::ptrace::stop::Report;

pub use mappings::Mapping;

/// How long a thread may take to stop, which is at once unless it sleeps in the kernel.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// What a process is stopped for.
#[derive(Debug, Clone, Copy)]
pub struct Focus {
    /// The thread that debuggers are to show first.
    pub tid: Pid,
    /// The signal that it would get next, where it is not pending but known: a fault that will happen
    /// again.
    pub signal: Option<SignalInfo>,
}

impl Focus {
    /// Of a process to which this has happened, if it is not at its exec.
    pub fn of(pid: Pid, happened: Option<Happened>) -> Focus {
        let signal = match happened.map(|happened| happened.what) {
            Some(What::Crash { signal, code, address: Some(address), .. }) => {
                let mut info = [0; size_of::<SignalInfo>()];
                info[..4].copy_from_slice(&signal.to_le_bytes());
                info[8..12].copy_from_slice(&code.to_le_bytes());
                info[16..24].copy_from_slice(&address.to_le_bytes());
                Some(info)
            }
            _ => None,
        };
        Focus { tid: happened.map_or(pid, |happened| happened.tid), signal }
    }
}

/// Why there is no core.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("the process has ended")]
    Gone,
    #[error("its thread {0} does not stop")]
    Running(Pid),
    #[error("the kernel does not let us trace it: {0}")]
    Refused(io::Error),
    #[error("cannot read {0}: {1}")]
    Read(&'static str, io::Error),
    #[error("cannot write it: {0}")]
    Write(io::Error),
    #[error("it was not wanted any more")]
    Cancelled,
}

/// Writes the core of a process that is in state T and traced by nobody. It is seized for that, and is in
/// the same state afterwards.
pub fn of_stopped(
    pid: Pid,
    focus: Focus,
    file: &File,
    wanted: &dyn Fn() -> bool,
) -> Result<(), DumpError> {
    let seized = Seized::all_of(pid)?;
    Prepared::of_traced(pid, &seized.tids, focus)?.write(file, wanted)
}

/// What a core says of a process beside its memory, which no tracer is needed for.
#[derive(Debug)]
pub struct Prepared {
    pid: Pid,
    notes: notes::Notes,
    mappings: Vec<Mapping>,
}

impl Prepared {
    /// Of a process whose threads are all in ptrace stops of the calling thread's.
    pub fn of_traced(pid: Pid, tids: &[Pid], focus: Focus) -> Result<Prepared, DumpError> {
        let mappings = mappings::of(procfs::living(pid))?;
        let mut tids = tids.to_vec();
        // The first thread is the one that debuggers show.
        tids.sort_by_key(|&tid| (tid != focus.tid, tid));
        let notes = notes::of(pid, &tids, focus, &mappings)?;
        Ok(Prepared { pid, notes, mappings })
    }

    /// Writes the core; the process must be stopped still.
    pub fn write(&self, file: &File, wanted: &dyn Fn() -> bool) -> Result<(), DumpError> {
        let Prepared { pid, notes, mappings } = self;
        let living = procfs::living(*pid);
        let memory = procfs::open(living, "mem").map_err(read("its memory"))?;
        let pages = procfs::open(living, "pagemap").ok();
        let filter = mappings::filter(living);
        image::Image { notes, mappings, filter, memory, pages }.write(file, wanted)
    }
}

fn read(what: &'static str) -> impl Fn(io::Error) -> DumpError {
    move |error| match error.raw_os_error() {
        Some(libc::ESRCH) => DumpError::Gone,
        _ if error.kind() == io::ErrorKind::NotFound => DumpError::Gone,
        _ => DumpError::Read(what, error),
    }
}

/// Threads in ptrace stops; they are let go when this is dropped.
struct Seized {
    tids: Vec<Pid>,
}

impl Seized {
    fn all_of(pid: Pid) -> Result<Seized, DumpError> {
        let mut seized = Seized { tids: Vec::new() };
        loop {
            let new: Vec<Pid> = procfs::threads(pid)
                .map_err(read("its threads"))?
                .into_iter()
                .filter(|tid| !seized.tids.contains(tid) && !is_dead(*tid))
                .collect();
            for &tid in &new {
                seized.add(tid)?;
            }
            if new.is_empty() {
                break;
            }
        }
        if seized.tids.is_empty() { Err(DumpError::Gone) } else { Ok(seized) }
    }

    fn add(&mut self, tid: Pid) -> Result<(), DumpError> {
        wait_until_stopped(tid)?;
        match sys::seize(tid, 0) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            Err(_) if is_dead(tid) => return Ok(()),
            other => other.map_err(DumpError::Refused)?,
        }
        self.tids.push(tid);
        // Should somebody have set it going in this moment, it stops for us.
        let _ = sys::interrupt(tid);
        if !wait_for_stop(tid)? {
            self.tids.retain(|&known| known != tid);
        }
        Ok(())
    }
}

/// Waits until a thread that was seized is in a ptrace stop; false if it has ended.
///
/// waitpid alone would not do: where the process is a child of another thread of ours that waits for its
/// children, the kernel may tell that thread.
fn wait_for_stop(tid: Pid) -> Result<bool, DumpError> {
    let deadline = Instant::now() + STOPS_WITHIN;
    loop {
        match sys::poll_tracee(tid).map(|status| status.map(Report::decode)) {
            Ok(Some(Report::GroupStop | Report::Trap)) => return Ok(true),
            Ok(Some(Report::Ended(_))) => return Ok(false),
            Ok(Some(Report::Signal(signal))) => {
                sys::cont(tid, signal).map_err(read("its state"))?
            }
            Ok(Some(_)) => sys::cont(tid, 0).map_err(read("its state"))?,
            Ok(None) if procfs::Stat::read(tid).is_ok_and(|stat| stat.state == b't') => {
                return Ok(true);
            }
            Ok(None) if is_dead(tid) => return Ok(false),
            Err(error) => return Err(read("its state")(error)),
            Ok(None) if Instant::now() >= deadline => return Err(DumpError::Running(tid)),
            Ok(None) => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}

impl Drop for Seized {
    fn drop(&mut self) {
        for &tid in &self.tids {
            // A stop that was in force is so again.
            let _ = sys::detach(tid, 0);
        }
    }
}

fn is_dead(tid: Pid) -> bool {
    match procfs::Stat::read(tid) {
        Ok(stat) => matches!(stat.state, b'Z' | b'X'),
        Err(error) => procfs::says_gone(tid, &error),
    }
}

fn wait_until_stopped(tid: Pid) -> Result<(), DumpError> {
    let deadline = Instant::now() + STOPS_WITHIN;
    loop {
        match procfs::Stat::read(tid) {
            Ok(stat) if matches!(stat.state, b'T' | b't' | b'Z' | b'X') => return Ok(()),
            Err(error) if procfs::says_gone(tid, &error) => return Ok(()),
            Err(error) => return Err(DumpError::Read("its state", error)),
            Ok(_) if Instant::now() >= deadline => return Err(DumpError::Running(tid)),
            Ok(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Reads mappings that are none.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    for mapping in mappings::parse(bytes) {
        let _ = (mapping.size(), mapping.extent(u32::MAX));
    }
}
