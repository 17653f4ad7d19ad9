//! How a program is caught when it leaves. A dynamic one leaves by its C library's `_exit`, on which a
//! breakpoint of the kernel costs two stops; of any other each system call is looked at.
//!
//! A breakpoint that nobody looks at any more does no harm: see [`perf`].

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

use object::{Object, ObjectSymbol, ReadCache};

use super::wait::OPTIONS;
use crate::linux::files::{self, Parts};
use crate::linux::sys::perf;
use crate::linux::sys::perf::Breakpoint;
use crate::linux::sys::{self, Pid, Signalled};
use crate::machine::procfs;

/// Where the next stop on the way out is.
#[derive(Debug)]
pub enum Way {
    /// At each system call.
    Calls,
    /// At its entry, where the C library is loaded.
    Entry(Breakpoint),
    /// Where it cannot turn back any more, for who wants no more than to save something of it.
    Last,
    /// At `_exit`, for each thread.
    Exit(u64, HashMap<Pid, Breakpoint>),
}

impl Way {
    /// The address of the breakpoint that has sent a thread this signal.
    pub fn reached(&self, tid: Pid, info: &Signalled) -> Option<u64> {
        let breakpoint = match self {
            Way::Calls | Way::Last => None,
            Way::Entry(breakpoint) => Some(breakpoint),
            Way::Exit(_, breakpoints) => breakpoints.get(&tid),
        };
        breakpoint.filter(|at| at.has_sent(info)).map(|at| at.address)
    }
}

/// Where `_exit` is in the C libraries that were seen, by device and inode: from the start of the
/// library, if it has one.
#[derive(Debug)]
pub struct Libraries {
    known: HashMap<(String, u64), Option<u64>>,
    /// The kernel has refused a breakpoint, and would again; or none is wanted.
    refused: bool,
    /// Whether [`Way::Last`] will do.
    last: bool,
}

/// Keys of the auxiliary vector, see getauxval(3).
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;

impl Libraries {
    /// With `calls`, no breakpoint is set.
    pub fn new(calls: bool, last: bool) -> Libraries {
        Libraries { known: HashMap::new(), refused: calls, last: last && !calls }
    }

    /// The way of a program that has just been executed.
    pub fn at_exec(&mut self, pid: Pid) -> Way {
        if self.last && sys::set_options(pid, OPTIONS | libc::PTRACE_O_TRACEEXIT).is_ok() {
            return Way::Last;
        }
        if self.refused || !can_be_signalled(pid) {
            return Way::Calls;
        }
        entry_of_dynamic(pid).and_then(|entry| self.set(pid, entry)).map_or(Way::Calls, Way::Entry)
    }

    /// The way of a program whose libraries are there, with the threads that it has beside its first.
    pub fn at_entry(&mut self, pid: Pid, threads: &[Pid]) -> Way {
        let exit = if can_be_signalled(pid) { self.exit_of(pid) } else { None };
        let mut way = exit.map_or(Way::Calls, |exit| self.exit(pid, exit));
        for &tid in threads {
            self.threaded(tid, &mut way);
        }
        way
    }

    /// The way of a process that was forked by one that leaves by this way.
    pub fn forked(&mut self, pid: Pid, parent: Option<&Way>) -> Way {
        match parent {
            Some(Way::Exit(exit, _)) => self.exit(pid, *exit),
            Some(Way::Last) => Way::Last,
            _ => Way::Calls,
        }
    }

    /// A process has a thread more. One for which there is no breakpoint goes unseen.
    pub fn threaded(&mut self, tid: Pid, way: &mut Way) {
        if let Way::Exit(exit, breakpoints) = way
            && !breakpoints.contains_key(&tid)
            && let Some(breakpoint) = self.set(tid, *exit)
        {
            breakpoints.insert(tid, breakpoint);
        }
    }

    fn exit(&mut self, pid: Pid, address: u64) -> Way {
        let set = self.set(pid, address);
        set.map_or(Way::Calls, |first| Way::Exit(address, HashMap::from([(pid, first)])))
    }

    fn set(&mut self, tid: Pid, address: u64) -> Option<Breakpoint> {
        if self.refused {
            return None;
        }
        match Breakpoint::set(tid, address) {
            Ok(breakpoint) => Some(breakpoint),
            Err(error) => {
                let code = error.raw_os_error();
                // Not that it is gone, or that all of the processor's registers or of our descriptors are
                // in use.
                self.refused = !matches!(
                    code,
                    Some(libc::ESRCH | libc::ENOSPC | libc::EBUSY | libc::EMFILE | libc::ENFILE)
                );
                None
            }
        }
    }

    /// The address of `_exit` in a process.
    fn exit_of(&mut self, pid: Pid) -> Option<u64> {
        let maps = procfs::read_text(pid, "maps").ok()?;
        let line = maps.lines().find(|line| is_start_of_libc(line))?;
        let mut words = line.split_ascii_whitespace();
        let start = u64::from_str_radix(words.next()?.split('-').next()?, 16).ok()?;
        let device = words.nth(2)?.to_string();
        let inode = words.next()?.parse().ok()?;
        if let Some(offset) = self.known.get(&(device.clone(), inode)) {
            return offset.map(|offset| start + offset);
        }
        let library = files::open(&procfs::as_seen_by(pid, words.next()?.as_bytes())).ok()?;
        let is_mapped = library.metadata().ok()?.ino() == inode;
        let offset = exit_in(library);
        // Another file may be there by now: what that says is of no other process's library.
        if is_mapped {
            self.known.insert((device, inode), offset);
        }
        offset.map(|offset| start + offset)
    }
}

/// Whether a thread in a stop would see a breakpoint's signal.
fn can_be_signalled(tid: Pid) -> bool {
    sys::signal_mask(tid).is_ok_and(|mask| mask >> (perf::SIGNAL - 1) & 1 == 0)
}

/// Whether a line of /proc/PID/maps is where a C library begins.
fn is_start_of_libc(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let at_start = words.nth(2).is_some_and(|offset| offset.bytes().all(|byte| byte == b'0'));
    let name = words.nth(2).map(|path| path.rsplit('/').next().unwrap_or(path));
    let is_libc = |name: &str| {
        name.starts_with("libc.so") || name.starts_with("libc-2.") || name.starts_with("ld-musl-")
    };
    at_start && name.is_some_and(is_libc)
}

/// Where `_exit` is in a library, from where that is loaded. musl's exit calls `_Exit`, which in the GNU
/// library is the same place.
fn exit_in(library: File) -> Option<u64> {
    let cache = ReadCache::new(library);
    let file = object::File::parse(Parts(&cache)).ok()?;
    let found = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("_Exit"))?;
    (found.address() != 0).then(|| found.address())
}

/// The entry of a program that has an interpreter.
fn entry_of_dynamic(pid: Pid) -> Option<u64> {
    let auxv = procfs::read(pid, "auxv").ok()?;
    let exe = procfs::open(pid, "exe").ok()?;
    let mut class = [0; 5];
    std::io::Read::read_exact(&mut &exe, &mut class).ok()?;
    let word = if class[4] == 1 { 4 } else { 8 };
    let value = |key| procfs::auxiliary(&auxv, word, key);
    value(AT_BASE).filter(|&base| base != 0)?;
    value(AT_ENTRY)
}
