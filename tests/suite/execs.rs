//! The ways in which a program can be executed, and what the filter sees of each: real processes under
//! `--list`, which stops none of them.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::support::{Outcome, World, finish, pid_in};

/// The pids of the hits in a run's messages.
fn hits(outcome: &Outcome) -> Vec<i32> {
    outcome.stderr.lines().map(pid_in).collect()
}

fn words<'a>(program: &'a Path, rest: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![program.to_str().unwrap()];
    words.extend(rest);
    words
}

/// Runs a command under `--list` with this filter.
#[track_caller]
fn list(world: &World, filter: &str, command: &[&str]) -> Outcome {
    let mut args = vec!["debug", "--list", "-m", filter, "--"];
    args.extend(command);
    world.run(args)
}

/// Runs a command that ends with `hello`, with its status and its words on standard output, and
/// expects `hello`'s exec to be the only one for which `filter` holds.
#[track_caller]
fn expect_one(world: &World, filter: &str, command: &[&str], output: &str) {
    let outcome = list(world, filter, command);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, output), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{filter}:\n{}", outcome.stderr);
    assert!(!outcome.stderr.contains("nothing matched"), "{}", outcome.stderr);
}

/// Writes a script. Another process does it: a descriptor of ours, open for writing, could be inherited
/// by a child of another test just when the script is executed, which ETXTBSY forbids.
fn script(world: &World, name: &str, text: &str) -> PathBuf {
    let (path, source) = (world.path(name), world.file("source", text));
    let status = Command::new("install").arg("-m755").arg(source).arg(&path).status().unwrap();
    assert!(status.success());
    path
}

#[test]
fn an_exec_from_a_thread_that_is_not_the_leader_is_the_process_s_own() {
    let world = World::new();
    let (start, hello) = (world.fixture("thread_exec", &[]), world.fixture("hello", &[]));
    let command = words(&start, &[hello.to_str().unwrap(), "one"]);
    let filter = "basename=hello and depth=0 and prev.comm=thread_exec and argv[1]=one";
    expect_one(&world, filter, &command, "one\nhello\n");
}

#[test]
fn vfork_and_posix_spawn_make_children_whose_parent_is_known() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for name in ["vfork", "posix_spawn"] {
        let start = world.fixture(name, &[]);
        let filter = format!("basename=hello and depth=1 and parent.basename={name}");
        expect_one(&world, &filter, &words(&start, &[hello.to_str().unwrap()]), "hello\n");
    }
}

#[test]
fn programs_of_every_format_are_read_alike() {
    for flags in [
        &["-m32"][..],
        &["-m32", "-static"],
        &["-static"],
        &["-static-pie"],
        &["-no-pie"],
        &["-pie", "-fpie"],
    ] {
        let world = World::new();
        let hello = world.fixture("hello", flags);
        let path = hello.to_str().unwrap();
        let filter = format!(
            "argv='{path} one' and argv[-1]=one and env[CASE]=17 and filename={path} and not interpreter"
        );
        let run = format!("CASE=17 '{path}' one; exit $?");
        expect_one(&world, &filter, &["sh", "-c", &run], "one\nhello\n");
    }
}

#[test]
fn a_script_has_its_own_file_name_and_its_interpreter_s_image() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let path = world.dir.path().canonicalize().unwrap();
    let path = path.to_str().unwrap();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let image = format!("interpreter={0} and exe={0} and cwd={path}", shell.display());
    script(&world, "inner", &format!("#!/bin/sh -e\nexec '{}' \"$1\"\n", hello.display()));
    script(&world, "outer", &format!("#!{path}/inner\n"));
    // Its argv is of the kernel's making, its file name is what was passed.
    let here = "filename=./inner and argv[0]=/bin/sh and argv[1]=-e and argv[2]=./inner";
    let found = format!("filename={path}/inner and basename=inner and comm=inner");
    // One script may be another's interpreter; what runs in the end is the shell.
    let nested = format!("filename=./outer and argv[2]={path}/inner and argv[3]=./outer");
    for (filter, run, output) in [
        (here, "./inner one", "one"),
        (&found, &format!("PATH='{path}' inner one"), "one"),
        (&nested, "./outer", "./outer"),
    ] {
        let run = format!("cd '{path}' && {run}; exit $?");
        let filter = format!("{filter} and {image}");
        expect_one(&world, &filter, &["sh", "-c", &run], &format!("{output}\nhello\n"));
    }
}

