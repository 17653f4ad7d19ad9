//! A debugger that could not be started or does not attach, and `--on-launch-failure`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::tmux::{Tmux, nothing_left};
use crate::support::{Running, World, eventually, finish, state};

/// Both values of --on-launch-failure.
const BOTH: [&str; 2] = ["resume", "hold"];

/// A world with programs in it that are no debuggers.
fn world() -> World {
    let world = World::new();
    world.fixture("hello", &[]);
    for (name, does) in [("leaves", "exit 9"), ("dawdles", "exec sleep 600")] {
        let path = world.file(name, format!("#!/bin/sh\n{does}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world
}

/// COMMAND says that it has begun, and comes to the match when it may go on.
fn debug(world: &World, on_failure: &str, options: &[&str]) -> Command {
    let script = "touch begun; until [ -e go ]; do sleep 0.02; done; \
                  ./hello; echo got $?; exit 7";
    let first = ["debug", "-m", "basename=hello", "--on-launch-failure", on_failure];
    let mut command = world.tracexec([&first[..], options].concat());
    command.args(["--", "sh", "-c", script]).current_dir(world.dir.path());
    command
}

/// Lets COMMAND go on; the match gets no debugger, and why is said.
#[track_caller]
fn fails(world: &World, on_failure: &str, mut running: Running, why: &str) {
    fs::write(world.path("go"), "").unwrap();
    let said = running.stderr_line("warning: ");
    assert!(said.contains(why), "{said}");
    assert_eq!(said.contains("; it runs on"), on_failure == "resume", "{said}");
    if on_failure == "hold" {
        let line = running.stderr_line("let it run on with: tracexec release ");
        let pid = line.rsplit(' ').next().unwrap();
        // On its way there it runs in the kernel.
        let stopped = || (state(pid.parse().unwrap()) == Some('T')).then_some(());
        eventually("the stop", stopped);
        let held = world.run(["ps"]).out();
        assert!(held.contains(&format!("{pid} parked")), "{held}");
        assert_eq!(world.run(["release", pid]).code(), 0);
    }
    let outcome = finish(running);
    assert_eq!((outcome.code(), &*outcome.out()), (7, "hello\ngot 3\n"), "{}", outcome.stderr);
    nothing_left(world);
}

#[test]
fn tmux_has_gone_meanwhile() {
    for on_failure in BOTH {
        let world = world();
        let tmux = Tmux::start(&world);
        let mut command = debug(&world, on_failure, &["--in", "tmux"]);
        tmux.pretend(&mut command);
        let running = world.start(command);
        eventually("the command's begin", || world.path("begun").exists().then_some(()));
        tmux.ask(&["kill-server"]);
        // There is no window where there was no room for a pane, either.
        fails(&world, on_failure, running, "cannot open the place tmux-window: ");
    }
}

#[test]
fn the_terminals_command_fails() {
    for on_failure in BOTH {
        let world = world();
        let templates = world.path("config/tracexec/launch-templates/terminals");
        fs::create_dir_all(&templates).unwrap();
        let refuses = "sh -c 'echo no display >&2; exit 3' {{shim}}";
        let text = format!("name='refuses'\ndescription='fails'\ncommand=\"{refuses}\"\n");
        fs::write(templates.join("refuses.toml"), text).unwrap();
        let running = world.start(debug(&world, on_failure, &["--in", "refuses"]));
        fails(&world, on_failure, running, "cannot open the place refuses: no display");
    }
}

fn own(world: &World, name: &str) -> String {
    format!("{} {{{{pid}}}}", world.path(name).display())
}

#[test]
fn the_debugger_ends_at_once_without_having_attached() {
    for on_failure in BOTH {
        let world = world();
        let debugger = own(&world, "leaves");
        let options = ["--in", "background", "--debugger", &debugger];
        let running = world.start(debug(&world, on_failure, &options));
        fails(&world, on_failure, running, "it ended without having attached");
    }
}

#[test]
fn the_debugger_in_the_background_has_not_attached_in_time() {
    for on_failure in BOTH {
        let world = world();
        let debugger = own(&world, "dawdles");
        let options = ["--in", "background", "--attach-timeout", "300ms", "--debugger", &debugger];
        let running = world.start(debug(&world, on_failure, &options));
        fails(&world, on_failure, running, "it has not attached");
    }
}

#[test]
fn the_debugger_in_a_pane_has_not_attached_in_time() {
    for on_failure in BOTH {
        let world = world();
        let tmux = Tmux::start(&world);
        let debugger = own(&world, "dawdles");
        let options = ["--in", "tmux", "--attach-timeout", "300ms", "--debugger", &debugger];
        let mut command = debug(&world, on_failure, &options);
        tmux.pretend(&mut command);
        let mut running = world.start(command);
        fs::write(world.path("go"), "").unwrap();
        running.stderr_line("it has not attached");
        // The pane stays: somebody may want to read what the debugger has said.
        let pane = &tmux.other_panes(1)[0];
        if on_failure == "hold" {
            assert_eq!(world.run(["release", "--all"]).code(), 0);
        }
        let outcome = finish(running);
        assert_eq!((outcome.code(), &*outcome.out()), (7, "hello\ngot 3\n"), "{}", outcome.stderr);
        tmux.ask(&["kill-pane", "-t", pane]);
        tmux.finish();
    }
}

#[test]
fn here_the_terminal_comes_back_from_a_debugger_that_does_not_attach() {
    let world = world();
    let tmux = Tmux::start(&world);
    let debugger = own(&world, "dawdles");
    let options = [
        "-m",
        "basename=hello",
        "--in",
        "here",
        "--attach-timeout",
        "300ms",
        "--debugger",
        &debugger,
    ];
    tmux.debug(&options, "./hello; echo got $?; exit 7");
    tmux.shows(&tmux.first, "it has not attached");
    tmux.shows(&tmux.first, "got 3");
    tmux.press(&tmux.first, "C-c");
    assert_eq!(tmux.ended().code, 7);
    tmux.finish();
}

#[test]
fn without_a_terminal_auto_is_an_error_before_the_command_starts() {
    let world = World::new();
    let begun = world.path("begun");
    let mut command = Command::new("setsid");
    command.args([
        "--wait",
        crate::support::TRACEXEC,
        "debug",
        "-m",
        "basename=hello",
        "--in",
        "auto",
    ]);
    command.args(["--", "touch"]).arg(&begun);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("error: there is no terminal here"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("choose --in background"), "{}", outcome.stderr);
    assert!(!begun.exists());
}

#[test]
fn a_terminals_command_that_leaves_a_process_with_its_standard_error_is_not_waited_for() {
    let world = world();
    let templates = world.path("config/tracexec/launch-templates/terminals");
    fs::create_dir_all(&templates).unwrap();
    // It stays as long as the session does.
    let stays = "while kill -0 $PPID; do sleep 0.02; done";
    let leaves = format!("sh -c '{stays} & echo no display >&2; exit 3' {{{{shim}}}}");
    let text = format!("name='leaves'\ndescription='fails'\ncommand=\"{leaves}\"\n");
    fs::write(templates.join("leaves.toml"), text).unwrap();
    let running = world.start(debug(&world, "resume", &["--in", "leaves"]));
    fails(&world, "resume", running, "cannot open the place leaves: no display");
}
