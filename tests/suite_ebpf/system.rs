//! `--system`: whatever is executed anywhere on the machine. Each test looks for programs of a group of
//! its own, so that nobody else's are stopped.

use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::support::typed::{Growing, nothing_is_left_of, processes_of};
use crate::support::{Running, World, ebpf, eventually, finish, pid_in, state, status_of};

/// A session over the whole machine, in the test's group.
struct System {
    world: World,
    group: u32,
}

impl System {
    fn new() -> System {
        System { world: World::new(), group: ebpf::own_group() }
    }

    /// `tracexec debug --system` for programs of the group for which `filter` holds.
    fn session(&self, filter: &str, options: &[&str], command: &[&str]) -> Running {
        let filter = format!("{filter} and gid={}", self.group);
        let mut tracexec = self.world.tracexec(["debug", "--system", "-m", &filter]);
        tracexec.args(options).gid(self.group);
        if !command.is_empty() {
            tracexec.arg("--").args(command);
        }
        self.world.start(tracexec)
    }

    fn outside(&self, program: &Path, words: &[&str]) -> Running {
        ebpf::outside(&self.world, self.group, program, words)
    }

    #[track_caller]
    fn stopped(&self, session: &mut Running, program: &Path, words: &[&str]) -> Running {
        ebpf::stopped(session, &self.world, self.group, program, words)
    }

    /// Lets all that this world's sessions hold run on; what was said.
    fn release(&self) -> String {
        self.world.run(["release", "--all"]).out()
    }
}

#[track_caller]
fn end(mut session: Running) -> (i32, String) {
    let status = eventually("tracexec's end", || session.child().try_wait().unwrap());
    let outcome = finish(session);
    assert_eq!(status, outcome.status);
    (outcome.code(), outcome.stderr)
}

#[test]
fn a_match_of_another_tree_is_held_and_after_it_tracexec_ends() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let mut session = system.session("basename=hello", &["--once", "--hold"], &[]);
    let programs = ebpf::programs_of(session.pid());
    let found = system.stopped(&mut session, &hello, &["one"]);
    assert_eq!(pid_in(&session.stderr_line(": held")), found.pid());
    assert_eq!(status_of(found.pid(), "TracerPid").as_deref(), Some("0"));
    // One was asked for.
    let next = finish(system.outside(&hello, &["two"]));
    assert_eq!((next.code(), next.out().as_str()), (3, "two\nhello\n"));
    assert_eq!(system.release(), format!("released {}\n", found.pid()));
    let found = finish(found);
    assert_eq!((found.code(), found.out().as_str()), (3, "one\nhello\n"));
    let (code, stderr) = end(session);
    assert_eq!(code, 0, "{stderr}");
    nothing_is_left_of(&system.world);
    ebpf::are_gone(&programs);
}

#[test]
fn a_debugger_gets_a_match_of_another_tree() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let options = ["--once", "--debugger", "gdb-backtrace", "--in", "background"];
    let mut session = system.session("basename=hello", &options, &[]);
    // The debugger's stop is brief: whether there was one is told by tracexec's end.
    let status = eventually("a hit, and tracexec's end", || {
        let outcome = finish(system.outside(&hello, &["one"]));
        assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\nhello\n"));
        session.child().try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
    let (_, stderr) = end(session);
    let hits = stderr.lines().filter(|line| line.ends_with(": gdb-backtrace in background"));
    assert_eq!(hits.count(), 1, "{stderr}");
    assert!(stderr.contains("_start"), "{stderr}");
    nothing_is_left_of(&system.world);
}

#[test]
fn what_matches_is_seen_and_the_rest_of_other_trees_never_stops() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let bare = ["-static", "-nostdlib", "-fno-stack-protector"];
    let digits = system.world.fixture("digits", &bare);
    let ways = system.world.fixture("ways", &[]);
    let filter = "basename=digits and (argv[1]~^n.*7$ or argv[1]=n1)";
    let mut session = system.session(filter, &["--list"], &[]);
    let mut stderr = Growing::new(session.child().stderr.take().unwrap());
    eventually("the first hit", || {
        assert!(session.child().try_wait().unwrap().is_none(), "{}", stderr.all());
        finish(system.outside(&digits, &["n1"]));
        stderr.look_for("digits n1 ")
    });
    let digits = digits.to_str().unwrap();
    let outcome = finish(system.outside(&ways, &["4", "300", digits]));
    assert_eq!(outcome.code(), 0);
    assert!(outcome.out().starts_with("1200 right, "), "{}", outcome.out());
    // Of n1 there may have been several, and one in the storm.
    let is_one_of_them = |line: &&str| line.contains("digits n") && !line.contains("digits n1 ");
    eventually("120 hits", || {
        let found = stderr.all().lines().filter(is_one_of_them).count();
        assert!(found <= 120, "{}", stderr.all());
        (found == 120).then_some(())
    });
    // The same with a program that is not looked for.
    let outcome = finish(system.outside(&ways, &["4", "300", "/bin/true"]));
    assert!(outcome.out().ends_with(" 0 seen to stop\n"), "{}", outcome.out());
    session.signal(libc::SIGTERM);
    let status = eventually("tracexec's end", || session.child().try_wait().unwrap());
    assert_eq!(status.code(), Some(143));
    nothing_is_left_of(&system.world);
}

