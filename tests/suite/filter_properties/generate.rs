//! Expressions and facts out of a list of choices. An exhausted list chooses the first of
//! everything, which is always the smallest, so that everything ends and shrinks.

use std::sync::Arc;

use tracexec::event::cgroup::Cgroup;
use tracexec::event::{Fd, FdKind, Image, Namespace, Reading, Strings};
use tracexec::filter::{Check, Descriptor, Expr, Field, Index, Of, Op, Test, What};

use crate::filter_support::{Given, compiler};

pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == one_in - 1
    }

    fn list<T>(&mut self, least: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = least + self.below(3);
        (0..count).map(|_| item(self)).collect()
    }
}

/// Any expression with these tests.
fn expr(choices: &mut Choices, depth: usize, test: &dyn Fn(&mut Choices) -> Test) -> Expr {
    match if depth == 0 { 0 } else { choices.below(4) } {
        1 => Expr::And(choices.list(2, |choices| expr(choices, depth - 1, test))),
        2 => Expr::Or(choices.list(2, |choices| expr(choices, depth - 1, test))),
        3 => Expr::Not(Box::new(expr(choices, depth - 1, test))),
        _ => Expr::Test(test(choices)),
    }
}

/// An expression that can be written, whether it makes sense or not.
pub fn written(choices: &mut Choices) -> Expr {
    expr(choices, 4, &|choices| {
        let what = any_what(choices);
        let plain = !matches!(
            what,
            What::PrevComm
                | What::Fd(_)
                | What::FdType(_)
                | What::Env(_)
                | What::Ppid
                | What::Namespace(_)
                | What::Parent
        );
        let of = if plain { choices.of(&OF) } else { Of::Process };
        let check = match choices.below(3) {
            0 => Check::Exists,
            1 => {
                let op = choices.of(&OPS);
                let negated = !op.is_order() && choices.chance(2);
                Check::Compare { op, negated, value: any_value(choices) }
            }
            _ => Check::In { negated: choices.chance(2), values: choices.list(1, any_value) },
        };
        Test { field: Field { of, what }, check }
    })
}

const OF: [Of; 3] = [Of::Process, Of::Parent, Of::Ancestor];

const OPS: [Op; 10] = [
    Op::Equal,
    Op::Match,
    Op::Contains,
    Op::StartsWith,
    Op::EndsWith,
    Op::Glob,
    Op::Less,
    Op::AtMost,
    Op::More,
    Op::AtLeast,
];

const TEXTS: [What; 11] = [
    What::Argv,
    What::Filename,
    What::Basename,
    What::Exe,
    What::Interpreter,
    What::Comm,
    What::PrevComm,
    What::Cwd,
    What::Cgroup,
    What::Unit,
    What::Container,
];

const NUMBERS: [What; 8] = [
    What::Argc,
    What::Uid,
    What::Gid,
    What::Pid,
    What::Ppid,
    What::Depth,
    What::Namespace(Namespace::Pid),
    What::Namespace(Namespace::Mnt),
];

fn any_what(choices: &mut Choices) -> What {
    let number = choices.below(100) as u32;
    let at = [0, 1, -1, 7, i64::MAX, i64::MIN];
    match choices.below(12) {
        0 => What::Arg(Index::Any),
        1 => What::Arg(Index::At(choices.of(&at))),
        2 => What::Fd(Descriptor::Any),
        3 => What::Fd(Descriptor::Number(number)),
        4 => What::FdType(Descriptor::Any),
        5 => What::FdType(Descriptor::Number(number)),
        6 => What::Env(
            [b"N".to_vec(), any_value(choices)]
                .concat()
                .into_iter()
                .filter(|b| *b != b'=')
                .collect(),
        ),
        7 => choices.of(&[What::User, What::Group, What::Parent]),
        8 => What::Env(b"*".to_vec()),
        9 => choices.of(&NUMBERS),
        _ => choices.of(&TEXTS),
    }
}

/// Pieces that the language reads as something, and some that it does not.
pub const PIECES: [&[u8]; 47] = [
    b"a",
    b" ",
    b"(",
    b")",
    b"'",
    b"\"",
    b"\\",
    b",",
    b"&",
    b"|",
    b"!",
    b"~",
    b"=",
    b"<",
    b">",
    b"[",
    b"]",
    b"*",
    b".",
    b"-",
    b"1",
    b"\n",
    b"\x1b",
    b"\xff",
    "é".as_bytes(),
    b"\0",
    b"and ",
    b"or ",
    b"not ",
    b" in (",
    b" contains ",
    b"glob ",
    b"argv~",
    b"argc",
    b"fd[1]",
    b".type",
    b"env[",
    b"parent",
    b".comm=",
    b"ancestor",
    b"user=",
    b"container=",
    b"unit",
    b"ns.pid=",
    b"{9}",
    b"&&",
    b"||",
];

