//! From the bytes of a record to what it says. Nothing here trusts a length.

use std::collections::HashMap;

use super::files::{self, Which};
use super::skeleton::types::{
    call_event, event_header, event_kind, exec_event, exit_event, fd_event, fork_event, path_event,
    path_kind, recorded_part, string_event, string_kind,
};
use crate::event::Ids;
use crate::event::{ExecCall, ExecRecord, Faults, FdRecord, Part, Reading, Strings, Vector};

/// What a record says.
pub enum Record {
    /// An exec, with what came before it of the same id.
    Exec(Box<exec_event>, Box<ExecRecord>),
    Fork(fork_event),
    Exit(exit_event),
}

/// The parts of an exec that is yet to come.
#[derive(Default)]
struct Parts {
    /// How many records there were.
    count: u32,
    /// Of those records.
    bytes: usize,
    call: Option<call_event>,
    argv: Block,
    /// The first argument as it was passed.
    name: Block,
    env: Block,
    /// As it was passed, then as the kernel has it.
    filename: Part<Vec<u8>>,
    cwd: Part<Vec<u8>>,
    exe: Part<Vec<u8>>,
    cgroup: Part<Vec<u8>>,
    fds: Part<Vec<FdRecord>>,
}

/// The strings of a vector, as far as they have come.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    unread: Vec<usize>,
    faults: Faults,
}

/// Puts the records of one exec together.
#[derive(Default)]
pub struct Decoder {
    pending: HashMap<u64, Parts>,
    /// Of all records in it.
    bytes: usize,
}

/// Parts of more execs than this cannot be under way: their exec was lost.
const MOST_PENDING: usize = 4096;
/// Nor can more bytes than these.
const MOST_BYTES: usize = 64 << 20;

/// Copies a structure out of a record's beginning; the rest of the record.
fn read<T: Copy>(record: &[u8]) -> Option<(T, &[u8])> {
    if record.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the record is long enough, and the callers' types hold integers only.
    let value = unsafe { record.as_ptr().cast::<T>().read_unaligned() };
    Some((value, &record[size_of::<T>()..]))
}

/// At most so many of them.
fn first(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[..bytes.len().min(len)]
}

fn faults(header: &event_header) -> Faults {
    Faults::from_bits_truncate(header.flags)
}

impl Decoder {
    /// `None` for a part of something that is yet to come, and for what makes no sense.
    pub fn decode(&mut self, record: &[u8]) -> Option<Record> {
        let (header, _): (event_header, _) = read(record)?;
        match header.kind {
            event_kind::EVENT_SYSEXIT => {
                let (event, _): (exec_event, _) = read(record)?;
                let parts = self.pending.remove(&header.id).unwrap_or_default();
                self.bytes -= parts.bytes;
                Some(Record::Exec(Box::new(event), Box::new(parts.into_record(&event))))
            }
            event_kind::EVENT_FORK => read(record).map(|(event, _)| Record::Fork(event)),
            event_kind::EVENT_EXIT => read(record).map(|(event, _)| Record::Exit(event)),
            _ => {
                if self.pending.len() > MOST_PENDING || self.bytes > MOST_BYTES {
                    self.pending.clear();
                    self.bytes = 0;
                }
                self.bytes += record.len();
                let parts = self.pending.entry(header.id).or_default();
                parts.count += 1;
                parts.bytes += record.len();
                parts.add(header.kind, record);
                None
            }
        }
    }
}

impl Parts {
    fn add(&mut self, kind: event_kind, record: &[u8]) -> Option<()> {
        match kind {
            event_kind::EVENT_SYSENTER => {
                let (event, bytes): (call_event, _) = read(record)?;
                let name = first(bytes, event.filename_len as usize);
                self.filename = filename(name, faults(&event.header));
                self.call = Some(event);
            }
            event_kind::EVENT_STRING => {
                let (event, bytes): (string_event, _) = read(record)?;
                self.string(&event, first(bytes, event.len as usize));
            }
            event_kind::EVENT_FD => {
                let (event, bytes): (fd_event, _) = read(record)?;
                let (file_system, path) = bytes.split_at_checked(event.type_len as usize)?;
                let path = first(path, event.len as usize);
                let fd = files::descriptor(&event, file_system, path);
                self.fds.value.get_or_insert_default().push(fd);
            }
            event_kind::EVENT_PATH => {
                let (event, bytes): (path_event, _) = read(record)?;
                let names = first(bytes, event.len as usize);
                let which = Which {
                    apart: event.apart != 0,
                    deleted: event.deleted != 0,
                    inode: event.inode,
                    magic: event.magic,
                    file_system: b"file",
                };
                let (path, unnamed) = files::named(names, &which);
                let part = Part { value: Some(path), faults: faults(&event.header) | unnamed };
                match event.kind {
                    path_kind::PATH_CWD => self.cwd = part,
                    path_kind::PATH_EXE => self.exe = part,
                    path_kind::PATH_CGROUP => self.cgroup = part,
                    _ => {}
                }
            }
            _ => {}
        }
        Some(())
    }

