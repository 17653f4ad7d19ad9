//! When something happened, by the clock on the wall.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local};

use crate::trace::{About, clock};

/// A format that chrono has something for at each `%`.
pub fn parse_format(text: &str) -> Result<String, String> {
    let bad = StrftimeItems::new(text).any(|item| matches!(item, Item::Error));
    if bad {
        return Err("not a format of the time, such as %H:%M:%S%.3f".into());
    }
    Ok(text.into())
}

/// By the zone and in the format that the user wants.
pub struct Clock {
    items: Vec<Item<'static>>,
    clock: clock::Clock,
}

impl Clock {
    pub fn new(about: &About, format: &str) -> Clock {
        let items = StrftimeItems::new(format).parse_to_owned().unwrap_or_default();
        Clock { items, clock: clock::Clock::of(about) }
    }

    /// A moment of so many nanoseconds since boot.
    pub fn show(&self, time: u64) -> String {
        let Some(moment) = self.clock.moment(time) else { return String::new() };
        DateTime::<Local>::from(moment).format_with_items(self.items.iter()).to_string()
    }
}
