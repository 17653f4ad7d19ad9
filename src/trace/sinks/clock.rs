//! From nanoseconds since boot to the clock on the wall.

use std::time::{Duration, SystemTime};

use crate::trace::About;

/// The same moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub wall: SystemTime,
    pub boot: u64,
}

impl Clock {
    pub fn of(about: &About) -> Clock {
        Clock { wall: about.wall, boot: about.boot }
    }

    /// Nothing for a time that cannot be, as a file may claim one.
    pub fn moment(&self, time: u64) -> Option<SystemTime> {
        let apart = Duration::from_nanos(time.abs_diff(self.boot));
        let moment = if time >= self.boot {
            self.wall.checked_add(apart)
        } else {
            self.wall.checked_sub(apart)
        };
        moment.filter(|moment| *moment >= SystemTime::UNIX_EPOCH)
    }

    /// In RFC 3339; empty for a time that it cannot say.
    pub fn at(&self, time: u64) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        if let Some(moment) = self.moment(time) {
            // It fails after the year 9999.
            let _ = write!(text, "{}", humantime::format_rfc3339_nanos(moment));
        }
        text
    }
}
