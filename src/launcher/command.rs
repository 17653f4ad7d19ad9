//! A template and a hit's values become words. Quoting them for people is `escape`'s affair, executing
//! them the shim's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::template::{Debugger, Piece, Placeholder, Word};
use crate::event::{Strings, basename};
use crate::judge::Program;
use crate::sys::Pid;

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
}

/// A debugger's template with all that is known before the first hit.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub debugger: Debugger,
    pub program: Option<PathBuf>,
    pub stop_at: Break,
    pub given: Vec<Given>,
}

/// What is known of one hit.
pub struct Values<'a> {
    pub pid: Pid,
    pub hit: u64,
    pub port: u16,
    pub program: &'a Program,
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

    /// Whether a port must be found for it.
    pub fn wants_port(&self) -> bool {
        let port = Piece::Value(Placeholder::Port);
        self.debugger
            .command
            .iter()
            .chain(&self.debugger.then)
            .flatten()
            .any(|piece| *piece == port)
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
                [Piece::Value(Placeholder::Commands)] => {
                    ready.extend(self.given.iter().flat_map(|given| self.given_words(given)));
                }
                [Piece::Value(Placeholder::File(name))] => {
                    let text = self.debugger.files.get(name).map(|word| self.join(word, values));
                    ready.push(ReadyWord::File(
                        text.unwrap_or_default().into_string().unwrap_or_default(),
                    ));
                }
                _ => ready.push(ReadyWord::Text(self.join(word, values))),
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
        match value {
            Placeholder::Pid => values.pid.to_string().into(),
            Placeholder::Tid => {
                program.happened.map_or(values.pid, |happened| happened.tid).to_string().into()
            }
            Placeholder::Hit => values.hit.to_string().into(),
            Placeholder::Port => values.port.to_string().into(),
            Placeholder::Exe => os(&program.exe),
            Placeholder::Filename => os(&program.filename),
            Placeholder::Basename => os(basename(&program.filename)),
            Placeholder::Cwd => os(&program.cwd),
            Placeholder::Program => self.program.clone().unwrap_or_default().into_os_string(),
            Placeholder::Location => match &self.stop_at {
                Break::Location(location) => location.into(),
                Break::Main => "main".into(),
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
            ReadyWord::File(_) => None,
        })
        .collect()
}

/// Words as a line to read or to paste.
pub fn line(words: &[OsString]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| crate::escape::word(word.as_bytes())).collect();
    words.join(" ")
}

/// What a terminal's words are filled with.
pub struct PlaceValues<'a> {
    pub shim: &'a [OsString],
    pub dir: &'a Path,
    pub hit: u64,
    pub pid: Pid,
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

/// A terminal's words; values of the traced process are not among them.
pub fn place_words(words: &[Word], values: &PlaceValues<'_>) -> Vec<OsString> {
    let mut ready = Vec::new();
    for word in words {
        if let [Piece::Value(Placeholder::Shim)] = word.as_slice() {
            ready.extend(values.shim.iter().cloned());
            continue;
        }
        let mut joined = OsString::new();
        for piece in word {
            match piece {
                Piece::Text(text) => joined.push(text),
                Piece::Value(Placeholder::Dir) => joined.push(values.dir),
                Piece::Value(Placeholder::ShimVim) => joined.push(vim_string(values.shim)),
                Piece::Value(Placeholder::ShimLisp) => joined.push(lisp_strings(values.shim)),
                Piece::Value(Placeholder::Hit) => joined.push(values.hit.to_string()),
                Piece::Value(Placeholder::Pid) => joined.push(values.pid.to_string()),
                Piece::Value(Placeholder::Env(name)) => {
                    joined.push((values.env)(name).unwrap_or_default());
                }
                Piece::Value(_) => {}
            }
        }
        ready.push(joined);
    }
    ready
}

/// The shim's words, all of them ours, as JSON inside a string of Vim's in single quotes. Bytes that are
/// not UTF-8 can be in none of the two languages.
fn vim_string(shim: &[OsString]) -> String {
    let words: Vec<_> = shim.iter().map(|word| word.to_string_lossy()).collect();
    serde_json::json!(words).to_string().replace('\'', "''")
}

/// The same as strings of Emacs Lisp.
fn lisp_strings(shim: &[OsString]) -> String {
    let string = |word: &OsString| {
        let text = word.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{text}\"")
    };
    shim.iter().map(string).collect::<Vec<_>>().join(" ")
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
            because: String::new(),
            happened: None,
        }
    }

    fn recipe(command: &str) -> Recipe {
        let debugger = Debugger::ad_hoc(command).unwrap();
        Recipe { debugger, program: None, stop_at: Break::Entry, given: Vec::new() }
    }

    #[test]
    fn a_value_is_one_word_whatever_it_holds() {
        let program = hostile();
        let values = Values { pid: 7, hit: 1, port: 0, program: &program };
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
