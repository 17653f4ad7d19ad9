//! What an expression means, in two values and without any thought of speed: a field is the list
//! of its values, and a test holds if one of them satisfies it.

use regex::bytes::Regex;
use tracexec::event::cgroup::Cgroup;
use tracexec::event::{FdKind, Image, Namespace, Reading};
use tracexec::filter::{Check, Descriptor, Expr, Index, Of, Op, Test, What};

use crate::filter_support::{GROUPS, Given, USERS, compiler};

pub fn holds(expr: &Expr, facts: &Given) -> bool {
    match expr {
        Expr::Or(parts) => parts.iter().any(|part| holds(part, facts)),
        Expr::And(parts) => parts.iter().all(|part| holds(part, facts)),
        Expr::Not(inner) => !holds(inner, facts),
        Expr::Test(test) => test_holds(test, facts),
    }
}

fn test_holds(test: &Test, facts: &Given) -> bool {
    let images: Vec<Given> = match facts.ancestors.clone() {
        Reading::Known(images) => images.iter().map(|image| as_facts(image)).collect(),
        _ => Vec::new(),
    };
    let what = &test.field.what;
    let values: Vec<Vec<u8>> = match test.field.of {
        Of::Process => values(what, facts),
        Of::Parent => images.first().map(|image| values(what, image)).unwrap_or_default(),
        Of::Ancestor => images.iter().flat_map(|image| values(what, image)).collect(),
    };
    match &test.check {
        Check::Exists => !values.is_empty(),
        Check::Compare { op: Op::Equal, negated, value } if *what == What::Container => {
            values.iter().any(|found| is_container(found, value)) != *negated
        }
        Check::In { negated, values: wanted } if *what == What::Container => {
            let is = |found: &Vec<u8>| wanted.iter().any(|value| is_container(found, value));
            values.iter().any(is) != *negated
        }
        Check::Compare { op, negated, value } => {
            values.iter().any(|found| compares(*op, found, value)) != *negated
        }
        Check::In { negated, values: wanted } => {
            values.iter().any(|found| wanted.contains(found)) != *negated
        }
    }
}

fn as_facts(image: &Image) -> Given {
    Given {
        argv: image.argv.clone(),
        filename: image.filename.clone(),
        exe: image.exe.clone(),
        interpreter: image.interpreter.clone(),
        comm: image.comm.clone(),
        cwd: image.cwd.clone(),
        uid: image.uid,
        gid: image.gid,
        pid: Reading::Known(image.pid),
        depth: Reading::Known(image.depth),
        cgroup: image.cgroup.clone(),
        ..compiler()
    }
}

