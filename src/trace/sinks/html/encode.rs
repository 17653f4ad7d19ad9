//! The events as the page reads them: lines of JSON, deflated on their way into the page.
//!
//! A line is one of
//!
//! - `"text"`: the next entry of the table of strings. A byte that is not of a UTF-8 character is the lone
//!   surrogate U+DC00 + byte, as in Python's surrogateescape, which JavaScript keeps apart.
//! - `[0, ...]`: the next entry of the table of lists.
//! - `[1, ...]`, `[2, ...]`, `[3, ...]`: an exec, a process that was made, one that has ended.
//! - `[8, ...]`, `[9, ...]`: what is traced, the first line but for strings and lists; how it ended, the last.
//!
//! Strings and lists stand before what names them by their numbers; -1 is what is not known. Times are
//! microseconds since the beginning. `page/data.js` has the names of the places.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

use crate::event::moment::signals;
use crate::event::{
    Begun, Ended, ExecRecord, Execution, Faults, FdRecord, ParentEvent, Part, Reading, Strings,
    TraceEvent, Vector, variable,
};
use crate::trace::sinks::cmdline::{Redirect, command_line};
use crate::trace::sinks::words;
use crate::trace::{About, Baseline, End};

use crate::trace::sinks::html::table::Table;
use crate::trace::sinks::html::table::json_string;

/// Makes lines of events.
pub struct Encoder {
    /// Lines that are to be written.
    lines: Vec<u8>,
    strings: Table<Vec<u8>>,
    lists: Table<Vec<i64>>,
    baseline: Baseline,
    /// The environment that COMMAND was given: the entry by its variable.
    given: HashMap<Vec<u8>, Vec<u8>>,
    /// When it began, in nanoseconds since boot.
    begin: u64,
}

/// What is not known.
const NONE: i64 = -1;

impl Encoder {
    pub fn new(about: &About) -> Encoder {
        let entries = about.baseline.env.iter();
        let mut encoder = Encoder {
            lines: Vec::new(),
            strings: Table::new(),
            lists: Table::new(),
            baseline: about.baseline.clone(),
            given: entries.map(|entry| (variable(entry).0.to_vec(), entry.to_vec())).collect(),
            begin: about.boot,
        };
        encoder.about(about);
        encoder
    }

