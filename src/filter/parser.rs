//! From the text to the tree.

use super::ast::{Check, Expr, Op, Test};
use super::error::{Fault, Span, visible};
use super::field::Field;
use super::lexer::{Cursor, RESERVED};
use super::resolve::Written;

/// How deep parentheses and `not` may be nested. It bounds the stack of everything that walks
/// the tree.
const DEPTH_MAX: usize = 200;

/// An expression, and where its tests stand in the text.
pub(super) struct Parsed {
    pub expr: Expr,
    /// In the order of the tests.
    pub places: Vec<Places>,
}

/// Where the parts of one test stand.
pub(super) struct Places {
    pub field: Span,
    pub operator: Span,
    pub values: Vec<Span>,
}

pub(super) fn parse(text: &[u8]) -> Result<Parsed, Fault> {
    let mut parser =
        Parser { cursor: Cursor::new(text), depth: 0, places: Vec::new(), last: Last::Other };
    let expr = parser.or()?;
    match parser.cursor.peek() {
        None => Ok(Parsed { expr, places: parser.places }),
        Some(_) => Err(parser.trailing("`and` or `or`")),
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    places: Vec<Places>,
    last: Last,
}

/// What was read last, to tell why what follows does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    BareRegex,
    BareValue,
    Other,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Expr, Fault> {
        let mut parts = vec![self.and()?];
        while self.eats(b"||", b"or") {
            parts.push(self.and()?);
        }
        Ok(single(parts, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let mut parts = vec![self.not()?];
        while self.eats(b"&&", b"and") {
            parts.push(self.not()?);
        }
        Ok(single(parts, Expr::And))
    }

    fn eats(&mut self, sign: &[u8], word: &[u8]) -> bool {
        self.cursor.skip_space();
        self.cursor.eat(sign) || self.cursor.eat_word(word)
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        let outside = self.depth;
        while self.eats(b"!", b"not") {
            self.deeper()?;
        }
        let mut expr = self.primary()?;
        for _ in outside..self.depth {
            expr = Expr::Not(Box::new(expr));
        }
        self.depth = outside;
        Ok(expr)
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            return Ok(());
        }
        let at = self.cursor.at();
        Err(Fault::new(at - 1..at, format!("nested more than {DEPTH_MAX} deep")))
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let open = self.cursor.at();
        if !self.cursor.eat(b"(") {
            return Ok(Expr::Test(self.test()?));
        }
        self.deeper()?;
        let expr = self.or()?;
        if !self.cursor.eat(b")") {
            return Err(match self.cursor.peek() {
                None => Fault::new(open..open + 1, "expected a `)` for this `(`"),
                Some(_) => self.trailing("`and`, `or` or `)`"),
            });
        }
        self.depth -= 1;
        self.last = Last::Other;
        Ok(expr)
    }

    /// Something follows a whole expression.
    fn trailing(&self, expected: &str) -> Fault {
        let (word, span) = self.cursor.clone().word();
        let at = if word.is_empty() { self.cursor.here() } else { span };
        let hint = match (self.cursor.peek(), self.last) {
            (Some(b')'), Last::Other) => {
                return Fault::new(at, "expected no `)`, for no `(` is open");
            }
            (Some(b')'), _) => {
                return Fault::new(at, "expected no `)`, for no `(` is open")
                    .hint("a value with a `)` of its own? quote it");
            }
            (Some(b'&'), _) => Some("write `&&` or `and`"),
            (Some(b'|'), _) => Some("write `||` or `or`"),
            _ if word.eq_ignore_ascii_case(b"and") || word.eq_ignore_ascii_case(b"or") => {
                Some("`and` and `or` are written in lower case")
            }
            (_, Last::BareRegex) => Some("a regular expression with spaces? quote it"),
            (_, Last::BareValue) => Some("a value with spaces? quote it"),
            (_, Last::Other) => None,
        };
        Fault::new(at, format!("expected {expected}")).maybe_hint(hint.map(String::from))
    }

    fn test(&mut self) -> Result<Test, Fault> {
        let (field, span) = self.field()?;
        self.places.push(Places { field: span, operator: 0..0, values: Vec::new() });
        let check = self.check(&field)?;
        Ok(Test { field, check })
    }

    fn field(&mut self) -> Result<(Field, Span), Fault> {
        let (word, span) = self.cursor.word();
        if word.is_empty() {
            let hint = match self.cursor.peek() {
                Some(b'\'' | b'"') => Some("a value comes after a field: `argv~'a b'`".to_string()),
                _ => None,
            };
            return Err(Fault::new(self.cursor.here(), "expected a field").maybe_hint(hint));
        }
        if RESERVED.contains(&word) {
            let message = format!("expected a field, and `{}` is an operator", visible(word));
            return Err(Fault::new(span, message));
        }
        let bracket = match self.cursor.peek() {
            Some(b'[') => Some(self.cursor.bracket()?),
            _ => None,
        };
        let suffix: &[u8] = match (&bracket, self.cursor.peek()) {
            (Some(_), Some(b'.')) => self.cursor.word().0,
            _ => b"",
        };
        let span = span.start..self.cursor.at();
        let alone = !self.operator_follows();
        let field = Written { word, span: span.clone(), bracket, suffix, alone }.resolve()?;
        Ok((field, span))
    }

    fn operator_follows(&self) -> bool {
        let mut ahead = self.cursor.clone();
        ahead.skip_space();
        let word = ahead.peek_word();
        let is_operator = RESERVED.contains(&word) && word != b"and" && word != b"or";
        is_operator || ahead.symbol().is_some()
    }

    /// What follows a field.
    fn check(&mut self, field: &Field) -> Result<Check, Fault> {
        self.cursor.skip_space();
        let before = self.cursor.clone();
        let start = before.at();
        if self.cursor.rest().starts_with(b"=~") {
            return Err(Fault::new(start..start + 2, "`=~` is no operator")
                .hint("write `~`; for a value that begins with a `~`, quote it, as in `='~x'`"));
        }
        if let Some((op, negated)) = self.cursor.symbol() {
            self.operator_is(start);
            return self.compare(op, negated);
        }
        let negated = self.cursor.eat_word(b"not");
        self.cursor.skip_space();
        let (word, span) = self.cursor.word();
        if let Some(op) = Op::WORDS.into_iter().find(|op| op.text().as_bytes() == word) {
            self.operator_is(start);
            return self.compare(op, negated);
        }
        if word == b"in" {
            self.operator_is(start);
            return Ok(Check::In { negated, values: self.list()? });
        }
        let ends = matches!(self.cursor.peek(), None | Some(b')' | b'&' | b'|'));
        if !negated && (word.is_empty() && ends || word == b"and" || word == b"or") {
            // The word belongs to what comes next.
            self.cursor = before;
            self.last = Last::Other;
            return Ok(Check::Exists);
        }
        let at = if word.is_empty() { self.cursor.here() } else { span };
        Err(no_operator(field, negated, at))
    }

    fn operator_is(&mut self, start: usize) {
        let end = self.cursor.at();
        if let Some(places) = self.places.last_mut() {
            places.operator = start..end;
        }
    }

    fn compare(&mut self, op: Op, negated: bool) -> Result<Check, Fault> {
        let value = self.value(op.text(), false)?;
        if op == Op::Match && self.last == Last::BareValue {
            self.last = Last::BareRegex;
        }
        Ok(Check::Compare { op, negated, value })
    }

    fn list(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        self.cursor.skip_space();
        let open = self.cursor.here();
        if !self.cursor.eat(b"(") {
            return Err(Fault::new(open, "expected a `(` after `in`").hint("write `in (a, b)`"));
        }
        let mut values = vec![self.value("(", true)?];
        loop {
            self.cursor.skip_space();
            if self.cursor.eat(b")") {
                self.last = Last::Other;
                return Ok(values);
            }
            if !self.cursor.eat(b",") {
                let fault = match self.cursor.peek() {
                    None => Fault::new(open, "expected a `)` for this `(`"),
                    Some(_) => Fault::new(self.cursor.here(), "expected `,` or `)`"),
                };
                let hint = "a value with spaces? quote it".to_string();
                let spaces = self.last != Last::Other && !self.cursor.peek_word().is_empty();
                return Err(fault.maybe_hint(spaces.then_some(hint)));
            }
            values.push(self.value(",", true)?);
        }
    }

    fn value(&mut self, operator: &str, list: bool) -> Result<Vec<u8>, Fault> {
        let value = self.cursor.value(operator, list)?;
        self.last = if value.quoted { Last::Other } else { Last::BareValue };
        if let Some(places) = self.places.last_mut() {
            places.values.push(value.span);
        }
        Ok(value.bytes)
    }
}

fn single(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn no_operator(field: &Field, negated: bool, at: Span) -> Fault {
    if negated {
        return Fault::new(at, "expected `in`, `contains`, `startswith`, `endswith` or `glob`")
            .hint("before any other test, `not` stands in front of the field");
    }
    let shown = visible(field.to_string().as_bytes());
    Fault::new(at, format!("expected an operator after `{shown}`"))
        .hint("the operators are ~ = != !~ < <= > >= in contains startswith endswith glob")
}
