//! `log` and `collect` where COMMAND is never executed: what was there stays as it was, and nothing else is left.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::log::backends;
use crate::support::{Running, World, eventually, finish, is_gone, signal_process};

/// Each way to write to a file, without its name.
const WAYS: [&[&str]; 7] = [
    &["collect", "-F", "json", "-o"],
    &["collect", "-F", "json-stream", "-o"],
    &["collect", "-F", "perfetto", "-o"],
    &["collect", "-F", "compile-commands", "--fresh", "-o"],
    &["collect", "-F", "html", "-o"],
    &["log", "-o"],
    &["log", "--rotate", "1M", "-o"],
];

fn tracexec(world: &World, way: &[&str], output: &str, backend: &str, words: &[&str]) -> Command {
    let mut command = world.tracexec(way);
    command.args([output, "--backend", backend, "--"]).args(words).current_dir(folder(world));
    command
}

/// A folder for the files alone.
fn folder(world: &World) -> std::path::PathBuf {
    let folder = world.path("files");
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[track_caller]
fn is_as_before(world: &World, why: &str) {
    let folder = folder(world);
    assert_eq!(fs::read_to_string(folder.join("earlier")).unwrap(), "before", "{why}");
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["earlier"], "{why}");
}

#[test]
fn a_command_that_cannot_be_executed_leaves_the_earlier_file_and_no_other() {
    let world = World::new();
    let earlier = folder(&world).join("earlier");
    fs::write(&earlier, "before").unwrap();
    let text = world.file("text", "x");
    for backend in backends() {
        for way in WAYS {
            for output in ["earlier", "new", "-", "/dev/stdout"] {
                // Standard output cannot begin anew, which is an error of its own.
                if !["earlier", "new"].contains(&output) && way.contains(&"--rotate") {
                    continue;
                }
                for (words, code, said) in [
                    ("none", 127, "cannot execute none: No such file"),
                    (text.to_str().unwrap(), 126, "Permission denied"),
                ] {
                    let what = format!("{backend} {way:?} {output} {words}");
                    let command = tracexec(&world, way, output, backend, &[words]);
                    let outcome = finish(world.start(command));
                    assert_eq!((outcome.code(), outcome.out().as_str()), (code, ""), "{what}");
                    assert!(outcome.stderr.contains(said), "{what}: {}", outcome.stderr);
                    is_as_before(&world, &what);
                }
            }
        }
    }
}

#[test]
fn a_source_that_cannot_be_had_leaves_the_earlier_file_too() {
    let world = World::new();
    fs::write(folder(&world).join("earlier"), "before").unwrap();
    // No process has such a number.
    let nobody = i32::MAX.to_string();
    for way in WAYS {
        let mut command = world.tracexec(way);
        command.args(["earlier", "--backend", "ptrace", "-p", &nobody]).current_dir(folder(&world));
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{way:?}: {}", outcome.stderr);
        is_as_before(&world, &format!("{way:?}"));
    }
}

#[test]
fn a_file_that_cannot_be_written_is_the_same_error_everywhere() {
    let world = World::new();
    fs::write(folder(&world).join("earlier"), "before").unwrap();
    for way in WAYS {
        for (output, why) in [("no ne/out", "No such file or directory"), (".", "Is a directory")] {
            let outcome = finish(world.start(tracexec(&world, way, output, "ptrace", &["echo"])));
            assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""), "{way:?} {output}");
            let name = if output == "." { "." } else { "'no ne/out'" };
            let said = format!("error: cannot write {name}: {why} (os error ");
            assert!(outcome.stderr.contains(&said), "{way:?}: {}", outcome.stderr);
            let hint = "hint: name another file with -o; - is standard output\n";
            assert!(outcome.stderr.ends_with(hint), "{way:?}: {}", outcome.stderr);
            is_as_before(&world, output);
        }
    }
}

/// A COMMAND whose exec waits until [`Late::go_on`].
struct Late {
    lease: Running,
    program: String,
}

impl Late {
    fn new(world: &World) -> Late {
        let lease = world.fixture("lease", &[]);
        let program = world.path("late");
        fs::copy("/bin/true", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(lease);
        command.arg(&program).stdin(Stdio::piped());
        let mut lease = world.start(command);
        lease.stderr_line("held");
        Late { lease, program: program.to_str().unwrap().into() }
    }

    fn go_on(mut self) {
        crate::support::feed(&mut self.lease, b"");
        assert_eq!(finish(self.lease).code(), 0);
    }
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let children = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect::<String>();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// COMMAND, once it is at its exec: a child of the process that was called, or of the one that traces for it.
fn at_its_exec(session: &Running) -> i32 {
    eventually("COMMAND at its exec", || {
        let near = children(session.pid());
        let far: Vec<i32> = near.iter().flat_map(|&pid| children(pid)).collect();
        let exec = format!("{} ", libc::SYS_execve);
        let is_at = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|at| at.starts_with(&exec))
        };
        near.into_iter().chain(far).find(is_at)
    })
}

