//! The pieces of an expression. What a piece is depends on what comes before it (a value is
//! cut by other rules than a field), so the parser asks for the one it expects.

use super::ast::Op;
use super::error::{Fault, Span, visible};
use super::print;

/// Words that mean something, and therefore have to be quoted to be a value.
pub(super) const RESERVED: [&[u8]; 8] =
    [b"and", b"or", b"not", b"in", b"contains", b"startswith", b"endswith", b"glob"];

/// What a bare value cannot begin with: it would be a mistyped operator more often than not.
pub(super) const NOT_FIRST: &[u8] = b"~=!<>,&|";

/// A value or a name as it was written.
pub(super) struct Value {
    pub bytes: Vec<u8>,
    pub span: Span,
    pub quoted: bool,
}

/// A place in an expression, moving on.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Cursor { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The span of the next byte; empty at the end.
    pub(super) fn here(&self) -> Span {
        self.at..(self.at + 1).min(self.text.len())
    }

    pub(super) fn skip_space(&mut self) {
        self.at += self.rest().iter().take_while(|b| b.is_ascii_whitespace()).count();
    }

    pub(super) fn eat(&mut self, token: &[u8]) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// The word that comes next, without moving; empty where none does.
    pub(super) fn peek_word(&self) -> &'a [u8] {
        let ends = |b: &u8| b.is_ascii_whitespace() || b"()[]~=!<>&|,'\"".contains(b);
        let rest = self.rest();
        &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
    }

    pub(super) fn eat_word(&mut self, word: &[u8]) -> bool {
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn word(&mut self) -> (&'a [u8], Span) {
        let word = self.peek_word();
        let start = self.at;
        self.at += word.len();
        (word, start..self.at)
    }

    /// The operator sign that comes next, the longest one, and whether it is the negative.
    pub(super) fn symbol(&mut self) -> Option<(Op, bool)> {
        const SYMBOLS: [(&[u8], Op, bool); 9] = [
            (b"!~", Op::Match, true),
            (b"==", Op::Equal, false),
            (b"!=", Op::Equal, true),
            (b"<=", Op::AtMost, false),
            (b">=", Op::AtLeast, false),
            (b"~", Op::Match, false),
            (b"=", Op::Equal, false),
            (b"<", Op::Less, false),
            (b">", Op::More, false),
        ];
        let (_, op, negated) = SYMBOLS.into_iter().find(|(sign, ..)| self.eat(sign))?;
        Some((op, negated))
    }

    /// Whether `&&`, `||`, `)`, white space or the end comes next.
    fn at_boundary(&self, list: bool) -> bool {
        match self.peek() {
            None | Some(b')') => true,
            Some(b',') => list,
            Some(b) if b.is_ascii_whitespace() => true,
            _ => self.rest().starts_with(b"&&") || self.rest().starts_with(b"||"),
        }
    }

    /// The value that comes after `operator`; in a `list` it ends at a comma as well.
    pub(super) fn value(&mut self, operator: &str, list: bool) -> Result<Value, Fault> {
        self.skip_space();
        match self.peek() {
            None | Some(b')') => {
                return Err(Fault::new(
                    self.here(),
                    format!("expected a value after `{operator}`"),
                )
                .hint("write '' for the empty value"));
            }
            Some(b'\'' | b'"') => {
                let value = self.quoted()?;
                if self.at_boundary(list) {
                    return Ok(value);
                }
                return Err(Fault::new(self.here(), "expected the value to end after the quote")
                    .hint("quotes stand around a whole value"));
            }
            Some(first) if NOT_FIRST.contains(&first) => return Err(self.bad_beginning(first)),
            Some(_) => {}
        }
        self.bare(list)
    }

    fn bare(&mut self, list: bool) -> Result<Value, Fault> {
        let start = self.at;
        let mut open = 0_usize;
        while open > 0 && self.peek() == Some(b')') || !self.at_boundary(list) {
            match self.peek() {
                Some(b'(') => open += 1,
                Some(b')') => open -= 1,
                _ => {}
            }
            self.at += 1;
        }
        let span = start..self.at;
        let bytes = self.text[span.clone()].to_vec();
        if RESERVED.contains(&bytes.as_slice()) {
            let message = format!("expected a value, and `{}` is an operator", visible(&bytes));
            return Err(Fault::new(span, message).hint(format!("quote it: {}", quoted(&bytes))));
        }
        if bytes.iter().any(|b| b"'\"".contains(b)) {
            return Err(Fault::new(span, "a value that contains a quote has to be quoted")
                .hint("quote it, from the first byte to the last"));
        }
        Ok(Value { bytes, span, quoted: false })
    }

    fn bad_beginning(&self, first: u8) -> Fault {
        let rest = self.rest();
        let end = rest.iter().position(|b| b.is_ascii_whitespace() || *b == b')');
        let value = &rest[..end.unwrap_or(rest.len())];
        let message =
            format!("expected a value, which cannot begin with a bare `{}`", first as char);
        let fault = Fault::new(self.at..self.at + value.len(), message);
        // Quoting what already has quotes in it would only make it worse.
        if value.iter().any(|b| b"'\"".contains(b)) {
            return fault.hint("quote it, from the first byte to the last");
        }
        fault.hint(format!("quote it: {}", quoted(value)))
    }

    /// What stands between two quotes; a backslash is literal, except before that same quote.
    fn quoted(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let quote = self.text[start];
        let mut bytes = Vec::new();
        let mut escaped = false;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == quote {
                return Ok(Value { bytes, span: start..self.at, quoted: true });
            }
            if byte == b'\\' && self.peek() == Some(quote) {
                self.at += 1;
                escaped = true;
                bytes.push(quote);
            } else {
                bytes.push(byte);
            }
        }
        let quote = quote as char;
        let fault = Fault::new(start..self.at, format!("expected a closing `{quote}`"));
        Err(if escaped {
            fault.hint(format!("`\\{quote}` is a {quote} within the value, and does not close it"))
        } else {
            fault
        })
    }

    /// What stands between `[` and `]`.
    pub(super) fn bracket(&mut self) -> Result<Value, Fault> {
        let open = self.at;
        self.at += 1;
        let inner = if matches!(self.peek(), Some(b'\'' | b'"')) {
            self.quoted()?
        } else {
            let ends = |b: &u8| b.is_ascii_whitespace() || b"]'\"".contains(b);
            let start = self.at;
            self.at += self.rest().iter().position(ends).unwrap_or(self.rest().len());
            let span = start..self.at;
            Value { bytes: self.text[span.clone()].to_vec(), span, quoted: false }
        };
        if self.eat(b"]") {
            return Ok(inner);
        }
        Err(Fault::new(open..self.at, "expected a `]`"))
    }
}

/// `bytes` in quotes, fit to be shown.
fn quoted(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    print::quote(bytes, &mut out);
    visible(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, list: bool) -> (String, String) {
        let mut cursor = Cursor::new(text.as_bytes());
        let value = cursor.value("=", list).unwrap();
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (lossy(&value.bytes), lossy(cursor.rest()))
    }

    #[test]
    fn a_bare_value_keeps_its_balanced_parentheses() {
        assert_eq!(value("(a|b)", false), ("(a|b)".into(), "".into()));
        assert_eq!(value("a)", false), ("a".into(), ")".into()));
        assert_eq!(value("f(x))", false), ("f(x)".into(), ")".into()));
        assert_eq!(value("a&b||c", false), ("a&b".into(), "||c".into()));
        assert_eq!(value("a,b", false), ("a,b".into(), "".into()));
        assert_eq!(value("a,b", true), ("a".into(), ",b".into()));
    }

    #[test]
    fn a_backslash_in_quotes_is_literal_except_before_that_quote() {
        assert_eq!(value(r#"'a\.b\"\'c'"#, false).0, r#"a\.b\"'c"#);
        assert_eq!(value(r#""a\'\"""#, false).0, r#"a\'""#);
    }
}
