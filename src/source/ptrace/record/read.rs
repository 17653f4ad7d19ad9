//! From a stop to a record: each part is read once, when it is wanted, at the stop where it is what it was or
//! what it will be.
//!
//! Of an exec that succeeds, argv, the environment and the file name are what the kernel has given to the new
//! program, as everywhere in tracexec: of a script argv begins with what runs it. Of one that fails they are
//! what was passed, and still lies there when the call has come back.

use std::ffi::OsString;

use super::files::Files;
use super::pages::Pages;
use super::tasks::Process;
use crate::event::{
    ExecCall, ExecRecord, Faults, FdRecord, Namespace, Part, Reading, Strings, Vector, Wanted,
};
use crate::linux::sys::{self, Pid};
use crate::machine::procfs;
use crate::source::interpreters;
use crate::source::ptrace::arch;
use crate::source::ptrace::memory::Stack;
use crate::source::responses;
use crate::source::stopped::Vectors;

/// A call that has begun, with what a success will change.
pub struct Entered {
    pub call: ExecCall,
    filename: u64,
    argv: u64,
    envp: u64,
    /// Its vectors' pointers have 4 bytes.
    compat: bool,
    /// Where it is wanted.
    comm: Part<Vec<u8>>,
    /// The first argument, which is lost of a script.
    name: Part<Vector>,
    /// Where those are wanted that a success closes.
    fds: Part<Vec<FdRecord>>,
}

/// Reads what is wanted.
pub struct Reader {
    pub wanted: Wanted,
    files: Files,
    ids: u64,
}

fn part<T>(read: std::io::Result<T>, fault: Faults) -> Part<T> {
    match read {
        Ok(value) => Part::of(value),
        Err(_) => Part { value: None, faults: fault },
    }
}

fn unless<T>(wanted: bool, read: impl FnOnce() -> Part<T>) -> Part<T> {
    if wanted { read() } else { Part { value: None, faults: Faults::empty() } }
}

impl Reader {
    pub fn new(wanted: Wanted) -> Reader {
        Reader { wanted, files: Files::new(), ids: 0 }
    }

    /// At the entry of a call by thread `tid`.
    pub fn enter(&mut self, tid: Pid, exec: arch::ExecCall, arguments: [u64; 6]) -> Entered {
        let [filename, argv, envp] = match exec.at {
            true => [arguments[1], arguments[2], arguments[3]],
            false => [arguments[0], arguments[1], arguments[2]],
        };
        let at = exec.at.then_some(arguments[0] as i32);
        let flags = if exec.at { arguments[4] as u32 } else { 0 };
        Entered {
            call: ExecCall { at, flags },
            filename,
            argv,
            envp,
            compat: exec.compat,
            comm: unless(self.wanted.prev_comm, || comm(tid)),
            name: unless(self.wanted.interpreters, || {
                Pages::of(tid).first(argv, if exec.compat { 4 } else { 8 })
            }),
            fds: unless(self.wanted.fd_details, || self.files.whole(tid)),
        }
    }

    /// At the stop after an exec. `before`: its call, where calls are seen. `name`: its first argument, if it is
    /// ours and COMMAND's.
    pub fn succeeded(
        &mut self,
        pid: Pid,
        process: &Process,
        before: Option<Entered>,
        prev_comm: Option<Vec<u8>>,
        name: Option<OsString>,
    ) -> ExecRecord {
        let mut record = self.record(pid, pid, process);
        record.call = before.as_ref().map(|entered| entered.call);
        let registers = sys::get_registers(pid);
        record.compat = registers.as_ref().is_ok_and(arch::is_32_bit);
        let stack = registers.and_then(|registers| Stack::read_with(pid, &registers));
        self.fill_from_stack(&mut record, stack);
        record.comm = comm_after(pid, &record);
        let (comm, fds) = match before {
            Some(entered) => {
                record.passed = entered.name;
                (entered.comm, Some(entered.fds))
            }
            None => (Part { value: prev_comm, ..Part::default() }, None),
        };
        record.prev_comm = comm;
        if let Some(name) = name {
            record.passed = Part::of(Vector::of([name.as_encoded_bytes()]));
        }
        record.fds = match self.wanted.fd_details {
            true => fds.unwrap_or_else(|| self.files.whole(pid)),
            false => unless(self.wanted.fds, || self.files.targets(pid)),
        };
        let exe = self.wanted.exe
            || (self.wanted.own_exe && names_itself(&record))
            || (self.wanted.interpreters && interpreters::may_have(&record));
        record.exe = unless(exe, || part(procfs::link(pid, "exe"), Faults::PATH_UNREADABLE));
        self.finish(&mut record, pid);
        record
    }

    fn fill_from_stack(&self, record: &mut ExecRecord, stack: std::io::Result<Stack>) {
        let Ok(mut stack) = stack else {
            record.argv.faults = Faults::STRING_UNREADABLE;
            record.filename.faults = Faults::FILENAME_UNREADABLE;
            if self.wanted.env {
                record.env.faults = Faults::STRING_UNREADABLE;
            }
            return;
        };
        let vector = |block: std::io::Result<&[u8]>| {
            let vector = block.map(|block| Vector {
                strings: Strings::from_block(block.to_vec()),
                unread: Vec::new(),
            });
            part(vector, Faults::STRING_UNREADABLE)
        };
        record.argv = vector(stack.argv());
        record.env = unless(self.wanted.env, || vector(stack.environment()));
        record.filename = part(stack.filename().map(<[u8]>::to_vec), Faults::FILENAME_UNREADABLE);
    }

