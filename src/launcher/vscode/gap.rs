//! What stands between two members of an array or object: white space, comments, perhaps a comma.

use std::ops::Range;

/// Such a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where its comma is.
    pub comma: Option<usize>,
    /// Where its last comment or comma ends; its beginning, if there is only white space.
    pub end: usize,
    /// Whether a comment lasts up to the end of its line, after the comma or without one.
    pub line_comment: bool,
}

impl Gap {
    /// `range` must lie between two tokens.
    pub fn of(text: &str, range: Range<usize>) -> Gap {
        let bytes = text.as_bytes();
        let mut gap = Gap { comma: None, end: range.start, line_comment: false };
        let mut at = range.start;
        while at < range.end {
            let rest = &bytes[at..range.end];
            let len = if rest.starts_with(b"//") {
                gap.line_comment = true;
                rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len())
            } else if rest.starts_with(b"/*") {
                gap.line_comment = false;
                memchr::memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4)
            } else if rest[0] == b',' {
                gap.comma = Some(at);
                gap.line_comment = false;
                1
            } else {
                at += 1;
                continue;
            };
            at += len;
            gap.end = at;
        }
        gap
    }
}
