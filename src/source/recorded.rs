//! The facts of an exec that was recorded, and, where its process is still at hand, what was not.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stopped::{Ancestry, StoppedProcess};
use crate::event::cgroup::Cgroup;
use crate::event::{ExecRecord, Facts, Fd, Image, Namespace, Part, Reading, Strings};
use crate::linux::sys::Pid;
use crate::machine::procfs;

/// A recorded exec.
pub struct Recorded {
    pub record: ExecRecord,
    ancestry: Box<dyn Ancestry>,
    /// The process itself, as long as it executes this program.
    live: Option<StoppedProcess>,
    /// It was recorded in another time, perhaps elsewhere: files of now say nothing of it.
    from_file: bool,
    fds: Option<Reading<Vec<Fd>>>,
    interpreter: Option<Reading<Vec<u8>>>,
    cgroup: Option<Reading<Cgroup>>,
}

impl Recorded {
    pub fn new(
        record: ExecRecord,
        ancestry: Box<dyn Ancestry>,
        live: Option<StoppedProcess>,
    ) -> Recorded {
        let from_file = false;
        Recorded { record, ancestry, live, from_file, fds: None, interpreter: None, cgroup: None }
    }

    /// One that a file has kept.
    pub fn from_file(record: ExecRecord, ancestry: Box<dyn Ancestry>) -> Recorded {
        Recorded { from_file: true, ..Recorded::new(record, ancestry, None) }
    }

    /// The path of the file that was passed, as far as the record tells it.
    fn passed(&mut self) -> Option<PathBuf> {
        let passed = os_path(self.record.filename.value.as_deref()?).to_path_buf();
        let Ok(by_descriptor) = passed.strip_prefix("/dev/fd") else {
            let cwd = os_path(self.record.cwd.value.as_deref()?);
            return Some(cwd.join(passed));
        };
        let mut parts = by_descriptor.components();
        let number = parts.next()?.as_os_str().to_str()?.parse().ok()?;
        let target = self.fd(number).known().map(|fd| os_path(&fd.target).to_path_buf())?;
        let rest = parts.as_path();
        Some(if rest.as_os_str().is_empty() { target } else { target.join(rest) })
    }

    /// The image is an interpreter's if it is not the file that was passed.
    fn read_interpreter(&mut self) -> Reading<Vec<u8>> {
        if let Some(live) = &mut self.live {
            return live.interpreter().map(<[u8]>::to_vec);
        }
        let Some(exe) = self.record.exe.value.clone() else { return Reading::Unknown };
        if let Reading::Known(interpreters) = self.record.interpreters.whole() {
            return if interpreters.is_empty() { Reading::Missing } else { Reading::Known(exe) };
        }
        // A close-on-exec descriptor is gone by now; a script cannot have come from one.
        let Some(passed) = self.passed() else { return Reading::Missing };
        let image = os_path(&exe);
        if passed == image {
            return Reading::Missing;
        }
        let own = procfs::namespace(std::process::id() as Pid, Namespace::Mnt).ok();
        if self.from_file || own.is_none() || self.record.mount_namespace.known() != own {
            return Reading::Unknown;
        }
        match (fs::metadata(image), fs::metadata(passed)) {
            (Ok(image), Ok(passed))
                if (image.dev(), image.ino()) == (passed.dev(), passed.ino()) =>
            {
                Reading::Missing
            }
            (Ok(_), Ok(_)) => Reading::Known(exe),
            _ => Reading::Unknown,
        }
    }

    fn read_cgroup(&mut self) -> Reading<Cgroup> {
        if let Some(live) = &mut self.live {
            return live.cgroup().map(Clone::clone);
        }
        match &self.record.cgroup.value {
            Some(path) if self.record.cgroup.faults.is_empty() => {
                let line = [b"0::".as_slice(), path].concat();
                Reading::Known(Cgroup::parse(&line, true))
            }
            _ => Reading::Unknown,
        }
    }
}

fn os_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A part of the record, or what the process says now.
macro_rules! recorded {
    ($self:ident, $part:ident, $method:ident) => {
        if $self.record.$part.value.is_some() {
            bytes(&$self.record.$part)
        } else {
            $self.live.as_mut().map_or(Reading::Unknown, |live| live.$method())
        }
    };
}

