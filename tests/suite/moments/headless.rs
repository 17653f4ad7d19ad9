//! A process whose first thread has ended: no debugger attaches to it, which is said, and one that only looks gets a core.

use std::fs;
use std::process::Command;

use super::script_of;
use crate::support::typed::nothing_is_left_of;
use crate::support::{World, eventually, finish, pid_in};

/// What does something else must have the time for it.
fn on(mode: &str) -> [&'static str; 4] {
    let moments = if mode == "hang" { "hang=300ms,crash,fail" } else { "crash,fail" };
    ["--on", moments, "-m", "basename=headless"]
}

/// The ways, what the hit says of each, and the status for a shell.
const WAYS: [(&str, &str, i32); 3] = [
    ("crash", "is about to die of SIGSEGV at 0x0", 139),
    ("hang", "still runs after ", 4),
    ("exit", "is about to exit with status 4", 4),
];

/// The stages that the lines of JSON tell of, with the ends.
fn stages(hits: &str) -> String {
    let lines = hits.lines().map(|line| serde_json::from_str(line).unwrap());
    let words = |line: serde_json::Value| {
        format!("{} {};", line["stage"].as_str().unwrap(), line["end"].as_str().unwrap_or_default())
    };
    lines.map(words).collect()
}

/// Runs it under a debugger; what was said, and the stages of its hits.
#[track_caller]
fn under(debugger: &str, mode: &str, status: i32) -> (String, String) {
    let world = World::new();
    world.fixture("headless", &[]);
    let hits = world.file("hits", "").display().to_string();
    let more = ["--debugger", debugger, "--in", "background", "--hits-json", &hits];
    let done = format!("grep -q released '{hits}'");
    let script = script_of(&world, "headless", &format!("{mode} FLAG"), &done);
    let outcome = world.debug_sh(&[&on(mode)[..], &more].concat(), &script);
    let said = outcome.stderr.clone();
    assert_eq!(outcome.out(), format!("{status}\n"), "{mode}: {said}");
    nothing_is_left_of(&world);
    (said, stages(&fs::read_to_string(&hits).unwrap()))
}

#[test]
fn one_that_only_looks_gets_a_core() {
    for (debugger, frames) in [
        ("gdb-backtrace", ["in happen () at ", "answer = 42", " other (unused="]),
        ("lldb-backtrace", ["exe`happen at ", "(volatile int) answer = 42", "exe`other("]),
    ] {
        for (mode, says, status) in WAYS {
            let (said, stages) = under(debugger, mode, status);
            // What hangs fails afterwards.
            let count = if mode == "hang" { 2 } else { 1 };
            assert_eq!(
                said.matches(" on its core, since its first thread").count(),
                count,
                "{said}"
            );
            assert_eq!(said.matches("---- tracexec: process ").count(), count, "{said}");
            assert!(said.contains(says) && !said.contains("tracexec: warning: "), "{mode}: {said}");
            for frame in frames {
                // At its exit the other one has left.
                assert!(said.contains(frame) || mode == "exit", "{mode}, {frame}: {said}");
            }
            let one = "waiting ;over released;";
            assert_eq!(stages, one.repeat(count), "{mode}: {said}");
        }
    }
}

#[test]
fn any_other_is_not_started_and_that_is_said() {
    for debugger in ["gdb", "lldb", "gdbserver"] {
        for (mode, says, status) in WAYS {
            let (said, stages) = under(debugger, mode, status);
            let why = format!("{debugger} cannot attach to it: its first thread has ended");
            let line = said.lines().find(|line| line.contains(says)).unwrap();
            assert!(line.contains("warning: ") && line.contains(&why), "{said}");
            assert!(
                said.contains("hint: a core can be looked at: --save core,backtrace"),
                "{said}"
            );
            assert!(!stages.contains("attached") && !stages.contains("parked"), "{stages}");
        }
    }
}

