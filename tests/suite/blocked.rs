//! Readers that do not read: of standard error, and of what is traced.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::support::{World, eventually, finish, pid_in, signal_process, status_of};

/// A pipe without room, and its other end.
fn full_pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&writer, b" ").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader.into(), writer.into())
}

/// Ends it whatever becomes of the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        signal_process(-(self.0.id() as i32), libc::SIGKILL);
        let _ = self.0.wait();
    }
}

fn start(mut command: Command, stderr: &File) -> Ends {
    use std::os::unix::process::CommandExt;
    let stderr = OwnedFd::from(stderr.try_clone().unwrap());
    command.stdout(Stdio::null()).stderr(stderr).process_group(0);
    Ends(command.spawn().unwrap())
}

#[track_caller]
fn status(child: &mut Ends) -> i32 {
    eventually("its end", || child.0.try_wait().unwrap()).code().unwrap()
}

/// Many lines on standard error, from one process.
const BUSY: &str =
    "i=0; while [ $i -lt 600 ]; do /bin/true $i; i=$((i+1)); done 2>/dev/null; exit 7";

#[test]
fn nobody_waits_for_a_reader_of_standard_error() {
    let world = World::new();
    for args in [
        &["debug", "--list", "-m", "basename=true"][..],
        &["-v", "debug", "-m", "basename=true", "--debugger", "true {{pid}}", "--in", "background"],
        &["-v", "collect", "-F", "json-stream", "-o", "/dev/null"],
    ] {
        let (_reader, writer) = full_pipe();
        let few = BUSY.replace("600", if args.contains(&"background") { "3" } else { "600" });
        let command = world.tracexec(args.iter().chain(&["--", "sh", "-c", &few]));
        assert_eq!(status(&mut start(command, &writer)), 7, "{args:?}");
    }
}

#[test]
fn a_signal_ends_a_session_whose_standard_error_is_full() {
    let world = World::new();
    for args in [
        &["debug", "--list", "-m", "pid>0"][..],
        &["log"],
        &["-v", "collect", "-F", "json-stream", "-o", "/dev/null"],
    ] {
        let (_reader, writer) = full_pipe();
        let script = format!("touch {}; exec sleep 600", world.path("runs").display());
        let mut child =
            start(world.tracexec(args.iter().chain(&["--", "sh", "-c", &script])), &writer);
        eventually("COMMAND", || world.path("runs").exists().then_some(()));
        signal_process(child.0.id() as i32, libc::SIGTERM);
        let status = status(&mut child);
        // What `log` has to say comes nowhere.
        assert_eq!(status, if args[0] == "log" { 125 } else { 143 }, "{args:?}");
        std::fs::remove_file(world.path("runs")).unwrap();
    }
}

/// The most memory that a process had, in megabytes.
fn peak(pid: i32) -> Option<u64> {
    let text = status_of(pid, "VmHWM")?;
    text.split(' ').next()?.parse::<u64>().ok().map(|kilobytes| kilobytes >> 10)
}

/// Executes a program with 1.9 MB of arguments 120 times, and counts in a file.
const LARGE: &str = "import os, subprocess, sys\n\
    for n in range(120):\n\
    \tsubprocess.run(['/bin/true'] + ['x' * 100000] * 19)\n\
    \tos.truncate(sys.argv[1], n + 1)";

