//! Under make, CTest and Meson: only what went wrong is held, and the runner's own verdict is what it was.

use std::fs;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, World};

const OPTIONS: [&str; 6] =
    ["--on", "crash,fail", "--debugger", "gdb-backtrace", "--in", "background"];

#[track_caller]
fn assert_two_hits(outcome: &Outcome) {
    let said = &outcome.stderr;
    assert_eq!(said.matches(": gdb-backtrace in background").count(), 2, "{said}");
    assert!(said.contains("dies null is about to die of SIGSEGV at 0x0"), "{said}");
    assert!(said.contains("dies exit is about to exit with status 3"), "{said}");
    assert_eq!(said.matches("in happen () at").count(), 3, "{said}");
}

#[test]
fn under_make_the_leaves_are_held_and_make_fails_as_before() {
    let world = World::new();
    let program = world.fixture("dies", &[]);
    let rules: String = ["null", "exit", "well", "x"]
        .iter()
        .map(|mode| {
            format!(
                "{mode}:\n\t@{} {mode}; s=$$?; echo {mode} $$s >>out; exit $$s\n",
                program.display()
            )
        })
        .collect();
    world.file("Makefile", format!("all: null exit well x\n{rules}"));
    let dir = world.dir.path().to_str().unwrap();
    let make = ["--", "make", "-k", "-j2", "-C", dir, "--no-print-directory"];
    let outcome = world.run(["debug"].iter().chain(&OPTIONS).chain(&make));
    assert_two_hits(&outcome);
    assert_eq!(outcome.code(), 2);
    let mut out: Vec<String> =
        fs::read_to_string(world.path("out")).unwrap().lines().map(String::from).collect();
    out.sort();
    assert_eq!(out, ["exit 3", "null 139", "well 0", "x 0"]);
    nothing_is_left_of(&world);
}

#[test]
fn under_meson_each_test_has_its_verdict() {
    let world = World::new();
    // Meson builds it itself.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dies.c");
    world.file("dies.c", fs::read_to_string(source).unwrap());
    let tests: String = ["null", "exit", "well", "x"]
        .iter()
        .map(|mode| format!("test('{mode}', dies, args: '{mode}')\n"))
        .collect();
    let rules = "project('p', 'c')\n\
        dies = executable('dies', 'dies.c', dependencies: dependency('threads'))\n";
    world.file("meson.build", format!("{rules}{tests}"));
    let build = world.path("build");
    let setup = std::process::Command::new("meson")
        .args(["setup", "-Dbuildtype=debug"])
        .args([&build, world.dir.path()])
        .output()
        .unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stdout));
    let meson = ["meson", "test", "-C", build.to_str().unwrap(), "--num-processes", "2"];
    let options = ["-m", "basename=dies", "--"];
    let outcome = world.run(["debug"].iter().chain(&OPTIONS).chain(&options).chain(&meson));
    assert_two_hits(&outcome);
    let out = outcome.out();
    for verdict in ["null FAIL", "exit FAIL", "well OK", "x OK"] {
        let (name, result) = verdict.split_once(' ').unwrap();
        let line = out.lines().find(|line| line.split_ascii_whitespace().nth(1) == Some(name));
        assert!(line.is_some_and(|line| line.contains(result)), "{verdict}: {out}");
    }
    assert!(out.contains("killed by signal 11 SIGSEGV") && out.contains("exit status 3"), "{out}");
    // As many as failed.
    assert_eq!(outcome.code(), 2, "{out}");
    nothing_is_left_of(&world);
}

#[test]
fn under_ctest_each_test_has_its_verdict() {
    let world = World::new();
    let program = world.fixture("dies", &[]);
    let tests: String = ["null", "exit", "well", "x"]
        .iter()
        .map(|mode| format!("add_test({mode} {} {mode})\n", program.display()))
        .collect();
    world.file("CTestTestfile.cmake", tests);
    let dir = world.dir.path().to_str().unwrap();
    let ctest = ["--", "ctest", "-j2", "--test-dir", dir];
    let outcome = world.run(["debug"].iter().chain(&OPTIONS).chain(&ctest));
    assert_two_hits(&outcome);
    assert_eq!(outcome.code(), 8, "{}", outcome.out());
    let out = outcome.out();
    for line in ["null (SEGFAULT)", "exit (Failed)", "50% tests passed"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    nothing_is_left_of(&world);
}

#[test]
fn the_demonstration_for_ci_shows_three_stack_traces() {
    let world = World::new();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ci-demo/demo");
    let mut command = std::process::Command::new(demo);
    world.prepare(&mut command);
    command
        .env("TRACEXEC", crate::support::TRACEXEC)
        .env("TRACEXEC_BACKEND", crate::support::BACKEND);
    let outcome = crate::support::finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}{}", outcome.out(), outcome.stderr);
    assert!(outcome.out().contains("3 of 4 failed"), "{}", outcome.out());
    nothing_is_left_of(&world);
}

#[test]
fn what_the_filter_rules_out_is_not_held() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!("{program} null 2>&1; {program} exit; echo $?");
    let options = ["--on", "crash,fail", "-m", "basename=dies and argv[1]=exit", "--list"];
    let outcome = world.debug_sh(&options, &script);
    assert!(!outcome.stderr.contains("SIGSEGV"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("dies exit is about to exit with status 3 (basename=dies and"));
    assert!(outcome.out().ends_with("3\n"));
}

#[test]
fn an_exec_and_what_comes_later_can_be_asked_for_together() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let options = ["--on", "exec,crash", "-m", "argv[1]=null", "--list"];
    let outcome = world.debug_sh(&options, &format!("{program} null; echo $?"));
    let hits = outcome.stderr.lines().filter(|line| line.contains("dies null")).count();
    assert!(hits >= 1, "{}", outcome.stderr);
    assert_eq!(outcome.out(), "139\n");
}