#[test]
fn a_program_in_memory_is_named_by_its_descriptor() {
    let world = World::new();
    let (memfd, hello) = (world.fixture("memfd", &[]), world.fixture("hello", &[]));
    let filter = "filename=/dev/fd/40 and basename=40 and exe~^/memfd:program and not interpreter";
    for (kept, open) in [("keep", "fd[40]"), ("close", "not fd[40]")] {
        let command = words(&memfd, &[kept, hello.to_str().unwrap(), "one"]);
        expect_one(&world, &format!("{filter} and {open}"), &command, "one\nhello\n");
    }
}

#[test]
fn a_program_in_a_folder_s_descriptor_is_named_by_both() {
    let world = World::new();
    let execveat = world.fixture("execveat", &[]);
    let hello = world.fixture("hello", &[]).canonicalize().unwrap();
    script(&world, "script", "#!/bin/sh\necho one\necho hello\nexit 3\n");
    let folder = world.dir.path().to_str().unwrap();
    let filter =
        format!("filename=/dev/fd/40/hello and exe={} and not interpreter", hello.display());
    expect_one(&world, &filter, &words(&execveat, &[folder, "hello", "one"]), "one\nhello\n");
    let filter = "filename=/dev/fd/40/script and basename=script and interpreter";
    expect_one(&world, filter, &words(&execveat, &[folder, "script"]), "one\nhello\n");
}

#[test]
fn a_program_without_any_argument_is_seen() {
    let world = World::new();
    let (start, hello) = (world.fixture("empty_argv", &[]), world.fixture("hello", &[]));
    // Linux 5.18 and later give it one empty argument.
    let filter = "basename=hello and argv='' and argc<=1 and not argv[1]";
    expect_one(&world, filter, &words(&start, &[hello.to_str().unwrap()]), "hello\n");
}

#[test]
fn a_chain_of_200_execs_in_one_process_is_seen_link_by_link() {
    let world = World::new();
    let chain = world.fixture("chain", &[]);
    let outcome = list(&world, "basename=chain and depth=0", &words(&chain, &["200"]));
    let pids = hits(&outcome);
    assert_eq!((outcome.code(), pids.len()), (7, 201), "{}", outcome.stderr);
    assert!(pids.iter().all(|pid| *pid == pids[0]));
    for (at, line) in outcome.stderr.lines().enumerate() {
        assert!(line.contains(&format!("/chain {} ", 200 - at)), "{at}: {line}");
    }
}

#[test]
fn of_500_processes_at_once_none_is_missed_or_harmed() {
    let world = World::new();
    let crowd = world.fixture("crowd", &[]);
    let filter = "argv[1]=exit and depth=1 and parent.argv[1]=500";
    let outcome = list(&world, filter, &words(&crowd, &["500"]));
    assert_eq!((outcome.code(), outcome.out().as_str()), (0, "500 right\n"), "{}", outcome.stderr);
    let pids = hits(&outcome);
    assert_eq!(pids.len(), 500, "{}", outcome.stderr);
    assert_eq!(pids.into_iter().collect::<HashSet<_>>().len(), 500);
}

#[test]
fn a_megabyte_of_arguments_and_another_of_environment_are_read_to_their_ends() {
    let world = World::new();
    let few_long = vec!["x".repeat(100_000); 9];
    let many_short = vec!["y".to_string(); 90_000];
    for arguments in [few_long, many_short] {
        let count = arguments.len() + 2;
        let filter =
            format!("argc={count} and argv[-1]=needle and env[ZZ_LAST]=here and env[A5]~x{{9}}$");
        let mut command = world.tracexec(["debug", "--list", "-m", &filter, "--", "/bin/true"]);
        command.args(&arguments).arg("needle");
        command.env("ZZ_LAST", "here");
        for number in 0..9 {
            command.env(format!("A{number}"), "x".repeat(60_000));
        }
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), hits(&outcome).len()), (0, 1), "{:.500}", outcome.stderr);
    }
}

