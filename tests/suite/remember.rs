//! `--remember`: breakpoints that are set at one match serve at the next.

use std::fs;
use std::path::PathBuf;

use crate::support::typed::{Typed, nothing_is_left_of};
use crate::support::{World, eventually, signal_process};

struct Debugger {
    name: &'static str,
    prompt: &'static str,
    say_ready: &'static str,
    set: [&'static str; 2],
    /// What shows that the first, and that the second was reached.
    reached: [&'static str; 2],
    delete: (&'static str, &'static str),
    really: &'static str,
    /// What is said at the process's end.
    exited: &'static str,
}

const GDB: Debugger = Debugger {
    name: "gdb",
    prompt: "(gdb) ",
    say_ready: "echo ready\\n",
    set: ["break main", "break hello.c:8 if argc > 1"],
    reached: ["Breakpoint 1, main (", "Breakpoint 2, main ("],
    delete: ("delete 3", "(gdb) "),
    really: "Quit anyway?",
    exited: "exited with code 03",
};

const LLDB: Debugger = Debugger {
    name: "lldb",
    prompt: "(lldb) ",
    say_ready: "script print('ready')",
    set: ["breakpoint set -n main", "breakpoint set -f hello.c -l 8 -c 'argc > 1'"],
    reached: ["stop reason = breakpoint 1.1", "stop reason = breakpoint 2.1"],
    delete: ("breakpoint delete 3", "1 breakpoints deleted"),
    really: "really want to proceed",
    exited: "exited with status = 3",
};

with_both!(
    they_serve_again_however_the_debugger_has_ended,
    what_was_deleted_is_forgotten,
    where_debugger_runs_as_another_user_too,
);

fn start(world: &World, debugger: &Debugger, options: &[&str], matches: usize) -> Typed {
    let hello = world.fixture("hello", &[]);
    let script = vec![format!("{} a; echo status $?", hello.display()); matches].join("; ");
    let own = ["--remember", "-m", "basename=hello", "--debugger", debugger.name];
    let options = [options, &["--ex", debugger.say_ready]].concat();
    Typed::start(world, &[&own[..], &options].concat(), &script)
}

/// Waits for the next match and the debugger's prompt; the match's pid.
#[track_caller]
fn ready(typed: &mut Typed, debugger: &Debugger) -> i32 {
    let pid = typed.hit();
    typed.screen.wait_for("\nready\n");
    typed.screen.wait_for(debugger.prompt);
    pid
}

/// The file in which they are, once that holds `text`.
#[track_caller]
fn written(world: &World, text: &str) -> PathBuf {
    eventually(&format!("a file with {text:?}"), || {
        let folder = fs::read_dir(world.path("run/tracexec")).ok()?.flatten();
        let mut folders = folder.map(|entry| entry.path()).filter(|path| path.is_dir());
        let file = fs::read_dir(folders.next()?).ok()?.flatten().next()?.path();
        fs::read_to_string(&file).ok()?.contains(text).then_some(file)
    })
}

/// The debugger that has process `pid`, as `tracexec ps` tells: lldb's tracer is a child of its own.
#[track_caller]
fn debugger_of(world: &World, pid: i32) -> i32 {
    let said = world.run(["ps"]).out();
    let line = said.lines().find(|line| line.contains(&format!(" {pid} attached"))).unwrap();
    line.split_once("(debugger ").unwrap().1.split_once(')').unwrap().0.parse().unwrap()
}

#[track_caller]
fn go_on(typed: &mut Typed, debugger: &Debugger, reached: &str) {
    typed.enter("continue", reached);
    // lldb has its prompt before it tells of the stop, gdb after it.
    typed.screen.wait_for("hello.c");
    if debugger.name == "gdb" {
        typed.screen.wait_for(debugger.prompt);
    }
}

#[track_caller]
fn quit(typed: &mut Typed, debugger: &Debugger) {
    typed.enter("quit", debugger.really);
    typed.keys("y\n");
}

fn they_serve_again_however_the_debugger_has_ended(debugger: &Debugger) {
    let world = World::new();
    let mut typed = start(&world, debugger, &[], 5);
    // Set, and left by quit.
    ready(&mut typed, debugger);
    for line in debugger.set {
        typed.enter(line, "hello.c");
    }
    written(&world, "argc > 1");
    quit(&mut typed, debugger);
    // By the program's end, and then the end of what is typed.
    ready(&mut typed, debugger);
    for reached in debugger.reached {
        go_on(&mut typed, debugger, reached);
    }
    typed.enter("continue", debugger.exited);
    typed.enter("help quit", debugger.prompt);
    typed.keys("\x04");
    // By Ctrl-D with the program there.
    ready(&mut typed, debugger);
    go_on(&mut typed, debugger, debugger.reached[0]);
    typed.keys("\x04");
    // lldb asks nobody.
    if debugger.name == "gdb" {
        typed.screen.wait_for(debugger.really);
        typed.keys("y\n");
    }
    // By its death.
    let pid = ready(&mut typed, debugger);
    go_on(&mut typed, debugger, debugger.reached[0]);
    // What it has put into the program would be left in it, and so the program goes first, of which a debugger that is
    // stopped sees nothing.
    let debugger_pid = debugger_of(&world, pid);
    for (process, signal) in
        [(debugger_pid, libc::SIGSTOP), (pid, libc::SIGKILL), (debugger_pid, libc::SIGKILL)]
    {
        signal_process(process, signal);
    }
    ready(&mut typed, debugger);
    for reached in debugger.reached {
        go_on(&mut typed, debugger, reached);
    }
    quit(&mut typed, debugger);
    let outcome = typed.finish();
    let out = outcome.out();
    assert_eq!(out.matches("a\nhello\nstatus 3\n").count(), 4, "{out}\n{}", outcome.stderr);
    assert!(out.contains("status 137\n"), "{out}");
    let left = fs::read_dir(world.path("run/tracexec")).unwrap().count();
    assert_eq!(left, 0, "the session's file is gone with it");
    nothing_is_left_of(&world);
}

fn what_was_deleted_is_forgotten(debugger: &Debugger) {
    let world = World::new();
    let mut typed = start(&world, debugger, &["--break", "main"], 3);
    // The breakpoint of --break is none of the user's.
    ready(&mut typed, debugger);
    for line in debugger.set {
        typed.enter(line, "hello.c");
    }
    written(&world, "argc > 1");
    typed.enter(debugger.delete.0, debugger.delete.1);
    let file = written(&world, "main");
    eventually("the file without it", || {
        (!fs::read_to_string(&file).unwrap().contains("argc > 1")).then_some(())
    });
    quit(&mut typed, debugger);
    for _ in 0..2 {
        ready(&mut typed, debugger);
        typed.enter("continue", debugger.exited);
        typed.keys("quit\n");
    }
    let outcome = typed.finish();
    assert_eq!(outcome.out().matches("status 3\n").count(), 3, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

fn where_debugger_runs_as_another_user_too(debugger: &Debugger) {
    let world = World::new();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut typed = start(&world, debugger, &["-u", "nobody"], 2);
    ready(&mut typed, debugger);
    typed.enter(debugger.set[0], "hello.c");
    go_on(&mut typed, debugger, debugger.reached[0]);
    quit(&mut typed, debugger);
    ready(&mut typed, debugger);
    go_on(&mut typed, debugger, debugger.reached[0]);
    quit(&mut typed, debugger);
    let outcome = typed.finish();
    assert_eq!(outcome.out().matches("status 3\n").count(), 2, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn what_gdb_cannot_set_again_does_not_keep_the_rest() {
    let world = World::new();
    let mut typed = start(&world, &GDB, &["--break", "main"], 2);
    typed.hit();
    typed.screen.wait_for("(gdb) ");
    typed.enter("watch argc", "(gdb) ");
    typed.enter("break hello.c:9", "(gdb) ");
    typed.enter("commands", ">");
    typed.enter("echo here-we-are\\n", ">");
    typed.enter("end", "(gdb) ");
    written(&world, "here-we-are");
    quit(&mut typed, &GDB);
    typed.hit();
    typed.screen.wait_for("tracexec: not set again: watch argc");
    typed.screen.wait_for("(gdb) ");
    typed.enter("continue", "here-we-are");
    quit(&mut typed, &GDB);
    assert_eq!(typed.finish().out().matches("status 3\n").count(), 2);
}

#[test]
fn a_debugger_that_cannot_is_refused_beforehand() {
    let world = World::new();
    for name in ["gdbserver", "strace", "gdb -p {{pid}}"] {
        let options = ["-m", "argc>0", "--in", "background", "--remember", "--debugger", name];
        let outcome = world.debug_sh(&options, "true");
        assert_eq!(outcome.code(), 125, "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("has no words for --remember"), "{}", outcome.stderr);
    }
}