fn bytes(part: &Part<Vec<u8>>) -> Reading<&[u8]> {
    part.whole().map(Vec::as_slice)
}

impl Facts for Recorded {
    fn argv(&mut self) -> Reading<&Strings> {
        match &self.record.argv.value {
            Some(_) => self.record.argv.whole().map(|vector| &vector.strings),
            None => self.live.as_mut().map_or(Reading::Unknown, |live| live.argv()),
        }
    }

    fn env(&mut self, name: &[u8]) -> Reading<&[u8]> {
        let part = &self.record.env;
        let Some(vector) = &part.value else {
            return self.live.as_mut().map_or(Reading::Unknown, |live| live.env(name));
        };
        let absent = if part.faults.is_empty() { Reading::Missing } else { Reading::Unknown };
        procfs::variable(vector.strings.block(), name).map_or(absent, Reading::Known)
    }

    fn filename(&mut self) -> Reading<&[u8]> {
        recorded!(self, filename, filename)
    }

    fn exe(&mut self) -> Reading<&[u8]> {
        recorded!(self, exe, exe)
    }

    fn interpreter(&mut self) -> Reading<&[u8]> {
        if self.interpreter.is_none() {
            self.interpreter = Some(self.read_interpreter());
        }
        self.interpreter.as_ref().map_or(Reading::Unknown, crate::event::lent)
    }

    fn comm(&mut self) -> Reading<&[u8]> {
        recorded!(self, comm, comm)
    }

    fn prev_comm(&mut self) -> Reading<&[u8]> {
        bytes(&self.record.prev_comm)
    }

    fn cwd(&mut self) -> Reading<&[u8]> {
        recorded!(self, cwd, cwd)
    }

    fn fd(&mut self, number: u32) -> Reading<&Fd> {
        let missing =
            if self.record.fds.faults.is_empty() { Reading::Missing } else { Reading::Unknown };
        match &self.record.fds.value {
            Some(fds) => {
                let open = fds.iter().filter(|fd| !fd.close_on_exec);
                open.map(|record| &record.fd)
                    .find(|fd| fd.number == number)
                    .map_or(missing, Reading::Known)
            }
            None => self.live.as_mut().map_or(Reading::Unknown, |live| live.fd(number)),
        }
    }

    fn fds(&mut self) -> Reading<&[Fd]> {
        let Some(fds) = &self.record.fds.value else {
            return self.live.as_mut().map_or(Reading::Unknown, |live| live.fds());
        };
        if !self.record.fds.faults.is_empty() {
            return Reading::Unknown;
        }
        let open =
            || fds.iter().filter(|fd| !fd.close_on_exec).map(|record| record.fd.clone()).collect();
        self.fds.get_or_insert_with(|| Reading::Known(open())).as_ref().map(Vec::as_slice)
    }

    fn uid(&mut self) -> Reading<u32> {
        Reading::Known(self.record.uid)
    }

    fn gid(&mut self) -> Reading<u32> {
        Reading::Known(self.record.gid)
    }

    fn pid(&mut self) -> Reading<u32> {
        Reading::Known(self.record.pid)
    }

    fn cgroup(&mut self) -> Reading<&Cgroup> {
        if self.cgroup.is_none() {
            self.cgroup = Some(self.read_cgroup());
        }
        self.cgroup.as_ref().map_or(Reading::Unknown, Reading::as_ref)
    }

    fn namespace(&mut self, which: Namespace) -> Reading<u32> {
        let recorded = match which {
            Namespace::Pid => self.record.pid_namespace,
            Namespace::Mnt => self.record.mount_namespace,
        };
        match (recorded, &mut self.live) {
            (Reading::Unknown, Some(live)) => live.namespace(which),
            _ => recorded,
        }
    }

    fn errno(&mut self) -> Reading<u32> {
        match self.record.result {
            result @ ..0 => Reading::Known(result.unsigned_abs()),
            _ => Reading::Missing,
        }
    }

    fn ppid(&mut self) -> Reading<u32> {
        self.record.parent
    }

    fn depth(&mut self) -> Reading<u32> {
        self.ancestry.depth()
    }

    fn ancestors(&mut self) -> Reading<Vec<Arc<Image>>> {
        self.ancestry.images()
    }
}
