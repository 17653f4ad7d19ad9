//! A line for each exec, as it happens, for people.

mod changes;
pub mod clock;
mod line;
mod output;
mod paint;

use std::io;

use crate::cli::log::{Amount, Kind, Shown};
use crate::event::{Begun, ExecRecord, Execution, TraceEvent, Wanted};
use crate::linux::outlet::Outlet;
use crate::linux::sys::Pid;
use crate::text::escape;
use crate::trace::sinks::journald::{Entry, Journal};
use crate::trace::sinks::words;
use crate::trace::{About, End, Lost, Sink};
use changes::Baselines;
use clock::Clock;
pub use output::Output;
use paint::Hue;
pub use paint::Paint;

/// The sink of `log`.
pub struct Log {
    shown: Shown,
    paint: Paint,
    output: Output,
    /// Where it goes instead.
    journal: Option<Journal>,
    /// What is told when it begins.
    start: Option<Start>,
    command: Option<Pid>,
    counts: Counts,
    /// How many lines the journal has not taken.
    unsent: u64,
}

struct Start {
    clock: Clock,
    baselines: Baselines,
    about: About,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    execs: u64,
    failed: u64,
    processes: u64,
}

/// What has to be recorded for what is shown.
pub fn wanted(shown: &Shown) -> Wanted {
    let execs = shown.shows(Kind::Exec);
    let in_line = shown.cmdline && (shown.stdio_in_cmdline || shown.fd_in_cmdline);
    let fds = shown.fd != Amount::Nothing;
    Wanted {
        view: false,
        env: execs && (shown.env != Amount::Nothing || shown.cmdline),
        cwd: execs && (shown.cwd || shown.cmdline),
        exe: execs && shown.cmdline,
        own_exe: execs && shown.resolve_proc_self_exe,
        fds: execs && (fds || in_line),
        // A command line may name a program by a descriptor that the exec has closed.
        fd_details: execs && (in_line || (fds && (shown.cmdline || !shown.hide_cloexec_fds))),
        cgroup: false,
        owner: false,
        ids: false,
        prev_comm: execs && shown.comm,
        // What a script was given is not what runs it was given.
        interpreters: execs && (shown.interpreter || shown.cmdline),
        responses: execs && shown.cmdline,
        failures: execs,
        lives: shown.shows(Kind::NewChild),
    }
}

impl Log {
    pub fn new(shown: Shown, paint: Paint, output: Output) -> Log {
        let counts = Counts::default();
        Log { shown, paint, output, journal: None, start: None, command: None, counts, unsent: 0 }
    }

    /// Sends what would be a line to the journal, with fields.
    pub fn into_journal(self, journal: Journal) -> Log {
        Log { journal: Some(journal), ..self }
    }

    /// From here on nobody waits for who reads this, if it is no file.
    pub fn in_background(&mut self) -> io::Result<Option<Outlet>> {
        match &self.journal {
            Some(journal) => Ok(Some(journal.outlet().clone())),
            None => self.output.in_background(),
        }
    }

    /// A line of a kind, if that is shown; `record`: what it tells of.
    fn line(
        &mut self,
        kind: Kind,
        time: u64,
        record: Option<&ExecRecord>,
        write: impl FnOnce(&Shown, &Start, &mut line::Line),
    ) -> io::Result<()> {
        let Some(start) = self.start.as_ref().filter(|_| self.shown.shows(kind)) else {
            return Ok(());
        };
        let mut line = line::Line::new(self.paint);
        if self.shown.timestamp {
            line.part(Hue::Time, &escape::text(start.clock.show(time).as_bytes()));
            line.plain(" ");
        }
        write(&self.shown, start, &mut line);
        match &self.journal {
            Some(journal) => {
                let sent = journal.send(entry(kind, &line.text, record));
                self.unsent += u64::from(sent.is_err());
                sent
            }
            None => self.output.line(&line.text),
        }
    }

    fn exec(&mut self, execution: &Execution) -> io::Result<()> {
        let record = &execution.record;
        self.counts.execs += 1;
        self.counts.failed += u64::from(record.result < 0);
        self.line(Kind::Exec, record.time, Some(record), |shown, start, line| {
            line.exec(record, shown, &start.baselines, &start.about.baseline);
        })
    }

    fn begun(&mut self, begun: &Begun) -> io::Result<()> {
        self.counts.processes += 1;
        self.line(Kind::NewChild, begun.time, None, |_, _, line| {
            line.process(begun.parent, Hue::Good);
            line.plain(&format!(" has a new child {}", begun.pid));
        })
    }

