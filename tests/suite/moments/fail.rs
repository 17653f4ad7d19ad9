//! An exit with a status other than 0, with the stack still there.

use super::{Way, each_is_held, way};
use crate::support::World;
use crate::support::typed::nothing_is_left_of;

const STATUS: &str = "is about to exit with status 3";
const WAYS: [Way; 4] = [
    way("exit", STATUS, 3),
    way("_exit", STATUS, 3),
    way("exit_group", STATUS, 3),
    way("call_exit", STATUS, 3),
];

#[test]
fn each_way_to_leave_is_held_with_its_stack() {
    each_is_held("fail", &[], &WAYS[..2], "");
    each_is_held("fail=calls", &[], &WAYS, "");
    each_is_held("fail", &["-static"], &WAYS, "");
    each_is_held("fail", &["-m32"], &WAYS[..2], "");
    each_is_held("fail=calls", &["-m32"], &WAYS, "");
}

#[test]
fn a_thread_that_ends_the_process_is_shown() {
    each_is_held("fail", &[], &WAYS[..2], "thread");
    each_is_held("fail=calls", &[], &WAYS[..3], "thread");
    each_is_held("fail", &["-static"], &WAYS[..3], "thread");
}

#[test]
fn a_return_from_main_is_held_and_a_success_is_not() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script =
        format!("{program} return; echo $?; {program} well; echo $?; {program} x; echo $?");
    let options = ["--debugger", "gdb-backtrace", "--in", "background"];
    let outcome = world.debug_sh(&[&["--on", "fail"][..], &options].concat(), &script);
    assert_eq!(outcome.out(), "3\n0\n0\n", "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches(" is about to exit").count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(status=3)"), "{}", outcome.stderr);

    let wanted = ["--on", "fail", "-m", "basename=dies and status=0"];
    let outcome = world.debug_sh(&[&wanted[..], &options].concat(), &script);
    assert_eq!(outcome.out(), "3\n0\n0\n", "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("exit with status 0").count(), 2, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn an_exit_that_no_breakpoint_sees_is_told_of() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let options = ["--on", "fail", "-m", "basename=dies", "--list"];
    let outcome = world.debug_sh(&options, &format!("{program} exit_group; echo $?"));
    assert_eq!(outcome.out(), "3\n", "{}", outcome.stderr);
    // Where the kernel allows no breakpoints, calls are looked at.
    if !outcome.stderr.contains("is about to exit with status 3 (basename=dies)\n") {
        let told = outcome.stderr.contains("status 3 (basename=dies): past the C library");
        assert!(told, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("hint: fail=calls"), "{}", outcome.stderr);
    }
}

#[test]
fn a_program_s_own_signals_are_its_own_and_one_that_blocks_them_is_held_all_the_same() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let own = "import os, signal; got = []\n\
        signal.signal(signal.SIGURG, lambda *_: got.append(1))\n\
        os.kill(os.getpid(), signal.SIGURG)\n\
        os._exit(4 + len(got))";
    let blocked = format!(
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\n\
         os.execv('{program}', ['dies', 'exit'])"
    );
    let script = format!("python3 -c \"{own}\"; echo $?; python3 -c \"{blocked}\"; echo $?");
    let options = ["--on", "fail", "--debugger", "gdb-backtrace", "--in", "background"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "5\n3\n", "{}", outcome.stderr);
    for status in [5, 3] {
        let says = format!("is about to exit with status {status}");
        assert!(outcome.stderr.contains(&says), "{says}: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("it was not held"), "{}", outcome.stderr);
}

#[test]
fn what_was_held_and_let_go_leaves_as_before() {
    let world = World::new();
    let until = world.fixture("until", &[]);
    let flag = world.path("flag");
    // Held for its time, and let go, it must not run into a breakpoint that nobody looks at.
    let script = format!("{} {}; echo $?", until.display(), flag.display());
    let args = ["debug", "--on", "fail,hang=200ms", "-m", "basename=until", "--hold"];
    let mut running = world.start(world.tracexec(args.iter().chain(&["--", "sh", "-c", &script])));
    let pid = crate::support::pid_in(&running.stderr_line(": held"));
    assert_eq!(world.run(["release", &pid.to_string()]).code(), 0);
    std::fs::write(&flag, "").unwrap();
    assert_eq!(crate::support::finish(running).out(), "running\n5\n");
}

#[test]
fn after_the_last_match_nobody_runs_into_a_breakpoint() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!(
        "for i in $(seq 60); do ({program} well || echo wrong $?) & done; {program} null; wait; echo done"
    );
    let options = ["--on", "crash,fail", "--once", "--debugger", "gdb-backtrace"];
    let outcome = world.debug_sh(&[&options[..], &["--in", "background"]].concat(), &script);
    assert_eq!(outcome.out(), "done\n", "{}", outcome.stderr);
}

#[test]
fn what_fails_because_of_another_is_not_held_again() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    // Each shell ends with the status of what it has run.
    let script = format!("sh -c 'sh -c \"{program} exit; exit 4\"; exit 5'; exit 6");
    let options = ["-v", "--on", "fail", "--debugger", "gdb-backtrace", "--in", "background"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.code(), 6, "{}", outcome.stderr);
    let said = &outcome.stderr;
    assert_eq!(said.matches(": gdb-backtrace in background").count(), 1, "{said}");
    let first = said.lines().find(|line| line.contains("dies exit is about to exit")).unwrap();
    let pid = crate::support::pid_in(first);
    for status in [4, 5, 6] {
        let after = format!("is about to exit with status {status}, after {pid} failed");
        assert!(said.contains(&after), "{after}: {said}");
    }
}

/// Runs `dies` with a C library of its own, which is a FIFO by the time that anybody looks for its `_exit`.
#[track_caller]
fn is_not_waited_for(flags: &[&str], library: &str) {
    let world = World::new();
    let program = world.fixture("dies", flags);
    let swap = world.fixture("swap", &[&["-shared", "-fPIC"], flags].concat());
    std::fs::create_dir(world.path("lib")).unwrap();
    let own = world.path("lib/libc.so.6");
    std::fs::copy(library, &own).unwrap();
    let script = format!(
        "env LD_LIBRARY_PATH={} LD_PRELOAD={} SWAP={} {} return; echo $?; test -p {}; echo $?",
        world.path("lib").display(),
        swap.display(),
        own.display(),
        program.display(),
        own.display()
    );
    let options = ["--on", "fail", "-m", "basename=dies", "--list"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "3\n0\n", "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches(STATUS).count(), 1, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn a_c_library_that_became_a_fifo_is_not_waited_for() {
    is_not_waited_for(&[], "/lib/x86_64-linux-gnu/libc.so.6");
    is_not_waited_for(&["-m32"], "/lib32/libc.so.6");
}