/// All the values of a field; numbers in digits.
fn values(what: &What, facts: &Given) -> Vec<Vec<u8>> {
    let argv: Option<Vec<Vec<u8>>> =
        facts.argv.clone().known().map(|argv| argv.iter().map(<[u8]>::to_vec).collect());
    let number = |reading: Reading<u32>| one(reading.map(|n| n.to_string().into_bytes()));
    let named = |id: Reading<u32>, names: &[(u32, &str)]| {
        let id = id.known();
        names
            .iter()
            .filter(|(known, _)| Some(*known) == id)
            .map(|(_, name)| name.as_bytes().to_vec())
            .collect()
    };
    let fds = facts.fds.clone().unwrap_or_default();
    let kind = |kind: FdKind| kind.name().as_bytes().to_vec();
    match what {
        What::Argv => argv.map(|argv| argv.join(&b' ')).into_iter().collect(),
        What::Argc => argv.map(|argv| argv.len().to_string().into_bytes()).into_iter().collect(),
        What::Arg(Index::Any) => argv.unwrap_or_default(),
        What::Arg(Index::At(at)) => {
            let argv = argv.unwrap_or_default();
            let at = if *at < 0 { argv.len() as i64 + at } else { *at };
            argv.into_iter().enumerate().filter(|(i, _)| *i as i64 == at).map(|(_, a)| a).collect()
        }
        What::Filename => one(facts.filename.clone()),
        What::Basename => one(facts
            .filename
            .clone()
            .map(|path| path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec())),
        What::Exe => one(facts.exe.clone()),
        What::Interpreter => one(facts.interpreter.clone()),
        What::Comm => one(facts.comm.clone()),
        What::PrevComm => one(facts.prev_comm.clone()),
        What::Cwd => one(facts.cwd.clone()),
        What::Fd(Descriptor::Any) => fds.into_iter().map(|fd| fd.target).collect(),
        What::Fd(Descriptor::Number(n)) => {
            fds.into_iter().find(|fd| fd.number == *n).map(|fd| fd.target).into_iter().collect()
        }
        What::FdType(Descriptor::Any) => fds.into_iter().map(|fd| kind(fd.kind)).collect(),
        What::FdType(Descriptor::Number(n)) => {
            fds.into_iter().find(|fd| fd.number == *n).map(|fd| kind(fd.kind)).into_iter().collect()
        }
        What::Env(name) => {
            let env = facts.env.clone().unwrap_or_default();
            env.into_iter().find(|(n, _)| n == name).map(|(_, value)| value).into_iter().collect()
        }
        What::Uid => number(facts.uid),
        What::Gid => number(facts.gid),
        What::User => named(facts.uid, &USERS),
        What::Group => named(facts.gid, &GROUPS),
        What::Pid => number(facts.pid),
        What::Ppid => number(facts.ppid),
        What::Depth => number(facts.depth),
        What::Cgroup => one(of_cgroup(facts, |cgroup| cgroup.path)),
        What::Unit => one(of_cgroup(facts, |cgroup| cgroup.unit)),
        What::Container => one(of_cgroup(facts, |cgroup| cgroup.container)),
        What::Namespace(Namespace::Pid) => number(facts.pid_namespace),
        What::Namespace(Namespace::Mnt) => number(facts.mnt_namespace),
        // At the exec there is no such thing.
        What::Signal | What::Status | What::Age | What::Usual { .. } | What::Errno => Vec::new(),
        What::Parent => {
            let images = facts.ancestors.clone().known().unwrap_or_default();
            images.first().map(|_| Vec::new()).into_iter().collect()
        }
    }
}

fn of_cgroup(facts: &Given, part: fn(Cgroup) -> Reading<Vec<u8>>) -> Reading<Vec<u8>> {
    facts.cgroup.clone().known().map_or(Reading::Missing, part)
}

/// Of a long number the beginning will do.
fn is_container(found: &[u8], value: &[u8]) -> bool {
    found == value || found.len() == 64 && found.starts_with(value)
}

fn one(reading: Reading<Vec<u8>>) -> Vec<Vec<u8>> {
    reading.known().into_iter().collect()
}

fn compares(op: Op, found: &[u8], value: &[u8]) -> bool {
    let number = |digits: &[u8]| String::from_utf8_lossy(digits).parse::<u64>().unwrap();
    match op {
        Op::Equal => found == value,
        Op::Match => {
            let pattern = format!("(?s-u){}", String::from_utf8_lossy(value));
            Regex::new(&pattern).unwrap().is_match(found)
        }
        Op::Contains => (0..=found.len()).any(|at| found[at..].starts_with(value)),
        Op::StartsWith => found.starts_with(value),
        Op::EndsWith => found.ends_with(value),
        Op::Glob => glob(value, found),
        Op::Less => number(found) < number(value),
        Op::AtMost => number(found) <= number(value),
        Op::More => number(found) > number(value),
        Op::AtLeast => number(found) >= number(value),
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        [b'?', rest @ ..] => !text.is_empty() && glob(rest, &text[1..]),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|b| *b == b']').unwrap();
            !text.is_empty() && rest[..end].contains(&text[0]) && glob(&rest[end + 1..], &text[1..])
        }
        [byte, rest @ ..] => text.first() == Some(byte) && glob(rest, &text[1..]),
    }
}
