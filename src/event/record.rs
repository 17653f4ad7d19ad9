//! An exec as a source has recorded it, for those that look at it when its process has long gone on.

use super::{Faults, Fd, Reading, Strings, basename};

/// A part of a record: absent where it was not asked for or nothing of it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part<T> {
    pub value: Option<T>,
    pub faults: Faults,
}

impl<T> Part<T> {
    pub fn of(value: T) -> Part<T> {
        Part { value: Some(value), faults: Faults::empty() }
    }

    /// The value, where all of it came.
    pub fn whole(&self) -> Reading<&T> {
        match &self.value {
            Some(value) if self.faults.is_empty() => Reading::Known(value),
            _ => Reading::Unknown,
        }
    }
}

/// argv or the environment. Where a string could not be read, an empty one stands in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vector {
    pub strings: Strings,
    /// The places of those.
    pub unread: Vec<usize>,
}

impl Vector {
    /// Strings that were all read.
    pub fn of<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Vector {
        Vector { strings: strings.into_iter().collect(), unread: Vec::new() }
    }
}

/// A descriptor with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdRecord {
    pub fd: Fd,
    /// As of open(2).
    pub flags: u32,
    pub close_on_exec: bool,
    pub position: i64,
    pub mount_id: u32,
    pub inode: u64,
    /// The type of its file system.
    pub file_system: Vec<u8>,
    pub faults: Faults,
}

/// A file that an argument names by `@NAME`, and what was in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub name: Vec<u8>,
    pub text: Vec<u8>,
}

/// All ids of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// Real, effective, saved, of the file system; see credentials(7).
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub groups: Vec<u32>,
}

/// Which parts of an exec are recorded, of those that cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub env: bool,
    pub cwd: bool,
    pub exe: bool,
    /// The image where the file name says no more than that it is the program's own.
    pub own_exe: bool,
    /// Numbers and targets of the descriptors that the exec leaves open, and what is at hand of the rest.
    pub fds: bool,
    /// All of each descriptor, those among them that the exec closes.
    pub fd_details: bool,
    pub cgroup: bool,
    /// The effective ids and the parent.
    pub owner: bool,
    pub ids: bool,
    /// The command name before the exec.
    pub prev_comm: bool,
    /// What runs a script, and what runs that.
    pub interpreters: bool,
    /// The response files.
    pub responses: bool,
    /// Execs that fail, too.
    pub failures: bool,
    /// What forks and ends, too.
    pub lives: bool,
    /// How the process sees files, where that is not as we see them.
    pub view: bool,
}

impl Wanted {
    /// Nothing beyond what a filter asks for.
    pub const FOR_FILTER: Wanted = Wanted {
        env: false,
        cwd: true,
        exe: true,
        own_exe: false,
        fds: false,
        fd_details: false,
        cgroup: false,
        owner: true,
        ids: false,
        prev_comm: false,
        interpreters: false,
        responses: false,
        failures: false,
        lives: false,
        view: false,
    };

    /// What either of two wants.
    pub fn and(self, other: Wanted) -> Wanted {
        Wanted {
            env: self.env || other.env,
            cwd: self.cwd || other.cwd,
            exe: self.exe || other.exe,
            own_exe: self.own_exe || other.own_exe,
            fds: self.fds || other.fds,
            fd_details: self.fd_details || other.fd_details,
            cgroup: self.cgroup || other.cgroup,
            owner: self.owner || other.owner,
            ids: self.ids || other.ids,
            prev_comm: self.prev_comm || other.prev_comm,
            interpreters: self.interpreters || other.interpreters,
            responses: self.responses || other.responses,
            failures: self.failures || other.failures,
            lives: self.lives || other.lives,
            view: self.view || other.view,
        }
    }

    pub const ALL: Wanted = Wanted {
        env: true,
        cwd: true,
        exe: true,
        own_exe: true,
        fds: true,
        fd_details: true,
        cgroup: true,
        owner: true,
        ids: true,
        prev_comm: true,
        interpreters: true,
        responses: true,
        failures: true,
        lives: true,
        view: false,
    };
}

/// How an exec was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecCall {
    /// By execveat(2), with this descriptor.
    pub at: Option<i32>,
    /// execveat's flags.
    pub flags: u32,
}

