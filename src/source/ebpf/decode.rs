//! From the bytes of a record to what it says. Nothing here trusts a length.

use std::collections::HashMap;

use super::skeleton::types::{
    event_flag, event_header, event_kind, exec_event, exit_event, fork_event, string_event,
    string_kind,
};
use crate::event::{Image, Reading, Strings};

/// What a record says.
pub enum Record {
    /// An exec, with what came before it of the same id.
    Exec(Box<exec_event>, Texts),
    Fork(fork_event),
    Exit(exit_event),
}

/// The texts of an exec, where they were told.
#[derive(Debug, Default)]
pub struct Texts {
    pub argv: Option<Vec<u8>>,
    pub filename: Option<Vec<u8>>,
}

/// Puts the records of one exec together.
#[derive(Default)]
pub struct Decoder {
    /// Texts whose exec has yet to come, by its id.
    pending: HashMap<u64, Texts>,
}

/// Texts of more execs than this cannot be under way: their exec was lost.
const MOST_PENDING: usize = 4096;

/// Copies a structure out of a record's beginning.
fn read<T: Copy>(record: &[u8]) -> Option<T> {
    if record.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the record is long enough, and the callers' types hold integers only.
    Some(unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

impl Decoder {
    /// `None` for a part of something that is yet to come, and for what makes no sense.
    pub fn decode(&mut self, record: &[u8]) -> Option<Record> {
        let header: event_header = read(record)?;
        match header.kind {
            event_kind::EVENT_SYSEXIT => {
                let texts = self.pending.remove(&header.id).unwrap_or_default();
                Some(Record::Exec(Box::new(read(record)?), texts))
            }
            event_kind::EVENT_STRING => {
                self.string(&read(record)?, &record[size_of::<string_event>()..]);
                None
            }
            event_kind::EVENT_FORK => Some(Record::Fork(read(record)?)),
            event_kind::EVENT_EXIT => Some(Record::Exit(read(record)?)),
            _ => None,
        }
    }

    fn string(&mut self, event: &string_event, bytes: &[u8]) {
        if self.pending.len() > MOST_PENDING {
            self.pending.clear();
        }
        let texts = self.pending.entry(event.header.id).or_default();
        let bytes = bytes[..bytes.len().min(event.len as usize)].to_vec();
        match event.kind {
            // Half an argv would be taken for a whole one.
            string_kind::STRING_ARGV if is_cut(event) => {}
            string_kind::STRING_ARGV => texts.argv = Some(bytes),
            string_kind::STRING_FILENAME => texts.filename = Some(bytes),
            _ => {}
        }
    }
}

fn is_cut(event: &string_event) -> bool {
    event.header.flags & event_flag::FLAG_POSSIBLE_TRUNCATION.0 != 0
}

fn known<T>(value: Option<T>) -> Reading<T> {
    value.map_or(Reading::Unknown, Reading::Known)
}

/// A name, which is ended by a NUL byte.
pub fn name(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What the records tell of an exec.
pub fn image(event: &exec_event, texts: Texts) -> Image {
    Image {
        pid: event.tgid as u32,
        depth: event.depth,
        argv: known(texts.argv.map(Strings::from_block)),
        filename: known(texts.filename),
        exe: Reading::Unknown,
        interpreter: Reading::Unknown,
        comm: Reading::Known(name(&event.comm).to_vec()),
        cwd: Reading::Unknown,
        cgroup: Reading::Unknown,
        uid: Reading::Known(event.uid),
        gid: Reading::Known(event.gid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn texts_go_to_their_exec() {
        let mut decoder = Decoder::default();
        let bytes = |event: &string_event, text: &[u8]| {
            // SAFETY: a structure of integers, without padding.
            let raw = unsafe {
                std::slice::from_raw_parts(
                    std::ptr::from_ref(event).cast::<u8>(),
                    size_of::<string_event>(),
                )
            };
            [raw, text].concat()
        };
        let mut event = string_event { len: 4, ..string_event::default() };
        event.header.id = 7;
        event.header.kind = event_kind::EVENT_STRING;
        event.kind = string_kind::STRING_ARGV;
        assert!(decoder.decode(&bytes(&event, b"a\0b\0")).is_none());
        event.header.flags = event_flag::FLAG_POSSIBLE_TRUNCATION.0;
        event.header.id = 8;
        assert!(decoder.decode(&bytes(&event, b"a\0b\0")).is_none());
        assert_eq!(decoder.pending[&7].argv.as_deref(), Some(&b"a\0b\0"[..]));
        assert_eq!(decoder.pending[&8].argv, None);
    }
}
