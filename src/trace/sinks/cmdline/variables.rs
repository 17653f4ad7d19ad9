//! What env(1) is to do, that a program gets the environment of an exec.

use std::collections::{HashMap, HashSet};

use super::because;
use crate::event::{ExecRecord, variable};
use crate::text::escape;
use crate::trace::Baseline;

/// bash and zsh set it for each command.
const LAST: &[u8] = b"_";

type Names = Vec<Vec<u8>>;
type Entries = Vec<Vec<u8>>;

/// The variables to set, and what is done about those that are there.
pub struct Variables {
    /// By their names, which are all different.
    pub wanted: HashMap<Vec<u8>, Vec<u8>>,
    /// None: all are taken away.
    unset: Option<Names>,
    assignments: Entries,
}

impl Variables {
    pub fn of(
        record: &ExecRecord,
        baseline: Option<&Baseline>,
        lacking: &mut Vec<String>,
    ) -> Variables {
        let Some(vector) = &record.env.value else {
            lacking.push(because("the environment is not known", record.env.faults));
            return Variables {
                wanted: HashMap::new(),
                unset: Some(Vec::new()),
                assignments: Vec::new(),
            };
        };
        if !record.env.faults.is_empty() {
            lacking.push(because("the environment is not all known", record.env.faults));
        }
        let mut entries = Vec::new();
        let mut wanted = HashMap::new();
        for (at, entry) in vector.strings.iter().enumerate() {
            if vector.unread.contains(&at) {
                continue;
            }
            let (name, Some(value)) = variable(entry) else {
                lacking.push(format!("the variable {} has no `=`", escape::word(entry)));
                continue;
            };
            if wanted.contains_key(name) {
                lacking.push(format!("{} is there more than once", escape::word(name)));
                continue;
            }
            wanted.insert(name.to_vec(), value.to_vec());
            entries.push(entry.to_vec());
        }
        let changes = baseline.and_then(|baseline| changes(&entries, &wanted, baseline));
        let (unset, assignments) = match changes {
            Some((unset, set)) if size(&set) + size(&unset) + 3 * unset.len() <= size(&entries) => {
                (Some(unset), set)
            }
            _ => (None, entries),
        };
        Variables { wanted, unset, assignments }
    }

    /// Whether programs are found by the new environment as by the one before.
    pub fn same_path(&self, baseline: Option<&Baseline>) -> bool {
        let Some(baseline) = baseline else { return false };
        let mut given = baseline.env.iter().map(variable);
        let given = given.find(|entry| entry.0 == b"PATH").and_then(|entry| entry.1);
        given == self.wanted.get(b"PATH".as_slice()).map(Vec::as_slice)
    }

    /// `-i`, or `-u NAME` for each variable that goes.
    pub fn options(&self) -> Vec<String> {
        match &self.unset {
            None => vec!["-i".into()],
            Some(names) => names.iter().map(|name| format!("-u {}", escape::word(name))).collect(),
        }
    }

    /// The entries to set; such as could be taken for options first, since `--` stands before the first only.
    pub fn assignments(&self) -> Vec<&[u8]> {
        let mut entries: Vec<&[u8]> = self.assignments.iter().map(Vec::as_slice).collect();
        entries.sort_by_key(|entry| !entry.starts_with(b"-"));
        entries
    }
}

fn size(entries: &[Vec<u8>]) -> usize {
    entries.iter().map(|entry| entry.len() + 1).sum()
}

/// The names that go and the entries that come, if env can make one of the other.
fn changes(
    entries: &[Vec<u8>],
    wanted: &HashMap<Vec<u8>, Vec<u8>>,
    baseline: &Baseline,
) -> Option<(Names, Entries)> {
    let mut given = HashMap::new();
    for entry in baseline.env.iter() {
        let (name, value) = variable(entry);
        // What env cannot take away, or what is there twice.
        if name.is_empty() || value.is_none() || given.insert(name, value).is_some() {
            return None;
        }
    }
    given.remove(LAST);
    let mut unset: Names = Vec::new();
    let mut seen = HashSet::new();
    let names = baseline.env.iter().map(|entry| variable(entry).0).chain([LAST]);
    for name in names.filter(|name| !wanted.contains_key(*name)) {
        if seen.insert(name) {
            unset.push(name.to_vec());
        }
    }
    let set = entries.iter().filter(|entry| {
        let (name, value) = variable(entry);
        given.get(name) != Some(&value)
    });
    Some((unset, set.cloned().collect()))
}