#[test]
fn the_fields_of_a_real_process_are_what_it_was_given() {
    let world = World::new();
    world.fixture("hello", &[]);
    let folder = world.dir.path().canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let terminal_name = nix::unistd::ttyname(&terminal.slave).unwrap();
    let event = EventFd::from_flags(EfdFlags::empty()).unwrap();
    // A number that the shell below does not use.
    let event_number = fcntl(&event, FcntlArg::F_DUPFD(50)).unwrap();
    let run = format!(
        "cd '{folder}' && CASE=17 EMPTY= exec ./hello one 'two words' 3<hello 4</ 5</dev/null 6<'{}' 9<&- <&8 8<&-",
        terminal_name.display()
    );
    let holds = |filter: &str| {
        let filter = format!("basename=hello and ({filter})");
        let mut command = world.tracexec(["debug", "--list", "-m", &filter, "--"]);
        command.args(["sh", "-c", &format!("exec 8<&0; {run}")]);
        let (socket, _other_end) = UnixStream::pair().unwrap();
        command.stdin(Stdio::from(OwnedFd::from(socket)));
        let outcome = finish(world.start(command));
        assert_eq!(outcome.out(), "one\ntwo words\nhello\n", "{}", outcome.stderr);
        if outcome.stderr.contains("nothing matched in 2 execs") {
            return false;
        }
        assert_eq!(hits(&outcome).len(), 1, "{}", outcome.stderr);
        true
    };
    let our_pid = std::process::id();
    for (true_filter, false_filter) in [
        ("argv[1]=one and argv[2]='two words'", "argv[3]"),
        ("argv[-1]='two words' and argc=3", "argv[*]=two"),
        ("argv='./hello one two words'", "argv[0]=hello"),
        ("env[CASE]=17 and env[EMPTY]=''", "env[CASE]=1"),
        ("not env[UNSET] and env[UNSET]!=1", "env[UNSET]!='' and env[EMPTY]!=''"),
        (&format!("cwd={folder} and comm=hello"), "cwd=/"),
        (&format!("exe={folder}/hello and exe endswith /hello"), "exe=/bin/sh"),
        ("fd[0].type=socket and fd[0]~^socket:", "fd[0].type=pipe"),
        ("fd[1].type=pipe and fd[2].type=pipe", "fd[1].type=file"),
        (&format!("fd[3].type=file and fd[3]={folder}/hello"), "fd[3]=/"),
        ("fd[4].type=dir and fd[4]=/", "fd[4].type=file"),
        ("fd[5].type=char and fd[5]=/dev/null", "fd[5].type=tty"),
        (&format!("fd[6].type=tty and fd[6]={}", terminal_name.display()), "fd[6].type=char"),
        (&format!("fd[{event_number}].type=anon"), "fd[9]"),
        (&format!("fd[*]={folder}/hello and not fd[9]"), "fd[*]=/nowhere"),
        ("uid=0 and gid=0 and user=root and group=root", "user=nobody"),
        ("depth=0 and prev.comm=sh and not parent", "ppid=1 or depth>0"),
        (&format!("ppid!={our_pid} and ppid>1"), &format!("pid<=1 or ppid={our_pid}")),
    ] {
        assert!(holds(true_filter), "should hold: {true_filter}");
        assert!(!holds(false_filter), "should not hold: {false_filter}");
    }
}

#[test]
fn as_another_user_the_ids_are_that_user_s() {
    let world = World::new();
    let filter = "uid=65534 and user=nobody and group=nogroup and env[USER]=nobody and comm=true";
    let args = ["debug", "-u", "nobody", "--list", "-m", filter, "--", "sh", "-c", "/bin/true"];
    let outcome = world.run(args);
    assert_eq!((outcome.code(), hits(&outcome).len()), (0, 1), "{}", outcome.stderr);
}
