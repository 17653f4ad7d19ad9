//! The debugger in the very terminal in which COMMAND runs.

use std::fs;

use crate::support::tmux::{Tmux, nothing_left};
use crate::support::{World, eventually, is_gone, pid_in, signal_process, state, status_of};

/// Notes what must be as before: the modes, and this shell's group beside the foreground one.
const NOTE: &str = "note() { stty -g; cut -d' ' -f5,8 /proc/$$/stat; }";

fn assert_as_before(world: &World) {
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    let (before, after) = (read("before"), read("after"));
    assert_eq!(before, after);
    let groups: Vec<&str> = before.lines().nth(1).unwrap().split(' ').collect();
    assert_eq!(groups[0], groups[1], "the shell was in the foreground");
}

/// A script that notes the terminal's state before and after `tracexec debug --in here`, run by a shell
/// that does not put the terminal right by itself.
fn script(world: &World, tmux: &Tmux<'_>, command: &str) {
    script_then(world, tmux, command, "");
}

/// The same, with something to be done before the second look.
fn script_then(world: &World, tmux: &Tmux<'_>, command: &str, then: &str) {
    let debug = tmux.debug_line(&["--in", "here", "-m", "basename in (hello, reads)"], command);
    let before = ["stty -ixon", "note >before", &debug, "ended=$?"];
    let after = [then, "note >after", "exit $ended"];
    world.file("script", [&[NOTE], &before[..], &after[..]].concat().join("\n"));
    tmux.shell("sh ./script");
}

/// The process of the hit line.
fn matched(tmux: &Tmux<'_>) -> i32 {
    let screen = tmux.shows(&tmux.first, "gdb in here");
    pid_in(screen.lines().find(|line| line.contains(": gdb in here")).unwrap())
}

fn tracer(pid: i32) -> i32 {
    status_of(pid, "TracerPid").map_or(0, |tracer| tracer.parse().unwrap())
}

#[test]
fn the_terminal_is_afterwards_as_before() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    script(&world, &tmux, "./hello; echo got $?; exit 7");
    tmux.gdb(&tmux.first);
    tmux.type_line(&tmux.first, "continue");
    tmux.shows(&tmux.first, "exited with code 03");
    tmux.type_line(&tmux.first, "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("got 3\n"), "{}", ended.screen);
    assert!(tmux.others().is_empty());
    assert_as_before(&world);
    tmux.finish();
}

#[test]
fn ctrl_c_stops_the_program_and_not_the_build() {
    let world = World::new();
    world.fixture("reads", &[]);
    let tmux = Tmux::start(&world);
    let build = "trap 'touch caught' INT; until [ -e go ]; do sleep 0.02; done | ./reads; \
                 echo got $?; exit 5";
    script(&world, &tmux, build);
    let pid = matched(&tmux);
    for _ in 0..2 {
        tmux.gdb(&tmux.first);
        tmux.type_line(&tmux.first, "continue");
        eventually("the program reads", || (state(pid) == Some('S')).then_some(()));
        tmux.press(&tmux.first, "C-c");
        eventually("the program stops", || (state(pid) == Some('t')).then_some(()));
    }
    tmux.gdb(&tmux.first);
    assert!(tmux.screen(&tmux.first).contains("Program received signal SIGINT"));
    fs::write(world.path("go"), "").unwrap();
    tmux.type_line(&tmux.first, "continue");
    tmux.shows(&tmux.first, "exited with code 04");
    tmux.type_line(&tmux.first, "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 5);
    assert!(ended.screen.contains("got 4\n"), "{}", ended.screen);
    assert!(!world.path("caught").exists());
    assert_as_before(&world);
    tmux.finish();
}

#[test]
fn when_gdb_is_killed_the_program_runs_on_and_the_terminal_is_put_right() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    script(&world, &tmux, "./hello; echo got $?; exit 7");
    let pid = matched(&tmux);
    tmux.gdb(&tmux.first);
    signal_process(tracer(pid), libc::SIGKILL);
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("got 3\n"), "{}", ended.screen);
    assert_as_before(&world);
    tmux.finish();
}

