//! A trace from its beginning to its end: the source, the sink, and the user's signals.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::judge::Notice;
use super::{About, Baseline, End, Lost, Sink, Tracer, front, source};
use crate::cli::Backend;
use crate::cli::trace::SeccompBpf;
use crate::debug::session;
use crate::event::{Strings, TraceEvent, Wanted};
use crate::filter::Filter;
use crate::linux::identity::Identity;
use crate::linux::notify::{self, Receiver};
use crate::linux::outlet::Outlet;
use crate::linux::sys::{self, Inherited, Pid};
use crate::machine::diagnose;
use crate::machine::procfs;
use crate::source::guardian::Guardian;
use crate::source::launch::{Command, environment};
use crate::source::ptrace::PtraceSource;
use crate::source::ptrace::record::Recording;
use crate::source::{ExitStatus, Source, SourceEvent};
use crate::text::report::{self, Report, Trouble};
use crate::trace::sinks::words;

/// How large the events that wait to be written may be, in bytes; then the source waits, and with it, over ptrace, what it
/// traces.
const MOST_WAITING: u32 = 32 << 20;
/// How long an event may wait for others with which it is written, in milliseconds.
const PATIENCE: u16 = 10;
/// What COMMAND leaves behind is as a rule about to end, and for so long it is waited for where it needs a tracer.
const GRACE: Duration = Duration::from_millis(200);

/// A trace to be.
#[derive(Debug)]
pub struct Config {
    /// Which execs are told; all of them without one.
    pub filter: Option<Arc<Filter>>,
    pub wanted: Wanted,
    pub backend: Backend,
    /// Every exec of the machine is told.
    pub system: bool,
    /// Processes that run already.
    pub pids: Vec<Pid>,
    /// Over ptrace: how failing execs are seen.
    pub seccomp: SeccompBpf,
    pub command: Vec<OsString>,
    pub identity: Option<Identity>,
}

/// A running trace.
struct Trace<'a> {
    sink: &'a mut dyn Sink,
    /// Who writes for it, where a reader may be slow.
    outlet: Option<Outlet>,
    report: Report,
    source: Box<dyn Source>,
    /// Ends the kernel's side when we do.
    _guardian: Option<Guardian>,
    notices: Receiver<Notice>,
    /// What has come, and was not looked at yet: a reader is behind.
    taken: VecDeque<Notice>,
    /// Some came a moment ago, and more will: they need not wake us.
    awake: bool,
    signals: SignalFd,
    words: Vec<OsString>,
    about: About,
    /// Until COMMAND has begun: what has happened elsewhere. If it never does, nothing is written.
    early: Option<Vec<TraceEvent>>,
    command: Option<Pid>,
    /// How COMMAND has ended, and when, in nanoseconds since boot.
    ended: Option<(ExitStatus, u64)>,
    /// What COMMAND has left behind needs a tracer.
    bound: bool,
    /// Until when its end is waited for.
    grace: Option<Instant>,
    /// The status to exit with, once it is known.
    status: Option<u8>,
    /// A signal has asked for the end.
    by_signal: bool,
    /// Why nothing is written any more, and how many events the sink was not told of.
    failed: Option<(io::Error, u64)>,
}

/// Runs COMMAND, or watches the system, until its end; the status to exit with.
pub fn run(
    config: &Config,
    (sink, outlet): (&mut dyn Sink, Option<Outlet>),
    report: Report,
) -> Result<u8, Trouble> {
    if let Some(found) = diagnose::namespaces() {
        return Err(Trouble::new(found.cause).hint(found.hint));
    }
    let inherited = Inherited::note();
    sys::raise_file_limit();
    let signals = session::block_signals()?;
    let (sender, notices) = notify::bounded(MOST_WAITING)
        .map_err(|errno| Trouble::new(format!("cannot make an eventfd: {}", errno.desc())))?;
    let mut about = about(config);
    let start = Start { config, report, inherited, sender };
    let (source, guardian, name) = start.start()?;
    about.source = name.into();
    let mut trace = Trace {
        sink,
        outlet,
        report,
        source,
        _guardian: guardian,
        notices,
        taken: VecDeque::new(),
        awake: false,
        signals,
        words: config.command.clone(),
        about,
        early: Some(Vec::new()),
        command: None,
        ended: None,
        bound: false,
        grace: None,
        status: None,
        by_signal: false,
        failed: None,
    };
    if config.command.is_empty() {
        trace.begin();
    }
    trace.run()
}

