//! `--wrap` with profilers and recorders that people use: heaptrack, rr, and valgrind on 32-bit programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Outcome, World};

/// Runs `hello one` in a shell that ends with its status, under `--wrap`.
fn wrap(world: &World, wrapper: &str, hello: &Path) -> Outcome {
    let script = format!("'{}' one; exit $?", hello.display());
    world.debug_sh(&["-m", "basename=hello", "--wrap", wrapper], &script)
}

#[test]
fn heaptrack_counts_what_the_program_allocates() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let data = world.path("data");
    let outcome = wrap(&world, &format!("heaptrack -o '{}'", data.display()), &hello);
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    assert!(outcome.out().contains("\none\nhello\n"), "{}", outcome.out());
    assert_eq!(outcome.stderr.matches("): under ").count(), 1, "{}", outcome.stderr);
    let mut files = fs::read_dir(world.dir.path()).unwrap().flatten().map(|entry| entry.path());
    let file = files.find(|path| path.file_stem().is_some_and(|stem| stem == "data"));
    let printed = Command::new("heaptrack_print").arg(file.expect("its data")).output().unwrap();
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.contains(&format!("command was: {} one\n", hello.display())), "{printed}");
}

#[test]
fn rr_records_what_it_wraps() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let record = |trace: &str| format!("rr record -n -o '{}'", world.path(trace).display());
    let alone = Command::new("sh")
        .args(["-c", &format!("{} '{}' one", record("alone"), hello.display())])
        .output()
        .unwrap();
    let outcome = wrap(&world, &record("wrapped"), &hello);
    assert_eq!(Some(outcome.code()), alone.status.code(), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, alone.stdout, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("): under rr ").count(), 1, "{}", outcome.stderr);
    if alone.status.code() == Some(3) {
        assert!(world.path("wrapped/events").exists());
        return;
    }
    // It needs the processor's counters, which most virtual machines do not have.
    let why = String::from_utf8_lossy(&alone.stderr).trim().to_string();
    assert!(outcome.stderr.contains(&why), "{}", outcome.stderr);
    let has_counters = Path::new("/sys/bus/event_source/devices/cpu").exists();
    assert!(!has_counters || why.contains("unknown"), "rr cannot record: {why}");
    eprintln!("not tested to its end: rr cannot record on this machine: {why}");
}

#[test]
fn valgrind_takes_the_place_of_a_32_bit_program() {
    // memcheck itself would need the symbols of the 32-bit loader: tracexec-debug(1) says which.
    for tool in ["none", "massif", "callgrind"] {
        let world = World::new();
        let hello = world.fixture("hello", &["-m32"]);
        let log = world.path("log");
        let out = world.path("out");
        let files = match tool {
            "none" => String::new(),
            _ => format!("--{tool}-out-file='{}'", out.display()),
        };
        let wrapper = format!("valgrind --tool={tool} --log-file='{}' {files}", log.display());
        let outcome = wrap(&world, &wrapper, &hello);
        assert_eq!(outcome.code(), 3, "{tool}: {}", outcome.stderr);
        assert_eq!(outcome.out(), "one\nhello\n", "{tool}: {}", outcome.stderr);
        let said = fs::read_to_string(log).unwrap();
        assert!(said.contains(&format!("Command: {} one\n", hello.display())), "{tool}: {said}");
        assert_eq!(out.exists(), tool != "none");
    }
}
