//! Receives the events, judges each on the stopped process, and waits for COMMAND.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use libbpf_rs::{RingBuffer, RingBufferBuilder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Aim;
use super::decode::{Decoder, Record};
use super::kin::Living;
use super::load::Programs;
use super::roots::Roots;
use super::skeleton::types::{answer, exec_event};
use super::stops::{Later, Stopped, Stops};
use crate::debug::matcher::Candidate;
use crate::event::{Begun, Ended, ExecRecord, Facts, Image, Keep, Part, Vector};
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Status};
use crate::source::interpreters;
use crate::source::launch::{Command, Launched, launch};
use crate::source::lineage::Lineage;
use crate::source::ptrace::adopt::{Adoptee, Adopter};
use crate::source::recorded::Recorded;
use crate::source::responses;
use crate::source::stopped::{Ancestry, Place, StoppedProcess};
use crate::source::vectors::FromProc;
use crate::source::{
    AGAIN, Control, ExitStatus, Held, Judge, LaunchError, NotHeld, SourceEvent, Stop, Totals,
};

/// How often it looks for records as long as there are any, in milliseconds.
const LOOK_EVERY: u16 = 10;

/// The thread's state.
pub struct Watch<'object, J, E> {
    pub programs: Programs<'object>,
    pub stops: Arc<Stops>,
    /// Whether there is a tree, and no more than that is watched.
    pub in_tree: bool,
    pub aim: Aim,
    pub keep: Keep,
    /// Who made whom, where the filter asks.
    pub lineage: Option<Lineage>,
    /// Our own file, which is never matched: a terminal may start what we have not forked.
    pub own: Option<OwnFile>,
    /// Where what may be held later goes.
    pub adopter: Option<Arc<Adopter>>,
    /// COMMAND, once it has been started.
    pub command: Pid,
    /// Its argv[0], until it has executed anything.
    pub command_name: Option<OsString>,
    /// How many execs were stopped to be judged, and ran on.
    pub short_stops: u64,
    /// The same, and when it was let go, until it is reported as started.
    pub awaited: Option<(Pid, u64)>,
    pub judge: J,
    pub tell: E,
}

/// A file, by its device and inode.
#[derive(PartialEq, Eq)]
pub struct OwnFile(u64, u64);

impl OwnFile {
    /// What a process executes.
    pub fn of(pid: Pid) -> Option<OwnFile> {
        let found = std::fs::metadata(procfs::path(pid, "exe")).ok()?;
        Some(OwnFile(found.dev(), found.ino()))
    }
}

