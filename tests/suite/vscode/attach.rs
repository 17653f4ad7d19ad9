//! An entry that attaches, in the hands of the debugger for which it was written.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Workspace;
use crate::support::dap::Adapter;
use crate::support::mi::Gdb;
use crate::support::user::User;
use crate::support::{Running, World, eventually, finish, status_of};
use serde_json::Value;

fn lldb_dap() -> Adapter {
    Adapter::start(Command::new("lldb-dap-19"))
}

#[test]
fn lldb_dap_reaches_the_place_at_once_and_reads_its_variables() {
    for place in ["main", "hello.c:7"] {
        lldb_dap_reaches(place);
    }
}

fn lldb_dap_reaches(place: &str) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let options = ["-m", "basename=hello", "--debugger", "lldb-dap", "--break", place];
    let script = format!("{} one two; echo status $?", hello.display());
    let (session, pid) = workspace.hit(&options, &["sh", "-c", &script]);
    let mut adapter = lldb_dap();
    adapter.begin(&workspace.configuration("tracexec: attach"));
    let (function, variables) = adapter.where_it_is();
    assert!(function.starts_with("main"), "{function}");
    assert!(variables.contains(&("argc".into(), "3".into())), "{variables:?}");
    assert_eq!(adapter.stops(), 1, "{:#?}", adapter.seen);
    assert_ne!(status_of(pid, "TracerPid").unwrap(), "0");
    assert_eq!(adapter.go_on(), 3);
    let outcome = finish(session);
    assert_eq!(outcome.out(), "one\ntwo\nhello\nstatus 3\n");
    let names: Vec<String> = workspace.configurations().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tracexec: launch"]);
}

#[test]
fn lldb_dap_stays_at_the_first_instruction_without_a_place_to_go_to() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let said = "script open('said', 'w').write('as asked')";
    let options = ["-m", "basename=hello", "--debugger", "lldb-dap", "--ex", said];
    let (session, _) = workspace.hit(&options, &[hello.to_str().unwrap()]);
    let mut command = Command::new("lldb-dap-19");
    command.current_dir(&workspace.folder);
    let mut adapter = Adapter::start(command);
    adapter.begin(&workspace.configuration("tracexec: attach"));
    let (function, _) = adapter.where_it_is();
    assert!(function.contains("_start"), "{function}");
    // What was asked for has been run by then.
    let file = workspace.folder.join("said");
    eventually("the file", || std::fs::read_to_string(&file).ok().filter(|s| s == "as asked"));
    assert_eq!(adapter.go_on(), 3);
    assert_eq!(finish(session).code(), 3);
}

#[test]
fn a_process_that_its_editor_lets_go_of_runs_to_its_end() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let options = ["-m", "basename=hello", "--debugger", "lldb-dap", "--break", "main"];
    let (session, _) = workspace.hit(&options, &[hello.to_str().unwrap()]);
    let mut adapter = lldb_dap();
    adapter.begin(&workspace.configuration("tracexec: attach"));
    adapter.where_it_is();
    adapter.ask("disconnect", serde_json::json!({ "terminateDebuggee": false }));
    let outcome = finish(session);
    assert_eq!((outcome.out().as_str(), outcome.code()), ("hello\n", 3));
}

#[test]
fn gdb_as_cppdbg_drives_it_reaches_the_place_with_no_stop_before_it() {
    for place in ["main", "hello.c:7"] {
        gdb_reaches(place);
    }
}

fn gdb_reaches(place: &str) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let options = ["-m", "basename=hello", "--debugger", "gdb", "--break", place];
    let ex = ["--ex", r#"set var $said = "a \"b\"""#];
    let options = [&options[..], &ex].concat();
    let (session, _) = workspace.hit(&options, &[hello.to_str().unwrap(), "x"]);
    let configuration = workspace.configuration("tracexec: attach");
    let mut gdb = Gdb::start(&configuration);
    gdb.attach(&configuration);
    let stop = gdb.stop();
    assert!(stop.contains("reason=\"breakpoint-hit\"") && stop.contains("func=\"main\""), "{stop}");
    // The other is that of the attach.
    assert_eq!(gdb.stops(), 2, "{:#?}", gdb.seen);
    assert!(gdb.ask("-data-evaluate-expression argc").contains("value=\"2\""));
    assert!(gdb.ask("-data-evaluate-expression $said").contains(r#"a \\\"b\\\""#));
    gdb.ask("-exec-continue");
    gdb.line("its end", |line| line.contains("reason=\"exited\",exit-code=\"03\""));
    assert_eq!(finish(session).code(), 3);
}

/// CodeLLDB itself cannot be had here. It runs these commands one after the other, and then lets the
/// process go on, unless it is to stop on entry.
#[test]
fn lldb_with_the_commands_of_codelldb_reaches_main_at_once() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let options = ["-m", "basename=hello", "--debugger", "lldb", "--break", "main"];
    let (session, pid) = workspace.hit(&options, &[hello.to_str().unwrap(), "x"]);
    let configuration = workspace.configuration("tracexec: attach");
    assert_eq!(configuration["type"], "lldb");
    assert_eq!(configuration["stopOnEntry"], false);
    assert_eq!(configuration["pid"], pid);
    let mut lldb = Command::new("lldb-19");
    lldb.args(["-x", "-b"]).arg(configuration["program"].as_str().unwrap());
    for command in configuration["processCreateCommands"].as_array().unwrap() {
        lldb.args(["-o", command.as_str().unwrap()]);
    }
    lldb.args(["-o", "continue", "-o", "frame variable argc", "-o", "continue"]);
    let output = lldb.output().expect("lldb is needed: apt install lldb-19");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(int) argc = 2"), "{said}");
    assert!(said.contains("exited with status = 3"), "{said}");
    assert_eq!(said.matches("stop reason = one-shot breakpoint").count(), 1, "{said}");
    assert_eq!(finish(session).code(), 3);
}

#[test]
fn a_program_with_a_hostile_name_is_attached_to_all_the_same() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let folder = world.path("a\n-exec-run \"${command:x}\"");
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("he`llo");
    std::fs::copy(&hello, &program).unwrap();
    let options = ["-m", "basename~llo", "--break", "main"];
    for debugger in ["cppdbg", "lldb-dap"] {
        let options = [&options[..], &["--debugger", debugger]].concat();
        let (session, pid) = workspace.hit(&options, &[program.to_str().unwrap(), "x"]);
        let configuration = workspace.configuration("tracexec: attach");
        assert_eq!(configuration["program"], format!("/proc/{pid}/exe"));
        assert!(!workspace.text().unwrap().contains("${"));
        if debugger == "cppdbg" {
            let mut gdb = Gdb::start(&configuration);
            gdb.attach(&configuration);
            assert!(gdb.stop().contains("func=\"main\""));
            gdb.ask("-exec-continue");
            gdb.line("its end", |line| line.contains("exit-code=\"03\""));
        } else {
            let mut adapter = lldb_dap();
            adapter.begin(&configuration);
            assert!(adapter.where_it_is().0.starts_with("main"));
            assert_eq!(adapter.go_on(), 3);
        }
        let outcome = finish(session);
        assert_eq!(outcome.code(), 3);
        assert!(
            outcome.stderr.contains("the program's path cannot be written"),
            "{}",
            outcome.stderr
        );
    }
}

