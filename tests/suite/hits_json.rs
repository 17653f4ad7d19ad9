//! `--hits-json`: real runs, each line of which is held against the schema.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::tmux::Tmux;
use crate::support::{Outcome, World, eventually, finish, is_gone, status_of};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// The lines of a file so far, each of them right.
#[track_caller]
fn lines(path: &Path) -> Vec<Value> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/hits.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let properties: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line: {text}");
    let mut lines = Vec::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {line}");
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), properties);
        lines.push(value);
    }
    let times: Vec<&str> = lines.iter().map(|line| line["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    lines
}

/// `hit stage end` of each line.
fn stages(lines: &[Value]) -> Vec<String> {
    let shown = |line: &Value| {
        let end = line["end"].as_str().map(|end| format!(": {end}")).unwrap_or_default();
        format!("{} {}{end}", line["hit"], line["stage"].as_str().unwrap())
    };
    lines.iter().map(shown).collect()
}

/// Waits until the file has so many lines.
#[track_caller]
fn so_many(path: &Path, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines in {}", path.display()), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        (text.lines().count() >= count && text.ends_with('\n')).then(|| lines(path))
    })
}

fn debug(world: &World, options: &[&str], script: &str) -> Command {
    let mut args = vec!["debug"];
    args.extend_from_slice(options);
    args.extend(["--", "sh", "-c", script]);
    let mut command = world.tracexec(args);
    command.current_dir(world.dir.path());
    command
}

fn run(world: &World, options: &[&str], script: &str) -> Outcome {
    finish(world.start(debug(world, options, script)))
}

#[test]
fn a_gdb_in_the_background_goes_through_all_stages() {
    let world = World::new();
    let program = world.fixture("hello", &[]);
    let path = world.file("hits", "");
    let outcome = run(
        &world,
        &[
            "-m",
            "basename=hello",
            "--hits-json",
            "hits",
            "--debugger",
            "gdb-backtrace",
            "--break",
            "main",
        ],
        "./hello one 'two words'; ./hello; exit 7",
    );
    assert_eq!(outcome.code(), 7, "{outcome:?}");
    let lines = lines(&path);
    for hit in [1, 2] {
        // The second may wait before the end of the first is seen.
        let own: Vec<Value> = lines.iter().filter(|line| line["hit"] == hit).cloned().collect();
        let expected = ["waiting", "parked", "attached"].map(|stage| format!("{hit} {stage}"));
        assert_eq!(stages(&own)[..3], expected);
        // Whichever is seen first: that gdb has let go, or that the program has ended.
        let end = own[3]["end"].as_str().unwrap();
        assert!(["ended", "debugger gone"].contains(&end) && own.len() == 4, "{own:?}");
        assert_eq!(own[3]["stage"], "over");
    }
    let parked = &lines[1];
    assert_eq!(parked["argv"], serde_json::json!(["./hello", "one", "two words"]));
    assert_eq!(parked["filename"], "./hello");
    assert_eq!(parked["exe"], program.to_str().unwrap());
    assert_eq!(parked["cwd"], world.dir.path().to_str().unwrap());
    assert_eq!(parked["because"], "basename=hello");
    assert_eq!(
        (&parked["debugger"], &parked["place"]),
        (&"gdb-backtrace".into(), &"background".into())
    );
    assert_eq!(parked["debugger_pid"], lines[2]["debugger_pid"]);
    assert!(parked["debugger_pid"].is_u64() && parked["port"].is_null());
    assert!(lines[0]["debugger_pid"].is_null() && lines[0]["place"].is_null());
    assert!(lines.iter().all(|line| line["session"] == lines[0]["session"]));
}

