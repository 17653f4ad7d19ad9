//! An entry that runs a program again.

use std::process::Command;

use super::Workspace;
use crate::support::dap::Adapter;
use crate::support::mi::Gdb;
use crate::support::{World, finish};

/// Arguments that a shell, gdb or lldb would do something with.
const HOSTILE: [&str; 7] =
    ["a b", "", "$(touch owned)", "`touch owned`;'", "\"x\\", ">owned", "-o !ls $HOME"];

/// Runs `again` once under --launch-json; what it wrote.
fn run(world: &World, workspace: &Workspace<'_>, debugger: &str) -> String {
    let again = world.fixture("again", &[]);
    let folder = world.path("else where");
    std::fs::create_dir_all(&folder).unwrap();
    world.file("in put", "a line\n");
    let words = shell_words::join(HOSTILE);
    let script = format!(
        "cd '{}' && CASE='1 2' {} {words} <'{}'",
        folder.display(),
        again.display(),
        world.path("in put").display()
    );
    let options =
        ["--launch-json", "-m", "basename=again", "--debugger", debugger, "--break", "main"];
    let outcome = finish(world.start(workspace.tracexec(&options, &["sh", "-c", &script])));
    assert_eq!(outcome.code(), 5, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("\"tracexec: launch\""), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    outcome.out()
}

#[test]
fn lldb_dap_runs_the_same_again() {
    let world = World::new();
    let workspace = Workspace::new(&world);
    let wrote = run(&world, &workspace, "lldb-dap");
    assert!(wrote.ends_with("a line\n\n") && wrote.contains("|1 2|"), "{wrote}");
    let mut adapter = Adapter::start(Command::new("lldb-dap-19"));
    adapter.begin(&workspace.configuration("tracexec: launch"));
    let (function, variables) = adapter.where_it_is();
    assert!(function.starts_with("main"), "{function}");
    assert!(variables.contains(&("argc".into(), "8".into())), "{variables:?}");
    assert_eq!(adapter.go_on(), 5);
    adapter.event("terminated");
    assert_eq!(adapter.output().replace('\r', ""), wrote);
    assert!(!world.path("else where/owned").exists());
}

#[test]
fn gdb_as_cppdbg_drives_it_runs_the_same_again() {
    let world = World::new();
    let workspace = Workspace::new(&world);
    let wrote = run(&world, &workspace, "cppdbg");
    let configuration = workspace.configuration("tracexec: launch");
    let mut gdb = Gdb::start(&configuration);
    gdb.launch(&configuration);
    assert!(gdb.stop().contains("func=\"main\""));
    assert!(gdb.ask("-data-evaluate-expression argc").contains("value=\"8\""));
    gdb.ask("-exec-continue");
    gdb.line("its end", |line| line.contains("reason=\"exited\",exit-code=\"05\""));
    // It writes to the same stream as gdb.
    for line in wrote.lines().filter(|line| !line.is_empty()) {
        assert!(gdb.seen.iter().any(|seen| seen.ends_with(line)), "{line} in {:#?}", gdb.seen);
    }
    assert!(!world.path("else where/owned").exists());
}

#[test]
fn each_match_has_an_entry_of_its_own_and_a_new_run_begins_anew() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let names = || -> Vec<String> {
        workspace.configurations().into_iter().map(|(name, _)| name).collect()
    };
    let run = |script: &str| {
        let options = ["--launch-json", "-m", "basename=hello"];
        finish(world.start(workspace.tracexec(&options, &["sh", "-c", script])))
    };
    let hello = hello.display();
    let outcome = run(&format!("{hello} a; {hello} b; {hello} c; true"));
    assert_eq!((outcome.code(), outcome.out().as_str()), (0, "a\nhello\nb\nhello\nc\nhello\n"));
    assert_eq!(names(), ["tracexec: launch", "tracexec: launch (2)", "tracexec: launch (3)"]);
    let outcome = run(&format!("{hello} d; true"));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(names(), ["tracexec: launch"]);
    assert_eq!(workspace.configuration("tracexec: launch")["args"][0], "d");
}

#[test]
fn what_an_editor_would_substitute_is_not_written_and_that_is_said() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let options = ["--launch-json", "-m", "basename=hello"];
    let path = hello.to_str().unwrap();
    let mut command = workspace.tracexec(&options, &[path, "${command:workbench.action.quit}"]);
    let outcome = finish(world.start({
        command.env("X", "1");
        command
    }));
    assert_eq!(outcome.code(), 3);
    assert!(
        outcome.stderr.contains("argument 1 cannot be written: it contains `${`"),
        "{}",
        outcome.stderr
    );
    assert_eq!(workspace.text(), None);
    let script = format!("X='${{env:HOME}}' Y=1 {path}; Z=$(printf '\\377') {path}; true");
    let outcome = finish(world.start(workspace.tracexec(&options, &["sh", "-c", &script])));
    assert!(
        outcome.stderr.contains("lacks the variable X: it contains `${`"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("lacks the variable Z: it is not UTF-8"), "{}", outcome.stderr);
    let text = workspace.text().unwrap();
    assert!(text.contains("\"Y\"") && !text.contains("${"), "{text}");
}
