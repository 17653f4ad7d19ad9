//! A timer for a thread that blocks in a system call.

use std::io;
use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

use super::{WAKE, gettid};

/// A clock that interrupts the thread that made it, as [`super::wake`] does.
pub struct Alarm(Timer);

impl Alarm {
    pub fn new() -> io::Result<Alarm> {
        let notify = SigevNotify::SigevThreadId {
            signal: Signal::try_from(WAKE)?,
            thread_id: gettid(),
            si_value: 0,
        };
        let clock = ClockId::CLOCK_MONOTONIC;
        Ok(Alarm(Timer::new(clock, SigEvent::new(notify))?))
    }

    /// Interrupts the thread after this time, and again and again until it is set anew: one that comes
    /// just before a call is lost.
    pub fn set(&mut self, after: Duration) -> io::Result<()> {
        let again = Duration::from_millis(20);
        let after = after.max(Duration::from_micros(1));
        let when = Expiration::IntervalDelayed(after.into(), again.into());
        Ok(self.0.set(when, TimerSetTimeFlags::empty())?)
    }

    /// No more, until it is set again.
    pub fn clear(&mut self) -> io::Result<()> {
        let never = Expiration::OneShot(Duration::ZERO.into());
        Ok(self.0.set(never, TimerSetTimeFlags::empty())?)
    }
}
