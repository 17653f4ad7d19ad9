//! A trace for the viewer at ui.perfetto.dev and its tools: each process is a track below its parent's, each
//! program that it executed a slice on it, each exec that failed an instant.

mod details;
mod proto;

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::SystemTime;

use crate::event::{Ended, ExecRecord, Execution, TraceEvent};
use crate::trace::sinks::clock::Clock;
use crate::trace::sinks::json::BaselineEnv;
use crate::trace::sinks::words;
use crate::trace::{About, End, Sink};
use proto::{ClockSnapshot, InternedData, Kind, Named, TracePacket, TrackDescriptor, TrackEvent};

/// So many names are called by a number; there are seldom more.
const MOST_NAMES: usize = 1 << 14;
/// The categories, by their numbers.
const CATEGORIES: [(u64, &str); 2] = [(PROGRAM, "program"), (FAILURE, "failure")];
const PROGRAM: u64 = 1;
const FAILURE: u64 = 2;

/// Writes packets.
pub struct Perfetto<W: Write> {
    out: io::BufWriter<W>,
    clock: Clock,
    env: BaselineEnv,
    /// By pid: the living processes.
    processes: HashMap<u32, Process>,
    tracks: u64,
    names: HashMap<String, u64>,
    told: u64,
}

/// A process.
#[derive(Default)]
struct Process {
    /// Its parent's track.
    above: Option<u64>,
    /// Its track, once something happens on it.
    track: Option<u64>,
    /// What it executes, itself or before it was forked.
    program: String,
    /// Whether a slice has begun and not ended.
    runs: bool,
}

/// What a program is called.
fn name(record: &ExecRecord) -> String {
    record.program().map_or_else(|| "?".into(), details::text)
}

