//! Which source the events come from.

use crate::cli::Backend;
use crate::debug::config;
use crate::debug::matcher::{Matcher, Notice};
use crate::linux::notify::Sender;
use crate::linux::sys::Inherited;
#[cfg(feature = "ebpf")]
use crate::linux::sys::Pid;
#[cfg(feature = "ebpf")]
use crate::machine::diagnose::{Circumstances, refusal};
use crate::source::Source;
use crate::source::guardian::Guardian;
use crate::source::launch::Command;
#[cfg(feature = "ebpf")]
use crate::source::ptrace::adopt::Adopter;
use crate::source::ptrace::{Look, PtraceSource};
use crate::text::report::{Report, Trouble};
use crate::trace::source::not_followed;

type Started = (Box<dyn Source>, Option<Guardian>);

/// What a source is started with.
pub(super) struct Start<'a> {
    pub config: &'a config::Session,
    pub report: Report,
    pub inherited: Inherited,
    pub sender: &'a Sender<Notice>,
    pub matcher: &'a dyn Fn() -> Matcher,
}

impl Start<'_> {
    /// Starts the source that was asked for, or the best that can be had, and COMMAND with it.
    pub fn start(&self) -> Result<Started, Trouble> {
        match self.config.backend {
            Backend::Ptrace => self.ptrace(),
            Backend::Ebpf => self.ebpf(),
            Backend::Auto if self.config.system => self.ebpf(),
            // What counts is traced in any case, and no parent sees its stops.
            Backend::Auto if self.config.moments.follow() => {
                self.report.detail("events come from ptrace, by which --on holds programs");
                self.ptrace()
            }
            Backend::Auto => self.ebpf().or_else(|trouble| {
                self.report.detail(format!("events come from ptrace; {trouble}"));
                self.ptrace()
            }),
        }
    }

    fn command(&self) -> Command {
        Command {
            words: self.config.command.clone(),
            identity: self.config.identity.clone(),
            inherited: self.inherited,
        }
    }

    fn look(&self) -> Look {
        Look {
            moments: self.config.moments,
            all_signals: self.config.filter.asks_for_signals(),
            all_statuses: self.config.filter.asks_for_status(),
            at_the_last: matches!(self.config.action, config::Action::Nothing),
        }
    }

    fn ptrace(&self) -> Result<Started, Trouble> {
        let sender = self.sender.clone();
        let keep = self.config.filter.keep();
        let command = (!self.config.command.is_empty()).then(|| self.command());
        let pids = self.config.pids.clone();
        let tell = move |event| sender.send(Notice::Source(event));
        let started =
            PtraceSource::start(command, pids, (keep, self.look()), (self.matcher)(), tell)?;
        not_followed(self.report, &started.not_followed);
        Ok((Box::new(started.source), None))
    }

    #[cfg(feature = "ebpf")]
    fn ebpf(&self) -> Result<Started, Trouble> {
        use crate::event::Wanted;
        use crate::source::ebpf::{Aim, EbpfSource, Watched};
        let sender = self.sender.clone();
        let command = (!self.config.command.is_empty()).then(|| self.command());
        let lists = matches!(self.config.action, config::Action::List);
        let follows = self.config.moments.follow();
        let aim = if lists && !follows { Aim::Record(Wanted::FOR_FILTER) } else { Aim::Stop };
        let adopter = follows.then(|| self.adopter()).transpose()?;
        let pids = self.config.pids.clone();
        let watched = Watched { command, pids, system: self.config.system, aim, adopter };
        let started =
            EbpfSource::start(watched, &self.config.filter, (self.matcher)(), move |event| {
                sender.send(Notice::Source(event))
            })?;
        self.report.detail("events come from eBPF");
        if follows {
            self.report.detail(format!(
                "what may come to --on {} is traced from its exec on",
                self.config.moments
            ));
        }
        if aim.records() {
            self.report.detail("each exec is recorded by the kernel, and nothing is stopped");
        } else if started.decides_nothing && self.config.system {
            self.report.warn(
                "the kernel can rule nothing out by this filter: every exec of the machine is stopped for a \
                 moment to be looked at",
            );
            self.report.hint("add a test on basename, comm, argv or uid, see tracexec-filter(7)");
        } else if !started.undecided.is_empty() {
            self.report.detail(format!(
                "decided on the stopped process, since the kernel cannot: {}; a test on basename, comm, argv or uid, \
                 joined by `and`, lets it rule out the rest",
                started.undecided.join(", ")
            ));
        }
        Ok((Box::new(started.source), Some(started.guardian)))
    }

    /// The tracer for what may be held later than at its exec.
    #[cfg(feature = "ebpf")]
    fn adopter(&self) -> Result<Adopter, Trouble> {
        let ours = Circumstances::of(std::process::id() as Pid);
        if ours.ptrace_scope == Some(3) || (ours.ptrace_scope == Some(2) && !ours.capable) {
            let found = refusal(&Circumstances { tracer: 0, ..ours });
            return Err(Trouble::new(format!(
                "--on {}: what counts has to be traced, but {}",
                self.config.moments, found.cause
            ))
            .hint(found.hint));
        }
        let sender = self.sender.clone();
        Adopter::start(self.look(), (self.matcher)(), move |event| {
            sender.send(Notice::Source(event));
        })
        .map_err(|error| Trouble::new(format!("cannot start the tracer's thread: {error}")))
    }

    #[cfg(not(feature = "ebpf"))]
    fn ebpf(&self) -> Result<Started, Trouble> {
        Err(Trouble::new("this tracexec was built without eBPF")
            .hint("build it with the feature `ebpf`, or leave --backend and --system away"))
    }
}
