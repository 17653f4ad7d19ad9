//! Places that are windows: the real terminals, on a display in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::display::{Display, Wayland};
use crate::support::typed::{Growing, nothing_is_left_of};
use crate::support::{Running, World, eventually, pid_in, signal_process, state, status_of};

/// tracexec with a place, beside a program that says hello; it is to be run in this world's folder.
fn debug(world: &World, wrapper: &[&str], options: &[&str]) -> Command {
    world.fixture("hello", &[]);
    let mut command = Command::new(wrapper.first().unwrap_or(&crate::support::TRACEXEC));
    if let Some(rest) = wrapper.get(1..) {
        command.args(rest).arg(crate::support::TRACEXEC);
    }
    world.prepare(&mut command);
    // What terminals keep for the next time is the test's.
    command.env("HOME", world.dir.path()).env("XDG_CACHE_HOME", world.path("cache"));
    command.env("NO_AT_BRIDGE", "1").env("LIBGL_ALWAYS_SOFTWARE", "1").env_remove("TERM");
    fs::set_permissions(world.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    command
        .args(["debug", "-v", "--backend", crate::support::BACKEND, "-m", "basename=hello"])
        .args(options);
    command.args(["--", "sh", "-c", "./hello a; echo got $?"]).current_dir(world.dir.path());
    command
}

/// The names of a process and its ancestors.
fn line_of(mut pid: i32) -> Vec<String> {
    let mut names = Vec::new();
    while pid > 1 {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        names.push(name.trim().to_string());
        pid = status_of(pid, "PPid").and_then(|pid| pid.parse().ok()).unwrap_or(0);
    }
    names
}

/// The debugger of the match that this line tells of.
#[track_caller]
fn debugger_of(line: &str) -> (i32, i32) {
    let pid = pid_in(line);
    let tracer = || status_of(pid, "TracerPid")?.parse().ok().filter(|&tracer: &i32| tracer != 0);
    (pid, eventually("a debugger", tracer))
}

/// gdb is in a window of `program`, in our folder, on a terminal of its own; when it has been closed the
/// program runs on.
#[track_caller]
fn is_in_a_window(world: &World, command: Command, place: &str, program: &str) {
    let mut running: Running = world.start(command);
    let mut stderr = Growing::new(running.child().stderr.take().unwrap());
    let mut stdout = Growing::new(running.child().stdout.take().unwrap());
    let line = stderr.wait_for(&format!(": gdb in {place}\n"));
    let (pid, gdb) = debugger_of(line.lines().last().unwrap());
    stderr.wait_for("is in the debugger's hands");
    let names = line_of(gdb);
    assert_eq!(names[0], "gdb", "{names:?}");
    assert!(names[1..].iter().any(|name| name.starts_with(program)), "{place}: {names:?}");
    let input = fs::read_link(format!("/proc/{gdb}/fd/0")).unwrap();
    assert!(input.starts_with("/dev/pts/"), "{place}: {input:?}");
    let cwd = fs::read_link(format!("/proc/{gdb}/cwd")).unwrap();
    assert_eq!(cwd, fs::canonicalize(world.dir.path()).unwrap(), "{place}");
    eventually("the stop in the debugger", || (state(pid) == Some('t')).then_some(()));
    // Its window is closed: the terminal that it sees hangs up.
    signal_process(gdb, libc::SIGHUP);
    stdout.wait_for("a\nhello\ngot 3\n");
    let status = eventually("tracexec's end", || running.child().try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{place}: {}", stderr.all());
    assert!(!stderr.all().contains("warning"), "{place}: {}", stderr.all());
    nothing_is_left_of(world);
}

#[test]
fn each_terminal_of_x11_opens_a_window_with_the_debugger() {
    for (place, program) in [
        ("xterm", "xterm"),
        ("alacritty", "alacritty"),
        ("kitty-window", "kitty"),
        ("konsole", "konsole"),
    ] {
        let world = World::new();
        let display = Display::start();
        let mut command = debug(&world, &[], &["--in", place]);
        command.env("DISPLAY", display.name());
        is_in_a_window(&world, command, place, program);
    }
}

#[test]
fn gnome_terminal_opens_a_window_with_the_debugger() {
    let world = World::new();
    let display = Display::start();
    for place in ["gnome-terminal", "x-terminal-emulator"] {
        if place != "gnome-terminal" {
            // Debian's choice is the machine's affair; the wrapper is what it is for gnome-terminal.
            crate::support::compile::call_it(&world, place, "gnome-terminal.wrapper");
        }
        let mut command = debug(&world, &["dbus-run-session", "--"], &["--in", place]);
        command.env("DISPLAY", display.name());
        is_in_a_window(&world, command, place, "gnome-terminal");
    }
}

#[test]
fn foot_opens_a_window_with_the_debugger() {
    let world = World::new();
    let display = Display::start();
    let wayland = Wayland::start(&display);
    let mut command = debug(&world, &[], &["--in", "foot"]);
    command.env("XDG_RUNTIME_DIR", wayland.runtime()).env("WAYLAND_DISPLAY", wayland.name());
    is_in_a_window(&world, command, "foot", "foot");
}

#[test]
fn auto_takes_the_terminal_that_it_is_in() {
    for (inside, place) in [
        (&["xterm", "-e"][..], "xterm"),
        (&["alacritty", "-e"], "alacritty"),
        (&["kitty", "--"], "kitty-window"),
        (&["kitty", "-o", "allow_remote_control=yes", "--listen-on=unix:@SOCKET", "--"], "kitty"),
        (&["konsole", "--nofork", "-e"], "konsole"),
    ] {
        let world = World::new();
        let display = Display::start();
        // Of a kitty of this test.
        let socket = world.dir.path().file_name().unwrap().to_str().unwrap();
        let inside: Vec<String> =
            inside.iter().map(|word| word.replace("SOCKET", socket)).collect();
        let run = debug(&world, &[], &["--in", "auto", "--ex", "detach", "--ex", "quit"]);
        let words: Vec<String> = std::iter::once(run.get_program())
            .chain(run.get_args())
            .map(|word| shell_words::quote(word.to_str().unwrap()).into_owned())
            .collect();
        let script = world.file("script", format!("exec {} >out 2>err\n", words.join(" ")));
        let mut command = Command::new(&inside[0]);
        command.args(&inside[1..]).arg("sh").arg(script);
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(world.dir.path()).env("DISPLAY", display.name()).stdin(Stdio::null());
        let window = world.start(command);
        let out = eventually(place, || {
            let out = fs::read_to_string(world.path("out")).ok()?;
            out.contains("got").then_some(out)
        });
        let err = fs::read_to_string(world.path("err")).unwrap();
        assert_eq!(out, "a\nhello\ngot 3\n", "{err}");
        assert!(err.contains(&format!(": gdb in {place}\n")), "{place}: {err}");
        drop(window);
        nothing_is_left_of(&world);
    }
}

#[test]
fn where_a_window_cannot_open_the_program_runs_on_and_the_reason_is_told() {
    let world = World::new();
    let mut command = debug(&world, &[], &["--in", "xterm"]);
    command.env("DISPLAY", ":9999");
    let outcome = crate::support::finish(world.start(command));
    assert!(outcome.stderr.contains("cannot open the place xterm: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Can't open display"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "a\nhello\ngot 3\n");
    nothing_is_left_of(&world);
}

/// What `tracexec doctor` says that auto takes, in a session without a terminal.
#[track_caller]
fn auto_by(world: &World, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("setsid");
    command.args(["--wait", crate::support::TRACEXEC, "doctor"]);
    world.prepare(&mut command);
    command.env_remove("TERM").envs(variables.iter().copied());
    let table = crate::support::finish(world.start(command)).out();
    let last = table.lines().last().unwrap_or_default().to_string();
    match last.split_once("`--in auto` takes ") {
        Some((_, place)) => place.split([',', ' ']).next().unwrap().trim().to_string(),
        None => String::new(),
    }
}

#[test]
fn variables_tell_auto_where_it_is_multiplexers_first() {
    let world = World::new();
    let x = ("DISPLAY", ":9999");
    let in_tmux = [("TMUX", "/none,1,0"), ("TMUX_PANE", "%0")];
    for (variables, place) in [
        ([&in_tmux[..], &[x, ("KITTY_WINDOW_ID", "1")]].concat(), "tmux"),
        (vec![x, ("STY", "1.x"), ("XTERM_VERSION", "1")], "screen"),
        (vec![x, ("XTERM_VERSION", "1")], "xterm"),
        (vec![x, ("KITTY_WINDOW_ID", "1"), ("XTERM_VERSION", "1")], "kitty-window"),
        (vec![x, ("GNOME_TERMINAL_SCREEN", "/x"), ("VTE_VERSION", "1")], "gnome-terminal"),
        (vec![x, ("KONSOLE_VERSION", "1")], "konsole"),
        (vec![x, ("ALACRITTY_WINDOW_ID", "1")], "alacritty"),
        (vec![("WAYLAND_DISPLAY", "x"), ("TERM", "foot")], "foot"),
        // Somewhere else than the window that the variable is of.
        (vec![("XTERM_VERSION", "1")], ""),
        (vec![("TERM", "foot")], ""),
        // No terminal at all.
        (vec![x], "x-terminal-emulator"),
    ] {
        assert_eq!(auto_by(&world, &variables), place, "{variables:?}");
    }
}

#[test]
fn a_terminal_that_was_not_tried_says_so() {
    let world = World::new();
    let listed = world.run(["templates"]).out();
    let line = |name: &str| {
        let start = format!("  {name} ");
        listed.lines().find(|line| line.starts_with(&start)).unwrap().to_string()
    };
    for name in ["zellij", "wezterm"] {
        assert!(line(name).contains("not tried"), "{listed}");
    }
    for name in ["screen", "xterm", "kitty", "foot"] {
        assert!(!line(name).contains("not tried"), "{listed}");
    }
}
