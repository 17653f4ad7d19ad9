//! Exec events by eBPF: matched in the kernel, and stopped by it, before the first instruction.
//!
//! Nothing else in the tree is touched. The programs ([`load`], bpf/) decide what they can of the filter
//! ([`lower`]); what may match gets a SIGSTOP there and is judged here, on the stopped process.
//! One thread ([`watch`]) receives the events; [`stops`] is how the stopped ones are let go or handed
//! over, from any thread.

mod automaton;
mod decode;
mod files;
mod kin;
mod layout;
mod load;
mod lower;
pub mod release;
mod roots;
mod stops;

mod watch;

#[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks, reason = "generated")]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/exec.skel.rs"));

    /// The programs without what needs a kernel's function (bpf/late.bpf.h): to find one, libbpf reads all that
    /// the kernel tells of its types, which takes a fifth of the start.
    pub static PLAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/exec.bpf.o"));
    /// The same for kernels without bpf_loop (bpf/loop.bpf.h), which takes the verifier longer. They refuse the
    /// address of a loop's body even where it is never used.
    pub static OLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/old/exec.bpf.o"));
    /// With a kernel's function.
    pub static LATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/late/exec.bpf.o"));

    thread_local! {
        /// Which of them the skeleton opens.
        pub static OBJECT: std::cell::Cell<&'static [u8]> = const { std::cell::Cell::new(PLAIN) };
    }

    /// Called by the skeleton, see build.rs.
    fn object() -> &'static [u8] {
        OBJECT.get()
    }
}

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::launch::Command;
use super::lineage::Lineage;
use super::ptrace::adopt::Adopter;
use super::{Judge, Source, SourceEvent, Totals};
use crate::event::Wanted;
use crate::filter::{Filter, SystemNames};
use crate::linux::sys::Pid;
use crate::source::guardian::Guardian;
use crate::text::report::Trouble;
use lower::Lowered;
use stops::Stops;

/// Running programs.
pub struct EbpfSource {
    stops: Arc<Stops>,
    thread: Option<JoinHandle<()>>,
    adopter: Option<Arc<Adopter>>,
}

/// What is to be watched.
pub struct Watched {
    /// COMMAND; without one, only the system is.
    pub command: Option<Command>,
    /// Processes that run already, with all that has come from them.
    pub pids: Vec<Pid>,
    /// Every exec of the machine.
    pub system: bool,
    pub aim: Aim,
    /// Follows what may be held later than at its exec.
    pub adopter: Option<Adopter>,
}

/// What becomes of an exec that may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// It is stopped, and judged on the stopped process.
    Stop,
    /// It is recorded, and runs on, unless the filter asks for what only /proc shows.
    Record(Wanted),
    /// The same for every call, failed ones too, whatever the filter says. It slows every system call of
    /// the machine.
    RecordCalls(Wanted),
}

impl Aim {
    /// Whether nothing is stopped.
    pub fn records(self) -> bool {
        self != Aim::Stop
    }

    /// What is recorded.
    pub fn wanted(self) -> Option<Wanted> {
        match self {
            Aim::Stop => None,
            Aim::Record(wanted) | Aim::RecordCalls(wanted) => Some(wanted),
        }
    }

    /// Whether failed execs are recorded, too.
    pub fn calls(self) -> bool {
        matches!(self, Aim::RecordCalls(_))
    }
}

/// What a started source tells of itself.
pub struct Started {
    pub source: EbpfSource,
    /// Answers for what the kernel has stopped.
    pub guardian: Guardian,
    /// What the kernel cannot decide of the filter, in words of the language.
    pub undecided: Vec<&'static str>,
    /// Whether it rules nothing out at all.
    pub decides_nothing: bool,
}