impl<J: Judge, E: Fn(SourceEvent)> Watch<'_, J, E> {
    /// Starts COMMAND and runs until it is told to end, or, with a COMMAND alone, until that has ended
    /// and nothing can come any more.
    pub fn run(mut self, command: Option<Command>, roots: (&[Pid], Vec<OwnedFd>)) {
        let received: RefCell<Received> = RefCell::default();
        let mut builder = RingBufferBuilder::new();
        let added = builder.add(&self.programs.skeleton.maps.events, |record| {
            received.borrow_mut().add(record);
            0
        });
        let added = added.map(drop);
        let ring = match added.and_then(|()| builder.build()) {
            Ok(ring) => ring,
            Err(error) => {
                let error = std::io::Error::other(format!("the ring buffer: {error}"));
                return (self.tell)(SourceEvent::NotStarted(LaunchError::System(error)));
            }
        };
        let mut launched = None;
        match command.map(|command| self.launch(&command)) {
            None => self.programs.enable(None),
            Some(Ok(child)) => launched = Some(child),
            Some(Err(error)) => return (self.tell)(SourceEvent::NotStarted(error)),
        }
        let roots = Roots::enter(roots, &self.programs, self.lineage.as_mut());
        self.watch(&ring, &received, launched, roots);
        self.programs.disable();
        if self.aim.records() {
            // What was recorded since the last look.
            self.receive(&ring, &received);
        }
        self.let_all_run(&ring, &received);
        self.count();
        // A program that was running when it was switched off may still stop one more. The guardian waits for that;
        // our own end would have to, if we did.
        self.stops.say_ended();
    }

    /// Sets running what was stopped in the last moment.
    fn let_all_run(&self, ring: &RingBuffer<'_>, received: &RefCell<Received>) {
        let _ = ring.consume();
        for record in received.take().records {
            if let Record::Exec(event, _) = record
                && event.stopped != 0
                && let Ok(stopped) = self.stopped(&event)
            {
                self.stops.let_run(&stopped);
            }
        }
    }

    fn launch(&mut self, command: &Command) -> Result<(Launched, OwnedFd), LaunchError> {
        let mut pidfd = None;
        let programs = &mut self.programs;
        let awaited = &mut self.awaited;
        let child = launch(command, |pid| {
            pidfd = Some(sys::pidfd_open(pid)?);
            programs.enable(Some(pid));
            *awaited = Some((pid, sys::boot_time()));
            Ok(())
        })?;
        let pidfd =
            pidfd.ok_or_else(|| LaunchError::System(std::io::ErrorKind::NotFound.into()))?;
        self.command = child.pid;
        self.command_name = Some(child.name.clone());
        Ok((child, pidfd))
    }

    fn watch(
        &mut self,
        ring: &RingBuffer<'_>,
        received: &RefCell<Received>,
        mut command: Option<(Launched, OwnedFd)>,
        mut roots: Option<Roots>,
    ) {
        if !self.aim.records() {
            self.begins(self.command, None);
        }
        // Where execs are recorded they come in numbers: a wake-up for each would cost what it tells of.
        let mut looks = false;
        self.programs.looks(self.aim == Aim::Stop);
        loop {
            // SAFETY: the ring's own descriptor, which lives as long as the ring.
            let events = unsafe { BorrowedFd::borrow_raw(ring.epoll_fd()) };
            let awaited = if looks { PollFlags::empty() } else { PollFlags::POLLIN };
            let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![PollFd::new(events, awaited), interest(self.stops.ending().as_fd())];
            fds.extend(command.iter().map(|(_, pidfd)| interest(pidfd.as_fd())));
            let begins = self.awaited.and(command.as_ref());
            fds.extend(begins.iter().map(|(child, _)| interest(child.as_fd())));
            fds.extend(roots.iter().flat_map(Roots::pidfds).map(interest));
            let rest = roots.as_ref().and_then(Roots::look_again);
            let timeout = if looks { Some(LOOK_EVERY) } else { rest };
            if poll(&mut fds, timeout.map_or(PollTimeout::NONE, PollTimeout::from)).is_err() {
                continue;
            }
            let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or_default();
            let ending = ready(fds.get(1));
            let ended = command.is_some() && ready(fds.get(2));
            let known = begins.filter(|_| ended || ready(fds.get(3)));
            drop(fds);
            if let Some((child, _)) = known {
                match child.has_executed() {
                    // Its record may still be on its way, and must not be older than that.
                    true => self.begins(child.pid, None),
                    // It has failed, and is about to end.
                    false => self.awaited = None,
                }
            }
            if ending {
                return;
            }
            let some = self.receive(ring, received);
            if self.aim.records() && some != looks {
                looks = some;
                self.programs.looks(looks);
                // What came before the programs knew.
                self.receive(ring, received);
            }
            if ended && let Some((child, _)) = command.take() {
                self.count();
                self.command_ended(child);
            }
            let all_ended = roots.as_mut().is_some_and(|roots| roots.ended(&self.programs));
            if all_ended && command.is_none() {
                roots = None;
                // What was told before the last one's end.
                self.receive(ring, received);
                self.count();
                (self.tell)(SourceEvent::NothingLeft);
            }
        }
    }

    /// COMMAND has begun, if that is this process and was not reported yet. Where the time of its exec is not
    /// known, it is the time at which it was let go.
    fn begins(&mut self, pid: Pid, time: Option<u64>) {
        if let Some((_, let_go)) = self.awaited.take_if(|(awaited, _)| *awaited == pid) {
            (self.tell)(SourceEvent::Started(pid, time.unwrap_or(let_go)));
        }
    }

    /// Takes what is in the ring; whether there was anything.
    fn receive(&mut self, ring: &RingBuffer<'_>, received: &RefCell<Received>) -> bool {
        let _ = ring.consume();
        let records = std::mem::take(&mut received.borrow_mut().records);
        let some = !records.is_empty();
        for record in records {
            self.record(record);
        }
        some
    }

    fn command_ended(&self, child: Launched) {
        if self.adopter.as_ref().is_some_and(|adopter| adopter.tells_end_of(child.pid)) {
            return;
        }
        let status = sys::reap(child.pid).map_or(ExitStatus(125 << 8), ExitStatus);
        (self.tell)(match child.failure() {
            Some(error) => SourceEvent::NotStarted(error),
            None => SourceEvent::CommandEnded(status),
        });
    }

    fn count(&self) {
        let counters = self.programs.counters();
        self.stops.set_totals(Totals {
            execs: counters.execs,
            not_stopped: counters.not_stopped,
            not_followed: counters.not_followed,
            not_told: counters.not_told,
            missed: self.programs.missed(),
            short_stops: self.short_stops,
        });
    }

    /// The process of an event, if it is still that one. On an error it is stopped no more.
    fn stopped(&self, event: &exec_event) -> Result<Stopped, NotHeld> {
        let found = procfs::pidfd_of(event.tgid, event.start_time);
        let found = found.map_err(|error| NotHeld::by(event.tgid, &error));
        match found {
            Err(NotHeld::Gone) => self.stops.forget(event.slot),
            Err(_) => self.stops.let_run_by_number(event.tgid, event.slot),
            Ok(_) => {}
        }
        found.map(|pidfd| Stopped { pidfd, slot: event.slot, later: None })
    }

    fn record(&mut self, record: Record) {
        match record {
            Record::Exec(event, record) => self.exec(&event, *record),
            Record::Fork(event) => {
                if let Some(lineage) = &mut self.lineage {
                    lineage.forked(event.parent, event.child, false);
                }
                if self.tells_lives() && event.seen_child != 0 {
                    self.judge.begun(Begun {
                        pid: event.seen_child as u32,
                        parent: event.seen_parent as u32,
                        time: event.time,
                    });
                }
            }
            Record::Exit(event) => {
                if let Some(lineage) = &mut self.lineage {
                    lineage.ended(event.task);
                }
                if self.tells_lives() && event.whole_process != 0 && event.header.pid != 0 {
                    self.judge.ended(Ended {
                        pid: event.header.pid as u32,
                        time: event.time,
                        status: (event.code << 8 | event.core << 7 | event.signal) as i32,
                        exec: None,
                        usage: None,
                    });
                }
            }
        }
    }

    fn tells_lives(&self) -> bool {
        self.aim.wanted().is_some_and(|wanted| wanted.lives)
    }

    fn exec(&mut self, event: &exec_event, mut record: ExecRecord) {
        // A signal came first, and the call is made anew.
        if AGAIN.contains(&i64::from(event.result)) {
            return;
        }
        let living = || procfs::pidfd_of(event.tgid, event.start_time).ok().map(|_| event.tgid);
        if self.aim.wanted().is_some_and(|wanted| wanted.interpreters) {
            record.interpreters = interpreters::of(&record, living);
        }
        if self.aim.wanted().is_some_and(|wanted| wanted.responses) {
            record.responses = responses::of_record(&record, living());
        }
        let begins = self.aim.records() && event.tgid == self.command && event.result == 0;
        if let Some(name) = self.command_name.take_if(|_| begins) {
            // Before it was COMMAND it was ours: its call was not seen.
            record.prev_comm = Part::default();
            record.passed = Part::of(Vector::of([name.as_encoded_bytes()]));
        }
        record.complete_passed();
        if event.result != 0 {
            return self.failed(event, record);
        }
        self.begins(event.tgid, Some(event.time));
        let ancestry = self.executing(event);
        if event.stopped != 0 {
            return self.stopped_one(event, record, ancestry);
        }
        let wanted = event.answer != answer::ANSWER_NO;
        let live = (wanted && self.aim == Aim::Stop)
            .then(|| procfs::pidfd_of(event.tgid, event.start_time).ok())
            .flatten()
            .map(|_| StoppedProcess::new(event.tgid, None, FromProc::read));
        let mut facts = Recorded::new(record, ancestry, live);
        self.note(event, &mut facts);
        if !wanted {
            self.judge.ruled_out(&mut facts);
        } else if self.is_our_own(event) {
        } else if self.aim.records() {
            self.judge.recorded(facts);
        } else if event.traced != 0 || event.stops_already != 0 {
            let mut control = match event.traced {
                0 => NotOurs(NotHeld::StoppedElsewhere),
                _ => NotOurs(traced(event.tgid)),
            };
            self.judge.exec(&mut facts, Stop::new(event.tgid, &mut control));
        }
        // What is left could not be stopped, which was counted.
    }

    /// An exec that was not to be: its process is what it was.
    fn failed(&mut self, event: &exec_event, record: ExecRecord) {
        let ancestry: Box<dyn Ancestry> = match &self.lineage {
            Some(lineage) => lineage.place(event.kernel_tgid).ancestry,
            None => Box::new(Living::new(event.tgid, self.in_tree.then_some(event.depth))),
        };
        self.judge.recorded(Recorded::new(record, ancestry, None));
    }

    /// Whether it is a program of ours, which a terminal has started for us.
    fn is_our_own(&self, event: &exec_event) -> bool {
        !self.in_tree && self.own.is_some() && OwnFile::of(event.tgid) == self.own
    }

    /// Notes an exec in the lineage before it overwrites what its process was.
    fn executing(&mut self, event: &exec_event) -> Box<dyn Ancestry> {
        let Some(lineage) = &mut self.lineage else {
            return Box::new(Living::new(event.tgid, self.in_tree.then_some(event.depth)));
        };
        if event.depth == 0 {
            lineage.begin(event.kernel_tgid);
        }
        lineage.executing(event.kernel_tgid, event.old_tid);
        lineage.place(event.kernel_tgid).ancestry
    }

    /// Keeps what the program's descendants will be asked for.
    fn note(&mut self, event: &exec_event, facts: &mut dyn Facts) {
        if let Some(lineage) = &mut self.lineage {
            let image = Image::capture(event.tgid as u32, event.depth, self.keep, facts);
            lineage.became(event.kernel_tgid, image);
        }
    }

    fn stopped_one(&mut self, event: &exec_event, record: ExecRecord, ancestry: Box<dyn Ancestry>) {
        let stopped = match self.stopped(event) {
            Ok(stopped) => stopped,
            Err(why) => {
                let mut facts = Recorded::new(record, ancestry, None);
                self.note(event, &mut facts);
                if why != NotHeld::Gone {
                    self.judge.exec(&mut facts, Stop::new(event.tgid, &mut NotOurs(why)));
                }
                return;
            }
        };
        if self.is_our_own(event) {
            return self.stops.let_run(&stopped);
        }
        let place = Place { ancestry, comm_before: record.prev_comm.value };
        let mut facts = StoppedProcess::new(event.tgid, Some(place), FromProc::read);
        self.note(event, &mut facts);
        let mut control = Answer {
            stops: &self.stops,
            stopped: Some(stopped),
            adopter: self.adopter.as_deref(),
            is_command: event.tgid == self.command,
            released: false,
        };
        self.judge.exec(&mut facts, Stop::new(event.tgid, &mut control));
        self.short_stops += u64::from(control.released);
    }
}

