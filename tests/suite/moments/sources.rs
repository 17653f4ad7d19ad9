//! Where a failing exit comes from: an exception, a panic and an assertion have unwound the stack, or are about to
//! end the process, when the exit comes; at their source the stack is there.

use std::process::Command;

use crate::support::World;
use crate::support::compile;

const LLDB: [&str; 4] = ["--ex", "breakpoint set -n __cxa_throw", "--ex", "continue"];

#[test]
fn at_its_source_a_failure_has_its_stack() {
    let world = World::new();
    let throws = world.path("throws");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/throws.cc");
    let compiled = Command::new("c++").args(["-g", "-o"]).arg(&throws).arg(source).status();
    assert!(compiled.expect("c++ is needed").success());
    let panics = compile::rust(&world, "panics", &[]);
    let dies = world.fixture("dies", &[]);
    for (program, options, debugger, shows, status) in [
        (&throws, &["--break", "__cxa_throw"][..], "gdb-backtrace", "deeper (answer=42)", 2),
        (&throws, &LLDB, "lldb-backtrace", "deeper(answer=42)", 2),
        (&panics, &["--break", "rust_panic"], "gdb-backtrace", "panics::deeper (answer=42)", 101),
        (&panics, &["--break", "rust_panic"], "lldb-backtrace", "panics::deeper", 101),
        (&dies, &["--break", "__assert_fail"], "gdb-backtrace", "in happen ()", 134),
        (&dies, &["--break", "__assert_fail"], "lldb-backtrace", "dies`happen", 134),
    ] {
        let name = program.file_name().unwrap().to_str().unwrap();
        let filter = format!("basename={name}");
        let base = ["-m", &filter, "--debugger", debugger, "--in", "background"];
        let script = format!("ulimit -c 0; {} assert; echo $?", program.display());
        let outcome = world.debug_sh(&[&base[..], options].concat(), &script);
        assert_eq!(outcome.out(), format!("{status}\n"), "{}", outcome.stderr);
        let (_, shown) = outcome.stderr.split_once("---- tracexec: process ").unwrap();
        assert!(shown.contains(shows), "{name}, {debugger}: {}", outcome.stderr);
    }
}
