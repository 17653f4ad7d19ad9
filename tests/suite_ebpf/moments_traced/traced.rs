//! Only what counts is traced, from one exec to the next.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::session;
use crate::support::typed::{nothing_is_left_of, processes_of};
use crate::support::{World, ebpf, eventually, finish, pid_in, signal_process, state, status_of};

/// The one process of a world with this name.
#[track_caller]
fn named(world: &World, name: &str) -> i32 {
    eventually(name, || {
        processes_of(world).into_iter().find(|&pid| status_of(pid, "Name").as_deref() == Some(name))
    })
}

/// Who traces a process; 0 for nobody.
fn tracer_of(pid: i32) -> i32 {
    status_of(pid, "TracerPid").unwrap().parse().unwrap()
}

#[test]
fn nobody_traces_what_does_not_count_be_it_above_or_below() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (spawner, until) = (world.fixture("spawner", &[]), world.fixture("until", &[]));
    let flag = world.path("flag");
    let script = format!("{} {} {}; echo $?", spawner.display(), until.display(), flag.display());
    let options = ["-m", "basename=spawner", "--hold"];
    let running = session(&world, "crash,fail,hang=1h", &options, &["sh", "-c", &script]);
    let (sh, spawner, until) =
        (named(&world, "sh"), named(&world, "spawner"), named(&world, "until"));
    eventually("a process in its own hands", || (tracer_of(until) == 0).then_some(()));
    assert_eq!(tracer_of(sh), 0);
    assert_eq!(status_of(tracer_of(spawner), "Tgid"), Some(running.pid().to_string()));
    fs::write(&flag, "").unwrap();
    // It passes on the status of what it has run, which nobody was told of.
    let mut running = running;
    assert_eq!(pid_in(&running.stderr_line(": held")), spawner);
    eventually("its stop", || (state(spawner) == Some('T')).then_some(()));
    assert_eq!(world.run(["release", "--all"]).out(), format!("released {spawner}\n"));
    assert_eq!(finish(running).out().lines().last(), Some("5"));
    nothing_is_left_of(&world);
}

#[test]
fn each_program_is_judged_once_also_those_that_a_followed_one_executes() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let script = "for i in 1 2 3 4 5 6 7 8; do env /bin/true & env env /bin/true; done; wait";
    // 1 shell, 24 times env, 16 times true.
    for (filter, followed) in [("argc>0", 41), ("basename!=env", 17), ("basename=env", 24)] {
        let options = ["-m", filter, "--hold"];
        let outcome = world.debug_sh(&[&["--on", "crash"][..], &options].concat(), script);
        let said = format!("nothing came to --on crash: 41 execs, {followed} of them looked after");
        assert!(outcome.stderr.contains(&said), "{filter}: {}", outcome.stderr);
        assert_eq!(outcome.code(), 0);
    }
    nothing_is_left_of(&world);
}

#[test]
fn the_second_program_of_a_process_is_held_by_its_own_merits() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let dies = world.fixture("dies", &[]).display().to_string();
    let script = format!("env {dies} null; echo $?; env env {dies} exit; echo $?");
    for (filter, hits) in [("argc>0", 2), ("basename=dies", 2), ("basename=env", 0)] {
        let options = ["--on", "crash,fail", "-m", filter, "--list"];
        let outcome = world.debug_sh(&options, &script);
        let found = outcome.stderr.lines().filter(|line| line.contains(" is about to ")).count();
        assert_eq!(found, hits, "{filter}: {}", outcome.stderr);
        assert_eq!(outcome.out(), "139\n3\n");
    }
}

#[test]
fn execs_in_every_way_by_many_at_once_get_lost_nowhere() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let bare = ["-static", "-nostdlib", "-fno-stack-protector"];
    let (ways, digits) = (world.fixture("ways", &[]), world.fixture("digits", &bare));
    for filter in ["argc>0", "basename=digits", "argv[1]~^n.*7$"] {
        let mut command =
            world.tracexec(["debug", "--on", "crash,hang=1h", "--hold", "-m", filter]);
        command.arg("--").arg(&ways).args(["8", "50"]).arg(&digits);
        let outcome = finish(world.start(command));
        assert!(outcome.out().starts_with("400 right, "), "{filter}: {}", outcome.out());
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let followed = match filter {
            "argc>0" => 401,
            "basename=digits" => 400,
            _ => 40,
        };
        let said = format!("401 execs, {followed} of them looked after");
        assert!(outcome.stderr.contains(&said), "{filter}: {}", outcome.stderr);
    }
    nothing_is_left_of(&world);
}

