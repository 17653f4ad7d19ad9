//! A program that goes on after it was found to hang comes to its next moment, whatever has looked at it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::script_of;
use crate::support::typed::nothing_is_left_of;
use crate::support::{
    World, eventually, finish, pid_in, processes_with, signal_process, state, status_of,
};

/// Where something new begins it must have the time to crash before it hangs.
fn on(how: &str) -> [&'static str; 4] {
    let moments = match how {
        "child" | "exec" => "hang=2s,crash,fail",
        _ => "hang=200ms,crash,fail",
    };
    ["--on", moments, "-m", "basename=later"]
}

/// What happens after the hang: in which way, what the hit says of it, and the status for a shell.
const WAYS: [(&str, &str, i32); 7] = [
    ("first", "is about to die of SIGSEGV at 0x0", 139),
    ("abort", "is about to die of SIGABRT", 134),
    ("thread", "is about to die of SIGSEGV at 0x0", 139),
    ("new", "is about to die of SIGSEGV at 0x0", 139),
    ("child", "is about to die of SIGSEGV at 0x0", 9),
    ("exec", "is about to die of SIGSEGV at 0x0", 139),
    ("exit", "is about to exit with status 3", 3),
];

/// The folders of the matches, in the order of their numbers.
fn folders(world: &World) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(world.path("kept")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort_by_key(|path| path.extension().and_then(|n| n.to_str()?.parse::<u64>().ok()));
    found
}

#[track_caller]
fn both_are_told(said: &str, how: &str, says: &str) {
    assert_eq!(said.matches(" still runs after ").count(), 1, "{how}: {said}");
    assert_eq!(said.matches(says).count(), 1, "{how}: {said}");
    assert!(!said.contains("not looked after"), "{how}: {said}");
}

#[test]
fn what_has_hung_and_was_saved_is_saved_again_when_it_crashes() {
    for save in ["repro", "core,backtrace,repro"] {
        for (how, says, status) in WAYS {
            let world = World::new();
            world.fixture("later", &[]);
            let kept = world.path("kept").display().to_string();
            // While it is saved it stands still.
            let done = format!("ls '{kept}'/*/hit.json >/dev/null 2>&1");
            let options = [&on(how)[..], &["--save", save, "--to", &kept]].concat();
            let outcome = world
                .debug_sh(&options, &script_of(&world, "later", &format!("FLAG {how}"), &done));
            let said = &outcome.stderr;
            both_are_told(said, how, says);
            // Nor has it seen a SIGCONT.
            assert_eq!(outcome.out(), format!("{status}\n"), "{how}: {said}");
            let folders = folders(&world);
            assert_eq!(folders.len(), 2, "{how}: {said}");
            if save != "repro" && says.contains("SEGV") {
                let text = fs::read_to_string(folders[1].join("backtrace.txt")).unwrap();
                assert!(text.contains(" die () at ") && text.contains("answer = 42"), "{text}");
            }
            nothing_is_left_of(&world);
        }
    }
}

#[test]
fn a_debugger_that_only_looks_gives_it_back() {
    for debugger in ["gdb-backtrace", "lldb-backtrace"] {
        for (how, says, status) in WAYS {
            let world = World::new();
            world.fixture("later", &[]);
            let hits = world.file("hits", "").display().to_string();
            let done = format!("grep -q 'debugger gone' '{hits}'");
            let more = ["--debugger", debugger, "--in", "background", "--hits-json", &hits];
            let outcome = world.debug_sh(
                &[&on(how)[..], &more].concat(),
                &script_of(&world, "later", &format!("FLAG {how}"), &done),
            );
            let said = &outcome.stderr;
            both_are_told(said, how, says);
            // lldb ends the stop by a SIGCONT of its own, which the program sees and tells of.
            let out = outcome.out();
            let out = if debugger.starts_with("lldb") {
                out.lines().next_back()
            } else {
                out.strip_suffix('\n')
            };
            assert_eq!(out, Some(&*status.to_string()), "{how}: {said}");
            assert_eq!(said.matches("---- tracexec: process ").count(), 2, "{how}: {said}");
            nothing_is_left_of(&world);
        }
    }
}

