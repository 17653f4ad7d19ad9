//! Colours.

use crate::cli::log::Colors;

/// What a part of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    Time,
    /// A process that fared well, a good end.
    Good,
    /// One that looked for a file where it is not.
    Absent,
    Bad,
    Comm,
    File,
    Argument,
    Place,
    Added,
    Removed,
    Changed,
    Warning,
    /// What could not be read.
    Unread,
    CommandLine,
}

/// How much is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub Option<Colors>);

impl Paint {
    /// Writes a part in its colour.
    pub fn push(self, line: &mut String, hue: Hue, text: &str) {
        match self.0 {
            Some(colors) if colors >= hue.least() && !text.is_empty() => {
                line.push_str(hue.code());
                line.push_str(text);
                line.push_str("\x1b[0m");
            }
            _ => line.push_str(text),
        }
    }
}

impl Hue {
    fn code(self) -> &'static str {
        match self {
            Hue::Time => "\x1b[2m",
            Hue::Good | Hue::Added => "\x1b[32m",
            Hue::Absent | Hue::Changed | Hue::Warning => "\x1b[33m",
            Hue::Bad | Hue::Removed => "\x1b[31m",
            Hue::Comm => "\x1b[36m",
            Hue::File => "\x1b[1m",
            Hue::Argument => "\x1b[34m",
            Hue::Place | Hue::CommandLine => "\x1b[35m",
            Hue::Unread => "\x1b[1;31m",
        }
    }

    /// From which level on it is coloured.
    fn least(self) -> Colors {
        match self {
            Hue::Good | Hue::Absent | Hue::Bad | Hue::Warning | Hue::Unread => Colors::Less,
            Hue::Argument | Hue::Place | Hue::CommandLine => Colors::More,
            _ => Colors::Usual,
        }
    }
}
