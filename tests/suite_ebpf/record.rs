//! What the kernel records of an exec, successful or not, is what /proc says of it, or what was passed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::support::typed::nothing_is_left_of;
use crate::support::{World, ebpf, eventually, finish};
use tracexec::event::{ExecRecord, Facts, Faults, Fd, FdKind, Reading, Wanted};
use tracexec::filter::{Filter, SystemNames};
use tracexec::linux::sys::Inherited;
use tracexec::machine::procfs;
use tracexec::source::ebpf::{Aim, EbpfSource, Started, Watched};
use tracexec::source::launch::Command;
use tracexec::source::recorded::Recorded;
use tracexec::source::{ExitStatus, Judge, Source, SourceEvent, Stop};

const LIMIT: Duration = Duration::from_secs(60);

/// Hands on every record.
struct Collect(mpsc::Sender<ExecRecord>);

impl Judge for Collect {
    fn exec(&mut self, _: &mut dyn Facts, _: Stop<'_>) {
        panic!("something was stopped");
    }

    fn recorded(&mut self, facts: Recorded) {
        let _ = self.0.send(facts.record);
    }
}

struct Recording {
    started: Started,
    command: Option<i32>,
    records: mpsc::Receiver<ExecRecord>,
    events: mpsc::Receiver<SourceEvent>,
}

fn start<S: Into<OsString>>(words: impl IntoIterator<Item = S>) -> Recording {
    let words = words.into_iter().map(Into::into).collect();
    let command = Command { words, identity: None, inherited: Inherited::note() };
    let (sender, records) = mpsc::channel();
    let (teller, events) = mpsc::channel();
    let watched = Watched {
        command: Some(command),
        pids: Vec::new(),
        system: false,
        aim: Aim::RecordCalls(Wanted { lives: false, ..Wanted::ALL }),
        adopter: None,
    };
    let filter = Filter::new(&[b"argc=0"], Arc::new(SystemNames)).unwrap();
    let tell = move |event| drop(teller.send(event));
    ebpf::use_the_programs_guardian();
    let started = EbpfSource::start(watched, &filter, Collect(sender), tell).unwrap();
    Recording { started, command: None, records, events }
}

/// Whatever went wrong, COMMAND ends.
impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(pid) = self.command {
            crate::support::signal_process(pid, libc::SIGKILL);
        }
    }
}

impl Recording {
    /// The next record.
    fn next(&mut self) -> ExecRecord {
        let record = self.records.recv_timeout(LIMIT).expect("a record");
        self.command = Some(record.pid as i32);
        record
    }

    /// Waits for COMMAND's end; its status and all records that were not yet looked at.
    fn end(mut self) -> (ExitStatus, Vec<ExecRecord>) {
        let status = loop {
            match self.events.recv_timeout(LIMIT).expect("COMMAND's end") {
                SourceEvent::CommandEnded(status) => break status,
                SourceEvent::NotStarted(error) => panic!("{error:?}"),
                _ => {}
            }
        };
        self.command = None;
        self.started.source.let_go();
        let totals = self.started.source.totals().unwrap();
        assert_eq!((totals.not_told, totals.missed), (0, 0));
        (status, self.records.try_iter().collect())
    }
}

/// The records of a command, which must end with 3.
fn records_of<S: Into<OsString>>(words: impl IntoIterator<Item = S>) -> Vec<ExecRecord> {
    let (status, records) = start(words).end();
    assert_eq!(status, ExitStatus(3 << 8));
    records
}

fn argv(record: &ExecRecord) -> Vec<&[u8]> {
    record.argv.value.as_ref().unwrap().strings.iter().collect()
}

fn env(record: &ExecRecord) -> Vec<&[u8]> {
    record.env.value.as_ref().unwrap().strings.iter().collect()
}

const ENVIRONMENT: [&[u8]; 3] = [b"FIRST=1", b"=odd", b"LAST="];

