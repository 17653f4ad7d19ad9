//! "Did you mean": the name that a mistyped word is nearest to, and the line that was meant.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::launcher::command;

/// The subcommands that run something.
const RUN: [&str; 3] = ["debug", "log", "collect"];

/// A long word is near to nothing, and comparing it is quadratic.
const LONGEST: usize = 32;

/// The nearest name, and in how many letters it differs; none if that is more than a third of them.
pub fn nearest<'a>(
    word: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    if word.len() >= LONGEST {
        return None;
    }
    names
        .into_iter()
        .map(|name| (name, strsim::damerau_levenshtein(word, name)))
        .min_by_key(|(_, edits)| *edits)
        .filter(|(name, edits)| *edits <= (name.len() / 3).max(1))
}

/// The same line with COMMAND where it belongs, if that is what is wrong with it.
pub fn line_with_command(error: &clap::Error, line: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument || line.iter().any(|word| word == "--") {
        return None;
    }
    let ContextValue::String(first) = error.get(ContextKind::InvalidArg)? else { return None };
    let at = line.iter().position(|word| word == OsStr::new(first))?;
    let (options, rest) = line.split_at(at);
    let runs = options.iter().any(|word| RUN.iter().any(|run| word == run));
    let words = [&["tracexec".into()], options.get(1..)?, &["--".into()], rest].concat();
    (runs && !first.starts_with('-')).then(|| command::line(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let names = ["debugger", "in", "max-hits"];
        assert_eq!(nearest("debuger", names), Some(("debugger", 1)));
        assert_eq!(nearest("max_hits", names), Some(("max-hits", 1)));
        assert_eq!(nearest("terminal", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
