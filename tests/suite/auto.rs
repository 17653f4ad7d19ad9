//! `--debugger auto`: the program of each match decides, and `main` is what its language calls so.

use std::fs;
use std::path::Path;

use crate::support::compile::{call_it, go, rust};
use crate::support::typed::{Typed, nothing_is_left_of};
use crate::support::{World, finish};

/// A program under auto on a terminal, at `--break main`, and `status $?` after it.
#[track_caller]
fn at_main(world: &World, program: &Path, expected: &str) -> Typed {
    let name = program.file_name().unwrap().to_str().unwrap();
    let matching = format!("basename={name}");
    let script = format!("{}; echo status $?", program.display());
    let mut typed = Typed::start(world, &["-m", &matching, "--break", "main"], &script);
    typed.stderr.wait_for(&format!(": {expected} in here\n"));
    typed
}

#[test]
fn a_program_in_go_gets_delve_at_main_main() {
    let world = World::new();
    let gopher = go(&world, "gopher", &[]);
    let mut typed = at_main(&world, &gopher, "dlv");
    typed.screen.wait_for("> main.main() ");
    typed.screen.wait_for("(dlv) ");
    typed.enter("next", "(dlv) ");
    typed.enter("next", "(dlv) ");
    typed.enter("print numbers", "[]int len: 3, cap: 3, [1,2,3]");
    typed.enter("exit", "kill the process? [Y/n]");
    typed.keys("n\n");
    let outcome = typed.finish();
    assert_eq!(outcome.out(), "hello\nstatus 3\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn a_program_in_rust_gets_rust_gdb_at_its_own_main_with_its_types() {
    for mangling in ["legacy", "v0"] {
        let world = World::new();
        let flag = format!("-Csymbol-mangling-version={mangling}");
        let flags = if mangling == "v0" { vec![flag.as_str()] } else { Vec::new() };
        let rusty = rust(&world, "rusty", &flags);
        let mut typed = at_main(&world, &rusty, "rust-gdb");
        typed.screen.wait_for("Temporary breakpoint 1, rusty::main () at ");
        typed.screen.wait_for("(gdb) ");
        typed.enter("next", "(gdb) ");
        typed.enter("print numbers", "= Vec(size=3) = {1, 2, 3}");
        typed.enter("quit", "Quit anyway?");
        typed.keys("y\n");
        let outcome = typed.finish();
        assert_eq!(outcome.out(), "hello 3\nstatus 3\n", "{}", outcome.stderr);
        nothing_is_left_of(&world);
    }
}

#[test]
fn rust_lldb_shows_rusts_types_at_the_programs_own_main() {
    let world = World::new();
    call_it(&world, "lldb", "lldb-19");
    let rusty = rust(&world, "rusty", &[]);
    let options = ["-m", "basename=rusty", "--debugger", "rust-lldb", "--in", "background"];
    // The first line has a part in the library.
    let next = ["--ex", "next", "--ex", "next", "--ex", "next"];
    let commands = [&["--break", "main"][..], &next, &["--ex", "frame variable"]].concat();
    let commands = [&commands[..], &["--ex", "detach"]].concat();
    let script = format!("{}; echo status $?", rusty.display());
    let outcome = world.debug_sh(&[&options[..], &commands].concat(), &script);
    assert!(outcome.stderr.contains("rusty.rs:3:"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("numbers = size=3"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "hello 3\nstatus 3\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn without_symbols_a_program_in_rust_or_go_stays_where_it_is() {
    let world = World::new();
    let rusty = rust(&world, "rusty", &["-Cstrip=symbols"]);
    let gopher = go(&world, "gopher", &["-ldflags=-s -w"]);
    let said = "not defined.";
    for (program, debugger) in [(&rusty, "rust-gdb"), (&gopher, "gdb")] {
        let mut typed = at_main(&world, program, debugger);
        let shown = typed.screen.wait_for(said);
        assert!(!shown.contains("Continuing"), "{shown}");
        typed.screen.wait_for("(gdb) ");
        assert_eq!(typed.stdout.all(), "");
        typed.enter("detach", "detached]");
        typed.keys("quit\n");
        let outcome = typed.finish();
        assert!(outcome.out().ends_with("status 3\n"), "{}", outcome.stderr);
    }
    nothing_is_left_of(&world);
}

#[test]
fn each_match_of_a_session_gets_its_own() {
    let world = World::new();
    let (hello, rusty) = (world.fixture("hello", &[]), rust(&world, "rusty", &[]));
    let options = ["-m", "basename in (hello, rusty)", "--in", "background", "--break", "main"];
    let script = format!("{}; {}; {}", hello.display(), rusty.display(), hello.display());
    let outcome = world.debug_sh(&[&options[..], &["--ex", "bt"]].concat(), &script);
    let hits = outcome.stderr.lines().filter(|line| line.ends_with(" in background"));
    let debuggers: Vec<&str> =
        hits.map(|line| line.rsplit(": ").next().unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(debuggers, ["gdb", "rust-gdb", "gdb"], "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("#0  main (").count(), 2, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("#0  rusty::main (").count(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.out(), "hello\nhello 3\nhello\n");
}

#[test]
fn a_script_is_announced_with_the_interpreter_that_runs_it() {
    let world = World::new();
    let script = world.file("script", "#!/bin/sh\nexit 4\n");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = ["-m", "basename=script", "--in", "background", "--ex", "info inferiors"];
    let outcome = world.debug_sh(&options, &format!("{}; exit $?", script.display()));
    let sh = fs::canonicalize("/bin/sh").unwrap();
    let announced = format!("(basename=script; a script, run by {}): gdb in", sh.display());
    assert!(outcome.stderr.contains(&announced), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(sh.to_str().unwrap()), "{}", outcome.stderr);
    assert_eq!(outcome.code(), 4);
}

#[test]
fn where_no_debugger_is_installed_it_is_an_error_before_the_command_starts() {
    let world = World::new();
    let mut command = world.tracexec(["debug", "-m", "argc>0", "--in", "background"]);
    fs::create_dir(world.path("empty")).unwrap();
    command.args(["--", "/bin/touch"]).arg(world.path("started"));
    command.env("PATH", world.path("empty"));
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("gdb is not installed"), "{}", outcome.stderr);
    assert!(!world.path("started").exists());
}

#[test]
fn without_gdb_it_is_lldb() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    fs::create_dir(world.path("few")).unwrap();
    let lldb = which::which("lldb-19").unwrap();
    std::os::unix::fs::symlink(lldb, world.path("few/lldb")).unwrap();
    let mut command = world.tracexec(["debug", "-m", "basename=hello", "--in", "background"]);
    command.args(["--break", "main", "--ex", "bt", "--"]).arg(&hello);
    command.env("PATH", world.path("few"));
    let outcome = finish(world.start(command));
    assert!(outcome.stderr.contains(": lldb in background"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hello.c:6"), "{}", outcome.stderr);
    assert_eq!(outcome.code(), 3);
}

#[test]
fn where_rust_gdb_is_there_and_does_not_work_it_is_gdb() {
    let world = World::new();
    let rusty = rust(&world, "rusty", &[]);
    // As rustup's has it without a toolchain.
    fs::create_dir(world.path("bin")).unwrap();
    let broken = world.file("bin/rust-gdb", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = ["-v", "-m", "basename=rusty", "--in", "background", "--break", "main"];
    let outcome =
        world.debug_sh(&[&options[..], &["--ex", "bt"]].concat(), rusty.to_str().unwrap());
    assert!(outcome.stderr.contains("rust-gdb is there, but does not work"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(": gdb in background"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("#0  rusty::main ("), "{}", outcome.stderr);
    assert_eq!(outcome.code(), 3);
}

#[test]
fn strace_shows_the_calls_of_the_match_from_its_first() {
    let world = World::new();
    let hello = world.fixture("hello", &["-static"]);
    let options = ["-m", "basename=hello", "--debugger", "strace"];
    let outcome = world.debug_sh(&options, &format!("{} a; echo status $?", hello.display()));
    assert!(outcome.stderr.contains(": strace in background"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("brk(NULL)"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("+++ exited with 3 +++"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn perf_has_its_profile_from_the_first_instruction() {
    let world = World::new();
    let hello = world.fixture("hello", &["-static"]);
    let mut command = world.tracexec(["-C", world.dir.path().to_str().unwrap(), "debug", "-v"]);
    command.args(["-m", "basename=hello", "--debugger", "perf-record", "--", "sh", "-c"]);
    command.arg(format!("{} a; echo status $?", hello.display()));
    let outcome = finish(world.start(command));
    let pid =
        crate::support::pid_in(outcome.stderr.lines().find(|l| l.contains("perf-record")).unwrap());
    assert!(outcome.stderr.contains("is in the debugger's hands"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{}", outcome.stderr);
    let data = fs::read(world.path(&format!("perf-{pid}.data"))).unwrap();
    assert!(data.starts_with(b"PERFILE2"));
    nothing_is_left_of(&world);
}
