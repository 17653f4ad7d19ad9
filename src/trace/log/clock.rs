//! When something happened, by the clock on the wall.

use std::time::Duration;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local};

use crate::trace::About;

/// A format that chrono has something for at each `%`.
pub fn parse_format(text: &str) -> Result<String, String> {
    let bad = StrftimeItems::new(text).any(|item| matches!(item, Item::Error));
    if bad {
        return Err("not a format of the time, such as %H:%M:%S%.3f".into());
    }
    Ok(text.into())
}

pub struct Clock {
    items: Vec<Item<'static>>,
    began: DateTime<Local>,
    boot: u64,
}

impl Clock {
    pub fn new(about: &About, format: &str) -> Clock {
        let items = StrftimeItems::new(format).parse_to_owned().unwrap_or_default();
        Clock { items, began: about.wall.into(), boot: about.boot }
    }

    /// A moment of so many nanoseconds since boot.
    pub fn show(&self, time: u64) -> String {
        let moment = match time.checked_sub(self.boot) {
            Some(later) => self.began + Duration::from_nanos(later),
            None => self.began - Duration::from_nanos(self.boot - time),
        };
        moment.format_with_items(self.items.iter()).to_string()
    }
}
