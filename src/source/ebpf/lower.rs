//! From a filter to what the kernel decides of it. What it cannot decide is "unknown" there, and is
//! decided on the stopped process.

use super::automaton::{Automaton, Joints};
use super::skeleton::types::{filter_step, filter_test, limit, test_source};
use crate::event::Keep;
use crate::filter::{Asked, Filter, Index, Of, Outline, Wants, What};

/// A filter for the kernel.
#[derive(Default)]
pub struct Lowered {
    pub tests: Vec<filter_test>,
    pub steps: Vec<u8>,
    /// All automata's tables, one after the other.
    pub tables: Vec<u16>,
    pub wants_argv: bool,
    /// Masks of the tests' answers, two bits each: both, or the lower one for those that are negated.
    pub parent_tests: u64,
    pub ancestor_tests: u64,
    pub negated_tests: u64,
    /// Whether any of the first two is on argv.
    pub kin_wants_argv: bool,
    /// What userspace keeps of the tree, which the programs have to tell.
    pub keep: Keep,
    /// What has to be recorded for the filter to be decided without the process.
    pub asks: Asks,
    /// What the kernel cannot tell, in the words of the language; each once.
    pub undecided: Vec<&'static str>,
}

/// Parts of an exec's record that are not always needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    pub env: bool,
    pub fds: bool,
    pub cgroup: bool,
}

const TESTS: usize = limit::MAX_TESTS.0 as usize;
const STEPS: usize = limit::MAX_STEPS.0 as usize;
const RANGES: usize = limit::MAX_RANGES.0 as usize;
const TABLE_WORDS: usize = limit::TABLE_WORDS.0 as usize;
/// How deep the evaluation's stack may become: 2 bits each, in 64.
const DEPTH: usize = 32;

impl Lowered {
    /// `in_tree`: whether depths are known in the kernel; `records`: whether execs are recorded there,
    /// and not stopped.
    pub fn new(filter: &Filter, in_tree: bool, records: bool) -> Lowered {
        let mut lowered = Lowered::default();
        // One test is kept for all that is unknown.
        lowered.tests.push(filter_test::default());
        let depth = lowered.node(&filter.outline(), in_tree);
        if lowered.steps.len() > STEPS || depth > DEPTH {
            // Too large: all of it is decided on the stopped process.
            let undecided = vec!["an expression as long as this"];
            lowered = Lowered { undecided, asks: lowered.asks, ..Lowered::default() };
            lowered.tests.push(filter_test::default());
            lowered.steps.push(0);
        }
        lowered.keep = filter.keep();
        lowered.keep.lineage &= in_tree;
        lowered.asks.cgroup |= lowered.keep.cgroup;
        if !records && let Some(fact) = only_in_proc(lowered.keep) {
            // It has to be read of every process that may become an ancestor.
            lowered.steps = vec![0];
            lowered.undecided.push(fact);
        }
        lowered
    }

    /// Leaves nothing to the kernel but to record it all.
    pub fn record_all(&mut self) {
        *self = Lowered {
            tests: vec![filter_test::default()],
            steps: vec![0],
            keep: self.keep,
            asks: self.asks,
            ..Lowered::default()
        };
    }

    /// Whether the kernel rules nothing out.
    pub fn decides_nothing(&self) -> bool {
        self.tests.len() == 1
    }

    /// Whether there is such a test.
    pub fn has_test(&self, such: impl Fn(&filter_test) -> bool) -> bool {
        self.tests.iter().any(such)
    }

    /// Adds the steps of a node; how deep the stack becomes.
    fn node(&mut self, outline: &Outline<'_>, in_tree: bool) -> usize {
        let (children, join) = match outline {
            Outline::Test(asked) => {
                self.asks.note(asked);
                let test = self.test(asked, in_tree);
                self.steps.push(test);
                return 1;
            }
            Outline::All(children) => (children, filter_step::STEP_AND),
            Outline::Any(children) => (children, filter_step::STEP_OR),
        };
        let mut deepest = 1;
        for (at, child) in children.iter().enumerate() {
            deepest = deepest.max(self.node(child, in_tree) + at.min(1));
            if at > 0 {
                self.steps.push(join.0 as u8);
            }
        }
        if children.is_empty() {
            self.steps.push(0);
        }
        deepest
    }

    /// The number of a test, 0 for what is unknown.
    fn test(&mut self, asked: &Asked<'_>, in_tree: bool) -> u8 {
        let number = self.tests.len();
        let made = if number < TESTS { self.make(asked, in_tree) } else { None };
        match made {
            Some(test) => {
                let on_argv = test.source.0 >= test_source::SOURCE_ARGV.0;
                match asked.of {
                    Of::Process => self.wants_argv |= on_argv,
                    Of::Parent => self.parent_tests |= 3 << (2 * number),
                    Of::Ancestor => self.ancestor_tests |= 3 << (2 * number),
                }
                self.kin_wants_argv |= on_argv && asked.of != Of::Process;
                self.negated_tests |= u64::from(asked.negated) << (2 * number);
                self.tests.push(test);
                number as u8
            }
            None => {
                let name = match asked.of {
                    Of::Process => asked.what.name(),
                    Of::Parent => "parent",
                    Of::Ancestor => "ancestor",
                };
                // That nobody can know at an exec is no news.
                if !asked.what.is_of_a_moment() && !self.undecided.contains(&name) {
                    self.undecided.push(name);
                }
                0
            }
        }
    }

