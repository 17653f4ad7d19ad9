//! `--on` with `--save` and no debugger: what is saved is of the thread to which it happened, and a program that
//! fails is at its very end then, and still all there.

use std::path::PathBuf;
use std::process::Command;

use crate::support::typed::nothing_is_left_of;
use crate::support::{World, eventually, finish, pid_in, state};

const SAVE: [&str; 6] = ["--on", "fail", "-m", "basename=dies", "--save", "core,backtrace,repro"];

/// The folders of the matches, in the order of their numbers.
fn folders(world: &World) -> Vec<PathBuf> {
    let kept = std::fs::read_dir(world.path("kept"));
    let mut found: Vec<PathBuf> =
        kept.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort_by_key(|path| path.extension().and_then(|n| n.to_str()?.parse::<u64>().ok()));
    found
}

#[test]
fn each_way_to_leave_is_saved_with_its_stack_at_one_stop() {
    for (flags, modes) in [
        (&[][..], &["exit", "_exit", "exit_group", "call_exit", "exit t", "exit_group t"][..]),
        (&["-static"], &["exit", "exit_group"]),
        (&["-m32"], &["_exit", "exit_group"]),
    ] {
        let world = World::new();
        let program = world.fixture("dies", flags);
        let script: String = modes
            .iter()
            .map(|mode| format!("{} {mode}; echo $?; ", program.display()))
            .chain([format!("{} well; echo $?", program.display())])
            .collect();
        let to = world.path("kept").display().to_string();
        let outcome = world.debug_sh(&[&SAVE[..], &["--to", &to]].concat(), &script);
        let said = &outcome.stderr;
        assert_eq!(outcome.out(), "3\n".repeat(modes.len()) + "0\n", "{said}");
        assert_eq!(said.matches(": repro, core, backtrace in ").count(), modes.len(), "{said}");
        let folders = folders(&world);
        assert_eq!(folders.len(), modes.len(), "{said}");
        for (folder, mode) in folders.iter().zip(modes) {
            let text = std::fs::read_to_string(folder.join("backtrace.txt")).unwrap();
            assert!(
                text.contains("in happen ()") && text.contains("answer = 42"),
                "{mode}: {text}"
            );
            let gdb = Command::new("gdb")
                .args([
                    "-q",
                    "-batch",
                    "-nx",
                    "-ex",
                    "frame function happen",
                    "-ex",
                    "print answer",
                ])
                .arg(&program)
                .arg(folder.join("core"))
                .output()
                .unwrap();
            let shown = String::from_utf8_lossy(&gdb.stdout);
            assert!(shown.contains("$1 = 42"), "{mode}: {shown}");
            assert!(folder.join("repro.sh").exists());
        }
        nothing_is_left_of(&world);
    }
}

/// A thread that ends is taken out of any stop, and the tracer's next word ends the stop after it.
#[test]
fn a_first_thread_that_slips_away_is_not_waited_for() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let to = world.path("kept").display().to_string();
    let options = ["--on", "fail", "-m", "basename=dies", "--save", "repro", "--to", &to];
    let script = format!("i=0; while [ $i -lt 100 ]; do {program} exit_group t; i=$((i+1)); done");
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.stderr.matches(": repro in ").count(), 100, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn a_core_shows_the_thread_that_crashed_and_its_signal() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let to = world.path("kept").display().to_string();
    let options = ["--on", "crash", "-m", "basename=dies", "--save", "core,backtrace,repro"];
    let modes = [
        ("null", "SIGSEGV", "139"),
        ("null t", "SIGSEGV", "139"),
        ("abort", "SIGABRT", "134"),
        ("abort t", "SIGABRT", "134"),
        ("division t", "SIGFPE", "136"),
    ];
    let script: String =
        modes.iter().map(|(mode, ..)| format!("{program} {mode}; echo $?; ")).collect();
    let outcome = world.debug_sh(&[&options[..], &["--to", &to]].concat(), &script);
    let statuses: String = modes.iter().map(|(.., status)| format!("{status}\n")).collect();
    assert_eq!(outcome.out(), statuses, "{}", outcome.stderr);
    let folders = folders(&world);
    assert_eq!(folders.len(), modes.len(), "{}", outcome.stderr);
    for (folder, (mode, signal, _)) in folders.iter().zip(modes) {
        let gdb = Command::new("gdb")
            .args(["-q", "-batch", "-nx", "-ex", "frame function happen", "-ex", "print answer"])
            .arg(&program)
            .arg(folder.join("core"))
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&gdb.stdout);
        assert!(shown.contains("$1 = 42"), "{mode}: {shown}");
        assert!(shown.contains(&format!("terminated with signal {signal}")), "{mode}: {shown}");
        let text = std::fs::read_to_string(folder.join("backtrace.txt")).unwrap();
        assert!(text.contains(", at its crash\n"), "{mode}: {text}");
        let record = std::fs::read_to_string(folder.join("hit.json")).unwrap();
        assert!(record.contains("\"moment\": \"crash\""), "{mode}: {record}");
    }
}

