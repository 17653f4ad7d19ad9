//! A source without a kernel, so that the layers above can be tested alone: it hands out what it is
//! given, and notes what becomes of each stop.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Admit, Control, Held, Holder, Judge, NotHeld, ParkError, Stop};
use crate::debug::matcher::Candidate;
use crate::event::Facts;
use crate::linux::sys::Pid;

/// What became of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Released(Pid),
    Parked(Pid, Admit),
}

/// The source; its clones share one log.
#[derive(Debug, Clone, Default)]
pub struct Scripted {
    log: Arc<Mutex<Vec<Fate>>>,
}

impl Scripted {
    /// Hands an exec of process `pid` to `judge`.
    pub fn exec(&mut self, pid: Pid, facts: &mut dyn Facts, judge: &mut dyn Judge) {
        judge.exec(facts, Stop::new(pid, self));
    }

    /// What has become of the stops so far.
    pub fn fates(&self) -> Vec<Fate> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, fate: Fate) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(fate);
    }
}

impl Control for Scripted {
    fn release(&mut self, pid: Pid) {
        self.note(Fate::Released(pid));
    }

    fn follow(&mut self, pid: Pid, _: Arc<Candidate>) -> Result<(), NotHeld> {
        self.release(pid);
        Ok(())
    }

    fn hold(&mut self, pid: Pid) -> Result<Held, NotHeld> {
        let descriptor = File::open("/dev/null").map_err(|error| NotHeld::by(pid, &error))?;
        Ok(Held::new(pid, descriptor.into(), Arc::new(self.clone())))
    }
}

impl Holder for Scripted {
    fn release(&self, pid: Pid) {
        self.note(Fate::Released(pid));
    }

    fn park(&self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        self.note(Fate::Parked(pid, admit));
        Ok(None)
    }
}
