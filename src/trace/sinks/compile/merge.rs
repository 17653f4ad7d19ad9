//! A compilation database that is there already: an incremental build compiles few of its sources again.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::absolute;
use super::line::Line;
use crate::linux::files;
use crate::text::escape;
use crate::text::report::Trouble;

/// What makes an entry the same as another: its folder, its file and its output.
pub type Key = (PathBuf, PathBuf, Option<PathBuf>);

/// What the file says before it is replaced.
#[derive(Debug, Default)]
pub struct Before {
    entries: Vec<(Key, Value)>,
    /// There is a file, and it says something.
    pub there: bool,
}

/// What is read of an entry, which may be another program's.
#[derive(Deserialize)]
struct Entry {
    directory: String,
    file: String,
    output: Option<String>,
    arguments: Option<Vec<String>>,
    command: Option<String>,
}

/// The most that is read of a compilation database, in bytes.
const LARGEST: u64 = 1 << 30;

impl Before {
    /// Reads the file that is to be replaced. Where all is to begin anew, only whether it is there counts.
    pub fn read(file: Option<&Path>, fresh: bool) -> Result<Before, Trouble> {
        let Some(file) = file else { return Ok(Before::default()) };
        let shown = escape::word(file.as_os_str().as_bytes());
        let text = files::read(file, LARGEST)
            .map_err(|error| Trouble::new(format!("cannot read {shown} to add to it: {error}")))?;
        if fresh || text.is_empty() {
            return Ok(Before { entries: Vec::new(), there: !text.is_empty() });
        }
        let entries: Vec<Value> = serde_json::from_slice(&text).map_err(|error| {
            not_added(&shown, &format!("it is not a compilation database ({error})"))
        })?;
        let keyed = entries.into_iter().map(|entry| Some((key(&entry)?, entry)));
        let keyed: Option<Vec<(Key, Value)>> = keyed.collect();
        let entries = keyed
            .ok_or_else(|| not_added(&shown, "one of its entries has no directory or no file"))?;
        Ok(Before { entries, there: true })
    }

    /// The entries whose sources are still there and that are not replaced.
    pub fn remaining(&self, replaced: &HashSet<Key>) -> impl Iterator<Item = &Value> {
        let remains = |key: &Key| !replaced.contains(key) && key.1.try_exists().unwrap_or(true);
        self.entries.iter().filter(move |(key, _)| remains(key)).map(|(_, entry)| entry)
    }
}

fn not_added(shown: &str, why: &str) -> Trouble {
    Trouble::new(format!("cannot add to {shown}: {why}"))
        .hint("--fresh replaces it; -o names another file")
}

/// An output that is not named by itself may be among the words.
fn key(entry: &Value) -> Option<Key> {
    let entry = Entry::deserialize(entry).ok()?;
    let directory = Path::new(&entry.directory);
    let words = || {
        let split = || shell_words::split(entry.command.as_deref()?).ok();
        let words = entry.arguments.clone().or_else(split)?;
        let words = words.into_iter().map(String::into_bytes).collect();
        Line::parse(words, directory, None).output
    };
    let output = entry.output.clone().map(String::into_bytes).or_else(words);
    let output = output.map(|output| absolute(directory, &output));
    Some((directory.into(), absolute(directory, entry.file.as_bytes()), output))
}
