//! A signal that ends a program.

use super::{Way, each_is_held, way};
use crate::support::typed::{Typed, nothing_is_left_of};
use crate::support::{
    World, eventually, finish, pid_in, processes_with, signal_process, state, status_of,
};

/// The threads of a process.
fn threads_of(pid: i32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

const WAYS: [Way; 9] = [
    way("null", "SIGSEGV at 0x0", 139),
    way("abort", "SIGABRT", 134),
    way("assert", "SIGABRT", 134),
    way("division", "SIGFPE at 0x", 136),
    way("illegal", "SIGILL at 0x", 132),
    way("bus", "SIGBUS at 0x", 135),
    way("int3", "SIGTRAP", 133),
    way("raise", "SIGSEGV", 139),
    way("forked", "SIGSEGV at 0x0", 0),
];

#[test]
fn a_crash_is_held_at_its_frame_and_its_parent_sees_the_true_status() {
    each_is_held("crash", &[], &WAYS, "");
}

#[test]
fn a_crash_in_another_thread_is_shown_in_that_thread() {
    each_is_held("crash", &[], &WAYS[..8], "thread");
}

#[test]
fn a_static_and_a_32_bit_program_crash_as_well() {
    each_is_held("crash", &["-static"], &WAYS[..2], "thread");
    each_is_held("crash", &["-m32"], &WAYS[..2], "thread");
}

#[test]
fn a_stack_that_is_full_is_held_where_it_overflows() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let options = ["--on", "crash", "--debugger", "gdb", "--in", "background", "--ex", "bt 3"];
    for admit in [false, true] {
        let mut command =
            world.tracexec(["debug"].iter().chain(&options).chain(&["--", "sh", "-c"]));
        command.arg(format!("{program} overflow; echo $?"));
        if admit {
            // As where Yama wants a process to name its debugger, for which it has no stack.
            command.env("TRACEXEC_ADMIT", "1");
        }
        let outcome = finish(world.start(command));
        assert!(outcome.stderr.contains("#2 "), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("in deeper (depth="), "{}", outcome.stderr);
        assert_eq!(outcome.out(), "139\n", "{}", outcome.stderr);
    }
}

#[test]
fn a_process_that_names_its_debugger_first_crashes_as_before() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    for mode in ["null", "abort thread", "null thread", "exit", "exit thread"] {
        let options = ["debug", "--on", "crash,fail", "-m", "basename=dies", "--debugger", "gdb"];
        let look = ["--in", "background", "--ex", "frame function happen", "--ex", "print answer"];
        let mut command = world.tracexec(options.iter().chain(&look).chain(&["--", "sh", "-c"]));
        command.arg(format!("{program} {mode}; echo $?")).env("TRACEXEC_ADMIT", "1");
        let outcome = finish(world.start(command));
        assert!(outcome.stderr.contains("$1 = 42"), "{mode}: {}", outcome.stderr);
        // A kernel without Yama refuses the call itself.
        let made = !outcome.stderr.contains("Yama may") || outcome.stderr.contains("os error 22");
        assert!(made, "{mode}: {}", outcome.stderr);
        let status = match mode.split(' ').next() {
            Some("null") => "139\n",
            Some("abort") => "134\n",
            _ => "3\n",
        };
        assert_eq!(outcome.out(), status, "{mode}: {}", outcome.stderr);
    }
    nothing_is_left_of(&world);
}

#[test]
fn lldb_selects_the_thread_that_crashed() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let options = ["--on", "crash", "--debugger", "lldb", "--in", "background"];
    let look = ["--ex", "frame variable answer"];
    let script = format!("{program} null; echo $?; {program} null thread; echo $?");
    let outcome = world.debug_sh(&[&options[..], &look].concat(), &script);
    assert_eq!(
        outcome.stderr.matches("(volatile int) answer = 42").count(),
        2,
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.out(), "139\n139\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn the_sigcont_of_the_hand_over_is_for_the_thread_that_crashed() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    for (mode, signal, status) in [("null", "SIGSEGV", 139), ("abort", "SIGABRT", 134)] {
        let script = format!("{program} {mode} thread; echo $?");
        let options = ["--on", "crash", "--debugger", "gdb"];
        let mut typed = Typed::start(&world, &options, &script);
        let pid = typed.hit();
        typed.screen.wait_for("(gdb) ");
        // Pending for another one, it would be reported when the process is dead.
        let pending = |tid: i32, key: &str| {
            let set = status_of(tid, key).map(|set| u64::from_str_radix(&set, 16).unwrap());
            set.is_some_and(|set| set & (1 << (libc::SIGCONT - 1)) != 0)
        };
        let threads = || threads_of(pid).into_iter();
        let holder =
            eventually("SIGCONT pending", || threads().find(|&tid| pending(tid, "SigPnd")));
        assert_eq!(Some(holder), threads().max(), "{mode}: {:?}", threads());
        assert!(!pending(pid, "ShdPnd"), "{mode}");
        let shown = typed.enter("continue", "(gdb) ");
        assert!(shown.contains(&format!("received signal {signal}")), "{shown}");
        let shown = typed.enter("continue", "The program no longer exists.");
        assert!(!shown.contains("SIGCONT"), "{shown}");
        typed.enter("quit", "");
        assert_eq!(typed.finish().out(), format!("{status}\n"));
    }
    nothing_is_left_of(&world);
}

