//! `--system`: programs that nobody started from here.

use std::path::Path;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Running, World, ebpf, eventually, finish, pid_in, state, status_of};

/// `tracexec debug --system` for what a group executes under this name.
pub fn over_all(world: &World, group: u32, on: &str, name: &str, options: &[&str]) -> Running {
    let filter = format!("basename={name} and gid={group}");
    let mut tracexec = world.tracexec(["debug", "--system", "--on", on, "-m", &filter]);
    tracexec.args(options);
    world.start(tracexec)
}

#[test]
fn a_crash_outside_of_any_command_is_held_and_its_own_parent_sees_how_it_ends() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (dies, group) = (world.fixture("dies", &[]), ebpf::own_group());
    for (on, mode, says, status) in [
        ("crash", &["null"][..], "is about to die of SIGSEGV at 0x0", 1011),
        ("crash", &["abort", "thread"], "is about to die of SIGABRT", 1006),
        ("fail", &["exit"], "is about to exit with status 3", 3),
    ] {
        let mut session = over_all(&world, group, on, "dies", &["--all", "--hold"]);
        let programs = ebpf::programs_of(session.pid());
        let process = ebpf::stopped(&mut session, &world, group, &dies, mode);
        let line = session.stderr_line(": held");
        assert!(pid_in(&line) == process.pid() && line.contains(says), "{line}");
        eventually("its stop", || (state(process.pid()) == Some('T')).then_some(()));
        assert_eq!(status_of(process.pid(), "TracerPid").as_deref(), Some("0"));
        assert_eq!(world.run(["release", "--all"]).out(), format!("released {}\n", process.pid()));
        assert_eq!(finish(process).code(), status);
        session.signal(libc::SIGTERM);
        assert_eq!(finish(session).code(), 143);
        nothing_is_left_of(&world);
        ebpf::are_gone(&programs);
    }
}

#[test]
fn after_the_one_that_was_asked_for_tracexec_ends_and_the_others_run_on() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (dies, group) = (world.fixture("dies", &[]), ebpf::own_group());
    let options = ["--once", "--debugger", "gdb-backtrace", "--in", "background"];
    let mut session = over_all(&world, group, "crash", "dies", &options);
    ebpf::programs_of(session.pid());
    let mut asleep = Vec::new();
    eventually("tracexec's end", || {
        asleep.push(ebpf::outside(&world, group, &dies, &["sleep", "thread"]));
        let outcome = finish(ebpf::outside(&world, group, &dies, &["null"]));
        assert_eq!(outcome.code(), 1011);
        session.child().try_wait().unwrap()
    });
    let outcome = finish(session);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("in happen () at"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches(": gdb-backtrace in background").count(), 1);
    for process in asleep {
        eventually("a program in its own hands", || {
            let free = status_of(process.pid(), "TracerPid")? == "0";
            (free && matches!(state(process.pid())?, 'S' | 'R')).then_some(())
        });
    }
    nothing_is_left_of(&world);
}

#[test]
fn beside_a_command_whatever_hangs_elsewhere_is_held_where_it_is() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (dies, group) = (world.fixture("dies", &[]), ebpf::own_group());
    let flag = world.path("flag");
    let until = world.fixture("until", &[]);
    let command = ["--all", "--hold", "--", until.to_str().unwrap(), flag.to_str().unwrap()];
    let mut session = over_all(&world, group, "hang=100ms", "dies", &command);
    ebpf::programs_of(session.pid());
    // One of them has begun when the session has.
    let process = followed(&mut session, &world, group, &dies);
    let line = session.stderr_line(": held");
    assert_eq!(pid_in(&line), process.pid());
    assert!(line.contains("still runs after 0."), "{line}");
    eventually("all threads stopped", || (state(process.pid()) == Some('T')).then_some(()));
    assert_eq!(world.run(["release", "--all"]).out(), format!("released {}\n", process.pid()));
    eventually("its sleep", || (state(process.pid()) == Some('S')).then_some(()));
    drop(process);
    std::fs::write(&flag, "").unwrap();
    assert_eq!(finish(session).code(), 5);
    nothing_is_left_of(&world);
}

/// Starts sleeping programs until one is followed.
#[track_caller]
fn followed(session: &mut Running, world: &World, group: u32, dies: &Path) -> Running {
    eventually("a program that is followed", || {
        session.assert_runs();
        let process = ebpf::outside(world, group, dies, &["sleep", "thread"]);
        let pid = process.pid();
        let traced = eventually("its sleep, or a tracer", || {
            let traced = status_of(pid, "TracerPid")? != "0" || state(pid)? == 'T';
            (traced || state(pid)? == 'S').then_some(traced)
        });
        traced.then_some(process)
    })
}
