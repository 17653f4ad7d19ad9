//! Which field a name is; and, if it is none, which one was meant.

use super::error::{Fault, Span, visible};
use super::field::{Descriptor, Field, Index, Of, PLAIN, What};
use super::lexer::Value;
use super::print;
use crate::commands::suggest;

const OF_ANCESTORS: &str = "of ancestors there are argv, argc, filename, basename, exe, interpreter, \
     comm, cwd, uid, gid, user, group, pid, depth, cgroup, unit and container";

/// A field as it was written.
pub(super) struct Written<'a> {
    pub word: &'a [u8],
    pub span: Span,
    pub bracket: Option<Value>,
    /// What was written after the brackets: `.type`, or nothing.
    pub suffix: &'a [u8],
    /// Whether no operator follows.
    pub alone: bool,
}

impl Written<'_> {
    /// Finds out which field it is.
    pub(super) fn resolve(self) -> Result<Field, Fault> {
        let (of, name) = self.whose()?;
        let what = match &self.bracket {
            Some(bracket) => self.element(name, bracket)?,
            None => self.plain(name)?,
        };
        if of != Of::Process && !what.is_kept_of_ancestors() {
            return Err(self.not_kept());
        }
        Ok(Field { of, what })
    }

    fn whose(&self) -> Result<(Of, &[u8]), Fault> {
        if let Some(name) = self.word.strip_prefix(b"parent.") {
            return Ok((Of::Parent, name));
        }
        if let Some(name) = self.word.strip_prefix(b"ancestor.") {
            return Ok((Of::Ancestor, name));
        }
        match self.word {
            b"ancestor" => Err(self
                .fault("expected a field of the ancestors, as in `ancestor.comm`")
                .hint("`parent` alone asks whether there is any")),
            b"prev.comm" => Ok((Of::Process, self.word)),
            word if word == b"prev" || word.starts_with(b"prev.") => {
                Err(self.fault("of what was before the exec there is only `prev.comm`"))
            }
            b"ns.pid" | b"ns.mnt" => Ok((Of::Process, self.word)),
            word if word == b"ns" || word.starts_with(b"ns.") => {
                Err(self.fault("of the namespaces there are only `ns.pid` and `ns.mnt`"))
            }
            word => Ok((Of::Process, word)),
        }
    }

    fn plain(&self, name: &[u8]) -> Result<What, Fault> {
        match name {
            b"fd" => Err(self.fault("expected `[` after `fd`").hint("write `fd[0]` or `fd[*]`")),
            b"env" => Err(self.fault("expected `[` after `env`").hint("write `env[NAME]`")),
            _ => {
                let found = PLAIN.iter().find(|(known, _)| known.as_bytes() == name);
                found.map(|(_, what)| what.clone()).ok_or_else(|| self.unknown(name))
            }
        }
    }

    fn element(&self, name: &[u8], bracket: &Value) -> Result<What, Fault> {
        let what = match name {
            b"argv" => What::Arg(argument(bracket)?),
            b"fd" if self.suffix == b".type" => return Ok(What::FdType(descriptor(bracket)?)),
            b"fd" => What::Fd(descriptor(bracket)?),
            b"env" => What::Env(variable(bracket)?),
            _ => {
                let what = self.plain(name)?;
                return Err(self.fault(format!("`{}` takes no brackets", what.name())));
            }
        };
        match self.suffix {
            b"" => Ok(what),
            b".type" => Err(self.fault("only `fd[...]` has a `.type`")),
            other => {
                let message = format!("expected an operator, found `{}`", visible(other));
                Err(self.fault(message).hint("what can follow the brackets is `.type`"))
            }
        }
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span.clone(), message)
    }

    fn not_kept(&self) -> Fault {
        self.fault(format!("`{}` is not kept of ancestors", visible(self.word))).hint(OF_ANCESTORS)
    }

    fn unknown(&self, name: &[u8]) -> Fault {
        let shown = visible(self.word);
        let prefix = visible(&self.word[..self.word.len() - name.len()]);
        let nearest = nearest(&String::from_utf8_lossy(name));
        if !self.alone || self.bracket.is_some() || !prefix.is_empty() {
            let hint = nearest.map(|(near, _)| format!("did you mean `{prefix}{near}`?"));
            return self.fault(format!("`{shown}` is no field")).maybe_hint(hint);
        }
        let hint = match nearest {
            Some((near, 1)) => format!("did you mean `{near}`? The program is {}", program(name)),
            _ => format!("for the program of that name write {}", program(name)),
        };
        self.fault(format!("`{shown}` is no field, and no operator follows it")).hint(hint)
    }
}

/// The test for a program that was named without a field.
fn program(word: &[u8]) -> String {
    let mut out = match word {
        [b'/', ..] => b"exe=".to_vec(),
        _ if word.contains(&b'/') => b"filename=".to_vec(),
        _ => b"basename=".to_vec(),
    };
    print::value(word, false, &mut out);
    format!("`{}`", visible(&out))
}

/// The field with the nearest name, and in how many letters it differs.
fn nearest(word: &str) -> Option<(&'static str, usize)> {
    let names = PLAIN.iter().map(|(name, _)| *name).chain(["fd", "env"]);
    suggest::nearest(word, names)
}

fn argument(bracket: &Value) -> Result<Index, Fault> {
    if !bracket.quoted {
        if bracket.bytes == b"*" {
            return Ok(Index::Any);
        }
        let digits = bracket.bytes.strip_prefix(b"-").unwrap_or(&bracket.bytes);
        if let (Some(_), Some(at)) = (parse::<u64>(digits), parse::<i64>(&bracket.bytes)) {
            return Ok(Index::At(at));
        }
    }
    Err(Fault::new(bracket.span.clone(), "expected a number or `*` in `argv[...]`")
        .hint("`argv[0]` is the first, `argv[-1]` the last, `argv[*]` any of them"))
}

fn descriptor(bracket: &Value) -> Result<Descriptor, Fault> {
    if !bracket.quoted {
        if bracket.bytes == b"*" {
            return Ok(Descriptor::Any);
        }
        if let Some(number) = number(&bracket.bytes) {
            return Ok(Descriptor::Number(number));
        }
    }
    Err(Fault::new(bracket.span.clone(), "expected a descriptor's number or `*` in `fd[...]`"))
}

fn variable(bracket: &Value) -> Result<Vec<u8>, Fault> {
    let fault = |message: &str| Fault::new(bracket.span.clone(), message);
    if bracket.bytes.is_empty() {
        return Err(fault("expected the name of a variable in `env[...]`"));
    }
    if bracket.bytes.contains(&b'=') {
        return Err(fault("can never match: the name of a variable has no `=`")
            .hint("the value is compared after the brackets: `env[NAME]=value`"));
    }
    if bracket.bytes == b"*" && !bracket.quoted {
        return Err(fault("expected the name of one variable in `env[...]`"));
    }
    Ok(bracket.bytes.clone())
}

/// A number in digits, without the sign that Rust would allow.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    digits.first().filter(|b| b.is_ascii_digit())?;
    parse(digits)
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}