#[test]
fn what_a_program_handles_itself_is_not_held() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!("{program} handled; echo $?; {program} rethrow; echo $?");
    let options = ["--on", "crash", "--debugger", "gdb", "--in", "background", "--ex", "bt"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "7\n139\n", "{}", outcome.stderr);
    // The second one goes back to the default, and is held at that.
    assert!(!outcome.stderr.contains("dies handled is about"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("dies rethrow is about to die of SIGSEGV"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_forked_child_is_named_by_its_own_pid() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let args = ["debug", "--on", "crash", "--hold", "--", &program, "forked"];
    let mut running = world.start(world.tracexec(args));
    let pid = pid_in(&running.stderr_line(": held"));
    eventually("state T", || (state(pid) == Some('T')).then_some(()));
    assert_ne!(status_of(pid, "PPid"), Some(running.pid().to_string()));
    assert_eq!(world.run(["release", &pid.to_string()]).code(), 0);
    assert_eq!(finish(running).code(), 0);
}

#[test]
fn in_a_pipeline_under_a_shell_the_others_go_on() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!("(echo before; {program} abort; echo $?) | cat; echo after");
    let options = ["--on", "crash", "--debugger", "gdb-backtrace", "--in", "background"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "before\n134\nafter\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("in happen () at"), "{}", outcome.stderr);
}

#[test]
fn thirty_at_once_are_all_held_and_all_die_their_own_death() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!(
        "for i in 1 2 3 4 5; do for m in null abort 'null t' 'abort t' raise division; do \
         ({program} $m; echo $m $?) & done; done; wait"
    );
    let command = world.tracexec(["debug", "--on", "crash", "--hold", "--", "sh", "-c", &script]);
    let mut running = world.start(command);
    let pids: Vec<i32> = (0..30).map(|_| pid_in(&running.stderr_line(": held"))).collect();
    for &pid in &pids {
        eventually("all in state T", || (state(pid) == Some('T')).then_some(()));
        assert_eq!(status_of(pid, "TracerPid").as_deref(), Some("0"));
    }
    assert_eq!(world.run(["release", "--all"]).out().lines().count(), 30);
    let outcome = finish(running);
    for (mode, count) in [
        ("null 139", 5),
        ("abort 134", 5),
        ("null t 139", 5),
        ("abort t 134", 5),
        ("raise 139", 5),
        ("division 136", 5),
    ] {
        assert_eq!(outcome.out().lines().filter(|line| *line == mode).count(), count, "{mode}");
    }
    nothing_is_left_of(&world);
}

#[test]
fn a_signal_from_outside_is_one_of_the_default_set_or_of_the_filter() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let mark = format!("{program}\0sleep");
    let run = |options: &[&str], signal: i32| {
        let mut args = vec!["debug", "--hold"];
        args.extend_from_slice(options);
        let script = format!("{program} sleep; echo $?");
        args.extend(["--", "sh", "-c", &script]);
        let mut running = world.start(world.tracexec(args));
        let pid = eventually("the program asleep", || {
            let found = *processes_with(&mark).first()?;
            (state(found) == Some('S')).then_some(found)
        });
        signal_process(pid, signal);
        let held = eventually("its end or its stop", || match state(pid) {
            Some('T') => Some(true),
            None | Some('Z') => Some(false),
            _ => None,
        });
        if held {
            let line = running.stderr_line("is about to die");
            assert!(line.contains(&format!("sent by {}", std::process::id())), "{line}");
            eventually("its release", || {
                world.run(["release", "--all"]).out().contains("released").then_some(())
            });
        }
        let outcome = finish(running);
        assert_eq!(outcome.out(), format!("{}\n", 128 + signal), "{}", outcome.stderr);
        held
    };
    assert!(run(&["--on", "crash"], libc::SIGSEGV));
    assert!(!run(&["--on", "crash"], libc::SIGTERM));
    assert!(run(&["--on", "crash", "-m", "signal=TERM"], libc::SIGTERM));
    assert!(!run(&["--on", "crash", "-m", "signal=TERM"], libc::SIGSEGV));
    nothing_is_left_of(&world);
}

#[test]
fn what_a_program_in_a_pid_namespace_sends_itself_is_its_own() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let script = format!("unshare --pid --fork --mount-proc sh -c '{program} abort t; echo $?'");
    let options = ["--on", "crash", "-m", "basename=dies", "--list"];
    let outcome = world.debug_sh(&options, &script);
    assert!(outcome.stderr.contains("about to die of SIGABRT (basename"), "{}", outcome.stderr);
    assert_eq!(outcome.out(), "134\n", "{}", outcome.stderr);
}