    fn ended(&mut self, status: i32, time: u64) -> io::Result<()> {
        let Some(command) = self.command else { return Ok(()) };
        self.line(Kind::TraceeExit, time, None, |_, _, line| {
            let hue = if status == 0 { Hue::Good } else { Hue::Bad };
            line.process(command as u32, hue);
            line.plain(" COMMAND ");
            line.part(hue, &words::ended(status));
        })
    }

    fn told(&mut self, kind: Kind, time: u64, text: &str) -> io::Result<()> {
        self.line(kind, time, None, |_, _, line| {
            let (hue, label) = match kind {
                Kind::Warning => (Hue::Warning, "warning: "),
                _ => (Hue::Time, "info: "),
            };
            line.part(hue, label);
            line.plain(text);
        })
    }
}

/// What the journal is told.
fn entry(kind: Kind, text: &str, record: Option<&ExecRecord>) -> Entry {
    let mut entry = Entry::default();
    // The priorities of syslog(3).
    let priority = if kind == Kind::Warning { 4 } else { 6 };
    entry.field("MESSAGE", text.as_bytes()).number("PRIORITY", priority);
    entry.field("SYSLOG_IDENTIFIER", b"tracexec");
    let Some(record) = record else { return entry };
    // By this journald adds fields of its own on the process.
    entry.number("OBJECT_PID", record.pid).number("TRACEXEC_PID", record.pid);
    if let Some(parent) = record.parent.known() {
        entry.number("TRACEXEC_PPID", parent);
    }
    entry.number("TRACEXEC_UID", record.uid).number("TRACEXEC_RESULT", record.result);
    let argv = record.argv.value.as_ref().map(|vector| vector.strings.joined());
    for (name, value) in [
        ("TRACEXEC_FILENAME", &record.filename.value),
        ("TRACEXEC_EXE", &record.exe.value),
        ("TRACEXEC_CWD", &record.cwd.value),
        ("TRACEXEC_CGROUP", &record.cgroup.value),
        ("TRACEXEC_CMDLINE", &argv),
    ] {
        if let Some(value) = value {
            entry.field(name, value);
        }
    }
    entry
}

fn number(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl Sink for Log {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.output.begin()?;
        self.start = Some(Start {
            clock: Clock::new(about, &self.shown.timestamp_format),
            baselines: Baselines::of(&about.baseline),
            about: about.clone(),
        });
        let what = match &about.command[..] {
            [] if about.pids.is_empty() => "the machine".to_string(),
            [] => format!(
                "process {}",
                about.pids.iter().map(Pid::to_string).collect::<Vec<_>>().join(", ")
            ),
            words => escape::command_line(&words.iter().collect(), 200),
        };
        self.told(Kind::Info, about.boot, &format!("tracexec {} follows {what}", about.version))
    }

    fn started(&mut self, pid: Pid) -> io::Result<()> {
        self.command = Some(pid);
        let time = crate::linux::sys::boot_time();
        self.line(Kind::TraceeSpawn, time, None, |_, start, line| {
            line.process(pid as u32, Hue::Good);
            line.plain(" COMMAND runs: ");
            line.plain(&escape::command_line(&start.about.command.iter().collect(), 200));
        })
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        match event {
            TraceEvent::Begun(begun) => self.begun(begun),
            TraceEvent::Exec(execution) => self.exec(execution),
            TraceEvent::Ended(_) => Ok(()),
        }
    }

    fn missed(&self, event: &TraceEvent) -> u64 {
        u64::from(match event {
            TraceEvent::Begun(_) => self.shown.shows(Kind::NewChild),
            TraceEvent::Exec(_) => self.shown.shows(Kind::Exec),
            TraceEvent::Ended(_) => false,
        })
    }

    fn unwritten(&self) -> u64 {
        self.unsent + self.output.unwritten()
    }

    fn is_watched(&self) -> bool {
        self.journal.is_none() && self.output.is_watched()
    }

    fn idle(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self, end: &End) -> io::Result<()> {
        if let Some(status) = end.status {
            self.ended(status, end.time)?;
        }
        // What people read on standard error is told there anyway.
        if end.totals != Lost::default() && !self.output.is_standard_error() {
            let lost = number(end.totals.events, "event was lost", "events were lost");
            let missed = number(end.totals.processes, "process", "processes");
            let text = format!("{lost}, and {missed} could not be followed");
            self.told(Kind::Warning, end.time, &text)?;
        }
        let Counts { execs, failed, processes } = self.counts;
        let mut text = format!("{}, {failed} of them failed", number(execs, "exec", "execs"));
        if self.shown.shows(Kind::NewChild) {
            text.push_str(&format!("; {}", number(processes, "new process", "new processes")));
        }
        self.told(Kind::Info, end.time, &text)?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests;
