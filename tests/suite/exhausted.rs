//! What comes of matches when something runs out that is needed to hold them.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::{World, eventually, finish, processes_with, state};

/// How many matches there are at the same time.
const MATCHES: usize = 60;

/// Gives a command so many descriptors, and no privilege to have more.
fn limit(command: &mut Command, (soft, hard): (u64, u64)) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: system calls on values of the closure's own. Who has no such capability may not drop it.
    unsafe {
        command.pre_exec(move || {
            const CAP_SYS_RESOURCE: libc::c_ulong = 24;
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0);
            match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// A session under which as many programs match at once, named `name`.
fn crowd(world: &World, name: &str, options: &[&str], descriptors: (u64, u64)) -> Command {
    let program = world.path(name);
    std::fs::copy(world.fixture("hello", &[]), &program).unwrap();
    let script = format!("for i in $(seq {MATCHES}); do '{}' & done; wait", program.display());
    let filter = format!("basename={name}");
    let mut words = vec!["debug", "-m", &filter];
    words.extend(options);
    words.extend(["--", "sh", "-c", &script]);
    let mut command = world.tracexec(words);
    limit(&mut command, descriptors);
    command
}

#[test]
fn without_descriptors_every_match_runs_on_and_the_reason_is_told() {
    for descriptors in [50, 70] {
        let world = World::new();
        let name = format!("crowd-{}-{descriptors}", std::process::id());
        let options = ["--hold", "--attach-timeout", "1"];
        let outcome =
            finish(world.start(crowd(&world, &name, &options, (descriptors, descriptors))));
        assert_eq!(outcome.code(), 0, "{descriptors}: {}", outcome.stderr);
        assert_eq!(outcome.out().matches("hello\n").count(), MATCHES, "{}", outcome.stderr);
        // None of them was killed by anybody.
        for wrong in ["it ended already", "it ended before", "as root", "panicked"] {
            assert!(!outcome.stderr.contains(wrong), "{descriptors}: {}", outcome.stderr);
        }
        assert!(outcome.stderr.contains("ulimit -n"), "{descriptors}: {}", outcome.stderr);
        assert!(processes_with(&name).is_empty());
    }
}

/// Some are left for those who ask the session.
#[test]
fn without_descriptors_for_more_matches_those_that_are_held_can_be_released() {
    let world = World::new();
    let name = format!("crowd-{}-release", std::process::id());
    let mut session = world.start(crowd(&world, &name, &["--hold"], (70, 70)));
    session.stderr_line("os error 24");
    // tracexec and the shell have the name in their words, too.
    let program = world.path(&name);
    let is_match =
        |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    let all = || processes_with(&name).into_iter().filter(is_match).collect::<Vec<i32>>();
    let stopped = || all().iter().all(|pid| state(*pid) == Some('T'));
    // Who is not held has ended soon.
    eventually("held ones alone", || (!all().is_empty() && stopped()).then_some(()));
    eventually("all released", || {
        assert_eq!(world.run(["release", "--all"]).code(), 0);
        all().is_empty().then_some(())
    });
    let outcome = finish(session);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(outcome.out().matches("hello\n").count(), MATCHES, "{}", outcome.stderr);
}

#[test]
fn without_descriptors_the_end_of_the_session_frees_every_match() {
    let world = World::new();
    let name = format!("crowd-{}-end", std::process::id());
    let mut session = world.start(crowd(&world, &name, &["--hold"], (70, 70)));
    session.stderr_line("os error 24");
    session.signal(libc::SIGTERM);
    let outcome = finish(session);
    assert_eq!(outcome.code(), 128 + libc::SIGTERM, "{}", outcome.stderr);
    eventually("the end of all", || processes_with(&name).is_empty().then_some(()));
}

#[test]
fn without_descriptors_nothing_stays_at_a_later_moment() {
    for moment in ["fail", "exec,fail"] {
        let world = World::new();
        let name = format!("crowd-{}-{}", std::process::id(), moment.len());
        let options = ["--hold", "--attach-timeout", "1", "--on", moment];
        let outcome = finish(world.start(crowd(&world, &name, &options, (60, 60))));
        assert_eq!(outcome.code(), 0, "{moment}: {}", outcome.stderr);
        assert_eq!(outcome.out().matches("hello\n").count(), MATCHES, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("panicked"), "{moment}: {}", outcome.stderr);
        assert!(processes_with(&name).is_empty());
    }
}

#[test]
fn the_soft_limit_of_open_files_does_not_bind_a_session() {
    let world = World::new();
    let name = format!("crowd-{}-soft", std::process::id());
    let options = ["--hold", "--attach-timeout", "1"];
    let outcome = finish(world.start(crowd(&world, &name, &options, (40, 4000))));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches(": held\n").count(), MATCHES, "{}", outcome.stderr);
}

/// Whoever runs for others has what tracexec was given: COMMAND, the debugger, the one that only shows that it works,
/// and the one that writes a backtrace.
#[test]
fn what_tracexec_starts_has_the_limit_that_it_was_given() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let (limits, said) = ("$(ulimit -Sn) $(ulimit -Hn)", world.path("said"));
    std::fs::create_dir(world.path("bin")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join("gdb"));
    let gdb = found.into_iter().find(|gdb| gdb.exists()).expect("gdb is needed: apt install gdb");
    let script = format!(
        "#!/bin/sh\necho {limits} >>'{}'\nexec '{}' \"$@\"\n",
        said.display(),
        gdb.display()
    );
    let wrapper = world.file("bin/gdb", script);
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let line = format!("echo {limits}; '{}' one; exit $?", hello.display());
    let to = world.path("to");
    let mut words = vec!["debug", "-m", "basename=hello", "--debugger", "gdb-backtrace"];
    words.extend(["--in", "background", "--save", "backtrace", "--to", to.to_str().unwrap()]);
    words.extend(["--", "sh", "-c", &line]);
    let mut command = world.tracexec(words);
    limit(&mut command, (200, 300));
    let outcome = finish(world.start(command));
    assert_eq!(
        (outcome.code(), outcome.out().as_str()),
        (3, "200 300\none\nhello\n"),
        "{}",
        outcome.stderr
    );
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.lines().count() >= 2, "{said}");
    assert!(said.lines().all(|line| line == "200 300"), "{said}");
}