    fn make(&mut self, asked: &Asked<'_>, in_tree: bool) -> Option<filter_test> {
        let mut test = filter_test::default();
        if *asked.what == What::Parent && in_tree {
            // All have one but COMMAND.
            (test.source, test.ranges) = (test_source::SOURCE_DEPTH, 1);
            (test.low[0], test.high[0]) = (1, u32::MAX);
            return Some(test);
        }
        if asked.of != Of::Process && !is_kept(asked.what, in_tree) {
            return None;
        }
        let (source, joints) = match asked.what {
            What::Comm => (test_source::SOURCE_COMM, Joints::None),
            What::PrevComm => (test_source::SOURCE_PREV_COMM, Joints::None),
            What::Filename => (test_source::SOURCE_FILENAME, Joints::None),
            What::Basename => (test_source::SOURCE_FILENAME, Joints::Slashes),
            What::Argv => (test_source::SOURCE_ARGV, Joints::Spaces),
            What::Arg(Index::Any) => (test_source::SOURCE_ARGV, Joints::Ends),
            What::Arg(Index::At(index)) => {
                test.index = i32::try_from(*index).ok()?;
                (test_source::SOURCE_ARG, Joints::None)
            }
            What::Exe => return self.exe(asked),
            what => (number_source(what, in_tree)?, Joints::None),
        };
        test.source = source;
        if let Wants::Number(ranges) = asked.wants {
            if ranges.len() > RANGES {
                return None;
            }
            test.ranges = ranges.len() as u32;
            for (at, range) in ranges.iter().enumerate() {
                (test.low[at], test.high[at]) = (*range.start(), *range.end());
            }
            return Some(test);
        }
        self.automaton(test, &asked.wants, joints)
    }

    /// Of a resolved path the kernel has the last component at hand. Where it does not fit, the path
    /// does not; where it does, the path has still to be looked at.
    fn exe(&mut self, asked: &Asked<'_>) -> Option<filter_test> {
        let last = |path: &[u8]| crate::event::basename(path).to_vec();
        let test = filter_test {
            source: test_source::SOURCE_EXE_NAME,
            necessary: 1,
            ..filter_test::default()
        };
        match &asked.wants {
            Wants::Equal(paths) => {
                let names: Vec<Vec<u8>> = paths.iter().map(|path| last(path)).collect();
                self.automaton(test, &Wants::Equal(&names), Joints::None)
            }
            Wants::EndsWith(end) if end.contains(&b'/') => {
                let name = [last(end)];
                self.automaton(test, &Wants::Equal(&name), Joints::None)
            }
            Wants::EndsWith(_) => self.automaton(test, &asked.wants, Joints::None),
            _ => None,
        }
    }

    fn automaton(
        &mut self,
        mut test: filter_test,
        wants: &Wants<'_>,
        joints: Joints,
    ) -> Option<filter_test> {
        let automaton = Automaton::new(wants, joints)?;
        if self.tables.len() + automaton.words.len() > TABLE_WORDS {
            return None;
        }
        test.table = self.tables.len() as u32;
        test.stride = automaton.stride.into();
        test.start = automaton.start.into();
        test.end_class = automaton.end_class.into();
        self.tables.extend(automaton.words);
        Some(test)
    }
}

/// What is kept of ancestors and is not in the records of the programs.
fn only_in_proc(keep: Keep) -> Option<&'static str> {
    let facts = [
        (keep.exe, "exe"),
        (keep.interpreter, "interpreter"),
        (keep.cwd, "cwd"),
        (keep.cgroup, "cgroup"),
    ];
    facts.into_iter().find_map(|(kept, name)| (keep.lineage && kept).then_some(name))
}

impl Asks {
    fn note(&mut self, asked: &Asked<'_>) {
        match asked.what {
            What::Env(_) => self.env = true,
            // An interpreter's script may have been passed by a descriptor.
            What::Fd(_) | What::FdType(_) | What::Interpreter => self.fds = true,
            What::Cgroup | What::Unit | What::Container => self.cgroup = true,
            _ => {}
        }
    }
}

/// Whether the kernel can tell it of a parent: a tree's processes keep the answers for their programs, which
/// a number that changes with a fork is not among; elsewhere it is looked for in the parent itself.
fn is_kept(what: &What, in_tree: bool) -> bool {
    match what {
        What::Pid | What::Depth | What::Ppid => false,
        What::Comm | What::Exe | What::Uid | What::Gid | What::User | What::Group => true,
        _ => in_tree,
    }
}

fn number_source(what: &What, in_tree: bool) -> Option<test_source> {
    match what {
        What::Uid => Some(test_source::SOURCE_UID),
        What::Gid => Some(test_source::SOURCE_GID),
        What::Pid => Some(test_source::SOURCE_PID),
        What::Argc => Some(test_source::SOURCE_ARGC),
        What::Depth if in_tree => Some(test_source::SOURCE_DEPTH),
        _ => None,
    }
}
