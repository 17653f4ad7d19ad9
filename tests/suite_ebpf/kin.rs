//! Tests on parents and ancestors, which the kernel decides: over eBPF the same execs match as over ptrace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, World, ebpf, eventually, finish};

/// A tree of scripts: parents that wait, that end before their children, that execute something else
/// after a fork, and shells between that execute nothing.
fn tree(world: &World) {
    let script = |name: &str, text: &str| {
        let path = world.file(name, format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs::copy("/bin/true", world.path("leaf")).unwrap();
    world.fixture("daemonize", &[]);
    script("a", "./b x; ./c y; (./b in-a-shell; :); :");
    script("b", "./c z; (./leaf two; :); ./leaf while-b & wait; exec ./leaf replaced");
    script("c", "./leaf one; ./daemonize wait ./leaf late; ./deep 40");
    script("deep", "[ $1 -gt 0 ] && ./deep $(($1 - 20)); ./leaf deep; :");
}

/// The command lines that match.
fn matches(world: &World, backend: &str, filter: &str) -> Vec<String> {
    let mut command = world.tracexec(["debug", "--list", "-m", filter]);
    command.args(["--backend", backend, "--", "sh", "-c", "cd \"$0\"; ./a; ./c last; :"]);
    command.arg(world.dir.path());
    let Outcome { stderr, .. } = finish(world.start(command));
    let hit = |line: &str| {
        let (pid, rest) = line.strip_prefix("tracexec: ")?.split_once(' ')?;
        pid.parse::<u32>().ok()?;
        // Why it matched stands at the end.
        Some(rest.rsplit_once(" (").unwrap().0.to_string())
    };
    let mut hits: Vec<String> = stderr.lines().filter_map(hit).collect();
    hits.sort();
    hits
}

#[test]
fn the_same_execs_match_as_over_ptrace() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    tree(&world);
    let mut some = 0;
    for filter in [
        "parent",
        "not parent",
        "parent.comm=a",
        "parent.basename=b",
        "parent.filename=./c",
        "parent.argv[2]=x",
        "parent.argv~' z$'",
        "parent.argc=3",
        "parent.uid=0 and parent.gid=0",
        "parent.uid=1",
        "ancestor.comm=a",
        "ancestor.argv[*]=y",
        "ancestor.argc>3",
        "ancestor.comm in (b, deep)",
        "not ancestor.comm=b",
        "not parent.comm=c",
        "parent.comm!=c and ancestor.comm=c",
        "basename=leaf and not ancestor.argv~y",
        "ancestor.basename=b or parent.comm=c",
        "basename=leaf and (parent.comm=deep or ancestor.argv[-1]=last)",
        "argv[1]=late and parent.comm=daemonize",
        "argv[1]=late and ancestor.comm=b and not ancestor.comm=nobody",
        "argv[1]=while-b and parent.argv[-1]=replaced",
        "depth>4 and parent.comm=deep",
    ] {
        let over_ebpf = matches(&world, "ebpf", filter);
        assert_eq!(over_ebpf, matches(&world, "ptrace", filter), "{filter}");
        some += over_ebpf.len();
        let none = format!("argv[0]=never and ({filter})");
        let outcome = world.run(["debug", "-v", "--hold", "-m", &none, "--", "true"]);
        assert!(!outcome.stderr.contains("since the kernel cannot"), "{}", outcome.stderr);
    }
    assert!(some > 100, "{some}");
    nothing_is_left_of(&world);
}

#[test]
fn among_all_processes_the_parents_are_those_that_there_are() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    tree(&world);
    let (group, starter) = (ebpf::own_group(), world.path("deep"));
    let filter = format!(
        "parent.comm=deep and ancestor.gid={group} and not ancestor.comm=a and argv[1]=deep"
    );
    let mut session =
        world.start(world.tracexec(["debug", "--system", "--list", "--once", "-m", &filter]));
    eventually("a match", || {
        let mut started = std::process::Command::new(&starter);
        started.arg("0").gid(group).current_dir(world.dir.path());
        finish(world.start(started));
        session.child().try_wait().unwrap()
    });
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.stderr.lines().count()), (0, 1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("./leaf deep (parent.comm=deep"), "{}", outcome.stderr);
    nothing_is_left_of(&world);
}
