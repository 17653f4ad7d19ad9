//! 20,000 execs, by fork, vfork, posix_spawn and from threads, in several processes at once: none is
//! lost, none is left stopped, and each ends as it would have.

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, Running, World, ebpf, eventually, finish};

/// Starts a storm under these options.
fn start(world: &World, options: &[&str], processes: u32, rounds: u32, more: &[&str]) -> Running {
    let bare = ["-static", "-nostdlib", "-fno-stack-protector"];
    let (ways, digits) = (world.fixture("ways", &[]), world.fixture("digits", &bare));
    let mut command = world.tracexec(["debug"]);
    command.args(options).arg("--").arg(ways);
    command.args([processes, rounds].map(|number| number.to_string())).arg(digits).args(more);
    world.start(command)
}

fn storm(options: &[&str], processes: u32, rounds: u32, more: &[&str]) -> Outcome {
    let world = World::new();
    let outcome = finish(start(&world, options, processes, rounds, more));
    nothing_is_left_of(&world);
    outcome
}

#[test]
fn a_storm_that_never_matches_is_counted_to_the_last_exec_and_never_stops() {
    if !ebpf::available() {
        return;
    }
    let outcome = storm(&["--hold", "-m", "argv~none"], 8, 2500, &[]);
    assert_eq!(outcome.out(), "20000 right, 0 seen to stop\n");
    assert_eq!(outcome.code(), 0);
    // COMMAND is one more.
    assert!(
        outcome.stderr.starts_with("tracexec: nothing matched in 20001 execs\n"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
}

/// Those execs of a storm that the kernel must stop, and that userspace sets running at once.
const EVERY_TENTH: &str = "argv[1]~^n.*0$ and env[NOSUCH]";

#[test]
fn a_storm_of_which_every_tenth_is_stopped_and_set_running_loses_none() {
    if !ebpf::available() {
        return;
    }
    let outcome = storm(&["--hold", "-m", EVERY_TENTH], 8, 2500, &[]);
    assert!(outcome.out().starts_with("20000 right, "), "{}", outcome.out());
    assert_eq!(outcome.code(), 0);
    let (counted, near) = outcome.stderr.split_once('\n').unwrap();
    assert_eq!(counted, "tracexec: nothing matched in 20001 execs", "{}", outcome.stderr);
    assert!(near.lines().all(|line| line.starts_with("tracexec:   near: ")), "{near}");
}

#[test]
fn a_storm_of_which_every_tenth_is_recorded_loses_none_and_stops_none() {
    if !ebpf::available() {
        return;
    }
    let outcome = storm(&["--list", "-m", "argv[1]~^n.*0$"], 8, 2500, &[]);
    assert_eq!(outcome.out(), "20000 right, 0 seen to stop\n");
    assert_eq!(outcome.code(), 0);
    let hits: Vec<&str> = outcome.stderr.lines().collect();
    let right = |line: &&str| line.contains("/digits n") && line.contains("0 (argv[1]~");
    assert_eq!((hits.iter().filter(|line| right(line)).count(), hits.len()), (2000, 2000));
}

/// Each takes the kernel so long to match that some are at it whenever the watching ends.
#[test]
fn whatever_is_being_stopped_when_the_last_match_is_taken_runs_on() {
    if !ebpf::available() {
        return;
    }
    // Each of the eight waits for its own.
    for max in 1..=8 {
        let world = World::new();
        let filter = "argv[1]~^n and (argv[2]~[^x]$ or argv[2]~x$)";
        let options = ["--hold", "--max-hits", &max.to_string(), "-m", filter];
        let mut session = start(&world, &options, 8, 30, &["120000"]);
        for _ in 0..max {
            session.stderr_line(": held");
        }
        let released = world.run(["release", "--all"]).out();
        assert_eq!(released.matches(' ').count(), max, "{released}");
        let outcome = finish(session);
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        assert!(outcome.out().starts_with("240 right, "), "{}", outcome.out());
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
        nothing_is_left_of(&world);
    }
}

#[test]
fn of_a_storm_of_matches_one_is_held_and_all_others_run_through() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let options = ["--hold", "--once", "-m", "argv[1]~^n"];
    let mut session = start(&world, &options, 8, 50, &[]);
    let held = crate::support::pid_in(&session.stderr_line(": held"));
    eventually("all others' end", || {
        let left = crate::support::typed::processes_of(&world);
        let name = |pid: &i32| crate::support::status_of(*pid, "Name").unwrap_or_default();
        let names: Vec<String> = left.iter().map(name).collect();
        // Its parent and COMMAND wait for it.
        let count = |name: &str| names.iter().filter(|found| *found == name).count();
        (count("ways") == 2 && count("digits") == 1).then_some(())
    });
    assert_eq!(crate::support::state(held), Some('T'));
    assert_eq!(world.run(["release", "--all"]).out(), format!("released {held}\n"));
    let outcome = finish(session);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.out().starts_with("400 right, "), "{}", outcome.out());
    nothing_is_left_of(&world);
}
