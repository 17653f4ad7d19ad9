//! The processes that the kernel has stopped for us: let go, or handed over, from any thread.

use std::collections::HashMap;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::load::Programs;
use super::skeleton::types::{limit, stopped_process};
use crate::debug::matcher::Candidate;
use crate::linux::fault;
use crate::linux::sys::{self, Pid, SharedWords};
use crate::machine::procfs::Status;
use crate::source::coredump::Focus;
use crate::source::ptrace::adopt::{Adoptee, Adopter};
use crate::source::ptrace::{admit, wrap};
use crate::source::wrapped::{WrapError, WrapOrder};
use crate::source::{Admit, Holder, Loan, NotHeld, ParkError, Totals};
use crate::text::report::Trouble;

/// How long SIGSTOP may take to act, which is at once unless the process sleeps in the kernel.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// What is stopped, and what is shared with the thread that receives events.
pub struct Stops {
    held: Mutex<HashMap<Pid, Stopped>>,
    /// Those that come back, and are followed then.
    lent: Mutex<HashMap<Pid, Stopped>>,
    /// The programs' map of them.
    slots: SharedWords,
    /// Our thread that follows what may be held later, or 0.
    tracer: Pid,
    adopter: Weak<Adopter>,
    exempt: MapHandle,
    ending: EventFd,
    ended: EventFd,
    totals: Mutex<Totals>,
}

/// A stopped process.
pub struct Stopped {
    pub pidfd: OwnedFd,
    /// Where the programs have noted it.
    pub slot: u32,
    /// What is followed once it is let run.
    pub later: Option<Later>,
}

/// A process that is held at its exec, and may be again later.
pub struct Later {
    pub candidate: Arc<Candidate>,
    pub is_command: bool,
}

