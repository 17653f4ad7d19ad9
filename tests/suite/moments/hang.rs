//! A program that runs too long.

use crate::support::typed::nothing_is_left_of;
use crate::support::{World, eventually, finish, pid_in, state, status_of};

#[test]
fn all_threads_are_held_where_they_are() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    for (mode, shown) in [
        ("sleep", &["in happen () at"][..]),
        ("spin", &["happen () at"]),
        ("sleep thread", &["in happen () at", "in other (", "in main ("]),
        ("spin thread", &["happen () at", "in other (", "in main ("]),
    ] {
        let script = format!("timeout 2 {program} {mode}; echo $?");
        let options = ["--on", "hang=300ms", "--debugger", "gdb-backtrace", "--in", "background"];
        let outcome = world.debug_sh(&options, &script);
        let said = &outcome.stderr;
        // Neither the shell nor timeout hangs: they wait for another.
        assert_eq!(said.matches("still runs after 0.").count(), 1, "{said}");
        for frame in shown {
            assert!(said.contains(frame), "{mode}: {frame}: {said}");
        }
        assert_eq!(outcome.out(), "124\n", "{said}");
    }
    nothing_is_left_of(&world);
}

#[test]
fn one_that_is_held_is_stopped_and_goes_on_when_it_is_let_go() {
    let world = World::new();
    let until = world.fixture("until", &[]);
    let flag = world.path("flag");
    let script = format!("{} {}; echo $?", until.display(), flag.display());
    let args = ["debug", "--on", "hang=200ms", "--hold", "--", "sh", "-c", &script];
    let mut running = world.start(world.tracexec(args));
    let pid = pid_in(&running.stderr_line(": held"));
    eventually("state T", || (state(pid) == Some('T')).then_some(()));
    assert_eq!(status_of(pid, "TracerPid").as_deref(), Some("0"));
    std::fs::write(&flag, "").unwrap();
    assert_eq!(world.run(["release", &pid.to_string()]).code(), 0);
    let outcome = finish(running);
    assert_eq!(outcome.out(), "running\n5\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn a_parent_gets_its_time_anew_when_its_child_has_ended() {
    let world = World::new();
    // Longer than the time in sum, but no part of it is.
    let script = "for i in 1 2 3 4 5 6; do sleep 0.2; done; echo done";
    let outcome = world.debug_sh(&["--on", "hang=900ms", "--hold"], script);
    assert_eq!(outcome.out(), "done\n");
    assert!(!outcome.stderr.contains("still runs"), "{}", outcome.stderr);
}

#[test]
fn a_clock_above_is_told_of() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!("timeout 100 {program} null; echo $?");
    let args = ["debug", "--on", "crash", "--hold", "--", "sh", "-c", &script];
    let mut running = world.start(world.tracexec(args));
    let warning = running.stderr_line("goes on measuring time");
    assert!(warning.contains("warning: timeout 100 "), "{warning}");
    running.stderr_line("hint: give it a longer time");
    running.stderr_line(": held");
    eventually("its release", || {
        world.run(["release", "--all"]).out().contains("released").then_some(())
    });
    assert_eq!(finish(running).out(), "139\n");
}

#[test]
fn the_sigcont_of_the_hand_over_is_passed_over_until_its_thread_has_run() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!("{program} spin thread; echo $?");
    let options = ["--on", "hang=300ms", "--debugger", "gdb", "--in", "background"];
    // A stop of the thread that spins comes before the first one has run at all.
    let mut args = options.to_vec();
    for command in [
        "thread 5",
        "set scheduler-locking on",
        "stepi",
        "set scheduler-locking off",
        "set var answer = 0",
        "continue",
    ] {
        args.extend(["--ex", command]);
    }
    let outcome = world.debug_sh(&args, &script);
    let said = &outcome.stderr;
    assert!(said.contains("exited normally"), "{said}");
    assert!(!said.contains("SIGCONT"), "{said}");
    assert_eq!(outcome.out(), "0\n", "{said}");
    nothing_is_left_of(&world);
}

#[test]
fn a_thread_that_does_not_stop_keeps_the_others_for_a_limited_time() {
    let world = World::new();
    let program = world.fixture("vforks", &[]).display().to_string();
    let flag = world.path("flag").display().to_string();
    let script = format!("{program} {flag}; echo $?");
    let options = ["--on", "crash", "-m", "basename=vforks", "--debugger", "gdb-backtrace"];
    let outcome = world.debug_sh(&[&options[..], &["--in", "background"]].concat(), &script);
    assert_eq!(outcome.out(), "134\n", "{}", outcome.stderr);
    let said = "not held, one of its threads does not stop";
    let crash = |line: &&str| line.contains("is about to die of SIGABRT") && line.contains(said);
    assert_eq!(outcome.stderr.lines().filter(crash).count(), 1, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}
