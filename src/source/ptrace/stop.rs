//! What a wait status says, as a value, and a wait for one that has a limit.

use std::io;
use std::os::raw::c_int;
use std::time::{Duration, Instant};

use crate::linux::sys::{self, Alarm, Pid};
use crate::source::ExitStatus;

/// What a tracee reports, see ptrace(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// PTRACE_EVENT_EXEC.
    Exec,
    /// PTRACE_EVENT_FORK, VFORK or CLONE: the event message is the new task's id.
    NewTask { clone: bool },
    /// PTRACE_EVENT_STOP without a stopping signal: a new task's first stop, or the end of a
    /// group-stop.
    Trap,
    /// PTRACE_EVENT_STOP with a stopping signal: a group-stop.
    GroupStop,
    /// PTRACE_EVENT_EXIT: the event message is its status.
    Leaving,
    /// A system-call stop, where they were asked for.
    Syscall,
    /// PTRACE_EVENT_SECCOMP: a seccomp filter stops a call before it begins (only where execs are recorded).
    Seccomp,
    /// A signal is about to be delivered.
    Signal(c_int),
    /// The task is no more.
    Ended(ExitStatus),
    /// An event that was not asked for.
    Other,
}

/// The bit that PTRACE_O_TRACESYSGOOD adds to a system-call stop's SIGTRAP.
const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;

/// How long a task that is about to stop may take for it. Its tracer does nothing else meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Until when a task has to stop.
pub fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// What a task of the calling thread's reports next; [`io::ErrorKind::TimedOut`] where it has not stopped in time. When
/// it does later, it is as any other that stops.
pub fn next(tid: Pid, deadline: Instant) -> io::Result<Report> {
    // As a rule it is there, or will be at once.
    if let Some(status) = sys::poll_tracee(tid)? {
        return Ok(Report::decode(status));
    }
    let mut alarm = Alarm::new()?;
    alarm.set(deadline.saturating_duration_since(Instant::now()))?;
    loop {
        if let Some((_, status)) = sys::wait_tracee(tid)? {
            return Ok(Report::decode(status));
        }
        if Instant::now() >= deadline {
            let what = format!("it has not stopped within {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
    }
}

impl Report {
    /// Reads a status that waitpid returned.
    pub fn decode(status: c_int) -> Report {
        if !libc::WIFSTOPPED(status) {
            return Report::Ended(ExitStatus(status));
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            0 if signal == SYSCALL_STOP => Report::Syscall,
            0 => Report::Signal(signal),
            libc::PTRACE_EVENT_EXEC => Report::Exec,
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => Report::NewTask { clone: false },
            libc::PTRACE_EVENT_CLONE => Report::NewTask { clone: true },
            libc::PTRACE_EVENT_SECCOMP => Report::Seccomp,
            libc::PTRACE_EVENT_EXIT => Report::Leaving,
            libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Report::Trap,
            libc::PTRACE_EVENT_STOP => Report::GroupStop,
            _ => Report::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_time_signal_is_a_signal() {
        let status = (libc::SIGRTMIN() << 8) | 0x7f;
        assert_eq!(Report::decode(status), Report::Signal(libc::SIGRTMIN()));
    }

    #[test]
    fn a_group_stop_is_told_from_a_first_stop() {
        let event = libc::PTRACE_EVENT_STOP << 16;
        assert_eq!(Report::decode(event | (libc::SIGTSTP << 8) | 0x7f), Report::GroupStop);
        assert_eq!(Report::decode(event | (libc::SIGTRAP << 8) | 0x7f), Report::Trap);
    }

    #[test]
    fn a_death_by_signal_is_reported_as_a_shell_does() {
        assert_eq!(ExitStatus(libc::SIGKILL).shell_code(), 137);
        assert_eq!(ExitStatus(3 << 8).shell_code(), 3);
    }
}