#[test]
fn a_failed_exec_is_recorded_with_all_that_was_passed() {
    if !ebpf::available() {
        return;
    }
    for flags in [&[][..], &["-m32"]] {
        let world = World::new();
        let program = world.fixture("records", flags);
        let odd = OsString::from_vec(b"\xff\x1b[2J\n".to_vec());
        let nowhere = world.path("no such program").into_os_string();
        let words = [program.clone().into(), "plain".into(), nowhere.clone(), odd, "".into()];
        let records = records_of(words);
        let [own, failed] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((own.result, own.call), (0, None));
        assert_eq!(failed.result, -libc::ENOENT);
        assert_eq!(failed.filename.value.as_deref(), Some(nowhere.as_bytes()));
        assert_eq!(argv(failed), [nowhere.as_bytes(), b"\xff\x1b[2J\n", b""]);
        assert_eq!(env(failed), ENVIRONMENT);
        assert_eq!(failed.compat, !flags.is_empty());
        assert_eq!(failed.comm.value.as_deref(), Some(&b"records"[..]));
        if reads_late() {
            assert_eq!(failed.all_faults(), Faults::empty());
        }
        assert_eq!((failed.pid, failed.began), (own.pid, own.began));
        assert!(failed.time > own.time && failed.id != own.id);
        nothing_is_left_of(&world);
    }
}

#[test]
fn strings_that_could_not_be_read_are_told_as_that_and_the_others_stay_in_their_places() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let program = world.fixture("records", &[]).into_os_string();
    let nowhere = world.path("none").into_os_string();
    let words =
        |what: &str| [program.clone(), what.into(), nowhere.clone(), "a".into(), "b".into()];
    let records = records_of(words("wild"));
    let wild = records.last().unwrap();
    // Older kernels look at the strings before the file.
    assert!([-libc::ENOENT, -libc::EFAULT].contains(&wild.result));
    assert_eq!(argv(wild), [nowhere.as_bytes(), b"", b"b"]);
    assert_eq!(wild.argv.value.as_ref().unwrap().unread, [1]);
    assert_eq!(wild.argv.faults, Faults::STRING_UNREADABLE);
    assert_eq!(wild.argv.whole(), Reading::Unknown);

    // Pages that the kernel has not touched before it failed.
    let records = records_of(words("untouched"));
    let untouched = records.last().unwrap();
    assert_eq!(untouched.result, -libc::ENOENT);
    let unread = &untouched.argv.value.as_ref().unwrap().unread;
    for (at, (have, want)) in
        argv(untouched).iter().zip([nowhere.as_bytes(), b"a", b"b"]).enumerate()
    {
        assert_eq!(have, &if unread.contains(&at) { &b""[..] } else { want }, "{untouched:?}");
    }
    // From Linux 6.18 on they can be read.
    assert!(unread.is_empty() || !reads_late(), "{untouched:?}");
    nothing_is_left_of(&world);
}

/// Whether strings can be read that the kernel has not touched.
fn reads_late() -> bool {
    fs::read_to_string("/proc/kallsyms").unwrap().contains(" bpf_task_work_schedule_")
}

/// Strings that are read late wait in a slot that the lower bits of the thread's id choose.
#[test]
fn strings_of_threads_that_want_the_same_slot_are_not_mixed() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let program = world.fixture("same_slot", &[]);
    let records = records_of([program.as_os_str(), "500".as_ref()]);
    assert_eq!(records.len(), 1001);
    for failed in &records[1..] {
        let name = failed.filename.value.as_deref().unwrap();
        assert!(argv(failed) == [name; 10] && env(failed) == [name; 10], "{failed:?}");
        assert_eq!(failed.all_faults(), Faults::empty(), "{failed:?}");
    }
    nothing_is_left_of(&world);
}

#[test]
fn a_thread_s_failed_exec_is_its_process_s() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let program = world.fixture("records", &[]);
    let records = records_of([program.as_os_str(), "thread".as_ref(), "/no/such".as_ref()]);
    let [own, failed] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(
        (failed.result, failed.pid, argv(failed)),
        (-libc::ENOENT, own.pid, vec![&b"/no/such"[..]])
    );
    nothing_is_left_of(&world);
}

