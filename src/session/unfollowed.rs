//! Programs that count, but are in other hands already.

use std::io;

use super::{Session, line};
use crate::escape;
use crate::judge::Program;
use crate::procfs;
use crate::source::NotHeld;
use crate::sys::Pid;

/// Why a process could not be held.
pub(super) fn words(why: NotHeld) -> String {
    match why {
        NotHeld::Dying(signal) => format!("signal {signal} is ending it"),
        NotHeld::Gone => "it ended".into(),
        NotHeld::Traced(0) => "another process traced it".into(),
        NotHeld::Traced(tracer) => format!("process {tracer} traces it"),
        NotHeld::StoppedElsewhere => "another program stops it".into(),
        NotHeld::Refused(errno) => {
            format!("the kernel refused it ({})", io::Error::from_raw_os_error(errno))
        }
    }
}

impl Session {
    /// Says why nothing will be seen of what comes to a program. Of those of one tracer, which may be many,
    /// the first is enough.
    pub(super) fn not_followed(&mut self, program: &Program, why: NotHeld) {
        let (tracer, name) = match why {
            // Nothing comes to it any more.
            NotHeld::Gone | NotHeld::Dying(_) => return,
            NotHeld::Traced(tracer) if tracer != 0 => (tracer, named(tracer)),
            _ => (0, String::new()),
        };
        let text = format!("{}: not looked after, {} already{name}", line(program), words(why));
        if tracer != 0 && self.tracers.contains(&tracer) {
            return self.report.detail(text);
        }
        self.tracers.push(tracer);
        self.report.warn(text);
    }
}

/// A process's name, in brackets.
fn named(pid: Pid) -> String {
    procfs::comm(pid).map(|comm| format!(" ({})", escape::word(&comm))).unwrap_or_default()
}
