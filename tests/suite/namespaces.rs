//! tracexec in namespaces of its own.

use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::{BACKEND, Outcome, TRACEXEC, World, eventually, finish, state};

/// Runs tracexec by unshare(1).
fn apart(world: &World, namespaces: &[&str], words: &[&str]) -> Outcome {
    let mut command = Command::new("unshare");
    command.args(namespaces).arg(TRACEXEC).args(words);
    world.prepare(&mut command);
    finish(world.start(command))
}

/// The time namespace's clock goes into the times of processes, by which they are known.
#[test]
fn in_a_time_namespace_of_its_own_matches_are_held_and_let_go() {
    for offset in ["100000", "-1000"] {
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let hello = hello.to_str().unwrap();
        let mut words = vec!["debug", "--backend", BACKEND, "--hold", "--attach-timeout", "1"];
        words.extend(["-m", "basename=hello", "--", hello, "one"]);
        let outcome = apart(&world, &["-T", "--fork", "--boottime", offset], &words);
        assert_eq!(
            (outcome.code(), outcome.out().as_str()),
            (3, "one\nhello\n"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(": held\n"), "{}", outcome.stderr);
    }
}

/// A killed session: the guardian knows processes by those times, too.
#[test]
fn in_a_time_namespace_of_its_own_a_death_frees_what_is_held() {
    let world = World::new();
    let sleep = world.path("asleep");
    std::fs::copy("/bin/sleep", &sleep).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-T", "--boottime", "100000", TRACEXEC, "debug", "--backend", BACKEND]);
    command.args(["--hold", "--sessions", "1", "-m", "basename=asleep", "--", "sh", "-c"]);
    command.arg("\"$0\" 1000 & echo $!; \"$0\" 1000 & echo $!; wait").arg(&sleep);
    world.prepare(&mut command);
    let mut session = world.start(command);
    session.stderr_line(": held");
    let mut out = std::io::BufReader::new(session.child().stdout.take().unwrap());
    let pids: Vec<i32> = (0..2)
        .map(|_| {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            line.trim().parse().unwrap()
        })
        .collect();
    eventually("two stopped processes", || {
        pids.iter().all(|pid| matches!(state(*pid), Some('T' | 't'))).then_some(())
    });
    session.signal(libc::SIGKILL);
    eventually("two free processes", || {
        pids.iter().all(|pid| state(*pid) == Some('S')).then_some(())
    });
    for pid in pids {
        crate::support::signal_process(pid, libc::SIGKILL);
    }
}

#[test]
fn in_a_time_namespace_of_its_own_records_have_the_time_of_the_wall() {
    let world = World::new();
    let file = world.path("out.json");
    let mut words = vec!["collect", "--backend", BACKEND, "-F", "json-stream", "-o"];
    words.extend([file.to_str().unwrap(), "--", "true"]);
    let begun = SystemTime::now();
    let outcome = apart(&world, &["-T", "--boottime", "100000"], &words);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let text = std::fs::read_to_string(file).unwrap();
    let mut times = 0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(time) = line["wall"].as_str() else { continue };
        let time = humantime::parse_rfc3339(time).unwrap();
        assert!(time >= begun - Duration::from_secs(1) && time <= SystemTime::now(), "{line}");
        times += 1;
    }
    assert!(times > 0, "{text}");
}

#[test]
fn without_the_proc_of_its_pid_namespace_nothing_is_started() {
    for (namespaces, said) in [
        (&["--pid", "--fork"][..], "another pid namespace"),
        (&["--mount", "sh", "-c", "umount -l /proc; exec \"$0\" \"$@\""], "not mounted"),
    ] {
        for words in [
            &["debug", "--backend", BACKEND, "--hold", "-m", "basename=echo"][..],
            &["log", "--backend", BACKEND],
            &["collect", "--backend", BACKEND, "-F", "json-stream", "-o", "/dev/null"],
        ] {
            let world = World::new();
            let words = [words, &["--", "echo", "started"]].concat();
            let outcome = apart(&world, namespaces, &words);
            assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""), "{}", outcome.stderr);
            assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("mount -t proc"), "{}", outcome.stderr);
            assert_eq!(outcome.stderr.matches("error").count(), 1, "{}", outcome.stderr);
        }
    }
}
