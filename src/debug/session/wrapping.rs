//! Matches that are to run under another program, in their place.

use super::{Session, line};
use crate::debug::config::Action;
use crate::debug::session::stages::End;
use crate::debug::session::stages::What;
use crate::source::wrapped::{self, WrapError, WrapOrder};

impl Session {
    /// Has a match execute its wrapper. Where it cannot, it runs as if nothing had been asked.
    pub(super) fn wrap(&mut self, index: usize) {
        let Action::Wrap(wrapper) = &self.config.action else { return };
        let hit = &mut self.hits[index];
        if hit.program.happened.is_some() {
            // There is no way back to its start.
            hit.let_run();
            let (pid, what) = (hit.pid, line(&hit.program));
            let why = format!("not under {}, which is possible at the exec only", wrapper.line());
            self.stages.tell(hit, What::Over(End::Released, Some(&why)));
            self.report.hit(format!("{what}: {why}; it runs on"));
            return self.release_guard(pid);
        }
        let Some(held) = hit.take_held() else { return };
        let (pid, what) = (hit.pid, line(&hit.program));
        let name = wrapped::name_of(pid, &hit.program);
        let result = match name.zip(self.wraps.add(pid).ok()) {
            Some((program, ())) => {
                held.wrap(&WrapOrder { wrapper: wrapper.as_ref().clone(), program })
            }
            None => {
                held.release();
                Err(WrapError::Impossible("its file has no name any more".into()))
            }
        };
        match result {
            Ok(followed) => {
                self.report.hit(format!("{what}: under {}", wrapper.line()));
                if !followed {
                    self.report.detail(format!(
                        "{pid} is not followed, nor are its children: its wrapper is a tracer itself"
                    ));
                }
                self.stages.tell(hit, What::Over(End::Wrapped, None));
            }
            Err(error) => {
                self.wraps.remove(pid);
                let why = format!("not under {}: {error}", wrapper.line());
                let end = match error {
                    WrapError::Gone => End::Ended,
                    WrapError::LetGo | WrapError::Impossible(_) => End::Released,
                };
                self.stages.tell(hit, What::Over(end, Some(&why)));
                let on = if end == End::Released { "; it runs on without" } else { "" };
                self.report.warn(format!("{what}: {why}{on}"));
            }
        }
        self.release_guard(pid);
    }
}
