//! An exit with a status other than 0, with the stack still there.

use super::support::World;
use super::support::typed::nothing_is_left_of;
use super::{Way, each_is_held, way};

const STATUS: &str = "is about to exit with status 3";
const WAYS: [Way; 4] = [
    way("exit", STATUS, 3),
    way("_exit", STATUS, 3),
    way("exit_group", STATUS, 3),
    way("call_exit", STATUS, 3),
];

#[test]
fn each_way_to_leave_is_held_with_its_stack() {
    each_is_held("fail", &[], &WAYS, "");
    each_is_held("fail", &["-static"], &WAYS, "");
    each_is_held("fail", &["-m32"], &WAYS, "");
}

#[test]
fn a_thread_that_ends_the_process_is_shown() {
    each_is_held("fail", &[], &WAYS[..3], "thread");
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
    let pid = super::support::pid_in(first);
    for status in [4, 5, 6] {
        let after = format!("is about to exit with status {status}, after {pid} failed");
        assert!(said.contains(&after), "{after}: {said}");
    }
}
