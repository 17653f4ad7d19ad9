//! What the eBPF source has to be right about and ptrace had for nothing, and what works only without
//! ptrace.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, World, ebpf, eventually, finish, pid_in, state, status_of, user};

/// nobody's user id.
const NOBODY: u32 = 65534;

/// The hit lines of a run, without the messages of debuggers.
fn hits(outcome: &Outcome) -> Vec<&str> {
    let is_hit = |line: &&str| {
        let word = line.strip_prefix("tracexec: ").and_then(|rest| rest.split(' ').next());
        word.is_some_and(|word| word.parse::<i32>().is_ok())
    };
    outcome.stderr.lines().filter(is_hit).collect()
}

#[track_caller]
fn list(world: &World, filter: &str, command: &[&str]) -> Outcome {
    let mut args = vec!["debug", "--list", "-m", filter, "--"];
    args.extend(command);
    let outcome = world.run(args);
    nothing_is_left_of(world);
    outcome
}

#[test]
fn arguments_beyond_what_the_kernel_reads_are_judged_in_userspace() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let megabyte = vec!["x".repeat(100_000); 10];
    let hundred_thousand = vec!["y".to_string(); 100_000];
    for arguments in [megabyte, hundred_thousand] {
        let count = arguments.len() + 2;
        for (filter, matches) in [
            (format!("argc={count} and argv[-1]=needle and argv[{}]=needle", count - 1), 1),
            ("argv~needle$ and argv[*]=needle and argv endswith needle".into(), 1),
            (format!("argv[-1]=other or argc<{count} or argv[{count}] or argv~needles"), 0),
            ("argv[*]!=needle".into(), 0),
        ] {
            let mut command = world.tracexec(["debug", "--list", "-m", &filter, "--", "true"]);
            command.args(&arguments).arg("needle");
            let outcome = finish(world.start(command));
            assert_eq!(outcome.code(), 0, "{:.500}", outcome.stderr);
            assert_eq!(hits(&outcome).len(), matches, "{filter}: {:.500}", outcome.stderr);
        }
    }
    nothing_is_left_of(&world);
}

#[test]
fn what_the_kernel_cannot_decide_and_how_often_that_stopped_something_is_said() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    for (filter, names, stops) in [
        ("basename=true and env[TRACEXEC_NONE]", true, "2 of 3 execs were stopped for a moment"),
        ("basename=none and env[TRACEXEC_NONE]", true, ""),
        ("basename=true and uid=4242", false, ""),
    ] {
        let outcome = world.debug_sh(&["-v", "--hold", "-m", filter], "/bin/true; /bin/true; :");
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let said = |text: &str| outcome.stderr.contains(text);
        assert_eq!(said("since the kernel cannot: env"), names, "{filter}: {}", outcome.stderr);
        assert!(said(stops), "{filter}: {}", outcome.stderr);
        assert_eq!(said("stopped for a moment"), !stops.is_empty(), "{filter}: {}", outcome.stderr);
        nothing_is_left_of(&world);
    }
}

#[test]
fn many_descriptors_and_deep_folders_are_read_to_the_end() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let (many_fds, hello) = (world.fixture("many_fds", &[]), world.fixture("hello", &[]));
    let mut folder = world.dir.path().canonicalize().unwrap();
    folder.extend((1..=65).map(|level| format!("level{level}")));
    fs::create_dir_all(&folder).unwrap();
    let filter = format!(
        "basename=hello and fd[306]=/dev/null and not fd[307] and fd[*]=/dev/null and cwd={}",
        folder.display()
    );
    let script = format!(
        "cd '{}' && '{}' 307 '{}' one; exit $?",
        folder.display(),
        many_fds.display(),
        hello.display()
    );
    let outcome = list(&world, &filter, &["sh", "-c", &script]);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\nhello\n"), "{}", outcome.stderr);
    assert_eq!(hits(&outcome).len(), 1, "{}", outcome.stderr);
}