    fn string(&mut self, event: &string_event, bytes: &[u8]) {
        let faults = faults(&event.header);
        let vector = match event.kind {
            string_kind::STRING_ARGV => &mut self.argv,
            string_kind::STRING_NAME => &mut self.name,
            string_kind::STRING_ENV => &mut self.env,
            _ => {
                self.filename = filename(bytes, faults);
                return;
            }
        };
        if faults.contains(Faults::STRING_UNREADABLE) && bytes.is_empty() {
            vector.unread.push(memchr::memchr_iter(0, &vector.bytes).count());
            vector.bytes.push(0);
        }
        vector.bytes.extend_from_slice(bytes);
        vector.faults |= faults;
    }

    fn into_record(mut self, event: &exec_event) -> ExecRecord {
        let mut faults = faults(&event.header);
        // The exec's own record is the last one.
        if self.count != event.header.counter {
            faults |= Faults::DROPPED;
        }
        let recorded = |part: recorded_part| event.recorded & part.0 != 0;
        if recorded(recorded_part::RECORDED_FDS) {
            self.fds.value.get_or_insert_default();
        }
        let descriptors = self.fds.value.as_ref().map_or(0, Vec::len);
        if descriptors != event.fds as usize {
            self.fds.faults |= Faults::DROPPED;
        }
        self.fds.faults |= faults & (Faults::FDS_UNREADABLE | Faults::TOO_MANY_ITEMS);
        let comm_faults = faults & Faults::COMM_UNREADABLE;
        let before = name(&event.prev_comm);
        let namespace =
            |number| if number == 0 { Reading::Unknown } else { Reading::Known(number) };
        ExecRecord {
            id: event.header.id,
            pid: event.tgid as u32,
            // Numbers of threads are told as the machine's first namespace has them.
            tid: if event.kernel_tgid == event.tgid { event.old_tid } else { event.tgid } as u32,
            parent: namespace(event.parent as u32),
            depth: Reading::Known(event.depth),
            time: event.time,
            began: event.start_time,
            result: event.result,
            call: self.call.map(|_| ExecCall {
                at: (event.is_execveat != 0).then_some(event.dirfd),
                flags: event.call_flags,
            }),
            compat: event.compat != 0,
            uid: event.uid,
            gid: event.gid,
            ids: ids(event),
            comm: Part { value: Some(name(&event.comm).to_vec()), faults: comm_faults },
            prev_comm: Part {
                value: (!before.is_empty()).then(|| before.to_vec()),
                ..Part::default()
            },
            filename: self.filename,
            argv: self.argv.part(event.argv_len, recorded(recorded_part::RECORDED_ARGV)),
            responses: Vec::new(),
            passed: self.name.part(0, self.call.is_some()),
            env: self.env.part(event.env_len, recorded(recorded_part::RECORDED_ENV)),
            cwd: self.cwd,
            exe: self.exe,
            interpreters: Part::default(),
            cgroup: self.cgroup,
            fds: self.fds,
            pid_namespace: namespace(event.pid_namespace),
            mount_namespace: namespace(event.mount_namespace),
            faults,
        }
    }
}

/// A file name, unless it lay nowhere.
fn filename(bytes: &[u8], faults: Faults) -> Part<Vec<u8>> {
    let is_lost = faults.contains(Faults::FILENAME_UNREADABLE);
    Part { value: (!is_lost).then(|| bytes.to_vec()), faults }
}

/// All ids, as far as they were sent.
fn ids(event: &exec_event) -> Part<Ids> {
    let count = event.group_count as usize;
    let groups = event.groups[..count.min(event.groups.len())].to_vec();
    let faults = if groups.len() < count { Faults::TOO_MANY_ITEMS } else { Faults::empty() };
    Part { value: Some(Ids { uids: event.uids, gids: event.gids, groups }), faults }
}

impl Block {
    /// The strings, of which there should be so many bytes.
    fn part(mut self, len: u64, recorded: bool) -> Part<Vector> {
        if ((self.bytes.len() - self.unread.len()) as u64) < len {
            self.faults |= Faults::POSSIBLE_TRUNCATION;
        }
        let vector = Vector { strings: Strings::from_block(self.bytes), unread: self.unread };
        Part { value: recorded.then_some(vector), faults: self.faults }
    }
}

