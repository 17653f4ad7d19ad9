//! Trees that are hard to follow: daemons, pids that come again, processes that die at any moment, and
//! those whose privileges depend on who traces them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::support::{
    BACKEND, World, eventually, finish, is_gone, pid_in, signal_process, state, status_of,
};

/// nobody's user id.
const NOBODY: u32 = 65534;

#[test]
fn a_daemon_keeps_its_place_in_the_tree_after_its_parent_s_death() {
    let world = World::new();
    let (daemonize, hello) = (world.fixture("daemonize", &[]), world.fixture("hello", &[]));
    let filter = "basename=hello and depth=2 and parent.basename=daemonize and parent.depth=1 and \
                  parent.argv[1]=wait and ancestor.depth=0";
    let mut command = world.tracexec(["debug", "--hold", "-m", filter, "--"]);
    command.arg(&daemonize).arg("wait").arg(&hello);
    let mut session = world.start(command);
    let pid = pid_in(&session.stderr_line(": held"));
    // Its parent of now is none of ours.
    let parent = status_of(pid, "PPid").unwrap();
    assert_ne!(status_of(parent.parse().unwrap(), "Name").unwrap(), "daemonize");
    assert_eq!(world.run(["release", "--all"]).out(), format!("released {pid}\n"));
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (5, "hello\n"), "{}", outcome.stderr);
}

#[test]
fn processes_that_die_while_they_are_looked_at_are_accounted_for() {
    let world = World::new();
    let mortal = world.fixture("mortal", &[]);
    let mortal = mortal.to_str().unwrap();
    // All there is to read of a process, and nothing that decides early.
    let looks = "basename=true and argv!=x and env[NONE]!=x and cwd!=/x and exe!=/x and fd[*]!=x and \
                 uid!=99 and comm!=x and ppid!=0 and depth=1 and not interpreter";
    for what in ["--list", "--hold"] {
        let args = ["debug", what, "-m", looks, "--", mortal, "150", "/bin/true"];
        let outcome = world.run(args);
        let expected = (0, "150 accounted for\n");
        assert_eq!(
            (outcome.code(), outcome.out().as_str()),
            expected,
            "{what}: {}",
            outcome.stderr
        );
    }
}

/// Two matches of which the first is held and the second waits, their pids in that order.
struct Queue {
    world: World,
    session: crate::support::Running,
    held: i32,
    waiting: i32,
}

impl Queue {
    fn new() -> Queue {
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let script = format!(
            "'{0}' & A=$!; '{0}' & B=$!; wait $A; echo $A: $?; wait $B; echo $B: $?",
            hello.display()
        );
        let args = ["debug", "--hold", "--sessions", "1", "-m", "basename=hello", "--"];
        let mut command = world.tracexec(args);
        command.args(["sh", "-c", &script]);
        let mut session = world.start(command);
        let held = pid_in(&session.stderr_line(": held"));
        let waiting = eventually("a second match", || {
            let shown = world.run(["ps"]).out();
            let line = shown.lines().find(|line| line.contains(" waiting "))?;
            line.split_whitespace().next()?.parse().ok()
        });
        Queue { world, session, held, waiting }
    }
}

#[test]
fn matches_that_are_killed_while_they_are_parked_or_wait_end_as_killed() {
    let Queue { session, held, waiting, .. } = Queue::new();
    eventually("the parked one's stop", || (state(held) == Some('T')).then_some(()));
    eventually("the other one waiting", || {
        (state(waiting)? == crate::support::WAITING).then_some(())
    });
    let tracer = status_of(waiting, "TracerPid").unwrap();
    let ours = fs::exists(format!("/proc/{}/task/{tracer}", session.pid())).unwrap();
    assert!(if BACKEND == "ptrace" { ours } else { tracer == "0" }, "{tracer}");
    signal_process(waiting, libc::SIGKILL);
    eventually("the waiting one's end", || is_gone(waiting).then_some(()));
    signal_process(held, libc::SIGKILL);
    let outcome = finish(session);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for pid in [held, waiting] {
        assert!(outcome.out().contains(&format!("{pid}: 137\n")), "{}", outcome.out());
    }
}

#[test]
fn a_waiting_match_that_a_signal_is_about_to_end_is_not_handed_over() {
    let Queue { world, session, held, waiting } = Queue::new();
    signal_process(waiting, libc::SIGTERM);
    assert_eq!(world.run(["release", &held.to_string()]).out(), format!("released {held}\n"));
    let outcome = finish(session);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.out().contains(&format!("{held}: 3\n")), "{}", outcome.out());
    assert!(outcome.out().contains(&format!("{waiting}: 143\n")), "{}", outcome.out());
    assert!(outcome.stderr.contains("about to die of signal 15"), "{}", outcome.stderr);
}