#[test]
fn a_gdb_in_tmux_is_told_of_while_it_goes_on_and_bytes_survive() {
    let world = World::new();
    world.fixture("hello", &[]);
    let path = world.path("hits");
    let tmux = Tmux::start(&world);
    tmux.debug(
        &["-m", "basename=hello", "--hits-json", path.to_str().unwrap()],
        "./hello \"$(printf 'a\\377b')\" \"$(printf '\\033[2J')\" é; exit 7",
    );
    let pane = tmux.other_panes(1).remove(0);
    tmux.gdb(&pane);
    let attached = so_many(&path, 3);
    assert_eq!(stages(&attached), ["1 waiting", "1 parked", "1 attached"]);
    let line = &attached[2];
    assert_eq!(line["place"], "tmux");
    let pid = line["pid"].as_i64().unwrap() as i32;
    assert_eq!(status_of(pid, "TracerPid").unwrap(), line["debugger_pid"].to_string());
    let bytes = line["argv"][1]["bytes"].as_str().unwrap();
    assert_eq!(BASE64_STANDARD.decode(bytes).unwrap(), b"a\xffb");
    assert_eq!((&line["argv"][2], &line["argv"][3]), (&"\u{1b}[2J".into(), &"é".into()));
    assert!(!fs::read_to_string(&path).unwrap().contains('\u{1b}'));
    tmux.type_line(&pane, "kill");
    tmux.shows(&pane, "(y or n)");
    tmux.type_line(&pane, "y");
    let over = so_many(&path, 4);
    assert_eq!(stages(&over)[3], "1 over: ended");
    tmux.type_line(&pane, "quit");
    assert_eq!(tmux.ended().code, 7);
    tmux.finish();
}

#[test]
fn a_gdbserver_is_told_of_with_its_port() {
    let world = World::new();
    let mut command = debug(
        &world,
        &["-m", "basename=sleep", "--debugger", "gdbserver", "--hits-json", "hits"],
        "sleep 60; exit 7",
    );
    command.env("LC_ALL", "C");
    let running = world.start(command);
    let attached = so_many(&world.path("hits"), 3);
    assert!(attached[2]["port"].as_u64().unwrap() > 0, "{}", attached[2]);
    // The session is told to end; the debugger goes on.
    running.signal(libc::SIGTERM);
    let over = so_many(&world.path("hits"), 4);
    assert_eq!(stages(&over)[3], "1 over: left to its debugger");
    for name in ["debugger_pid", "pid"] {
        let pid = attached[2][name].as_i64().unwrap() as i32;
        crate::support::signal_process(pid, libc::SIGKILL);
        eventually("its end", || is_gone(pid).then_some(()));
    }
    assert_eq!(finish(running).code(), 128 + libc::SIGTERM);
}

/// `--hits-json 3`, with descriptor 3 the writing end of a pipe; its reading end.
fn with_pipe(world: &World, options: &[&str], script: &str) -> (crate::support::Running, File) {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut command = Command::new("bash");
    let inner = debug(world, &[options, &["--hits-json", "3"]].concat(), script);
    command.args(["-c", &format!("exec \"$@\" 3>&{0} {0}>&-", writer.as_raw_fd()), "bash"]);
    command.arg(inner.get_program()).args(inner.get_args());
    world.prepare(&mut command);
    command.current_dir(world.dir.path());
    tracexec::linux::sys::inherit(&mut command, vec![writer.as_raw_fd()]);
    let running = world.start(command);
    (running, File::from(reader))
}

/// Reads a line.
fn read_line(file: &mut File) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while file.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn an_inherited_descriptor_is_written_to_and_not_passed_on() {
    let world = World::new();
    // COMMAND's own descriptor 3 is its list of descriptors.
    let script = "ls -l /proc/self/fd > fds; /bin/true; exit 7";
    let own = "bash -c 'ls -l /proc/self/fd > debugger-fds; sleep 60' x {{pid}}";
    let options =
        ["-m", "basename=true", "--debugger", own, "--in", "background", "--attach-timeout", "1s"];
    let (running, mut reader) = with_pipe(&world, &options, script);
    let pipe = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).unwrap();
    let pipe = pipe.to_str().unwrap().to_string();
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(finish(running).code(), 7);
    let path = world.file("hits", &all);
    let lines = lines(&path);
    assert_eq!(stages(&lines), ["1 waiting", "1 parked", "1 over: released"]);
    assert!(lines[2]["why"].as_str().unwrap().contains("has not attached"), "{}", lines[2]);
    for name in ["fds", "debugger-fds"] {
        let fds = fs::read_to_string(world.path(name)).unwrap();
        assert!(fds.contains("->") && !fds.contains(&pipe), "{pipe} in {name}: {fds}");
    }
}

