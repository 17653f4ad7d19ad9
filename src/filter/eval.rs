//! Asking the facts. This runs for every exec while its process stands still: no fact is read
//! that the answer does not need.

use std::cell::RefCell;
use std::sync::Arc;

use super::compile::{Group, Leaf, Node};
use super::field::{Descriptor, Index, Of, What};
use super::matcher::{Text, Want};
use super::names::{NameCache, Whose};
use super::{Answer, Judgement, TestId};
use crate::event::moment::Now;
use crate::event::{Facts, Image, Reading, Strings, basename};

impl Answer {
    fn not(self) -> Answer {
        match self {
            Answer::No => Answer::Yes,
            Answer::Yes => Answer::No,
            Answer::Unknown => Answer::Unknown,
        }
    }

    /// Of two values of a field that has several, one that matches is enough.
    fn or_else(self, other: impl FnOnce() -> Answer) -> Answer {
        match self {
            Answer::Yes => Answer::Yes,
            Answer::No => other(),
            Answer::Unknown if other() == Answer::Yes => Answer::Yes,
            Answer::Unknown => Answer::Unknown,
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Answer {
        if yes { Answer::Yes } else { Answer::No }
    }
}

/// What evaluation needs besides the facts.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub leaves: &'a [Leaf],
    pub names: &'a NameCache,
    /// What was found at the exec, for what is judged later.
    pub early: Option<&'a Early>,
    pub now: Now,
}

/// What each test has said at the exec; nothing for those on what is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Early(Vec<Option<Answer>>);

impl Evaluator<'_> {
    pub(super) fn judge(self, node: &Node, facts: &mut dyn Facts) -> Judgement {
        match node {
            Node::Leaf(at) => self.leaf(*at, facts),
            Node::All(group) => self.all(group, facts),
            Node::Any(group) => self.any(group, facts),
        }
    }

    fn all(self, group: &Group, facts: &mut dyn Facts) -> Judgement {
        let mut held = 0.0;
        let mut answer = Answer::Yes;
        let share = |held: f32| held / group.children.len() as f32;
        for &at in &group.order {
            let child = self.judge(&group.children[at], facts);
            held += child.closeness;
            match child.answer {
                Answer::Yes => {}
                Answer::Unknown => answer = Answer::Unknown,
                Answer::No => return Judgement { closeness: share(held), ..child },
            }
        }
        let closeness = if answer == Answer::Yes { 1.0 } else { share(held) };
        Judgement { answer, closeness, failed: None }
    }

    fn any(self, group: &Group, facts: &mut dyn Facts) -> Judgement {
        let mut nearest = Judgement { answer: Answer::No, closeness: 0.0, failed: None };
        for &at in &group.order {
            let child = self.judge(&group.children[at], facts);
            let nearer = nearest.failed.is_none() || child.closeness > nearest.closeness;
            nearest = match (child.answer, nearest.answer) {
                (Answer::Yes, _) => return child,
                (Answer::No, Answer::No) if nearer => child,
                (Answer::No, Answer::No) => nearest,
                _ => Judgement {
                    answer: Answer::Unknown,
                    closeness: nearest.closeness.max(child.closeness),
                    failed: None,
                },
            };
        }
        nearest
    }

    fn leaf(self, at: usize, facts: &mut dyn Facts) -> Judgement {
        let leaf = &self.leaves[at];
        let mut near = 0.0;
        let known = self.early.and_then(|Early(answers)| answers.get(at).copied().flatten());
        let answer = known.unwrap_or_else(|| self.holds(leaf, facts, &mut near));
        let answer = if leaf.negated { answer.not() } else { answer };
        match answer {
            Answer::Yes => Judgement { answer, closeness: 1.0, failed: None },
            Answer::No => Judgement { answer, closeness: near, failed: Some(TestId(at)) },
            Answer::Unknown => Judgement { answer, closeness: 0.0, failed: None },
        }
    }

