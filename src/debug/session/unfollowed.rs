//! Programs that count, but are in other hands already.

use super::{Session, line};
use crate::debug::matcher::Program;
use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Status};
use crate::source::NotHeld;
use crate::text::escape;

/// What to do where the limit of our own open files is used up, and where the machine's is.
pub(super) const RAISE_OWN: &str = "tracexec may not open more files: raise its limit (ulimit -n), or have fewer matches at a time";
pub(super) const RAISE_ALL: &str =
    "the machine may not open more files: raise fs.file-max, see proc_sys_fs(5)";

/// Why a process could not be held.
pub(super) fn words(why: NotHeld) -> String {
    match why {
        NotHeld::Dying(signal) => format!("signal {signal} is ending it already"),
        NotHeld::Gone => "it ended already".into(),
        NotHeld::Traced(0) => "another process traced it already".into(),
        NotHeld::Traced(tracer) => format!("process {tracer} traces it already"),
        NotHeld::Stuck => {
            "one of its threads does not stop: it waits in the kernel, in vfork(2) for instance"
                .into()
        }
        NotHeld::StoppedElsewhere => "another program stops it already".into(),
        NotHeld::Refused(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            format!("the kernel does not let us trace it: {error}")
        }
        NotHeld::Failed(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            format!("tracexec could not look at it: {error}")
        }
    }
}

impl Session {
    /// Says once which limit is used up, if an error comes of that.
    pub(super) fn hint_at_limit(&mut self, errno: i32) {
        let hint = match errno {
            libc::EMFILE => RAISE_OWN,
            libc::ENFILE => RAISE_ALL,
            _ => return,
        };
        if !std::mem::replace(&mut self.hinted_at_limit, true) {
            self.report.hint(hint);
        }
    }

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
        if let NotHeld::Failed(errno) = why {
            self.hint_at_limit(errno);
        }
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