#[test]
fn it_wants_to_know_how_many_matches_are_to_be_stopped() {
    let world = World::new();
    for options in [&["--hold"][..], &["--debugger", "gdb-backtrace", "--in", "background"]] {
        let mut command = world.tracexec(["debug", "--system", "-m", "basename=none"]);
        command.args(options);
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("say --once, --max-hits N, or --all"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_signal_ends_it_and_lets_run_what_it_holds() {
    if !ebpf::available() {
        return;
    }
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let system = System::new();
        let hello = system.world.fixture("hello", &[]);
        let mut session = system.session("basename=hello", &["--all", "--hold"], &[]);
        let found = system.stopped(&mut session, &hello, &["one"]);
        session.signal(signal);
        assert_eq!(end(session).0, status);
        let found = finish(found);
        assert_eq!((found.code(), found.out().as_str()), (3, "one\nhello\n"));

        let session = system.session("basename=none", &["--all", "--hold"], &[]);
        let programs = ebpf::programs_of(session.pid());
        session.signal(signal);
        assert_eq!(end(session).0, status);
        nothing_is_left_of(&system.world);
        ebpf::are_gone(&programs);
    }
}

#[test]
fn tracexec_and_its_debuggers_are_never_matched() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let options = ["--all", "--when-busy", "wait", "--sessions", "2"];
    let debugger = ["--debugger", "gdb-backtrace", "--in", "background"];
    let command = ["sh", "-c", "\"$0\" one; \"$0\" two; exit 4", hello.to_str().unwrap()];
    let session = system.session("argc>0", &[&options[..], &debugger].concat(), &command);
    let (code, stderr) = end(session);
    assert_eq!(code, 4, "{stderr}");
    let hits: Vec<&str> = stderr.lines().filter(|line| line.ends_with(" in background")).collect();
    assert_eq!(hits.len(), 3, "{stderr}");
    for (hit, word) in hits.iter().zip([" sh -c ", "hello one ", "hello two "]) {
        assert!(hit.contains(word), "{stderr}");
    }
    // Nor is what only listens.
    let (code, stderr) = end(system.session("argc>0", &["--list"], &command));
    assert_eq!((code, stderr.lines().count()), (4, 3), "{stderr}");
    nothing_is_left_of(&system.world);
}

/// A terminal starts our programs in a tree of its own, as the user does: were they held, nobody could
/// let them go.
#[test]
fn a_tracexec_that_others_start_is_not_matched_by_what_matches_everything() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let hold = ["--all", "--hold"];
    let mut session = system.session("argc>0", &hold, &[hello.to_str().unwrap()]);
    let held = eventually("a hit", || {
        session.assert_runs();
        let mut ps = system.world.tracexec(["ps"]);
        ps.gid(system.group);
        let shown = finish(system.world.start(ps)).out();
        let hit = shown.lines().find(|line| line.contains(" parked "))?;
        hit.split_whitespace().next()?.parse::<i32>().ok()
    });
    let mut release = system.world.tracexec(["release", "--all"]);
    release.gid(system.group);
    assert_eq!(finish(system.world.start(release)).out(), format!("released {held}\n"));
    let (code, stderr) = end(session);
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(stderr.matches(": held").count(), 1, "{stderr}");
    nothing_is_left_of(&system.world);
}

#[test]
fn matches_of_command_and_of_other_trees_are_taken_alike() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let command = ["sh", "-c", "\"$0\" one; exit 6", hello.to_str().unwrap()];
    let options = ["--max-hits", "2", "--hold"];
    let mut session = system.session("basename=hello", &options, &command);
    let of_command = pid_in(&session.stderr_line(": held"));
    let other = system.stopped(&mut session, &hello, &["two"]);
    assert_eq!(pid_in(&session.stderr_line(": held")), other.pid());
    let unwanted = finish(system.outside(&hello, &["three"]));
    assert_eq!(unwanted.code(), 3);
    let released = system.release();
    for pid in [of_command, other.pid()] {
        assert!(released.contains(&format!("released {pid}\n")), "{released}");
    }
    assert_eq!(finish(other).code(), 3);
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (6, "one\nhello\n"), "{}", outcome.stderr);
    nothing_is_left_of(&system.world);
}