#[test]
fn a_search_through_path_is_seen_step_by_step() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let script =
        format!("PATH=/no/such:{}:/bin; exec env sh -c 'exit 3'", world.dir.path().display());
    let records = records_of(["sh", "-c", &script]);
    let steps: Vec<(i32, &[u8])> = records
        .iter()
        .map(|record| {
            (record.result, tracexec::event::basename(record.filename.value.as_ref().unwrap()))
        })
        .collect();
    // Both the shell and env try one folder after the other.
    let missing = (-libc::ENOENT, &b"sh"[..]);
    let tried = (-libc::ENOENT, &b"env"[..]);
    assert_eq!(steps[..4], [(0, &b"sh"[..]), tried, tried, (0, b"env")]);
    assert_eq!(steps[4..], [missing, missing, (0, b"sh")]);
    nothing_is_left_of(&world);
}

#[test]
fn a_megabyte_of_arguments_is_recorded_whole() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let long = vec!["x".repeat(100_000); 10];
    let many = vec!["y".to_string(); 100_000];
    let longest = vec!["z".repeat(131_071)];
    for arguments in [long, many, longest] {
        let mut words = vec!["sh".to_string(), "-c".into(), "exit 3".into(), "0".into()];
        words.extend(arguments.clone());
        let records = records_of(words);
        assert_eq!(records.len(), 1);
        assert!(
            argv(&records[0])[4..].iter().eq(arguments
                .iter()
                .map(String::as_bytes)
                .collect::<Vec<_>>()
                .iter())
        );
        assert_eq!(records[0].all_faults(), Faults::empty());
        let program = world.fixture("records", &[]);
        let mut failing: Vec<OsString> = vec![program.into(), "plain".into(), "/no/such".into()];
        failing.extend(arguments.iter().map(OsString::from));
        let records = records_of(failing);
        let failed = records.last().unwrap();
        assert!(
            argv(failed)[1..].iter().eq(arguments
                .iter()
                .map(String::as_bytes)
                .collect::<Vec<_>>()
                .iter())
        );
        assert_eq!(failed.all_faults(), Faults::empty());
    }
    nothing_is_left_of(&world);
}

/// /proc itself gives up on paths longer than a page.
#[test]
fn a_folder_too_deep_for_proc_is_named_whole() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let program = world.fixture("records", &[]);
    let start = world.dir.path().canonicalize().unwrap();
    let words = ["deep", "/bin/false", start.to_str().unwrap(), "100"];
    let words = [program.to_str().unwrap()].into_iter().chain(words);
    let (status, records) = self::start(words).end();
    assert_eq!(status, ExitStatus(1 << 8));
    let path = format!("{}{}", start.display(), format!("/{}", "d".repeat(200)).repeat(100));
    let record = records.last().unwrap();
    assert_eq!(record.cwd.value.as_deref(), Some(path.as_bytes()));
    assert_eq!(record.all_faults(), Faults::empty());
    nothing_is_left_of(&world);
}

#[test]
fn what_was_cut_is_told_as_that() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let program = world.fixture("records", &[]);
    let mut command = world.tracexec(["debug", "--list", "-m", "basename=false", "--"]);
    // A path of 80,000 bytes.
    command.arg(program).args(["deep", "/bin/false"]).arg(world.dir.path()).arg("400");
    let outcome = finish(world.start(command));
    let (hit, warning) = outcome.stderr.split_once('\n').unwrap();
    assert!(hit.ends_with("(basename=false)"), "{hit}");
    let (_, words) = warning.trim_end().split_once(": ").unwrap();
    assert!(words.ends_with(": something may be cut, no room"), "{warning}");
    nothing_is_left_of(&world);
}

/// A line of `/proc/PID/fdinfo/N`.
fn fdinfo(pid: u32, number: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_string()
}

