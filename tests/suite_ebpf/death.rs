//! tracexec is killed while the kernel stops processes for it: all runs on, and nothing of it stays,
//! neither its guardian nor its programs.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::typed::{Growing, nothing_is_left_of};
use crate::support::{Running, World, ebpf, eventually, finish, is_gone, pid_in, state, status_of};

const BARE: [&str; 3] = ["-static", "-nostdlib", "-fno-stack-protector"];

/// Kills tracexec, but not its group; what it had attached must go.
#[track_caller]
fn kill(session: &mut Running, programs: &[u32]) {
    session.signal(libc::SIGKILL);
    eventually("tracexec's death", || session.child().try_wait().unwrap());
    ebpf::are_gone(programs);
}

/// `tracexec debug --system` for a group's programs of this name.
fn over_all(world: &World, group: u32, name: &str, options: &[&str]) -> Running {
    let filter = format!("basename={name} and gid={group}");
    let mut tracexec = world.tracexec(["debug", "--system", "--all", "-m", &filter]);
    tracexec.args(options).gid(group);
    world.start(tracexec)
}

#[test]
fn what_waits_and_what_is_parked_in_other_trees_runs_on() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let group = ebpf::own_group();
    let options = ["--hold", "--sessions", "1", "--when-busy", "wait"];
    let mut session = over_all(&world, group, "hello", &options);
    let programs = ebpf::programs_of(session.pid());
    let parked = ebpf::stopped(&mut session, &world, group, &hello, &["parked"]);
    assert_eq!(pid_in(&session.stderr_line(": held")), parked.pid());
    let waiting: Vec<Running> =
        (0..5).map(|_| ebpf::stopped(&mut session, &world, group, &hello, &["waiting"])).collect();
    let of_another = ebpf::outside(&world, group, Path::new("/bin/sleep"), &["1000"]);
    crate::support::signal_process(of_another.pid(), libc::SIGSTOP);
    eventually("a stop of somebody else's", || {
        (state(of_another.pid()) == Some('T')).then_some(())
    });
    kill(&mut session, &programs);
    for process in waiting.into_iter().chain([parked]) {
        let outcome = finish(process);
        assert_eq!(outcome.code(), 3);
        assert!(outcome.out().ends_with("hello\n"), "{}", outcome.out());
    }
    // What is not ours was left alone.
    assert_eq!(state(of_another.pid()), Some('T'));
    drop(of_another);
    nothing_is_left_of(&world);
}

#[test]
fn what_a_debugger_has_stays_with_it_and_runs_on_after_it() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let group = ebpf::own_group();
    let done = world.path("done");
    let wait = format!("shell while [ ! -e {} ]; do sleep 0.01; done\n", done.display());
    let script = world.file("wait.gdb", wait);
    let gdb = format!("gdb -q -batch -nx -p {{{{pid}}}} -x {}", script.display());
    let options = ["--debugger", &gdb, "--in", "background", "--when-busy", "wait"];
    let mut session = over_all(&world, group, "hello", &options);
    let mut stderr = Growing::new(session.child().stderr.take().unwrap());
    let programs = ebpf::programs_of(session.pid());
    // It is stopped by tracexec first, then by gdb.
    let in_gdb = ebpf::stopped(&mut session, &world, group, &hello, &["one"]);
    stderr.wait_for(" in background");
    let tracer = || status_of(in_gdb.pid(), "TracerPid").filter(|tracer| tracer != "0");
    eventually("gdb", tracer);
    let waiting = ebpf::stopped(&mut session, &world, group, &hello, &["two"]);
    kill(&mut session, &programs);
    assert_eq!(finish(waiting).code(), 3);
    assert!(tracer().is_some());
    fs::write(done, "").unwrap();
    assert_eq!(finish(in_gdb).code(), 3);
    nothing_is_left_of(&world);
}

/// Runs a storm, and writes how it went to a file.
fn storm(world: &World, options: &[&str]) -> Running {
    let (ways, digits) = (world.fixture("ways", &[]), world.fixture("digits", &BARE));
    let result = world.path("result");
    let _ = fs::remove_file(&result);
    let script = "\"$0\" 8 150 \"$1\" >\"$2.new\"; mv \"$2.new\" \"$2\"";
    let mut command = world.tracexec(["debug"]);
    command.args(options).args(["--", "sh", "-c", script]).arg(ways).arg(digits).arg(result);
    world.start(command)
}

/// Waits until userspace has judged so many of what the kernel has stopped.
#[track_caller]
fn until_judged(world: &World, session: &mut Running, count: u64) {
    eventually("execs that were judged", || {
        session.assert_runs();
        let seen = world.run(["ps"]).out();
        let (before, _) = seen.split_once(" execs seen)")?;
        let number: u64 = before.rsplit('(').next()?.parse().ok()?;
        (number >= count).then_some(())
    });
}

#[track_caller]
fn all_went_well(world: &World) {
    // First, since it tells what is stuck.
    nothing_is_left_of(world);
    let result = fs::read_to_string(world.path("result")).unwrap();
    assert!(result.starts_with("1200 right, "), "{result}");
}