/// Any bytes, but for a backslash at the end: in quotes there is no way to write it.
fn any_value(choices: &mut Choices) -> Vec<u8> {
    let mut value = choices.list(0, |choices| choices.of(&PIECES)).concat();
    if value.ends_with(b"\\") {
        value.push(b'x');
    }
    value
}

/// An expression that makes sense.
pub fn sensible(choices: &mut Choices) -> Expr {
    expr(choices, 3, &|choices| {
        let of = choices.of(&OF);
        match choices.below(6) {
            0 => existence(choices),
            1 => number_test(choices, of),
            2 => fd_type_test(choices),
            _ => text_test(choices, of),
        }
    })
}

fn existence(choices: &mut Choices) -> Test {
    let (of, what) = choices.of(&[
        (Of::Process, What::Parent),
        (Of::Process, What::Interpreter),
        (Of::Parent, What::Interpreter),
        (Of::Ancestor, What::Interpreter),
        (Of::Ancestor, What::Arg(Index::At(1))),
        (Of::Process, What::Env(b"A".to_vec())),
        (Of::Process, What::Container),
        (Of::Parent, What::Container),
        (Of::Ancestor, What::Unit),
        (Of::Process, What::Cgroup),
        (Of::Process, What::Fd(Descriptor::Number(1))),
        (Of::Process, What::Fd(Descriptor::Any)),
        (Of::Process, What::Arg(Index::At(-2))),
        (Of::Process, What::Arg(Index::Any)),
    ]);
    Test { field: Field { of, what }, check: Check::Exists }
}

fn number_test(choices: &mut Choices, of: Of) -> Test {
    let what = choices.of(&NUMBERS);
    let own = matches!(what, What::Ppid | What::Namespace(_));
    let of = if own { Of::Process } else { of };
    let op = choices.of(&[Op::Equal, Op::Less, Op::AtMost, Op::More, Op::AtLeast]);
    let check = match op {
        Op::Equal if choices.chance(2) => Check::In {
            negated: choices.chance(2),
            values: choices.list(1, |choices| choices.of(&[b"1".to_vec(), b"2".to_vec()])),
        },
        Op::Equal => Check::Compare { op, negated: choices.chance(2), value: b"1".to_vec() },
        _ => Check::Compare {
            op,
            negated: false,
            value: choices.of(&[b"1".to_vec(), b"2".to_vec()]),
        },
    };
    Test { field: Field { of, what }, check }
}

fn fd_type_test(choices: &mut Choices) -> Test {
    let what = What::FdType(choices.of(&[Descriptor::Number(1), Descriptor::Any]));
    let kind = choices.of(&[b"file".to_vec(), b"pipe".to_vec()]);
    let check = Check::Compare { op: Op::Equal, negated: choices.chance(2), value: kind };
    Test { field: Field { of: Of::Process, what }, check }
}

fn text_test(choices: &mut Choices, of: Of) -> Test {
    let what = match choices.below(9) {
        0 => What::Arg(choices.of(&[Index::Any, Index::At(0), Index::At(1), Index::At(-1)])),
        1 => What::Fd(choices.of(&[Descriptor::Any, Descriptor::Number(1)])),
        2 => What::Env(b"A".to_vec()),
        3 => choices.of(&[What::User, What::Group]),
        _ => choices.of(&TEXTS),
    };
    let own = matches!(what, What::Fd(_) | What::Env(_) | What::PrevComm);
    let of = if own { Of::Process } else { of };
    let op = choices.of(&OPS[..6]);
    let negated = choices.chance(2);
    let check = if op == Op::Equal && choices.chance(2) {
        let values = choices.list(1, |choices| sensible_value(choices, &what, op));
        Check::In { negated, values }
    } else {
        Check::Compare { op, negated, value: sensible_value(choices, &what, op) }
    };
    Test { field: Field { of, what }, check }
}

fn sensible_value(choices: &mut Choices, what: &What, op: Op) -> Vec<u8> {
    const PATHS: [&str; 4] = ["/a", "/b", "/a/b", "/"];
    let list: &[&str] = match (what, op) {
        (_, Op::Match) => &["a", "^a", "b$", "a.b", "^$", "a|b", "(?i)A", "[^a]", "^.$", " "],
        (What::Exe | What::Cwd | What::Cgroup, Op::Glob) => {
            &["*", "/*", "?a", "/[ab]", "*b", "/a?b"]
        }
        (_, Op::Glob) => &["*", "a*", "?", "*b", "[ab]", "a?b", "a*b*", ""],
        (What::Exe | What::Cwd | What::Cgroup, Op::Equal | Op::StartsWith) => &PATHS,
        (What::Unit, Op::Equal) => &["a.service", "b.scope"],
        (What::Container, Op::Equal) => &["a", "b", "ab", NUMBERED],
        (What::Container, _) => &["a", "b", "ab", ""],
        (What::User | What::Group, Op::Equal) => &["root"],
        (What::User | What::Group, _) => &["root", "o", "e", "use", ""],
        (What::Basename, _) => &["a", "b", "", "ab"],
        _ => &["a", "b", "", "ab", "a b", "/a", " "],
    };
    choices.of(list).as_bytes().to_vec()
}