#[test]
fn of_many_matches_at_once_one_is_held_and_all_others_run_through() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let bare = ["-static", "-nostdlib", "-fno-stack-protector"];
    let digits = system.world.fixture("digits", &bare);
    let ways = system.world.fixture("ways", &[]);
    let mut session = system.session("basename=digits", &["--once", "--hold"], &[]);
    let programs = ebpf::programs_of(session.pid());
    let storm = system.outside(&ways, &["8", "200", digits.to_str().unwrap()]);
    let held = pid_in(&session.stderr_line(": held"));
    eventually("all others' end", || {
        let name = |pid: &i32| status_of(*pid, "Name").unwrap_or_default();
        let names: Vec<String> = processes_of(&system.world).iter().map(name).collect();
        let count = |name: &str| names.iter().filter(|found| *found == name).count();
        (count("ways") == 2 && count("digits") == 1).then_some(())
    });
    assert_eq!(state(held), Some('T'));
    assert_eq!(system.release(), format!("released {held}\n"));
    let outcome = finish(storm);
    assert_eq!(outcome.code(), 0);
    assert!(outcome.out().starts_with("1600 right, "), "{}", outcome.out());
    assert_eq!(end(session).0, 0);
    nothing_is_left_of(&system.world);
    ebpf::are_gone(&programs);
}

/// Neither undoes the other's stop: one of them holds it, and the other one says so.
#[test]
fn of_two_sessions_that_want_the_same_exec_one_gets_it() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let mut sessions =
        [(); 2].map(|()| system.session("basename=hello", &["--all", "--hold"], &[]));
    let texts =
        sessions.each_mut().map(|session| Growing::new(session.child().stderr.take().unwrap()));
    // Until both are ready.
    let lines = eventually("an exec that both have seen", || {
        sessions.iter_mut().for_each(Running::assert_runs);
        let mut process = system.outside(&hello, &["one"]);
        let pid = process.pid();
        eventually("a stop, or an end", || {
            let ended = process.child().try_wait().unwrap();
            (ended.is_some() || state(pid) == Some('T')).then_some(())
        });
        eventually("its end", || {
            system.release();
            process.child().try_wait().unwrap()
        });
        assert_eq!(finish(process).code(), 3);
        let of = |text: &Growing| {
            let begin = format!("tracexec: {pid} ");
            text.all().lines().find(|line| line.starts_with(&begin)).map(str::to_string)
        };
        Some([of(&texts[0])?, of(&texts[1])?])
    });
    let held = lines.iter().filter(|line| line.ends_with(": held")).count();
    let told =
        lines.iter().filter(|line| line.ends_with("another program stops it already")).count();
    assert_eq!((held, told), (1, 1), "{lines:?}");
    for session in sessions {
        session.signal(libc::SIGTERM);
        finish(session);
    }
    nothing_is_left_of(&system.world);
}

#[test]
fn sessions_at_the_same_time_hold_each_its_own() {
    if !ebpf::available() {
        return;
    }
    let system = System::new();
    let hello = system.world.fixture("hello", &[]);
    let mut over_all = system.session("basename=hello", &["--once", "--hold"], &[]);
    let of_all = system.stopped(&mut over_all, &hello, &["all"]);
    assert_eq!(pid_in(&over_all.stderr_line(": held")), of_all.pid());
    let trees = [World::new(), World::new()];
    let mut held = Vec::new();
    for world in &trees {
        let hello = world.fixture("hello", &[]);
        let mut command = world.tracexec(["debug", "--hold", "-m", "basename=hello", "--"]);
        command.args(["sh", "-c", "\"$0\" tree; exit $?"]).arg(&hello);
        let mut session = world.start(command);
        let pid = pid_in(&session.stderr_line(": held"));
        eventually("the stop", || (state(pid) == Some('T')).then_some(()));
        held.push((session, pid));
    }
    // One dies, another lets go; what the rest hold stays where it is.
    let (killed, of_killed) = held.remove(0);
    killed.signal(libc::SIGKILL);
    eventually("the program's end", || crate::support::is_gone(of_killed).then_some(()));
    assert_eq!(finish(killed).code(), 1000 + libc::SIGKILL);
    nothing_is_left_of(&trees[0]);
    let (last, of_last) = held.remove(0);
    assert_eq!((state(of_last), state(of_all.pid())), (Some('T'), Some('T')));
    assert_eq!(system.release(), format!("released {}\n", of_all.pid()));
    assert_eq!(finish(of_all).code(), 3);
    assert_eq!(end(over_all).0, 0);
    assert_eq!(state(of_last), Some('T'));
    assert_eq!(trees[1].run(["release", "--all"]).out(), format!("released {of_last}\n"));
    let outcome = finish(last);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "tree\nhello\n"));
    nothing_is_left_of(&trees[1]);
    nothing_is_left_of(&system.world);
}
