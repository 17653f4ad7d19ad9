//! What is gdb's own: its templates for nobody's eyes and for a gdb elsewhere, how it takes signals, and
//! the kinds of programs that it is given.

use std::fs;
use std::process::Command;

use crate::support::typed::{Growing, Typed, nothing_is_left_of};
use crate::support::{Outcome, World, eventually, finish, pid_in, signal_process, status_of};

#[test]
fn after_the_first_stop_signals_are_handled_as_by_default() {
    let world = World::new();
    let until = world.fixture("until", &[]);
    let flag = world.path("flag");
    let script = format!("{} {}; echo status $?", until.display(), flag.display());
    let mut typed = Typed::start(&world, &["-m", "basename=until", "--break", "main"], &script);
    let pid = typed.hit();
    typed.screen.wait_for("Temporary breakpoint 1, main (");
    typed.screen.wait_for("(gdb) ");
    for signal in ["SIGSTOP", "SIGCONT"] {
        let shown = typed.enter(&format!("info signals {signal}"), "(gdb) ");
        assert!(shown.contains(&format!("{signal}       Yes\tYes\tYes\t")), "{shown}");
    }
    typed.enter("continue", "Continuing.\n");
    typed.stdout.wait_for("running\n");
    signal_process(pid, libc::SIGSTOP);
    typed.screen.wait_for("received signal SIGSTOP");
    typed.screen.wait_for("(gdb) ");
    typed.enter("signal 0", "Continuing");
    fs::write(&flag, "").unwrap();
    typed.screen.wait_for("exited with code 05");
    typed.enter("quit", "");
    assert_eq!(typed.finish().out(), "running\nstatus 5\n");
    nothing_is_left_of(&world);
}

#[test]
fn a_stop_of_gdbs_own_making_does_not_outlive_it() {
    let world = World::new();
    let until = world.fixture("until", &[]);
    let flag = world.path("flag");
    let script = format!("{} {}; echo status $?", until.display(), flag.display());
    let mut typed = Typed::start(&world, &["-m", "basename=until", "--break", "main"], &script);
    let pid = typed.hit();
    typed.screen.wait_for("Temporary breakpoint 1, main (");
    typed.screen.wait_for("(gdb) ");
    typed.enter("continue", "Continuing.\n");
    typed.stdout.wait_for("running\n");
    signal_process(pid, libc::SIGSTOP);
    typed.screen.wait_for("received signal SIGSTOP");
    typed.screen.wait_for("(gdb) ");
    // It passes the signal on as it lets go.
    typed.enter("quit", "Quit anyway?");
    typed.keys("y\n");
    fs::write(&flag, "").unwrap();
    assert_eq!(typed.finish().out(), "running\nstatus 5\n");
    nothing_is_left_of(&world);
}

