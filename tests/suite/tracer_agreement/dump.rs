//! A program that runs a command under a source and writes what that tells: this test file, started anew, so
//! that it can be an ordinary user.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracexec::event::{Begun, Ended, ExecRecord, Facts, Keep, Wanted};
use tracexec::linux::sys::Inherited;
use tracexec::source::launch;
use tracexec::source::ptrace::PtraceSource;
use tracexec::source::ptrace::record::{Recording, Way};
use tracexec::source::recorded::Recorded;
use tracexec::source::{Judge, Source, SourceEvent, Stop};

use super::event::{Exec, Run};
use crate::support::{Running, World, finish};

const LIMIT: Duration = Duration::from_secs(120);

/// Where the order lies. It is one for all, since COMMAND's environment is compared, too.
const ORDER: &str = "TRACEXEC_AGREEMENT_ORDER";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Eyes {
    Execs,
    Calls,
    Seccomp,
    Ebpf,
}

#[derive(Serialize, Deserialize)]
struct Order {
    eyes: Eyes,
    words: Vec<Vec<u8>>,
    pids: Vec<i32>,
}

/// Hands everything on.
struct Collect(mpsc::Sender<Told>);

enum Told {
    Exec(Box<ExecRecord>),
    Begun,
    Ended(Ended),
    Source(SourceEvent),
}

impl Judge for Collect {
    fn exec(&mut self, _: &mut dyn Facts, _: Stop<'_>) {
        panic!("something was stopped");
    }
    fn recorded(&mut self, facts: Recorded) {
        let _ = self.0.send(Told::Exec(Box::new(facts.record)));
    }
    fn begun(&mut self, _: Begun) {
        let _ = self.0.send(Told::Begun);
    }
    fn ended(&mut self, ended: Ended) {
        let _ = self.0.send(Told::Ended(ended));
    }
}

/// The environment of whatever is compared.
pub fn prepare(world: &World, command: &mut Command) {
    world.prepare(command);
    command.env(ORDER, world.path("order")).current_dir(world.dir.path());
}

/// Runs a command under a source, in a process of its own.
#[track_caller]
pub fn run(world: &World, as_user: &[&str], eyes: Eyes, words: &[OsString]) -> Run {
    let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    result(world, start_program(world, as_user, &Order { eyes, words, pids: Vec::new() }))
}

/// Begins to watch a process that runs already.
pub fn follow(world: &World, eyes: Eyes, pid: i32) -> Running {
    start_program(world, &[], &Order { eyes, words: Vec::new(), pids: vec![pid] })
}

/// Whether something has been seen by now.
pub fn has_seen(world: &World) -> bool {
    world.path("order.seen").exists()
}

fn start_program(world: &World, as_user: &[&str], order: &Order) -> Running {
    world.file("order", serde_json::to_vec(order).unwrap());
    let _ = fs::remove_file(world.path("order.seen"));
    let answer = world.file("order.answer", "");
    fs::set_permissions(&answer, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let own = world.path("this");
    let mut line = as_user.iter().map(OsString::from).chain([own.into_os_string()]);
    let mut command = Command::new(line.next().unwrap());
    command.args(line).args([
        "tracer_agreement::the_program_that_watches",
        "--exact",
        "--nocapture",
    ]);
    prepare(world, &mut command);
    world.start(command)
}

/// What it has told, once it has ended.
#[track_caller]
pub fn result(world: &World, program: Running) -> Run {
    let outcome = finish(program);
    let text = fs::read(world.path("order.answer")).unwrap();
    assert!(!text.is_empty(), "{}{}", outcome.out(), outcome.stderr);
    serde_json::from_slice(&text).unwrap()
}

/// What the program does, if it was started for that.
pub fn be_the_program() {
    let Some(path) = std::env::var_os(ORDER) else { return };
    let order: Order = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let words: Vec<OsString> = order.words.iter().cloned().map(OsString::from_vec).collect();
    let inherited = Inherited::note();
    let some = !words.is_empty();
    let command = some.then_some(launch::Command { words, identity: None, inherited });
    let (sender, told) = mpsc::channel();
    let mut source = start(&order, command, &sender);
    let mut run = Run::default();
    let mut records = Vec::new();
    let mut ends = Vec::new();
    let last = if order.eyes == Eyes::Ebpf && some { is_end } else { is_nothing_left };
    loop {
        let next = told.recv_timeout(LIMIT).expect("the end");
        let ended = matches!(&next, Told::Source(event) if last(event));
        note(&mut run, (&mut records, &mut ends), next);
        if !some && records.len() == 1 {
            fs::write(Path::new(&path).with_extension("seen"), "").unwrap();
        }
        if ended {
            break;
        }
    }
    source.let_go();
    told.try_iter().for_each(|next| note(&mut run, (&mut records, &mut ends), next));
    check(order.eyes, &records);
    if order.eyes != Eyes::Ebpf && some {
        let command = ends.iter().find(|ended| ended.pid == records[0].pid).unwrap();
        check_usage(command);
        assert!(ends.iter().all(|ended| ended.usage.is_some()));
    }
    run.execs = records.iter().map(Exec::of).collect();
    let is_script = |record: &&ExecRecord| {
        record.result == 0 && record.interpreters.value.as_ref().is_some_and(|all| !all.is_empty())
    };
    run.scripts = records
        .iter()
        .filter(is_script)
        .filter_map(|record| record.filename.value.clone())
        .collect();
    run.ended.sort_unstable();
    let answer = Path::new(&path).with_extension("answer");
    fs::write(answer, serde_json::to_vec(&run).unwrap()).unwrap();
}

fn is_end(event: &SourceEvent) -> bool {
    matches!(event, SourceEvent::CommandEnded(_))
}

fn is_nothing_left(event: &SourceEvent) -> bool {
    matches!(event, SourceEvent::NothingLeft)
}

fn note(run: &mut Run, (records, ends): (&mut Vec<ExecRecord>, &mut Vec<Ended>), told: Told) {
    match told {
        Told::Exec(record) => records.push(*record),
        Told::Begun => run.begun += 1,
        Told::Ended(ended) => {
            run.ended.push(ended.status);
            ends.push(ended);
        }
        Told::Source(SourceEvent::CommandEnded(status)) => run.status = status.0,
        Told::Source(SourceEvent::NotStarted(error)) => panic!("{error:?}"),
        Told::Source(_) => {}
    }
}

/// A tick of the slowest clock that kernels are built with (HZ=100).
const TICK: Duration = Duration::from_millis(10);

/// COMMAND is the only child that was waited for: what it has used with its own children is what ours have. The
/// kernel adds up the times first and reads them again for whoever waits (wait_task_zombie in its exit.c); in between
/// a process on another CPU may still be about its last steps.
fn check_usage(command: &Ended) {
    let mut all = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills it, and all bit patterns are valid.
    let all = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, all.as_mut_ptr());
        all.assume_init()
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    let usage = command.usage.unwrap();
    for (ours, added) in [(usage.user, time(all.ru_utime)), (usage.system, time(all.ru_stime))] {
        assert!(ours >= added && ours - added < TICK, "{ours:?}, {added:?}");
    }
    assert_eq!(usage.peak_memory, all.ru_maxrss as u64 * 1024);
}