    /// Asks every test that is about the exec.
    pub(super) fn early(self, facts: &mut dyn Facts) -> Early {
        let ask =
            |leaf: &Leaf| (!leaf.what.is_of_a_moment()).then(|| self.holds(leaf, facts, &mut 0.0));
        Early(self.leaves.iter().map(ask).collect())
    }

    /// Whether some value of the field satisfies the test, before any negation.
    fn holds(self, leaf: &Leaf, facts: &mut dyn Facts, near: &mut f32) -> Answer {
        match leaf.of {
            Of::Process => self.of_one(leaf, facts, near),
            Of::Parent => match facts.ancestors().map(|images| images.first().map(Arc::clone)) {
                Reading::Known(Some(image)) => self.of_image(leaf, &image, near),
                Reading::Known(None) | Reading::Missing => Answer::No,
                Reading::Unknown => Answer::Unknown,
            },
            Of::Ancestor => match facts.ancestors() {
                Reading::Known(images) => images.iter().fold(Answer::No, |answer, image| {
                    answer.or_else(|| self.of_image(leaf, image, near))
                }),
                Reading::Missing => Answer::No,
                Reading::Unknown => Answer::Unknown,
            },
        }
    }

    fn of_image(self, leaf: &Leaf, mut image: &Image, near: &mut f32) -> Answer {
        self.of_one(leaf, &mut image, near)
    }

    fn of_one(self, leaf: &Leaf, facts: &mut dyn Facts, near: &mut f32) -> Answer {
        let what = &leaf.what;
        match &leaf.want {
            Want::Exists if what.is_of_a_moment() => self.of_moment(what),
            Want::Exists => exists(what, facts),
            Want::Number(ranges) => answer(self.number(what, facts), |number| {
                ranges.iter().any(|range| range.contains(&number))
            }),
            Want::Kind(kinds) => match what {
                What::FdType(Descriptor::Number(number)) => {
                    answer(facts.fd(*number), |fd| kinds.contains(&fd.kind))
                }
                _ => answer(facts.fds(), |fds| fds.iter().any(|fd| kinds.contains(&fd.kind))),
            },
            Want::Text(text) => {
                // With many values it would cost too much, and a negated test is not nearer
                // for a value that is nearly another.
                let measure = !leaf.negated && leaf.of != Of::Ancestor && !what.is_many();
                self.text(what, text, facts, |value| {
                    let matches = text.matches(value);
                    if !matches && measure {
                        *near = text.closeness(value);
                    }
                    matches
                })
            }
        }
    }

    fn text(
        self,
        what: &What,
        text: &Text,
        facts: &mut dyn Facts,
        mut matches: impl FnMut(&[u8]) -> bool,
    ) -> Answer {
        match what {
            What::Argv if text.ignores_joints() => {
                answer(facts.argv(), |argv| matches(argv.block()))
            }
            What::Argv => answer(facts.argv(), |argv| joined(argv, matches)),
            What::Arg(Index::Any) => answer(facts.argv(), |argv| argv.iter().any(matches)),
            What::Arg(Index::At(at)) => {
                answer(facts.argv(), |argv| argv.get(*at).is_some_and(matches))
            }
            What::Filename => answer(facts.filename(), matches),
            What::Basename => answer(facts.filename().map(basename), matches),
            What::Exe => answer(facts.exe(), matches),
            What::Interpreter => answer(facts.interpreter(), matches),
            What::Comm => answer(facts.comm(), matches),
            What::PrevComm => answer(facts.prev_comm(), matches),
            What::Cwd => answer(facts.cwd(), matches),
            What::Env(name) => answer(facts.env(name), matches),
            What::Fd(Descriptor::Number(number)) => {
                answer(facts.fd(*number), |fd| matches(&fd.target))
            }
            What::Fd(Descriptor::Any) => {
                answer(facts.fds(), |fds| fds.iter().any(|fd| matches(&fd.target)))
            }
            What::Cgroup | What::Unit | What::Container => {
                answer(surroundings(what, facts), matches)
            }
            What::User => self.name(Whose::User, facts.uid(), matches),
            What::Group => self.name(Whose::Group, facts.gid(), matches),
            _ => Answer::Unknown,
        }
    }