#[test]
fn execs_in_other_namespaces_are_held_under_our_pids() {
    if !ebpf::available() {
        return;
    }
    let child = ["sh", "-c", "\"$0\" one; exit $?"];
    for (apart, child) in [
        (&["unshare", "-pf"][..], &child[..]),
        (&["unshare", "-pf", "--mount-proc"], &child),
        // As the first process there, which signals reach in their own way.
        (&["unshare", "-pf", "--mount-proc"], &[]),
        (&["unshare", "-pf", "unshare", "-pf", "--mount-proc"], &child),
        (&["unshare", "-m"], &child),
        (&["unshare", "-Ur"], &child),
    ] {
        if apart.contains(&"-Ur") && !user::namespaces() {
            continue;
        }
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let mut command = world.tracexec(["debug", "--hold", "-m", "basename=hello", "--"]);
        command.args(apart).args(child).arg(&hello).args(child.is_empty().then_some("one"));
        let mut session = world.start(command);
        let pid = pid_in(&session.stderr_line(": held"));
        eventually("the stop", || (state(pid) == Some('T')).then_some(()));
        assert_eq!(status_of(pid, "Name").as_deref(), Some("hello"));
        assert_eq!(world.run(["release", "--all"]).out(), format!("released {pid}\n"));
        let outcome = finish(session);
        let expected = (3, "one\nhello\n");
        assert_eq!(
            (outcome.code(), outcome.out().as_str()),
            expected,
            "{apart:?} {}",
            outcome.stderr
        );
        nothing_is_left_of(&world);
    }
}

#[test]
fn tracexec_works_inside_a_pid_namespace() {
    if !ebpf::available() {
        return;
    }
    for apart in [
        &["-pf", "--mount-proc"][..],
        &["-pf", "-m", "--mount-proc", "unshare", "-pf", "--mount-proc"],
    ] {
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let mut command = Command::new("unshare");
        command.args(apart).arg(crate::support::TRACEXEC);
        command.args(["debug", "--backend", "ebpf", "--list", "-m", "basename=hello and depth=1"]);
        command.args(["--", "sh", "-c", "\"$0\" one; exit $?"]).arg(&hello);
        world.prepare(&mut command);
        let outcome = finish(world.start(command));
        assert_eq!(
            (outcome.code(), outcome.out().as_str()),
            (3, "one\nhello\n"),
            "{}",
            outcome.stderr
        );
        let hits = hits(&outcome);
        assert_eq!(hits.len(), 1, "{}", outcome.stderr);
        // A pid of the namespace.
        assert!(pid_in(hits[0]) < 50, "{}", outcome.stderr);
        // The guardian would otherwise be killed with the namespace only.
        nothing_is_left_of(&world);
    }
    let mut command = Command::new("unshare");
    command.args([
        "-pf",
        "--mount-proc",
        crate::support::TRACEXEC,
        "debug",
        "--system",
        "--once",
        "--hold",
    ]);
    command.args(["-m", "basename=none", "--", "true"]);
    let world = World::new();
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("a pid namespace of its own"), "{}", outcome.stderr);
}

/// Starts a session over a tracer that tells its pid and traces `until FLAG`; that pid, the hit and what
/// came of it. The program lives until it was told of: what is not stopped can end before that.
fn under_a_tracer(how: &str, tracer: &str) -> (String, String, Outcome) {
    let world = World::new();
    let (until, flag) = (world.fixture("until", &[]), world.path("flag"));
    let script = format!("echo $$; exec {tracer}");
    let mut command = world.tracexec(["debug", how, "-m", "basename=until", "--", "sh", "-c"]);
    command.arg(script).arg("sh").arg(until).arg(&flag);
    let mut session = world.start(command);
    let hit = session.stderr_line("until ");
    fs::write(flag, "").unwrap();
    let outcome = finish(session);
    nothing_is_left_of(&world);
    assert_eq!(outcome.stderr.matches("(basename=until)").count(), 0, "{}", outcome.stderr);
    (outcome.out().lines().next().unwrap_or_default().to_string(), hit, outcome)
}

