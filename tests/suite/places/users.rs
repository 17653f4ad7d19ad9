//! Users who are not root, and the one who calls root by sudo.

use crate::support::tmux::Tmux;
use crate::support::user::User;
use crate::support::{World, pid_in, status_of};

const OPTIONS: [&str; 4] = ["--in", "auto", "-m", "basename=hello"];
const SCRIPT: &str = "./hello; echo got $?; exit 7";

/// The user ids under which the match and its debugger run.
fn users(tmux: &Tmux<'_>) -> [String; 2] {
    let screen = tmux.shows(&tmux.first, ": gdb in tmux");
    let pid = pid_in(screen.lines().find(|line| line.contains(": gdb in tmux")).unwrap());
    let gdb = status_of(pid, "TracerPid").unwrap().parse().unwrap();
    let user = |pid| status_of(pid, "Uid").unwrap().split_whitespace().next().unwrap().to_string();
    [user(pid), user(gdb)]
}

#[test]
fn an_ordinary_user_has_a_pane_too() {
    let (user, world) = (User::new(), World::new());
    world.fixture("hello", &[]);
    let tmux = Tmux::start_as(&world, &user);
    tmux.debug(&OPTIONS, SCRIPT);
    let pane = &tmux.other_panes(1)[0];
    tmux.gdb(pane);
    let uid = user.uid.to_string();
    assert_eq!(users(&tmux), [uid.clone(), uid]);
    tmux.type_line(pane, "continue");
    tmux.shows(pane, "exited with code 03");
    tmux.type_line(pane, "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("got 3\n"), "{}", ended.screen);
    tmux.finish();
}

/// Runs it by sudo in the user's tmux, up to gdb's prompt; gdb's pane.
fn by_sudo(tmux: &Tmux<'_>) -> String {
    tmux.shell(&format!("sudo {}", tmux.debug_line(&OPTIONS, SCRIPT)));
    let pane = tmux.other_panes(1).remove(0);
    tmux.gdb(&pane);
    assert_eq!(users(tmux), ["0", "0"]);
    pane
}

#[test]
fn roots_gdb_stands_in_the_pane_of_the_user_who_called_sudo() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    world.fixture("hello", &[]);
    let tmux = Tmux::start_as(&world, &user);
    let pane = by_sudo(&tmux);
    tmux.type_line(&pane, "continue");
    tmux.shows(&pane, "exited with code 03");
    tmux.type_line(&pane, "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("got 3\n"), "{}", ended.screen);
    tmux.other_panes(0);
    tmux.finish();
}

#[test]
fn under_sudo_a_pane_that_is_closed_lets_the_program_run_on() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    world.fixture("hello", &[]);
    let tmux = Tmux::start_as(&world, &user);
    let pane = by_sudo(&tmux);
    tmux.ask(&["kill-pane", "-t", &pane]);
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("got 3\n"), "{}", ended.screen);
    tmux.finish();
}