    fn number(self, what: &What, facts: &mut dyn Facts) -> Reading<u32> {
        match what {
            What::Signal => self.now.signal(),
            What::Status => self.now.status(),
            What::Age => self.now.age(),
            _ => number(what, facts),
        }
    }

    fn of_moment(self, what: &What) -> Answer {
        match what {
            What::Usual { signal, status } => answer(self.now.usual(), |usual| {
                (usual.signal || !signal) && (usual.status || !status)
            }),
            What::Signal => answer(self.now.signal(), |_| true),
            What::Status => answer(self.now.status(), |_| true),
            _ => Answer::Unknown,
        }
    }

    /// An id without a name has no value; one whose name cannot be looked up is not known.
    fn name(
        self,
        whose: Whose,
        id: Reading<u32>,
        mut matches: impl FnMut(&[u8]) -> bool,
    ) -> Answer {
        match id.map(|id| self.names.name(whose, id)) {
            Reading::Known(Ok(name)) => name.is_some_and(|name| matches(&name)).into(),
            Reading::Missing => Answer::No,
            Reading::Known(Err(_)) | Reading::Unknown => Answer::Unknown,
        }
    }
}

/// The answer of a test on a fact: a missing one satisfies none.
fn answer<T>(reading: Reading<T>, test: impl FnOnce(T) -> bool) -> Answer {
    match reading {
        Reading::Known(value) => test(value).into(),
        Reading::Missing => Answer::No,
        Reading::Unknown => Answer::Unknown,
    }
}

fn exists(what: &What, facts: &mut dyn Facts) -> Answer {
    match what {
        What::Arg(Index::Any) => answer(facts.argv(), |argv| !argv.is_empty()),
        What::Arg(Index::At(at)) => answer(facts.argv(), |argv| argv.get(*at).is_some()),
        What::Fd(Descriptor::Number(number)) | What::FdType(Descriptor::Number(number)) => {
            answer(facts.fd(*number), |_| true)
        }
        What::Fd(Descriptor::Any) | What::FdType(Descriptor::Any) => {
            answer(facts.fds(), |fds| !fds.is_empty())
        }
        What::Env(name) => answer(facts.env(name), |_| true),
        What::Interpreter => answer(facts.interpreter(), |_| true),
        What::Cgroup | What::Unit | What::Container => answer(surroundings(what, facts), |_| true),
        What::Errno => answer(facts.errno(), |_| true),
        What::Parent => answer(facts.ancestors(), |images| !images.is_empty()),
        _ => Answer::Unknown,
    }
}

fn surroundings<'a>(what: &What, facts: &'a mut dyn Facts) -> Reading<&'a [u8]> {
    facts.cgroup().and_then(|cgroup| match what {
        What::Cgroup => cgroup.path(),
        What::Unit => cgroup.unit(),
        _ => cgroup.container(),
    })
}

fn number(what: &What, facts: &mut dyn Facts) -> Reading<u32> {
    match what {
        What::Argc => facts.argv().map(|argv| argv.len().try_into().unwrap_or(u32::MAX)),
        What::Uid => facts.uid(),
        What::Gid => facts.gid(),
        What::Pid => facts.pid(),
        What::Ppid => facts.ppid(),
        What::Depth => facts.depth(),
        What::Namespace(which) => facts.namespace(*which),
        What::Errno => facts.errno(),
        _ => Reading::Unknown,
    }
}

thread_local! {
    /// Where command lines are joined: a new buffer for each would be most of the work.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn joined(argv: &Strings, test: impl FnOnce(&[u8]) -> bool) -> bool {
    LINE.with_borrow_mut(|line| {
        line.clear();
        line.extend(argv.block().iter().map(|&byte| if byte == 0 { b' ' } else { byte }));
        line.pop();
        test(line)
    })
}
