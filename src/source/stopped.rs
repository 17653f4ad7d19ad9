//! The facts of a process that is stopped at its exec, each read when first asked for.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::cgroup::Cgroup;
use crate::event::{Facts, Fd, Image, Namespace, Reading, Strings};
use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Stat, Status};
use crate::source::interpreters;

/// Where a process stands in its tree.
pub trait Ancestry {
    fn depth(&self) -> Reading<u32>;
    /// What is known of its ancestors, the parent first.
    fn images(&self) -> Reading<Vec<Arc<Image>>>;
}

/// What is known of a process from before its exec.
pub struct Place {
    pub ancestry: Box<dyn Ancestry>,
    pub comm_before: Option<Vec<u8>>,
}

/// Where argv, the environment and the file name of a new program are read.
pub trait Vectors {
    /// Each string followed by its NUL byte.
    fn argv(&mut self) -> io::Result<&[u8]>;
    /// In the same form.
    fn environment(&mut self) -> io::Result<&[u8]>;
    /// As it was passed to exec.
    fn filename(&mut self) -> io::Result<&[u8]>;
}

/// Begins to read them.
pub type ReadVectors = fn(Pid) -> io::Result<Box<dyn Vectors>>;

/// A stopped process, read lazily.
pub struct StoppedProcess {
    pid: Pid,
    place: Option<Place>,
    read: ReadVectors,
    vectors: Option<io::Result<Box<dyn Vectors>>>,
    argv: Option<Reading<Strings>>,
    filename: Option<Reading<Vec<u8>>>,
    exe: Option<Reading<Vec<u8>>>,
    interpreter: Option<Reading<Vec<u8>>>,
    comm: Option<Reading<Vec<u8>>>,
    cwd: Option<Reading<Vec<u8>>>,
    fd: Option<Reading<Fd>>,
    fds: Option<Reading<Vec<Fd>>>,
    status: OnceCell<Option<Status>>,
    cgroup: Option<Reading<Cgroup>>,
    namespaces: [Option<Reading<u32>>; 2],
}

fn reading<T>(result: io::Result<T>) -> Reading<T> {
    result.inspect_err(procfs::note_error).map_or(Reading::Unknown, Reading::Known)
}

fn lend<T: AsRef<B>, B: ?Sized>(kept: &Reading<T>) -> Reading<&B> {
    match kept {
        Reading::Known(value) => Reading::Known(value.as_ref()),
        Reading::Missing => Reading::Missing,
        Reading::Unknown => Reading::Unknown,
    }
}

impl StoppedProcess {
    /// A process, with its place in the tree where that is followed.
    pub fn new(pid: Pid, place: Option<Place>, read: ReadVectors) -> Self {
        StoppedProcess {
            pid,
            place,
            read,
            vectors: None,
            argv: None,
            filename: None,
            exe: None,
            interpreter: None,
            comm: None,
            cwd: None,
            fd: None,
            fds: None,
            status: OnceCell::new(),
            cgroup: None,
            namespaces: [None; 2],
        }
    }

    /// What `read` finds in the vectors.
    fn vector<'a>(
        &'a mut self,
        read: impl FnOnce(&'a mut dyn Vectors) -> io::Result<&'a [u8]>,
    ) -> Reading<&'a [u8]> {
        let (pid, begin) = (self.pid, self.read);
        match self.vectors.get_or_insert_with(|| begin(pid)) {
            Ok(vectors) => reading(read(vectors.as_mut())),
            Err(error) => {
                procfs::note_error(error);
                Reading::Unknown
            }
        }
    }

    fn status(&self) -> Option<&Status> {
        let read = || Status::read(self.pid).inspect_err(procfs::note_error).ok();
        self.status.get_or_init(read).as_ref()
    }

    /// The file that was passed to exec, as the process itself would find it.
    fn passed_file(&mut self) -> Option<PathBuf> {
        let pid = self.pid;
        Some(procfs::as_seen_by(pid, self.filename().known()?))
    }

    /// The image is an interpreter's if it is not the file that was passed.
    fn read_interpreter(&mut self) -> Reading<Vec<u8>> {
        let passed = self.filename().known().map(<[u8]>::to_vec);
        if let (Some(passed), Reading::Known(argv)) = (passed, self.argv())
            && !interpreters::is_handed(argv, &passed)
        {
            return Reading::Missing;
        }
        // It mostly is, by name; then there is nothing to look up.
        let exe = self.exe().known().map(<[u8]>::to_vec);
        if exe.is_some() && exe.as_deref() == self.filename().known() {
            return Reading::Missing;
        }
        let Ok(image) = fs::metadata(procfs::path(self.pid, "exe")) else {
            return Reading::Unknown;
        };
        let Some(passed) = self.passed_file() else { return Reading::Unknown };
        // A close-on-exec descriptor is gone by now; a script cannot have come from one.
        let Ok(passed) = fs::metadata(passed) else { return Reading::Missing };
        if (passed.dev(), passed.ino()) == (image.dev(), image.ino()) {
            Reading::Missing
        } else {
            exe.map_or(Reading::Unknown, Reading::Known)
        }
    }
}

