//! The fields: what they are called, what they are, and what reading them costs.

use std::fmt;

use super::print;
use crate::event::{Keep, Namespace};

/// A field of a process, or of those it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub of: Of,
    pub what: What,
}

/// Whose field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Process,
    Parent,
    /// Any of the ancestors.
    Ancestor,
}

/// Which element of `argv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// Counted from the end if negative.
    At(i64),
    Any,
}

/// Which descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    Number(u32),
    Any,
}

/// What is asked of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The command line, joined by single spaces.
    Argv,
    Arg(Index),
    Argc,
    Filename,
    Basename,
    Exe,
    Interpreter,
    Comm,
    PrevComm,
    Cwd,
    /// What a descriptor refers to.
    Fd(Descriptor),
    FdType(Descriptor),
    Env(Vec<u8>),
    Uid,
    Gid,
    User,
    Group,
    Pid,
    Ppid,
    Depth,
    Cgroup,
    /// The systemd unit.
    Unit,
    Container,
    Namespace(Namespace),
    /// The signal of which it is about to die.
    Signal,
    /// The status with which it is about to exit.
    Status,
    /// Why the exec failed, of one that did.
    Errno,
    /// Since its exec.
    Age,
    /// Whether what has happened is meant by default, as to its signal, and as to its status. It is not
    /// written, but stands in for a test on `signal` or `status` that is not there.
    Usual {
        signal: bool,
        status: bool,
    },
    /// The parent itself, which only exists or does not.
    Parent,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// In milliseconds.
    Time,
    Signal,
    Errno,
    FdType,
    /// No value at all: it exists or it does not.
    Nothing,
}

/// The fields that are written as a single word.
pub(super) const PLAIN: [(&str, What); 26] = [
    ("argv", What::Argv),
    ("argc", What::Argc),
    ("filename", What::Filename),
    ("basename", What::Basename),
    ("exe", What::Exe),
    ("interpreter", What::Interpreter),
    ("comm", What::Comm),
    ("prev.comm", What::PrevComm),
    ("cwd", What::Cwd),
    ("uid", What::Uid),
    ("gid", What::Gid),
    ("user", What::User),
    ("group", What::Group),
    ("pid", What::Pid),
    ("ppid", What::Ppid),
    ("depth", What::Depth),
    ("cgroup", What::Cgroup),
    ("unit", What::Unit),
    ("container", What::Container),
    ("ns.pid", What::Namespace(Namespace::Pid)),
    ("ns.mnt", What::Namespace(Namespace::Mnt)),
    ("signal", What::Signal),
    ("status", What::Status),
    ("age", What::Age),
    ("errno", What::Errno),
    ("parent", What::Parent),
];

impl What {
    /// Its name, without brackets and what follows them.
    pub fn name(&self) -> &'static str {
        match self {
            What::Arg(_) => "argv",
            What::Fd(_) | What::FdType(_) => "fd",
            What::Env(_) => "env",
            plain => PLAIN.iter().find(|(_, what)| what == plain).map_or("", |(name, _)| name),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            What::Argc | What::Uid | What::Gid | What::Pid | What::Ppid | What::Depth => {
                Kind::Number
            }
            What::Namespace(_) | What::Status => Kind::Number,
            What::Age => Kind::Time,
            What::Signal => Kind::Signal,
            What::Errno => Kind::Errno,
            What::FdType(_) => Kind::FdType,
            What::Parent => Kind::Nothing,
            _ => Kind::Text,
        }
    }

    /// Whether a process can be without it.
    pub(super) fn can_be_missing(&self) -> bool {
        matches!(
            self,
            What::Arg(_)
                | What::Fd(_)
                | What::FdType(_)
                | What::Env(_)
                | What::Interpreter
                | What::Cgroup
                | What::Unit
                | What::Container
                | What::Signal
                | What::Status
                | What::Errno
                | What::Parent
        )
    }

    /// Whether it can have several values at once.
    pub(super) fn is_many(&self) -> bool {
        matches!(self, What::Arg(Index::Any) | What::Fd(Descriptor::Any))
    }

    /// Whether it is known only when something happens after the exec.
    pub fn is_of_a_moment(&self) -> bool {
        matches!(self, What::Signal | What::Status | What::Age | What::Usual { .. })
    }

    /// Whether it can be known of a process that is an ancestor.
    pub(super) fn is_kept_of_ancestors(&self) -> bool {
        !matches!(
            self,
            What::PrevComm
                | What::Fd(_)
                | What::FdType(_)
                | What::Env(_)
                | What::Ppid
                | What::Namespace(_)
                | What::Signal
                | What::Status
                | What::Age
                | What::Usual { .. }
                | What::Errno
                | What::Parent
        )
    }
}

impl Field {
    /// What it costs to read, by rank only.
    pub(super) fn cost(&self) -> u8 {
        if self.of != Of::Process {
            return 1; // They were kept in memory.
        }
        match self.what {
            What::Pid | What::Depth | What::Errno => 0,
            What::Signal | What::Status | What::Age | What::Usual { .. } => 0,
            What::Argv | What::Arg(_) | What::Argc | What::Env(_) => 1,
            What::Filename | What::Basename | What::PrevComm | What::Parent => 1,
            What::Comm | What::Exe | What::Cwd => 2,
            What::Uid | What::Gid | What::User | What::Group | What::Ppid => 3,
            What::Cgroup | What::Unit | What::Container | What::Namespace(_) => 3,
            What::Interpreter => 4,
            What::Fd(Descriptor::Number(_)) | What::FdType(Descriptor::Number(_)) => 4,
            What::Fd(Descriptor::Any) | What::FdType(Descriptor::Any) => 5,
        }
    }

    /// Adds to `keep` what has to be kept of processes for this field to be known later.
    pub(super) fn keep(&self, keep: &mut Keep) {
        keep.lineage |= self.of != Of::Process;
        keep.lineage |= matches!(self.what, What::Depth | What::Parent);
        keep.prev_comm |= self.what == What::PrevComm;
        if self.of == Of::Process {
            return;
        }
        match self.what {
            What::Argv | What::Arg(_) | What::Argc => keep.argv = true,
            What::Filename | What::Basename => keep.filename = true,
            What::Exe => keep.exe = true,
            What::Interpreter => keep.interpreter = true,
            What::Comm => keep.comm = true,
            What::Cwd => keep.cwd = true,
            What::Uid | What::Gid | What::User | What::Group => keep.ids = true,
            What::Cgroup | What::Unit | What::Container => keep.cgroup = true,
            _ => {}
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        print::field(self, &mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}
