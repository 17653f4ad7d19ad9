//! tracexec dies, at each step of a hand-over and while its hits wait, are parked or are in a debugger's
//! hands: whatever no debugger has runs on, to the end that its parent expects.
//!
//! It has a process group of its own, as under a shell with job control: its death orphans that, and
//! the kernel ends such a group with SIGHUP if one of it is stopped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::support::typed::{Growing, Typed, nothing_is_left_of, processes_of};
use crate::support::{
    BACKEND, Running, WAITING, World, eventually, finish, is_gone, pid_in, state, status_of,
};

/// The places of `fault::point` on the way of a match that is held for somebody to attach by hand.
const HELD: [&str; 10] = [
    "held",
    "inject-begin",
    "inject-written",
    "inject-armed",
    "inject-entered",
    "inject-called",
    "inject-undone",
    "before-stop",
    "stop-sent",
    "detached",
];

/// Those that a debugger adds.
const LAUNCHED: [&str; 7] =
    ["guarded", "launched", "shim-came", "parked", "ordered", "attached", "continued"];

/// Those on the way of one that executes a wrapper; the last, where that cannot be executed.
const WRAPPED: [&str; 4] = ["wrap-written", "wrap-armed", "wrap-entered", "wrap-undone"];

/// The places that later moments add; `tests/moments/death.rs` and `tests/ebpf_moments.rs` die there.
const LATER: [&str; 6] =
    ["moment-begun", "seizing", "seized", "followed", "seized-again", "held-again"];

/// Runs a program that is to exit with 3, in a shell that outlives tracexec and writes its status to a
/// file, and has tracexec die at `place`.
#[track_caller]
fn dies_at(world: &World, place: &str, options: &[&str], program: &Path) {
    let (output, status) = (world.path("output"), world.path("status"));
    let _ = fs::remove_file(&status);
    let script = format!(
        "{} a >{}; echo $? >{status}.new; mv {status}.new {status}",
        program.display(),
        output.display(),
        status = status.display()
    );
    let mut command = world.tracexec(["debug", "-m", "basename=hello"]);
    command.args(options).args(["--", "sh", "-c", &script]);
    command.env("TRACEXEC_DIE_AT", place).env("TRACEXEC_ADMIT", "1");
    let mut running = world.start(command);
    let end = eventually("tracexec's death", || running.child().try_wait().unwrap());
    assert_eq!(
        end.signal(),
        Some(libc::SIGKILL),
        "{place} is not on the way of {options:?}: {end}"
    );
    let found = eventually(&format!("the program's end, after a death at {place}"), || {
        fs::read_to_string(&status).ok()
    });
    assert_eq!(found, "3\n", "{place} {options:?}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "a\nhello\n", "{place} {options:?}");
    nothing_is_left_of(world);
}

#[test]
fn a_match_that_is_about_to_run_under_another_program_runs_with_or_without_it() {
    for flags in [&[][..], &["-m32"]] {
        let world = World::new();
        let hello = world.fixture("hello", flags);
        let broken = world.path("broken");
        fs::write(&broken, "\x01 is no program").unwrap();
        fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
        for place in WRAPPED {
            let wrapper = if place == "wrap-undone" { broken.to_str().unwrap() } else { "env" };
            dies_at(&world, place, &["--wrap", wrapper], &hello);
        }
    }
}

#[test]
fn every_place_is_tested() {
    let mut known: Vec<&str> = HELD.into_iter().chain(LAUNCHED).chain(WRAPPED).collect();
    known.extend(LATER);
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            found.extend(
                text.split("fault::point(\"")
                    .skip(1)
                    .map(|rest| rest.split_once('"').unwrap().0.to_string()),
            );
        }
    }
    known.sort_unstable();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, known);
}

#[test]
fn at_each_step_towards_gdb() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for place in HELD.into_iter().chain(LAUNCHED) {
        dies_at(&world, place, &["--debugger", "gdb", "--in", "background"], &hello);
    }
}

#[test]
fn at_each_step_towards_gdb_in_main() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let options = ["--debugger", "gdb", "--in", "background", "--break", "main", "--ex", "bt"];
    for place in LAUNCHED {
        dies_at(&world, place, &options, &hello);
    }
}

#[test]
fn at_each_step_towards_lldb() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for place in ["detached", "parked", "ordered", "attached", "continued"] {
        dies_at(&world, place, &["--debugger", "lldb", "--in", "background"], &hello);
    }
}

