//! How a session ends, and what is said then.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;

use super::{Session, unfollowed};
use crate::debug::hits::Stage;
use crate::debug::session::handover;
use crate::debug::session::handover::end_shim;
use crate::debug::session::stages::End;
use crate::debug::session::stages::What;
use crate::linux::sys::Pid;
use crate::machine::diagnose::{Circumstances, refusal};
use crate::machine::procfs::sees_whole_cgroups;
use crate::source::{LaunchError, interpreters};
use crate::text::escape;
use crate::text::report::Report;

/// Reports why COMMAND did not start; the status to exit with, as a shell and env(1) have it.
pub fn not_started(report: Report, command: &[OsString], error: &LaunchError) -> u8 {
    let words = command;
    let command = words.first().map(|word| escape::word(word.as_bytes())).unwrap_or_default();
    match error {
        LaunchError::Exec(error) => {
            let is_none = error.kind() == io::ErrorKind::NotFound;
            if let Some(missing) = words.first().filter(|_| is_none).and_then(what_is_missing) {
                let missing = interpreters::is_missing(&missing);
                report.error(format!("cannot execute {command}: {missing}"));
                return 127;
            }
            report.error(format!("cannot execute {command}: {error}"));
            if is_none {
                report.hint("COMMAND is a file, along PATH if it has no /; sh -c '...' runs a line of the shell");
                127
            } else {
                126
            }
        }
        LaunchError::Identity(error) => {
            report.error(format!("cannot run {command} as another user: {error}"));
            125
        }
        LaunchError::Trace(error) => {
            report.error(format!("cannot trace {command}: {error}"));
            if error.raw_os_error() == Some(libc::EPERM) {
                // The child is gone; what holds for it holds for us: who traces us has it too.
                let found = refusal(&Circumstances::of(std::process::id() as Pid));
                report.hint(format!("{}; {}", found.cause, found.hint));
            }
            125
        }
        LaunchError::Seccomp(error) => {
            report.error(format!("cannot run {command} under a seccomp filter: {error}"));
            report.hint("--seccomp-bpf off does without, and is slower");
            125
        }
        LaunchError::System(error) => {
            report.error(format!("cannot start {command}: {error}"));
            125
        }
    }
}

/// What is missing to run a COMMAND that is there, along PATH if it has no `/`.
fn what_is_missing(command: &OsString) -> Option<Vec<u8>> {
    if command.as_bytes().contains(&b'/') {
        return interpreters::missing(Path::new(command));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|folder| interpreters::missing(&folder.join(command)))
}

impl Session {
    /// Lets everything go and says what is left to say.
    pub(super) fn finish(&mut self) {
        self.let_all_run();
        for saver in self.savers.drain(..) {
            // It looks often whether it is still wanted.
            let _ = saver.join();
        }
        for hit in &mut self.hits {
            if matches!(hit.stage, Stage::Attached(_)) {
                hit.leave();
                self.stages.tell(hit, What::Over(End::Left, None));
            }
            end_shim(hit);
        }
        self.hits.clear();
        self.take_out_entries(true);
        self.source.let_go();
        self.say_what_was_missed();
    }

    /// What the kernel could not tell us.
    fn say_what_was_lost(&self) {
        let Some(totals) = self.source.totals() else { return };
        if totals.not_stopped > 0 {
            self.report.warn(format!("{} matches could not be stopped", totals.not_stopped));
        }
        if totals.not_followed > 0 {
            self.report.warn(format!(
                "{} processes could not be followed, nor their children",
                totals.not_followed
            ));
        }
        if totals.not_told > 0 {
            self.report.warn(format!(
                "{} records of what was executed were lost: the kernel's buffer was full",
                totals.not_told
            ));
        }
        if totals.missed > 0 {
            self.report.warn(format!("the kernel passed over {} events", totals.missed));
        }
        if totals.short_stops > 0 {
            self.report.detail(format!(
                "{} of {} execs were stopped for a moment to be judged, and ran on",
                totals.short_stops, totals.execs
            ));
        }
    }

    fn say_what_was_missed(&self) {
        let report = self.report;
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let execs = self.source.totals().map_or(tally.execs, |totals| totals.execs);
        if execs == 0 {
            // COMMAND itself was not executed, which has been said.
            return;
        }
        if tally.undecided > 0 {
            let limit = crate::machine::procfs::exhausted().filter(|_| tally.faults.is_empty());
            let (why, hint) = if let Some(errno) = limit {
                (
                    "no more files could be opened to read them",
                    if errno == libc::EMFILE {
                        unfollowed::RAISE_OWN
                    } else {
                        unfollowed::RAISE_ALL
                    },
                )
            } else if !tally.faults.is_empty() {
                (
                    "the kernel's records of them are not whole (-v says what is missing)",
                    "a filter that asks for less than the environment or descriptors needs less room in the kernel's buffer",
                )
            } else if self.config.filter.asks_for_containers() && !sees_whole_cgroups() {
                (
                    "tracexec runs in a container itself, whose id cannot be seen from inside",
                    "run tracexec outside of it, or do without `container` in the filter",
                )
            } else if handover::privileged() {
                (
                    "what the filter asks of them could not be read, as of a process that has just ended",
                    "tests on basename, comm and argv need the least to be read",
                )
            } else {
                (
                    "they may not be read by us (programs without read permission, or of another user)",
                    "run tracexec as root to see them",
                )
            };
            let undecided = tally.undecided;
            report.warn(format!("{undecided} of {execs} execs could not be judged: {why}"));
            report.hint(hint);
            if !tally.faults.is_empty() {
                report.detail(format!("in their records: {}", super::words(tally.faults)));
            }
        }
        self.say_what_was_lost();
        if self.counts.passed_busy > 0 {
            report.say(format!(
                "{} further matches ran on, as --when-busy skip says",
                self.counts.passed_busy
            ));
        }
        let plural = if execs == 1 { "" } else { "s" };
        if self.counts.matches == 0 && (tally.candidates > 0 || !self.tracers.is_empty()) {
            report.say(format!(
                "nothing came to --on {}: {execs} exec{plural}, {} of them looked after",
                self.config.moments, tally.candidates
            ));
        } else if self.counts.matches == 0 {
            report.say(format!("nothing matched in {execs} exec{plural}"));
            for near in &tally.nearest {
                report.say(format!("  near: {}  (not {})", near.line, near.failed));
            }
        } else if self.counts.matches <= self.config.skip {
            let matches = self.counts.matches;
            let plural = if matches == 1 { "" } else { "s" };
            report.say(format!("{matches} exec{plural} matched, and all were skipped (--skip)"));
        }
    }
}
