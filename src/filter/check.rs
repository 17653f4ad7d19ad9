//! Whether a test makes sense. One that can never match is a mistake, and is called one.

use std::ops::RangeInclusive;

use memchr::memmem::Finder;
use nix::errno::Errno;

use super::ast::{Check, Op, Test};
use super::error::{Fault, Span, visible};
use super::field::{Field, Kind, What};
use super::matcher::{Text, Want};
use super::names::{NameCache, Whose};
use super::parser::Places;
use super::pattern;
use super::print;
use super::resolve::number;
use crate::event::FdKind;
use crate::event::cgroup::is_unit;
use crate::event::moment::{self, signals};

/// The length of `comm`: the kernel keeps 16 bytes, the last of them a NUL.
const COMM_MAX: usize = 15;

/// What a test wants, and of what. That can be another field than the one that was named: a
/// user's name becomes an id.
pub(super) fn test(test: &Test, places: &Places, names: &NameCache) -> Result<(What, Want), Fault> {
    let (op, values): (Op, &[Vec<u8>]) = match &test.check {
        Check::Exists => return exists(&test.field, places),
        Check::Compare { op, value, .. } => (*op, std::slice::from_ref(value)),
        Check::In { values, .. } => (Op::Equal, values),
    };
    let asked = Asked { field: &test.field, op, values, places };
    match test.field.what.kind() {
        Kind::Text => asked.text(names),
        Kind::Number => asked.number(),
        Kind::Time => asked.time(),
        Kind::Signal => asked.signal(),
        Kind::Errno => asked.errno(),
        Kind::FdType => asked.fd_type(),
        Kind::Nothing => Err(asked
            .misfit("`parent` has no value: it exists or it does not")
            .hint("write `parent.comm=...`, or `parent` alone")),
    }
}

fn exists(field: &Field, places: &Places) -> Result<(What, Want), Fault> {
    if field.what.can_be_missing() {
        return Ok((field.what.clone(), Want::Exists));
    }
    let shown = visible(field.to_string().as_bytes());
    let sign = match field.what.kind() {
        Kind::Number => "=",
        Kind::Time => ">",
        _ => "~",
    };
    Err(Fault::new(
        places.field.clone(),
        format!("expected an operator: `{shown}` is always there"),
    )
    .hint(format!("compare it with something: `{shown}{sign}...`")))
}

/// A test that compares.
struct Asked<'a> {
    field: &'a Field,
    op: Op,
    values: &'a [Vec<u8>],
    places: &'a Places,
}

