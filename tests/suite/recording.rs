//! What a tracer over ptrace leaves of what it traces, whatever becomes of it.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{
    Running, TRACEXEC, World, eventually, finish, is_gone, signal_process, state, status_of,
};

/// Starts `log` over ptrace with these options, on a tree that waits; the pids of its shell and of what that
/// has made.
fn waiting(world: &World, options: &[&str]) -> (Running, [i32; 2]) {
    let pids = world.path("pids");
    let script = format!("sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    let mut command = world.tracexec(["log", "--backend", "ptrace"]);
    command.args(options).args(["--", "sh", "-c", &script]);
    let log = world.start(command);
    let text = eventually("two pids", || fs::read_to_string(&pids).ok());
    let words: Vec<i32> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    eventually("two that wait", || {
        let asleep = |pid: &i32| state(*pid) == Some('S');
        (words.iter().all(asleep) && status_of(words[1], "Name")? == "sleep").then_some(())
    });
    (log, [words[0], words[1]])
}

const WAYS: [(&[&str], bool); 3] = [
    (&["--seccomp-bpf", "on"], true),
    (&["--seccomp-bpf", "off"], false),
    (&["--successful-only"], false),
];

#[test]
fn our_death_ends_a_tree_under_a_seccomp_filter_and_frees_any_other() {
    for (options, seccomp) in WAYS {
        let world = World::new();
        let (log, pids) = waiting(&world, options);
        for pid in pids {
            assert_eq!(status_of(pid, "NoNewPrivs").unwrap(), "0");
            assert_eq!(status_of(pid, "Seccomp").unwrap(), if seccomp { "2" } else { "0" });
        }
        log.signal(libc::SIGKILL);
        for pid in pids {
            if seccomp {
                eventually("its end", || is_gone(pid).then_some(()));
            } else {
                eventually("nobody who traces it", || {
                    (status_of(pid, "TracerPid")? == "0").then_some(())
                });
                eventually("its sleep", || (state(pid)? == 'S').then_some(()));
            }
        }
        pids.iter().for_each(|&pid| signal_process(pid, libc::SIGKILL));
        finish(log);
    }
}

/// Who stays in the background, by what is said of it.
fn keeper(stderr: &str) -> i32 {
    let (_, rest) = stderr.split_once("so process ").unwrap_or_else(|| panic!("{stderr}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn as_the_first_process_of_a_pid_namespace_what_is_left_is_waited_for() {
    let world = World::new();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", TRACEXEC, "log", "--backend", "ptrace"]);
    // Orphans, too, are collected there.
    let script = "(true & true &); (sleep 0.3; echo late >late) >/dev/null 2>&1 & exit 3";
    command.args(["-o", "log", "--", "sh", "-c", script]).current_dir(world.dir.path());
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(world.path("late")).unwrap(), "late\n");
}

#[test]
fn an_ignored_sighup_ends_nobody() {
    for options in [&["log", "--backend", "ptrace"][..], &["debug", "--list", "-m", "argc=99"]] {
        let world = World::new();
        let fifo = world.path("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut command = Command::new("nohup");
        command.arg(TRACEXEC).args(options).args(["--", "sh", "-c", "echo begun; read x <fifo"]);
        command.current_dir(world.dir.path());
        world.prepare(&mut command);
        let mut running = world.start(command);
        let mut begun = [0; 6];
        running.child().stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
        running.signal(libc::SIGHUP);
        fs::write(&fifo, "x\n").unwrap();
        let outcome = finish(running);
        assert_eq!(outcome.code(), 0, "{options:?}: {}", outcome.stderr);
    }
}

#[test]
fn nobody_waits_for_what_command_leaves_behind_and_its_execs_work() {
    for (options, seccomp) in WAYS {
        let world = World::new();
        let (pid, fifo, ran) = (world.path("pid"), world.path("fifo"), world.path("ran"));
        let script = format!(
            "(read x <{}; sh -c '/bin/true && exec touch {}'; read x <{0}) >/dev/null 2>&1 & echo $! > {}; exit 3",
            fifo.display(),
            ran.display(),
            pid.display()
        );
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut command = world.tracexec(["log", "--backend", "ptrace"]);
        command.args(options).args(["--", "sh", "-c", &script]);
        // To the end of its standard error.
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 3, "{options:?}: {}", outcome.stderr);
        assert!(outcome.stderr.ends_with("COMMAND exited with status 3\n"), "{}", outcome.stderr);
        let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let tracer: i32 = status_of(pid, "TracerPid").unwrap().parse().unwrap();
        if seccomp {
            // It is a thread.
            let process: i32 = status_of(tracer, "Tgid").unwrap().parse().unwrap();
            assert_eq!(process, keeper(&outcome.stderr));
            let open = fs::read_dir(format!("/proc/{tracer}/fd")).unwrap();
            let open = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
            assert!(open.into_iter().all(|file| file == Path::new("/dev/null")));
            assert_eq!(fs::read_link(format!("/proc/{tracer}/cwd")).unwrap(), Path::new("/"));
        } else {
            assert_eq!(tracer, 0, "{options:?}: {}", outcome.stderr);
            assert!(!outcome.stderr.contains("stays"), "{}", outcome.stderr);
        }
        // For reading, too, so that it does not wait for who reads.
        let mut fifo = fs::OpenOptions::new().read(true).write(true).open(fifo).unwrap();
        fifo.write_all(b"x\n").unwrap();
        eventually("what it executes", || ran.exists().then_some(()));
        fifo.write_all(b"x\n").unwrap();
        eventually("its end", || is_gone(pid).then_some(()));
        eventually("the end of who stayed for it", || {
            (tracer == 0 || is_gone(tracer)).then_some(())
        });
    }
}

#[test]
fn what_is_left_behind_ends_with_who_stays_for_it() {
    let world = World::new();
    let pid = world.path("pid");
    let script = format!("sleep 1000 >/dev/null 2>&1 & echo $! > {}", pid.display());
    let mut command = world.tracexec(["log", "--backend", "ptrace", "--seccomp-bpf", "on"]);
    command.args(["--", "sh", "-c", &script]);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    assert!(matches!(state(pid), Some('S' | 'R')));
    signal_process(keeper(&outcome.stderr), libc::SIGTERM);
    eventually("its end", || is_gone(pid).then_some(()));
}

#[test]
fn the_death_of_the_process_that_traces_is_told_by_who_was_called() {
    let world = World::new();
    let (log, pids) = waiting(&world, &["--seccomp-bpf", "on"]);
    let tracer: i32 = status_of(pids[0], "TracerPid").unwrap().parse().unwrap();
    let process = status_of(tracer, "Tgid").unwrap().parse().unwrap();
    assert_ne!(process, log.pid());
    signal_process(process, libc::SIGKILL);
    for pid in pids {
        eventually("its end", || is_gone(pid).then_some(()));
    }
    assert_eq!(finish(log).code(), 128 + libc::SIGKILL);
}

#[test]
fn a_signal_for_who_was_called_ends_the_trace_and_a_tree_under_a_seccomp_filter() {
    for (options, seccomp) in WAYS {
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
            let world = World::new();
            let (mut log, pids) = waiting(&world, options);
            log.signal(signal);
            let status = eventually("its end", || log.child().try_wait().unwrap());
            assert_eq!(status.code(), Some(128 + signal), "{options:?}");
            for pid in pids {
                if seccomp {
                    eventually("its end", || is_gone(pid).then_some(()));
                } else {
                    eventually("its sleep", || (state(pid)? == 'S').then_some(()));
                    signal_process(pid, libc::SIGKILL);
                }
            }
            finish(log);
        }
    }
}

#[test]
fn a_signal_lets_go_of_what_ran_before_and_nothing_is_left_stopped() {
    let world = World::new();
    let (spawner, _) = (world.fixture("already", &[]), ());
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut command = Command::new(&spawner);
        command.arg("/bin/true");
        world.prepare(&mut command);
        command.stdin(Stdio::piped());
        let mut already = world.start(command);
        let mut stdin = already.child().stdin.take().unwrap();
        let pid = already.pid();
        let log =
            world.start(world.tracexec(["log", "--backend", "ptrace", "-p", &pid.to_string()]));
        eventually("a tracer", || (status_of(pid, "TracerPid")? != "0").then_some(()));
        stdin.write_all(b"one\n").unwrap();
        log.signal(signal);
        let outcome = finish(log);
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        for tid in tracexec::machine::procfs::threads(pid).unwrap() {
            assert_eq!(status_of(tid, "TracerPid").unwrap(), "0");
            assert!(!matches!(state(tid), Some('t' | 'T')));
        }
        stdin.write_all(b"two\n").unwrap();
        drop(stdin);
        let outcome = finish(already);
        assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\ntwo\n"));
    }
}