#[test]
fn command_itself_may_count_and_its_end_is_told() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let dies = world.fixture("dies", &[]).display().to_string();
    for (mode, status) in [("null", 139), ("exit", 3), ("well", 0), ("null thread", 139)] {
        let options = ["--debugger", "gdb-backtrace", "--in", "background"];
        let words: Vec<&str> = [&dies[..]].into_iter().chain(mode.split(' ')).collect();
        let outcome = finish(session(&world, "crash,fail", &options, &words));
        assert_eq!(outcome.code(), status, "{mode}: {}", outcome.stderr);
        let held = outcome.stderr.contains(": gdb-backtrace in background");
        assert_eq!(held, status != 0, "{mode}: {}", outcome.stderr);
    }
    // Killed while it is followed, and while it is held.
    let sleeping = session(&world, "crash", &["--hold"], &[&dies, "sleep"]);
    let pid = named(&world, "dies");
    eventually("its sleep", || (state(pid) == Some('S') && tracer_of(pid) != 0).then_some(()));
    signal_process(pid, libc::SIGKILL);
    assert_eq!(finish(sleeping).code(), 137);
    let mut held = session(&world, "crash", &["--hold"], &[&dies, "null"]);
    let pid = pid_in(&held.stderr_line(": held"));
    signal_process(pid, libc::SIGKILL);
    assert_eq!(finish(held).code(), 137);
    // It executes what does not count, and is nobody's tracee then.
    let options = ["-m", "basename=env", "--hold"];
    let outcome = finish(session(&world, "crash", &options, &["env", &dies, "null"]));
    assert_eq!(outcome.code(), 139, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("is about to"), "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn what_strace_traces_already_is_told_of_and_left_to_it() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let dies = world.fixture("dies", &[]).display().to_string();
    let log = world.path("log");
    let inner = format!("{dies} null; {dies} exit; exit 9");
    let script = format!("strace -f -o {} sh -c '{inner}'; echo $?", log.display());
    let options = ["--on", "crash,fail", "-m", "basename=dies", "--hold"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "9\n", "{}", outcome.stderr);
    let warnings: Vec<&str> =
        outcome.stderr.lines().filter(|line| line.contains("not looked after, ")).collect();
    assert_eq!(warnings.len(), 1, "{}", outcome.stderr);
    assert!(warnings[0].contains("dies null"), "{warnings:?}");
    assert!(warnings[0].ends_with(" traces it already (strace)"), "{warnings:?}");
    assert!(outcome.stderr.contains("0 of them looked after"), "{}", outcome.stderr);
    assert!(fs::read_to_string(log).unwrap().contains("+++ killed by SIGSEGV"));
    let outcome = world.debug_sh(&[&["-v"][..], &options].concat(), &script);
    assert_eq!(outcome.stderr.matches("not looked after, ").count(), 2, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn a_set_user_id_program_that_counts_keeps_its_privileges() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let effective = world.fixture("effective", &[]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&effective, fs::Permissions::from_mode(0o4755)).unwrap();
    let effective = effective.to_str().unwrap();
    let options = ["-u", "nobody", "--list"];
    // Alone, and as what a followed program executes.
    for command in
        [&[effective][..], &["env", effective], &["sh", "-c", &format!("{effective}; exit 4")]]
    {
        let outcome = finish(session(&world, "fail", &options, command));
        assert_eq!((outcome.code(), outcome.out().as_str()), (4, "0\n"), "{}", outcome.stderr);
        let hits = outcome.stderr.matches("effective is about to exit with status 4").count();
        assert_eq!(hits, 1, "{}", outcome.stderr);
    }
}

#[test]
fn a_followed_program_is_stopped_and_set_going_by_its_parent_as_ever() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let stops = world.fixture("stops", &[]);
    let mut command = world.tracexec(["debug", "--on", "crash,fail", "-m", "status=77", "--hold"]);
    command.arg("--").arg(&stops).stdin(std::process::Stdio::piped());
    let mut running = world.start(command);
    crate::support::feed(&mut running, b"\n");
    let outcome = finish(running);
    let out = outcome.out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with(" stopped 1 by SIGSTOP 1"), "{lines:?}");
    assert_eq!(lines[1..], ["continued 1", "exited 1 with 3"]);
    assert_eq!(outcome.code(), 5);
}

#[test]
fn the_stop_at_its_exec_leaves_no_trace_in_a_program_that_counts() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let look = "grep -E 'ShdPnd|SigPnd|SigBlk' /proc/self/status";
    let script = format!("{look}; env --block-signal=CONT {look}; env --ignore-signal=CONT {look}");
    let bare = finish(world.start({
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]);
        world.prepare(&mut command);
        command
    }));
    for filter in ["basename=grep", "argc>0"] {
        let options = ["--on", "crash,fail", "-m", filter, "--hold"];
        let outcome = world.debug_sh(&options, &script);
        assert_eq!(outcome.out(), bare.out(), "{filter}");
    }
}

#[test]
fn of_those_that_die_while_they_are_taken_up_nothing_is_said() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let mortal = world.fixture("mortal", &[]);
    let mortal = mortal.to_str().unwrap();
    for on in ["crash", "fail,hang=1h"] {
        let args = ["debug", "--on", on, "-m", "basename=true", "--hold", "--", mortal];
        let outcome = world.run(args.iter().chain(&["150", "/bin/true"]));
        assert_eq!(outcome.out(), "150 accounted for\n", "{}", outcome.stderr);
        assert_eq!(outcome.code(), 0);
        assert!(!outcome.stderr.contains("not looked after"), "{}", outcome.stderr);
    }
    nothing_is_left_of(&world);
}

#[test]
fn where_the_kernel_does_not_let_us_trace_it_is_said_once_and_all_runs_on() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let dies = world.fixture("dies", &[]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-sys_ptrace", crate::support::TRACEXEC, "debug"]);
    command.args(["--backend", "ebpf", "--on", "crash", "--hold", "-u", "nobody", "--"]);
    command.args(["sh", "-c", &format!("{} null; echo $?", dies.display())]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), outcome.out().as_str()), (0, "139\n"), "{}", outcome.stderr);
    let said = &outcome.stderr;
    assert_eq!(said.matches("the kernel does not let us trace it: ").count(), 1, "{said}");
    assert!(said.contains("hint: tracexec lacks CAP_SYS_PTRACE, "), "{said}");
}