#[test]
fn lldb_can_look_at_its_core_too() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let to = world.path("kept").display().to_string();
    let outcome = world.debug_sh(
        &["--on", "fail", "-m", "basename=dies", "--save", "core", "--to", &to],
        &format!("{program} exit; echo $?"),
    );
    assert_eq!(outcome.out(), "3\n", "{}", outcome.stderr);
    let core = folders(&world)[0].join("core");
    let lldb = ["lldb", "lldb-19"].iter().find_map(|name| which::which(name).ok());
    let lldb = Command::new(lldb.expect("apt install lldb-19"))
        .args(["-b", "-x", "-o", "thread backtrace", "-c"])
        .arg(core)
        .arg(&program)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&lldb.stdout);
    assert!(shown.contains("`happen"), "{shown}");
}

#[test]
fn what_is_wanted_no_more_ends_with_its_own_status() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let out = world.path("out");
    // So many that some wait for their turn when the end comes.
    let script = format!(
        "for i in $(seq 20); do ({program} exit; echo $? >>{}) & done; wait",
        out.display()
    );
    let to = world.path("kept").display().to_string();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let _ = std::fs::remove_file(&out);
        let options = ["--on", "fail", "-m", "basename=dies", "--save", "core", "--to", &to];
        let args = [&["debug"], &options[..], &["--", "sh", "-c", &script]].concat();
        let mut running = world.start(world.tracexec(args));
        running.stderr_line(" in ");
        running.signal(signal);
        finish(running);
        eventually("twenty ends", || {
            let text = std::fs::read_to_string(&out).ok()?;
            (text == "3\n".repeat(20)).then_some(())
        });
        nothing_is_left_of(&world);
    }
}

#[test]
fn a_program_whose_first_thread_has_gone_is_no_riddle() {
    let world = World::new();
    let program = world.fixture("headless", &[]).display().to_string();
    let to = world.path("kept").display().to_string();
    let options = ["--on", "fail", "-m", "basename=headless", "--save", "core", "--to", &to];
    let outcome = world.debug_sh(&options, &format!("{program}; echo $?"));
    assert_eq!(outcome.out(), "4\n", "{}", outcome.stderr);
    // The same where it is to turn back.
    let options = ["--on", "fail", "-m", "basename=headless", "--hold", "--", &program];
    let mut running = world.start(world.tracexec([&["debug"][..], &options].concat()));
    let pid = pid_in(&running.stderr_line(": held"));
    eventually("its first thread is gone", || (state(pid) == Some('Z')).then_some(()));
    assert_eq!(world.run(["release", &pid.to_string()]).code(), 0);
    assert_eq!(finish(running).code(), 4);
}

#[test]
fn what_was_saved_at_its_exec_is_still_there_for_what_comes_later() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let to = world.path("kept").display().to_string();
    let on = ["--on", "exec,crash,fail", "-m", "basename=dies"];
    let script = format!("{program} null; echo $?; {program} exit; echo $?");
    for save in ["repro", "core,backtrace,repro"] {
        let options = [&on[..], &["--save", save, "--to", &to]].concat();
        let outcome = world.debug_sh(&options, &script);
        let said = &outcome.stderr;
        assert_eq!(outcome.out(), "139\n3\n", "{said}");
        assert_eq!(said.matches(": repro").count(), 4, "{said}");
        for what in ["is about to die of SIGSEGV", "is about to exit with status 3"] {
            assert_eq!(said.matches(what).count(), 1, "{said}");
        }
        // COMMAND itself, too.
        let own = [&["debug", "--backend", crate::support::BACKEND], &options[..]].concat();
        let outcome =
            finish(world.start(world.tracexec([&own[..], &["--", &program, "null"]].concat())));
        assert_eq!(outcome.code(), 139, "{}", outcome.stderr);
        assert_eq!(outcome.stderr.matches(": repro").count(), 2, "{}", outcome.stderr);
    }
    // The same where a match was passed over, is listed only, or has a wrapper.
    for (options, crash) in [
        (&["--skip", "1", "--save", "repro", "--to", &to][..], ": repro in "),
        (&["--list"], ""),
        (&["--wrap", "env A=1"], "not under env A=1"),
    ] {
        let outcome =
            world.debug_sh(&[&on[..], options].concat(), &format!("{program} null; echo $?"));
        let said = &outcome.stderr;
        assert_eq!(outcome.out(), "139\n", "{said}");
        let line = said.lines().find(|line| line.contains("is about to die of SIGSEGV"));
        assert!(line.is_some_and(|line| line.contains(crash)), "{options:?}: {said}");
    }
    nothing_is_left_of(&world);
}

#[test]
fn the_time_of_a_hang_begins_when_what_was_held_at_its_exec_runs() {
    let world = World::new();
    let to = world.path("kept").display().to_string();
    // Its core and backtrace take some of that time.
    let options = ["--on", "exec,hang=100ms", "-m", "basename=sleep", "--save", "core,backtrace"];
    let outcome = world.debug_sh(&[&options[..], &["--to", &to]].concat(), "sleep 2; echo $?");
    assert_eq!(outcome.out(), "0\n", "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches(": core, backtrace in ").count(), 2, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("still runs after").count(), 1, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}