/// Under Yama's ptrace_scope 1 nobody could attach whom the process has not admitted; what is needed for that
/// is done here whether there is Yama or not.
#[test]
fn an_ordinary_user_attaches_to_a_process_that_admits_anyone() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let user = User::new();
    let workspace = Workspace::new(&world);
    let options =
        ["--in", "vscode", "-m", "basename=hello", "--debugger", "lldb-dap", "--break", "main"];
    let mut command = workspace.tracexec(&options, &[hello.to_str().unwrap()]);
    command.env("TRACEXEC_ADMIT", "1").uid(user.uid).gid(user.gid);
    user.give(world.dir.path());
    let mut session = world.start(command);
    session.stderr_line("press F5");
    let mut command = Command::new("lldb-dap-19");
    command.uid(user.uid).gid(user.gid);
    let mut adapter = Adapter::start(command);
    adapter.begin(&workspace.configuration("tracexec: attach"));
    assert!(adapter.where_it_is().0.starts_with("main"));
    assert_eq!(adapter.go_on(), 3);
    assert_eq!(finish(session).code(), 3);
}

/// The entry that a session writes once its server has the process.
fn remote(
    workspace: &Workspace<'_>,
    options: &[&str],
    hello: &std::path::Path,
) -> (Running, Value) {
    let options =
        [&["--in", "vscode", "-m", "basename=hello", "--break", "main"], options].concat();
    let command = workspace.tracexec(&options, &[hello.to_str().unwrap(), "x"]);
    let mut session = workspace.world.start(command);
    session.stderr_line("connect with: ");
    session.stderr_line("press F5");
    let entry = workspace.configuration("tracexec: attach");
    super::schema::check(entry["type"].as_str().unwrap(), &entry);
    (session, entry)
}

#[test]
fn lldb_dap_connects_to_an_lldb_server_and_reaches_main() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    // The file says which of the two types is in use.
    workspace
        .write(r#"{"configurations": [{"name": "x", "type": "lldb-dap", "request": "launch"}]}"#);
    let before = workspace.text();
    let (session, entry) = remote(&workspace, &["--debugger", "lldb-server"], &hello);
    let mut adapter = lldb_dap();
    adapter.begin(&entry);
    let (function, variables) = adapter.where_it_is();
    assert!(function.starts_with("main"), "{function}");
    assert!(variables.contains(&("argc".into(), "2".into())), "{variables:?}");
    // How many stops were told is up to lldb-dap's race, see where_it_is().
    assert_eq!(adapter.go_on(), 3);
    assert_eq!(finish(session).code(), 3);
    assert_eq!(workspace.text(), before);
}

#[test]
fn codelldb_is_told_of_an_lldb_server_where_nothing_says_otherwise() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let (session, entry) = remote(&workspace, &["--debugger", "lldb-server"], &hello);
    let mut lldb = Command::new("lldb-19");
    lldb.args(["-x", "-b"]);
    for key in ["targetCreateCommands", "processCreateCommands"] {
        for command in entry[key].as_array().unwrap() {
            lldb.args(["-o", command.as_str().unwrap()]);
        }
    }
    lldb.args(["-o", "continue", "-o", "frame variable argc", "-o", "continue"]);
    let output = lldb.output().expect("lldb is needed: apt install lldb-19");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(int) argc = 2") && said.contains("exited with status = 3"), "{said}");
    assert_eq!(finish(session).code(), 3);
}

#[test]
fn gdb_as_cppdbg_drives_it_connects_to_a_gdbserver_and_reaches_main() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let (session, entry) = remote(&workspace, &["--debugger", "gdbserver"], &hello);
    let mut gdb = Gdb::start(&entry);
    gdb.connect(&entry);
    let stop = gdb.stop();
    assert!(stop.contains("reason=\"breakpoint-hit\"") && stop.contains("func=\"main\""), "{stop}");
    assert!(gdb.ask("-data-evaluate-expression argc").contains("value=\"2\""));
    gdb.ask("-exec-continue");
    gdb.line("its end", |line| line.contains("reason=\"exited\",exit-code=\"03\""));
    assert_eq!(finish(session).code(), 3);
    assert_eq!(workspace.text(), None);
}