#[test]
fn a_match_with_a_fatal_signal_pending_is_let_go_and_gets_no_debugger() {
    let world = World::new();
    let (pending, hello) = (world.fixture("pending", &[]), world.fixture("hello", &[]));
    let marker = world.path("started");
    let debugger = format!("touch '{}' {{{{pid}}}}", marker.display());
    for how in [&["--hold"][..], &["--debugger", &debugger, "--in", "background"]] {
        let mut command = world.tracexec(["debug", "-m", "basename=hello"]);
        command.args(how).arg("--").arg(&pending).arg(&hello);
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), outcome.out().as_str()), (143, ""), "{}", outcome.stderr);
        if BACKEND == "ptrace" {
            let message = "not held, signal 15 is ending it already";
            assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
            assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        }
        assert!(!marker.exists());
    }
}

#[test]
fn a_pid_that_comes_again_is_another_process() {
    let world = World::new();
    let (same, hello) = (world.fixture("same_pid", &[]), world.fixture("hello", &[]));
    let first = "argv[1]=first and depth=2 and parent.depth=1";
    let second = "argv[1]=second and depth=1 and parent.depth=0 and ancestor.argv[1]!=first";
    let mut command = world.tracexec(["debug", "--hold", "-m", first, "-m", second, "--"]);
    command.arg(&same).arg(&hello);
    let mut session = world.start(command);
    // Somebody else may have taken the pid meanwhile; the program then tries another.
    let mut before = None;
    loop {
        let line = session.stderr_line(": held");
        let pid = pid_in(&line);
        eventually("the stop", || (state(pid) == Some('T')).then_some(()));
        let released = world.run(["release", &pid.to_string()]);
        assert_eq!(released.out(), format!("released {pid}\n"), "{}", released.stderr);
        if line.contains("hello second") {
            assert_eq!(before, Some(pid));
            break;
        }
        before = Some(pid);
    }
    let outcome = finish(session);
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    assert!(outcome.out().ends_with("first\nhello\nsecond\nhello\n"), "{}", outcome.out());
}

/// A world that an ordinary user can reach, with tracexec in it, and a setuid program.
fn world_of_nobody() -> World {
    let world = World::new();
    let effective = world.fixture("effective", &[]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(effective, fs::Permissions::from_mode(0o4755)).unwrap();
    // Another process writes it, see ETXTBSY.
    let copy =
        Command::new("install").arg(crate::support::TRACEXEC).arg(world.path("tracexec")).status();
    assert!(copy.unwrap().success());
    let runtime = world.path("run");
    fs::create_dir(&runtime).unwrap();
    chown(&runtime, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    world
}

/// Runs a command as nobody, in a world of its own.
fn as_nobody(world: &World, words: &[&str]) -> crate::support::Outcome {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).args(words);
    world.prepare(&mut command);
    command.current_dir(world.dir.path());
    finish(world.start(command))
}

#[test]
fn a_setuid_program_loses_its_privileges_under_an_unprivileged_tracer_only() {
    let world = world_of_nobody();
    let bare = as_nobody(&world, &["./effective"]);
    assert_eq!((bare.code(), bare.out().as_str()), (4, "0\n"), "setuid programs do not work here");
    // Followed, matched, and held: never more than its user may.
    let mine = "basename=effective and uid=65534";
    let words = ["./tracexec", "debug", "--list", "-m", mine, "--", "./effective"];
    let listed = as_nobody(&world, &words);
    assert_eq!((listed.code(), listed.out().as_str()), (4, "65534\n"), "{}", listed.stderr);
    assert_eq!(listed.stderr.lines().count(), 1, "{}", listed.stderr);
    // What was let go before its exec has them.
    let script =
        "/bin/true; until grep -q '^TracerPid:.0$' /proc/$$/status; do :; done; ./effective";
    let words =
        ["./tracexec", "debug", "--list", "--once", "-m", "basename=true", "--", "sh", "-c"];
    let let_go = as_nobody(&world, &[&words[..], &[script]].concat());
    assert_eq!((let_go.code(), let_go.out().as_str()), (4, "0\n"), "{}", let_go.stderr);
    // root's tracer takes nothing away from it.
    let path = world.path("effective");
    let by_root = "basename=effective and uid=0 and user=root";
    let args = ["debug", "-u", "nobody", "--list", "-m", by_root, "--", path.to_str().unwrap()];
    let by_root = world.run(args);
    assert_eq!((by_root.code(), by_root.out().as_str()), (4, "0\n"), "{}", by_root.stderr);
    assert_eq!(by_root.stderr.lines().count(), 1, "{}", by_root.stderr);
}
