//! An expression as it was written, before names are looked up and patterns are built.

use std::fmt;

use super::error::FilterError;
use super::field::Field;
use super::{parser, print};

/// An expression of the filter language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Any of them; at least two.
    Or(Vec<Expr>),
    /// All of them; at least two.
    And(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// A question about one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    pub field: Field,
    pub check: Check,
}

/// What is asked about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Whether there is such a thing at all.
    Exists,
    /// How it compares to a value. `negated` is for `=`, `~` and the words only: the language
    /// has no negative of `<`.
    Compare { op: Op, negated: bool, value: Vec<u8> },
    /// Whether it equals one of these; at least one.
    In { negated: bool, values: Vec<Vec<u8>> },
}

/// An operator, without its negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    Match,
    Contains,
    StartsWith,
    EndsWith,
    Glob,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Op {
    /// The operators that are words.
    pub const WORDS: [Op; 4] = [Op::Contains, Op::StartsWith, Op::EndsWith, Op::Glob];

    /// How it is written.
    pub fn text(self) -> &'static str {
        match self {
            Op::Equal => "=",
            Op::Match => "~",
            Op::Contains => "contains",
            Op::StartsWith => "startswith",
            Op::EndsWith => "endswith",
            Op::Glob => "glob",
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::More => ">",
            Op::AtLeast => ">=",
        }
    }

    /// Whether it is a word, and not a sign.
    pub fn is_word(self) -> bool {
        Op::WORDS.contains(&self)
    }

    /// Whether it asks which of two is greater.
    pub fn is_order(self) -> bool {
        matches!(self, Op::Less | Op::AtMost | Op::More | Op::AtLeast)
    }
}

impl Expr {
    /// Reads an expression, without asking what its values mean.
    pub fn parse(text: &[u8]) -> Result<Expr, FilterError> {
        match parser::parse(text) {
            Ok(parsed) => Ok(parsed.expr),
            Err(fault) => Err(fault.within(text)),
        }
    }

    /// The canonical text, which reads back as an equal expression. `Display` shows the same,
    /// but for bytes that are not UTF-8. Values stand in it as they were given: what shows it on a
    /// terminal has to escape control characters.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        print::expr(self, &mut out);
        out
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl Test {
    /// Whether the test was written in its negative form.
    pub fn is_negated(&self) -> bool {
        match self.check {
            Check::Exists => false,
            Check::Compare { negated, .. } | Check::In { negated, .. } => negated,
        }
    }

    /// The same question asked so that it holds if, and only if, the positive one does
    /// (`positive`) or does not.
    pub(super) fn stated(mut self, positive: bool) -> Expr {
        match &mut self.check {
            Check::Compare { op, negated, .. } if !op.is_order() => *negated = !positive,
            Check::In { negated, .. } => *negated = !positive,
            _ if positive => {}
            _ => return Expr::Not(Box::new(Expr::Test(self))),
        }
        Expr::Test(self)
    }
}