#[test]
fn what_is_killed_before_it_begins_leaves_the_earlier_file_and_no_other() {
    for backend in backends() {
        for way in WAYS {
            for (output, signal) in [("earlier", libc::SIGTERM), ("new", libc::SIGKILL)] {
                let world = World::new();
                fs::write(folder(&world).join("earlier"), "before").unwrap();
                let late = Late::new(&world);
                let what = format!("{backend} {way:?} {signal}");
                let words = [late.program.as_str()];
                let session = world.start(tracexec(&world, way, output, backend, &words));
                let command = at_its_exec(&session);
                // Either tracexec is told to end, or COMMAND is killed.
                let whom = if signal == libc::SIGTERM { session.pid() } else { command };
                signal_process(whom, signal);
                // Its standard error has another end in COMMAND, which may run on.
                eventually("the end", || is_gone(session.pid()).then_some(()));
                is_as_before(&world, &what);
                late.go_on();
                eventually("COMMAND's end", || is_gone(command).then_some(()));
                let outcome = finish(session);
                assert_eq!(outcome.code(), 128 + signal, "{what}: {}", outcome.stderr);
                assert!(outcome.stderr.contains("; nothing is written"), "{}", outcome.stderr);
            }
        }
    }
}

#[test]
fn a_command_that_is_late_is_recorded_from_its_beginning() {
    for backend in backends() {
        for way in WAYS {
            let world = World::new();
            let earlier = folder(&world).join("earlier");
            fs::write(&earlier, "before").unwrap();
            let late = Late::new(&world);
            // A filter that lets nothing through makes a file all the same.
            let way = [&["-m", "pid=0"], way].concat();
            let way = [&way[2..3], &way[..2], &way[3..]].concat();
            let words = [late.program.as_str()];
            let session = world.start(tracexec(&world, &way, "earlier", backend, &words));
            at_its_exec(&session);
            assert_eq!(fs::read_to_string(&earlier).unwrap(), "before");
            late.go_on();
            let outcome = finish(session);
            assert_eq!(outcome.code(), 0, "{backend} {way:?}: {}", outcome.stderr);
            let text = fs::read(&earlier).unwrap();
            // Where nothing is compiled the file stays as it is.
            let (appends, stays) = (way.contains(&"--rotate"), way.contains(&"compile-commands"));
            assert_eq!(text.starts_with(b"before"), appends || stays, "{backend} {way:?}");
            assert!(stays || text.len() > if appends { 6 } else { 0 }, "{backend} {way:?}");
        }
    }
}

#[test]
fn a_file_that_is_none_is_written_as_it_is() {
    for backend in backends() {
        for way in &WAYS[..6] {
            let world = World::new();
            let folder = folder(&world);
            let made = Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap();
            assert!(made.success());
            let mut reader = Command::new("cat");
            reader.arg(folder.join("fifo"));
            let reader = world.start(reader);
            let outcome = finish(world.start(tracexec(&world, way, "fifo", backend, &["true"])));
            assert_eq!(outcome.code(), 0, "{backend} {way:?}: {}", outcome.stderr);
            assert!(!finish(reader).stdout.is_empty(), "{backend} {way:?}");
            let kind = fs::symlink_metadata(folder.join("fifo")).unwrap().file_type();
            assert!(kind.is_fifo(), "{backend} {way:?}");

            // Standard output that is a file goes on where it is.
            let file = folder.join("file");
            fs::write(&file, "before\n").unwrap();
            let inode = inode(&file);
            let mut command = Command::new("sh");
            let line = "echo first; \"$@\"; echo last";
            command.args(["-c", &format!("exec >>file; {line}"), "sh", crate::support::TRACEXEC]);
            command.args(*way).args(["/dev/stdout", "--backend", backend, "--", "true"]);
            world.prepare(&mut command);
            command.current_dir(&folder);
            assert_eq!(finish(world.start(command)).code(), 0);
            let text = fs::read(&file).unwrap();
            assert!(text.starts_with(b"before\nfirst\n") && text.ends_with(b"last\n"));
            assert!(text.len() > 19 && self::inode(&file) == inode, "{backend} {way:?}");
        }
    }
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}