#[test]
fn a_script_can_wait_for_what_is_held_and_let_it_go() {
    let world = World::new();
    let (running, mut reader) =
        with_pipe(&world, &["-m", "basename=true", "--hold"], "/bin/true; exit 7");
    let waiting: Value = serde_json::from_str(&read_line(&mut reader)).unwrap();
    let parked: Value = serde_json::from_str(&read_line(&mut reader)).unwrap();
    assert_eq!((&waiting["stage"], &parked["stage"]), (&"waiting".into(), &"parked".into()));
    assert!(parked["debugger"].is_null());
    let pid = parked["pid"].to_string();
    // Its stop comes into force as soon as it gets a processor.
    let stopped = || (crate::support::state(pid.parse().unwrap()) == Some('T')).then_some(());
    eventually("state T", stopped);
    assert_eq!(world.run(["release", &pid]).code(), 0);
    let over: Value = serde_json::from_str(&read_line(&mut reader)).unwrap();
    assert_eq!((&over["stage"], &over["end"]), (&"over".into(), &"released".into()));
    assert_eq!(finish(running).code(), 7);
}

#[test]
fn a_reader_that_is_gone_is_told_of_once_and_nobody_waits() {
    let world = World::new();
    let (running, reader) = with_pipe(
        &world,
        &["-m", "basename=true", "--debugger", "gdb-backtrace", "--in", "background"],
        "/bin/true; /bin/true; exit 7",
    );
    drop(reader);
    let outcome = finish(running);
    assert_eq!(outcome.code(), 7, "{outcome:?}");
    assert_eq!(outcome.stderr.matches("--hits-json: cannot write").count(), 1, "{outcome:?}");
    assert_eq!(outcome.stderr.matches("gdb-backtrace in background").count(), 2, "{outcome:?}");
}

#[test]
fn a_reader_that_does_not_read_keeps_nobody() {
    let world = World::new();
    let path = world.path("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let options = ["-m", "basename=true", "--hits-json", "fifo", "--debugger", "gdb-backtrace"];
    let refused = run(&world, &options, "touch ran");
    assert_eq!(refused.code(), 125, "{refused:?}");
    assert!(refused.stderr.contains("--hits-json fifo: nobody reads from it"), "{refused:?}");
    assert!(!world.path("ran").exists());
    let open = |write| {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(write).custom_flags(libc::O_NONBLOCK).open(&path).unwrap()
    };
    let mut full = open(true);
    while full.write(&[b' '; 4096]).is_ok() {}
    let outcome = run(&world, &options, "/bin/true; exit 7");
    assert_eq!(outcome.code(), 7, "{outcome:?}");
    assert!(outcome.stderr.contains("since nobody reads them"), "{outcome:?}");
}

#[test]
fn a_file_grows_and_what_cannot_be_written_to_is_an_error_beforehand() {
    let world = World::new();
    let path = world.path("hits");
    for _ in 0..2 {
        let outcome = run(
            &world,
            &["-m", "basename=true", "--hits-json", "hits", "--debugger", "gdb-backtrace"],
            "/bin/true",
        );
        assert_eq!(outcome.code(), 0, "{outcome:?}");
    }
    let lines = lines(&path);
    assert_eq!(lines.iter().filter(|line| line["stage"] == "waiting").count(), 2);
    assert_ne!(lines[0]["session"], lines[lines.len() - 1]["session"]);
    for (word, why) in [
        ("17", "there is no such open descriptor"),
        ("0", "open for reading only"),
        (".", "cannot write to it: Is a directory"),
        ("no/such", "cannot write to it: No such file"),
        ("-", "standard output is 1"),
    ] {
        let outcome =
            run(&world, &["-m", "basename=true", "--hold", "--hits-json", word], "touch ran");
        assert_eq!(outcome.code(), 125, "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{word}: {}", outcome.stderr);
        assert!(!world.path("ran").exists());
    }
}
