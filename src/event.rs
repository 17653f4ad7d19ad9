//! What an exec left to be seen: plain data, bytes first, and the trait by which it is read.
//!
//! Nothing here knows of ptrace or BPF. A source hands out something that implements [`Facts`];
//! the filter and the templates ask it, and each fact is read at most once, when first asked for.

pub mod cgroup;
mod faults;
pub mod moment;
mod record;
mod trace;

use std::sync::Arc;

use crate::event::cgroup::Cgroup;

pub use faults::Faults;
pub use record::{ExecCall, ExecRecord, FdRecord, Ids, Part, Response, Vector, Wanted};
pub use trace::{Begun, Ended, Execution, ParentEvent, TraceEvent, Usage};

/// A fact as it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// It was read.
    Known(T),
    /// The process has no such thing: an unset variable, a closed descriptor.
    Missing,
    /// It could not be read (no permission, the process died, not read yet).
    Unknown,
}

impl<T> Reading<T> {
    /// The value, if it was read.
    pub fn known(self) -> Option<T> {
        match self {
            Reading::Known(value) => Some(value),
            Reading::Missing | Reading::Unknown => None,
        }
    }

    /// The same, of a reference to the value.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Reading::Known(value) => Reading::Known(value),
            Reading::Missing => Reading::Missing,
            Reading::Unknown => Reading::Unknown,
        }
    }

    /// The reading that the value leads to, if it was read.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Reading::Known(value) => f(value),
            Reading::Missing => Reading::Missing,
            Reading::Unknown => Reading::Unknown,
        }
    }

    /// Applies `f` to the value, if it was read.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        self.and_then(|value| Reading::Known(f(value)))
    }
}

/// A list of strings as the kernel lays them out: each one ended by a NUL byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    block: Vec<u8>,
}

impl Strings {
    /// Takes a block in which every string is ended by a NUL byte (a missing last one is added).
    pub fn from_block(mut block: Vec<u8>) -> Self {
        if block.last().is_some_and(|&b| b != 0) {
            block.push(0);
        }
        Strings { block }
    }

    /// The strings, without their NUL bytes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.block.split_inclusive(|&b| b == 0).map(|string| &string[..string.len() - 1])
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        memchr::memchr_iter(0, &self.block).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The string at `index`; a negative one counts from the end.
    pub fn get(&self, index: i64) -> Option<&[u8]> {
        let at = if index < 0 { self.len() as i64 + index } else { index };
        let at = usize::try_from(at).ok()?;
        if at >= self.len() {
            return None;
        }
        self.block.split(|&b| b == 0).nth(at)
    }

    /// All of them, joined by single spaces.
    pub fn joined(&self) -> Vec<u8> {
        let mut line = self.block.clone();
        line.pop();
        for byte in &mut line {
            if *byte == 0 {
                *byte = b' ';
            }
        }
        line
    }

    /// The block itself: every string followed by a NUL byte.
    pub fn block(&self) -> &[u8] {
        &self.block
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(items: I) -> Self {
        let mut block = Vec::new();
        for item in items {
            block.extend_from_slice(item.as_ref());
            block.push(0);
        }
        Strings { block }
    }
}

/// Whether a file's name is one for the program that asks for it.
pub fn is_self(filename: &[u8]) -> bool {
    filename == b"/proc/self/exe" || filename == b"/proc/thread-self/exe"
}

/// What kind of file a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdKind {
    File,
    Dir,
    Pipe,
    Socket,
    Tty,
    Char,
    Block,
    Anon,
}

impl FdKind {
    /// Every kind, in the order of the manual.
    pub const ALL: [FdKind; 8] = [
        FdKind::File,
        FdKind::Dir,
        FdKind::Pipe,
        FdKind::Socket,
        FdKind::Tty,
        FdKind::Char,
        FdKind::Block,
        FdKind::Anon,
    ];

    /// Its name in the filter language.
    pub fn name(self) -> &'static str {
        match self {
            FdKind::File => "file",
            FdKind::Dir => "dir",
            FdKind::Pipe => "pipe",
            FdKind::Socket => "socket",
            FdKind::Tty => "tty",
            FdKind::Char => "char",
            FdKind::Block => "block",
            FdKind::Anon => "anon",
        }
    }
}

