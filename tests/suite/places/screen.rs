//! Windows of a screen session: the one where COMMAND runs, and one of a name.

use std::fs;

use crate::support::screen::{NAME, Screen};
use crate::support::tmux::nothing_left;
use crate::support::user::User;
use crate::support::{BACKEND, TRACEXEC, World, eventually, finish, pid_in, status_of};

/// A script that runs tracexec by these words, and keeps what it says.
fn script(before: &str, tracexec: &str, options: &str) -> String {
    format!(
        "{before} {tracexec} debug --backend {BACKEND} -m basename=hello {options} \
         -- sh -c './hello; echo got $?' >out 2>err; echo $? >status\n"
    )
}

/// Waits for the match; its pid.
#[track_caller]
fn hit(world: &World) -> i32 {
    let line = eventually("a match", || {
        let said = fs::read_to_string(world.path("err")).ok()?;
        said.lines().find(|line| line.ends_with(": gdb in screen")).map(str::to_string)
    });
    pid_in(&line)
}

/// In gdb's window the program is brought to its end.
#[track_caller]
fn to_the_end(screen: &Screen<'_>, pid: i32) {
    let window = format!("debug-{pid}");
    screen.shows(&window, "(gdb)");
    screen.type_line(&window, "continue");
    screen.shows(&window, "exited with code 03");
    screen.type_line(&window, "quit");
}

#[test]
fn auto_opens_a_window_of_the_screen_that_it_is_in() {
    let world = World::new();
    world.fixture("hello", &[]);
    let screen = Screen::start(&world, None, &script("", TRACEXEC, ""));
    to_the_end(&screen, hit(&world));
    let status = eventually("the end", || fs::read_to_string(world.path("status")).ok());
    assert_eq!(status, "0\n");
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "hello\ngot 3\n");
    nothing_left(&world);
}

#[test]
fn a_screen_is_reached_by_its_name_from_outside() {
    let world = World::new();
    world.fixture("hello", &[]);
    let screen = Screen::start(&world, None, "until [ -e done ]; do sleep 0.05; done\n");
    let place = format!("screen:{NAME}");
    let mut command = world.tracexec(["debug", "-m", "basename=hello", "--in", &place, "--", "sh"]);
    command.args(["-c", "./hello; echo got $?"]);
    screen.environment(&mut command);
    let mut running = world.start(command);
    let line = running.stderr_line(": gdb in screen");
    to_the_end(&screen, pid_in(&line));
    let outcome = finish(running);
    assert_eq!((outcome.code(), &*outcome.out()), (0, "hello\ngot 3\n"), "{}", outcome.stderr);
    fs::write(world.path("done"), "").unwrap();
    nothing_left(&world);
}

#[test]
fn under_sudo_it_is_a_window_of_the_users_screen_with_roots_gdb() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    world.fixture("hello", &[]);
    let tracexec = world.path("tracexec");
    fs::copy(TRACEXEC, &tracexec).unwrap();
    let script = script("sudo", tracexec.to_str().unwrap(), "");
    let screen = Screen::start(&world, Some(&user), &script);
    let pid = hit(&world);
    screen.shows(&format!("debug-{pid}"), "(gdb)");
    let gdb: i32 = status_of(pid, "TracerPid").unwrap().parse().unwrap();
    assert!(status_of(gdb, "Uid").unwrap().starts_with("0\t"));
    to_the_end(&screen, pid);
    let status = eventually("the end", || fs::read_to_string(world.path("status")).ok());
    assert_eq!(status, "0\n");
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "hello\ngot 3\n");
    nothing_left(&world);
}

#[test]
fn a_screen_that_there_is_not_is_an_error_before_the_command_starts() {
    let world = World::new();
    let screen = Screen::start(&world, None, "until [ -e done ]; do sleep 0.05; done\n");
    let mut command = world.tracexec(["debug", "-m", "argc>0", "--in", "screen:none", "--"]);
    command.arg("touch").arg(world.path("started"));
    screen.environment(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("--in screen:none: "), "{}", outcome.stderr);
    assert!(!world.path("started").exists());
    fs::write(world.path("done"), "").unwrap();
    nothing_left(&world);
}
