//! A template and a hit's values become words. Quoting them for people is `escape`'s affair, executing
//! them the shim's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::image::Image;
use super::inside::Inside;
use super::template::{Debugger, Piece, Placeholder, Word};
use crate::debug::matcher::Program;
use crate::event::{Strings, basename};
use crate::linux::sys::Pid;
use crate::machine::listen::Listen;

/// Where the user wants to be when the debugger has the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    Entry,
    Main,
    Location(String),
}

/// Something to run in the debugger after the hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    File(OsString),
    Command(OsString),
}

/// A word of a command that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyWord {
    Text(OsString),
    /// The path of a file with this content, which whoever executes the command makes.
    File(String),
    /// The same between two texts.
    Around(OsString, String, OsString),
}

/// A debugger's template with all that is known before the first hit.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub debugger: Debugger,
    pub program: Option<PathBuf>,
    pub stop_at: Break,
    pub given: Vec<Given>,
    /// Where it listens, if it does.
    pub listen: Listen,
    /// Whether it is to keep its breakpoints.
    pub remember: bool,
}

/// What is found out about a match before its debugger's place is made.
#[derive(Debug, Default)]
pub struct Findings {
    /// Which of the session's debuggers serves it.
    pub recipe: usize,
    /// The port of a debugger that listens.
    pub port: u16,
    pub image: Image,
    pub inside: Inside,
}

/// What is known of one hit.
pub struct Values<'a> {
    pub pid: Pid,
    pub hit: u64,
    pub program: &'a Program,
    pub findings: &'a Findings,
}

impl Recipe {
    /// The debugger's command for a hit.
    pub fn words(&self, values: &Values<'_>) -> Vec<ReadyWord> {
        self.expand(&self.debugger.command, values)
    }

    /// What a person types to attach by hand, as plain words.
    pub fn by_hand(&self, values: &Values<'_>) -> Vec<OsString> {
        plain(self.expand(&self.debugger.by_hand, values))
    }

    /// What a person types elsewhere once the debugger runs.
    pub fn then(&self, values: &Values<'_>) -> Vec<OsString> {
        plain(self.expand(&self.debugger.then, values))
    }

    /// The words that succeed where the debugger works.
    pub fn check(&self) -> Vec<OsString> {
        let findings = Findings::default();
        let values = Values { pid: 0, hit: 0, program: &Program::default(), findings: &findings };
        plain(self.expand(&self.debugger.check, &values))
    }

    fn expand(&self, words: &[Word], values: &Values<'_>) -> Vec<ReadyWord> {
        let mut ready = Vec::new();
        for word in words {
            match word.as_slice() {
                [Piece::Value(Placeholder::Argv)] => {
                    ready.extend(values.program.argv.iter().map(|arg| ReadyWord::Text(os(arg))));
                }
                // Where something has happened, there it stays.
                [Piece::Value(Placeholder::Break)] if values.program.happened.is_some() => {}
                [Piece::Value(Placeholder::Break)] => {
                    ready.extend(self.expand(self.break_words(), values));
                }
                [Piece::Value(Placeholder::Sysroot)] => {
                    if values.findings.inside.elsewhere {
                        ready.extend(self.expand(&self.debugger.sysroot, values));
                    }
                }
                [Piece::Value(Placeholder::Remember)] => {
                    let remember = self.debugger.remember.as_ref().filter(|_| self.remember);
                    ready.extend(remember.into_iter().flat_map(|r| self.expand(&r.words, values)));
                }
                [Piece::Value(Placeholder::Commands)] => {
                    ready.extend(self.given.iter().flat_map(|given| self.given_words(given)));
                }
                [Piece::Value(Placeholder::File(name))] => {
                    ready.push(ReadyWord::File(self.content(name, values)));
                }
                _ => ready.push(self.joined(word, values)),
            }
        }
        ready
    }

    fn break_words(&self) -> &[Word] {
        let words = match self.stop_at {
            Break::Entry => Some(&self.debugger.at_entry),
            Break::Main => self.debugger.at_main.as_ref(),
            Break::Location(_) => self.debugger.at_location.as_ref(),
        };
        words.map_or(&[], Vec::as_slice)
    }

    fn given_words(&self, given: &Given) -> Vec<ReadyWord> {
        let (words, value) = match given {
            Given::File(value) => (&self.debugger.given_file, value),
            Given::Command(value) => (&self.debugger.given_command, value),
        };
        let fill = |word: &Word| match word.as_slice() {
            [Piece::Value(Placeholder::Given)] => ReadyWord::Text(value.clone()),
            _ => ReadyWord::Text(text(word)),
        };
        words.iter().flatten().map(fill).collect()
    }

