//! `--on`: real programs that crash, fail and hang, with the real gdb and lldb.

mod afterwards;
mod crash;
mod death;
mod fail;
mod hang;
mod headless;

mod saved;
mod sources;
mod trees;
mod words;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, World};

/// A way to run into something: the fixture's mode, what the hit says of it, and the status for a shell.
struct Way {
    mode: &'static str,
    says: &'static str,
    status: i32,
}

const fn way(mode: &'static str, says: &'static str, status: i32) -> Way {
    Way { mode, says, status }
}

/// A line for a shell that runs a fixture, and has what it waits for come when `done` succeeds. `words`: its arguments,
/// of which `FLAG` is the file that it waits for.
fn script_of(world: &World, fixture: &str, words: &str, done: &str) -> String {
    let (program, flag) = (world.path(fixture), format!("'{}'", world.path("flag").display()));
    let (program, words) = (program.display(), words.replace("FLAG", &flag));
    format!("(until {done}; do sleep 0.01; done; touch {flag}) & '{program}' {words}; echo $?")
}

/// Commands that show the frame in which it happened, and a variable of it.
const LOOK: [&str; 4] = ["--ex", "frame function happen", "--ex", "print answer"];

/// Runs a program in each of these ways in one session, each under a gdb that looks at it; `in_thread` is
/// what stands after the mode.
#[track_caller]
fn each_is_held(on: &str, flags: &[&str], ways: &[Way], in_thread: &str) -> Outcome {
    let world = World::new();
    let program = world.fixture("dies", flags);
    let script: String = ways
        .iter()
        .map(|way| {
            let (program, mode) = (program.display(), way.mode);
            format!("{program} {mode} {in_thread}; echo {mode} $?\n")
        })
        .collect();
    let options = ["--on", on, "-m", "basename=dies", "--debugger", "gdb", "--in", "background"];
    let outcome = world.debug_sh(&[&options[..], &LOOK].concat(), &script);
    let said = &outcome.stderr;
    for way in ways {
        let (mode, says) = (way.mode, way.says);
        let line = said.lines().find(|line| {
            line.starts_with("tracexec: ")
                && line.contains(&format!("dies {mode} {in_thread}").trim().to_string())
                && line.contains(" is about to ")
        });
        let line = line.unwrap_or_else(|| panic!("no hit of {mode}: {said}"));
        assert!(line.contains(says), "{mode}: {line}");
    }
    let expected: String =
        ways.iter().map(|way| format!("{} {}\n", way.mode, way.status)).collect();
    assert_eq!(outcome.out(), expected, "{said}");
    assert_eq!(said.matches("$1 = 42").count(), ways.len(), "{said}");
    assert_eq!(outcome.code(), 0);
    nothing_is_left_of(&world);
    outcome
}
