//! tracexec and its socket in folders whose names terminals would expand.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::display::Display;
use crate::support::screen::Screen;
use crate::support::tmux::{Tmux, nothing_left};
use crate::support::{BACKEND, World, eventually, finish};

/// Variables, escapes of screen and tmux, formats, quotes, ends of commands.
const FOLDER: &str = "$HOME ${PWD}^A#{pid}#(touch owned) `touch owned`\\x\"'%;";

#[test]
fn no_terminal_expands_anything_in_them() {
    let world = World::new();
    world.fixture("hello", &[]);
    let folder = world.path(FOLDER);
    fs::create_dir(&folder).unwrap();
    let tracexec = folder.join("tracexec");
    fs::copy(crate::support::TRACEXEC, &tracexec).unwrap();
    let runtime = folder.join("run;");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    let display = Display::start();
    let tmux = Tmux::start(&world);
    let screen = Screen::start(&world, None, "until [ -e done ]; do sleep 0.05; done\n");
    for place in ["tmux", "tmux-window", "screen:work", "xterm", "konsole", "here", "background"] {
        // A terminal of its own for `here`.
        let mut command = std::process::Command::new("setsid");
        command.args(["--wait", "script", "-qec"]);
        let words = [
            tracexec.to_str().unwrap(),
            "debug",
            "--backend",
            BACKEND,
            "-m",
            "basename=hello",
            "--in",
            place,
            "--ex",
            "shell pwd >cwd",
            "--ex",
            "detach",
            "--ex",
            "quit",
            "--",
            "sh",
            "-c",
            "../hello; echo got $?",
        ];
        command.arg(shell_words::join(words)).arg("/dev/null");
        world.prepare(&mut command);
        screen.environment(&mut command);
        tmux.pretend(&mut command);
        command.env("DISPLAY", display.name()).env("XDG_RUNTIME_DIR", &runtime);
        command.env("SHELL", "/bin/sh").current_dir(&folder);
        let outcome = finish(world.start(command));
        let said = outcome.out();
        assert!(said.contains("got 3"), "{place}: {said}");
        assert!(!said.contains("warning"), "{place}: {said}");
        let cwd = fs::read_to_string(folder.join("cwd")).unwrap();
        assert_eq!(cwd.trim_end_matches('\n'), folder.to_str().unwrap(), "{place}");
        fs::remove_file(folder.join("cwd")).unwrap();
        assert!(!folder.join("owned").exists() && !world.path("owned").exists(), "{place}");
    }
    fs::write(world.path("done"), "").unwrap();
    eventually("screen's end", || {
        let left = fs::read_dir(world.path("screen")).unwrap().count();
        (left == 0).then_some(())
    });
    tmux.finish();
    nothing_left(&world);
}
