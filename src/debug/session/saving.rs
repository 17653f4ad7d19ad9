//! Matches of which something is saved before anything else becomes of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::handover::privileged;
use super::{Session, line};
use crate::debug::hits::{Hit, Saving, Stage};
use crate::debug::matcher::Notice;
use crate::debug::save::{Saved, Subject};
use crate::debug::session::stages::End;
use crate::debug::session::stages::What;
use crate::linux::fault;
use crate::linux::identity::Identity;
use crate::linux::sys::{self, Pid};
use crate::machine::diagnose;
use crate::source::ptrace::{admit, wrap};
use crate::source::wrapped::{WrapError, WrapOrder};
use crate::source::{Admit, Held, Holder, Lent, NotHeld, ParkError};

/// A process in state T that nobody traces, and that is ours to hand over all the same.
struct Resting {
    pidfd: OwnedFd,
    /// Whether it is a child of the tracer's thread: that waits for its children, and the kernel would tell
    /// it of stops that we wait for.
    is_waited_for: bool,
}

/// Why nothing can be done in such a process.
const WAITED_FOR: &str = "it is COMMAND itself, which has been saved (--backend ebpf can do both)";

impl Holder for Resting {
    fn release(&self, _: Pid) {
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGCONT);
    }

    fn park(&self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        if self.is_waited_for && admit != Admit::AsIs {
            return Ok(Some(WAITED_FOR.into()));
        }
        admit::admit(pid, admit)
    }

    fn wrap(&self, pid: Pid, order: &WrapOrder) -> Result<bool, WrapError> {
        if self.is_waited_for {
            self.release(pid);
            return Err(WrapError::Impossible(WAITED_FOR.into()));
        }
        wrap::stopped(pid, order).map(|()| true)
    }
}

/// A hit that has been saved, and is its source's again if that can be, or else why not.
fn waiting(hit: &Hit, lent: Lent, is_waited_for: bool) -> io::Result<(Held, Option<NotHeld>)> {
    let why = match lent.take_back(hit.pidfd.try_clone()?) {
        Ok(held) => return Ok((held, None)),
        Err(why) => why,
    };
    let resting = Resting { pidfd: hit.pidfd.try_clone()?, is_waited_for };
    Ok((Held::new(hit.pid, hit.pidfd.try_clone()?, Arc::new(resting)), Some(why)))
}

impl Session {
    /// Parks a match, and has a thread save it.
    pub(super) fn save(&mut self, index: usize) {
        let Some(saves) = self.config.saves.clone() else { return };
        self.hits[index].saved = true;
        self.look_into(index, move |subject, cancelled| saves.save(subject, cancelled));
    }

    /// Parks a match, and has a thread look into it.
    pub(super) fn look_into(
        &mut self,
        index: usize,
        look: impl FnOnce(&Subject, &AtomicBool) -> Saved + Send + 'static,
    ) {
        let hit = &mut self.hits[index];
        let Some(held) = hit.take_held() else { return };
        let (id, pid, what) = (hit.id, hit.pid, line(&hit.program));
        // The debugger that writes the backtrace is a child of ours.
        let unprivileged = !privileged() || Identity::of_process(pid).is_some();
        let restricted = fault::admit() || (diagnose::ptrace_scope() == Some(1) && unprivileged);
        let ours = std::process::id() as Pid;
        let admit = if restricted { Admit::Process(ours) } else { Admit::AsIs };
        let (loan, lent) = match held.lend(admit, hit.focus) {
            Ok(lent) => lent,
            Err(error) => {
                self.stages.tell(hit, What::Over((&error).into(), Some(&error.to_string())));
                self.release_guard(pid);
                return self.not_parked(&what, pid, &error);
            }
        };
        let pidfd = match hit.pidfd.try_clone() {
            Ok(pidfd) => pidfd,
            // Without descriptors there is nothing to save into, either.
            Err(error) => {
                hit.send_continue();
                let error = ParkError::by(pid, error);
                self.stages.tell(hit, What::Over((&error).into(), Some(&error.to_string())));
                self.release_guard(pid);
                return self.not_parked(&what, pid, &error);
            }
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        hit.stage = Stage::Saving(Saving { lent, cancelled: Arc::clone(&cancelled) });
        let subject = Subject {
            pid,
            pidfd,
            hit: id,
            program: hit.program.as_ref().clone(),
            focus: hit.focus,
            moment: hit.moment,
            prepared: loan.prepared,
        };
        let sender = self.sender.clone();
        let save = move || {
            let saved = look(&subject, &cancelled);
            sender.send(Notice::Saved(id, Box::new(saved)));
        };
        match thread::Builder::new().name("saver".into()).spawn(save) {
            Ok(thread) => {
                self.savers.retain(|thread| !thread.is_finished());
                self.savers.push(thread);
            }
            Err(error) => {
                let failed = vec![format!("cannot start a thread: {error}")];
                self.was_saved(id, Saved { failed, ..Saved::default() });
            }
        }
    }

    /// Says what was saved; then comes what would have come without.
    pub(super) fn was_saved(&mut self, id: u64, saved: Saved) {
        let command = self.command.as_ref().map(|(pid, _)| *pid);
        let by_ptrace = self.source.totals().is_none();
        let Some(hit) = self.hits.iter_mut().find(|hit| hit.id == id) else { return };
        let is_waited_for = by_ptrace && command == Some(hit.pid);
        let lent = match std::mem::replace(&mut hit.stage, Stage::Over) {
            Stage::Saving(saving) => saving.lent,
            other => {
                hit.stage = other;
                return;
            }
        };
        let what = line(&hit.program);
        if let Some(folder) = &saved.folder {
            let names: Vec<&str> = saved.what.iter().map(|kind| kind.name()).collect();
            let names = if names.is_empty() { "nothing".into() } else { names.join(", ") };
            let folder = crate::text::escape::word(folder.as_os_str().as_encoded_bytes());
            self.report.hit(format!("{what}: {names} in {folder}"));
        }
        for why in &saved.failed {
            self.report.warn(format!("{what}: {why}"));
        }
        hit.folder = saved.folder;
        let (stage, why) = match waiting(hit, lent, is_waited_for) {
            Ok((held, why)) => (Stage::Waiting(held), why),
            Err(error) => {
                hit.send_continue();
                (Stage::Over, Some(NotHeld::by(hit.pid, &error)))
            }
        };
        hit.stage = stage;
        if let Stage::Over = hit.stage {
            let pid = hit.pid;
            self.stages.tell(hit, What::Over(End::Released, None));
            self.release_guard(pid);
        }
        let Some(hit) = self.hits.iter().find(|hit| hit.id == id) else { return };
        if let Some(why) = why {
            let program = hit.program.clone();
            self.not_followed(&program, why);
        }
    }

    /// A match of which nothing more is wanted runs on.
    pub(super) fn let_run_saved(&mut self, index: usize) {
        let hit = &mut self.hits[index];
        hit.let_run();
        let pid = hit.pid;
        self.stages.tell(&self.hits[index], What::Over(End::Released, None));
        self.release_guard(pid);
    }
}
