//! The filter language: which exec is the one that is looked for.
//!
//! The text goes through [`Expr`] (what was written), is checked and compiled, and is then asked
//! about every exec: [`Filter::judge`]. Nothing here reads anything, but for the names of users
//! and groups, which come from [`Names`]; the facts are asked from [`Facts`].
//!
//! A test is true if some value of its field satisfies it; a missing field has no value, and every
//! negative is the contrary of its positive. An answer has three values, so that a filter can
//! be asked on part of the facts.
//!
//! One choice of ours: a regular expression that is all ASCII works on bytes, so that its `.`
//! matches any byte and its `\w` and `(?i)` know ASCII only. With any other character, or with
//! `\p`, it works on characters.

mod ast;
mod check;
mod compile;
mod complete;
mod error;
mod eval;
mod explain;
mod field;
mod lexer;
mod matcher;
mod names;
mod near;
mod outline;
mod parser;
mod pattern;
mod print;
mod resolve;

use std::fmt;
use std::sync::Arc;

pub use ast::{Check, Expr, Op, Test};
pub use complete::continuations;
pub use error::FilterError;
pub use eval::Early;
pub use field::{Descriptor, Field, Index, Of, What};
pub use names::{Names, SystemNames};
pub use outline::{Asked, Outline, Wants};

use crate::event::moment::{Moments, Now};
use crate::event::{Facts, Image, Keep, Wanted};
use compile::Program;
use eval::Evaluator;
use names::NameCache;

/// One or several expressions, of which one that holds is enough. Without any, everything
/// matches.
pub struct Filter {
    program: Program,
    names: NameCache,
}

/// Whether an exec is the one that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    No,
    Yes,
    /// The facts that are known do not tell. `No` and `Yes` stand, whatever the others are.
    Unknown,
}

/// Which test of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestId(usize);

/// What a filter says about an exec.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    pub answer: Answer,
    /// How near it was to a match: 1 is a match. A failed text test counts for as much as the
    /// text was alike; what was not evaluated counts as failed.
    pub closeness: f32,
    failed: Option<TestId>,
}

impl Judgement {
    /// For a `No`: the test that failed, of several branches the one in the nearest.
    pub fn failed(&self) -> Option<TestId> {
        self.failed
    }
}

impl Filter {
    /// Reads the expressions; the first mistake is the error. The names of users and groups
    /// that are compared for equality are looked up here, the others when they are needed.
    pub fn new<B: AsRef<[u8]>>(
        expressions: &[B],
        names: Arc<dyn Names>,
    ) -> Result<Filter, FilterError> {
        Filter::of_moments(expressions, names, Moments::EXEC)
    }

    /// The same for execs that have failed, too, which have a field of their own.
    pub fn of_records<B: AsRef<[u8]>>(
        expressions: &[B],
        names: Arc<dyn Names>,
    ) -> Result<Filter, FilterError> {
        Filter::compile(expressions, names, Moments::EXEC, true)
    }

    /// The same for other moments than the exec, which have fields of their own.
    pub fn of_moments<B: AsRef<[u8]>>(
        expressions: &[B],
        names: Arc<dyn Names>,
        moments: Moments,
    ) -> Result<Filter, FilterError> {
        Filter::compile(expressions, names, moments, false)
    }

    fn compile<B: AsRef<[u8]>>(
        expressions: &[B],
        names: Arc<dyn Names>,
        moments: Moments,
        of_records: bool,
    ) -> Result<Filter, FilterError> {
        let names = NameCache::new(names);
        let program = compile::compile(expressions, &names, moments, of_records)?;
        Ok(Filter { program, names })
    }

    /// At the exec: what has to be known of it to judge what happens later.
    pub fn early(&self, facts: &mut dyn Facts) -> Early {
        self.evaluator().early(facts)
    }

    /// Judges a moment by what was known at the exec and what is known now.
    pub fn judge_at(&self, early: &Early, now: Now) -> Judgement {
        self.later(early, now).judge(&self.program.root, &mut &Image::unread(0, 0))
    }

    /// For a match at a moment, as [`Filter::because`].
    pub fn because_at(&self, early: &Early, now: Now) -> String {
        explain::because(self.later(early, now), &self.program.root, &mut &Image::unread(0, 0))
    }

    fn later<'a>(&'a self, early: &'a Early, now: Now) -> Evaluator<'a> {
        Evaluator { early: Some(early), now, ..self.evaluator() }
    }

    /// Whether it asks of signals that are no faults.
    pub fn asks_for_signals(&self) -> bool {
        self.program.leaves.iter().any(|leaf| leaf.what == What::Signal)
    }

    /// Whether it asks for a status itself, which may be 0.
    pub fn asks_for_status(&self) -> bool {
        self.program.leaves.iter().any(|leaf| leaf.what == What::Status)
    }

    /// Asks the facts, the cheapest first, until the answer is certain.
    pub fn judge(&self, facts: &mut dyn Facts) -> Judgement {
        self.evaluator().judge(&self.program.root, facts)
    }

    /// For a match: the tests that decided it, in canonical text. It is empty if there is no match,
    /// and if there are no expressions.
    pub fn because(&self, facts: &mut dyn Facts) -> String {
        explain::because(self.evaluator(), &self.program.root, facts)
    }

    /// The canonical text of the test that failed, for a `No` of this filter.
    pub fn failed_test(&self, judgement: &Judgement) -> Option<String> {
        let TestId(at) = judgement.failed?;
        Some(self.program.leaves.get(at)?.shown.to_string())
    }

    /// What has to be kept of processes for this filter to be answered about their
    /// descendants.
    pub fn keep(&self) -> Keep {
        self.program.keep
    }

    /// Which parts of a record of an exec it asks for.
    pub fn asks(&self) -> Wanted {
        let mut asks = Wanted::FOR_FILTER;
        for leaf in self.program.leaves.iter().filter(|leaf| leaf.of == Of::Process) {
            match leaf.what {
                What::Env(_) => asks.env = true,
                What::Fd(_) | What::FdType(_) => (asks.fds, asks.fd_details) = (true, true),
                What::Cgroup | What::Unit | What::Container => asks.cgroup = true,
                _ => {}
            }
        }
        asks
    }

    /// Whether it asks in which container something runs.
    pub fn asks_for_containers(&self) -> bool {
        self.program.leaves.iter().any(|leaf| leaf.what == What::Container)
    }

    /// The expressions as they were read.
    pub fn expressions(&self) -> &[Expr] {
        &self.program.expressions
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            leaves: &self.program.leaves,
            names: &self.names,
            early: None,
            now: Now::Before,
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.expressions().iter().map(Expr::to_string)).finish()
    }
}
