//! What we let go of, by choice or by dying, runs on as if we had never been there.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{
    Running, World, eventually, feed, finish, is_gone, signal_process, state, status_of,
};

/// The children of a process, by name.
fn children(pid: i32, name: &str) -> Vec<i32> {
    let parent = pid.to_string();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&child| status_of(child, "PPid").as_ref() == Some(&parent))
        .filter(|&child| status_of(child, "Name").as_deref() == Some(name))
        .collect()
}

/// COMMAND, once it is called `name`.
fn command_of(session: &Running, name: &str) -> i32 {
    eventually("COMMAND", || children(session.pid(), name).first().copied())
}

/// Waits until nobody traces a process, and asserts that nothing of a tracer is left.
#[track_caller]
fn assert_free(pid: i32) {
    eventually("no tracer", || (status_of(pid, "TracerPid")? == "0").then_some(()));
    for key in ["Seccomp", "NoNewPrivs"] {
        assert_eq!(status_of(pid, key).as_deref(), Some("0"), "{key} of {pid}");
    }
}

/// Unlike `Child::wait`, leaves its standard input open.
fn wait_for_our_end(session: &mut Running) {
    eventually("our end", || session.child().try_wait().unwrap());
}

fn wait_until_asleep(pid: i32) {
    eventually("sleep", || (state(pid) == Some('S')).then_some(()));
}

/// The content of a file once it ends with a newline.
fn content(path: &Path) -> String {
    eventually("a result", || fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')))
}

/// Kills processes that are in no group of ours, if they are still there.
struct Stray(i32);

impl Drop for Stray {
    fn drop(&mut self) {
        signal_process(self.0, libc::SIGKILL);
    }
}

#[test]
fn after_the_last_match_the_tree_is_free_and_can_execute_whatever_becomes_of_us() {
    let world = World::new();
    let (vfork, hello) = (world.fixture("vfork", &[]), world.fixture("hello", &[]));
    let result = world.path("result");
    let script = format!(
        "/bin/true; read x; '{}' '{}' one; echo $? >'{}'",
        vfork.display(),
        hello.display(),
        result.display()
    );
    for killed in [false, true] {
        let _ = fs::remove_file(&result);
        let args = ["debug", "--list", "--once", "-m", "basename=true", "--", "sh", "-c", &script];
        let mut command = world.tracexec(args);
        command.stdin(Stdio::piped());
        let mut session = world.start(command);
        let shell = command_of(&session, "sh");
        assert_free(shell);
        wait_until_asleep(shell);
        if killed {
            session.signal(libc::SIGKILL);
            wait_for_our_end(&mut session);
        }
        feed(&mut session, b"go\n");
        assert_eq!(content(&result), "3\n");
        let outcome = finish(session);
        let code = if killed { 1000 + libc::SIGKILL } else { 0 };
        assert_eq!((outcome.code(), outcome.out().as_str()), (code, "one\nhello\n"));
        eventually("its end", || is_gone(shell).then_some(()));
    }
}

#[test]
fn a_daemon_is_let_go_when_command_ends() {
    let world = World::new();
    let (daemonize, hello) = (world.fixture("daemonize", &[]), world.fixture("hello", &[]));
    let (ready, result, fifo) = (world.path("ready"), world.path("result"), world.path("fifo"));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!(
        "exec >'{0}.log' 2>&1; echo $$ >'{0}'; read x <'{1}'; '{2}'; echo $? >'{3}'",
        ready.display(),
        fifo.display(),
        hello.display(),
        result.display()
    );
    let mut command = world.tracexec(["debug", "--list", "-m", "basename=none", "--"]);
    command.arg(&daemonize).args(["go", "/bin/sh", "-c", &script]);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 5, "{}", outcome.stderr);
    let daemon = content(&ready).trim().parse().unwrap();
    let _stray = Stray(daemon);
    wait_until_asleep(daemon);
    assert_free(daemon);
    fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"go\n").unwrap();
    assert_eq!(content(&result), "3\n");
    eventually("its end", || is_gone(daemon).then_some(()));
}