/// What is known before anything runs.
fn about(config: &Config) -> About {
    let env = environment(config.identity.as_ref()).into_iter().map(OsString::into_vec);
    let own = std::process::id() as Pid;
    About {
        command: config.command.iter().map(|word| word.as_bytes().to_vec()).collect(),
        baseline: Baseline {
            env: env.collect::<Strings>(),
            cwd: procfs::link(own, "cwd").unwrap_or_default(),
            fds: procfs::given_files(),
        },
        source: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        host: nix::unistd::gethostname().map(OsString::into_vec).unwrap_or_default(),
        pids: config.pids.clone(),
        wall: SystemTime::now(),
        boot: sys::boot_time(),
    }
}

type Started = (Box<dyn Source>, Option<Guardian>, &'static str);

/// What a source is started with.
struct Start<'a> {
    config: &'a Config,
    report: Report,
    inherited: Inherited,
    sender: notify::Sender<Notice>,
}

impl Start<'_> {
    fn start(&self) -> Result<Started, Trouble> {
        match self.config.backend {
            Backend::Ptrace => self.ptrace(),
            Backend::Ebpf => self.ebpf(),
            Backend::Auto if self.config.system => self.ebpf(),
            Backend::Auto => self.ebpf().or_else(|trouble| {
                self.report.detail(format!("events come from ptrace; {trouble}"));
                self.ptrace()
            }),
        }
    }

    fn command(&self) -> Option<Command> {
        (!self.config.command.is_empty()).then(|| Command {
            words: self.config.command.clone(),
            identity: self.config.identity.clone(),
            inherited: self.inherited,
        })
    }

    fn tracer(&self) -> Tracer {
        Tracer::new(self.config.filter.clone(), self.config.wanted, self.sender.clone())
    }

    fn ptrace(&self) -> Result<Started, Trouble> {
        let filter = self.config.filter.as_deref();
        let recording = Recording {
            wanted: filter.map_or(self.config.wanted, |f| self.config.wanted.and(f.asks())),
            way: source::way(self.config, self.report)?,
            pids: self.config.pids.clone(),
        };
        let keep = filter.map(Filter::keep).unwrap_or_default();
        let sender = self.sender.clone();
        let tell = move |event| sender.send(Notice::Source(event));
        let started = PtraceSource::record(self.command(), keep, recording, self.tracer(), tell)?;
        source::not_followed(self.report, &started.not_followed);
        Ok((Box::new(started.source), None, "ptrace"))
    }

    #[cfg(feature = "ebpf")]
    fn ebpf(&self) -> Result<Started, Trouble> {
        use crate::source::ebpf::{Aim, EbpfSource, Watched};
        let sender = self.sender.clone();
        let mut wanted = self.config.wanted;
        // Parents that are in nobody's tree are known by what they have executed.
        let lineage = self.config.filter.as_ref().is_some_and(|filter| filter.keep().lineage);
        wanted.lives |= self.config.system && lineage;
        let aim = if wanted.failures { Aim::RecordCalls(wanted) } else { Aim::Record(wanted) };
        let watched = Watched {
            command: self.command(),
            pids: self.config.pids.clone(),
            system: self.config.system,
            aim,
            adopter: None,
        };
        let all = Filter::new(&[b"pid > 0"], Arc::new(crate::filter::SystemNames));
        let all = all.map_err(|error| Trouble::new(error.to_string()))?;
        let filter = self.config.filter.as_deref().unwrap_or(&all);
        let started = EbpfSource::start(watched, filter, self.tracer(), move |event| {
            sender.send(Notice::Source(event))
        })?;
        self.report.detail("events come from eBPF");
        Ok((Box::new(started.source), Some(started.guardian), "ebpf"))
    }

    #[cfg(not(feature = "ebpf"))]
    fn ebpf(&self) -> Result<Started, Trouble> {
        Err(Trouble::new("this tracexec was built without eBPF")
            .hint("build it with the feature `ebpf`, or leave --backend and --system away"))
    }
}