    /// The text of one of the template's files.
    fn content(&self, name: &str, values: &Values<'_>) -> String {
        let text = self.debugger.files.get(name).map(|word| self.join(word, values));
        text.unwrap_or_default().into_string().unwrap_or_default()
    }

    /// A word of several pieces, of which one may be a file.
    fn joined(&self, word: &Word, values: &Values<'_>) -> ReadyWord {
        let file = word.iter().enumerate().find_map(|(at, piece)| match piece {
            Piece::Value(Placeholder::File(name)) => Some((at, name)),
            _ => None,
        });
        let Some((at, name)) = file else { return ReadyWord::Text(self.join(word, values)) };
        let join = |pieces: &[Piece]| self.join(&pieces.to_vec(), values);
        ReadyWord::Around(join(&word[..at]), self.content(name, values), join(&word[at + 1..]))
    }

    fn join(&self, word: &Word, values: &Values<'_>) -> OsString {
        let mut joined = OsString::new();
        for piece in word {
            match piece {
                Piece::Text(text) => joined.push(text),
                Piece::Value(value) => joined.push(self.value(value, values)),
            }
        }
        joined
    }

    fn value(&self, value: &Placeholder, values: &Values<'_>) -> OsString {
        let program = values.program;
        let inside = &values.findings.inside;
        match value {
            Placeholder::Pid => values.pid.to_string().into(),
            Placeholder::Tid => {
                program.happened.map_or(values.pid, |happened| happened.tid).to_string().into()
            }
            Placeholder::Hit => values.hit.to_string().into(),
            Placeholder::Port => values.findings.port.to_string().into(),
            Placeholder::Address => self.listen.shown().into(),
            Placeholder::Host => self.listen.host().into(),
            Placeholder::Root if inside.elsewhere => format!("/proc/{}/root", inside.living).into(),
            Placeholder::Root => "/".into(),
            Placeholder::NsPid => inside.ns_pid.to_string().into(),
            Placeholder::ExeInside => os(&inside.exe.inside),
            Placeholder::ExeOutside => os(&inside.exe.outside),
            Placeholder::CwdInside => os(&inside.cwd.inside),
            Placeholder::CwdOutside => os(&inside.cwd.outside),
            Placeholder::Exe => os(&program.exe),
            Placeholder::Filename => os(&program.filename),
            Placeholder::Basename => os(basename(&program.filename)),
            Placeholder::Cwd => os(&program.cwd),
            Placeholder::Program => self.program.clone().unwrap_or_default().into_os_string(),
            Placeholder::Location => match &self.stop_at {
                Break::Location(location) => location.into(),
                Break::Main => values.findings.image.main.clone().into(),
                Break::Entry => OsString::new(),
            },
            // The template's checks leave these to other contexts.
            _ => OsString::new(),
        }
    }
}

fn os(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_os_string()
}

fn text(word: &Word) -> OsString {
    word.iter()
        .filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Value(_) => None,
        })
        .collect::<String>()
        .into()
}

fn plain(words: Vec<ReadyWord>) -> Vec<OsString> {
    words
        .into_iter()
        .filter_map(|word| match word {
            ReadyWord::Text(text) => Some(text),
            ReadyWord::File(_) | ReadyWord::Around(..) => None,
        })
        .collect()
}

/// Words as a line to read or to paste.
pub fn line(words: &[OsString]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| crate::text::escape::word(word.as_bytes())).collect();
    words.join(" ")
}

/// Strings as words.
pub fn words_of(argv: &Strings) -> Vec<OsString> {
    argv.iter().map(|arg| OsString::from_vec(arg.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Program {
        Program {
            pid: 7,
            argv: ["$(touch owned); \".\n", "-x"].into_iter().collect(),
            filename: b"/tmp/$(touch owned)".to_vec(),
            exe: b"/tmp/a b\xff".to_vec(),
            cwd: b"/".to_vec(),
            ..Program::default()
        }
    }

    fn recipe(command: &str) -> Recipe {
        let debugger = Debugger::ad_hoc(command).unwrap();
        let listen = Listen::default();
        let (stop_at, given) = (Break::Entry, Vec::new());
        Recipe { debugger, program: None, stop_at, given, listen, remember: false }
    }

    #[test]
    fn a_value_is_one_word_whatever_it_holds() {
        let program = hostile();
        let findings = Findings::default();
        let values = Values { pid: 7, hit: 1, program: &program, findings: &findings };
        let words = recipe("d --pid={{pid}} {{exe}} {{basename}} {{argv}}").words(&values);
        let expected: Vec<ReadyWord> = [
            &b"d"[..],
            b"--pid=7",
            b"/tmp/a b\xff",
            b"$(touch owned)",
            b"$(touch owned); \".\n",
            b"-x",
        ]
        .iter()
        .map(|word| ReadyWord::Text(os(word)))
        .collect();
        assert_eq!(words, expected);
    }
}
