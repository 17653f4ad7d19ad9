//! compile_commands.json: what compilers were really executed, for clang's tools and those that read the same.

mod driver;
mod line;
mod merge;
mod place;
mod response;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::event::{Execution, TraceEvent};
use crate::source::responses;
use crate::text::json;
use crate::trace::{About, End, Sink};
use driver::Role;
use line::Line;
pub use merge::Before;
use place::Place;

/// Which files get an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Those that are there at the end: the probes of a configure script are not.
    Present,
    /// The same, unless none of them is: then it was recorded elsewhere.
    PresentIfAny,
}

/// Writes the entries at the end.
pub struct CompileCommands<W> {
    out: W,
    sources: Sources,
    before: Before,
    /// By pid: the exec of what the living processes run.
    living: HashMap<u32, u64>,
    /// What those are.
    running: HashMap<u64, Running>,
    entries: Vec<Entry>,
    /// Which entry there is of a folder, a file, and what -o has named.
    known: HashMap<Key, usize>,
    told: u64,
    left_out: LeftOut,
    /// There is nothing to be written, and something that is better.
    kept: bool,
}

type Key = (Vec<u8>, PathBuf, Option<Vec<u8>>);

/// A program that runs.
struct Running {
    /// It, or one above it, is a compiler's driver: what it executes is that one's doing.
    below: bool,
    /// What may turn out to be a driver, as its children are compilers proper.
    perhaps: Option<Box<Execution>>,
}

/// An entry, in bytes.
struct Entry {
    directory: Vec<u8>,
    file: PathBuf,
    arguments: Vec<Vec<u8>>,
    output: Option<PathBuf>,
    /// The source or the folder is in another mount namespace, and nowhere in ours.
    elsewhere: bool,
}

/// How many compilations have no entry.
#[derive(Debug, Default)]
struct LeftOut {
    gone: usize,
    elsewhere: usize,
    not_text: usize,
    not_read: usize,
    /// One of the first two.
    example: Option<PathBuf>,
}

/// One of those in the file.
#[derive(Serialize)]
#[serde(untagged)]
enum InFile<'a> {
    Kept(&'a Value),
    New(Written<'a>),
}

/// The same as it is written; JSON has no bytes.
#[derive(Serialize)]
struct Written<'a> {
    directory: &'a str,
    file: &'a str,
    arguments: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

impl<W: Write> CompileCommands<W> {
    pub fn new(out: W, sources: Sources, before: Before) -> CompileCommands<W> {
        CompileCommands {
            out,
            sources,
            before,
            living: HashMap::new(),
            running: HashMap::new(),
            entries: Vec::new(),
            known: HashMap::new(),
            told: 0,
            left_out: LeftOut::default(),
            kept: false,
        }
    }

    fn executed(&mut self, execution: &Execution) {
        let record = &execution.record;
        let Some(argv) = record.argv.value.as_ref().map(|argv| &argv.strings) else { return };
        if record.result != 0 {
            return;
        }
        let above = execution.parent.and_then(|parent| self.running.get_mut(&parent.id()));
        let mut below = above.as_ref().is_some_and(|above| above.below);
        let mut perhaps = None;
        let mut compiles = None;
        match driver::role(record) {
            _ if below => {}
            Role::Driver(skip) => {
                below = true;
                compiles = Some((execution.clone(), skip));
            }
            Role::Proper => {
                below = true;
                if let Some(above) = above
                    && let Some(execution) = above.perhaps.take()
                {
                    above.below = true;
                    compiles = Some((*execution, 0));
                }
            }
            Role::Unknown if line::has_sources(argv) => {
                perhaps = Some(Box::new(without_rest(execution)));
            }
            Role::Unknown | Role::Other => {}
        }
        if let Some((execution, skip)) = compiles {
            self.compiles(&execution, skip);
        }
        self.over(record.pid);
        self.living.insert(record.pid, record.id);
        self.running.insert(record.id, Running { below, perhaps });
    }

    /// The program of a process is no more.
    fn over(&mut self, pid: u32) {
        if let Some(exec) = self.living.remove(&pid) {
            self.running.remove(&exec);
        }
    }

    /// A driver's command line, after so many words of a wrapper.
    fn compiles(&mut self, execution: &Execution, skip: usize) {
        let record = &execution.record;
        let argv = record.argv.value.as_ref().filter(|argv| argv.unread.is_empty());
        let (Some(argv), Some(cwd)) = (argv, &record.cwd.value) else {
            self.left_out.not_read += 1;
            return;
        };
        let place = Place::of(path(cwd), execution.view.as_deref());
        let directory = &place.directory;
        // Those that were not kept are read where they are.
        let (mut words, _) = responses::expanded(argv.strings.iter().skip(skip), &record.responses);
        let Some(first) = words.first_mut() else { return };
        if skip == 0
            && let Some(program) = driver::program(record)
        {
            *first = program;
        }
        let line = Line::parse(words, directory, record.env.value.as_ref().map(|env| &env.strings));
        for source in &line.sources {
            let (file, is_here) = place.file(&source.name);
            let entry = Entry {
                directory: directory.as_os_str().as_bytes().to_vec(),
                file,
                arguments: place.words(line.arguments(source)),
                output: line.output.as_deref().map(|output| place.file(output).0),
                elsewhere: !is_here || !place.is_here,
            };
            let key = (entry.directory.clone(), entry.file.clone(), line.named.clone());
            // What was compiled again is what is there now.
            match self.known.get(&key) {
                Some(&at) => self.entries[at] = entry,
                None => {
                    self.known.insert(key, self.entries.len());
                    self.entries.push(entry);
                }
            }
        }
    }

    /// The entries that can be written, and whose files are there; and what becomes of the others.
    fn written(&self) -> (Vec<Written<'_>>, LeftOut) {
        let present: Vec<bool> = self.entries.iter().map(|entry| entry.file.exists()).collect();
        let all = self.sources == Sources::PresentIfAny && !present.contains(&true);
        let mut left_out = LeftOut { not_read: self.left_out.not_read, ..LeftOut::default() };
        let mut written = Vec::new();
        for (entry, present) in self.entries.iter().zip(present) {
            match entry.written() {
                _ if entry.elsewhere => left_out.elsewhere += 1,
                _ if !all && !present => left_out.gone += 1,
                None => left_out.not_text += 1,
                Some(entry) => {
                    written.push(entry);
                    continue;
                }
            }
            left_out.example.get_or_insert_with(|| entry.file.clone());
        }
        (written, left_out)
    }
}

impl<W> CompileCommands<W> {
    /// The file, with what remains of the one before.
    fn merged(&self, new: Vec<Written<'_>>) -> io::Result<Vec<u8>> {
        let replaced = new.iter().map(Written::key).collect();
        let kept = self.before.remaining(&replaced).map(InFile::Kept);
        let all: Vec<InFile> = kept.chain(new.into_iter().map(InFile::New)).collect();
        let mut text = json::pretty(&all)?;
        text.push(b'\n');
        Ok(text)
    }
}

impl LeftOut {
    /// Why they have none.
    fn remark(&self) -> Option<String> {
        let reasons = [
            (self.gone, "with a source that is gone"),
            (self.elsewhere, "in another mount namespace, in folders that are not here"),
            (self.not_text, "with words that are not UTF-8, which JSON does not have"),
            (self.not_read, "whose words or folder could not be read"),
        ];
        let all: usize = reasons.iter().map(|(count, _)| count).sum();
        let reasons = reasons.iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<_> = reasons.map(|(count, why)| format!("{count} {why}")).collect();
        let example = self.example.as_ref().map(|file| {
            format!(" (the first is {})", crate::text::escape::word(file.as_os_str().as_bytes()))
        });
        let compilations = if all == 1 { "compilation" } else { "compilations" };
        (all > 0).then(|| {
            let example = example.unwrap_or_default();
            format!("{all} {compilations} left out: {}{example}", reasons.join(", "))
        })
    }
}

/// What an entry is made of.
fn without_rest(execution: &Execution) -> Execution {
    let mut kept = execution.clone();
    kept.record.fds = Default::default();
    kept.record.ids = Default::default();
    kept
}

impl Written<'_> {
    fn key(&self) -> merge::Key {
        (self.directory.into(), self.file.into(), self.output.map(PathBuf::from))
    }
}