impl EbpfSource {
    /// Loads the programs and starts COMMAND. An error says why the kernel will not have them, and
    /// then nothing was started. How COMMAND fares is told by `tell`.
    pub fn start(
        watched: Watched,
        filter: &Filter,
        judge: impl Judge + 'static,
        tell: impl Fn(SourceEvent) + Send + 'static,
    ) -> Result<Started, Trouble> {
        let pidfds = roots::check(&watched.pids)?;
        let mut lowered = Lowered::new(filter, !watched.system, watched.aim.records());
        let mut aim = watched.aim;
        let adopter = watched.adopter.map(Arc::new);
        let follower = adopter.clone();
        let of_stops = adopter.as_ref().map(Arc::downgrade).unwrap_or_default();
        let tracer = adopter.as_ref().map_or(0, |adopter| adopter.tid());
        if aim.calls() || aim.wanted().is_some_and(|wanted| wanted.lives) {
            lowered.record_all();
        } else if aim == Aim::Record(Wanted::FOR_FILTER)
            && wants_process(filter, &lowered, watched.system)
        {
            aim = Aim::Stop;
            lowered = Lowered::new(filter, !watched.system, false);
        }
        // A call has it from its beginning.
        let tells_name = aim.wanted().is_some_and(|wanted| wanted.prev_comm) && !aim.calls();
        lowered.keep.prev_comm |= tells_name;
        let undecided = lowered.undecided.clone();
        let decides_nothing = lowered.decides_nothing();
        let (sender, loaded) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("ebpf".into())
            .spawn(move || {
                let mut object = MaybeUninit::uninit();
                let programs = match load::load(&mut object, &lowered, watched.system, aim, tracer)
                {
                    Ok(programs) => programs,
                    Err(trouble) => return drop(sender.send(Err(trouble))),
                };
                let lineage = Lineage::told(lowered.keep);
                let keep = lowered.keep;
                drop(lowered);
                let ready = programs.guardian().and_then(|guardian| {
                    let stops = Arc::new(Stops::new(&programs, tracer, of_stops)?);
                    Ok((stops, guardian))
                });
                let (stops, guardian) = match ready {
                    Ok(ready) => ready,
                    Err(trouble) => return drop(sender.send(Err(trouble))),
                };
                // However the thread ends.
                let _end = stops::End(Arc::clone(&stops));
                if sender.send(Ok((Arc::clone(&stops), guardian))).is_ok() {
                    let own = watch::OwnFile::of(std::process::id() as Pid);
                    watch::Watch {
                        programs,
                        stops,
                        in_tree: !watched.system,
                        aim,
                        keep,
                        lineage,
                        own,
                        adopter: follower,
                        command: 0,
                        command_name: None,
                        short_stops: 0,
                        awaited: None,
                        judge,
                        tell,
                    }
                    .run(watched.command, (&watched.pids, pidfds));
                }
            })
            .map_err(|error| {
                Trouble::new(format!("cannot start the thread of the eBPF source: {error}"))
            })?;
        match loaded.recv() {
            Ok(Ok((stops, guardian))) => Ok(Started {
                source: EbpfSource { stops, thread: Some(thread), adopter },
                guardian,
                undecided,
                decides_nothing,
            }),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => Err(Trouble::new("the thread of the eBPF source has ended")),
        }
    }
}

/// Whether the filter asks for what is read in /proc only, for which a process has to be there: its parents
/// outside of a tree, and control groups that the kernel's programs see in another way than /proc shows them.
fn wants_process(filter: &Filter, lowered: &Lowered, system: bool) -> bool {
    (system && filter.keep().lineage) || (lowered.asks.cgroup && !load::shows_cgroups())
}

/// Why [`probe`] could not load.
#[derive(Debug)]
pub enum Unusable {
    /// Something that it needs is not there, and what to do.
    Lacks(String, &'static str),
    /// The kernel refused, in words of our own.
    Refused(String),
}

/// Loads and attaches the programs with a small filter, as a session does, and takes them out again.
/// They are never switched on, so that nothing is stopped.
pub fn probe() -> Result<(), Unusable> {
    let filter = Filter::new(&[b"basename=x and argv=x"], Arc::new(SystemNames))
        .map_err(|error| Unusable::Refused(error.to_string()))?;
    let mut object = MaybeUninit::uninit();
    let loaded =
        load::load(&mut object, &Lowered::new(&filter, true, false), false, Aim::Stop, 0).map(drop);
    loaded.map_err(|trouble| match load::missing() {
        Some((what, hint)) => Unusable::Lacks(what, hint),
        None => Unusable::Refused(trouble.what),
    })
}

/// Decodes records that the kernel has not written.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let mut decoder = decode::Decoder::default();
    let mut rest = bytes;
    while let Some((len, behind)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(behind.len());
        let (record, behind) = behind.split_at(len);
        if let Some(decode::Record::Exec(_, record)) = decoder.decode(record) {
            let _ = record.all_faults();
        }
        rest = behind;
    }
}

impl Source for EbpfSource {
    fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn let_go(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stops.end();
            self.stops.wait_until_ended();
            drop(thread);
        }
        // Nothing comes to it any more.
        if let Some(adopter) = self.adopter.take() {
            adopter.let_go();
        }
    }

    fn totals(&self) -> Option<Totals> {
        Some(self.stops.totals())
    }

    fn exempt(&self, pid: Pid) {
        self.stops.exempt(pid);
    }
}

impl Drop for EbpfSource {
    fn drop(&mut self) {
        self.let_go();
    }
}