impl<W: Write> Perfetto<W> {
    pub fn new(out: W) -> Perfetto<W> {
        Perfetto {
            out: io::BufWriter::with_capacity(1 << 16, out),
            clock: Clock { wall: SystemTime::UNIX_EPOCH, boot: 0 },
            env: BaselineEnv::default(),
            processes: HashMap::new(),
            tracks: 0,
            names: HashMap::new(),
            told: 0,
        }
    }

    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        let sequence_flags = packet.sequence_flags.or(Some(proto::NEEDS_STATE));
        let trusted_packet_sequence_id = Some(proto::SEQUENCE);
        let packet = TracePacket { sequence_flags, trusted_packet_sequence_id, ..packet };
        self.out.write_all(&packet.encoded())
    }

    /// Its track, which begins here if it has none.
    fn track(&mut self, pid: u32, name: Option<&str>) -> io::Result<u64> {
        let process = self.processes.entry(pid).or_default();
        if let Some(track) = process.track {
            return Ok(track);
        }
        self.tracks += 1;
        process.track = Some(self.tracks);
        let descriptor = TrackDescriptor {
            uuid: Some(self.tracks),
            name: Some(format!("{} {pid}", name.unwrap_or(&process.program))),
            parent_uuid: process.above,
            child_ordering: Some(proto::BY_TIME),
            sibling_merge_behavior: Some(proto::NEVER_MERGE),
        };
        self.packet(TracePacket { track_descriptor: Some(descriptor), ..Default::default() })?;
        Ok(self.tracks)
    }

    /// A process that comes from another.
    fn begun(&mut self, pid: u32, parent: Option<u32>) -> io::Result<()> {
        let mut process = Process::default();
        if let Some((parent, known)) = parent.and_then(|p| Some((p, self.processes.get(&p)?))) {
            process.program.clone_from(&known.program);
            process.above = Some(self.track(parent, None)?);
        }
        self.processes.insert(pid, process);
        Ok(())
    }

    fn happens(
        &mut self,
        pid: u32,
        time: u64,
        name: Option<String>,
        event: TrackEvent,
    ) -> io::Result<()> {
        let track_uuid = Some(self.track(pid, None)?);
        let mut packet = TracePacket {
            timestamp: Some(time),
            timestamp_clock_id: Some(proto::BOOTTIME),
            track_event: Some(TrackEvent { track_uuid, ..event }),
            ..Default::default()
        };
        if let Some(name) = name {
            self.call(&mut packet, name);
        }
        self.packet(packet)
    }

    /// Names a packet's event.
    fn call(&mut self, packet: &mut TracePacket, name: String) {
        let Some(event) = &mut packet.track_event else { return };
        if let Some(&iid) = self.names.get(&name) {
            event.name_iid = Some(iid);
        } else if self.names.len() >= MOST_NAMES {
            event.name = Some(name);
        } else {
            let iid = self.names.len() as u64 + 1;
            event.name_iid = Some(iid);
            let named = Named { iid: Some(iid), name: Some(name.clone()) };
            packet.interned_data =
                Some(InternedData { event_names: vec![named], ..Default::default() });
            self.names.insert(name, iid);
        }
    }

    fn executed(&mut self, execution: &Execution) -> io::Result<()> {
        let record = &execution.record;
        let pid = record.pid;
        let name = name(record);
        if !self.processes.contains_key(&pid) {
            self.begun(pid, record.parent.known())?;
        }
        let debug_annotations = details::of_exec(execution, &self.env, self.clock.at(record.time));
        if record.result != 0 {
            // What it is about to be, as a rule: others are tried along PATH.
            self.track(pid, Some(&name))?;
            let errno = words::errno(record.result).unwrap_or_else(|| record.result.to_string());
            let event = TrackEvent {
                r#type: Some(Kind::Instant.into()),
                category_iids: vec![FAILURE],
                debug_annotations,
                ..Default::default()
            };
            return self.happens(pid, record.time, Some(format!("{name}: {errno}")), event);
        }
        let process = self.processes.entry(pid).or_default();
        process.program.clone_from(&name);
        if std::mem::replace(&mut process.runs, true) {
            self.slice_end(pid, record.time, Vec::new())?;
        }
        let event = TrackEvent {
            r#type: Some(Kind::SliceBegin.into()),
            category_iids: vec![PROGRAM],
            debug_annotations,
            ..Default::default()
        };
        self.happens(pid, record.time, Some(name), event)
    }

    fn slice_end(
        &mut self,
        pid: u32,
        time: u64,
        debug_annotations: Vec<proto::DebugAnnotation>,
    ) -> io::Result<()> {
        let r#type = Some(Kind::SliceEnd.into());
        let event = TrackEvent { r#type, debug_annotations, ..Default::default() };
        self.happens(pid, time, None, event)
    }

    fn ended(&mut self, ended: &Ended) -> io::Result<()> {
        if self.processes.get(&ended.pid).is_some_and(|process| process.runs) {
            self.slice_end(ended.pid, ended.time, details::of_end(ended))?;
        }
        self.processes.remove(&ended.pid);
        Ok(())
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.clock = Clock::of(about);
        self.env = BaselineEnv::new(&about.baseline.env);
        let since = about.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let clock = |id, time| proto::Clock { clock_id: Some(id), timestamp: Some(time) };
        let wall = u64::try_from(since.as_nanos()).unwrap_or_default();
        let snapshot = ClockSnapshot {
            clocks: vec![clock(proto::BOOTTIME, about.boot), clock(proto::REALTIME, wall)],
            primary_trace_clock: Some(proto::BOOTTIME),
        };
        let categories = CATEGORIES
            .map(|(iid, name)| Named { iid: Some(iid), name: Some(name.into()) })
            .to_vec();
        self.packet(TracePacket {
            clock_snapshot: Some(snapshot),
            sequence_flags: Some(proto::CLEARED),
            interned_data: Some(InternedData {
                event_categories: categories,
                debug_annotation_names: details::names(),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        self.told += 1;
        match event {
            TraceEvent::Begun(begun) => self.begun(begun.pid, Some(begun.parent)),
            TraceEvent::Exec(execution) => self.executed(execution),
            TraceEvent::Ended(ended) => self.ended(ended),
        }
    }

    fn finish(&mut self, _: &End) -> io::Result<()> {
        self.out.flush()
    }

    fn unwritten(&self) -> u64 {
        self.told
    }
}
