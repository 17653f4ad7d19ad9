//! Programs that count, but of which nothing later than the exec can be seen.

use std::io;

use super::{Session, line};
use crate::escape;
use crate::judge::Program;
use crate::procfs;
use crate::source::NotHeld;
use crate::sys::Pid;

impl Session {
    /// Says why. What one tracer has may be many, of which the first is enough.
    pub(super) fn not_followed(&mut self, program: &Program, why: NotHeld) {
        let (tracer, why) = match why {
            // Nothing comes of it any more.
            NotHeld::Gone | NotHeld::Dying(_) => return,
            NotHeld::Traced(0) => (0, "another process traces it".to_string()),
            NotHeld::Traced(tracer) => (tracer, format!("{} traces it", named(tracer))),
            NotHeld::StoppedElsewhere => (0, "another program has stopped it".to_string()),
            NotHeld::Refused(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                (0, format!("the kernel does not let us trace it: {error}"))
            }
        };
        let text = format!("{}: not looked after: {why}", line(program));
        if tracer != 0 && self.tracers.contains(&tracer) {
            return self.report.detail(text);
        }
        self.tracers.push(tracer);
        self.report.warn(text);
    }
}

/// A process by its number and name.
fn named(pid: Pid) -> String {
    match procfs::comm(pid) {
        Ok(comm) => format!("process {pid}, {},", escape::word(&comm)),
        Err(_) => format!("process {pid}"),
    }
}
