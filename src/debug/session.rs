//! The only place where everything meets: the source, the hits, the launcher, the socket, the user's
//! signals. One loop, which polls descriptors; ptrace happens elsewhere.

mod clocks;
mod editor;
mod ending;
mod findings;
mod handover;
mod headless;
mod remember;
mod saving;
mod sources;
mod stages;
mod unfollowed;
mod wrapping;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::debug::config::{self, Action};
use crate::debug::hits::{self, Hit, Progress, Stage};
use crate::debug::matcher::{Matcher, Notice, Program, Tally};
use crate::debug::repro;
use crate::event::Faults;
use crate::launcher::control::{Reply, Request, Server, SessionState};
use crate::linux::notify::{self, Receiver, Sender};
use crate::linux::sys::{self, Inherited, Pid};
use crate::machine::diagnose;
use crate::source::guardian::Guardian;
use crate::source::wrapped::Wraps;
use crate::source::{ExitStatus, Held, NotHeld, Source, SourceEvent};
use crate::text::escape;
use crate::text::report::{self, Report, Trouble};
pub use ending::not_started;
use stages::{End, Stages, What};

/// A running session.
pub struct Session {
    config: config::Session,
    report: Report,
    source: Box<dyn Source>,
    notices: Receiver<Notice>,
    signals: SignalFd,
    server: Server,
    guardian: Option<Guardian>,
    tally: Arc<Mutex<Tally>>,
    command: Option<(Pid, OwnedFd)>,
    hits: Vec<Hit>,
    stages: Stages,
    memory: remember::Memory,
    /// Which of the debuggers work, of those that were asked for.
    checked: HashMap<usize, bool>,
    wraps: Arc<Wraps>,
    /// For threads of ours that have something to tell.
    sender: Sender<Notice>,
    /// Threads that save hits.
    savers: Vec<JoinHandle<()>>,
    /// Matches, by what became of them.
    counts: Counts,
    /// Parents with a clock that were told of.
    clocks: Vec<Pid>,
    /// Tracers that were told of, see `unfollowed`.
    tracers: Vec<Pid>,
    /// Whether it was said that a limit is used up.
    hinted_at_limit: bool,
    /// The status to exit with, once it is known.
    status: Option<u8>,
    /// Set when all is to be let go.
    ending: bool,
}

#[derive(Debug, Default)]
struct Counts {
    matches: u64,
    taken: u64,
    passed_busy: u64,
}

/// Runs COMMAND under a session; the status to exit with.
pub fn run(mut config: config::Session, report: Report) -> Result<u8, Trouble> {
    if let Some(found) = diagnose::namespaces() {
        return Err(Trouble::new(found.cause).hint(found.hint));
    }
    let inherited = Inherited::note();
    sys::raise_file_limit();
    let signals = block_signals()?;
    let server = Server::new()?;
    let tells_directory = config.tells_directory();
    let stages = Stages::start(&mut config, report)?;
    let (sender, notices) = notify::channel()
        .map_err(|errno| Trouble::new(format!("cannot make an eventfd: {}", errno.desc())))?;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let wraps = Arc::new(Wraps::default());
    let matcher = || Matcher {
        filter: Arc::clone(&config.filter),
        list: matches!(config.action, Action::List),
        moments: config.moments,
        tells_directory,
        tally: Arc::clone(&tally),
        tell: sender.clone(),
        wraps: Arc::clone(&wraps),
    };
    let memory = remember::Memory::new(&config)?;
    let start =
        sources::Start { config: &config, report, inherited, sender: &sender, matcher: &matcher };
    let (source, guardian) = start.start()?;
    let session = Session {
        config,
        report,
        source,
        notices,
        signals,
        server,
        guardian,
        tally,
        command: None,
        hits: Vec::new(),
        stages,
        memory,
        checked: HashMap::new(),
        wraps,
        sender,
        savers: Vec::new(),
        counts: Counts::default(),
        clocks: Vec::new(),
        tracers: Vec::new(),
        hinted_at_limit: false,
        status: None,
        ending: false,
    };
    session.run()
}