/// What holds of all records, whatever they tell.
fn check(eyes: Eyes, records: &[ExecRecord]) {
    let ids: HashSet<u64> = records.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), records.len(), "ids come twice");
    if eyes != Eyes::Ebpf {
        assert!(records.is_sorted_by_key(|record| record.id));
    }
    for record in records {
        assert!(record.cwd.value.as_deref().is_some_and(|cwd| cwd.starts_with(b"/")), "{record:?}");
        assert!(record.result != 0 || record.interpreters.faults.is_empty(), "{record:?}");
        assert!(record.result != 0 || record.exe.value.is_some(), "{record:?}");
        assert!(record.ids.value.is_some() && record.fds.value.is_some(), "{record:?}");
    }
}

fn start(
    order: &Order,
    command: Option<launch::Command>,
    sender: &mpsc::Sender<Told>,
) -> Box<dyn Source> {
    let judge = Collect(sender.clone());
    let teller = sender.clone();
    let tell = move |event| drop(teller.send(Told::Source(event)));
    let pids = order.pids.clone();
    let way = match order.eyes {
        Eyes::Execs => Way::Execs,
        Eyes::Calls => Way::Calls,
        Eyes::Seccomp => Way::Seccomp,
        Eyes::Ebpf => return ebpf(command, pids, judge, tell),
    };
    let wanted = Wanted { failures: way != Way::Execs, ..Wanted::ALL };
    let recording = Recording { wanted, way, pids };
    let keep = Keep::default();
    Box::new(PtraceSource::record(command, keep, recording, judge, tell).unwrap().source)
}

#[cfg(feature = "ebpf")]
fn ebpf(
    command: Option<launch::Command>,
    pids: Vec<i32>,
    judge: Collect,
    tell: impl Fn(SourceEvent) + Send + 'static,
) -> Box<dyn Source> {
    use std::sync::Arc;
    use tracexec::filter::{Filter, SystemNames};
    use tracexec::source::ebpf::{Aim, EbpfSource, Watched};
    let aim = Aim::RecordCalls(Wanted::ALL);
    let watched = Watched { command, pids, system: false, aim, adopter: None };
    let all = Filter::new(&[b"pid > 0"], Arc::new(SystemNames)).unwrap();
    crate::support::ebpf::use_the_programs_guardian();
    let started = EbpfSource::start(watched, &all, judge, tell).unwrap();
    // It ends when we do.
    std::mem::forget(started.guardian);
    Box::new(started.source)
}

#[cfg(not(feature = "ebpf"))]
fn ebpf(
    _: Option<launch::Command>,
    _: Vec<i32>,
    _: Collect,
    _: impl Fn(SourceEvent) + Send + 'static,
) -> Box<dyn Source> {
    panic!("built without eBPF")
}
