//! What is wrong with an expression, and where.

use std::fmt;
use std::ops::Range;

/// A stretch of bytes of an expression.
pub(super) type Span = Range<usize>;

/// An expression that could not be understood.
///
/// Its `Display` takes several lines: what is wrong, the expression with the place marked, and
/// a hint where there is one. Nothing in it can drive a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    expression: Vec<u8>,
    fault: Fault,
}

impl FilterError {
    /// The whole expression.
    pub fn expression(&self) -> &[u8] {
        &self.expression
    }

    /// The bytes of the expression that are marked; empty where something is lacking.
    pub fn span(&self) -> Range<usize> {
        self.fault.span.clone()
    }

    /// What is wrong, on one line.
    pub fn message(&self) -> &str {
        &self.fault.message
    }

    /// What is wrong, and the expression with the place marked, on three lines.
    pub fn picture(&self) -> String {
        let Span { start, end } = self.fault.span;
        let before = keep_end(visible(&self.expression[..start]), SHOWN[0]);
        let marked = keep_start(visible(&self.expression[start..end]), SHOWN[1]);
        let after = keep_start(visible(&self.expression[end..]), SHOWN[2]);
        let indent = before.chars().count();
        let width = marked.chars().count().max(1);
        let message = &self.fault.message;
        format!("{message}\n  {before}{marked}{after}\n  {:indent$}{:^<width$}", "", "")
    }

    /// What to write instead.
    pub fn hint(&self) -> Option<&str> {
        self.fault.hint.as_deref()
    }
}

impl std::error::Error for FilterError {}

/// How much of a long expression is shown before, in and after the marked place: together they
/// fit a line of 80 columns, so that no terminal wraps the marks away from what they mark.
const SHOWN: [usize; 3] = [30, 30, 15];

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.picture())?;
        match &self.fault.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// An error before it is known to which expression it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    span: Span,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Fault { span, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// The error, once the expression is at hand.
    pub(super) fn within(self, expression: &[u8]) -> FilterError {
        FilterError { expression: expression.to_vec(), fault: self }
    }
}

/// `text` made of characters that are one column wide and do nothing to a terminal.
pub(super) fn visible(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => shown.push_str("\\t"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                ' '..='~' => shown.push(c),
                _ if is_narrow(c) => shown.push(c),
                _ if c.is_ascii() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
                _ => shown.extend(c.escape_unicode()),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Letters of the Latin, Greek and Cyrillic blocks, without what combines or is invisible. Of
/// other scripts it takes tables to know how wide they are.
fn is_narrow(c: char) -> bool {
    matches!(c, '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{2ff}' | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{52f}')
}

fn keep_start(text: String, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text;
    }
    text.chars().take(limit - 3).chain("...".chars()).collect()
}

fn keep_end(text: String, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text;
    }
    "...".chars().chain(text.chars().skip(count - (limit - 3))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_shown_as_an_escape() {
        assert_eq!(visible(b"a\x1b[2J\xff\n"), "a\\x1b[2J\\xff\\n");
        assert_eq!(visible("\u{9b}\u{202e}é漢".as_bytes()), "\\u{9b}\\u{202e}é\\u{6f22}");
    }

    #[test]
    fn a_long_expression_is_cut_around_the_place() {
        let expression = format!("{}!{}", "a".repeat(200), "b".repeat(200));
        let shown = Fault::new(200..201, "no").within(expression.as_bytes()).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].find('!'), lines[2].find('^'));
        assert!(lines[1].len() < 80);
    }
}
