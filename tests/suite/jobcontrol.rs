//! Job control under `tracexec debug`: what the keyboard's signals and a shell's own do there is what
//! they do without it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::tmux::{Tmux, nothing_left, processes_of};
use crate::support::{World, eventually, feed, finish, is_gone, state, status_of};

const NOTHING: [&str; 2] = ["-m", "basename=nothing"];
/// The same where there is no terminal.
const UNSEEN: [&str; 4] = ["-m", "basename=nothing", "--in", "background"];

fn parent(pid: i32) -> i32 {
    status_of(pid, "PPid").unwrap().parse().unwrap()
}

/// The foreground process group of the terminal of a process.
fn foreground(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(5).unwrap().parse().unwrap()
}

/// Waits for this world's sleep of so many seconds to be what the keyboard's signals go to.
fn sleeper(world: &World, seconds: &str) -> i32 {
    let line = format!("sleep\0{seconds}\0");
    eventually("the sleep in the foreground", || {
        let is_it = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|have| have == line)
        };
        let pid = processes_of(world.dir.path()).into_iter().find(is_it)?;
        let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).ok()?;
        (foreground(pid) == group.as_raw() && !stopped(pid)).then_some(pid)
    })
}

/// A tracee's group-stop is shown as a small `t`.
fn stopped(pid: i32) -> bool {
    matches!(state(pid), Some('T' | 't'))
}

#[track_caller]
fn becomes_stopped(pid: i32) {
    eventually("the stop", || stopped(pid).then_some(()));
}

#[track_caller]
fn ends(pid: i32) {
    eventually("the end", || is_gone(pid).then_some(()));
}

#[test]
fn an_interactive_shell_under_it_has_its_jobs() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    tmux.debug(&NOTHING, "PS1='inner> ' exec bash --norc --noprofile -i");
    let pane = &tmux.first;
    tmux.ends_with(pane, "\ninner>");

    // Ctrl-C ends the job and not the shell.
    tmux.type_line(pane, "sleep 100201");
    let killed = sleeper(&world, "100201");
    let inner = parent(killed);
    tmux.press(pane, "C-c");
    ends(killed);
    tmux.type_line(pane, "echo after ctrl-c: $?");
    tmux.shows(pane, "\nafter ctrl-c: 130");

    // Ctrl-Z, jobs, bg, fg.
    tmux.type_line(pane, "sleep 100202");
    let job = sleeper(&world, "100202");
    tmux.press(pane, "C-z");
    becomes_stopped(job);
    tmux.type_line(pane, "echo after ctrl-z: $?; jobs >jobs");
    tmux.shows(pane, "\nafter ctrl-z: 148");
    let listed = eventually("the list of jobs", || {
        fs::read_to_string(world.path("jobs")).ok().filter(|list| list.ends_with('\n'))
    });
    assert!(listed.contains("Stopped") && listed.contains("sleep 100202"), "{listed}");
    tmux.type_line(pane, "bg");
    eventually("the job in the background", || (!stopped(job)).then_some(()));
    eventually("the shell in the foreground", || (foreground(inner) == inner).then_some(()));
    tmux.type_line(pane, "fg");
    assert_eq!(sleeper(&world, "100202"), job);
    tmux.press(pane, "C-z");
    becomes_stopped(job);
    tmux.type_line(pane, "fg");
    assert_eq!(sleeper(&world, "100202"), job);
    tmux.press(pane, "C-c");
    ends(job);

    tmux.type_line(pane, "yes | head -n 2; echo piped: ${PIPESTATUS[*]}");
    tmux.shows(pane, "\ny\ny\npiped: 141 0");
    tmux.type_line(pane, "exit 6");
    let ended = tmux.ended();
    assert_eq!(ended.code, 6);
    assert!(ended.screen.contains("nothing matched"), "{}", ended.screen);
    tmux.finish();
}

#[test]
fn a_program_that_stops_itself_is_stopped_until_it_is_continued() {
    let world = World::new();
    let program = world.fixture("stops", &[]);
    let mut command = world.tracexec([&["debug"], &UNSEEN[..], &["--"]].concat());
    command.arg(&program).stdin(Stdio::piped());
    let mut running = world.start(command);
    let mut said = BufReader::new(running.child().stdout.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let (child, seen) = line.split_once(' ').unwrap();
    assert_eq!(seen, "stopped 1 by SIGSTOP 1");
    assert!(stopped(child.parse().unwrap()));
    feed(&mut running, b"\n");
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(rest, ["continued 1", "exited 1 with 3"]);
    let outcome = finish(running);
    assert_eq!(outcome.code(), 5, "{}", outcome.stderr);
    nothing_left(&world);
}

#[test]
fn ctrl_z_stops_all_of_it_and_fg_sets_it_going() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    tmux.debug(
        &NOTHING,
        "sleep 100203; echo slept $?; until [ -e go ]; do sleep 0.02; done; exit 4",
    );
    let pane = &tmux.first;
    for _ in 0..2 {
        let sleep = sleeper(&world, "100203");
        let tracexec = parent(parent(sleep));
        tmux.press(pane, "C-z");
        becomes_stopped(sleep);
        eventually("tracexec's stop", || (state(tracexec) == Some('T')).then_some(()));
        tmux.type_line(pane, "fg");
        assert_eq!(sleeper(&world, "100203"), sleep);
        eventually("tracexec's going on", || (state(tracexec) == Some('S')).then_some(()));
    }
    crate::support::signal_process(sleeper(&world, "100203"), libc::SIGTERM);
    tmux.shows(pane, "slept 143");
    fs::write(world.path("go"), "").unwrap();
    tmux.shows(pane, "nothing matched");
    // The shell forgets the rest of a line that was stopped.
    tmux.shell("(exit $?)");
    assert_eq!(tmux.ended().code, 4);
    tmux.finish();
}

#[test]
fn ctrl_c_ends_the_command_and_is_its_status() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    tmux.debug(&NOTHING, "exec sleep 100204");
    let sleep = sleeper(&world, "100204");
    tmux.press(&tmux.first, "C-c");
    ends(sleep);
    assert_eq!(tmux.ended().code, 130);
    tmux.finish();
}

#[test]
fn a_command_that_survives_ctrl_c_is_waited_for() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    tmux.debug(&NOTHING, "trap 'echo caught' INT; sleep 100205; echo slept $?; exit 4");
    let sleep = sleeper(&world, "100205");
    tmux.press(&tmux.first, "C-c");
    ends(sleep);
    let ended = tmux.ended();
    assert_eq!(ended.code, 4, "{}", ended.screen);
    assert!(ended.screen.contains("caught\nslept 130\n"), "{}", ended.screen);
    tmux.finish();
}

#[test]
fn a_pipe_whose_reader_leaves_ends_its_writer() {
    let world = World::new();
    let outcome = world.debug_sh(&UNSEEN, "yes | head -n 3; exit 4");
    assert_eq!((outcome.code(), &*outcome.out()), (4, "y\ny\ny\n"));
    let statuses = "yes | head -n 1 >/dev/null; echo ${PIPESTATUS[*]}";
    let args = [&["debug"], &UNSEEN[..], &["--", "bash", "-c", statuses]].concat();
    assert_eq!(world.run(args).out(), "141 0\n");
    nothing_left(&world);
}