    /// The lines so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    fn about(&mut self, about: &About) {
        let command = about.command.iter().map(Vec::as_slice);
        let wall = about.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let record = [
            8,
            self.strings_of(command),
            self.string(about.version.as_bytes()),
            self.string(about.source.as_bytes()),
            self.string(&about.host),
            wall as i64,
            self.strings_of(about.baseline.env.iter()),
            self.string(&about.baseline.cwd),
            self.descriptors(&about.baseline.fds),
        ];
        self.line(&record);
    }

    pub fn event(&mut self, event: &TraceEvent) {
        match event {
            TraceEvent::Begun(Begun { pid, parent, time }) => {
                let record = [2, (*pid).into(), (*parent).into(), self.time(*time)];
                self.line(&record);
            }
            TraceEvent::Exec(execution) => self.exec(execution),
            TraceEvent::Ended(ended) => self.ended(ended),
        }
    }

    pub fn end(&mut self, end: &End) {
        let signal = self.signal(end.status.unwrap_or_default());
        let record = [
            9,
            end.status.map_or(NONE, i64::from),
            signal,
            self.time(end.time),
            end.totals.events as i64,
            end.totals.processes as i64,
        ];
        self.line(&record);
    }

    fn ended(&mut self, ended: &Ended) {
        let usage = ended.usage.map(|usage| {
            [
                usage.user.as_micros() as i64,
                usage.system.as_micros() as i64,
                usage.peak_memory as i64,
            ]
        });
        let [user, system, memory] = usage.unwrap_or([NONE; 3]);
        let record = [
            3,
            ended.pid.into(),
            self.time(ended.time),
            ended.status.into(),
            self.signal(ended.status),
            user,
            system,
            memory,
        ];
        self.line(&record);
    }

    fn exec(&mut self, Execution { record, parent, .. }: &Execution) {
        let (became, parent) = match parent {
            None => (0, NONE),
            Some(ParentEvent::Becomes(id)) => (1, self.id(*id)),
            Some(ParentEvent::Spawned(id)) => (2, self.id(*id)),
        };
        let error = match (record.result, words::errno_and_words(record.result)) {
            (0, _) => NONE,
            (_, Some((name, words))) => self.string(format!("{name} {words}").as_bytes()),
            (result, None) => self.string(format!("error {result}").as_bytes()),
        };
        let (at, flags) = record
            .call
            .map_or((NONE, NONE), |call| (call.at.map_or(NONE, i64::from), call.flags.into()));
        let (added, removed) = self.environment(&record.env);
        let (line, lacking) = self.command_line(record);
        let fields = [
            1,
            self.id(record.id),
            became,
            parent,
            record.pid.into(),
            record.tid.into(),
            known(record.parent),
            known(record.depth),
            self.time(record.time),
            self.time(record.began),
            record.result.into(),
            error,
            at,
            flags,
            record.compat.into(),
            record.uid.into(),
            record.gid.into(),
            self.ids(record),
            self.part(&record.comm),
            self.part(&record.prev_comm),
            self.part(&record.filename),
            self.argv(&record.argv),
            added,
            removed,
            self.part(&record.cwd),
            self.part(&record.exe),
            self.interpreters(&record.interpreters),
            self.part(&record.cgroup),
            record.fds.value.as_deref().map_or(NONE, |fds| self.descriptors(fds)),
            known(record.pid_namespace),
            known(record.mount_namespace),
            self.faults(record),
            line,
            lacking,
        ];
        self.line(&fields);
    }

    /// Ids are larger than the whole numbers of JavaScript.
    fn id(&mut self, id: u64) -> i64 {
        self.string(format!("{id:x}").as_bytes())
    }

    /// What can be pasted into a shell to run it again, and what it then lacks.
    fn command_line(&mut self, record: &ExecRecord) -> (i64, i64) {
        let line = command_line(record, Some(&self.baseline), Redirect::None);
        let lacking = line.lacking.iter().map(String::as_bytes);
        let lacking = if line.lacking.is_empty() { NONE } else { self.strings_of(lacking) };
        (self.string(line.text.as_bytes()), lacking)
    }

    fn part(&mut self, part: &Part<Vec<u8>>) -> i64 {
        part.value.as_deref().map_or(NONE, |value| self.string(value))
    }

    fn argv(&mut self, part: &Part<Vector>) -> i64 {
        let Some(vector) = &part.value else { return NONE };
        let mut list: Vec<i64> = vector.strings.iter().map(|string| self.string(string)).collect();
        for &at in &vector.unread {
            if let Some(place) = list.get_mut(at) {
                *place = NONE;
            }
        }
        self.list(list)
    }

    fn interpreters(&mut self, part: &Part<Vec<Vec<u8>>>) -> i64 {
        let Some(chain) = &part.value else { return NONE };
        self.strings_of(chain.iter().map(Vec::as_slice))
    }

    /// The entries that COMMAND was not given, and the variables that it was given and that are no more.
    fn environment(&mut self, part: &Part<Vector>) -> (i64, i64) {
        let Some(vector) = &part.value else { return (NONE, NONE) };
        let (added, removed) = self.difference(&vector.strings, &vector.unread);
        let mut added: Vec<i64> = added.iter().map(|entry| self.string(entry)).collect();
        added.extend(vector.unread.iter().map(|_| NONE));
        let mut removed: Vec<i64> = removed.iter().map(|name| self.string(name)).collect();
        removed.sort_unstable();
        (self.list(added), self.list(removed))
    }

    fn difference<'a>(&self, env: &'a Strings, unread: &[usize]) -> (Vec<&'a [u8]>, Vec<Vec<u8>>) {
        let mut added = Vec::new();
        let mut kept = 0;
        let mut names = std::collections::HashSet::new();
        for (at, entry) in env.iter().enumerate() {
            if unread.contains(&at) {
                continue;
            }
            let name = variable(entry).0;
            let given = self.given.get(name);
            let first = names.insert(name);
            kept += usize::from(first && given.is_some());
            if given.is_none_or(|given| given != entry) || !first {
                added.push(entry);
            }
        }
        if kept == self.given.len() {
            return (added, Vec::new());
        }
        let gone = self.given.keys().filter(|name| !names.contains(name.as_slice()));
        (added, gone.cloned().collect())
    }

    fn ids(&mut self, record: &ExecRecord) -> i64 {
        let Some(ids) = &record.ids.value else { return NONE };
        let all = ids.uids.iter().chain(&ids.gids).chain(&ids.groups);
        self.list(all.map(|&id| id.into()).collect())
    }

    fn descriptors(&mut self, fds: &[FdRecord]) -> i64 {
        let list = fds.iter().map(|fd| {
            let fields = vec![
                fd.fd.number.into(),
                self.string(&fd.fd.target),
                self.string(fd.fd.kind.name().as_bytes()),
                fd.flags.into(),
                fd.close_on_exec.into(),
                fd.position,
                fd.mount_id.into(),
                self.string(fd.inode.to_string().as_bytes()),
                self.string(&fd.file_system),
                self.words("", fd.faults),
            ];
            self.list(fields)
        });
        let list = list.collect();
        self.list(list)
    }

    /// All that is not as it should be, in words, each with the part in which it is.
    fn faults(&mut self, record: &ExecRecord) -> i64 {
        // Of the whole, no part is named.
        let name = |part| if part == ExecRecord::WHOLE { "" } else { part };
        let faulty = record.faulty_parts();
        let lists: Vec<i64> = faulty.map(|(part, faults)| self.words(name(part), faults)).collect();
        if lists.is_empty() { NONE } else { self.list(lists) }
    }

    /// A part's name and what is wrong with it.
    fn words(&mut self, part: &str, faults: Faults) -> i64 {
        if faults.is_empty() {
            return NONE;
        }
        let words: Vec<&str> = faults.words().collect();
        self.string(format!("{part}:{}", words.join(", ")).as_bytes())
    }

    /// The name of the signal in a status of wait(2).
    fn signal(&mut self, status: i32) -> i64 {
        if libc::WIFSIGNALED(status) {
            self.string(signals::name(libc::WTERMSIG(status)).as_bytes())
        } else {
            NONE
        }
    }

    /// Microseconds since the beginning; what was before it is negative.
    fn time(&self, time: u64) -> i64 {
        (time as i64 - self.begin as i64) / 1000
    }

    fn strings_of<'a>(&mut self, strings: impl Iterator<Item = &'a [u8]>) -> i64 {
        let list = strings.map(|string| self.string(string)).collect();
        self.list(list)
    }

    fn string(&mut self, string: &[u8]) -> i64 {
        if let Some(&number) = self.strings.known.get(string) {
            return number;
        }
        json_string(string, &mut self.lines);
        self.lines.push(b'\n');
        self.strings.add(string.to_vec(), string.len())
    }

    fn list(&mut self, list: Vec<i64>) -> i64 {
        if let Some(&number) = self.lists.known.get(&list) {
            return number;
        }
        let mut line = vec![0];
        line.extend_from_slice(&list);
        self.line(&line);
        self.lists.add(list, line.len() * size_of::<i64>())
    }

    fn line(&mut self, numbers: &[i64]) {
        let mut line = String::from("[");
        for (at, number) in numbers.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(line, "{comma}{number}");
        }
        self.lines.extend_from_slice(line.as_bytes());
        self.lines.extend_from_slice(b"]\n");
    }
}

fn known(reading: Reading<u32>) -> i64 {
    reading.known().map_or(NONE, i64::from)
}