/// As [`signals_on_descriptor`]. And from here on no reader of standard error is waited for.
pub fn block_signals() -> Result<SignalFd, Trouble> {
    let signals = signals_on_descriptor()?;
    report::never_wait()
        .map_err(|error| Trouble::new(format!("cannot start a thread for messages: {error}")))?;
    Ok(signals)
}

/// Signals to us arrive on a descriptor from here on; what was ignored stays so. SIGTTOU is blocked
/// so that we may write to a terminal that is not ours at the moment.
pub fn signals_on_descriptor() -> Result<SignalFd, Trouble> {
    let trouble = |errno: nix::errno::Errno| {
        Trouble::new(format!("cannot receive signals: {}", errno.desc()))
    };
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
        // A blocked signal would come though it is ignored, and nohup(1) means that.
        if signal != Signal::SIGHUP || !sys::is_ignored(signal as i32) {
            set.add(signal);
        }
    }
    let mut blocked = set;
    blocked.add(Signal::SIGTTOU);
    blocked.thread_block().map_err(trouble)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(trouble)
}

impl Session {
    fn run(mut self) -> Result<u8, Trouble> {
        self.forget_stale_entries();
        loop {
            self.wait();
            self.keep_guardian();
            for notice in self.notices.drain() {
                self.notice(notice)?;
            }
            self.signals();
            while let Some((client, request)) = self.server.accept() {
                self.request(client, request);
            }
            self.progress();
            self.take_out_entries(false);
            self.start_waiting();
            self.maybe_let_go();
            self.maybe_reap()?;
            if let Some(status) = self.status
                && (self.ending || self.hits.iter().all(Hit::is_over))
            {
                self.finish();
                return Ok(status);
            }
        }
    }

