//! What cargo-fuzz feeds with bytes of its own: everything that takes apart what others have written. See
//! fuzz/ and CONTRIBUTING.md.

mod recording;

use std::io;
use std::sync::Arc;

use crate::event::Image;
use crate::event::cgroup::Cgroup;
use crate::filter::{Filter, Names, continuations};
use crate::machine::procfs;
use crate::source::coredump;
use crate::source::interpreters;
use crate::text::escape;

pub use recording::recording;

/// A few users and groups, who are the same everywhere and are found at once.
struct Few;

impl Names for Few {
    fn user_id(&self, name: &[u8]) -> io::Result<Option<u32>> {
        match name {
            b"root" => Ok(Some(0)),
            b"lost" => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(None),
        }
    }

    fn group_id(&self, name: &[u8]) -> io::Result<Option<u32>> {
        self.user_id(name)
    }

    fn user_name(&self, id: u32) -> io::Result<Option<Vec<u8>>> {
        Ok((id == 0).then(|| b"root".to_vec()))
    }

    fn group_name(&self, id: u32) -> io::Result<Option<Vec<u8>>> {
        self.user_name(id)
    }
}

/// The filter: what is accepted says the same when it is printed and read again, and can be asked.
pub fn filter(bytes: &[u8]) {
    let (begin, _) = continuations(bytes);
    assert!(begin <= bytes.len());
    let filter = match Filter::new(&[bytes], Arc::new(Few)) {
        Ok(filter) => filter,
        Err(error) => return drop(error.to_string()),
    };
    let printed: Vec<Vec<u8>> = filter.expressions().iter().map(|e| e.to_bytes()).collect();
    let again = Filter::new(&printed, Arc::new(Few)).expect("what we print can be read");
    assert_eq!(filter.expressions(), again.expressions());
    let judgement = filter.judge(&mut &Image::unread(7, 1));
    assert_eq!(judgement.answer, again.judge(&mut &Image::unread(7, 1)).answer);
    let _ = filter.failed_test(&judgement);
}

/// The files of /proc, the first line of a script, and what is shown of their bytes.
pub fn proc_files(bytes: &[u8]) {
    procfs::fuzz(bytes);
    coredump::fuzz(bytes);
    interpreters::fuzz(bytes);
    for whole in [false, true] {
        let _ = Cgroup::parse(bytes, whole);
    }
    for shown in [escape::text(bytes), escape::word(bytes)] {
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
    }
}

/// The records of the eBPF programs: one behind the other, each with its length in two bytes before it.
pub fn records(bytes: &[u8]) {
    #[cfg(feature = "ebpf")]
    crate::source::ebpf::fuzz(bytes);
    #[cfg(not(feature = "ebpf"))]
    let _ = bytes;
}