#[test]
fn at_each_step_of_a_hold() {
    for flags in [&[][..], &["-m32"], &["-static"]] {
        let world = World::new();
        let hello = world.fixture("hello", flags);
        for place in HELD {
            dies_at(&world, place, &["--hold"], &hello);
        }
    }
}

/// A tree in which two programs match, and their shell writes both statuses, in order, to a file.
struct Two {
    world: World,
    script: String,
}

impl Two {
    fn new() -> Two {
        let world = World::new();
        let until = world.fixture("until", &[]).display().to_string();
        let [flag, status] = ["flag", "status"].map(|name| world.path(name).display().to_string());
        let script = format!(
            "{until} {flag} & one=$!; {until} {flag} & two=$!; \
             wait $one; one=$?; wait $two; echo $one $? >{status}.new; mv {status}.new {status}"
        );
        Two { world, script }
    }

    /// Both programs, once they have been executed.
    #[track_caller]
    fn pids(&self) -> [i32; 2] {
        let until = self.world.path("until");
        eventually("both programs", || {
            let mut pids = processes_of(&self.world);
            pids.retain(|pid| {
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == until)
            });
            pids.try_into().ok()
        })
    }

    /// Lets both programs end, and waits for their parent to have seen how.
    #[track_caller]
    fn end(&self, statuses: &str) {
        fs::write(self.world.path("flag"), "").unwrap();
        let status = self.world.path("status");
        let found = eventually("both statuses", || fs::read_to_string(&status).ok());
        assert_eq!(found, format!("{statuses}\n"));
        nothing_is_left_of(&self.world);
    }

    /// `tracexec debug` with these options, without a terminal; what it says, and what they say.
    #[track_caller]
    fn start(&self, options: &[&str]) -> (Running, Growing, Growing) {
        let mut command = self.world.tracexec(["debug", "-m", "basename=until"]);
        command.args(options).args(["--", "sh", "-c", &self.script]);
        let mut running = self.world.start(command);
        let stderr = Growing::new(running.child().stderr.take().unwrap());
        let stdout = Growing::new(running.child().stdout.take().unwrap());
        (running, stderr, stdout)
    }
}

/// Waits until a process runs, or sleeps of its own will, and nobody traces it.
#[track_caller]
fn runs_freely(pid: i32) {
    eventually("a process that runs freely", || {
        let free = status_of(pid, "TracerPid")? == "0";
        (free && matches!(state(pid)?, 'R' | 'S' | 'D')).then_some(())
    });
}

/// Whether a process is traced, by a thread of `tracer`.
fn is_traced_by(pid: i32, tracer: i32) -> bool {
    let thread = status_of(pid, "TracerPid").unwrap();
    thread != "0" && Path::new(&format!("/proc/{tracer}/task/{thread}")).exists()
}

#[test]
fn killed_while_one_hit_waits_and_gdb_has_the_other() {
    let two = Two::new();
    let done = two.world.path("done");
    // With the world it ends, too, should the test fail.
    let (folder, done_at) = (two.world.dir.path().display(), done.display());
    let wait = format!("shell while [ -d {folder} -a ! -e {done_at} ]; do sleep 0.01; done\n");
    let script = two.world.file("wait.gdb", wait);
    let gdb = format!("gdb -q -batch -nx -p {{{{pid}}}} -x {}", script.display());
    let (mut running, mut stderr, _) = two.start(&["--debugger", &gdb, "--in", "background"]);
    let in_gdb = pid_in(&stderr.wait_for(" in background"));
    let [one, other] = two.pids();
    let waiting = if one == in_gdb { other } else { one };
    eventually("the other one waiting", || (state(waiting)? == WAITING).then_some(()));
    assert_eq!(is_traced_by(waiting, running.pid()), BACKEND == "ptrace");
    let attached = || (state(in_gdb)? == 't' && !is_traced_by(in_gdb, running.pid())).then_some(());
    eventually("gdb having the first", attached);

    running.signal(libc::SIGKILL);
    eventually("tracexec's end", || running.child().try_wait().unwrap());
    runs_freely(waiting);
    assert_ne!(status_of(in_gdb, "TracerPid").unwrap(), "0");
    assert_eq!(state(in_gdb), Some('t'));
    fs::write(done, "").unwrap();
    runs_freely(in_gdb);
    two.end("5 5");
}

