use std::fs;
use std::time::{Duration, SystemTime};

use clap::{Args, Command, FromArgMatches};

use super::*;
use crate::cli::log::Colors;
use crate::event::{ExecCall, ExecRecord, Faults, Fd, FdKind, FdRecord, Ids, Part, Reading};
use crate::event::{Strings, Vector};
use crate::trace::Baseline;

/// What the options of a command line show.
fn shown(options: &[&str]) -> Shown {
    let command = Shown::augment_args(Command::new("log").args_override_self(true));
    Shown::from_arg_matches(&command.get_matches_from([&["log"], options].concat())).unwrap()
}

fn vector(strings: &[&[u8]]) -> Part<Vector> {
    Part::of(Vector { strings: strings.iter().collect::<Strings>(), unread: Vec::new() })
}

fn file(number: u32, target: &str) -> FdRecord {
    FdRecord {
        fd: Fd { number, target: target.into(), kind: FdKind::File },
        flags: 0,
        close_on_exec: false,
        position: 0,
        mount_id: 1,
        inode: 7,
        file_system: Vec::new(),
        faults: Faults::empty(),
    }
}

fn about() -> About {
    About {
        command: vec![b"make".to_vec(), b"-j 8".to_vec()],
        pids: Vec::new(),
        baseline: Baseline {
            env: ["A=1", "B=2", "B=3", "PATH=/bin"].into_iter().collect(),
            cwd: b"/src".to_vec(),
            fds: vec![file(0, "/dev/tty"), file(1, "/dev/tty"), file(2, "/dev/tty")],
        },
        source: "ebpf".into(),
        version: "1.2.3".into(),
        host: b"host".to_vec(),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        boot: 5_000_000_000,
    }
}

/// An exec of which everything is as COMMAND was given it.
fn record() -> ExecRecord {
    ExecRecord {
        id: 1,
        pid: 100,
        tid: 100,
        parent: Reading::Known(99),
        depth: Reading::Known(1),
        time: 6_250_000_000,
        began: 0,
        result: 0,
        call: None,
        compat: false,
        uid: 0,
        gid: 0,
        ids: Part::of(Ids::default()),
        comm: Part::of(b"ls".to_vec()),
        prev_comm: Part::of(b"sh".to_vec()),
        filename: Part::of(b"/bin/ls".to_vec()),
        passed: Part::default(),
        responses: Vec::new(),
        argv: vector(&[b"ls", b"-l"]),
        env: vector(&[b"A=1", b"B=2", b"B=3", b"PATH=/bin"]),
        cwd: Part::of(b"/src".to_vec()),
        exe: Part::of(b"/usr/bin/ls".to_vec()),
        interpreters: Part::of(Vec::new()),
        cgroup: Part::default(),
        fds: Part::of(about().baseline.fds),
        pid_namespace: Reading::Unknown,
        mount_namespace: Reading::Unknown,
        faults: Faults::empty(),
    }
}

/// What is written of events with these options.
fn log_of(options: &[&str], colors: Option<Colors>, events: &[TraceEvent]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let output = Output::open(Some(&path)).unwrap();
    let mut log = Log::new(shown(options), Paint(colors), output);
    log.begin(&about()).unwrap();
    log.started(90).unwrap();
    for event in events {
        log.event(event).unwrap();
    }
    let lost = Lost { events: 1, processes: 2 };
    log.finish(&End { status: Some(3 << 8), time: 7_000_000_000, totals: lost }).unwrap();
    fs::read_to_string(path).unwrap()
}

/// The line of an exec.
#[track_caller]
fn line(options: &[&str], record: ExecRecord) -> String {
    let execution = Execution { record, parent: None, view: None };
    let options = [&["--events", "exec"], options].concat();
    let log = log_of(&options, None, &[TraceEvent::Exec(Box::new(execution))]);
    assert!(log.ends_with('\n') && log.lines().count() == 1, "{log}");
    log.trim_end().into()
}

