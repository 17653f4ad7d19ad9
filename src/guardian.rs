//! Sets parked processes running if tracexec dies, however it dies.
//!
//! A parked process is in state T and traced by nobody, so that a debugger can attach. Were we killed
//! in that moment, nobody would ever send it SIGCONT. So before each hand-over a small process of
//! our own, in a process group of its own, is told of it; when its socket closes, it sends SIGCONT to
//! all that it has been told of and not been told to forget. It holds a pidfd of each, so that it
//! can never reach another process that has got the same pid.
//!
//! Under a shell with job control, our death would orphan COMMAND's process group, and the kernel
//! sends SIGHUP to such a group at once if one of it is stopped. A group is not orphaned while one of
//! it has a parent in another group of the session: so the guardian has a child in COMMAND's group.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{Pid as NixPid, setpgid};

use crate::sys::{self, Pid};

/// The hidden subcommand that [`run`]s.
pub const SUBCOMMAND: &str = "guardian";

/// The session's side.
pub struct Guardian {
    child: Child,
    socket: Option<UnixStream>,
}

impl Guardian {
    /// Starts the guardian.
    pub fn start() -> io::Result<Guardian> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUBCOMMAND).stdin(OwnedFd::from(theirs));
        // It must keep nobody's pipe open.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Guardian { child: command.spawn()?, socket: Some(ours) })
    }

    /// Tells it of a process that is still held, and waits until it has it.
    pub fn watch(&mut self, pid: Pid) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writeln!(socket, "+{pid}")?;
        socket.read_exact(&mut [0])
    }

    /// Tells it that a process needs it no more.
    pub fn forget(&mut self, pid: Pid) {
        if let Some(socket) = &mut self.socket {
            // If it is gone, it holds nothing.
            let _ = writeln!(socket, "-{pid}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.socket.take();
        let _ = self.child.wait();
    }
}

/// The guardian's side: reads what it is told until the socket closes.
pub fn run() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // A copy of our working directory would keep a file system busy.
    let _ = std::env::set_current_dir("/");
    let member = sys::stand_in()?;
    setpgid(NixPid::from_raw(0), NixPid::from_raw(0))?;
    let mut answers = File::from(OwnedFd::from(socket.try_clone()?));
    let mut watched: HashMap<Pid, OwnedFd> = HashMap::new();
    for line in BufReader::new(socket).lines().map_while(Result::ok) {
        let Ok(pid) = line.get(1..).unwrap_or_default().parse::<Pid>() else { continue };
        if line.starts_with('+') {
            if let Ok(pidfd) = sys::pidfd_open(pid) {
                watched.insert(pid, pidfd);
            }
            answers.write_all(b"!")?;
        } else {
            watched.remove(&pid);
        }
    }
    for pidfd in watched.values() {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGCONT);
    }
    sys::kill(member, libc::SIGKILL)?;
    sys::reap(member)?;
    Ok(())
}