impl Asked<'_> {
    fn value_span(&self, at: usize) -> Span {
        self.places.values.get(at).cloned().unwrap_or(0..0)
    }

    /// The operator does not fit the field.
    fn misfit(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.places.operator.clone(), message)
    }

    fn field_text(&self) -> String {
        visible(self.field.to_string().as_bytes())
    }

    fn text(&self, names: &NameCache) -> Result<(What, Want), Fault> {
        if self.op.is_order() {
            let (op, field) = (self.op.text(), self.field_text());
            return Err(self.misfit(format!("`{op}` is for numbers, and `{field}` is a text")));
        }
        match (&self.field.what, self.op) {
            (What::User, Op::Equal) => return self.id(Whose::User, names),
            (What::Group, Op::Equal) => return self.id(Whose::Group, names),
            _ => {}
        }
        for (at, value) in self.values.iter().enumerate() {
            self.can_match(value).map_err(|why| {
                Fault::new(self.value_span(at), format!("can never match: {}", why.message))
                    .maybe_hint(why.hint)
            })?;
        }
        let value = self.values.first().map(Vec::as_slice).unwrap_or_default();
        let text = match self.op {
            Op::Match => Text::Pattern(pattern::regex(value).map_err(|why| self.bad_regex(&why))?),
            Op::Glob => Text::Pattern(pattern::glob(value).map_err(|why| {
                Fault::new(
                    self.value_span(0),
                    format!("expected a glob: {}", visible(why.as_bytes())),
                )
            })?),
            Op::Contains => Text::Contains(Box::new(Finder::new(value).into_owned())),
            Op::StartsWith => Text::StartsWith(value.to_vec()),
            Op::EndsWith => Text::EndsWith(value.to_vec()),
            _ if self.field.what == What::Container => Text::Container(self.values.to_vec()),
            _ => Text::Equal(self.values.to_vec()),
        };
        Ok((self.field.what.clone(), Want::Text(text)))
    }

    fn bad_regex(&self, why: &str) -> Fault {
        let why = visible(why.as_bytes());
        Fault::new(self.value_span(0), format!("expected a regular expression: {why}"))
            .hint(format!("for a plain text write `{} contains ...`", self.field_text()))
    }

    fn can_match(&self, value: &[u8]) -> Result<(), Never> {
        let what = &self.field.what;
        let from_start = matches!(self.op, Op::Equal | Op::StartsWith);
        let literal = from_start || matches!(self.op, Op::EndsWith | Op::Contains);
        match what {
            What::Comm | What::PrevComm if literal && value.len() > COMM_MAX => Err(Never {
                message: format!("`comm` is cut to {COMM_MAX} bytes, and this has {}", value.len()),
                hint: Some("the whole name of the program is in `basename`".into()),
            }),
            What::Exe | What::Cwd | What::Cgroup if self.is_relative(value) => Err(Never {
                message: format!("`{}` is an absolute path", what.name()),
                hint: Some(format!("`{} {}`", what.name(), print_end(value))),
            }),
            What::Basename if literal && value.contains(&b'/') => Err(Never {
                message: "`basename` has no `/`".into(),
                hint: Some("the path as it was passed to exec is in `filename`".into()),
            }),
            What::Unit if self.op == Op::Equal => unit(value),
            What::Container if literal && value.contains(&b'/') => Err(Never {
                message: "the id of a container has no `/`".into(),
                hint: Some("the whole path is in `cgroup`".into()),
            }),
            What::Container if self.op == Op::Equal && value.is_empty() => Err(Never {
                message: "every container has an id".into(),
                hint: Some("for what is in none write `not container`".into()),
            }),
            _ => Ok(()),
        }
    }

    fn is_relative(&self, value: &[u8]) -> bool {
        match (self.op, value.first()) {
            (Op::Equal, first) => first != Some(&b'/'),
            (Op::StartsWith, Some(first)) => *first != b'/',
            // A glob that begins with `[` or a backslash is not looked into.
            (Op::Glob, first) => !matches!(first, Some(b'/' | b'*' | b'?' | b'[' | b'\\')),
            _ => false,
        }
    }

    /// The ids of the users or groups that are named.
    fn id(&self, whose: Whose, names: &NameCache) -> Result<(What, Want), Fault> {
        let (what, thing) = match whose {
            Whose::User => (What::Uid, "user"),
            Whose::Group => (What::Gid, "group"),
        };
        let mut ids = Vec::with_capacity(self.values.len());
        for (at, name) in self.values.iter().enumerate() {
            let fault = |message| Fault::new(self.value_span(at), message);
            let shown = visible(name);
            match names.id(whose, name) {
                Ok(Some(id)) => ids.push(id..=id),
                Ok(None) => {
                    let hint =
                        number(name).map(|id| format!("for the id write `{}={id}`", what.name()));
                    let message =
                        format!("expected the name of a {thing}, and there is no `{shown}`");
                    return Err(fault(message).maybe_hint(hint));
                }
                Err(error) => {
                    return Err(fault(format!("cannot look up the {thing} `{shown}`: {error}")));
                }
            }
        }
        Ok((what, Want::Number(ids)))
    }

    fn number(&self) -> Result<(What, Want), Fault> {
        let mut ranges = Vec::with_capacity(self.values.len());
        if !self.op.is_order() && self.op != Op::Equal {
            let (op, field) = (self.op.text(), self.field_text());
            return Err(self
                .misfit(format!("`{op}` is for texts, and `{field}` is a number"))
                .hint("the operators for numbers are = != < <= > >= in"));
        }
        for (at, digits) in self.values.iter().enumerate() {
            let number = number(digits).ok_or_else(|| self.not_a_number(at, digits))?;
            if self.field.what == What::Status && number > 255 {
                let message = "can never match: an exit status is at most 255";
                return Err(Fault::new(self.value_span(at), message));
            }
            let range = range(self.op, number).ok_or_else(|| {
                let message = format!("can never match: no number is {} {number}", self.op.text());
                Fault::new(self.value_span(at), message)
            })?;
            ranges.push(range);
        }
        Ok((self.field.what.clone(), Want::Number(ranges)))
    }

    fn not_a_number(&self, at: usize, value: &[u8]) -> Fault {
        let is_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let message = if is_digits {
            "can never match: the number does not fit into 32 bits"
        } else {
            "expected a number"
        };
        let name = match self.field.what {
            What::Uid => Some("user"),
            What::Gid => Some("group"),
            _ => None,
        };
        let hint = match self.field.what {
            What::Namespace(_) if !is_digits => Some(
                "it is the number in the brackets of what `readlink /proc/PID/ns/...` shows".into(),
            ),
            _ => name.filter(|_| !is_digits).map(|name| format!("the name is in `{name}`")),
        };
        Fault::new(self.value_span(at), message).maybe_hint(hint)
    }

    /// A time with its unit, in milliseconds.
    fn time(&self) -> Result<(What, Want), Fault> {
        if !self.op.is_order() {
            let (op, field) = (self.op.text(), self.field_text());
            return Err(self
                .misfit(format!("`{op}` is not for `{field}`, which is never the same twice"))
                .hint("the operators for it are < <= > >="));
        }
        let text = self.values.first().map(Vec::as_slice).unwrap_or_default();
        let fault = |message: String| Fault::new(self.value_span(0), message);
        let time = moment::time_of(&String::from_utf8_lossy(text)).map_err(fault)?;
        let milliseconds = time
            .as_millis()
            .try_into()
            .map_err(|_| fault("can never match: a time of more than 49 days".to_string()))?;
        let range = range(self.op, milliseconds)
            .ok_or_else(|| fault("can never match: no time is less than 0".to_string()))?;
        Ok((What::Age, Want::Number(vec![range])))
    }

    /// It has no order.
    fn is_for_names(&self) -> Result<(), Fault> {
        if self.op == Op::Equal {
            return Ok(());
        }
        let (op, field) = (self.op.text(), self.field_text());
        Err(self
            .misfit(format!("`{op}` is not for `{field}`"))
            .hint("the operators for it are = != in"))
    }

    fn errno(&self) -> Result<(What, Want), Fault> {
        self.is_for_names()?;
        let mut wanted = Vec::with_capacity(self.values.len());
        for (at, value) in self.values.iter().enumerate() {
            let errno = errno(value).ok_or_else(|| {
                Fault::new(self.value_span(at), "expected an error, as in `errno=ENOENT`")
            })?;
            wanted.push(errno..=errno);
        }
        Ok((What::Errno, Want::Number(wanted)))
    }

    fn signal(&self) -> Result<(What, Want), Fault> {
        self.is_for_names()?;
        let mut wanted = Vec::with_capacity(self.values.len());
        for (at, value) in self.values.iter().enumerate() {
            let fault = |message: String| Fault::new(self.value_span(at), message);
            let signal = signals::parse(value).map_err(fault)?;
            if !signals::ends(signal) {
                let name = signals::name(signal);
                return Err(fault(if signal == libc::SIGKILL {
                    format!("can never match: {name} kills before anybody sees it")
                } else {
                    format!("can never match: {name} ends no process")
                }));
            }
            wanted.push(signal as u32..=signal as u32);
        }
        Ok((What::Signal, Want::Number(wanted)))
    }

    fn fd_type(&self) -> Result<(What, Want), Fault> {
        self.is_for_names()?;
        let mut kinds = Vec::with_capacity(self.values.len());
        for (at, value) in self.values.iter().enumerate() {
            let kind = FdKind::ALL.into_iter().find(|kind| kind.name().as_bytes() == value);
            kinds.push(kind.ok_or_else(|| {
                let names = FdKind::ALL.map(FdKind::name).join(", ");
                Fault::new(self.value_span(at), format!("expected one of {names}"))
            })?);
        }
        Ok((self.field.what.clone(), Want::Kind(kinds)))
    }
}

