//! Has a process that nobody traces, and that is in state T, admit a debugger for Yama.

use std::io;
use std::time::{Duration, Instant};

use super::inject::{self, At};
use super::stop::{self, Report};
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::source::{Admit, ParkError};

/// Whom to name in prctl(PR_SET_PTRACER); `None`: nobody.
pub(super) fn ptracer(admit: Admit) -> Option<u64> {
    match admit {
        Admit::AsIs => None,
        Admit::Process(debugger) => Some(debugger as u64),
        // PR_SET_PTRACER_ANY
        Admit::Anyone => Some(u64::MAX),
    }
}

pub(super) fn gone(error: io::Error) -> ParkError {
    match error.raw_os_error() {
        Some(libc::ESRCH) => ParkError::Gone,
        _ => ParkError::Refused(error),
    }
}

/// Attaches, has it make the call, and leaves it in state T again. What could not be done, if anything.
///
/// A tracer that dies leaves a group-stopped process in T; one that has got SIGCONT meanwhile is in an
/// ordinary ptrace stop, and runs.
pub fn admit(pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
    let Some(ptracer) = ptracer(admit) else { return Ok(None) };
    let seized = Seized::new(pid, libc::PTRACE_O_TRACESYSGOOD).map_err(gone)?;
    wait_for_group_stop(pid)?;
    // Its stop stays, but is no group-stop any more.
    sys::kill(pid, libc::SIGCONT).map_err(gone)?;
    let trouble = match inject::set_ptracer(pid, ptracer, At::UserMode) {
        Ok(()) => None,
        Err(inject::Failed::Died) => return Err(ParkError::Gone),
        Err(inject::Failed::Impossible(why)) => Some(why),
    };
    fault::point("before-stop");
    sys::kill(pid, libc::SIGSTOP).map_err(gone)?;
    fault::point("stop-sent");
    seized.let_go().map_err(gone)?;
    Ok(trouble)
}

/// A process that the calling thread has seized for a moment. It is let go in any case: who stayed a tracee of a
/// thread that waits for none would stay in its next stop, and no debugger could attach to it.
pub(super) struct Seized(Pid);

/// How long it is waited for a stop in which it can be let go.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

impl Seized {
    pub(super) fn new(pid: Pid, options: i32) -> io::Result<Seized> {
        sys::seize(pid, options).map(|()| Seized(pid))
    }

    /// Lets it go from the stop in which it is.
    pub(super) fn let_go(self) -> io::Result<()> {
        let pid = self.0;
        std::mem::forget(self);
        sys::detach(pid, 0)
    }
}

impl Drop for Seized {
    fn drop(&mut self) {
        let pid = self.0;
        // An error of these says that it runs, or that it is no more.
        if sys::detach(pid, 0).is_ok() || sys::interrupt(pid).is_err() {
            return;
        }
        let deadline = Instant::now() + STOPS_WITHIN;
        while Instant::now() < deadline {
            match sys::poll_tracee(pid).map(|status| status.map(Report::decode)) {
                Ok(Some(Report::Signal(signal))) => return drop(sys::detach(pid, signal)),
                Ok(Some(Report::Ended(_))) | Err(_) => return,
                Ok(Some(_)) => return drop(sys::detach(pid, 0)),
                Ok(None) => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }
}

/// Waits for the stop that was in force. Of what comes before, nothing has to be kept: a new program has
/// no handlers, and what ends it is reported as its end.
pub(super) fn wait_for_group_stop(pid: Pid) -> Result<(), ParkError> {
    let deadline = stop::deadline();
    loop {
        match stop::next(pid, deadline).map_err(gone)? {
            Report::GroupStop => return Ok(()),
            Report::Ended(_) => return Err(ParkError::Gone),
            Report::Signal(signal) => sys::cont(pid, signal).map_err(gone)?,
            _ => sys::cont(pid, 0).map_err(gone)?,
        }
    }
}