    /// Waits until something is there to do.
    fn wait(&self) {
        let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let own = [self.notices.as_fd(), self.signals.as_fd()];
        let guardian = self.guardian.as_ref().and_then(Guardian::socket);
        let own = own.into_iter().chain(guardian);
        let mut fds: Vec<PollFd<'_>> = own.chain(self.server.descriptors()).map(interest).collect();
        fds.extend(
            self.hits
                .iter()
                .filter(|hit| !matches!(hit.stage, Stage::Over))
                .map(|hit| interest(hit.pidfd.as_fd())),
        );
        if self.source.ended()
            && self.status.is_none()
            && let Some((_, pidfd)) = &self.command
        {
            fds.push(interest(pidfd.as_fd()));
        }
        let soonest = self.hits.iter().filter_map(Hit::look_again);
        let soonest = soonest.chain(self.server.look_again()).min();
        let timeout = soonest.map_or(PollTimeout::NONE, |time: Duration| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        // EINTR is as good as a wake-up.
        let _ = poll(&mut fds, timeout);
    }

    /// Starts the guardian again if somebody has ended it.
    fn keep_guardian(&mut self) {
        let Some(guardian) = self.guardian.as_mut().filter(|guardian| guardian.has_ended()) else {
            return;
        };
        match guardian.restart() {
            Ok(()) => {
                self.report.detail("the guardian was ended, and another one has taken its place")
            }
            Err(error) => {
                self.report.warn(format!(
                    "the guardian was ended, and cannot be started again: {error}; should tracexec be killed, what \
                     it holds stays stopped"
                ));
                self.report.hint("`tracexec release --all` lets it run");
            }
        }
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Trouble> {
        match notice {
            Notice::Source(SourceEvent::Started(pid, _)) => {
                self.command = match sys::pidfd_open(pid) {
                    Ok(pidfd) => Some((pid, pidfd)),
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
                    Err(error) => {
                        return Err(Trouble::new(format!(
                            "cannot wait for the end of COMMAND, process {pid}: {error}"
                        )));
                    }
                };
            }
            Notice::Source(SourceEvent::CommandEnded(status)) => self.command_ended(status),
            Notice::Source(SourceEvent::NotStarted(error)) => {
                self.status = Some(not_started(self.report, &self.config.command, &error));
                self.ending = true;
            }
            Notice::Source(SourceEvent::NothingLeft) => {
                if self.config.command.is_empty() {
                    self.status.get_or_insert(0);
                }
            }
            Notice::Source(SourceEvent::Bound) => {}
            Notice::Match(held, program) => self.matched(held, program),
            Notice::Passed(program, why) => self.passed(&program, why),
            Notice::Saved(id, saved) => self.was_saved(id, *saved),
            Notice::Missed(program) => self.missed(&program),
            Notice::After(program, first) => {
                self.report.detail(format!("{}, after {first} failed", line(&program)));
            }
            Notice::NotFollowed(program, why) => self.not_followed(&program, why),
        }
        Ok(())
    }

    fn command_ended(&mut self, status: ExitStatus) {
        // A Ctrl-C that COMMAND got too came before its end, and is not meant for us.
        self.signals();
        // An end that was asked for has its own status.
        self.status.get_or_insert(status.shell_code());
    }

    /// Whether a match is beyond what was asked for.
    fn is_surplus(&mut self) -> bool {
        self.counts.matches += 1;
        self.ending
            || self.counts.matches <= self.config.skip
            || self.config.max_hits.is_some_and(|max| self.counts.taken >= max)
    }

    fn matched(&mut self, held: Held, program: Box<Program>) {
        if self.is_surplus() {
            held.release();
            return;
        }
        if self.config.when_busy == crate::cli::WhenBusy::Skip && !self.has_room() {
            self.counts.passed_busy += 1;
            self.report.detail(format!("{}: runs on, a debugger is busy", line(&program)));
            held.release();
            return;
        }
        self.counts.taken += 1;
        if let Some(hit) = Hit::new(self.counts.taken, held, program) {
            self.stages.tell(&hit, What::Waiting);
            self.hits.push(hit);
            self.warn_of_clocks(self.hits.len() - 1);
        }
    }

    fn missed(&mut self, program: &Program) {
        let words = line(program);
        self.report.warn(format!("{words}: past the C library; it was not held"));
        self.report.hint("fail=calls in --on sees such an exit, too, and costs more");
    }

    fn passed(&mut self, program: &Program, why: Option<NotHeld>) {
        if let Some(why) = why {
            self.counts.matches += 1;
            self.report.hit(format!("{}: not held, {}", line(program), unfollowed::words(why)));
            if let NotHeld::Failed(errno) = why {
                self.hint_at_limit(errno);
            }
        } else if !self.is_surplus() {
            self.counts.taken += 1;
            self.report.hit(line(program));
            if !program.faults.is_empty() {
                self.report.warn(format!("{}: {}", program.pid, words(program.faults)));
            }
        }
    }

    /// How many hits may still be opened.
    fn has_room(&self) -> bool {
        let active = self.hits.iter().filter(|hit| !hit.is_over()).count() as u64;
        self.config.sessions.is_none_or(|sessions| active < sessions)
    }

    fn progress(&mut self) {
        let happened: Vec<(usize, Progress)> = self
            .hits
            .iter_mut()
            .enumerate()
            .filter_map(|(index, hit)| hit.look().map(|progress| (index, progress)))
            .collect();
        for (index, progress) in happened {
            self.happened(index, progress);
        }
        self.hits.retain(|hit| !hit.is_over());
    }

    fn request(&mut self, client: crate::launcher::control::Client, request: Request) {
        let reply = match request {
            Request::Shim(id) => return self.shim_came(client, id),
            Request::Terminal(id) => return self.terminal_came(client, id),
            Request::Ps => Reply::Session(self.state()),
            Request::Release(pid) => self.release(pid),
        };
        let _ = client.answer(&reply);
    }

    fn state(&self) -> SessionState {
        let command = &self.config.command;
        // As it was typed, more or less: what we run for it says nothing to anybody.
        let words: Vec<&OsStr> = match repro::rerun_by(command) {
            Some(folder) => vec![OsStr::new("rerun"), folder],
            None => command.iter().map(|word| word.as_os_str()).collect(),
        };
        SessionState {
            pid: std::process::id() as Pid,
            command: escape::command_line(&words.iter().map(|word| word.as_bytes()).collect(), 100),
            execs: self.tally.lock().unwrap_or_else(PoisonError::into_inner).execs,
            hits: self
                .hits
                .iter()
                .filter(|hit| !matches!(hit.stage, Stage::Over))
                .map(Hit::state)
                .collect(),
        }
    }

    fn release(&mut self, pid: Option<Pid>) -> Reply {
        let mut released = Vec::new();
        for hit in &mut self.hits {
            if pid.is_some_and(|pid| pid != hit.pid) {
                continue;
            }
            if hit.let_run() {
                if let Some(guardian) = &mut self.guardian {
                    guardian.forget(hit.pid);
                }
                self.stages.tell(hit, What::Over(End::Released, None));
                released.push(hit.pid);
            } else if pid.is_some() && matches!(hit.stage, Stage::Attached(_)) {
                return Reply::Refused(format!("process {} is in a debugger's hands", hit.pid));
            }
        }
        Reply::Released(released)
    }

    /// After the last match nothing needs the tracer any more.
    fn maybe_let_go(&mut self) {
        let enough = self.config.max_hits.is_some_and(|max| self.counts.taken >= max);
        let held = |hit: &Hit| matches!(hit.stage, Stage::Waiting(_) | Stage::Launching(_));
        if enough && !self.source.ended() && !self.hits.iter().any(held) {
            self.source.let_go();
            self.report.detail("the last match was taken: nothing is watched any more");
        }
        // Without a COMMAND there is nothing else to wait for.
        if enough && self.config.command.is_empty() {
            self.status.get_or_insert(0);
        }
    }

    /// COMMAND is our child; without a tracer its end is ours to collect.
    fn maybe_reap(&mut self) -> Result<(), Trouble> {
        if self.status.is_some() || !self.source.ended() {
            return Ok(());
        }
        let ended = self.command.as_ref().filter(|(_, pidfd)| hits::is_readable(pidfd));
        let Some(pid) = ended.map(|(pid, _)| *pid) else { return Ok(()) };
        // The tracer may have collected it as the last thing it did.
        for notice in self.notices.drain() {
            self.notice(notice)?;
        }
        if self.status.is_none() {
            self.command_ended(ExitStatus(sys::reap(pid).unwrap_or(125 << 8)));
        }
        Ok(())
    }

    fn signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = info.ssi_signo as i32;
            // Ctrl-C on the terminal reached COMMAND too, which decides for itself. Once it has ended,
            // it can only be meant for us.
            let by_terminal = info.ssi_code == libc::SI_KERNEL && signal != libc::SIGHUP;
            if by_terminal && self.status.is_none() && !self.config.command.is_empty() {
                if signal == libc::SIGINT
                    && matches!(self.config.action, Action::Hold(_) | Action::Editor(_))
                {
                    self.let_all_run();
                }
                continue;
            }
            if signal != libc::SIGQUIT {
                self.status = Some(128 + signal as u8);
                self.ending = true;
            }
        }
    }
}

/// What was wrong with a record.
fn words(faults: Faults) -> String {
    faults.words().collect::<Vec<_>>().join(", ")
}

/// A match on one line: pid, command line, the test that matched; of a script also what runs it, since
/// that is what a debugger sees.
fn line(program: &Program) -> String {
    let mut because = escape::shorten(&program.because, 60).into_owned();
    if let Some(interpreter) = &program.interpreter {
        let shown = escape::word(interpreter);
        because = format!("{because}; a script, run by {}", escape::shorten(&shown, 60));
    }
    // A moment may need no test to count.
    let because = if because.is_empty() { String::new() } else { format!(" ({because})") };
    let happened = program.happened.map(|happened| format!(" {happened}")).unwrap_or_default();
    let taken = because.chars().count() + happened.chars().count() + 40;
    let room = report::width().saturating_sub(taken).max(30);
    format!("{} {}{happened}{because}", program.pid, escape::command_line(&program.argv, room))
}