/// The number of an error that the system knows, by its name or as it is.
fn errno(value: &[u8]) -> Option<u32> {
    const MOST: i32 = 4095; // MAX_ERRNO, include/linux/err.h
    let known = |&number: &i32| Errno::from_raw(number) != Errno::UnknownErrno;
    let name = |number: i32| format!("{:?}", Errno::from_raw(number));
    match number(value) {
        Some(number) => Some(number).filter(|&number| known(&(number as i32))),
        None => (1..=MOST)
            .filter(known)
            .find(|&number| value.eq_ignore_ascii_case(name(number).as_bytes()))
            .map(|number| number as u32),
    }
}

/// Why a value can never match.
struct Never {
    message: String,
    hint: Option<String>,
}

/// Whether this can be the unit of a process.
fn unit(name: &[u8]) -> Result<(), Never> {
    let (message, hint) = if name.ends_with(b".slice") {
        ("a process is in a unit within the slice", Some(("cgroup contains ", ["/", "/"])))
    } else if is_unit(name) {
        return Ok(());
    } else if is_unit(&[name, b".service"].concat()) {
        ("the name of a unit says its kind", Some(("unit=", ["", ".service"])))
    } else {
        ("this is not the name of a unit", None)
    };
    let hint = hint.map(|(test, [before, after])| {
        let mut out = test.as_bytes().to_vec();
        print::value(&[before.as_bytes(), name, after.as_bytes()].concat(), false, &mut out);
        format!("`{}`", visible(&out))
    });
    Err(Never { message: message.into(), hint })
}

/// The test for the end of a path.
fn print_end(value: &[u8]) -> String {
    let mut out = b"endswith ".to_vec();
    print::value(&[b"/", value].concat(), false, &mut out);
    visible(&out)
}

/// The numbers for which `number op value` holds; none if there are none.
fn range(op: Op, value: u32) -> Option<RangeInclusive<u32>> {
    Some(match op {
        Op::Less => 0..=value.checked_sub(1)?,
        Op::AtMost => 0..=value,
        Op::More => value.checked_add(1)?..=u32::MAX,
        Op::AtLeast => value..=u32::MAX,
        _ => value..=value,
    })
}
