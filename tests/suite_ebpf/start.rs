//! What a user waits for before COMMAND starts.

use std::fs;
use std::process::Stdio;

use crate::support::typed::nothing_is_left_of;
use crate::support::{World, ebpf, feed, finish};

/// The instructions that the verifier has followed for the programs of a running tracexec. Linux 5.16 and later
/// say it.
fn verified(tracexec: i32) -> Option<u32> {
    let infos = fs::read_dir(format!("/proc/{tracexec}/fdinfo")).unwrap().flatten();
    let infos = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let numbers = infos.filter_map(|info| {
        info.lines().find_map(|line| line.strip_prefix("verified_insns:")?.trim().parse().ok())
    });
    numbers.fold(None, |sum, number: u32| Some(sum.unwrap_or(0) + number))
}

/// The size of the buffer for records that a running tracexec has.
fn room(tracexec: i32) -> u32 {
    let infos = fs::read_dir(format!("/proc/{tracexec}/fdinfo")).unwrap().flatten();
    let infos = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let value = |info: &str, key| {
        info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u32>().ok())
    };
    let ring = infos.into_iter().find(|info| value(info, "map_type:") == Some(RINGBUF)).unwrap();
    value(&ring, "max_entries:").unwrap()
}

/// BPF_MAP_TYPE_RINGBUF.
const RINGBUF: u32 = 27;

/// It is mapped twice, and counts as our memory; too small a one is said.
#[test]
fn the_buffer_is_as_large_as_what_is_watched_needs_and_what_it_lost_is_said() {
    if !ebpf::available() {
        return;
    }
    let list = ["debug", "--list", "--system", "-m", "gid=4242 and argc>99"];
    let log = ["log", "--backend", "ebpf", "-o", "/dev/null"];
    for (expected, words) in
        [(1, &["debug", "--hold", "-m", "argc>99"][..]), (16, &list), (16, &log)]
    {
        let world = World::new();
        let mut command = world.tracexec(words);
        let script = "big=$(head -c 120000 /dev/zero | tr '\\0' x); echo begun >&2; read _
            for i in $(seq 20); do for j in 1 2 3 4 5 6 7 8 9 10; do
                /bin/echo $big >/dev/null; done; done; echo done >&2";
        command.args(["--", "sh", "-c", script]).stdin(Stdio::piped());
        let mut session = world.start(command);
        session.stderr_line("begun");
        assert_eq!(room(session.pid()), expected << 20, "{words:?}");
        // Nobody takes what comes while we are stopped: 24 MB.
        session.signal(libc::SIGSTOP);
        feed(&mut session, b"\n");
        session.stderr_line("done");
        session.signal(libc::SIGCONT);
        let outcome = finish(session);
        assert_eq!(outcome.code(), 0, "{words:?}: {}", outcome.stderr);
        let lost = outcome.stderr.contains("events were lost");
        assert_eq!(lost, words == log, "{words:?}: {}", outcome.stderr);
        nothing_is_left_of(&world);
    }
}

/// The verifier's work is what makes a start slow, and their number does not depend on how busy the machine is.
#[test]
fn the_verifier_has_little_to_follow() {
    if !ebpf::available() {
        return;
    }
    let many =
        (1..=5).map(|i| format!("argv[{i}]=q{i} or argv~r{i}.*s or comm=t{i} or argc>90{i}"));
    let many = format!("uid=4242 and (argv[-1]=x or {})", many.collect::<Vec<_>>().join(" or "));
    for (most, words) in [
        (15_000, &["debug", "--hold", "-m", "argv~needle"][..]),
        (30_000, &["debug", "--hold", "-m", &many]),
        (20_000, &["debug", "--list", "-m", "argc>99"]),
        (25_000, &["debug", "--list", "-m", "fd[0]=/none and env[NONE] and cgroup endswith /none"]),
        (20_000, &["debug", "--list", "--system", "-m", "gid=4242 and argc>99"]),
        (25_000, &["log", "--backend", "ebpf", "-o", "/dev/null"]),
        (30_000, &["collect", "--backend", "ebpf", "-F", "json", "-o", "/dev/null"]),
    ] {
        let world = World::new();
        let mut command = world.tracexec(words);
        command.args(["--", "sh", "-c", "echo begun >&2; read _"]).stdin(Stdio::piped());
        let mut session = world.start(command);
        session.stderr_line("begun");
        let number = verified(session.pid());
        feed(&mut session, b"\n");
        let outcome = finish(session);
        assert_eq!(outcome.code(), 0, "{words:?}: {}", outcome.stderr);
        nothing_is_left_of(&world);
        match number {
            None => return eprintln!("not tried: this kernel does not say what it has verified"),
            Some(number) => assert!(number < most, "{words:?}: {number} instructions"),
        }
    }
}