#[test]
fn descriptors_are_recorded_as_proc_shows_them_and_those_that_the_exec_closes_too() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let program = world.fixture("records", &[]);
    let (folder, flag) = (world.dir.path().canonicalize().unwrap(), world.path("flag"));
    let words = [
        program.as_os_str(),
        "open".as_ref(),
        program.as_os_str(),
        folder.as_os_str(),
        flag.as_os_str(),
    ];
    let mut recording = start(words);
    let _own = recording.next();
    let record = recording.next();
    assert_eq!((record.result, record.all_faults()), (0, Faults::empty()), "{record:?}");
    let fds = record.fds.value.as_ref().unwrap();
    let (closed, open): (Vec<_>, Vec<_>) = fds.iter().partition(|fd| fd.close_on_exec);
    let kept: Vec<Fd> = open.iter().map(|record| record.fd.clone()).collect();
    // The loader has one of its own open for a moment.
    eventually("the descriptors that were recorded", || {
        (kept == procfs::fds(record.pid as i32).unwrap()).then_some(())
    });
    for record_of in &open {
        let info = |name| fdinfo(record.pid, record_of.fd.number, name);
        assert_eq!(info("pos"), record_of.position.to_string(), "{record_of:?}");
        assert_eq!(info("mnt_id"), record_of.mount_id.to_string(), "{record_of:?}");
        assert_eq!(info("ino"), record_of.inode.to_string(), "{record_of:?}");
        // What open(2) was told beside how to open is no longer there.
        let lasting = !libc::O_CLOEXEC as u32;
        let flags = u32::from_str_radix(&info("flags"), 8).unwrap();
        assert_eq!(flags & lasting, record_of.flags & lasting, "{record_of:?}");
    }
    let closed: Vec<(u32, &[u8], FdKind)> = closed
        .iter()
        .map(|record| (record.fd.number, record.fd.target.as_slice(), record.fd.kind))
        .collect();
    let status = format!("/proc/{}/status", record.pid);
    assert_eq!(
        closed,
        [(11, &b"anon_inode:[eventpoll]"[..], FdKind::Anon), (14, status.as_bytes(), FdKind::File)]
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.starts_with(&format!("{} ", open[5].mount_id)));
    let kind = mount.unwrap().split(" - ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(open[5].file_system, kind.as_bytes());
    assert_eq!(record.cwd.value, procfs::link(record.pid as i32, "cwd").ok());
    assert_eq!(record.exe.value, procfs::link(record.pid as i32, "exe").ok());
    let call = record.call.unwrap();
    assert_eq!((call.at, call.flags), (None, 0));
    fs::write(flag, "").unwrap();
    assert_eq!(recording.end().0, ExitStatus(3 << 8));
    nothing_is_left_of(&world);
}

#[test]
fn three_hundred_and_seven_descriptors_are_all_there() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (many, program) = (world.fixture("many_fds", &[]), world.fixture("records", &[]));
    let words =
        [many.as_os_str(), "307".as_ref(), program.as_os_str(), "wait".as_ref(), "/".as_ref()];
    let records = records_of(words);
    let fds = records.last().unwrap().fds.value.as_ref().unwrap();
    let open = fds.iter().filter(|fd| !fd.close_on_exec).map(|fd| fd.fd.number);
    assert!(open.eq(0..307));
    nothing_is_left_of(&world);
}

#[test]
fn execveat_is_told_with_its_descriptor() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (execveat, program) = (world.fixture("execveat", &[]), world.fixture("records", &[]));
    let folder = program.parent().unwrap();
    let words = [
        execveat.as_os_str(),
        folder.as_os_str(),
        "records".as_ref(),
        "wait".as_ref(),
        "/".as_ref(),
    ];
    let records = records_of(words);
    let record = records.last().unwrap();
    assert_eq!(record.call.unwrap().at, Some(40));
    assert_eq!(record.filename.value.as_deref(), Some(&b"/dev/fd/40/records"[..]));
    let exe = record.exe.value.as_deref().unwrap();
    assert_eq!(Path::new(std::ffi::OsStr::from_bytes(exe)), program.canonicalize().unwrap());
    nothing_is_left_of(&world);
}

#[test]
fn what_ends_before_it_is_looked_at_is_recorded_with_its_parent() {
    if !ebpf::available() {
        return;
    }
    let records = records_of([
        "sh",
        "-c",
        "i=0; while [ $i -lt 200 ]; do /bin/true $i; i=$((i + 1)); done; exit 3",
    ]);
    assert_eq!(records.len(), 201);
    let shell = &records[0];
    for (at, record) in records[1..].iter().enumerate() {
        assert_eq!(argv(record), [&b"/bin/true"[..], at.to_string().as_bytes()]);
        assert_eq!(record.parent, Reading::Known(shell.pid));
        assert_eq!((record.depth, record.result), (Reading::Known(1), 0));
        assert_eq!(record.all_faults(), Faults::empty());
        assert_eq!(record.prev_comm.value.as_deref(), Some(&b"sh"[..]));
    }
}
