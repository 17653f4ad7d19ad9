//! A line for each exec, as it happens, for people.

mod changes;
pub mod clock;
mod line;
mod output;
mod paint;

use std::io;

use super::{About, End, Lost, Sink};
use crate::cli::log::{Amount, Kind, Shown};
use crate::escape;
use crate::event::{Begun, Execution, TraceEvent, Wanted};
use crate::moment::signals;
use crate::sys::Pid;
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
    /// What is told when it begins.
    start: Option<Start>,
    command: Option<Pid>,
    counts: Counts,
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
    // What a script was given is not what runs it was given.
    let scripts = shown.interpreter || shown.cmdline;
    Wanted {
        env: execs && (shown.env != Amount::Nothing || shown.cmdline),
        cwd: execs && (shown.cwd || scripts),
        exe: execs && (shown.resolve_proc_self_exe || scripts),
        fds: execs && (shown.fd != Amount::Nothing || in_line),
        cgroup: false,
        ids: false,
        prev_comm: execs && shown.comm,
        interpreters: execs && scripts,
        failures: execs,
        lives: shown.shows(Kind::NewChild),
    }
}

impl Log {
    pub fn new(shown: Shown, paint: Paint, output: Output) -> Log {
        let counts = Counts::default();
        Log { shown, paint, output, start: None, command: None, counts }
    }

    /// A line of a kind, if that is shown.
    fn line(
        &mut self,
        kind: Kind,
        time: u64,
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
        self.output.line(&line.text)
    }

    fn exec(&mut self, execution: &Execution) -> io::Result<()> {
        let record = &execution.record;
        self.counts.execs += 1;
        self.counts.failed += u64::from(record.result < 0);
        self.line(Kind::Exec, record.time, |shown, start, line| {
            line.exec(record, shown, &start.baselines, &start.about.baseline);
        })
    }

    fn begun(&mut self, begun: &Begun) -> io::Result<()> {
        self.counts.processes += 1;
        self.line(Kind::NewChild, begun.time, |_, _, line| {
            line.process(begun.parent, Hue::Good);
            line.plain(&format!(" has a new child {}", begun.pid));
        })
    }

    fn ended(&mut self, status: i32, time: u64) -> io::Result<()> {
        let Some(command) = self.command else { return Ok(()) };
        self.line(Kind::TraceeExit, time, |_, _, line| {
            let hue = if status == 0 { Hue::Good } else { Hue::Bad };
            line.process(command as u32, hue);
            line.plain(" COMMAND ");
            line.part(hue, &in_words(status));
        })
    }

    fn told(&mut self, kind: Kind, time: u64, text: &str) -> io::Result<()> {
        self.line(kind, time, |_, _, line| {
            let (hue, label) = match kind {
                Kind::Warning => (Hue::Warning, "warning: "),
                _ => (Hue::Time, "info: "),
            };
            line.part(hue, label);
            line.plain(text);
        })
    }
}

/// What became of a process, by its status of wait(2).
fn in_words(status: i32) -> String {
    if libc::WIFEXITED(status) {
        return format!("exited with status {}", libc::WEXITSTATUS(status));
    }
    let core = if libc::WCOREDUMP(status) { ", core dumped" } else { "" };
    format!("was killed by {}{core}", signals::name(libc::WTERMSIG(status)))
}

fn number(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl Sink for Log {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.start = Some(Start {
            clock: Clock::new(about, &self.shown.timestamp_format),
            baselines: Baselines::of(&about.baseline),
            about: about.clone(),
        });
        let what = match &about.command[..] {
            [] => "the machine".to_string(),
            words => escape::command_line(&words.iter().collect(), 200),
        };
        self.told(Kind::Info, about.boot, &format!("tracexec {} follows {what}", about.version))
    }

    fn started(&mut self, pid: Pid) -> io::Result<()> {
        self.command = Some(pid);
        let time = crate::sys::boot_time();
        self.line(Kind::TraceeSpawn, time, |_, start, line| {
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
