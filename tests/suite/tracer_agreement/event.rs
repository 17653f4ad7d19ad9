//! What is compared: an exec without what differs from run to run.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use tracexec::event::{ExecRecord, Part, Vector};

/// An exec. A string that could not be read is `None`, and so is what no string of came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exec {
    pub result: i32,
    pub filename: Option<Vec<u8>>,
    pub argv: Option<Vec<Option<Vec<u8>>>>,
    pub env: Option<Vec<Option<Vec<u8>>>>,
}

/// As much of a file name is compared.
pub const LONGEST_NAME: usize = 4000;

/// What stands for the name that a script was called by, which the kernel forgets.
const FORGOTTEN: &[u8] = b"(forgotten)";

/// gcc's temporary files, in the command lines of its parts.
fn without_chance(text: &[u8]) -> Vec<u8> {
    static NAMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"/cc[A-Za-z0-9]{6}\b").unwrap());
    NAMES.replace_all(text, &b"/ccXXXXXX"[..]).into_owned()
}

fn strings(part: &Part<Vector>) -> Option<Vec<Option<Vec<u8>>>> {
    let vector = part.value.as_ref()?;
    // Where the pointers themselves could not be read, nothing is known of what follows.
    if part.faults.contains(tracexec::event::Faults::POINTER_UNREADABLE) {
        return None;
    }
    let known = |(at, text): (usize, &[u8])| (!vector.unread.contains(&at)).then(|| text.to_vec());
    Some(vector.strings.iter().enumerate().map(known).collect())
}

impl Exec {
    pub fn of(record: &ExecRecord) -> Exec {
        Exec {
            result: record.result,
            filename: record.filename.value.clone(),
            argv: strings(&record.argv),
            env: strings(&record.env),
        }
        .normal()
    }

    pub fn normal(mut self) -> Exec {
        for strings in [&mut self.argv, &mut self.env].into_iter().flatten() {
            for text in strings.iter_mut().flatten() {
                *text = without_chance(text);
            }
        }
        if let Some(name) = &mut self.filename {
            name.truncate(LONGEST_NAME);
        }
        // Nothing at all becomes an empty name, since Linux 5.18.
        if self.result == 0 && self.argv.as_ref().is_none_or(Vec::is_empty) {
            self.argv = Some(vec![Some(Vec::new())]);
        }
        self
    }

    /// As it was called, where the kernel has put `interpreters` before a script.
    pub fn called(mut self, interpreters: &[Vec<u8>]) -> Exec {
        if self.result != 0 || interpreters.is_empty() {
            return self;
        }
        let argv = self.argv.take().unwrap();
        assert_eq!(argv[0].as_ref(), interpreters.last());
        // Each of them may have brought one word more.
        let script = (interpreters.len()..=2 * interpreters.len())
            .find(|&at| argv[at] == self.filename)
            .expect("the script's name among the first words");
        self.argv = Some(argv[script..].to_vec());
        self.forget_name()
    }

    pub fn forget_name(mut self) -> Exec {
        if let Some(first) = self.argv.as_mut().and_then(|argv| argv.first_mut()) {
            *first = Some(FORGOTTEN.to_vec());
        }
        self
    }

    fn is_script(&self) -> bool {
        self.argv.as_ref().is_some_and(|argv| argv.first() == Some(&Some(FORGOTTEN.to_vec())))
    }
}

/// What a run was, told by one who watched.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub execs: Vec<Exec>,
    /// How many processes began, and the wait statuses of those that ended.
    pub begun: usize,
    pub ended: Vec<i32>,
    /// COMMAND's wait status.
    pub status: i32,
}

impl Run {
    /// The file names of scripts.
    pub fn scripts(&self) -> HashSet<Vec<u8>> {
        let scripts = self.execs.iter().filter(|exec| exec.is_script());
        scripts.filter_map(|exec| exec.filename.clone()).collect()
    }

    pub fn successes(&self) -> Vec<Exec> {
        self.execs.iter().filter(|exec| exec.result == 0).cloned().collect()
    }
}

/// Fails, and shows what is too much on either side, unless both hold the same in whatever order.
#[track_caller]
pub fn assert_same(what: &str, ours: &[Exec], theirs: &[Exec]) {
    let mut count: BTreeMap<&Exec, i64> = BTreeMap::new();
    ours.iter().for_each(|exec| *count.entry(exec).or_default() += 1);
    theirs.iter().for_each(|exec| *count.entry(exec).or_default() -= 1);
    let show = |sign: i64| {
        let some = count.iter().filter(|(_, n)| **n * sign > 0).take(5);
        some.map(|(exec, n)| format!("  {n} x {}\n", shown(exec))).collect::<String>()
    };
    assert!(
        count.values().all(|&n| n == 0),
        "{what}: {} against {}\nonly ours:\n{}only theirs:\n{}",
        ours.len(),
        theirs.len(),
        show(1),
        show(-1)
    );
}

fn shown(exec: &Exec) -> String {
    let text = |text: &Option<Vec<u8>>| match text {
        Some(text) => format!("{:.200?}", String::from_utf8_lossy(text)),
        None => "?".into(),
    };
    let all = |list: &Option<Vec<Option<Vec<u8>>>>, most: usize| match list {
        Some(list) => list.iter().take(most).map(text).collect::<Vec<_>>().join(" "),
        None => "?".into(),
    };
    let env = exec.env.as_ref().map_or(0, Vec::len);
    let (argv, vars) = (all(&exec.argv, 12), all(&exec.env, 60));
    format!("{} {} = {argv}; {env} variables: {vars:.1500}", exec.result, text(&exec.filename))
}