/// Says so when it is dropped, see [`Stops::say_ended`].
pub struct End(pub Arc<Stops>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.say_ended();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stops {
    pub fn new(
        programs: &Programs<'_>,
        tracer: Pid,
        adopter: Weak<Adopter>,
    ) -> Result<Stops, Trouble> {
        let handle = |map| {
            MapHandle::try_from(map).map_err(|error| {
                Trouble::new(format!("cannot share a map of the eBPF programs: {error}"))
            })
        };
        let stopped = &programs.skeleton.maps.stopped;
        let bytes = stopped.max_entries() as usize * size_of::<stopped_process>();
        let slots = SharedWords::new(stopped.as_fd(), bytes).map_err(|error| {
            Trouble::new(format!("cannot share a map of the eBPF programs: {error}"))
        })?;
        let eventfd = |flags| {
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | flags)
                .map_err(|errno| Trouble::new(format!("cannot make an eventfd: {}", errno.desc())))
        };
        Ok(Stops {
            held: Mutex::default(),
            lent: Mutex::default(),
            slots,
            tracer,
            adopter,
            exempt: handle(&programs.skeleton.maps.exempt)?,
            ending: eventfd(EfdFlags::EFD_NONBLOCK)?,
            ended: eventfd(EfdFlags::empty())?,
            totals: Mutex::default(),
        })
    }

    /// Asks the thread to end.
    pub fn end(&self) {
        let _ = self.ending.write(1);
    }

    /// Readable once the thread is to end.
    pub fn ending(&self) -> &EventFd {
        &self.ending
    }

    /// Tells that nothing more is stopped, but for what is being stopped at this moment.
    pub fn say_ended(&self) {
        let _ = self.ended.write(1);
    }

    /// Waits for that.
    pub fn wait_until_ended(&self) {
        let _ = self.ended.read();
    }

    pub fn totals(&self) -> Totals {
        *locked(&self.totals)
    }

    pub fn set_totals(&self, totals: Totals) {
        *locked(&self.totals) = totals;
    }

    /// Never to be matched from its next exec on, nor its children.
    pub fn exempt(&self, pid: Pid) {
        let _ = self.exempt.update(&pid.to_ne_bytes(), &[1], MapFlags::ANY);
    }

    pub fn insert(&self, pid: Pid, stopped: Stopped) {
        locked(&self.held).insert(pid, stopped);
    }

    /// Sets a process running. Should we die in between, the guardian does it again.
    pub fn let_run(&self, stopped: &Stopped) {
        let _ = sys::pidfd_send_signal(stopped.pidfd.as_fd(), libc::SIGCONT);
        self.forget(stopped.slot);
    }

    /// The same of one for which there is no pidfd, for another reason than its end. It is stopped, so that hardly
    /// anybody else has its number; and SIGCONT does nothing to what is not stopped.
    pub fn let_run_by_number(&self, pid: Pid, slot: u32) {
        let _ = sys::kill(pid, libc::SIGCONT);
        self.forget(slot);
    }

    /// The same at an exec that was to be held, with what is to be followed from there.
    pub fn begin(&self, pid: Pid, mut stopped: Stopped) {
        if let (Some(later), Some(adopter)) = (stopped.later.take(), self.adopter.upgrade()) {
            let Later { candidate, is_command } = later;
            // Who has been seized by somebody else meanwhile is theirs.
            let _ = adopter.adopt(Adoptee { pid, candidate, is_command });
        }
        self.let_run(&stopped);
    }

    /// Empties a slot. It must not cost a call of bpf(2), see bpf/interface.h.
    pub fn forget(&self, slot: u32) {
        let at = slot as usize * size_of::<stopped_process>() + offset_of!(stopped_process, tgid);
        if slot != limit::NO_SLOT.0 {
            self.slots.set(at / size_of::<u32>(), 0);
        }
    }

    fn hand_over(&self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        fault::point("before-stop");
        self.wait_until_stopped(pid)?;
        fault::point("stop-sent");
        let trouble = admit::admit(pid, admit)?;
        fault::point("detached");
        Ok(trouble)
    }

    /// SIGSTOP is on its way; the process runs no instruction of its own before it acts. Where it was
    /// followed it is let go at this exec, too.
    fn wait_until_stopped(&self, pid: Pid) -> Result<(), ParkError> {
        let deadline = Instant::now() + STOPS_WITHIN;
        loop {
            let status = Status::read(pid).map_err(|error| ParkError::by(pid, error))?;
            if let Some(signal) = status.fatal_pending() {
                return Err(ParkError::Dying(signal));
            }
            let followed = status.tracer != 0 && status.tracer == self.tracer;
            match status.state {
                b'T' | b't' if !followed => return Ok(()),
                b'Z' | b'X' => return Err(ParkError::Gone),
                _ if Instant::now() >= deadline => {
                    return Err(ParkError::StillRunning(STOPS_WITHIN));
                }
                _ => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }
}

impl Holder for Stops {
    fn release(&self, pid: Pid) {
        let stopped = locked(&self.held).remove(&pid);
        if let Some(stopped) = stopped {
            self.begin(pid, stopped);
        }
    }

    fn lend(&self, pid: Pid, admit: Admit, _: Focus) -> Result<Loan, ParkError> {
        let mut stopped = locked(&self.held).remove(&pid).ok_or(ParkError::Gone)?;
        let trouble = match self.hand_over(pid, admit) {
            Ok(trouble) => trouble,
            Err(error) => {
                self.begin(pid, stopped);
                return Err(error);
            }
        };
        self.forget(stopped.slot);
        stopped.slot = limit::NO_SLOT.0;
        if stopped.later.is_some() {
            locked(&self.lent).insert(pid, stopped);
        }
        Ok(Loan { prepared: None, trouble })
    }

    /// It is still in state T, and its session's guardian answers for it.
    fn take_back(&self, pid: Pid) -> Result<(), NotHeld> {
        let stopped = locked(&self.lent).remove(&pid).ok_or(NotHeld::Gone)?;
        self.insert(pid, stopped);
        Ok(())
    }

    fn give_up(&self, pid: Pid) {
        locked(&self.lent).remove(&pid);
    }

    fn park(&self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        let stopped = locked(&self.held).remove(&pid).ok_or(ParkError::Gone)?;
        let result = self.hand_over(pid, admit);
        match &result {
            // From here on the session answers for it.
            Ok(_) => self.forget(stopped.slot),
            Err(_) => self.begin(pid, stopped),
        }
        result
    }

    fn wrap(&self, pid: Pid, order: &WrapOrder) -> Result<bool, WrapError> {
        let stopped = locked(&self.held).remove(&pid).ok_or(WrapError::Gone)?;
        let result = self
            .wait_until_stopped(pid)
            .map_err(|error| WrapError::Impossible(error.to_string()))
            .and_then(|()| wrap::stopped(pid, order));
        match &result {
            Ok(()) => self.forget(stopped.slot),
            Err(_) => self.begin(pid, stopped),
        }
        // Its children are, in any case.
        result.map(|()| true)
    }
}