#[test]
fn command_itself_goes_on_too() {
    let world = World::new();
    let program = world.fixture("later", &[]);
    let (kept, flag) = (world.path("kept"), world.path("flag"));
    let mut command = world.tracexec(["debug", "--on", "hang=200ms,crash", "--save", "core"]);
    command.arg("--to").arg(&kept).arg("--").args([&program, &flag]).arg("new");
    let mut running = world.start(command);
    running.stderr_line(" still runs after ");
    fs::write(&flag, "").unwrap();
    running.stderr_line("is about to die of SIGSEGV");
    assert_eq!(finish(running).code(), 139);
    let output = Command::new("gdb")
        .args(["-q", "-batch", "-nx", "-ex", "frame function die", "-ex", "print answer"])
        .args([&program, &folders(&world)[1].join("core")])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("$1 = 42"));
    nothing_is_left_of(&world);
}

#[test]
fn one_that_was_stopped_stays_so() {
    let world = World::new();
    let program = world.fixture("later", &[]);
    let (kept, flag, hits) = (world.path("kept"), world.path("flag"), world.file("hits", ""));
    let mut command = world.tracexec(["debug", "--on", "hang=2s,crash", "-m", "basename=later"]);
    command.args(["--save", "core", "--to"]).arg(&kept).arg("--hits-json").arg(&hits);
    let line = format!("'{}' '{}' first; echo $?", program.display(), flag.display());
    let running = &mut world.start({
        command.args(["--", "sh", "-c", &line]);
        command
    });
    let pid = eventually("the program", || {
        let of_it =
            |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
        processes_with(flag.to_str().unwrap()).into_iter().find(of_it)
    });
    // A SIGCONT that ends the stop at its exec has come by then.
    let begun = || (status_of(pid, "Threads")? == "4").then_some(());
    eventually("its threads", begun);
    signal_process(pid, libc::SIGSTOP);
    eventually("its stop", || matches!(state(pid), Some('t' | 'T')).then_some(()));
    assert_eq!(pid_in(&running.stderr_line(" still runs after ")), pid);
    eventually("the end of the hit", || {
        fs::read_to_string(&hits).unwrap().contains("\"released\"").then_some(())
    });
    fs::write(&flag, "").unwrap();
    // Nothing has set it going.
    assert!(matches!(state(pid), Some('t' | 'T')));
    signal_process(pid, libc::SIGCONT);
    running.stderr_line("is about to die of SIGSEGV");
    nothing_is_left_of(&world);
}

#[test]
fn our_end_while_it_is_with_a_debugger_leaves_it_going() {
    let world = World::new();
    let program = world.fixture("later", &[]);
    let templates = world.path("config/tracexec/launch-templates/debuggers");
    fs::create_dir_all(&templates).unwrap();
    let mark = format!("tail -f {}", world.file("slow", "").display());
    let text = format!(
        "name = 'slow'\ndescription = 'slow'\nprograms = ['gdb']\ninteractive = false\nin-passing = true\n\
         command = '{{{{program}}}} -q -nx -batch -p {{{{pid}}}} -ex \"shell {mark}\"'\n"
    );
    fs::write(templates.join("slow.toml"), text).unwrap();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let (flag, out) = (world.path("flag"), world.path("out"));
        let _ = (fs::remove_file(&flag), fs::remove_file(&out));
        let line = format!(
            "exec >'{2}' 2>&1; '{}' '{}' first; echo $?",
            program.display(),
            flag.display(),
            out.display()
        );
        let options = ["--debugger", "slow", "--in", "background", "-v"];
        let args = [&["debug"], &on("first")[..], &options, &["--", "sh", "-c", &line]].concat();
        let mut running = world.start(world.tracexec(args));
        running.stderr_line("is in the debugger's hands");
        eventually("the debugger's command", || (!processes_with(&mark).is_empty()).then_some(()));
        running.signal(signal);
        fs::write(&flag, "").unwrap();
        // Whoever is still there has it until then.
        for pid in processes_with(&mark) {
            signal_process(pid, libc::SIGKILL);
        }
        finish(running);
        let found = eventually(&format!("the program's end after {signal}"), || {
            fs::read_to_string(&out)
                .ok()
                .filter(|text| text.ends_with('\n') && text.contains("139"))
        });
        assert!(found.ends_with("139\n"), "{signal}: {found}");
    }
    nothing_is_left_of(&world);
}

/// It runs on under a debugger that watches it, though nobody types to that one.
#[test]
fn one_that_is_watched_runs_on_under_its_debugger() {
    let world = World::new();
    let options = ["--on", "hang=200ms", "-m", "basename=sleep", "--debugger", "strace"];
    let outcome = world
        .debug_sh(&[&options[..], &["--in", "background"]].concat(), "/bin/sleep 2; echo then $?");
    let said = &outcome.stderr;
    assert_eq!(outcome.out(), "then 0\n", "{said}");
    assert!(said.contains("+++ exited with 0 +++"), "{said}");
}