/// What has come out of the ring.
#[derive(Default)]
struct Received {
    decoder: Decoder,
    records: Vec<Record>,
}

impl Received {
    fn add(&mut self, record: &[u8]) {
        self.records.extend(self.decoder.decode(record));
    }
}

/// What becomes of one event's process.
struct Answer<'a> {
    stops: &'a Arc<Stops>,
    stopped: Option<Stopped>,
    adopter: Option<&'a Adopter>,
    is_command: bool,
    /// Whether nothing else became of it.
    released: bool,
}

impl Answer<'_> {
    fn let_run(&mut self, pid: Pid) {
        if let Some(stopped) = self.stopped.take() {
            self.stops.begin(pid, stopped);
        }
    }
}

impl Control for Answer<'_> {
    fn release(&mut self, pid: Pid) {
        self.released = self.stopped.is_some();
        self.let_run(pid);
    }

    fn follow(&mut self, pid: Pid, candidate: Arc<Candidate>) -> Result<(), NotHeld> {
        let adoptee = Adoptee { pid, candidate, is_command: self.is_command };
        let result = self.adopter.map_or(Err(NotHeld::Gone), |adopter| adopter.adopt(adoptee));
        // The guardian answers for it until SIGCONT has been sent.
        self.let_run(pid);
        fault::point("followed");
        result
    }

    fn hold(&mut self, pid: Pid) -> Result<Held, NotHeld> {
        let status = Status::read(pid).map_err(|error| NotHeld::by(pid, &error))?;
        if let Some(signal) = status.fatal_pending() {
            return Err(NotHeld::Dying(signal));
        }
        let pidfd = match &self.stopped {
            Some(stopped) => stopped
                .pidfd
                .try_clone()
                .and_then(|pidfd| sys::leaves_room(pidfd.as_fd()).map(|()| pidfd))
                .map_err(|error| NotHeld::by(pid, &error))?,
            None => return Err(NotHeld::Gone),
        };
        if let Some(stopped) = self.stopped.take() {
            self.stops.insert(pid, stopped);
        }
        fault::point("held");
        Ok(Held::new(pid, pidfd, self.stops.clone()))
    }

    fn hold_and_follow(&mut self, pid: Pid, candidate: Arc<Candidate>) -> Result<Held, NotHeld> {
        if let Some(stopped) = &mut self.stopped {
            stopped.later = Some(Later { candidate, is_command: self.is_command });
        }
        self.hold(pid)
    }
}

/// A process that is not ours to stop or to let run: why.
struct NotOurs(NotHeld);

fn traced(pid: Pid) -> NotHeld {
    NotHeld::Traced(Status::read(pid).map_or(0, |status| status.tracer))
}

impl Control for NotOurs {
    fn release(&mut self, _: Pid) {}

    fn follow(&mut self, _: Pid, _: Arc<Candidate>) -> Result<(), NotHeld> {
        Err(self.0)
    }

    fn hold(&mut self, _: Pid) -> Result<Held, NotHeld> {
        Err(self.0)
    }
}