#[test]
fn a_line_has_what_differs_and_the_result() {
    assert_eq!(line(&[], record()), r#"100<sh>: "/bin/ls" ["ls", "-l"] = 0"#);
    let mut other = record();
    other.env = vector(&[b"B=2", b"B=4", b"A=1", b"C=", b"odd", b"a b=c"]);
    other.fds = Part::of(vec![file(0, "/dev/null"), file(1, "/dev/tty"), file(5, "/a b")]);
    other.interpreters = Part::of(vec![b"/bin/x".to_vec(), b"/bin/sh".to_vec()]);
    other.result = -libc::EACCES;
    other.comm = Part::of(b"make".to_vec());
    other.prev_comm = Part::default();
    let differs = concat!(
        r#"100<make>: "/bin/ls" ["ls", "-l"] interpreter="/bin/x" interpreter="/bin/sh" "#,
        r#"env[~B="4", +C="", +odd, +"a b"="c", -PATH] fd[~0="/dev/null", +5="/a b", -2] "#,
        r#"= -13 EACCES (Permission denied)"#,
    );
    assert_eq!(line(&[], other), differs);
}

#[test]
fn options_say_what_is_in_a_line() {
    let mut of = record();
    of.fds.value.as_mut().unwrap().push(FdRecord { close_on_exec: true, ..file(9, "/x") });
    of.result = -libc::ENOENT;
    of.comm = Part::of(b"sh".to_vec());
    let off = ["--no-show-comm", "--no-show-filename", "--no-show-argv", "--no-decode-errno"];
    assert_eq!(line(&off, of.clone()), "100: = -2");
    let all = ["--no-show-argv", "--show-env", "--show-fd", "--show-cwd", "--no-hide-cloexec-fds"];
    let whole = concat!(
        r#"100<sh>: "/bin/ls" cwd="/src" env[A="1", B="2", B="3", PATH="/bin"] "#,
        r#"fd[0="/dev/tty", 1="/dev/tty", 2="/dev/tty", cloexec 9="/x"] "#,
        r#"= -2 ENOENT (No such file or directory)"#,
    );
    assert_eq!(line(&all, of.clone()), whole);
    let none = ["--no-show-env", "--no-show-fd"];
    of.env = vector(&[]);
    of.fds = Part::of(Vec::new());
    of.result = 0;
    assert_eq!(line(&none, of), r#"100<sh>: "/bin/ls" ["ls", "-l"] = 0"#);
}

#[test]
fn what_could_not_be_read_is_shown_as_that_and_never_as_empty() {
    let mut of = record();
    of.argv.value.as_mut().unwrap().unread = vec![1];
    of.argv.faults = Faults::STRING_UNREADABLE;
    of.env.faults = Faults::POSSIBLE_TRUNCATION;
    of.env.value = vector(&[b"C=x"]).value;
    of.fds = Part { value: None, faults: Faults::FDS_UNREADABLE };
    of.filename = Part { value: None, faults: Faults::FILENAME_UNREADABLE };
    of.cwd = Part::default();
    of.faults = Faults::DROPPED | Faults::FDS_UNREADABLE;
    let marked = concat!(
        r#"100<sh>: <the file name could not be read> ["ls", <unreadable>]<a string could not be read> "#,
        r#"cwd=<not known> env[+C="x"]<something may be cut> fd=<the descriptors could not be read> "#,
        r#"<a part was lost> = 0"#,
    );
    assert_eq!(line(&["--show-cwd"], of), marked);
}

#[test]
fn nothing_that_a_program_has_chosen_reaches_a_terminal_as_it_is() {
    let evil = b"\x1b]0;x\x07\r\n\"\\\xff\xc2\x9b2J".as_slice();
    let mut of = record();
    of.argv = vector(&[evil]);
    of.env = vector(&[&[evil, b"=", evil].concat()]);
    of.filename = Part::of(evil.to_vec());
    of.cwd = Part::of(evil.to_vec());
    of.prev_comm = Part::of(evil.to_vec());
    of.interpreters = Part::of(vec![evil.to_vec()]);
    let mut fd = file(0, "/");
    fd.fd.target = evil.to_vec();
    of.fds = Part::of(vec![fd]);
    let more = ["--show-cwd", "--show-cmdline", "--fd-in-cmdline", "--show-argv", "--show-env"];
    for options in [&[][..], &more] {
        let line = line(options, of.clone());
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(line.contains(r#""\x1b]0;x\x07\r\n\"\\\xff\u{9b}2J""#), "{line}");
    }
}

#[test]
fn the_command_line_stands_last_with_what_it_lacks_before_it() {
    let mut of = record();
    of.env = vector(&[b"A=1", b"B=2", b"PATH=/bin"]);
    of.argv = vector(&[b"/bin/ls", b"a b"]);
    let cmdline = line(&["--show-cmdline"], of.clone());
    assert_eq!(cmdline, "100<sh>: = 0 cmdline: env -i A=1 B=2 PATH=/bin /bin/ls 'a b'");
    of.env.faults = Faults::TOO_MANY_ITEMS;
    let lacking = "cmdline <not the same: the environment is not all known: too many items>: env ";
    assert!(line(&["--show-cmdline"], of).contains(lacking));
}

#[test]
fn our_own_name_and_a_descriptor_stand_for_a_file() {
    let mut of = record();
    of.filename = Part::of(b"/proc/self/exe".to_vec());
    assert!(line(&[], of.clone()).starts_with(r#"100<sh>: "/usr/bin/ls" ["#));
    let as_it_is = line(&["--no-resolve-proc-self-exe"], of.clone());
    assert!(as_it_is.starts_with(r#"100<sh>: "/proc/self/exe" ["#));
    of.filename = Part::of(b"ls".to_vec());
    of.call = Some(ExecCall { at: Some(5), flags: 0 });
    assert!(line(&[], of).starts_with(r#"100<sh>: "ls" at=5 ["#));
}

#[test]
fn times_are_those_of_the_events() {
    let at = line(&["--inline-timestamp-format", "%s%.3f%n"], record());
    assert!(at.starts_with("1000001.250\\n 100<sh>: "), "{at}");
    let usual = line(&["--timestamp"], record());
    assert_eq!(usual.find(" 100<sh>: "), Some(8), "{usual}");
}

#[test]
fn a_path_that_could_not_be_read_has_its_label() {
    let mut of = record();
    of.interpreters = Part { value: None, faults: Faults::PATH_UNREADABLE };
    let text = line(&[], of.clone());
    assert!(text.contains(" interpreter=<a path could not be read>"), "{text}");
    of.interpreters = Part::default();
    of.cwd = Part { value: None, faults: Faults::PATH_UNREADABLE };
    let text = line(&["--show-cwd"], of);
    assert!(text.contains(" cwd=<a path could not be read>"), "{text}");
}

#[test]
fn other_kinds_of_lines_come_where_they_are_asked_for() {
    let events = [TraceEvent::Begun(Begun { pid: 101, parent: 90, time: 1 })];
    let usual = log_of(&[], None, &events);
    let lost = "warning: 1 event was lost, and 2 processes could not be followed\n";
    assert_eq!(usual, format!("90: COMMAND exited with status 3\n{lost}"));
    let all = log_of(&["--show-all-events"], None, &events);
    let lines = [
        "info: tracexec 1.2.3 follows make '-j 8'",
        "90: COMMAND runs: make '-j 8'",
        "90: has a new child 101",
        "90: COMMAND exited with status 3",
        lost.trim_end(),
        "info: 0 execs, 0 of them failed; 1 new process",
    ];
    assert_eq!(all.lines().collect::<Vec<_>>(), lines);
    assert_eq!(log_of(&["--filter-exclude=warning,tracee-exit"], None, &events), "");
}

#[test]
fn ends_are_told_in_words() {
    assert_eq!(words::ended(0), "exited with status 0");
    assert_eq!(words::ended(libc::SIGTERM), "was killed by SIGTERM");
    assert_eq!(words::ended(libc::SIGSEGV | 0x80), "was killed by SIGSEGV, core dumped");
}

#[test]
fn colours_go_by_their_level() {
    let mut of = record();
    of.env = vector(&[b"A=2"]);
    let events = [TraceEvent::Exec(Box::new(Execution { record: of, parent: None, view: None }))];
    let painted = |colors| log_of(&["--events=exec"], Some(colors), &events);
    let less = painted(Colors::Less);
    let whole = "\u{1b}[32m100\u{1b}[0m<sh>: \"/bin/ls\" [\"ls\", \"-l\"] env[~A=\"2\", -B, -B, -PATH] \
                 \u{1b}[32m= 0\u{1b}[0m\n";
    assert_eq!(less, whole);
    let usual = painted(Colors::Usual);
    assert!(usual.contains("env[\u{1b}[33m~A=\"2\"\u{1b}[0m, \u{1b}[31m-B\u{1b}[0m"), "{usual}");
    assert!(usual.contains("[\"ls\", \"-l\"]"), "{usual}");
    assert!(painted(Colors::More).contains("[\u{1b}[34m\"ls\"\u{1b}[0m, "));
}

#[test]
fn only_what_is_shown_is_recorded() {
    let wanted = |options: &[&str]| wanted(&shown(options));
    let usual = wanted(&[]);
    assert!(usual.env && usual.fds && usual.failures && usual.interpreters && !usual.lives);
    assert!(usual.own_exe && !usual.exe && !usual.cwd && !usual.fd_details && !usual.owner);
    assert!(wanted(&["--no-hide-cloexec-fds"]).fd_details);
    let little = wanted(&["--no-diff-env", "--no-diff-fd", "--no-show-interpreter"]);
    assert!(!little.env && !little.fds && !little.cwd && !little.interpreters);
    let cmdline = wanted(&["--show-cmdline", "--no-diff-fd"]);
    assert!(cmdline.env && cmdline.cwd && cmdline.exe && !cmdline.fds);
    let redirected = wanted(&["--show-cmdline", "--no-diff-fd", "--stdio-in-cmdline"]);
    assert!(redirected.fds && redirected.fd_details);
    let lives = wanted(&["--events", "new-child"]);
    assert!(lives.lives && !lives.failures && !lives.env);
}
