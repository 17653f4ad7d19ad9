//! What is compared: an exec without what differs from run to run.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use tracexec::event::{ExecRecord, Faults, Part, Vector};

/// An exec. A string that could not be read is `None`, and so is what no string of came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exec {
    pub result: i32,
    pub filename: Option<Vec<u8>>,
    pub argv: Option<Vec<Option<Vec<u8>>>>,
    pub env: Option<Vec<Option<Vec<u8>>>>,
    /// Which of the file name, argv and the environment are marked as cut.
    pub cut: [bool; 3],
}

/// As much of a file name is recorded, and of a string: the longest that the kernel takes.
pub const LONGEST_NAME: usize = 4095;
const LONGEST_STRING: usize = 32 * 4096 - 1;
/// What of argv or the environment goes past it is left out.
const MOST_BYTES: usize = 8 << 20;

/// What stands for the name that a script was called by, which the kernel forgets: who does not see the call does
/// not know it.
const FORGOTTEN: &[u8] = b"(forgotten)";

/// gcc's temporary files, in the command lines of its parts.
fn without_chance(text: &[u8]) -> Vec<u8> {
    // What is so long need not be handed on whole to be compared.
    if text.len() > 50_000 {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let start = String::from_utf8_lossy(&text[..20]);
        return format!("{start}... {} bytes, {:x}", text.len(), hasher.finish()).into_bytes();
    }
    static NAMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"/cc[A-Za-z0-9]{6}\b").unwrap());
    NAMES.replace_all(text, &b"/ccXXXXXX"[..]).into_owned()
}

fn strings(part: &Part<Vector>) -> Option<Vec<Option<Vec<u8>>>> {
    let vector = part.value.as_ref()?;
    // Where the pointers themselves could not be read, nothing is known of what follows.
    if part.faults.contains(Faults::POINTER_UNREADABLE) {
        return None;
    }
    let known = |(at, text): (usize, &[u8])| (!vector.unread.contains(&at)).then(|| text.to_vec());
    Some(vector.strings.iter().enumerate().map(known).collect())
}

impl Exec {
    /// As it was passed, as far as that is known.
    pub fn of(record: &ExecRecord) -> Exec {
        let parts = [record.filename.faults, record.argv.faults, record.env.faults];
        let exec = Exec {
            result: record.result,
            filename: record.filename.value.clone(),
            argv: strings(&record.argv),
            env: strings(&record.env),
            cut: parts.map(|faults| faults.contains(Faults::POSSIBLE_TRUNCATION)),
        }
        .normal();
        let called = exec.clone().called(record.interpreters.value.as_deref().unwrap_or_default());
        match &record.passed.value {
            Some(_) => {
                let passed = Exec { argv: strings(&record.passed), ..exec }.normal();
                assert_eq!(passed.clone().forget_name(), called);
                passed
            }
            None => called,
        }
    }

    /// What a record of it holds, where all of it is known.
    pub fn cut(mut self) -> Exec {
        let [name_is_cut, cuts @ ..] = &mut self.cut;
        if let Some(name) = self.filename.as_mut().filter(|name| name.len() > LONGEST_NAME) {
            name.truncate(LONGEST_NAME);
            *name_is_cut = true;
        }
        for (strings, is_cut) in [&mut self.argv, &mut self.env].into_iter().zip(cuts) {
            let Some(strings) = strings else { continue };
            let mut bytes = 0;
            let kept = strings.iter_mut().take_while(|text| {
                let is_in = bytes <= MOST_BYTES;
                bytes += text.as_ref().map_or(0, |text| text.len().min(LONGEST_STRING)) + 1;
                is_in
            });
            let kept = kept.map(|text| {
                if let Some(text) = text.as_mut().filter(|text| text.len() > LONGEST_STRING) {
                    text.truncate(LONGEST_STRING);
                    *is_cut = true;
                }
            });
            let kept = kept.count();
            *is_cut |= kept < strings.len();
            strings.truncate(kept);
        }
        self
    }

    pub fn normal(mut self) -> Exec {
        for strings in [&mut self.argv, &mut self.env].into_iter().flatten() {
            for text in strings.iter_mut().flatten() {
                *text = without_chance(text);
            }
        }
        // Nothing at all becomes an empty name, since Linux 5.18.
        if self.result == 0 && self.argv.as_ref().is_none_or(Vec::is_empty) {
            self.argv = Some(vec![Some(Vec::new())]);
        }
        self
    }

    /// As it was called, where the kernel has put `interpreters` before a script.
    fn called(mut self, interpreters: &[Vec<u8>]) -> Exec {
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
    /// The file names of scripts.
    pub scripts: HashSet<Vec<u8>>,
}

impl Run {
    /// What who sees no calls sees of it.
    pub fn successes(&self) -> Vec<Exec> {
        let is_script =
            |exec: &Exec| exec.filename.as_ref().is_some_and(|name| self.scripts.contains(name));
        let seen = |exec: Exec| if is_script(&exec) { exec.forget_name() } else { exec };
        self.execs.iter().filter(|exec| exec.result == 0).cloned().map(seen).collect()
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
        Some(text) => {
            let start = String::from_utf8_lossy(&text[..text.len().min(200)]);
            format!("{start:?} ({} bytes)", text.len())
        }
        None => "?".into(),
    };
    let all = |list: &Option<Vec<Option<Vec<u8>>>>, most: usize| match list {
        Some(list) => list.iter().take(most).map(text).collect::<Vec<_>>().join(" "),
        None => "?".into(),
    };
    let env = exec.env.as_ref().map_or(0, Vec::len);
    let (argv, vars) = (all(&exec.argv, 12), all(&exec.env, 60));
    let name = text(&exec.filename);
    format!("{} {name} = {argv}; {env} variables: {vars:.1500}; cut: {:?}", exec.result, exec.cut)
}
