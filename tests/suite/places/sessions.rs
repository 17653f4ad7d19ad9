//! `--in tmux:SESSION`, from outside of tmux.

use std::process::Command;

use crate::support::tmux::{Tmux, nothing_left};
use crate::support::user::User;
use crate::support::{World, finish, pid_in, status_of};

const SCRIPT: &str = "./hello; echo got $?; exit 7";

/// Makes the test's server the one that tmux finds by itself, its session `work`.
fn is_the_default(tmux: &Tmux<'_>, world: &World) {
    tmux.ask(&["rename-session", "-t", &tmux.first, "work"]);
    let socket = tmux.value(&tmux.first, "#{socket_path}");
    let folder = std::path::Path::new(&socket).parent().unwrap();
    std::os::unix::fs::symlink("test", folder.join("default")).unwrap();
    assert!(folder.starts_with(world.path("tmux")));
}

#[track_caller]
fn to_the_end(tmux: &Tmux<'_>) {
    let pane = tmux.other_panes(1).remove(0);
    tmux.gdb(&pane);
    assert_eq!(tmux.windows(), 2);
    assert_eq!(tmux.value(&pane, "#{window_active}"), "1", "it is what one sees");
    tmux.type_line(&pane, "continue");
    tmux.shows(&pane, "exited with code 03");
    tmux.type_line(&pane, "quit");
}

#[test]
fn a_session_is_reached_by_its_name_from_outside() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    is_the_default(&tmux, &world);
    let mut command = world.tracexec(["debug", "-m", "basename=hello", "--in", "tmux:work"]);
    command.args(["--", "sh", "-c", SCRIPT]).current_dir(world.dir.path());
    command.env("TMUX_TMPDIR", world.path("tmux"));
    let mut running = world.start(command);
    running.stderr_line(": gdb in tmux");
    to_the_end(&tmux);
    let outcome = finish(running);
    assert_eq!((outcome.code(), &*outcome.out()), (7, "hello\ngot 3\n"), "{}", outcome.stderr);
    tmux.finish();
}

#[test]
fn inside_of_tmux_it_is_a_session_of_the_same_server() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.ask(&["new-session", "-d", "-s", "other", "--", "cat"]);
    tmux.debug(&["-m", "basename=hello", "--in", "tmux:other"], SCRIPT);
    tmux.shows(&tmux.first, ": gdb in tmux");
    let format = "#{session_name} #{pane_id} #{window_name}";
    let panes = tmux.ask(&["list-panes", "-a", "-F", format]);
    let line = panes.lines().find(|line| line.contains("debug-")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], "other");
    tmux.gdb(words[1]);
    tmux.type_line(words[1], "detach");
    tmux.type_line(words[1], "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    tmux.ask(&["kill-session", "-t", "other"]);
    tmux.finish();
}

#[test]
fn under_sudo_it_is_a_session_of_the_user_who_called() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    world.fixture("hello", &[]);
    let tmux = Tmux::start_as(&world, &user);
    is_the_default(&tmux, &world);
    let line = format!(
        "sudo {}; exit $?",
        tmux.debug_line(&["-m", "basename=hello", "--in", "tmux:work"], SCRIPT)
    );
    // As the user, whose shell stays above sudo.
    let mut command = Command::new("setpriv");
    let (uid, gid) = (format!("--reuid={}", user.uid), format!("--regid={}", user.gid));
    command.args([&uid, &gid, "--clear-groups", "bash", "-c", &line]);
    world.prepare(&mut command);
    command.env("TMUX_TMPDIR", world.path("tmux")).current_dir(world.dir.path());
    let mut running = world.start(command);
    let line = running.stderr_line(": gdb in tmux");
    let pane = tmux.other_panes(1).remove(0);
    tmux.gdb(&pane);
    let gdb: i32 = status_of(pid_in(&line), "TracerPid").unwrap().parse().unwrap();
    assert!(status_of(gdb, "Uid").unwrap().starts_with("0\t"));
    to_the_end(&tmux);
    let outcome = finish(running);
    assert_eq!((outcome.code(), &*outcome.out()), (7, "hello\ngot 3\n"), "{}", outcome.stderr);
    tmux.finish();
}

#[test]
fn a_session_that_there_is_not_is_an_error_before_the_command_starts() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    is_the_default(&tmux, &world);
    for (place, expected) in [
        ("tmux:none", "--in tmux:none: can't find session: none"),
        ("tmux:", "no sessions that are chosen by a name"),
        ("xterm:work", "no sessions that are chosen by a name"),
        ("nowhere:work", "there is no such place"),
    ] {
        let mut command = world.tracexec(["debug", "-m", "argc>0", "--in", place, "--", "touch"]);
        command.arg(world.path("started")).env("TMUX_TMPDIR", world.path("tmux"));
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{place}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{place}: {}", outcome.stderr);
        assert!(!world.path("started").exists(), "{place}");
    }
    tmux.finish();
    nothing_left(&world);
}

#[test]
fn gdbs_own_interface_shows_the_source() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.debug(&["-m", "basename=hello", "--debugger", "gdb-tui", "--break", "main"], SCRIPT);
    let pane = tmux.other_panes(1).remove(0);
    let screen = tmux.shows(&pane, "puts(\"hello\");");
    assert!(screen.contains("hello.c") && screen.contains("┌"), "{screen}");
    tmux.type_line(&pane, "detach");
    tmux.shows(&tmux.first, "got 3");
    tmux.type_line(&pane, "quit");
    assert_eq!(tmux.ended().code, 7);
    tmux.finish();
}
