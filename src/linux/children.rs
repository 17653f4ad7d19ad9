//! Children that are run for their answer, and may not give one.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::linux::sys::{self, Pid};

/// The most that is kept of what one says, in bytes.
const LONGEST: u64 = 64 << 10;

/// Waits for a child's end. One that leads a session of its own is killed with that if it takes too long.
pub fn wait(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    if !ends(child, patience)? {
        let _ = sys::kill(-(child.id() as Pid), libc::SIGKILL);
        let _ = child.kill();
        let _ = child.wait();
        let what = format!("it has not ended after {} s", patience.as_secs());
        return Err(io::Error::new(ErrorKind::TimedOut, what));
    }
    child.wait()
}

/// Whether a child ends in time.
fn ends(child: &mut Child, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    let pidfd = sys::pidfd_open(child.id() as Pid)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(ready) if ready > 0 => return Ok(true),
            _ => {}
        }
    }
}

/// Runs a program that says little, and does not wait for ever.
pub fn output(mut command: Command, patience: Duration) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let status = wait(&mut child, patience)?;
    let stdout = child.stdout.take().map(said).unwrap_or_default();
    let stderr = child.stderr.take().map(said).unwrap_or_default();
    Ok(Output { status, stdout, stderr })
}

/// What a child that has ended said on a pipe of ours: others may have that open still, and are not waited for.
pub fn said(mut pipe: impl Read + AsFd) -> Vec<u8> {
    let mut said = Vec::new();
    if fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok() {
        let _ = pipe.by_ref().take(LONGEST).read_to_end(&mut said);
    }
    said
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_killed_with_what_it_has_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]).stdout(Stdio::piped());
        sys::own_session(&mut command, sys::Controlling::Nothing);
        let mut child = command.spawn().unwrap();
        let error = wait(&mut child, Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // Nobody has its standard output open any more.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn what_a_child_said_is_there_although_another_process_may_go_on() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; exit 3"]);
        command.stdout(Stdio::piped());
        let output = output(command, Duration::from_secs(60)).unwrap();
        assert_eq!(output.status.code(), Some(3));
        let left = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        sys::kill(left, libc::SIGKILL).unwrap();
    }
}