/// Kills tracexec while gdb is at its prompt, and waits until gdb and the program have ended.
fn kill_tracexec(tmux: &Tmux<'_>) {
    let pid = matched(tmux);
    tmux.gdb(&tmux.first);
    let gdb = tracer(pid);
    let relay = parent(gdb);
    signal_process(parent(relay), libc::SIGKILL);
    for (what, pid) in [("the relay", relay), ("gdb", gdb), ("the program", pid)] {
        eventually(&format!("the end of {what}"), || is_gone(pid).then_some(()));
    }
}

fn parent(pid: i32) -> i32 {
    status_of(pid, "PPid").unwrap().parse().unwrap()
}

#[test]
fn when_tracexec_is_killed_a_script_finds_the_terminal_as_before() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    let wait = "until [ -e gone ]; do sleep 0.02; done";
    script_then(&world, &tmux, "./hello; echo got $? >>got; exit 7", wait);
    kill_tracexec(&tmux);
    fs::write(world.path("gone"), "").unwrap();
    assert_eq!(tmux.ended().code, 137);
    assert_as_before(&world);
    assert_eq!(built(&world), "got 3\n");
    tmux.finish();
}

/// What a build that outlives tracexec has written.
fn built(world: &World) -> String {
    let read = || fs::read_to_string(world.path("got")).ok().filter(|text| !text.is_empty());
    eventually("the build's end", read)
}

#[test]
fn when_tracexec_is_killed_the_shell_has_its_terminal_back() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.shell("stty -g >before");
    tmux.ended();
    tmux.debug(&["--in", "here", "-m", "basename=hello"], "./hello; echo got $? >>got; exit 7");
    kill_tracexec(&tmux);
    let ended = tmux.ended();
    assert_eq!(ended.code, 137);
    tmux.shell("stty -g >after");
    assert_eq!(tmux.ended().code, 0);
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    assert_eq!(read("before"), read("after"));
    assert_eq!(built(&world), "got 3\n");
    tmux.finish();
}

#[test]
fn when_the_terminal_is_closed_nothing_is_left() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.debug(&["--in", "here", "-m", "basename=hello"], "./hello; exit 7");
    tmux.gdb(&tmux.first);
    tmux.ask(&["kill-server"]);
    nothing_left(&world);
}

#[test]
fn a_shell_under_it_keeps_the_terminal_that_it_takes_back() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    let shell = "PS1='inner> ' exec bash --norc --noprofile -i";
    tmux.debug(&["--in", "here", "-m", "basename=hello"], shell);
    tmux.ends_with(&tmux.first, "inner>");
    tmux.type_line(&tmux.first, "./hello");
    // It sees its job stopped, and takes the terminal.
    let pid = matched(&tmux);
    tmux.shows(&tmux.first, "another program has taken it back");
    eventually("the program's end", || is_gone(pid).then_some(()));
    tmux.type_line(&tmux.first, "echo inner $((1 + 1))");
    tmux.shows(&tmux.first, "inner 2");
    tmux.type_line(&tmux.first, "exit 6");
    assert_eq!(tmux.ended().code, 6);
    tmux.finish();
}

#[test]
fn a_relay_that_is_killed_leaves_the_terminal_as_it_was() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    script(&world, &tmux, "./hello; echo got $?; exit 7");
    tmux.gdb(&tmux.first);
    let relay = crate::support::processes_with("shim-here")
        .into_iter()
        .find(|&pid| {
            let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
            cwd.is_ok_and(|cwd| cwd == world.dir.path())
        })
        .unwrap();
    signal_process(relay, libc::SIGKILL);
    assert_eq!(tmux.ended().code, 7);
    assert_as_before(&world);
    tmux.finish();
}