/// Facts in which nothing is unknown.
pub fn facts(choices: &mut Choices) -> Given {
    let list = choices.list(0, |choices| {
        let kind = choices.of(&[FdKind::File, FdKind::Pipe]);
        Fd { number: choices.below(3) as u32, target: text(choices), kind }
    });
    Given {
        argv: maybe(choices, argv),
        env: Some(choices.list(0, |choices| (b"A".to_vec(), text(choices)))),
        filename: maybe(choices, text),
        exe: maybe(choices, path),
        interpreter: maybe(choices, text),
        comm: maybe(choices, text),
        prev_comm: maybe(choices, text),
        cwd: maybe(choices, path),
        fds: Some(list),
        uid: id(choices),
        gid: id(choices),
        pid: maybe(choices, |choices| choices.below(4) as u32),
        ppid: maybe(choices, |choices| choices.below(4) as u32),
        depth: maybe(choices, |choices| choices.below(4) as u32),
        cgroup: maybe(choices, cgroup),
        pid_namespace: maybe(choices, |choices| choices.below(4) as u32),
        mnt_namespace: maybe(choices, |choices| choices.below(4) as u32),
        ancestors: maybe(choices, |choices| choices.list(0, |choices| Arc::new(image(choices)))),
        ..compiler()
    }
}

fn image(choices: &mut Choices) -> Image {
    Image {
        pid: choices.below(4) as u32,
        depth: choices.below(4) as u32,
        argv: maybe(choices, argv),
        filename: maybe(choices, text),
        exe: maybe(choices, path),
        interpreter: maybe(choices, text),
        comm: maybe(choices, text),
        cwd: maybe(choices, path),
        uid: id(choices),
        gid: id(choices),
        cgroup: maybe(choices, cgroup),
    }
}

/// A container's id of which the beginning will do.
const NUMBERED: &str = "ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00ab00";

fn cgroup(choices: &mut Choices) -> Cgroup {
    let one_of = |list: &'static [&'static str]| {
        move |choices: &mut Choices| choices.of(list).as_bytes().to_vec()
    };
    Cgroup {
        path: maybe(choices, path),
        unit: maybe(choices, one_of(&["a.service", "b.scope", "ab.mount"])),
        container: maybe(choices, one_of(&["a", "ab", "aba", NUMBERED])),
    }
}

fn maybe<T>(choices: &mut Choices, value: impl Fn(&mut Choices) -> T) -> Reading<T> {
    if choices.chance(5) { Reading::Missing } else { Reading::Known(value(choices)) }
}

fn id(choices: &mut Choices) -> Reading<u32> {
    maybe(choices, |choices| choices.of(&[0, 1, 100, 1000, 7]))
}

fn text(choices: &mut Choices) -> Vec<u8> {
    let texts: [&[u8]; 11] =
        [b"a", b"b", b"", b"ab", b"a b", b"/a", b"/a/b", b"b/a", b"a\xffb", b"A", b"a\nb"];
    choices.of(&texts).to_vec()
}

fn path(choices: &mut Choices) -> Vec<u8> {
    let paths: [&[u8]; 5] = [b"/a", b"/b", b"/a/b", b"/", b"/a\xff"];
    choices.of(&paths).to_vec()
}

fn argv(choices: &mut Choices) -> Strings {
    choices.list(0, text).into_iter().collect()
}

/// The same facts, as far as they were read.
pub fn partly(full: &Given, choices: &mut Choices) -> Given {
    let mut part = full.clone();
    macro_rules! hide {
        ($of:expr, $($name:ident),*) => {
            $(if choices.chance(3) {
                $of.$name = Reading::Unknown;
            })*
        };
    }
    hide!(part, argv, filename, exe, interpreter, comm, prev_comm, cwd);
    hide!(part, uid, gid, pid, ppid, depth, ancestors, cgroup, pid_namespace, mnt_namespace);
    if let Reading::Known(cgroup) = &mut part.cgroup {
        hide!(cgroup, container);
    }
    if choices.chance(3) {
        part.env = None;
    }
    if choices.chance(3) {
        part.fds = None;
    }
    if let Reading::Known(images) = &mut part.ancestors {
        for image in images {
            let image = Arc::make_mut(image);
            hide!(image, argv, filename, exe, interpreter, comm, cwd, uid, gid, cgroup);
        }
    }
    part
}
