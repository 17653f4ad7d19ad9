//! Processes whose first thread has ended while others go on. The kernel lets nobody trace that thread, and every debugger
//! begins with it: none attaches to such a process. One that only looks can do with a core.

use super::{Session, line};
use crate::cli::OnFailure;
use crate::debug::config::Action;
use crate::debug::save::{Backtracer, Saves};
use crate::debug::session::stages::End;
use crate::debug::session::stages::What;
use crate::machine::procfs;
use crate::text::escape;

/// What can be done by hand.
pub(super) const BY_HAND: &str = "its first thread has ended: no debugger attaches to it as a whole; \
    `gdb -p TID` shows one thread of /proc/PID/task, and is to set no breakpoint";

impl Session {
    /// Whether no debugger can attach to a hit.
    pub(super) fn is_headless(&self, index: usize) -> bool {
        procfs::first_thread_ended(self.hits[index].pid)
    }

    /// Has a debugger that only looks look at a core of such a process; any other is not started, and it is said why.
    pub(super) fn do_without_attaching(&mut self, index: usize) {
        if let Err(why) = self.find_out(index) {
            return self.failed(index, &why);
        }
        let hit = &self.hits[index];
        let what = line(&hit.program);
        let Some(recipe) = self.recipe_of(hit) else {
            return self.not_attached(index, "a debugger");
        };
        let name = escape::text(recipe.debugger.name.as_bytes());
        if let Some(backtracer) = Backtracer::of(recipe) {
            self.report
                .hit(format!("{what}: {name} on its core, since its first thread has ended"));
            self.hits[index].shown = true;
            let report = self.report;
            return self.look_into(index, move |subject, cancelled| {
                Saves::show(backtracer, subject, cancelled, report)
            });
        }
        match &self.config.action {
            // What does not trace it has no need of its first thread.
            Action::Debugger(_, place) if recipe.debugger.ready_fd.is_some() => {
                let place = place.clone();
                self.launch(index, place);
            }
            _ => self.not_attached(index, &name),
        }
    }

    fn not_attached(&mut self, index: usize, name: &str) {
        let why = format!(
            "{name} cannot attach to it: its first thread has ended, and the kernel lets nobody trace that"
        );
        if self.config.on_failure == OnFailure::Hold {
            return self.failed(index, &why);
        }
        let hit = &mut self.hits[index];
        let what = line(&hit.program);
        let pid = hit.pid;
        hit.let_run();
        self.stages.tell(hit, What::Over(End::Released, Some(&why)));
        self.release_guard(pid);
        self.report.warn(format!("{what}: {why}; it runs on"));
        self.report.hint(
            "a core can be looked at: --save core,backtrace --to DIR, or --debugger gdb-backtrace",
        );
    }
}