/// What waits for a reader has a limit in bytes. Over ptrace COMMAND waits, too, over eBPF events are lost.
#[track_caller]
fn memory_is_limited(backend: &str) {
    let world = World::new();
    let progress = world.file("progress", "");
    let (mut reader, writer) = nix::unistd::pipe().map(|(r, w)| (File::from(r), w)).unwrap();
    let mut command = world.tracexec(["collect", "--backend", backend, "-F", "json-stream"]);
    command.args(["-o", "-", "--", "python3", "-c", LARGE]).arg(&progress);
    command.stdout(writer).stderr(File::create(world.path("said")).unwrap());
    let mut child = Ends(command.spawn().unwrap());
    drop(command);
    let pid = child.0.id() as i32;
    let mut before = 0;
    let mut looked = Instant::now();
    eventually("no progress", || {
        if looked.elapsed().as_secs() < 2 {
            return None;
        }
        looked = Instant::now();
        let now = std::fs::metadata(&progress).unwrap().len();
        (now > 0 && now == std::mem::replace(&mut before, now)).then_some(())
    });
    assert_eq!(before == 120, backend == "ebpf", "{before} execs");
    let thread = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        lines_of(&all)
    });
    let mut most = 0;
    let status = eventually("its end", || {
        most = most.max(peak(pid).unwrap_or_default());
        child.0.try_wait().unwrap()
    });
    let said = std::fs::read_to_string(world.path("said")).unwrap();
    assert!(status.success(), "{said}");
    assert!(most < 180, "{most} MB");
    let (lines, execs) = thread.join().unwrap();
    assert!(lines > execs && execs > 0);
    match backend {
        "ptrace" => assert!(execs >= 120, "{execs}: {said}"),
        _ => assert!(execs >= 120 || said.contains("events were lost"), "{execs}: {said}"),
    }
}

/// How many lines there are, and how many of them are of large execs.
fn lines_of(all: &[u8]) -> (usize, usize) {
    let large = |line: &&[u8]| line.len() > 1 << 20;
    let lines = || all.split(|&byte| byte == b'\n');
    (lines().count(), lines().filter(large).count())
}

#[test]
fn what_waits_for_a_reader_over_ptrace_has_a_limit_in_bytes() {
    memory_is_limited("ptrace");
}

#[cfg(feature = "ebpf")]
#[test]
fn what_waits_for_a_reader_over_ebpf_has_a_limit_in_bytes() {
    memory_is_limited("ebpf");
}

#[test]
fn clients_that_are_slow_to_ask_or_do_not_read_keep_nobody() {
    let world = World::new();
    let mut running = world.start(world.tracexec([
        "debug",
        "-m",
        "basename=sleep",
        "--hold",
        "--",
        "sh",
        "-c",
        "sleep 600",
    ]));
    let held = running.stderr_line(": held");
    let pid = pid_in(&held);
    let socket = world.path(&format!("run/tracexec/{}.sock", running.pid()));
    // One that comes byte by byte, many that say nothing, and one that does not read.
    let mut dribbles = UnixStream::connect(&socket).unwrap();
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut unread = UnixStream::connect(&socket).unwrap();
    unread.write_all(b"\"ps\"\n").unwrap();
    dribbles.write_all(b"\"").unwrap();
    let before = Instant::now();
    for _ in 0..10 {
        let _ = dribbles.write_all(b"p");
        let outcome = world.run(["ps"]);
        assert!(outcome.out().contains(&format!("{pid} parked")), "{outcome:?}");
        assert_eq!(outcome.code(), 0, "{outcome:?}");
    }
    // Each of the 41 was once waited for a second.
    assert!(before.elapsed().as_secs() < 30);
    drop(silent);
    assert_eq!(world.run(["release", &pid.to_string()]).code(), 0);
    signal_process(pid, libc::SIGKILL);
    assert_eq!(finish(running).code(), 137);
}

#[test]
fn a_session_that_does_not_answer_is_told() {
    let world = World::new();
    // A first run makes the folder.
    assert_eq!(world.run(["ps"]).code(), 0);
    let listener = UnixListener::bind(world.path("run/tracexec/1.sock")).unwrap();
    let outcome = world.run(["ps"]);
    assert_eq!(outcome.code(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains("run/tracexec/1.sock does not answer"), "{outcome:?}");
    // Nor does one that accepts nobody any more.
    let mut many = Vec::new();
    while let Ok(client) = connect_at_once(&world.path("run/tracexec/1.sock")) {
        many.push(client);
    }
    let outcome = world.run(["release", "1"]);
    assert_eq!(outcome.code(), 125, "{outcome:?}");
    assert!(outcome.stderr.contains("run/tracexec/1.sock does not answer"), "{outcome:?}");
    drop(listener);
}

fn connect_at_once(path: &std::path::Path) -> nix::Result<OwnedFd> {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}
