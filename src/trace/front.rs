//! The process that was called, where another one traces.
//!
//! Whoever has put a seccomp filter on COMMAND has to stay for what COMMAND leaves behind, whose execs would fail
//! without a tracer; and whoever called tracexec must not have to wait for that. So the process that was called forks:
//! the child does all the work, and the parent passes signals on and exits when it hears the status. If something
//! is left, the child stays and does nothing but let it run on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use nix::unistd::pipe2;

use crate::debug::session;
use crate::linux::sys::{self, Pid};
use crate::source::ExitStatus;

/// The child's.
struct Link {
    front: File,
    /// Says when nothing is left to stay for.
    stays_for: OnceLock<Mutex<Receiver<()>>>,
}

static LINK: OnceLock<Link> = OnceLock::new();

/// Goes on in a child, if that can be. For a process of one thread.
pub fn split() {
    // Who collects orphans goes on doing so; and where we are the first process, all end with us.
    let collects = nix::sys::prctl::get_child_subreaper().unwrap_or(false);
    if collects || std::process::id() == 1 {
        return;
    }
    let Ok((ours, theirs)) = pipe2(OFlag::O_CLOEXEC) else { return };
    let Ok(mask) = SigSet::thread_get_mask() else { return };
    // Before there is a child, so that none of them ends us alone.
    let Ok(signals) = session::signals_on_descriptor() else { return };
    match sys::fork_successor() {
        Ok(Some(child)) => {
            drop(theirs);
            serve(child, File::from(ours), &signals)
        }
        Ok(None) => {
            let _ = LINK.set(Link { front: theirs.into(), stays_for: OnceLock::new() });
        }
        Err(_) => {}
    }
    // What goes on here has its own descriptor for them, and COMMAND is to have the mask that we were given.
    let _ = mask.thread_set_mask();
}

/// Whether what COMMAND leaves behind need not be waited for.
pub fn is_split() -> bool {
    LINK.get().is_some()
}

/// Stays after the end until it hears that nothing is left.
pub fn stay(left: Receiver<()>) {
    if let Some(link) = LINK.get() {
        let _ = link.stays_for.set(Mutex::new(left));
    }
}

/// All is done, and this is the status to exit with; comes back if the process is to end now.
pub fn leave(status: u8) {
    let Some(link) = LINK.get() else { return };
    let mut front = &link.front;
    let Some(left) = link.stays_for.get() else {
        let _ = front.write_all(&[status, 0]);
        return;
    };
    // From here on nobody's pipe is kept open, no folder is kept busy, and no terminal ends us. Other threads have
    // nothing to do any more.
    sys::become_daemon(link.front.as_raw_fd());
    let _ = front.write_all(&[status, 1]);
    sys::close_number(link.front.as_raw_fd());
    let _ = left.lock().unwrap_or_else(PoisonError::into_inner).recv();
    sys::exit_now(0)
}

/// The parent's part.
fn serve(child: Pid, mut answer: File, signals: &SignalFd) -> ! {
    // Were it ignored, the child's status would be lost.
    sys::default_sigchld();
    loop {
        let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [interest(answer.as_fd()), interest(signals.as_fd())];
        // EINTR is as good as a wake-up.
        let _ = poll(&mut fds, PollTimeout::NONE);
        let is_told = fds[0].any().unwrap_or(false);
        while let Ok(Some(info)) = signals.read_signal() {
            let signal = info.ssi_signo as i32;
            // Keys of the terminal reach the child by themselves; that the terminal is gone may be told to us alone.
            if info.ssi_code != libc::SI_KERNEL || signal == libc::SIGHUP {
                let _ = sys::kill(child, signal);
            }
        }
        if is_told {
            let mut told = [0; 2];
            match answer.read_exact(&mut told) {
                Ok(()) if told[1] != 0 => {}
                // It is about to end, or has ended by itself or by a signal.
                heard => {
                    let status = sys::reap(child).map(ExitStatus);
                    if heard.is_err() {
                        sys::exit_now(status.map_or(125, ExitStatus::shell_code));
                    }
                }
            }
            sys::exit_now(told[0]);
        }
    }
}
