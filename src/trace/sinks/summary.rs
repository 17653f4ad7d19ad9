//! What a recording comes to, for people.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::event::moment::signals;
use crate::event::{ExecRecord, Execution, TraceEvent};
use crate::text::escape;
use crate::trace::sinks::clock::Clock;
use crate::trace::sinks::words;
use crate::trace::{About, End, Sink};

/// How many of the slowest and the most frequent are shown.
const SHOWN: usize = 10;
/// How much of a command line is shown, in characters.
const LINE: usize = 100;

/// Counts, and says it at the end.
pub struct Summary<W> {
    out: W,
    about: Option<About>,
    execs: u64,
    processes: u64,
    /// By what is 0 or a negative errno.
    failures: HashMap<i32, u64>,
    /// By pid: the program that runs in it, since when, and its command line.
    running: HashMap<u32, Running>,
    /// By name: how often, and for how long together.
    programs: HashMap<Vec<u8>, (u64, u64)>,
    /// The longest first.
    slowest: Vec<(u64, String)>,
    last: u64,
}

struct Running {
    since: u64,
    program: Vec<u8>,
    line: String,
}

impl Running {
    fn new(record: &ExecRecord) -> Running {
        let argv = record.argv.value.as_ref();
        let line = argv.map_or_else(String::new, |argv| escape::command_line(&argv.strings, LINE));
        Running { since: record.time, program: record.program().unwrap_or_default().to_vec(), line }
    }
}

impl<W: Write> Summary<W> {
    pub fn new(out: W) -> Summary<W> {
        Summary {
            out,
            about: None,
            execs: 0,
            processes: 0,
            failures: HashMap::new(),
            running: HashMap::new(),
            programs: HashMap::new(),
            slowest: Vec::new(),
            last: 0,
        }
    }

    fn executed(&mut self, execution: &Execution) {
        let record = &execution.record;
        self.execs += 1;
        self.last = self.last.max(record.time);
        if record.result != 0 {
            *self.failures.entry(record.result).or_default() += 1;
            return;
        }
        match self.running.insert(record.pid, Running::new(record)) {
            Some(before) => self.over(before, record.time),
            None => self.processes += 1,
        }
    }

    fn over(&mut self, running: Running, time: u64) {
        let duration = time.saturating_sub(running.since);
        let (count, sum) = self.programs.entry(running.program).or_default();
        *count += 1;
        *sum += duration;
        let at = self.slowest.partition_point(|(other, _)| *other >= duration);
        if at < SHOWN {
            self.slowest.insert(at, (duration, running.line));
            self.slowest.truncate(SHOWN);
        }
    }

    fn text(&self, end: &End) -> String {
        let mut text = String::new();
        if let Some(about) = &self.about {
            head(&mut text, about, end);
        }
        let failed: u64 = self.failures.values().sum();
        let _ = writeln!(
            text,
            "{} execs, {failed} of them failed; {} processes that executed something",
            self.execs, self.processes
        );
        self.failures(&mut text);
        if !self.slowest.is_empty() {
            text.push_str("\nthe slowest, from the exec to the end\n");
        }
        for (duration, line) in &self.slowest {
            let _ = writeln!(text, "{:>12}  {line}", seconds(*duration));
        }
        let mut frequent: Vec<_> = self.programs.iter().collect();
        frequent.sort_by(|(a, (m, _)), (b, (n, _))| n.cmp(m).then(a.cmp(b)));
        if !frequent.is_empty() {
            text.push_str("\nthe most frequent, and their time together\n");
        }
        for (program, (count, sum)) in frequent.into_iter().take(SHOWN) {
            let shown = escape::text(program);
            let _ = writeln!(text, "{count:>7} {:>12}  {shown}", seconds(*sum));
        }
        if end.totals.events + end.totals.processes > 0 {
            let lost = end.totals;
            let _ = writeln!(
                text,
                "\nlost: {} events; {} processes could not be followed",
                lost.events, lost.processes
            );
        }
        text
    }

    fn failures(&self, text: &mut String) {
        let mut failures: Vec<_> = self.failures.iter().collect();
        failures.sort_by_key(|(result, count)| (u64::MAX - **count, -**result));
        for (result, count) in failures {
            let _ = match words::errno_and_words(*result) {
                Some((name, meaning)) => writeln!(text, "{count:>7}  {name}: {meaning}"),
                None => writeln!(text, "{count:>7}  error {result}"),
            };
        }
    }
}

/// What was run, where, when, for how long.
fn head(text: &mut String, about: &About, end: &End) {
    let argv = about.command.iter().collect();
    let command = escape::command_line(&argv, LINE);
    let command = if command.is_empty() { "the whole machine".into() } else { command };
    let how = match end.status {
        None => String::new(),
        Some(status) if libc::WIFSIGNALED(status) => {
            format!("; ended by {}", signals::name(libc::WTERMSIG(status)))
        }
        Some(status) => format!("; exit status {}", libc::WEXITSTATUS(status)),
    };
    let _ = writeln!(text, "{command}{how}");
    let _ = writeln!(
        text,
        "on {}, {}, for {}, over {}",
        escape::text(&about.host),
        Clock::of(about).at(about.boot).get(..19).unwrap_or_default().replace('T', " ") + " UTC",
        seconds(end.time.saturating_sub(about.boot)),
        escape::text(about.source.as_bytes())
    );
}

fn seconds(nanoseconds: u64) -> String {
    format!("{:.3} s", Duration::from_nanos(nanoseconds).as_secs_f64())
}

impl<W: Write> Sink for Summary<W> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.about = Some(about.clone());
        Ok(())
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        match event {
            TraceEvent::Begun(begun) => self.last = self.last.max(begun.time),
            TraceEvent::Exec(execution) => self.executed(execution),
            TraceEvent::Ended(ended) => {
                self.last = self.last.max(ended.time);
                if let Some(running) = self.running.remove(&ended.pid) {
                    self.over(running, ended.time);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, end: &End) -> io::Result<()> {
        let time = if end.time == 0 { self.last } else { end.time };
        for (_, running) in std::mem::take(&mut self.running) {
            self.over(running, time);
        }
        let text = self.text(&End { time, ..*end });
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