#[test]
fn what_is_saved_of_it_has_its_stacks() {
    for debugger in ["gdb-backtrace", "lldb-backtrace"] {
        for save in ["backtrace", "core,backtrace,repro"] {
            let world = World::new();
            let program = world.fixture("headless", &[]);
            let kept = world.path("kept").display().to_string();
            // The debugger names the one that is to write, and looks at the process in its turn.
            let more = ["--debugger", debugger, "--in", "background", "--save", save];
            let options = [&on("crash")[..], &more, &["--to", &kept]].concat();
            let outcome =
                world.debug_sh(&options, &script_of(&world, "headless", "crash FLAG", "true"));
            let said = &outcome.stderr;
            assert_eq!(outcome.out(), "139\n", "{said}");
            assert!(!said.contains("tracexec: warning: "), "{said}");
            let folder = fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
            let text = fs::read_to_string(folder.join("backtrace.txt")).unwrap();
            assert!(text.contains("happen") && text.contains("answer = 42"), "{text}");
            assert_eq!(folder.join("core").exists(), save != "backtrace");
            if save != "backtrace" {
                let gdb = Command::new("gdb")
                    .args(["-q", "-batch", "-nx", "-ex", "frame function happen"])
                    .args(["-ex", "print answer"])
                    .args([&program, &folder.join("core")])
                    .output()
                    .unwrap();
                let shown = String::from_utf8_lossy(&gdb.stdout);
                assert!(shown.contains("$1 = 42"), "{shown}");
                assert_eq!(shown.matches("[New LWP ").count(), 2, "{shown}");
            }
            nothing_is_left_of(&world);
        }
    }
}

#[test]
fn held_for_somebody_it_stays_so_and_the_hint_is_true() {
    let world = World::new();
    let program = world.fixture("headless", &[]).display().to_string();
    let by_debugger = ["--debugger", "gdb", "--in", "background", "--on-launch-failure", "hold"];
    for options in [&["--hold"][..], &by_debugger] {
        let (flag, hits) = (world.path("flag").display().to_string(), world.file("hits", ""));
        let args = ["--on", "hang=300ms", "-m", "basename=headless", "--hits-json"];
        let mut command = world.tracexec([&["debug"], &args[..]].concat());
        command.arg(&hits).args(options).args(["--", &program, "hang", &flag]);
        let mut running = world.start(command);
        let pid = pid_in(&running.stderr_line(" still runs after ").replace("warning: ", ""));
        running.stderr_line("no debugger attaches to it as a whole; `gdb -p TID` shows one thread");
        let shows = |id: i32| {
            let mut gdb = Command::new("gdb");
            gdb.args(["-q", "-batch", "-nx", "-ex", "backtrace", "-p"]).arg(id.to_string());
            let output = gdb.output().unwrap();
            let all = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&all).into_owned()
        };
        let whole = shows(pid);
        assert!(whole.contains("ptrace: Operation not permitted"), "{whole}");
        let tids: Vec<i32> = fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .filter(|&tid| tid != pid)
            .collect();
        assert_eq!(tids.len(), 2);
        assert!(tids.into_iter().any(|tid| shows(tid).contains("in happen () at ")));
        fs::write(&flag, "").unwrap();
        eventually("its release", || {
            let out = world.run(["release", "--all"]).out();
            let over = fs::read_to_string(&hits).unwrap().contains("\"over\"");
            (out.contains("released") || over).then_some(())
        });
        assert_eq!(finish(running).code(), 4);
        fs::remove_file(&flag).unwrap();
        nothing_is_left_of(&world);
    }
}

#[test]
fn one_that_nobody_comes_for_runs_on() {
    let world = World::new();
    let program = world.fixture("headless", &[]).display().to_string();
    let flag = world.file("flag", "").display().to_string();
    let options = ["--on", "fail", "-m", "basename=headless", "--hold", "--attach-timeout", "2"];
    let script = format!("{program} hang {flag}; echo $?");
    // Long after a stop must have come into force, it is not taken for one that runs.
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "4\n", "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("it has not attached after 2 s; it runs on"),
        "{}",
        outcome.stderr
    );
    nothing_is_left_of(&world);
}