impl FdKind {
    /// The kind of a file with this mode (st_mode in inode(7)), a device with this major and minor
    /// number.
    pub fn of(mode: u32, device: (u64, u64), is_anonymous: bool) -> FdKind {
        match mode & libc::S_IFMT {
            libc::S_IFDIR => FdKind::Dir,
            libc::S_IFIFO => FdKind::Pipe,
            libc::S_IFSOCK => FdKind::Socket,
            libc::S_IFBLK => FdKind::Block,
            libc::S_IFCHR if is_terminal(device) => FdKind::Tty,
            libc::S_IFCHR => FdKind::Char,
            libc::S_IFREG if !is_anonymous => FdKind::File,
            _ => FdKind::Anon,
        }
    }
}

/// Whether a character device is a terminal, by its major number (the kernel's devices.txt):
/// consoles and serial lines 4, /dev/tty 5, BSD ptys 2 and 3, Unix98 ptys 136 to 143.
fn is_terminal((major, minor): (u64, u64)) -> bool {
    matches!(major, 2..=4 | 136..=143) || (major == 5 && minor < 2)
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fd {
    pub number: u32,
    /// What the link in `/proc/PID/fd` shows.
    pub target: Vec<u8>,
    pub kind: FdKind,
}

/// A namespace that a process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    Pid,
    Mnt,
}

/// What is known of an exec. Every method reads at most once and keeps what it read.
pub trait Facts {
    fn argv(&mut self) -> Reading<&Strings>;
    /// The value of an environment variable (the first of that name).
    fn env(&mut self, name: &[u8]) -> Reading<&[u8]>;
    /// The file name as it was passed to exec (AT_EXECFN).
    fn filename(&mut self) -> Reading<&[u8]>;
    /// The file as resolved (`/proc/PID/exe`).
    fn exe(&mut self) -> Reading<&[u8]>;
    /// The interpreter of a script; missing for anything else.
    fn interpreter(&mut self) -> Reading<&[u8]>;
    fn comm(&mut self) -> Reading<&[u8]>;
    /// The command name before the exec.
    fn prev_comm(&mut self) -> Reading<&[u8]>;
    fn cwd(&mut self) -> Reading<&[u8]>;
    fn fd(&mut self, number: u32) -> Reading<&Fd>;
    fn fds(&mut self) -> Reading<&[Fd]>;
    /// The effective user id.
    fn uid(&mut self) -> Reading<u32>;
    /// The effective group id.
    fn gid(&mut self) -> Reading<u32>;
    fn pid(&mut self) -> Reading<u32>;
    fn cgroup(&mut self) -> Reading<&Cgroup>;
    /// The number by which `/proc/PID/ns` names a namespace.
    fn namespace(&mut self, which: Namespace) -> Reading<u32>;
    /// Why the exec failed; missing of one that did not.
    fn errno(&mut self) -> Reading<u32> {
        Reading::Missing
    }
    /// The parent's id, as `/proc` says now.
    fn ppid(&mut self) -> Reading<u32>;
    /// How many parents lie between this process and COMMAND, whose depth is 0.
    fn depth(&mut self) -> Reading<u32>;
    /// The ancestors by who forked whom, the parent first, COMMAND last.
    fn ancestors(&mut self) -> Reading<Vec<Arc<Image>>>;
}

/// Which facts are to be kept of processes that may become ancestors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Whether ancestry (`depth`, `parent`, `ancestor`) is asked for at all.
    pub lineage: bool,
    /// Whether `prev.comm` is asked for.
    pub prev_comm: bool,
    pub argv: bool,
    pub filename: bool,
    pub exe: bool,
    pub interpreter: bool,
    pub comm: bool,
    pub cwd: bool,
    /// Both ids.
    pub ids: bool,
    pub cgroup: bool,
}

