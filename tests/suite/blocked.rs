//! Readers that do not read: of standard error, and of what is traced.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::support::{World, eventually, signal_process};

/// A pipe without room, and its other end.
fn full_pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&writer, b" ").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader.into(), writer.into())
}

/// Ends it whatever becomes of the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        signal_process(-(self.0.id() as i32), libc::SIGKILL);
        let _ = self.0.wait();
    }
}

fn start(mut command: Command, stderr: &File) -> Ends {
    use std::os::unix::process::CommandExt;
    let stderr = OwnedFd::from(stderr.try_clone().unwrap());
    command.stdout(Stdio::null()).stderr(stderr).process_group(0);
    Ends(command.spawn().unwrap())
}

#[track_caller]
fn status(child: &mut Ends) -> i32 {
    eventually("its end", || child.0.try_wait().unwrap()).code().unwrap()
}

/// Many lines on standard error, from one process.
const BUSY: &str =
    "i=0; while [ $i -lt 600 ]; do /bin/true $i; i=$((i+1)); done 2>/dev/null; exit 7";

#[test]
fn nobody_waits_for_a_reader_of_standard_error() {
    let world = World::new();
    for args in [
        &["debug", "--list", "-m", "basename=true"][..],
        &["-v", "debug", "-m", "basename=true", "--debugger", "true {{pid}}", "--in", "background"],
        &["-v", "collect", "-F", "json-stream", "-o", "/dev/null"],
    ] {
        let (_reader, writer) = full_pipe();
        let few = BUSY.replace("600", if args.contains(&"background") { "3" } else { "600" });
        let command = world.tracexec(args.iter().chain(&["--", "sh", "-c", &few]));
        assert_eq!(status(&mut start(command, &writer)), 7, "{args:?}");
    }
}

#[test]
fn a_signal_ends_a_session_whose_standard_error_is_full() {
    let world = World::new();
    for args in [
        &["debug", "--list", "-m", "pid>0"][..],
        &["-v", "collect", "-F", "json-stream", "-o", "/dev/null"],
    ] {
        let (_reader, writer) = full_pipe();
        let script = format!("touch {}; exec sleep 600", world.path("runs").display());
        let mut child =
            start(world.tracexec(args.iter().chain(&["--", "sh", "-c", &script])), &writer);
        eventually("COMMAND", || world.path("runs").exists().then_some(()));
        signal_process(child.0.id() as i32, libc::SIGTERM);
        assert_eq!(status(&mut child), 143, "{args:?}");
        std::fs::remove_file(world.path("runs")).unwrap();
    }
}
