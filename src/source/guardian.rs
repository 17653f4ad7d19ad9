//! Sets parked processes running if tracexec dies, however it dies.
//!
//! A parked process is in state T and traced by nobody, so that a debugger can attach. Were we killed
//! in that moment, nobody would ever send it SIGCONT. So before each hand-over a small process of
//! our own, in a process group of its own, learns of it; when its socket closes, it sends SIGCONT to
//! all that it has been told of and not been told to forget. It holds a pidfd of each, so that it
//! can never reach another process that has got the same pid.
//!
//! Under a shell with job control, our death would orphan COMMAND's process group, and the kernel
//! sends SIGHUP to such a group at once if one of it is stopped. A group is not orphaned while one of
//! it has a parent in another group of the session: so the guardian has a child in COMMAND's group.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::{Pid as NixPid, setpgid};

use crate::debug::hits::is_readable;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Stat};

/// The hidden subcommand that [`run`]s.
pub const SUBCOMMAND: &str = "guardian";

/// What is executed for it, where that is not the running program itself: a test uses this library.
pub static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// The session's side.
pub struct Guardian {
    child: Child,
    /// None: it has ended, and could not be started again.
    socket: Option<UnixStream>,
    kernel: Option<KernelSide>,
    /// What it answers for: when each process began, see [`Stat::start_time`].
    watched: HashMap<Pid, u64>,
}

/// The descriptors of eBPF programs that the guardian keeps. We keep copies, for one that takes its place.
pub struct KernelSide {
    /// The map of what was stopped.
    pub stopped: OwnedFd,
    /// The map that switches the programs off when it is zeroed.
    pub switch: OwnedFd,
    /// The programs' links: when the last copy is closed they are detached, which takes the kernel
    /// about 100 ms, for which nobody ought to wait.
    pub links: Vec<OwnedFd>,
}

/// Starts a guardian, and waits until it is ready.
fn start(kernel: Option<&KernelSide>) -> io::Result<(Child, UnixStream)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(Duration::from_secs(10)))?;
    let program = PROGRAM.get().map_or(Path::new("/proc/self/exe"), PathBuf::as_path);
    let mut command = Command::new(program);
    command.arg(SUBCOMMAND).stdin(OwnedFd::from(theirs));
    // It must keep nobody's pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(kernel) = kernel {
        let fds = [&kernel.stopped, &kernel.switch].into_iter().chain(&kernel.links);
        let fds: Vec<RawFd> = fds.map(|fd| fd.as_raw_fd()).collect();
        command.args(fds.iter().take(2).map(RawFd::to_string));
        sys::inherit(&mut command, fds);
    }
    let mut child = command.spawn()?;
    // Its end of the socket, which would hide from us that it has failed.
    drop(command);
    // Before anything can be stopped, it must be ready to answer for it.
    match answer(&mut ours) {
        Ok(_) => Ok((child, ours)),
        Err(error) => {
            end(&mut child);
            Err(error)
        }
    }
}

/// Ends one that is of no use, without a signal to anybody.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads an answer: an errno, or 0.
fn answer(socket: &mut UnixStream) -> io::Result<i32> {
    let mut errno = [0; size_of::<i32>()];
    socket.read_exact(&mut errno)?;
    Ok(i32::from_ne_bytes(errno))
}

impl Guardian {
    /// Starts the guardian. With the kernel's side, it answers for what eBPF programs stop, too.
    pub fn start(kernel: Option<KernelSide>) -> io::Result<Guardian> {
        let (child, socket) = start(kernel.as_ref())?;
        Ok(Guardian { child, socket: Some(socket), kernel, watched: HashMap::new() })
    }

    /// Readable when it has ended.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has ended before us, so that nobody answers for what is stopped.
    pub fn has_ended(&self) -> bool {
        self.socket().is_some_and(is_readable)
    }

    /// Starts another one, which answers for all that this one did.
    pub fn restart(&mut self) -> io::Result<()> {
        self.socket = None;
        end(&mut self.child);
        let (child, socket) = start(self.kernel.as_ref())?;
        self.child = child;
        self.socket = Some(socket);
        for (pid, start_time) in self.watched.clone() {
            self.tell(pid, start_time)?;
        }
        Ok(())
    }

    /// Tells it of a process that is still held, and waits until it has it. On an error it does not answer for it.
    pub fn watch(&mut self, pid: Pid) -> io::Result<()> {
        let start_time = match Stat::read(pid) {
            Ok(stat) => stat.start_time,
            Err(error) if procfs::says_gone(pid, &error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.has_ended() || self.socket.is_none() {
            self.restart()?;
        }
        self.tell(pid, start_time)?;
        self.watched.insert(pid, start_time);
        Ok(())
    }

    fn tell(&mut self, pid: Pid, start_time: u64) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writeln!(socket, "+{pid} {start_time}")?;
        match answer(socket)? {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Tells it that a process needs it no more.
    pub fn forget(&mut self, pid: Pid) {
        self.watched.remove(&pid);
        if let Some(socket) = &mut self.socket {
            // If it is gone, it holds nothing.
            let _ = writeln!(socket, "-{pid}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.socket.take();
        // Its end takes as long as the kernel takes to detach programs.
        if self.kernel.is_none() {
            let _ = self.child.wait();
        }
    }
}

/// The guardian's side: reads from the socket until that closes. `kernel`: the descriptors of the
/// maps of a [`KernelSide`].
pub fn run(kernel: Option<(RawFd, RawFd)>) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // A copy of our working directory would keep a file system busy.
    let _ = std::env::set_current_dir("/");
    let member = sys::stand_in()?;
    setpgid(NixPid::from_raw(0), NixPid::from_raw(0))?;
    let mut answers = File::from(OwnedFd::from(socket.try_clone()?));
    // Answers may reach nobody any more: that is when there is something to do.
    let mut answer = |errno: i32| drop(answers.write_all(&errno.to_ne_bytes()));
    answer(0);
    let mut watched: HashMap<Pid, OwnedFd> = HashMap::new();
    for line in BufReader::new(socket).lines().map_while(Result::ok) {
        let mut words = line.get(1..).unwrap_or_default().split(' ');
        let Some(Ok(pid)) = words.next().map(str::parse::<Pid>) else { continue };
        if !line.starts_with('+') {
            watched.remove(&pid);
            continue;
        }
        let start_time = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        answer(match procfs::pidfd_since(pid, start_time) {
            Ok(pidfd) => {
                watched.insert(pid, pidfd);
                0
            }
            // Of one that has ended there is nothing to answer for.
            Err(error) if procfs::says_gone(pid, &error) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        });
    }
    for (_, pidfd) in watched.drain() {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGCONT);
    }
    #[cfg(feature = "ebpf")]
    if let Some((stopped, switch)) = kernel {
        crate::source::ebpf::release::all(stopped, switch);
    }
    #[cfg(not(feature = "ebpf"))]
    let _ = kernel;
    sys::kill(member, libc::SIGKILL)?;
    sys::reap(member)?;
    Ok(())
}