/// What is kept of a program after its exec, for the sake of its descendants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub pid: u32,
    pub depth: u32,
    pub argv: Reading<Strings>,
    pub filename: Reading<Vec<u8>>,
    pub exe: Reading<Vec<u8>>,
    pub interpreter: Reading<Vec<u8>>,
    pub comm: Reading<Vec<u8>>,
    pub cwd: Reading<Vec<u8>>,
    pub uid: Reading<u32>,
    pub gid: Reading<u32>,
    pub cgroup: Reading<Cgroup>,
}

impl Image {
    /// One of which nothing is known.
    pub fn unread(pid: u32, depth: u32) -> Image {
        Image {
            pid,
            depth,
            argv: Reading::Unknown,
            filename: Reading::Unknown,
            exe: Reading::Unknown,
            interpreter: Reading::Unknown,
            comm: Reading::Unknown,
            cwd: Reading::Unknown,
            uid: Reading::Unknown,
            gid: Reading::Unknown,
            cgroup: Reading::Unknown,
        }
    }

    /// Keeps of `facts` what `keep` names; the rest is unknown.
    pub fn capture(pid: u32, depth: u32, keep: Keep, facts: &mut dyn Facts) -> Self {
        macro_rules! fact {
            ($want:expr, $method:ident) => {
                if $want { facts.$method().map(ToOwned::to_owned) } else { Reading::Unknown }
            };
        }
        Image {
            pid,
            depth,
            argv: fact!(keep.argv, argv),
            filename: fact!(keep.filename, filename),
            exe: fact!(keep.exe, exe),
            interpreter: fact!(keep.interpreter, interpreter),
            comm: fact!(keep.comm, comm),
            cwd: fact!(keep.cwd, cwd),
            uid: if keep.ids { facts.uid() } else { Reading::Unknown },
            gid: if keep.ids { facts.gid() } else { Reading::Unknown },
            cgroup: fact!(keep.cgroup, cgroup),
        }
    }
}

/// Kept bytes, to be looked at.
pub fn lent<B: AsRef<[u8]>>(reading: &Reading<B>) -> Reading<&[u8]> {
    reading.as_ref().map(AsRef::as_ref)
}

/// An ancestor answers the same questions, as far as they were kept.
impl Facts for &Image {
    fn argv(&mut self) -> Reading<&Strings> {
        self.argv.as_ref()
    }
    fn env(&mut self, _: &[u8]) -> Reading<&[u8]> {
        Reading::Unknown
    }
    fn filename(&mut self) -> Reading<&[u8]> {
        lent(&self.filename)
    }
    fn exe(&mut self) -> Reading<&[u8]> {
        lent(&self.exe)
    }
    fn interpreter(&mut self) -> Reading<&[u8]> {
        lent(&self.interpreter)
    }
    fn comm(&mut self) -> Reading<&[u8]> {
        lent(&self.comm)
    }
    fn prev_comm(&mut self) -> Reading<&[u8]> {
        Reading::Unknown
    }
    fn cwd(&mut self) -> Reading<&[u8]> {
        lent(&self.cwd)
    }
    fn fd(&mut self, _: u32) -> Reading<&Fd> {
        Reading::Unknown
    }
    fn fds(&mut self) -> Reading<&[Fd]> {
        Reading::Unknown
    }
    fn uid(&mut self) -> Reading<u32> {
        self.uid
    }
    fn gid(&mut self) -> Reading<u32> {
        self.gid
    }
    fn pid(&mut self) -> Reading<u32> {
        Reading::Known(self.pid)
    }
    fn cgroup(&mut self) -> Reading<&Cgroup> {
        self.cgroup.as_ref()
    }
    fn namespace(&mut self, _: Namespace) -> Reading<u32> {
        Reading::Unknown
    }
    fn ppid(&mut self) -> Reading<u32> {
        Reading::Unknown
    }
    fn depth(&mut self) -> Reading<u32> {
        Reading::Known(self.depth)
    }
    fn ancestors(&mut self) -> Reading<Vec<Arc<Image>>> {
        Reading::Unknown
    }
}

/// The last component of a path, as bytes.
pub fn basename(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(path, |at| &path[at + 1..])
}

/// The name in an entry of an environment, and the value where there is a `=`.
pub fn variable(entry: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', entry) {
        Some(at) => (&entry[..at], Some(&entry[at + 1..])),
        None => (entry, None),
    }
}