#[test]
fn killed_while_hits_are_parked() {
    let two = Two::new();
    let (mut running, mut stderr, _) = two.start(&["--hold"]);
    for _ in 0..2 {
        stderr.wait_for(": held");
    }
    let pids = two.pids();
    for pid in pids {
        eventually("a parked process", || (state(pid)? == 'T').then_some(()));
        assert_eq!(status_of(pid, "TracerPid").unwrap(), "0");
    }
    running.signal(libc::SIGKILL);
    eventually("tracexec's end", || running.child().try_wait().unwrap());
    for pid in pids {
        runs_freely(pid);
    }
    two.end("5 5");
}

#[test]
fn a_termination_lets_all_go() {
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGHUP, 129)] {
        let two = Two::new();
        let (running, mut stderr, _) = two.start(&["--hold", "--sessions", "1"]);
        let parked = pid_in(&stderr.wait_for(": held"));
        let [one, other] = two.pids();
        let waiting = if one == parked { other } else { one };
        eventually("the other one waiting", || (state(waiting)? == WAITING).then_some(()));
        running.signal(signal);
        assert_eq!(finish_apart(running), status);
        runs_freely(parked);
        runs_freely(waiting);
        two.end("5 5");
    }
}

/// Waits for tracexec's end, but not for COMMAND's; its status.
#[track_caller]
fn finish_apart(mut running: Running) -> i32 {
    let status = eventually("tracexec's end", || running.child().try_wait().unwrap());
    // The group goes on.
    std::mem::forget(running);
    status.code().unwrap_or(-1)
}

/// Whoever started tracexec takes the terminal back, so that gdb cannot stay.
#[test]
fn our_end_ends_a_debugger_on_our_terminal_and_all_goes_on() {
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGKILL, 137)] {
        let two = Two::new();
        let mut typed = Typed::start(&two.world, &["-m", "basename=until"], &two.script);
        let in_gdb = typed.hit();
        typed.screen.wait_for("(gdb) ");
        let [one, other] = two.pids();
        let waiting = if one == in_gdb { other } else { one };
        eventually("the other one waiting", || (state(waiting)? == WAITING).then_some(()));
        crate::support::signal_process(typed.tracexec, signal);
        eventually("tracexec's end", || is_gone(typed.tracexec).then_some(()));
        runs_freely(waiting);
        runs_freely(in_gdb);
        let status = two.world.path("status");
        fs::write(two.world.path("flag"), "").unwrap();
        let found = eventually("both statuses", || fs::read_to_string(&status).ok());
        assert_eq!(found, "5 5\n");
        assert_eq!(typed.finish().code(), code);
        nothing_is_left_of(&two.world);
    }
}

#[test]
fn a_termination_ends_a_debugger_in_the_background_while_its_target_runs() {
    for debugger in ["gdb", "lldb"] {
        let two = Two::new();
        let options = ["--debugger", debugger, "--in", "background", "--ex", "continue"];
        let (running, mut stderr, mut stdout) = two.start(&options);
        let in_debugger = pid_in(&stderr.wait_for(" in background"));
        // Past the dynamic loader, in which a debugger that dies leaves a breakpoint.
        stdout.wait_for("running");
        eventually("the target running", || {
            let elsewhere = !is_traced_by(in_debugger, running.pid());
            (elsewhere && matches!(state(in_debugger)?, 'S' | 'R')).then_some(())
        });
        running.signal(libc::SIGTERM);
        assert_eq!(finish_apart(running), 143);
        for pid in two.pids() {
            runs_freely(pid);
        }
        two.end("5 5");
    }
}

#[test]
fn what_command_has_left_behind_is_let_go_when_tracexec_ends() {
    let world = World::new();
    let until = world.fixture("until", &[]).display().to_string();
    let flag = world.path("flag");
    let script = format!("{until} {} >/dev/null 2>&1 & echo $!; exit 7", flag.display());
    let mut command = world.tracexec(["debug", "--hold", "-m", "basename=none"]);
    command.args(["--", "sh", "-c", &script]);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 7);
    let daemon: i32 = outcome.out().trim().parse().unwrap();
    runs_freely(daemon);
    fs::write(&flag, "").unwrap();
    nothing_is_left_of(&world);
}