#[test]
fn no_blocked_call_is_interrupted_when_the_tree_is_let_go() {
    let world = World::new();
    let blocked = world.fixture("blocked", &[]);
    let mut command = world.tracexec(["debug", "--list", "--once", "-m", "basename=true", "--"]);
    command.arg(&blocked).arg("/bin/true").stdin(Stdio::piped());
    let mut session = world.start(command);
    let parent = command_of(&session, "blocked");
    let calls = eventually("six blocked calls", || {
        let calls: Vec<(i32, String)> = children(parent, "blocked")
            .into_iter()
            .filter_map(|pid| Some((pid, blocked_call(pid)?)))
            .collect();
        (calls.len() == 6).then_some(calls)
    });
    eventually("the parent's read", || blocked_call(parent));
    session.child().stdin.as_mut().unwrap().write_all(b"g").unwrap();
    for (pid, call) in &calls {
        assert_free(*pid);
        assert_eq!(blocked_call(*pid).as_ref(), Some(call), "{pid} has left its system call");
    }
    drop(session.child().stdin.take());
    let outcome = finish(session);
    let expected =
        ["read", "poll", "epoll", "sigwait", "msgrcv"].map(|name| format!("{name}: Success\n"));
    let expected = expected.concat() + "nanosleep: signal 9\n";
    assert_eq!((outcome.code(), outcome.out()), (0, expected), "{}", outcome.stderr);
}

/// The system call in which a process sleeps, with its arguments.
fn blocked_call(pid: i32) -> Option<String> {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    (state(pid) == Some('S') && !call.starts_with("running")).then_some(call)
}

#[test]
fn fifty_processes_that_execute_in_a_loop_do_not_notice_that_we_are_killed() {
    let world = World::new();
    let storm = world.fixture("storm", &[]);
    for kill_at in [0, 60, 200] {
        let progress = world.path(&format!("progress-{kill_at}"));
        let mut command = world.tracexec(["debug", "--list", "-m", "basename=none", "--"]);
        command.arg(&storm).args(["50", "8"]).arg(&progress);
        let mut session = world.start(command);
        let done = || fs::metadata(&progress).map(|file| file.len());
        eventually("progress", || (done().ok()? >= kill_at).then_some(()));
        session.signal(libc::SIGKILL);
        wait_for_our_end(&mut session);
        assert_eq!(content(&progress), ".".repeat(50 * 8) + "\n");
        finish(session);
    }
}

#[test]
fn a_held_match_runs_on_wherever_we_are_killed() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for (place, admit) in [
        ("held", false),
        ("before-stop", false),
        ("stop-sent", false),
        ("detached", false),
        ("inject-begin", true),
        ("inject-written", true),
        ("inject-armed", true),
        ("inject-entered", true),
        ("inject-called", true),
        ("inject-undone", true),
        ("detached", true),
    ] {
        let result = world.path("result");
        let _ = fs::remove_file(&result);
        let script = format!("'{}' one; echo $? >'{}'", hello.display(), result.display());
        let args = ["debug", "--hold", "-m", "basename=hello", "--", "sh", "-c", &script];
        let mut command = world.tracexec(args);
        command.env("TRACEXEC_DIE_AT", place);
        if admit {
            command.env("TRACEXEC_ADMIT", "1");
        }
        let mut session = world.start(command);
        wait_for_our_end(&mut session);
        assert_eq!(content(&result), "3\n", "killed at {place}");
        let outcome = finish(session);
        let expected = (1000 + libc::SIGKILL, "one\nhello\n");
        assert_eq!((outcome.code(), outcome.out().as_str()), expected, "{place}");
    }
}

/// A process that keeps a processor busy.
struct Busy(Child);

impl Busy {
    fn on(processor: &str) -> Busy {
        let mut command = Command::new("taskset");
        command.args(["-c", processor, "sh", "-c", "while :; do :; done"]);
        Busy(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A processor that we may use.
fn processor() -> String {
    let allowed = status_of(std::process::id() as i32, "Cpus_allowed_list").unwrap();
    allowed.split([',', '-']).next().unwrap().to_string()
}

#[test]
fn a_match_that_is_slow_to_stop_is_not_forgotten_by_a_debugger_s_failure() {
    let world = World::new();
    let processor = processor();
    let _busy = [Busy::on(&processor), Busy::on(&processor)];
    // It gets a processor only when nobody else wants it, so its stop comes after the debugger's end.
    let match_late = ["chrt", "-i", "0", "taskset", "-c", &processor, "/bin/true"];
    let debugger = ["--debugger", "false {{pid}}", "--in", "background"];
    let mut args = vec!["debug", "-m", "basename=true"];
    args.extend(debugger);
    args.push("--");
    args.extend(match_late);
    let outcome = world.run(args);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("without having attached"), "{}", outcome.stderr);
}