/// An exec, successful or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRecord {
    /// No other one of the session has it.
    pub id: u64,
    /// Of the process.
    pub pid: u32,
    /// Of the thread that asked for it; after a successful exec it has the process's.
    pub tid: u32,
    pub parent: Reading<u32>,
    pub depth: Reading<u32>,
    /// In nanoseconds since boot, see CLOCK_BOOTTIME in clock_gettime(2).
    pub time: u64,
    /// When its process began, in the same way.
    pub began: u64,
    /// 0, or the negative errno with which it failed.
    pub result: i32,
    /// Where calls are recorded.
    pub call: Option<ExecCall>,
    /// Whether the program, or the failed call, is of 32 bits.
    pub compat: bool,
    /// The effective ids.
    pub uid: u32,
    pub gid: u32,
    pub ids: Part<Ids>,
    pub comm: Part<Vec<u8>>,
    pub prev_comm: Part<Vec<u8>>,
    pub filename: Part<Vec<u8>>,
    pub argv: Part<Vector>,
    /// Of a script that was executed: the arguments as they were passed, where the call was seen. `argv` is what
    /// the interpreter got.
    pub passed: Part<Vector>,
    /// The response files that the arguments name, as they were at the exec; those that were too large are missing.
    pub responses: Vec<Response>,
    pub env: Part<Vector>,
    pub cwd: Part<Vec<u8>>,
    pub exe: Part<Vec<u8>>,
    /// Of a script: what its first line names, then what that file's names, and so on.
    pub interpreters: Part<Vec<Vec<u8>>>,
    /// The path in the hierarchy of version 2.
    pub cgroup: Part<Vec<u8>>,
    pub fds: Part<Vec<FdRecord>>,
    pub pid_namespace: Reading<u32>,
    pub mount_namespace: Reading<u32>,
    /// Of the whole.
    pub faults: Faults,
}

impl ExecRecord {
    /// What the whole is called among the parts.
    pub const WHOLE: &str = "exec";

    /// What people call the program.
    pub fn program(&self) -> Option<&[u8]> {
        self.filename.value.as_ref().or(self.exe.value.as_ref()).map(|path| basename(path))
    }

    /// Where the name of a script is among the arguments that its interpreter got.
    pub fn script(&self) -> Option<usize> {
        let chain = self.interpreters.value.as_ref().filter(|_| self.result == 0)?;
        let filename = self.filename.value.as_deref()?;
        let argv = &self.argv.value.as_ref()?.strings;
        let begins = argv.get(0) == chain.last().map(Vec::as_slice);
        // Each may have one argument of its own.
        let mut places = argv.iter().take(2 * chain.len() + 1).skip(1);
        places.position(|argument| argument == filename).map(|at| at + 1).filter(|_| begins)
    }

    /// Completes `passed`, which so far has the first argument only: the kernel has put the interpreter and its
    /// words in place of that one. Nothing is left of it where there is no interpreter.
    pub fn complete_passed(&mut self) {
        let first = std::mem::take(&mut self.passed);
        let (Some(at), Some(argv)) = (self.script(), &self.argv.value) else { return };
        self.passed.faults = first.faults;
        let Some(mut passed) = first.value else { return };
        passed.strings = passed.strings.iter().chain(argv.strings.iter().skip(at + 1)).collect();
        passed
            .unread
            .extend(argv.unread.iter().filter(|place| **place > at).map(|place| place - at));
        self.passed = Part { value: Some(passed), faults: first.faults | self.argv.faults };
    }

    /// How much memory its parts take, in bytes.
    pub fn size(&self) -> usize {
        let vectors = [&self.argv, &self.passed, &self.env]
            .into_iter()
            .filter_map(|part| part.value.as_ref());
        let vectors = vectors
            .map(|vector| vector.strings.block().len() + vector.unread.len() * size_of::<usize>());
        let texts =
            [&self.comm, &self.prev_comm, &self.filename, &self.cwd, &self.exe, &self.cgroup];
        let texts = texts.into_iter().filter_map(|part| part.value.as_ref()).map(Vec::len);
        let chain = self.interpreters.value.iter().flatten().map(Vec::len);
        let fds = self
            .fds
            .value
            .iter()
            .flatten()
            .map(|fd| size_of::<FdRecord>() + fd.fd.target.len() + fd.file_system.len());
        let responses = self.responses.iter().map(|file| file.name.len() + file.text.len());
        vectors.chain(texts).chain(chain).chain(fds).chain(responses).sum()
    }

    /// The parts, and the whole, that are not as they should be.
    pub fn faulty_parts(&self) -> impl Iterator<Item = (&'static str, Faults)> {
        let parts = [
            (Self::WHOLE, self.faults),
            ("comm", self.comm.faults),
            ("prev_comm", self.prev_comm.faults),
            ("filename", self.filename.faults),
            ("argv", self.argv.faults),
            ("passed_argv", self.passed.faults),
            ("env", self.env.faults),
            ("cwd", self.cwd.faults),
            ("exe", self.exe.faults),
            ("interpreters", self.interpreters.faults),
            ("ids", self.ids.faults),
            ("cgroup", self.cgroup.faults),
            ("fds", self.fds.faults),
        ];
        parts.into_iter().filter(|(_, faults)| !faults.is_empty())
    }

    /// All that is not as it should be, of the whole, of its parts, and of its descriptors.
    pub fn all_faults(&self) -> Faults {
        let descriptors = self.fds.value.iter().flatten().map(|fd| fd.faults);
        let parts = self.faulty_parts().map(|(_, faults)| faults);
        parts.chain(descriptors).fold(Faults::empty(), |all, faults| all | faults)
    }
}