    /// When a call has come back without having become another program.
    pub fn failed(
        &mut self,
        tid: Pid,
        process: &Process,
        entered: Entered,
        result: i32,
    ) -> ExecRecord {
        let mut record = self.record(process.pid, tid, process);
        let mut pages = Pages::of(tid);
        let word = if entered.compat { 4 } else { 8 };
        record.result = result;
        record.call = Some(entered.call);
        record.compat = entered.compat;
        record.filename = pages.filename(entered.filename);
        record.argv = pages.vector(entered.argv, word);
        record.env = unless(self.wanted.env, || pages.vector(entered.envp, word));
        // Neither has a failure changed.
        record.comm = if self.wanted.prev_comm { entered.comm } else { comm(tid) };
        record.fds = match self.wanted.fd_details {
            true => entered.fds,
            false => unless(self.wanted.fds, || self.files.whole(tid)),
        };
        self.finish(&mut record, tid);
        record
    }

    /// What is read alike, whatever became of it.
    fn finish(&self, record: &mut ExecRecord, tid: Pid) {
        let wanted = self.wanted;
        let interpreters = wanted.interpreters && interpreters::may_have(record);
        record.cwd = unless(wanted.cwd || interpreters, || {
            part(procfs::link(tid, "cwd"), Faults::PATH_UNREADABLE)
        });
        if wanted.cgroup {
            record.cgroup = cgroup(tid);
            let number =
                |which| procfs::namespace(tid, which).map_or(Reading::Unknown, Reading::Known);
            record.pid_namespace = number(Namespace::Pid);
            record.mount_namespace = number(Namespace::Mnt);
        }
        record.interpreters =
            unless(wanted.interpreters, || interpreters::of(record, || Some(tid)));
        record.complete_passed();
        if wanted.responses {
            record.responses = responses::of_record(record, Some(tid));
        }
    }

    fn record(&mut self, pid: Pid, tid: Pid, process: &Process) -> ExecRecord {
        self.ids += 1;
        let mut record = ExecRecord {
            id: self.ids,
            pid: pid as u32,
            tid: tid as u32,
            parent: Reading::Unknown,
            depth: Reading::Known(process.depth),
            time: sys::boot_time(),
            began: process.began,
            result: 0,
            call: None,
            compat: false,
            uid: u32::MAX,
            gid: u32::MAX,
            ids: Part::default(),
            comm: Part::default(),
            prev_comm: Part::default(),
            filename: Part::default(),
            argv: Part::default(),
            passed: Part::default(),
            responses: Vec::new(),
            env: Part::default(),
            cwd: Part::default(),
            exe: Part::default(),
            interpreters: Part::default(),
            cgroup: Part::default(),
            fds: Part::default(),
            pid_namespace: Reading::Unknown,
            mount_namespace: Reading::Unknown,
            faults: Faults::empty(),
        };
        if !self.wanted.owner && !self.wanted.ids {
            return record;
        }
        match procfs::credentials(tid) {
            Ok(found) => {
                record.parent = Reading::Known(found.parent as u32);
                (record.uid, record.gid) = (found.ids.uids[1], found.ids.gids[1]);
                record.ids = unless(self.wanted.ids, || Part::of(found.ids));
            }
            Err(_) => {
                record.faults = Faults::ERROR;
                record.ids.faults = Faults::ERROR;
            }
        }
        record
    }
}

fn comm(tid: Pid) -> Part<Vec<u8>> {
    part(procfs::comm(tid), Faults::COMM_UNREADABLE)
}

/// Whether the file name is one under which a program finds itself.
fn names_itself(record: &ExecRecord) -> bool {
    record.filename.value.as_deref().is_some_and(crate::event::is_self)
}

/// The name that the kernel gives to a new program: its file's, of a script the script's, cut to 15 bytes. By a
/// descriptor alone it depends on the kernel.
fn comm_after(pid: Pid, record: &ExecRecord) -> Part<Vec<u8>> {
    let by_descriptor =
        |name: &[u8]| name.strip_prefix(b"/dev/fd/").is_some_and(|rest| !rest.contains(&b'/'));
    match record.filename.value.as_deref().filter(|name| !by_descriptor(name)) {
        Some(name) => {
            let name = crate::event::basename(name);
            Part::of(name[..name.len().min(15)].to_vec())
        }
        None => comm(pid),
    }
}

/// The path in the hierarchy of version 2, where it is shown from its root.
fn cgroup(pid: Pid) -> Part<Vec<u8>> {
    let lost = Part { value: None, faults: Faults::PATH_UNREADABLE };
    if !procfs::sees_whole_cgroups() {
        return lost;
    }
    match procfs::unified_cgroup(pid) {
        Ok(path) => Part { value: path, ..Part::default() },
        Err(_) => lost,
    }
}
