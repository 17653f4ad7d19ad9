//! Our own death while processes are taken up, followed and let go: all run on, and nothing is left.

use std::fs;
use std::process::Command;

use super::system::over_all;
use crate::support::typed::nothing_is_left_of;
use crate::support::{Running, World, ebpf, eventually, finish};

/// The places of `fault::point` on the way of a program that is to be followed.
const STEPS: [&str; 3] = ["seizing", "seized", "followed"];

#[test]
fn at_each_step_on_which_a_program_is_taken_up_it_runs_on() {
    if !ebpf::available() {
        return;
    }
    for flags in [&[][..], &["-static"], &["-m32"]] {
        let world = World::new();
        let dies = world.fixture("dies", flags).display().to_string();
        for place in STEPS {
            for (mode, status) in [("null", 139), ("exit thread", 3), ("well", 0)] {
                let out = world.path("out");
                let _ = fs::remove_file(&out);
                let script = format!("{dies} {mode}; echo $? >{}", out.display());
                let args = ["debug", "--on", "crash,fail", "-m", "basename=dies", "--hold"];
                let mut command = world.tracexec(args);
                command.args(["--", "sh", "-c", &script]).env("TRACEXEC_DIE_AT", place);
                let outcome = finish(world.start(command));
                assert_eq!(outcome.code(), 1009, "{place} {mode}: {}", outcome.stderr);
                eventually(&format!("{status} after {place} of {mode}"), || {
                    (fs::read_to_string(&out).ok()? == format!("{status}\n")).then_some(())
                });
                nothing_is_left_of(&world);
            }
        }
    }
}

#[test]
fn at_each_step_a_program_of_another_tree_runs_on() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let dies = world.fixture("dies", &[]);
    for place in STEPS.into_iter().chain(["moment-begun", "held", "before-stop", "detached"]) {
        let group = ebpf::own_group();
        let filter = format!("basename=dies and gid={group}");
        let mut command = world.tracexec(["debug", "--system", "--all", "--on", "crash,fail"]);
        command.args(["--hold", "-m", &filter]).env("TRACEXEC_DIE_AT", place);
        let mut session = world.start(command);
        let programs = ebpf::programs_of(session.pid());
        eventually("the death", || {
            let outcome = finish(ebpf::outside(&world, group, &dies, &["exit"]));
            assert_eq!(outcome.code(), 3, "{place}");
            session.child().try_wait().unwrap()
        });
        assert_eq!(finish(session).code(), 1009, "{place}");
        ebpf::are_gone(&programs);
        nothing_is_left_of(&world);
    }
}

/// Waits until so many execs have been judged.
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

#[test]
fn in_the_midst_of_a_storm_of_programs_that_count() {
    if !ebpf::available() {
        return;
    }
    let bare = ["-static", "-nostdlib", "-fno-stack-protector"];
    for (on, filter) in
        [("crash", "argc>0"), ("crash,hang=1h", "basename=digits"), ("fail", "status=240")]
    {
        for judged in [1, 9, 60, 150] {
            let world = World::new();
            let (ways, digits) = (world.fixture("ways", &[]), world.fixture("digits", &bare));
            let result = world.path("result");
            let script = "\"$0\" 8 60 \"$1\" >\"$2.new\"; mv \"$2.new\" \"$2\"";
            let mut command = world.tracexec(["debug", "--on", on, "-m", filter, "--hold"]);
            command.args(["--", "sh", "-c", script]).arg(ways).arg(digits).arg(&result);
            let mut session = world.start(command);
            let programs = ebpf::programs_of(session.pid());
            until_judged(&world, &mut session, judged);
            session.signal(libc::SIGKILL);
            eventually("tracexec's death", || session.child().try_wait().unwrap());
            ebpf::are_gone(&programs);
            // First, since it tells what is stuck.
            nothing_is_left_of(&world);
            let result = fs::read_to_string(result).unwrap();
            assert!(result.starts_with("480 right, "), "{on} {filter} {judged}: {result}");
        }
    }
}

#[test]
fn a_storm_in_other_trees_goes_on_when_tracexec_is_told_to_end_or_killed() {
    if !ebpf::available() {
        return;
    }
    let bare = ["-static", "-nostdlib", "-fno-stack-protector"];
    let world = World::new();
    let (ways, digits) = (world.fixture("ways", &[]), world.fixture("digits", &bare));
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        for judged in [1, 40] {
            let group = ebpf::own_group();
            let mut session = over_all(&world, group, "crash", "digits", &["--all", "--hold"]);
            let programs = ebpf::programs_of(session.pid());
            let mut storm = Command::new(&ways);
            storm.args(["8", "80"]).arg(&digits);
            std::os::unix::process::CommandExt::gid(&mut storm, group);
            world.prepare(&mut storm);
            let storm = world.start(storm);
            until_judged(&world, &mut session, judged);
            session.signal(signal);
            eventually("tracexec's end", || session.child().try_wait().unwrap());
            ebpf::are_gone(&programs);
            let outcome = finish(storm);
            assert!(outcome.out().starts_with("640 right, "), "{}", outcome.out());
            nothing_is_left_of(&world);
        }
    }
}