impl Facts for StoppedProcess {
    fn argv(&mut self) -> Reading<&Strings> {
        if self.argv.is_none() {
            let read = self.vector(|vectors| vectors.argv()).map(<[u8]>::to_vec);
            self.argv = Some(read.map(Strings::from_block));
        }
        lend_ref(self.argv.as_ref())
    }

    fn env(&mut self, name: &[u8]) -> Reading<&[u8]> {
        self.vector(|vectors| vectors.environment()).and_then(|block| {
            procfs::variable(block, name).map_or(Reading::Missing, Reading::Known)
        })
    }

    fn filename(&mut self) -> Reading<&[u8]> {
        if self.filename.is_none() {
            self.filename = Some(self.vector(|vectors| vectors.filename()).map(<[u8]>::to_vec));
        }
        self.filename.as_ref().map_or(Reading::Unknown, lend)
    }

    fn exe(&mut self) -> Reading<&[u8]> {
        lend(self.exe.get_or_insert_with(|| reading(procfs::link(self.pid, "exe"))))
    }

    fn interpreter(&mut self) -> Reading<&[u8]> {
        if self.interpreter.is_none() {
            self.interpreter = Some(self.read_interpreter());
        }
        self.interpreter.as_ref().map_or(Reading::Unknown, lend)
    }

    fn comm(&mut self) -> Reading<&[u8]> {
        lend(self.comm.get_or_insert_with(|| reading(procfs::comm(self.pid))))
    }

    fn prev_comm(&mut self) -> Reading<&[u8]> {
        let before = self.place.as_ref().and_then(|place| place.comm_before.as_deref());
        before.map_or(Reading::Unknown, Reading::Known)
    }

    fn cwd(&mut self) -> Reading<&[u8]> {
        lend(self.cwd.get_or_insert_with(|| reading(procfs::link(self.pid, "cwd"))))
    }

    fn fd(&mut self, number: u32) -> Reading<&Fd> {
        let kept = self
            .fd
            .as_ref()
            .is_some_and(|fd| matches!(fd, Reading::Known(fd) if fd.number == number));
        if !kept {
            let read = reading(procfs::fd(self.pid, number));
            self.fd = Some(read.and_then(|fd| fd.map_or(Reading::Missing, Reading::Known)));
        }
        lend_ref(self.fd.as_ref())
    }

    fn fds(&mut self) -> Reading<&[Fd]> {
        lend(self.fds.get_or_insert_with(|| reading(procfs::fds(self.pid))))
    }

    fn uid(&mut self) -> Reading<u32> {
        self.status().map_or(Reading::Unknown, |status| Reading::Known(status.uid))
    }

    fn gid(&mut self) -> Reading<u32> {
        self.status().map_or(Reading::Unknown, |status| Reading::Known(status.gid))
    }

    fn pid(&mut self) -> Reading<u32> {
        Reading::Known(self.pid as u32)
    }

    fn cgroup(&mut self) -> Reading<&Cgroup> {
        self.cgroup.get_or_insert_with(|| reading(procfs::cgroup(self.pid))).as_ref()
    }

    fn namespace(&mut self, which: Namespace) -> Reading<u32> {
        let kept = &mut self.namespaces[which as usize];
        *kept.get_or_insert_with(|| reading(procfs::namespace(self.pid, which)))
    }

    fn ppid(&mut self) -> Reading<u32> {
        reading(Stat::read(self.pid)).map(|stat| stat.ppid as u32)
    }

    fn depth(&mut self) -> Reading<u32> {
        self.place.as_ref().map_or(Reading::Unknown, |place| place.ancestry.depth())
    }

    fn ancestors(&mut self) -> Reading<Vec<Arc<Image>>> {
        self.place.as_ref().map_or(Reading::Unknown, |place| place.ancestry.images())
    }
}

fn lend_ref<T>(kept: Option<&Reading<T>>) -> Reading<&T> {
    match kept {
        Some(Reading::Known(value)) => Reading::Known(value),
        Some(Reading::Missing) => Reading::Missing,
        Some(Reading::Unknown) | None => Reading::Unknown,
    }
}