impl Trace<'_> {
    fn run(mut self) -> Result<u8, Trouble> {
        let status = loop {
            self.wait();
            if self.taken.is_empty() {
                self.taken = self.take().into();
            }
            while !self.is_behind()
                && let Some(notice) = self.taken.pop_front()
            {
                self.notice(notice);
            }
            if self.early.is_none() && self.taken.is_empty() {
                self.do_write(|sink| sink.idle());
            }
            self.signals();
            self.grace();
            if let Some(status) = self.status {
                break status;
            }
        };
        // Who waits for room to tell something cannot end.
        self.notices.take_all();
        if self.bound && !self.by_signal && front::is_split() {
            self.keep();
        }
        self.source.let_go();
        self.taken.extend(self.notices.drain());
        while let Some(notice) = self.taken.pop_front() {
            self.wait_for_reader(|outlet| !outlet.is_behind());
            self.notice(notice);
        }
        self.finish(status)
    }

    /// What COMMAND leaves behind has had its time to end.
    fn grace(&mut self) {
        if self.grace.is_some_and(|until| Instant::now() >= until) {
            self.grace = None;
            if front::is_split() {
                self.status = self.status.or(self.ended.map(|(status, _)| status.shell_code()));
            } else {
                source::bound(self.report);
            }
        }
    }

    /// Has the tracer stay in the background for what COMMAND leaves behind.
    fn keep(&mut self) {
        if let Some(kept) = self.source.keep() {
            if kept.some {
                source::kept(self.report);
            }
            front::stay(kept.ended);
        }
    }

    fn is_behind(&self) -> bool {
        self.outlet.as_ref().is_some_and(Outlet::is_behind)
    }

    fn wait(&self) {
        let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let (awaited, timeout) = match &self.outlet {
            Some(outlet) if outlet.is_behind() => (outlet.as_fd(), PollTimeout::NONE),
            _ if self.awake => (self.notices.as_fd(), PATIENCE.into()),
            _ => (self.notices.as_fd(), self.left_of_grace()),
        };
        let mut fds = [interest(awaited), interest(self.signals.as_fd())];
        // EINTR is as good as a wake-up.
        let _ = poll(&mut fds, timeout);
        if let Some(outlet) = &self.outlet {
            outlet.hear();
        }
    }

    fn left_of_grace(&self) -> PollTimeout {
        self.grace.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now()).as_millis() as u16;
            // Rounded up, so as not to come too early.
            left.saturating_add(1).into()
        })
    }

    /// Waits until the reader has read enough; after a signal, not for long.
    fn wait_for_reader(&mut self, enough: fn(&Outlet) -> bool) {
        let Some(outlet) = self.outlet.clone().filter(|_| self.failed.is_none()) else { return };
        let mut deadline = None;
        while !enough(&outlet) {
            let mut timeout = PollTimeout::NONE;
            if self.by_signal {
                let until = *deadline.get_or_insert_with(|| Instant::now() + report::PATIENCE);
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let unread = io::Error::new(io::ErrorKind::TimedOut, "nobody reads it");
                    self.failed = Some((unread, 0));
                    return;
                }
                timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            }
            let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = [interest(outlet.as_fd()), interest(self.signals.as_fd())];
            let _ = poll(&mut fds, timeout);
            outlet.hear();
            self.signals();
        }
    }

    /// What has come. Whoever reads a file later does not see whether we have been woken for each event, which would
    /// cost what is traced more than most of the reading.
    fn take(&mut self) -> Vec<Notice> {
        if self.sink.is_watched() {
            return self.notices.drain();
        }
        let some = self.notices.drain_for_now();
        self.awake = !some.is_empty();
        if self.awake { some } else { self.notices.drain() }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Event(event) => match &mut self.early {
                Some(early) => early.push(event),
                None => self.event(&event),
            },
            Notice::Source(SourceEvent::Started(pid, time)) => {
                self.command = Some(pid);
                // What it took us to get here is no part of it.
                let since = Duration::from_nanos(sys::boot_time().saturating_sub(time));
                self.about.wall = SystemTime::now().checked_sub(since).unwrap_or(self.about.wall);
                self.about.boot = time;
                self.begin();
            }
            Notice::Source(SourceEvent::CommandEnded(status)) => {
                self.ended = Some((status, sys::boot_time()));
                if self.bound {
                    self.grace = Some(Instant::now() + GRACE);
                } else {
                    self.status.get_or_insert(status.shell_code());
                }
            }
            Notice::Source(SourceEvent::Bound) => self.bound = true,
            Notice::Source(SourceEvent::NothingLeft) => {
                if self.words.is_empty() || self.ended.is_some() {
                    let status = self.ended.map_or(0, |(status, _)| status.shell_code());
                    self.status.get_or_insert(status);
                }
            }
            Notice::Source(SourceEvent::NotStarted(error)) => {
                self.status = Some(session::not_started(self.report, &self.words, &error));
            }
        }
    }

    /// COMMAND has executed its program, or there is none.
    fn begin(&mut self) {
        let Some(early) = self.early.take() else { return };
        let about = self.about.clone();
        self.do_write(|sink| sink.begin(&about));
        if let Some(pid) = self.command {
            self.do_write(|sink| sink.started(pid));
        }
        early.iter().for_each(|event| self.event(event));
    }

    fn event(&mut self, event: &TraceEvent) {
        if let Some((_, lost)) = &mut self.failed {
            *lost += self.sink.missed(event);
        }
        self.do_write(|sink| sink.event(event));
    }

    /// Writes, unless that has failed before.
    fn do_write(&mut self, write: impl FnOnce(&mut dyn Sink) -> io::Result<()>) {
        if self.failed.is_none()
            && let Err(error) = write(self.sink)
        {
            self.failed = Some((error, 0));
        }
    }

    fn signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = info.ssi_signo as i32;
            // Ctrl-C on the terminal reached COMMAND too, whose end is the trace's.
            let by_terminal = info.ssi_code == libc::SI_KERNEL && signal != libc::SIGHUP;
            if by_terminal && !self.words.is_empty() && self.ended.is_none() {
                continue;
            }
            self.by_signal = true;
            self.status = Some(if self.words.is_empty() { 0 } else { 128 + signal as u8 });
        }
    }

    /// COMMAND was never executed, and nothing is written. That it could not be has been said.
    fn not_begun(&self, status: u8) -> u8 {
        match self.ended {
            Some((ended, _)) => self.report.error(format!(
                "COMMAND {} before it could be executed; nothing is written",
                words::ended(ended.0)
            )),
            None if self.by_signal => self
                .report
                .error("a signal ended tracexec before COMMAND was executed; nothing is written"),
            None => {}
        }
        status
    }

    fn finish(mut self, status: u8) -> Result<u8, Trouble> {
        if self.early.is_some() {
            return Ok(self.not_begun(status));
        }
        let lost = self.source.totals().map(Lost::from).unwrap_or_default();
        let (status_of_command, time) = self.ended.map(|(status, time)| (status.0, time)).unzip();
        let time = time.unwrap_or_else(sys::boot_time);
        let end = End { status: status_of_command, time, totals: lost };
        let mut finished = self.sink.finish(&end);
        self.wait_for_reader(Outlet::is_done);
        if let Some(outlet) = &self.outlet {
            finished = finished.and(outlet.wait(Duration::ZERO).map(drop));
        }
        let queued = self.outlet.as_ref().map_or(0, Outlet::unwritten);
        if let Some(remark) = self.sink.remark() {
            self.report.warn(remark);
        }
        if lost != Lost::default() {
            self.report.warn(format!(
                "{} events were lost, and {} processes could not be followed",
                lost.events, lost.processes
            ));
        }
        let Some((error, lost)) = self.failed.or(finished.err().map(|error| (error, 0))) else {
            return Ok(status);
        };
        // Whoever reads it has seen enough, as with `head`.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(status);
        }
        let lost = lost + self.sink.unwritten() + queued;
        let lost = match lost {
            1 => "1 event is lost".to_string(),
            many => format!("{many} events are lost"),
        };
        Err(Trouble::new(format!("cannot write what is traced: {error}; {lost}"))
            .hint("make room, or write elsewhere with -o"))
    }
}