#[test]
fn strace_works_inside_the_tree_and_what_it_traces_is_told_and_not_stopped() {
    if !ebpf::available() {
        return;
    }
    let strace = "strace -f -o /dev/null sh -c '\"$0\" \"$1\"; exit $?' \"$1\" \"$2\"";
    let (pid, hit, outcome) = under_a_tracer("--hold", strace);
    assert_eq!(outcome.code(), 5, "{}", outcome.stderr);
    assert_eq!(outcome.out(), format!("{pid}\nrunning\n"), "{}", outcome.stderr);
    let told = format!("(basename=until): not held, process {pid} traces it already");
    assert!(hit.ends_with(&told), "{hit}");
    let (_, hit, outcome) = under_a_tracer("--list", strace);
    assert_eq!(outcome.code(), 5, "{}", outcome.stderr);
    assert!(hit.ends_with("(basename=until)"), "{hit}");
}

#[test]
fn gdb_works_inside_the_tree() {
    if !ebpf::available() {
        return;
    }
    let gdb = "gdb -q -batch -nx -ex 'break main' -ex run -ex bt -ex continue --args \"$1\" \"$2\"";
    let (pid, hit, outcome) = under_a_tracer("--hold", gdb);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let out = outcome.out();
    assert!(out.contains("Breakpoint 1, main"), "{out}");
    assert!(out.contains("exited with code 05"), "{out}");
    assert!(hit.ends_with(&format!("not held, process {pid} traces it already")), "{hit}");
}

/// A folder that everybody can reach.
fn open_world() -> World {
    let world = World::new();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    world
}

