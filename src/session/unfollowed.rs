//! Programs that count, but are in other hands already.

use super::{Session, line};
use crate::escape;
use crate::judge::Program;
use crate::procfs::{self, Status};
use crate::source::NotHeld;
use crate::sys::Pid;

/// Why a process could not be held.
pub(super) fn words(why: NotHeld) -> String {
    match why {
        NotHeld::Dying(signal) => format!("signal {signal} is ending it already"),
        NotHeld::Gone => "it ended already".into(),
        NotHeld::Traced(0) => "another process traced it already".into(),
        NotHeld::Traced(tracer) => format!("process {tracer} traces it already"),
        NotHeld::StoppedElsewhere => "another program stops it already".into(),
        NotHeld::Refused(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            format!("the kernel does not let us trace it: {error}")
        }
    }
}

impl Session {
    /// Says why nothing will be seen of what comes to a program. Of those of one tracer, which may be many,
    /// the first is enough, as of those of none.
    pub(super) fn not_followed(&mut self, program: &Program, why: NotHeld) {
        let (tracer, name) = match why {
            // Nothing comes to it any more.
            NotHeld::Gone | NotHeld::Dying(_) => return,
            NotHeld::Traced(tracer) if tracer != 0 => (tracer, named(tracer)),
            _ => (0, String::new()),
        };
        let text = format!("{}: not looked after, {}{name}", line(program), words(why));
        if self.tracers.contains(&tracer) {
            return self.report.detail(text);
        }
        self.tracers.push(tracer);
        self.report.warn(text);
        if let NotHeld::Refused(_) = why {
            let capable = Status::own().is_ok_and(|status| status.may_trace_anything());
            self.report.hint(if capable {
                "a security module may have refused it: look at the kernel's log (dmesg)"
            } else {
                "tracexec lacks CAP_SYS_PTRACE, by which the processes of others are traced: run it as root"
            });
        }
    }
}

/// A process's name, in brackets.
fn named(pid: Pid) -> String {
    procfs::comm(pid).map(|comm| format!(" ({})", escape::word(&comm))).unwrap_or_default()
}