#[test]
fn gdb_backtrace_prints_every_thread_and_the_run_goes_on() {
    let world = World::new();
    let meeting = world.fixture("meeting", &[]);
    let script = format!("for i in 1 2; do {}; echo status $?; done", meeting.display());
    let options = ["-m", "basename=meeting", "--debugger", "gdb-backtrace", "--break", "all_there"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "status 6\nstatus 6\n", "{}", outcome.stderr);
    let frames = |function: &str| {
        let called = format!(" in {function} (");
        outcome.stderr.lines().filter(|line| line.contains(&called)).count()
    };
    assert_eq!(frames("worker"), 6, "{}", outcome.stderr);
    assert_eq!(frames("main"), 2, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("Program received"), "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn gdb_backtrace_begins_with_the_thread_that_hit_the_breakpoint() {
    let world = World::new();
    let dies = world.fixture("dies", &[]);
    let script = format!("{} exit thread; echo status $?", dies.display());
    let options = ["-m", "basename=dies", "--debugger", "gdb-backtrace", "--break", "happen"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "status 3\n", "{}", outcome.stderr);
    let (_, shown) = outcome.stderr.split_once("---- tracexec: process ").unwrap();
    let frame = shown.lines().find(|line| line.starts_with("#0 ")).unwrap();
    assert!(frame.starts_with("#0  happen ("), "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn gdb_backtrace_at_the_entry_needs_no_terminal() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let outcome = world.debug_sh(
        &["-m", "basename=hello", "--debugger", "gdb-backtrace"],
        &format!("{} | cat", hello.display()),
    );
    assert!(outcome.stderr.contains("in _start ()"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "hello\n");
    assert_eq!(outcome.code(), 0);
}

/// Has a gdb elsewhere connect to gdbserver on a match, with these commands, and checks what the build then
/// sees; what gdb said.
fn elsewhere(commands: &[&str]) -> Outcome {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let mut command = world.tracexec(["debug", "-m", "basename=hello", "--debugger", "gdbserver"]);
    command.args(["--", "sh", "-c"]).arg(format!("{} a; echo status $?", hello.display()));
    let mut running = world.start(command);
    let mut stderr = Growing::new(running.child().stderr.take().unwrap());
    stderr.wait_for("connect with: ");
    let line = stderr.wait_for("\n");
    stderr.wait_for("Listening on port");
    let words = shell_words::split(&line).unwrap();
    let mut gdb = Command::new(&words[0]);
    world.prepare(&mut gdb);
    gdb.args(&words[1..]).arg("-batch");
    gdb.args(commands.iter().flat_map(|command| ["-ex", command]));
    let gdb = finish(world.start(gdb));
    let outcome = finish(running);
    assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{}", stderr.all());
    nothing_is_left_of(&world);
    gdb
}

#[test]
fn a_gdb_elsewhere_connects_to_the_port_that_gdbserver_listens_on() {
    let gdb = elsewhere(&["break main", "continue", "bt", "continue"]);
    assert!(gdb.out().contains("Breakpoint 1, main ("), "{}\n{}", gdb.out(), gdb.stderr);
    assert!(gdb.out().contains("exited with code 03"), "{}\n{}", gdb.out(), gdb.stderr);
    assert!(!gdb.out().contains("Program received"), "{}", gdb.out());
}

#[test]
fn a_gdb_elsewhere_that_detaches_leaves_a_process_that_runs_on() {
    let gdb = elsewhere(&["detach"]);
    assert!(gdb.out().contains("detached]"), "{}\n{}", gdb.out(), gdb.stderr);
}

#[test]
fn programs_of_other_kinds_are_debuggable() {
    for flags in [&["-m32"][..], &["-static"], &["-static-pie"], &["-no-pie"], &["-m32", "-static"]]
    {
        let world = World::new();
        let hello = world.fixture("hello", flags);
        let options = ["-m", "basename=hello", "--debugger", "gdb", "--in", "background"];
        let options =
            [&options[..], &["--break", "main", "--ex", "bt", "--ex", "continue"]].concat();
        let outcome = world.debug_sh(&options, &format!("{} a; echo status $?", hello.display()));
        assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{flags:?}: {}", outcome.stderr);
        let reached = "Temporary breakpoint 1, main (";
        assert!(outcome.stderr.contains(reached), "{flags:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("exited with code 03"), "{flags:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("Program received"), "{flags:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_command_of_the_users_own_gets_its_words_and_the_process() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let own = "gdb -q -nx -batch -p {{pid}} -ex 'echo own {{pid}} {{hit}}\\n' -ex 'info symbol $pc' --args {{argv}}";
    let options = ["-m", "basename=hello", "--debugger", own, "--in", "background"];
    let outcome = world.debug_sh(&options, &format!("{} 'a b'; echo status $?", hello.display()));
    let first = outcome.stderr.lines().find(|line| line.starts_with("tracexec: ")).unwrap();
    let own = format!("own {} 1", pid_in(first));
    assert!(outcome.stderr.lines().any(|line| line == own), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("_start in section .text"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "a b\nhello\nstatus 3\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn a_debugger_that_does_not_attach_is_told_and_the_run_goes_on() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let options = ["-m", "basename=hello", "--debugger", "sh -c 'exit 9' {{pid}}", "--in"];
    let options = [&options[..], &["background"]].concat();
    let outcome = world.debug_sh(&options, &format!("{}; echo status $?", hello.display()));
    assert!(outcome.stderr.contains("it ended without having attached"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "hello\nstatus 3\n");
    nothing_is_left_of(&world);
}

/// The signals (1 to 31) that are blocked and ignored, of a text from /proc/PID/status.
fn signal_sets(text: &str) -> [u32; 2] {
    ["SigBlk:\t", "SigIgn:\t"].map(|key| {
        let value = text.split_once(key).unwrap_or_else(|| panic!("no {key} in {text}")).1;
        u64::from_str_radix(&value[..16], 16).unwrap() as u32 & 0x7fff_ffff
    })
}

#[test]
fn the_debugger_has_the_signals_that_any_command_has() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let words = "grep -hE ^Sig(Blk|Ign) /proc/self/status";
    let mut direct = Command::new("grep");
    world.prepare(&mut direct);
    direct.args(words.split(' ').skip(1));
    let expected = signal_sets(&finish(world.start(direct)).out());
    assert_eq!(expected[0], 0);

    let own = format!("{words} /nowhere/{{{{pid}}}}");
    let options = ["-m", "basename=hello", "--debugger", &own];
    let background = [&options[..], &["--in", "background"]].concat();
    let outcome = world.debug_sh(&background, hello.to_str().unwrap());
    assert_eq!(signal_sets(&outcome.stderr), expected, "{}", outcome.stderr);

    let mut typed = Typed::start(&world, &options, hello.to_str().unwrap());
    typed.hit();
    let shown = typed.screen.wait_for("SigIgn:") + &typed.screen.wait_for("\n");
    assert_eq!(signal_sets(&shown), expected, "{shown}");
    assert_eq!(typed.finish().code(), 3);
}

#[test]
fn once_lets_the_whole_tree_go_while_gdb_is_on_the_hit() {
    let world = World::new();
    let until = world.fixture("until", &[]);
    let (flag, other) = (world.path("flag"), world.path("other"));
    let script = format!(
        "{0} {2} & {0} {1}; echo first $?; {0} {1}; wait $!; echo other $?",
        until.display(),
        flag.display(),
        other.display()
    );
    let options = ["--once", "-m", "basename=until and argv[1]~flag"];
    let mut typed = Typed::start(&world, &options, &script);
    let pid = typed.hit();
    typed.screen.wait_for("(gdb) ");
    let parent: i32 = status_of(pid, "PPid").unwrap().parse().unwrap();
    let other_pid = eventually("the other process", || {
        crate::support::processes_with(other.to_str().unwrap())
            .into_iter()
            .find(|&pid| status_of(pid, "PPid") == Some(parent.to_string()))
    });
    for free in [parent, other_pid] {
        eventually("nobody traces the rest", || {
            (status_of(free, "TracerPid")? == "0").then_some(())
        });
    }
    assert_ne!(status_of(pid, "TracerPid").unwrap(), "0");
    fs::write(&flag, "").unwrap();
    fs::write(&other, "").unwrap();
    typed.enter("detach", "detached]");
    typed.enter("quit", "");
    let outcome = typed.finish();
    let mut lines: Vec<&str> = std::str::from_utf8(&outcome.stdout).unwrap().lines().collect();
    lines.retain(|line| *line != "running");
    assert_eq!(lines, ["first 5", "other 5"], "{}", outcome.stderr);
    // A second match was let run.
    assert_eq!(outcome.stderr.matches(" in here").count(), 1, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}