/// What a program was given may have higher numbers than its limit lets it open by itself.
#[test]
fn a_rerun_gives_descriptors_beyond_the_soft_limit_and_keeps_that() {
    let world = World::new();
    let script =
        "exec 100</dev/null; exec sh -c 'echo $(ulimit -Sn) $(ulimit -Hn); ls /proc/self/fd'";
    let to = world.path("to");
    let mut words =
        vec!["debug", "-m", "basename=dash or basename=sh", "--once", "--save", "repro"];
    words.extend(["--to", to.to_str().unwrap(), "--", "bash", "-c", script]);
    let outcome = world.run(words);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let folder = std::fs::read_dir(&to).unwrap().next().unwrap().unwrap().path();
    let mut command = Command::new(crate::support::TRACEXEC);
    command.args(["rerun", "--backend", crate::support::BACKEND]).arg(folder);
    command.args(["--debugger", "true {{pid}}", "--in", "background"]);
    world.prepare(&mut command);
    limit(&mut command, (50, 4000));
    let outcome = finish(world.start(command));
    let out = outcome.out();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("50 4000"), "{out}{}", outcome.stderr);
    assert!(lines.any(|line| line == "100"), "{out}{}", outcome.stderr);
}

/// Their ends would go unseen, and the session with them.
#[test]
fn processes_that_cannot_be_watched_are_an_error_before_anything_begins() {
    if crate::support::BACKEND != "ebpf" {
        return;
    }
    let world = World::new();
    let start = |_| {
        let mut command = Command::new("sleep");
        command.arg("1000");
        world.prepare(&mut command);
        world.start(command)
    };
    let sleeps: Vec<_> = (0..MATCHES).map(start).collect();
    let mut command = world.tracexec(["debug", "--hold", "-m", "basename=none"]);
    for sleep in &sleeps {
        command.arg("-p").arg(sleep.pid().to_string());
    }
    limit(&mut command, (50, 50));
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("os error 24"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("no such process"), "{}", outcome.stderr);
}