#[test]
fn a_process_that_cannot_be_followed_is_told_with_the_cause() {
    let world = World::new();
    let fails = |options: &[&str]| {
        let mut command = world.tracexec(["log"]);
        command.args(options);
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
        outcome.stderr
    };
    let ours = std::process::id().to_string();
    let said = fails(&["--backend", "ptrace", "-p", "4194303"]);
    assert!(said.contains("error: -p 4194303: there is no such process"), "{said}");
    let said = fails(&["--backend", "ptrace", "--seccomp-bpf", "on", "-p", &ours]);
    assert!(said.contains("no filter can be put on a process that runs already"), "{said}");
    let said = fails(&["--backend", "ebpf", "--seccomp-bpf", "on", "--", "true"]);
    assert!(said.contains("--seccomp-bpf on is for ptrace"), "{said}");
    // A thread, not its process.
    let tid = nix::unistd::gettid().to_string();
    if tid != ours {
        let said = fails(&["--backend", "ptrace", "-p", &tid]);
        assert!(said.contains(&format!("that is a thread of process {ours}")), "{said}");
    }
    // Traced already.
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let sleep = world.start(sleep);
    let pid = sleep.pid().to_string();
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "-p", &pid]);
    let strace = world.start(strace);
    eventually("strace", || (status_of(sleep.pid(), "TracerPid")? != "0").then_some(()));
    let said = fails(&["--backend", "ptrace", "-p", &pid]);
    assert!(said.contains(&format!("process {} traces it already", strace.pid())), "{said}");
    drop(strace);
    eventually("no strace", || (status_of(sleep.pid(), "TracerPid")? == "0").then_some(()));
    // Another user's.
    fs::set_permissions(world.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let copy =
        Command::new("install").arg(crate::support::TRACEXEC).arg(world.path("tracexec")).status();
    assert!(copy.unwrap().success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    command.arg(world.path("tracexec")).args(["log", "-p", &pid]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125);
    assert!(
        outcome.stderr.contains("it runs as user 0, and we as user 65534"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("hint: attach as root"), "{}", outcome.stderr);
}

/// What `debug -p` stops.
fn debugs_what_runs(backend: &str) {
    let world = World::new();
    let (already, hello) = (world.fixture("already", &[]), world.fixture("hello", &[]));
    let mut command = Command::new(already);
    command.arg(&hello);
    world.prepare(&mut command);
    command.stdin(Stdio::piped());
    let mut already = world.start(command);
    let mut stdin = already.child().stdin.take().unwrap();
    let pid = already.pid().to_string();
    let filter = "argv[1]=child and parent.basename=already and ancestor.depth=0 and depth=2";
    let mut command = world.tracexec(["-v", "debug"]);
    let options = ["--backend", backend, "--hold", "--max-hits", "1", "-m", filter, "-p", &pid];
    command.args(options);
    let session = world.start(command);
    // What is held keeps the next line from being served.
    let held = eventually("a match", || {
        let _ = stdin.write_all(b"line\n");
        let held = crate::support::processes_with(&hello.display().to_string());
        held.into_iter().find(|&pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(hello.as_os_str().as_encoded_bytes()))
                && state(pid) == Some('T')
                && status_of(pid, "TracerPid").as_deref() == Some("0")
        })
    });
    // Over eBPF it is stopped before the session knows of it.
    eventually("its release", || {
        let released = world.run(["release", &held.to_string()]);
        (released.out() == format!("released {held}\n")).then_some(())
    });
    let outcome = finish(session);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    drop(stdin);
    assert_eq!(finish(already).code(), 3);
}

#[test]
fn debug_holds_what_a_process_executes_that_runs_already() {
    debugs_what_runs("ptrace");
}

#[cfg(feature = "ebpf")]
#[test]
fn debug_over_ebpf_holds_it_too() {
    if crate::support::ebpf::available() {
        debugs_what_runs("ebpf");
    }
}
