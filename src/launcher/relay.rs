//! The place `here`: the debugger gets a terminal of its own, which is shown in this one.
//!
//! Were it given this terminal itself, it would make the target's process group the foreground one
//! while the target runs, and Ctrl-C would reach the whole build. So the real terminal is put in raw
//! mode, what is typed goes to a pseudo-terminal on which the debugger runs, and what the debugger
//! writes comes back. Output processing stays on: the target's own output still comes here.
//!
//! This is a process of its own, so that the terminal is put right whatever becomes of tracexec.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{
    InputFlags, LocalFlags, OutputFlags, SetArg, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::{Pid as NixPid, getpgrp, tcgetpgrp, tcsetpgrp};

use super::shim;
use crate::linux::sys;
use crate::text::report::Trouble;

/// In milliseconds: nothing tells that the foreground group has changed.
const LOOK_AGAIN: u16 = 500;

/// The real terminal, as it was; put back on every way out.
struct Terminal {
    tty: File,
    modes: Termios,
    foreground: NixPid,
}

/// The same, noted by the session for a relay that is killed and can put nothing back.
pub struct Before {
    tty: File,
    modes: Termios,
    foreground: NixPid,
}

impl Before {
    pub fn note() -> io::Result<Before> {
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let (modes, foreground) = (tcgetattr(&tty)?, tcgetpgrp(&tty)?);
        Ok(Before { tty, modes, foreground })
    }

    /// The relay has ended: does what it has left undone, if a signal has ended it.
    pub fn ended(self, status: Option<ExitStatus>) {
        if status.is_some_and(|status| status.signal().is_some()) {
            drop(Terminal { tty: self.tty, modes: self.modes, foreground: self.foreground });
        }
    }
}

impl Terminal {
    fn take() -> io::Result<Terminal> {
        let Before { tty, modes, foreground } = Before::note()?;
        let terminal = Terminal { tty, modes, foreground };
        // Only the foreground group may read. SIGTTOU is blocked, so this does not stop us.
        tcsetpgrp(&terminal.tty, getpgrp())?;
        let mut raw = terminal.modes.clone();
        raw.input_flags.remove(
            InputFlags::IGNBRK
                | InputFlags::BRKINT
                | InputFlags::PARMRK
                | InputFlags::ISTRIP
                | InputFlags::INLCR
                | InputFlags::IGNCR
                | InputFlags::ICRNL
                | InputFlags::IXON,
        );
        raw.local_flags.remove(
            LocalFlags::ECHO
                | LocalFlags::ECHONL
                | LocalFlags::ICANON
                | LocalFlags::ISIG
                | LocalFlags::IEXTEN,
        );
        raw.output_flags.insert(OutputFlags::OPOST | OutputFlags::ONLCR);
        tcsetattr(&terminal.tty, SetArg::TCSADRAIN, &raw)?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A shell that has taken it back meanwhile has put its modes right, too.
        if !is_foreground(&self.tty) {
            return;
        }
        let _ = tcsetattr(&self.tty, SetArg::TCSADRAIN, &self.modes);
        let _ = tcsetpgrp(&self.tty, self.foreground);
    }
}

/// Whether the terminal is ours to read from, and to set.
fn is_foreground(tty: &File) -> bool {
    tcgetpgrp(tty) == Ok(getpgrp())
}

/// Runs the shim for `hit` on a terminal of its own, until it has ended.
pub fn run(socket: &Path, hit: u64) -> Result<(), Trouble> {
    let trouble = |error: io::Error| {
        Trouble::new(format!("cannot give the debugger this terminal: {error}"))
            .hint("choose another place with --in, for instance tmux")
    };
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGWINCH, Signal::SIGHUP, Signal::SIGTERM] {
        signals.add(signal);
    }
    let mut blocked = signals;
    blocked.add(Signal::SIGTTOU);
    blocked.add(Signal::SIGTTIN);
    blocked.thread_block().map_err(|errno| trouble(errno.into()))?;
    // When tracexec is killed, whoever started it takes the terminal back.
    set_pdeathsig(Signal::SIGTERM).map_err(|errno| trouble(errno.into()))?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|errno| trouble(errno.into()))?;
    relay(socket, hit, &signals).map_err(trouble)
}

fn relay(socket: &Path, hit: u64, signals: &SignalFd) -> io::Result<()> {
    let terminal = Terminal::take()?;
    let size = sys::window_size(terminal.tty.as_fd())?;
    let OpenptyResult { master, slave } = openpty(None, Some(&terminal.modes))?;
    sys::set_window_size(master.as_fd(), &size)?;
    sys::close_on_exec(master.as_fd())?;
    let mut child = start(socket, hit, &slave)?;
    drop(slave);
    let ended = sys::pidfd_open(child.id() as sys::Pid)?;
    let result = shuffle(&terminal.tty, &File::from(master), ended.as_fd(), signals);
    // Closing its terminal has ended it, if it had not ended by itself.
    let _ = child.wait();
    result
}

fn start(socket: &Path, hit: u64, slave: &impl AsFd) -> io::Result<Child> {
    let slave = slave.as_fd();
    let words = shim::words(false, socket, hit)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.stdin(slave.try_clone_to_owned()?);
    command.stdout(slave.try_clone_to_owned()?);
    command.stderr(slave.try_clone_to_owned()?);
    sys::own_session(&mut command, sys::Controlling::Stdin);
    command.spawn()
}

/// Carries bytes both ways until the debugger has ended or we are to end.
fn shuffle(
    mut tty: &File,
    mut master: &File,
    ended: BorrowedFd<'_>,
    signals: &SignalFd,
) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let read = PollFlags::POLLIN;
        let mut fds = [
            PollFd::new(master.as_fd(), read),
            PollFd::new(tty.as_fd(), read),
            PollFd::new(signals.as_fd(), read),
            PollFd::new(ended, read),
        ];
        match poll(&mut fds, PollTimeout::from(LOOK_AGAIN)) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        let ready = fds.map(|fd| fd.any().unwrap_or(true));
        if ready[0] {
            // EIO: nobody has the other side open any more.
            match master.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(len) => tty.write_all(&buffer[..len])?,
            }
        }
        if ready[2] {
            while let Ok(Some(signal)) = signals.read_signal() {
                if signal.ssi_signo as i32 != libc::SIGWINCH {
                    return Ok(());
                }
                let size = sys::window_size(tty.as_fd())?;
                sys::set_window_size(master.as_fd(), &size)?;
            }
        }
        if !is_foreground(tty) {
            return Err(io::Error::other("another program has taken it back"));
        }
        if ready[1] {
            // EIO: it has hung up, or was taken back just now.
            match tty.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(len) => master.write_all(&buffer[..len])?,
            }
        }
        // Children that the debugger has left behind may still hold its terminal; its own last words
        // are shown first.
        if ready[3] && !ready[0] {
            return Ok(());
        }
    }
}
