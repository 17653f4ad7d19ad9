//! When something happened, by the clock on the wall.

use chrono::format::{Fixed, Item, StrftimeItems};
use chrono::{DateTime, Local};

use crate::linux::sys::zone_name;
use crate::trace::About;
use crate::trace::sinks::clock;

/// A format that chrono has something for at each `%`.
pub fn parse_format(text: &str) -> Result<String, String> {
    let bad = StrftimeItems::new(text).any(|item| matches!(item, Item::Error));
    if bad {
        return Err("not a format of the time, such as %H:%M:%S%.3f".into());
    }
    Ok(text.into())
}

fn is_zone_name(item: &Item) -> bool {
    matches!(item, Item::Fixed(Fixed::TimezoneName))
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
        let moment = DateTime::<Local>::from(moment);
        let mut text = String::new();
        // chrono has the offset for a zone's name.
        for items in self.items.split_inclusive(is_zone_name) {
            let (items, zone) = match items {
                [items @ .., last] if is_zone_name(last) => (items, zone_name(moment.timestamp())),
                items => (items, String::new()),
            };
            text.push_str(&moment.format_with_items(items.iter()).to_string());
            text.push_str(&zone);
        }
        text
    }
}