#[test]
fn a_setuid_program_that_was_stopped_keeps_its_privileges() {
    if !ebpf::available() {
        return;
    }
    let world = open_world();
    let effective = world.fixture("effective", &[]);
    fs::set_permissions(&effective, fs::Permissions::from_mode(0o4755)).unwrap();
    let filter = "basename=effective and uid=0";
    let mut command = world.tracexec(["debug", "-u", "nobody", "--hold", "-m", filter, "--"]);
    command.args(["sh", "-c", "id -u; \"$0\"; exit $?"]).arg(&effective);
    let mut session = world.start(command);
    let pid = pid_in(&session.stderr_line(": held"));
    eventually("the stop", || (state(pid) == Some('T')).then_some(()));
    let ids = format!("{NOBODY}\t0\t0\t0");
    assert_eq!(status_of(pid, "Uid"), Some(ids));
    assert_eq!(world.run(["release", "--all"]).out(), format!("released {pid}\n"));
    let outcome = finish(session);
    let expected = (4, format!("{NOBODY}\n0\n"));
    assert_eq!((outcome.code(), outcome.out()), expected, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn children_of_a_process_that_a_debugger_had_are_watched_and_match() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let script = "sh -c '\"$0\" one; exit $?' \"$0\" inner; exit $?";
    let args = ["debug", "--debugger", "gdb-backtrace", "--in", "background", "-m"];
    let mut command = world.tracexec(args);
    command.arg("argv[-1]=inner or basename=hello").args(["--", "sh", "-c", script]).arg(&hello);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    let hits = hits(&outcome);
    assert_eq!(hits.len(), 2, "{}", outcome.stderr);
    assert!(hits[0].contains("inner (argv[-1]=inner): gdb-backtrace in background"), "{hits:?}");
    assert!(hits[1].contains("hello one (basename=hello): gdb-backtrace"), "{hits:?}");
    nothing_is_left_of(&world);
    // The same after a hold, several levels down.
    let deep = "sh -c 'sh -c \"exec \\\"\\$0\\\" one\" \"$0\"; exit $?' \"$0\" inner; exit $?";
    let mut command = world.tracexec(["debug", "--hold", "-m"]);
    command.arg("argv[-1]=inner or basename=hello").args(["--", "sh", "-c", deep]).arg(&hello);
    let mut session = world.start(command);
    for _ in 0..2 {
        let pid = pid_in(&session.stderr_line(": held"));
        assert_eq!(world.run(["release", "--all"]).out(), format!("released {pid}\n"));
    }
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\nhello\n"), "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

/// Runs tracexec as nobody.
fn as_nobody(world: &World, options: &[&str]) -> Outcome {
    // Another process writes it: a descriptor of ours, open for writing, could be inherited.
    let copy = world.path("tracexec");
    let copied = Command::new("install").arg(crate::support::TRACEXEC).arg(&copy).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(copy);
    command.arg("debug").args(options);
    command.args(["-m", "basename=true", "--", "sh", "-c", "/bin/true; exit 3"]);
    world.prepare(&mut command);
    chown(world.path("run"), Some(NOBODY), Some(NOBODY)).unwrap();
    command.current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    nothing_is_left_of(world);
    outcome
}

#[test]
fn an_ordinary_user_is_told_what_ebpf_needs_or_gets_ptrace() {
    let world = open_world();
    let needs = "eBPF needs root, or the capabilities CAP_BPF and CAP_PERFMON";
    let refused = as_nobody(&world, &["--backend", "ebpf", "--hold"]);
    assert_eq!((refused.code(), refused.out().as_str()), (125, ""), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("tracexec: error: {needs}")), "{}", refused.stderr);
    assert!(refused.stderr.contains("tracexec: hint: "), "{}", refused.stderr);

    let debugger = ["--debugger", "gdb-backtrace", "--in", "background"];
    let options = [&["--backend", "auto", "-v"][..], &debugger].concat();
    let fallen_back = as_nobody(&world, &options);
    assert_eq!(fallen_back.code(), 3, "{}", fallen_back.stderr);
    let said = format!("events come from ptrace; {needs}");
    assert!(fallen_back.stderr.contains(&said), "{}", fallen_back.stderr);
    assert!(fallen_back.stderr.contains(": gdb-backtrace in background"), "{}", fallen_back.stderr);
}

#[test]
fn without_tracefs_it_says_what_to_mount_or_takes_ptrace() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    // The mounts of this namespace are its own.
    let script = "umount -l /sys/kernel/tracing 2>/dev/null; umount -l /sys/kernel/debug 2>/dev/null; \
                  exec \"$0\" debug \"$@\" -- sh -c 'true; exit 3'";
    let run = |options: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, crate::support::TRACEXEC]).args(options);
        world.prepare(&mut command);
        finish(world.start(command))
    };
    let refused = run(&["--backend", "ebpf", "--hold", "-m", "basename=none"]);
    assert_eq!((refused.code(), refused.out().as_str()), (125, ""), "{}", refused.stderr);
    let said = "error: the kernel's tracepoints cannot be read: tracefs is not mounted";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let hint = "hint: mount -t tracefs tracefs /sys/kernel/tracing";
    assert!(refused.stderr.contains(hint), "{}", refused.stderr);

    let fallen_back = run(&["--backend", "auto", "-v", "--hold", "-m", "basename=none"]);
    assert_eq!(fallen_back.code(), 3, "{}", fallen_back.stderr);
    let said = "events come from ptrace; the kernel's tracepoints cannot be read";
    assert!(fallen_back.stderr.contains(said), "{}", fallen_back.stderr);

    let system = run(&["--system", "--once", "--hold", "-m", "basename=none"]);
    assert_eq!(system.code(), 125, "{}", system.stderr);
    assert!(system.stderr.contains("tracefs is not mounted"), "{}", system.stderr);
    nothing_is_left_of(&world);
}

#[test]
fn root_gets_ebpf_without_asking_for_it() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    let args = ["debug", "-v", "--hold", "-m", "basename=none", "--", "sh", "-c", "true; exit 3"];
    let mut command = Command::new(crate::support::TRACEXEC);
    command.args(args);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("events come from eBPF"), "{}", outcome.stderr);
}