#[test]
fn a_storm_goes_on_of_which_every_tenth_is_stopped() {
    if !ebpf::available() {
        return;
    }
    // The first filter is one by which userspace sets all running that the kernel has stopped.
    let (none, some) = ("argv[1]~^n.*0$ and env[NOSUCH]", "argv[1]~^n.*0$");
    for (filter, marks) in [(none, 1), (none, 7), (none, 31), (none, 80), (some, 1), (some, 8)] {
        let world = World::new();
        let mut session = storm(&world, &["--hold", "-m", filter]);
        let programs = ebpf::programs_of(session.pid());
        if filter == some {
            for _ in 0..marks {
                session.stderr_line(": held");
            }
        } else {
            until_judged(&world, &mut session, marks);
        }
        kill(&mut session, &programs);
        all_went_well(&world);
    }
}

#[test]
fn a_storm_of_matches_in_other_trees_goes_on() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (ways, digits) = (world.fixture("ways", &[]), world.fixture("digits", &BARE));
    for hits in [1, 8, 40] {
        let group = ebpf::own_group();
        // Userspace sets all of them running that the kernel has stopped.
        let mut session = over_all(&world, group, "digits and env[NOSUCH]", &["--hold"]);
        let programs = ebpf::programs_of(session.pid());
        let mut command = Command::new(&ways);
        command.args(["8", "150"]).arg(&digits).gid(group);
        world.prepare(&mut command);
        let storm = world.start(command);
        until_judged(&world, &mut session, hits);
        kill(&mut session, &programs);
        let outcome = finish(storm);
        assert!(outcome.out().starts_with("1200 right, "), "{}", outcome.out());
        nothing_is_left_of(&world);
    }
}

/// The moments from the guardian's start on, and before.
#[test]
fn a_death_before_or_right_after_the_programs_are_loaded_leaves_nothing() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let output = world.path("output");
    for moment in 0..24 {
        let _ = fs::remove_file(&output);
        let script = format!("'{}' one >'{}'", hello.display(), output.display());
        let mut command = world.tracexec(["debug", "--hold", "-m", "basename=hello", "--"]);
        command.args(["sh", "-c", &script]);
        let mut session = world.start(command);
        let pid = session.pid();
        if moment % 2 == 0 {
            eventually("a guardian", || ebpf::guardian_of(pid));
        }
        // Each time a little later, by work instead of time.
        for _ in 0..moment * 4 {
            let _ = ebpf::guardian_of(pid);
        }
        session.signal(libc::SIGKILL);
        eventually("tracexec's death", || session.child().try_wait().unwrap());
        // COMMAND has not begun, or it goes on to its end.
        nothing_is_left_of(&world);
        let said = fs::read_to_string(&output).unwrap_or_default();
        assert!(matches!(said.as_str(), "" | "one\nhello\n"), "{moment}: {said}");
    }
}

#[test]
fn at_each_step_of_a_hand_over_of_another_tree_s_program() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let gdb = ["--debugger", "gdb", "--in", "background"];
    for (place, options) in [
        ("held", &["--hold"][..]),
        ("detached", &["--hold"]),
        ("guarded", &gdb),
        ("shim-came", &gdb),
        ("parked", &gdb),
        ("attached", &gdb),
        ("continued", &gdb),
    ] {
        let group = ebpf::own_group();
        let filter = format!("basename=hello and gid={group}");
        let mut command = world.tracexec(["debug", "--system", "--all", "-m", &filter]);
        command.args(options).gid(group).env("TRACEXEC_DIE_AT", place);
        let mut session = world.start(command);
        let programs = ebpf::programs_of(session.pid());
        eventually("the death", || {
            let outcome = finish(ebpf::outside(&world, group, &hello, &["one"]));
            assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\nhello\n"), "{place}");
            session.child().try_wait().unwrap()
        });
        assert!(is_gone(session.pid()));
        ebpf::are_gone(&programs);
        nothing_is_left_of(&world);
    }
}

/// Its answer then reaches nobody, which must not keep it from its work.
#[test]
fn a_guardian_whose_tracexec_died_before_the_answer_lets_run_what_it_was_told_of() {
    let world = World::new();
    let sleep = ebpf::outside(&world, 0, Path::new("/bin/sleep"), &["1000"]);
    crate::support::signal_process(sleep.pid(), libc::SIGSTOP);
    eventually("the stop", || (state(sleep.pid()) == Some('T')).then_some(()));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleep.pid())).unwrap();
    let start_time = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    writeln!(ours, "+{} {start_time}", sleep.pid()).unwrap();
    drop(ours);
    let mut guardian = Command::new(crate::support::TRACEXEC);
    world.prepare(&mut guardian);
    guardian.arg("guardian").stdin(OwnedFd::from(theirs));
    let mut guardian = world.start(guardian);
    eventually("the guardian's end", || guardian.child().try_wait().unwrap());
    eventually("a process that goes on", || (state(sleep.pid()) == Some('S')).then_some(()));
    drop(sleep);
    nothing_is_left_of(&world);
}
