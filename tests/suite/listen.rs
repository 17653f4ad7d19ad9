//! `--listen`: debuggers that are used from elsewhere.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::support::compile::call_it;
use crate::support::typed::{Growing, nothing_is_left_of};
use crate::support::{World, eventually, finish};

/// Has a debugger elsewhere connect by the line that is printed, with further words; what was said here,
/// and there.
#[track_caller]
fn elsewhere(options: &[&str], words: &[&str]) -> (String, String) {
    let world = World::new();
    call_it(&world, "lldb", "lldb-19");
    let hello = world.fixture("hello", &[]);
    let mut command = world.tracexec(["debug", "-m", "basename=hello"]);
    command.args(options).args(["--", "sh", "-c"]);
    command.arg(format!("{} a; echo status $?", hello.display()));
    let mut running = world.start(command);
    let mut stderr = Growing::new(running.child().stderr.take().unwrap());
    stderr.wait_for("connect with: ");
    let line = stderr.wait_for("\n");
    eventually("a port that is listened on", || is_listened_on(port_in(&line)).then_some(()));
    let line = shell_words::split(&line).unwrap();
    let mut debugger = Command::new(world.path("bin").join(&line[0]));
    if line[0] == "gdb" {
        debugger = Command::new("gdb");
    }
    world.prepare(&mut debugger);
    debugger.args(&line[1..]).args(words);
    let there = finish(world.start(debugger));
    let outcome = finish(running);
    assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{}", stderr.all());
    nothing_is_left_of(&world);
    (stderr.all(), there.out() + &there.stderr)
}

/// The port of such a line.
fn port_in(line: &str) -> u16 {
    let after = line.rsplit_once(':').unwrap().1;
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().unwrap()
}

fn is_listened_on(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let socket = format!(":{port:04X} 00000000:0000 0A ");
    table.lines().any(|line| line.contains(&socket))
}

const LLDB: [&str; 6] = ["-b", "-o", "breakpoint set -n main", "-o", "continue", "-o"];

#[test]
fn an_lldb_elsewhere_connects_to_lldb_server() {
    let words = [&LLDB[..], &["bt", "-o", "detach"]].concat();
    let (here, there) = elsewhere(&["--debugger", "lldb-server"], &words);
    let (_, continued) = there.split_once("(lldb) continue").unwrap();
    assert!(continued.contains("hello.c:6"), "{there}");
    assert!(!continued.contains("stop reason = signal"), "{there}");
    assert!(here.contains("any user of this machine who reaches 127.0.0.1:"), "{here}");
}

#[test]
fn an_address_that_others_reach_is_taken_at_ones_word_and_warned_of() {
    let options = ["--debugger", "gdbserver", "--listen", "0.0.0.0"];
    let words = ["-batch", "-ex", "tbreak main", "-ex", "continue", "-ex", "detach"];
    let (here, there) = elsewhere(&options, &words);
    assert!(there.contains("Temporary breakpoint 1, main ("), "{there}");
    assert!(here.contains("whoever, from wherever, who reaches 0.0.0.0:"), "{here}");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert!(here.contains(&format!("'target remote {host}:")), "{here}");
}

#[test]
fn a_port_of_ones_choice_is_taken() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!(":{port}");
    let options = ["--debugger", "gdbserver", "--listen", &listen];
    let (here, there) = elsewhere(&options, &["-batch", "-ex", "detach"]);
    assert!(here.contains(&format!("'target remote 127.0.0.1:{port}'")), "{here}");
    assert!(there.contains("detached]"), "{there}");
}

#[test]
fn where_nothing_can_listen_it_is_an_error_before_the_command_starts() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let server = ["--debugger", "gdbserver", "--listen"];
    for (options, expected) in [
        ([&server[..], &["192.0.2.1"]].concat(), "nothing can listen on 192.0.2.1"),
        ([&server[..], &[&taken]].concat(), "Address already in use"),
        ([&server[..], &[":1", "--sessions", "2"]].concat(), "one debugger at a time"),
        ([&server[..], &["somewhere"]].concat(), "expected an address"),
        (vec!["--debugger", "gdb", "--listen", ":0"], "does not listen on a port"),
        (vec!["--listen", ":0"], "does not listen on a port"),
    ] {
        let mut args = vec!["debug", "-m", "argc>0", "--in", "background"];
        args.extend(options.iter().copied());
        args.extend(["--", "touch"]);
        let mut command = world.tracexec(args);
        command.arg(world.path("started"));
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{options:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{options:?}: {}", outcome.stderr);
        assert!(!world.path("started").exists(), "{options:?}");
    }
}
