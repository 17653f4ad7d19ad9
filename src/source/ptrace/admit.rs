//! Has a process that nobody traces, and that is in state T, admit a debugger for Yama.

use std::io;

use super::inject::{self, At};
use super::stop::Report;
use crate::fault;
use crate::source::{Admit, ParkError};
use crate::sys::{self, Pid};

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
    sys::seize(pid, libc::PTRACE_O_TRACESYSGOOD).map_err(gone)?;
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
    sys::detach(pid, 0).map_err(gone)?;
    Ok(trouble)
}

/// Waits for the stop that was in force. Of what comes before, nothing has to be kept: a new program has
/// no handlers, and what ends it is reported as its end.
pub(super) fn wait_for_group_stop(pid: Pid) -> Result<(), ParkError> {
    loop {
        let Some((_, status)) = sys::wait_tracee(pid).map_err(gone)? else { continue };
        match Report::decode(status) {
            Report::GroupStop => return Ok(()),
            Report::Ended(_) => return Err(ParkError::Gone),
            Report::Signal(signal) => sys::cont(pid, signal).map_err(gone)?,
            _ => sys::cont(pid, 0).map_err(gone)?,
        }
    }
}