/// A name, which is ended by a NUL byte.
fn name(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::skeleton::types::event_flag;

    /// The bytes of a structure of integers without padding.
    fn bytes<T>(event: &T) -> &[u8] {
        // SAFETY: as above; the callers' types are those of bpf/interface.h.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(event).cast(), size_of::<T>()) }
    }

    fn string(id: u64, kind: string_kind, flags: u32, text: &[u8]) -> Vec<u8> {
        let mut event = string_event { kind, len: text.len() as u32, ..string_event::default() };
        event.header = event_header { id, flags, kind: event_kind::EVENT_STRING, ..event.header };
        [bytes(&event), text].concat()
    }

    fn exec(id: u64, records: u32) -> Vec<u8> {
        let mut event =
            exec_event { recorded: recorded_part::RECORDED_ARGV.0, ..exec_event::default() };
        event.header =
            event_header { id, counter: records, kind: event_kind::EVENT_SYSEXIT, ..event.header };
        bytes(&event).to_vec()
    }

    fn decoded(records: &[Vec<u8>]) -> ExecRecord {
        let mut decoder = Decoder::default();
        let last = records.iter().filter_map(|record| decoder.decode(record)).last();
        match last {
            Some(Record::Exec(_, record)) => *record,
            _ => panic!("no exec"),
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut decoder = Decoder::default();
        for kind in 0..12u8 {
            for len in 0..200 {
                let mut record = vec![0xff; len];
                if len > 16 {
                    record[12..16].copy_from_slice(&u32::from(kind).to_ne_bytes());
                }
                let _ = decoder.decode(&record);
            }
        }
    }

    #[test]
    fn strings_go_to_their_exec_in_their_order() {
        let argv = string_kind::STRING_ARGV;
        let record = decoded(&[
            string(8, argv, 0, b"of another\0"),
            string(7, argv, 0, b"a\0b"),
            string(7, argv, 0, b"c\0"),
            string(7, argv, event_flag::FLAG_STRING_UNREADABLE.0, b""),
            string(7, argv, 0, b"d\0"),
            exec(7, 4),
        ]);
        let vector = record.argv.value.unwrap();
        assert_eq!(vector.strings.block(), b"a\0bc\0\0d\0");
        assert_eq!(vector.unread, [2]);
        assert_eq!(
            (record.argv.faults, record.faults),
            (Faults::STRING_UNREADABLE, Faults::empty())
        );
    }

    #[test]
    fn a_lost_part_is_noticed_and_a_cut_one_is_not_whole() {
        let argv = string_kind::STRING_ARGV;
        let lost = decoded(&[string(7, argv, 0, b"a\0"), exec(7, 2)]);
        assert_eq!(lost.faults, Faults::DROPPED);
        let cut =
            decoded(&[string(7, argv, event_flag::FLAG_POSSIBLE_TRUNCATION.0, b"a\0"), exec(7, 1)]);
        assert_eq!(cut.argv.whole(), Reading::Unknown);
    }

    #[test]
    fn the_faults_have_the_numbers_of_the_interface() {
        for (fault, flag) in [
            (Faults::ERROR, event_flag::FLAG_ERROR),
            (Faults::TOO_MANY_ITEMS, event_flag::FLAG_TOO_MANY_ITEMS),
            (Faults::COMM_UNREADABLE, event_flag::FLAG_COMM_UNREADABLE),
            (Faults::POSSIBLE_TRUNCATION, event_flag::FLAG_POSSIBLE_TRUNCATION),
            (Faults::POINTER_UNREADABLE, event_flag::FLAG_POINTER_UNREADABLE),
            (Faults::NO_ROOM, event_flag::FLAG_NO_ROOM),
            (Faults::STRING_UNREADABLE, event_flag::FLAG_STRING_UNREADABLE),
            (Faults::FDS_UNREADABLE, event_flag::FLAG_FDS_UNREADABLE),
            (Faults::OUTPUT_FAILED, event_flag::FLAG_OUTPUT_FAILED),
            (Faults::FLAGS_UNREADABLE, event_flag::FLAG_FLAGS_UNREADABLE),
            (Faults::DROPPED, event_flag::FLAG_DROPPED),
            (Faults::BAILED_OUT, event_flag::FLAG_BAILED_OUT),
            (Faults::LOOP_FAILED, event_flag::FLAG_LOOP_FAILED),
            (Faults::PATH_UNREADABLE, event_flag::FLAG_PATH_UNREADABLE),
            (Faults::INODE_UNREADABLE, event_flag::FLAG_INODE_UNREADABLE),
            (Faults::MOUNT_ID_UNREADABLE, event_flag::FLAG_MOUNT_ID_UNREADABLE),
            (Faults::FILENAME_UNREADABLE, event_flag::FLAG_FILENAME_UNREADABLE),
            (Faults::POSITION_UNREADABLE, event_flag::FLAG_POSITION_UNREADABLE),
        ] {
            assert_eq!(fault.bits(), flag.0);
        }
    }
}
