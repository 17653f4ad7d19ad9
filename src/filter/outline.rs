//! What a filter asks, in a form that another machine can be built from: the eBPF source compiles it
//! for the kernel.

use std::ops::RangeInclusive;

use super::Filter;
use super::compile::Node;
use super::field::{Of, What};
use super::matcher::{Text, Want};

/// An expression, with negation in the tests only.
#[derive(Debug)]
pub enum Outline<'a> {
    Test(Asked<'a>),
    All(Vec<Outline<'a>>),
    Any(Vec<Outline<'a>>),
}

/// A test.
#[derive(Debug)]
pub struct Asked<'a> {
    pub of: Of,
    pub what: &'a What,
    pub wants: Wants<'a>,
    /// Whether the answer is turned around.
    pub negated: bool,
}

/// What is wanted of the field.
#[derive(Debug)]
pub enum Wants<'a> {
    /// One of these, whole.
    Equal(&'a [Vec<u8>]),
    Contains(&'a [u8]),
    StartsWith(&'a [u8]),
    EndsWith(&'a [u8]),
    /// This regular expression, found anywhere; `.` matches a line break. With `unicode` it works on
    /// characters, without on bytes.
    Pattern {
        text: &'a str,
        unicode: bool,
    },
    /// A number in one of these ranges.
    Number(&'a [RangeInclusive<u32>]),
    /// Something else.
    Other,
}

impl Filter {
    /// What is asked, as a tree.
    pub fn outline(&self) -> Outline<'_> {
        self.outline_of(&self.program.root)
    }

    fn outline_of<'a>(&'a self, node: &'a Node) -> Outline<'a> {
        match node {
            Node::All(group) => {
                Outline::All(group.children.iter().map(|n| self.outline_of(n)).collect())
            }
            Node::Any(group) => {
                Outline::Any(group.children.iter().map(|n| self.outline_of(n)).collect())
            }
            Node::Leaf(at) => {
                let leaf = &self.program.leaves[*at];
                Outline::Test(Asked {
                    of: leaf.of,
                    what: &leaf.what,
                    wants: wants(&leaf.want),
                    negated: leaf.negated,
                })
            }
        }
    }
}

fn wants(want: &Want) -> Wants<'_> {
    match want {
        Want::Text(Text::Equal(values)) => Wants::Equal(values),
        Want::Text(Text::Contains(finder)) => Wants::Contains(finder.needle()),
        Want::Text(Text::StartsWith(value)) => Wants::StartsWith(value),
        Want::Text(Text::EndsWith(value)) => Wants::EndsWith(value),
        Want::Text(Text::Pattern(pattern)) => {
            Wants::Pattern { text: pattern.regex.as_str(), unicode: pattern.unicode }
        }
        Want::Number(ranges) => Wants::Number(ranges),
        Want::Text(Text::Container(_)) | Want::Exists | Want::Kind(_) => Wants::Other,
    }
}
