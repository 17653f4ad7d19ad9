//! Whoever holds a process does not hold the clocks of those who wait for it.

use super::Session;
use crate::debug::config::Action;
use crate::debug::parents_with_timeouts;

impl Session {
    /// Says once of each parent with a clock what will come of it while somebody looks at a hit.
    pub(super) fn warn_of_clocks(&mut self, index: usize) {
        let hit = &self.hits[index];
        let somebody_looks = match &self.config.action {
            Action::Debugger(choice, _) => choice.is_interactive(),
            Action::Hold(_) | Action::Editor(_) => true,
            Action::List | Action::LaunchJson(_) | Action::Wrap(_) | Action::Nothing => false,
        };
        if !somebody_looks || hit.program.happened.is_none() {
            return;
        }
        let Some(found) = parents_with_timeouts::above(hit.pid) else { return };
        if self.clocks.contains(&found.pid) {
            return;
        }
        self.clocks.push(found.pid);
        self.report.warn(format!(
            "{}, process {}, goes on measuring time while {} is held, and may end it",
            found.line, found.pid, hit.pid
        ));
        self.report.hint(found.raise);
    }
}
