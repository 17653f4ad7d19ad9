//! A trace that never was, told to the page's writer as a session would.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tracexec::event::{
    Begun, Ended, ExecCall, ExecRecord, Execution, Faults, Fd, FdKind, FdRecord, Ids, ParentEvent,
    Part, Reading, Strings, TraceEvent, Usage, Vector,
};
use tracexec::trace::sinks::html::Html;
use tracexec::trace::sinks::output::{Kind, Output};
use tracexec::trace::{About, Baseline, End, Lost, Sink};

/// Nanoseconds since boot when it began.
const BOOT: u64 = 1_000_000_000_000;

pub struct Story {
    pub sink: Html<Shared>,
    output: Rc<RefCell<Output>>,
    pub path: PathBuf,
    next: u64,
    /// In microseconds since the beginning.
    pub now: u64,
}

/// The page's file, which the story puts in its place.
pub struct Shared(Rc<RefCell<Output>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// An environment or command line.
pub fn strings(words: &[&[u8]]) -> Strings {
    words.iter().collect()
}

impl Story {
    pub fn new(path: &Path, command: &[&[u8]]) -> Story {
        let output = Rc::new(RefCell::new(Output::open(path, Kind::Whole).unwrap()));
        let mut sink = Html::new(Shared(Rc::clone(&output)));
        let about = About {
            command: command.iter().map(|word| word.to_vec()).collect(),
            pids: Vec::new(),
            baseline: Baseline {
                env: strings(&[b"HOME=/root", b"LANG=C", b"PATH=/usr/bin"]),
                cwd: b"/src".to_vec(),
                fds: vec![file(0, b"/dev/null")],
            },
            source: "ebpf".into(),
            version: "0.1.0".into(),
            host: b"host".to_vec(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            boot: BOOT,
        };
        sink.begin(&about).unwrap();
        Story { sink, output, path: path.to_path_buf(), next: 1 << 48, now: 0 }
    }

    pub fn event(&mut self, event: TraceEvent) {
        self.sink.event(&event).unwrap();
    }

    fn time(&self) -> u64 {
        BOOT + self.now * 1000
    }

    /// A process is made.
    pub fn begun(&mut self, pid: u32, parent: u32) {
        let time = self.time();
        self.event(TraceEvent::Begun(Begun { pid, parent, time }));
    }

    /// A program is executed; its number. `change` may make something else of it.
    pub fn exec(
        &mut self,
        pid: u32,
        parent: Option<ParentEvent>,
        argv: &[&[u8]],
        change: impl FnOnce(&mut ExecRecord),
    ) -> u64 {
        self.next += 1;
        let mut record = record(self.next, pid, self.time(), argv);
        change(&mut record);
        self.event(TraceEvent::Exec(Box::new(Execution { record, parent, view: None })));
        self.next
    }

    /// A process that is made, executes, runs for so many microseconds, and ends.
    pub fn run(
        &mut self,
        pid: u32,
        parent: (u32, u64),
        argv: &[&[u8]],
        took: u64,
        status: i32,
    ) -> u64 {
        self.begun(pid, parent.0);
        self.now += 100;
        let exec = self.exec(pid, Some(ParentEvent::Spawned(parent.1)), argv, |record| {
            record.parent = Reading::Known(parent.0);
            record.depth = Reading::Known(1);
        });
        self.now += took;
        self.ended(pid, status);
        exec
    }

    pub fn ended(&mut self, pid: u32, status: i32) {
        let usage = Usage {
            user: Duration::from_millis(1234),
            system: Duration::from_millis(56),
            peak_memory: 7_800_000,
        };
        let time = self.time();
        self.event(TraceEvent::Ended(Ended { pid, time, status, exec: None, usage: Some(usage) }));
    }

    pub fn finish(mut self, status: i32, lost: Lost) -> PathBuf {
        let end = End { status: Some(status), time: self.time(), totals: lost };
        self.sink.finish(&end).unwrap();
        self.output.replace(Output::open(Path::new("-"), Kind::Whole).unwrap()).complete().unwrap();
        self.path
    }
}

pub fn file(number: u32, target: &[u8]) -> FdRecord {
    FdRecord {
        fd: Fd { number, target: target.to_vec(), kind: FdKind::File },
        flags: libc::O_WRONLY as u32 | libc::O_APPEND as u32,
        close_on_exec: number > 2,
        position: 4096,
        mount_id: 29,
        inode: u64::MAX,
        file_system: b"ext4".to_vec(),
        faults: Faults::empty(),
    }
}

fn record(id: u64, pid: u32, time: u64, argv: &[&[u8]]) -> ExecRecord {
    let name = argv.first().map_or(&b""[..], |name| name);
    let comm = name.rsplit(|&b| b == b'/').next().unwrap_or_default();
    ExecRecord {
        id,
        pid,
        tid: pid,
        parent: Reading::Known(1),
        depth: Reading::Known(0),
        time,
        began: time - 100_000,
        result: 0,
        call: Some(ExecCall { at: None, flags: 0 }),
        compat: false,
        uid: 1000,
        gid: 1000,
        ids: Part::of(Ids { uids: [1000; 4], gids: [1000; 4], groups: vec![27, 100] }),
        comm: Part::of(comm[..comm.len().min(15)].to_vec()),
        prev_comm: Part::of(b"sh".to_vec()),
        filename: Part::of([b"/usr/bin/", comm].concat()),
        argv: Part::of(Vector { strings: strings(argv), unread: vec![] }),
        env: Part::of(Vector {
            strings: strings(&[b"HOME=/root", b"LANG=C", b"PATH=/usr/bin"]),
            unread: vec![],
        }),
        cwd: Part::of(b"/src".to_vec()),
        exe: Part::of([b"/usr/bin/", comm].concat()),
        interpreters: Part::of(vec![]),
        passed: Part::default(),
        responses: Vec::new(),
        cgroup: Part::of(b"/user.slice".to_vec()),
        fds: Part::of(vec![file(0, b"/dev/null")]),
        pid_namespace: Reading::Known(4026531836),
        mount_namespace: Reading::Known(4026531841),
        faults: Faults::empty(),
    }
}

/// A make with programs of several kinds, of which some fail.
pub fn workshop(path: &Path) -> PathBuf {
    let mut story = Story::new(path, &[b"make", b"-j2"]);
    let make = story.exec(100, None, &[b"make", b"-j2"], |_| {});
    for (pid, source) in [(101, "main.c"), (102, "parser.c"), (103, "Übung.c")] {
        let argv: [&[u8]; 4] = [b"cc1", b"-quiet", b"-O2", source.as_bytes()];
        story.run(pid, (100, make), &argv, 50_000 * u64::from(pid - 100), 0);
    }
    test_program(&mut story, make);
    story.begun(105, 100);
    lookup(&mut story, make, "/usr/local/bin/ld", -libc::ENOENT);
    story.exec(105, Some(ParentEvent::Spawned(make)), &[b"ld", b"-o", b"prog"], |record| {
        record.parent = Reading::Known(100);
        record.env = Part { value: None, faults: Faults::STRING_UNREADABLE };
        record.fds.value.as_mut().unwrap().push(file(3, b"/src/prog"));
    });
    story.now += 20_000;
    story.ended(105, libc::SIGSEGV);
    story.begun(106, 100);
    lookup(&mut story, make, "/opt/missing", -libc::EACCES);
    story.ended(106, 126 << 8);
    story.now += 1000;
    story.ended(100, 2 << 8);
    story.finish(2 << 8, Lost { events: 3, processes: 0 })
}

/// A script that becomes another program, with an environment of its own.
fn test_program(story: &mut Story, make: u64) {
    story.begun(104, 100);
    let spawned = Some(ParentEvent::Spawned(make));
    let script = story.exec(104, spawned, &[b"check.sh", b"--all"], |record| {
        record.parent = Reading::Known(100);
        record.interpreters = Part::of(vec![b"/bin/sh".to_vec()]);
        record.exe = Part::of(b"/usr/bin/dash".to_vec());
    });
    story.now += 5000;
    let env = strings(&[b"HOME=/root", b"LANG=de", b"CI=1"]);
    let becomes = Some(ParentEvent::Becomes(script));
    story.exec(104, becomes, &[b"unit tests", b"a b"], |record| {
        record.parent = Reading::Known(100);
        record.depth = Reading::Known(1);
        record.env = Part::of(Vector { strings: env, unread: vec![] });
        record.cwd = Part::of(b"/src/tests".to_vec());
    });
    story.now += 8000;
    story.ended(104, 1 << 8);
}

fn lookup(story: &mut Story, make: u64, name: &str, result: i32) {
    let pid = if result == -libc::ENOENT { 105 } else { 106 };
    story.now += 100;
    story.exec(pid, Some(ParentEvent::Spawned(make)), &[name.as_bytes()], |record| {
        record.filename = Part::of(name.as_bytes().to_vec());
        record.result = result;
        record.parent = Reading::Known(100);
        record.exe = Part::default();
        record.comm = Part::default();
    });
}
