//! What cannot be written to standard output is an error of every subcommand; and no FIFO is waited for where a text
//! of the user's is read.

use std::fs;
use std::process::Command;

use crate::support::{Outcome, TRACEXEC, World, finish};

/// A world with a recording in it.
fn world() -> World {
    let world = World::new();
    let mut command =
        world.tracexec(["collect", "--backend", "ptrace", "-F", "json", "-o", "recorded"]);
    command.args(["--", "true"]).current_dir(world.dir.path());
    assert_eq!(finish(world.start(command)).code(), 0);
    world
}

#[track_caller]
fn sh(world: &World, line: &str) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", line, TRACEXEC]).current_dir(world.dir.path());
    world.prepare(&mut command);
    finish(world.start(command))
}

/// What each subcommand writes there.
const WRITERS: [&str; 22] = [
    "--help",
    "--version",
    "help",
    "help log",
    "debug --help",
    "log -h",
    "report recorded",
    "report recorded -F json",
    "report recorded -F json-stream",
    "report recorded -F perfetto",
    "report recorded -F html",
    "report recorded -F compile-commands",
    "report recorded -F json -o /dev/stdout",
    "collect --backend ptrace -F json -o - -- true",
    "collect --backend ptrace -F json-stream -o - -- true",
    "collect --backend ptrace -F html -o - -- true",
    "log --backend ptrace -o - -- true",
    "config",
    "templates",
    "templates show gdb",
    "doctor",
    "generate-completions bash",
];

#[test]
fn what_cannot_be_written_to_standard_output_is_an_error_everywhere() {
    let world = world();
    for words in WRITERS {
        for to in [">/dev/full", ">&-"] {
            let outcome = sh(&world, &format!("\"$0\" {words} {to}"));
            let said = &outcome.stderr;
            assert_eq!(outcome.code(), 125, "{words} {to}: {said}");
            assert!(said.contains("error: cannot write "), "{words} {to}: {said}");
        }
        // A reader that has seen enough is none, nor is one that reads all.
        let outcome = sh(&world, &format!("{{ \"$0\" {words}; echo $? >status; }} | true"));
        assert_eq!(outcome.code(), 0, "{words}: {}", outcome.stderr);
        let status = fs::read_to_string(world.path("status")).unwrap();
        assert!(status == "0\n" || words == "doctor", "{words}: {status}{}", outcome.stderr);
        let status = sh(&world, &format!("\"$0\" {words} >out")).code();
        assert!(status == 0 || words == "doctor", "{words}: {status}");
        assert!(fs::metadata(world.path("out")).unwrap().len() > 0, "{words}");
    }
    for line in ["\"$0\" ps >&-", "\"$0\" debug --hits-json 1 --list -m argc=1 -- true >&-"] {
        let outcome = sh(&world, line);
        assert_eq!(outcome.code(), 125, "{line}: {}", outcome.stderr);
    }
    let outcome = sh(&world, "\"$0\" log --backend ptrace -- touch ran 2>&-");
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    assert!(!world.path("ran").exists());
}

#[test]
fn no_fifo_is_waited_for() {
    let world = world();
    let config = world.path("config/tracexec");
    fs::create_dir_all(config.join("launch-templates/debuggers")).unwrap();
    fs::create_dir(world.path("saved")).unwrap();
    for (fifo, words) in [
        ("config/tracexec/config.toml", "log -- true"),
        ("config/tracexec/config.toml", "config"),
        ("given.toml", "--config given.toml log -- true"),
        ("config/tracexec/launch-templates/debuggers/x.toml", "templates"),
        ("config/tracexec/launch-templates/debuggers/x.toml", "debug --hold -m argc=9 -- true"),
        ("saved/hit.json", "rerun saved"),
    ] {
        let made = Command::new("mkfifo").arg(world.path(fifo)).status().unwrap();
        assert!(made.success());
        let outcome = sh(&world, &format!("\"$0\" {words}"));
        assert_eq!(outcome.code(), 125, "{words}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("is a FIFO"), "{words}: {}", outcome.stderr);
        fs::remove_file(world.path(fifo)).unwrap();
    }
    // What has no end is not read to it, and what a shell has on a pipe is read.
    let outcome = sh(&world, "\"$0\" --config /dev/zero log -- true");
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    let mut command = Command::new("bash");
    let line = "\"$0\" --config <(sleep 0.1; echo \"[log]\"; echo \"show-cmdline = true\") config";
    command.args(["-c", line, TRACEXEC]).current_dir(world.dir.path());
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}
