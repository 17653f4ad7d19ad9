//! What a test wants of a value, once it has been understood.

use std::ops::RangeInclusive;

use super::near::{self, Place};
use super::pattern::Pattern;
use crate::event::FdKind;
use crate::event::cgroup::is_numbered;
use memchr::memmem::Finder;

/// What a test wants of a field.
pub(super) enum Want {
    Exists,
    Text(Text),
    /// A number in one of these ranges.
    Number(Vec<RangeInclusive<u32>>),
    Kind(Vec<FdKind>),
}

/// What a test wants of a text.
pub(super) enum Text {
    Equal(Vec<Vec<u8>>),
    Contains(Box<Finder<'static>>),
    StartsWith(Vec<u8>),
    EndsWith(Vec<u8>),
    Pattern(Pattern),
    /// One of these containers; of a numbered one the beginning will do.
    Container(Vec<Vec<u8>>),
}

impl Text {
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Text::Equal(values) => values.iter().any(|value| value == text),
            Text::Contains(finder) => finder.find(text).is_some(),
            Text::StartsWith(value) => text.starts_with(value),
            Text::EndsWith(value) => text.ends_with(value),
            Text::Pattern(pattern) => pattern.regex.is_match(text),
            Text::Container(values) if is_numbered(text) => {
                values.iter().any(|value| text.starts_with(value))
            }
            Text::Container(values) => values.iter().any(|value| value == text),
        }
    }

    /// How near `text`, which does not match, came to doing so: from 0 to less than 1.
    pub(super) fn closeness(&self, text: &[u8]) -> f32 {
        match self {
            Text::Equal(values) | Text::Container(values) => match values.as_slice() {
                [value] => near::closeness(value, text, self.place(text)),
                _ => 0.0,
            },
            Text::Contains(finder) => near::closeness(finder.needle(), text, Place::Anywhere),
            Text::StartsWith(value) => near::closeness(value, text, Place::Start),
            Text::EndsWith(value) => near::closeness(value, text, Place::End),
            Text::Pattern(_) => 0.0,
        }
    }

    /// Where a whole value is expected.
    fn place(&self, text: &[u8]) -> Place {
        match self {
            Text::Container(_) if is_numbered(text) => Place::Start,
            _ => Place::Whole,
        }
    }

    /// Whether the elements of `argv` may be searched as they lie in memory, with NUL bytes
    /// between them, as if they were joined by spaces.
    pub(super) fn ignores_joints(&self) -> bool {
        match self {
            Text::Contains(finder) => !finder.needle().iter().any(|b| matches!(b, b' ' | 0)),
            _ => false,
        }
    }
}
