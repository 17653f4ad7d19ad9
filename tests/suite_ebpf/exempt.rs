//! Debuggers of ours are not matched, where a tree is followed; other processes are, whatever their numbers.

use std::fs;
use std::process::Command;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, TRACEXEC, World, ebpf, finish};

/// The hits that a debugger was started for.
fn hits(outcome: &Outcome) -> usize {
    outcome
        .stderr
        .lines()
        .filter(|line| line.contains("hello ") && line.ends_with(" in background"))
        .count()
}

/// The number of a debugger comes again, as it does in time where many are started.
#[test]
fn a_process_that_has_the_number_of_an_earlier_debugger_is_matched() {
    if !ebpf::available() {
        return;
    }
    for apart in [&[][..], &["unshare", "-pf", "--mount-proc"]] {
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let numbered = world.fixture("numbered", &[]);
        let told = world.path("hits.json");
        let script = "\"$0\" one
            until test -n \"$pid\"; do
                pid=$(sed -n 's/.*\"debugger_pid\":\\([0-9][0-9]*\\).*/\\1/p' \"$2\" | head -n 1)
            done
            \"$1\" $pid \"$0\" two
            exit $?";
        let words = [apart, &[TRACEXEC]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["debug", "--backend", "ebpf", "-m", "basename=hello"]);
        command.args(["--debugger", "gdb-backtrace", "--in", "background", "--hits-json"]);
        command.arg(&told).args(["--", "sh", "-c", script]).args([&hello, &numbered, &told]);
        world.prepare(&mut command);
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
        assert!(outcome.out().ends_with("two\nhello\n"), "{}", outcome.stderr);
        assert_eq!(hits(&outcome), 2, "{apart:?}: {}", outcome.stderr);
        nothing_is_left_of(&world);
    }
}

/// A terminal may be of the tree, and all that it starts with it.
#[test]
fn a_debugger_that_the_tree_itself_has_started_is_not_matched() {
    if !ebpf::available() {
        return;
    }
    for apart in [&[][..], &["unshare", "-pf", "--mount-proc"]] {
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let templates = world.path("config/tracexec/launch-templates/terminals");
        fs::create_dir_all(&templates).unwrap();
        let wish = world.path("wish");
        let asks = world.file(
            "asks",
            format!(
                "#!/bin/sh\nprintf \"'%s' \" \"$@\" >'{0}.new'; mv '{0}.new' '{0}'\n",
                wish.display()
            ),
        );
        fs::set_permissions(&asks, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!(
            "name='within'\ndescription='the tree'\ncommand=\"{} {{{{shim}}}}\"\n",
            asks.display()
        );
        fs::write(templates.join("within.toml"), text).unwrap();
        // Has each wish run, as a terminal does, until the match has ended.
        let script = "\"$0\" one & hello=$!
            until test -e \"$1\"; do sleep 0.01; done
            sh -c \"$(cat \"$1\")\" </dev/null
            wait $hello; exit $?";
        let words = [apart, &[TRACEXEC]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["debug", "--backend", "ebpf"]);
        command.args(["-m", "basename=hello"]);
        command.args(["-m", "basename=gdb"]);
        command.args(["--debugger", "gdb-backtrace", "--in", "within", "-v"]);
        command.args(["--", "sh", "-c", script]).args([&hello, &wish]);
        world.prepare(&mut command);
        let outcome = finish(world.start(command));
        assert_eq!(
            (outcome.code(), outcome.out().contains("one\nhello\n")),
            (3, true),
            "{}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("bin/gdb "), "{}", outcome.stderr);
        nothing_is_left_of(&world);
    }
}
