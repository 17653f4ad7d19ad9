//! Receives the events, judges each on the stopped process, and waits for COMMAND.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use libbpf_rs::{RingBuffer, RingBufferBuilder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::decode::{self, Decoder, Record, Texts};
use super::kin::Living;
use super::load::Programs;
use super::skeleton::types::{answer, exec_event};
use super::stops::{Stopped, Stops};
use super::vectors::FromProc;
use crate::fault;
use crate::procfs::{self, Status};
use crate::source::launch::{Command, Launched, launch};
use crate::source::lineage::Lineage;
use crate::source::stopped::{Ancestry, Place, StoppedProcess};
use crate::source::{
    Control, ExitStatus, Held, Judge, LaunchError, NotHeld, SourceEvent, Stop, Totals,
};
use crate::sys::{self, Pid};

/// The thread's state.
pub struct Watch<'object, J, E> {
    pub programs: Programs<'object>,
    pub stops: Arc<Stops>,
    /// Whether there is a tree, and no more than that is watched.
    pub in_tree: bool,
    /// Who made whom, where the filter asks.
    pub lineage: Option<Lineage>,
    /// Our own file, which is never matched: a terminal may start what we have not forked.
    pub own: Option<OwnFile>,
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
    pub fn run(mut self, command: Option<Command>) {
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
        self.watch(&ring, &received, launched);
        self.programs.disable();
        self.let_all_run(&ring, &received);
        self.count();
        self.stops.say_ended();
        // A program that was running when it was switched off may have stopped one more.
        sys::wait_for_kernel_readers();
        self.let_all_run(&ring, &received);
    }

    /// Sets running what was stopped in the last moment.
    fn let_all_run(&self, ring: &RingBuffer<'_>, received: &RefCell<Received>) {
        let _ = ring.consume();
        for record in received.take().records {
            if let Record::Exec(event, _) = record
                && event.stopped != 0
                && let Some(stopped) = self.stopped(&event)
            {
                self.stops.let_run(&stopped);
            }
        }
    }

    fn launch(
        &mut self,
        command: &Command,
    ) -> Result<(Launched, std::os::fd::OwnedFd), LaunchError> {
        let mut pidfd = None;
        let programs = &mut self.programs;
        let child = launch(command, |pid| {
            pidfd = Some(sys::pidfd_open(pid)?);
            programs.enable(Some(pid));
            Ok(())
        })?;
        let pidfd =
            pidfd.ok_or_else(|| LaunchError::System(std::io::ErrorKind::NotFound.into()))?;
        Ok((child, pidfd))
    }

    fn watch(
        &mut self,
        ring: &RingBuffer<'_>,
        received: &RefCell<Received>,
        mut command: Option<(Launched, std::os::fd::OwnedFd)>,
    ) {
        if let Some((child, _)) = &command {
            (self.tell)(SourceEvent::Started(child.pid));
        }
        loop {
            // SAFETY: the ring's own descriptor, which lives as long as the ring.
            let events = unsafe { BorrowedFd::borrow_raw(ring.epoll_fd()) };
            let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![interest(events), interest(self.stops.ending().as_fd())];
            fds.extend(command.iter().map(|(_, pidfd)| interest(pidfd.as_fd())));
            if poll(&mut fds, PollTimeout::NONE).is_err() {
                continue;
            }
            let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or_default();
            let (ending, ended) = (ready(fds.get(1)), ready(fds.get(2)));
            drop(fds);
            if ending {
                return;
            }
            let _ = ring.consume();
            let records = std::mem::take(&mut received.borrow_mut().records);
            for record in records {
                self.record(record);
            }
            if ended && let Some((child, _)) = command.take() {
                self.count();
                self.command_ended(child);
            }
        }
    }

    fn command_ended(&self, child: Launched) {
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
            not_followed: counters.not_followed + counters.not_told,
            missed: self.programs.missed(),
        });
    }

    /// The process of an event, if it is still that one.
    fn stopped(&self, event: &exec_event) -> Option<Stopped> {
        let found = procfs::pidfd_of(event.tgid, event.start_time);
        if found.is_none() {
            self.stops.forget(event.slot);
        }
        found.map(|pidfd| Stopped { pidfd, slot: event.slot })
    }

    fn record(&mut self, record: Record) {
        match (record, &mut self.lineage) {
            (Record::Exec(event, texts), _) if is_wanted(&event) => self.stop(&event, texts),
            (Record::Exec(event, texts), _) => self.ran_on(&event, texts),
            (Record::Fork(event), Some(lineage)) => {
                lineage.forked(event.parent, event.child, false)
            }
            (Record::Exit(event), Some(lineage)) => lineage.ended(event.task),
            _ => {}
        }
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

    fn stop(&mut self, event: &exec_event, texts: Texts) {
        let ancestry = self.executing(event);
        let before = decode::name(&event.prev_comm);
        let comm_before = (!before.is_empty()).then(|| before.to_vec());
        let Some(stopped) = self.stopped(event) else {
            if let Some(lineage) = &mut self.lineage {
                lineage.became(event.kernel_tgid, decode::image(event, texts));
            }
            return;
        };
        if !self.in_tree && self.own.is_some() && OwnFile::of(event.tgid) == self.own {
            if event.traced == 0 {
                self.stops.let_run(&stopped);
            }
            return;
        };
        let place = Place { ancestry, comm_before };
        let mut facts = StoppedProcess::new(event.tgid, Some(place), FromProc::read);
        if let Some(lineage) = &mut self.lineage {
            lineage.executed(event.kernel_tgid, &mut facts);
        }
        let mut control =
            Answer { stops: &self.stops, stopped: Some(stopped), traced: event.traced != 0 };
        self.judge.exec(&mut facts, Stop::new(event.tgid, &mut control));
    }

    fn ran_on(&mut self, event: &exec_event, texts: Texts) {
        self.executing(event);
        let image = decode::image(event, texts);
        self.judge.ruled_out(&mut &image);
        if let Some(lineage) = &mut self.lineage {
            lineage.became(event.kernel_tgid, image);
        }
    }
}

/// Whether the filter may want it, and it was stopped or cannot be.
fn is_wanted(event: &exec_event) -> bool {
    event.answer != answer::ANSWER_NO && (event.stopped != 0 || event.traced != 0)
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
    traced: bool,
}

impl Control for Answer<'_> {
    fn release(&mut self, _: Pid) {
        if let Some(stopped) = self.stopped.take()
            && !self.traced
        {
            self.stops.let_run(&stopped);
        }
    }

    fn hold(&mut self, pid: Pid) -> Result<Held, NotHeld> {
        let status = Status::read(pid).map_err(|_| NotHeld::Gone)?;
        if self.traced {
            return Err(NotHeld::Traced(status.tracer));
        }
        if let Some(signal) = status.fatal_pending() {
            self.release(pid);
            return Err(NotHeld::Dying(signal));
        }
        let Some(stopped) = self.stopped.take() else { return Err(NotHeld::Gone) };
        let Ok(pidfd) = stopped.pidfd.try_clone() else {
            self.stops.let_run(&stopped);
            return Err(NotHeld::Gone);
        };
        self.stops.insert(pid, stopped);
        fault::point("held");
        Ok(Held::new(pid, pidfd, self.stops.clone()))
    }
}
