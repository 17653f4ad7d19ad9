//! How long a new task's first stop is kept until its maker's event comes: as a rule that is on its way, and the
//! processor was just given to another. A maker that was killed tells nothing.

use std::time::{Duration, Instant};

use crate::linux::sys::{Alarm, Pid};

/// The longest that anybody is kept waiting for a maker that is no more.
const LONGEST: Duration = Duration::from_millis(5);

/// For the thread that traces.
#[derive(Default)]
pub struct Patience {
    /// Interrupts that thread, which waits for events.
    alarm: Option<Alarm>,
    /// Who waits, and since when.
    since: Option<(Pid, Instant)>,
}

impl Patience {
    /// To be asked before each wait. `waits`: whose stop has been kept for the longest. Whether the patience is over.
    pub fn is_over(&mut self, waits: Option<Pid>) -> bool {
        match (self.since, waits) {
            (Some((tid, since)), Some(waits)) if tid == waits => since.elapsed() >= LONGEST,
            (_, Some(waits)) => !self.begin(waits),
            (None, None) => false,
            (Some(_), None) => {
                self.since = None;
                if let Some(alarm) = &mut self.alarm {
                    // One that comes in vain does no harm.
                    let _ = alarm.clear();
                }
                false
            }
        }
    }

    /// Whether there is something to end it.
    fn begin(&mut self, tid: Pid) -> bool {
        if self.alarm.is_none() {
            self.alarm = Alarm::new().ok();
        }
        self.since = Some((tid, Instant::now()));
        self.alarm.as_mut().is_some_and(|alarm| alarm.set(LONGEST).is_ok())
    }
}