impl Entry {
    fn written(&self) -> Option<Written<'_>> {
        let output = match &self.output {
            Some(output) => Some(output.to_str()?),
            None => None,
        };
        Some(Written {
            directory: std::str::from_utf8(&self.directory).ok()?,
            file: self.file.to_str()?,
            arguments: self
                .arguments
                .iter()
                .map(|word| std::str::from_utf8(word).ok())
                .collect::<Option<_>>()?,
            output,
        })
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A path as seen from a folder, which the kernel names without links, so that one can go up in it.
fn absolute(directory: &Path, file: &[u8]) -> PathBuf {
    let mut whole = directory.to_owned();
    let mut leads_up = true;
    let components = path(file).components();
    for component in components.filter(|component| *component != Component::CurDir) {
        leads_up &= component == Component::ParentDir;
        if !leads_up || !whole.pop() {
            whole.push(component);
        }
    }
    whole
}

impl<W: Write> Sink for CompileCommands<W> {
    fn begin(&mut self, _: &About) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        self.told += 1;
        match event {
            TraceEvent::Begun(_) => {}
            TraceEvent::Exec(execution) => self.executed(execution),
            TraceEvent::Ended(ended) => self.over(ended.pid),
        }
        Ok(())
    }

    fn finish(&mut self, _: &End) -> io::Result<()> {
        let (text, left_out) = {
            let (new, left_out) = self.written();
            match new.is_empty() && self.before.there {
                true => (None, left_out),
                false => (Some(self.merged(new)?), left_out),
            }
        };
        (self.left_out, self.kept) = (left_out, text.is_none());
        if let Some(text) = text {
            self.out.write_all(&text)?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn unwritten(&self) -> u64 {
        self.told
    }

    fn remark(&self) -> Option<String> {
        let kept = if self.kept { "; the file is left as it was" } else { "" };
        if self.entries.is_empty() && self.left_out.not_read == 0 {
            return Some(format!(
                "no compilation was executed{kept}; where all is up to date, `make -B` compiles it again"
            ));
        }
        self.left_out.remark().map(|remark| remark + kept)
    }
}
