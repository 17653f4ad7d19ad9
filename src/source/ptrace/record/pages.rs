//! The memory of a process that is stopped in a call, read by pages, many in one process_vm_readv.

use std::collections::{BTreeSet, HashMap};
use std::io::IoSliceMut;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid as NixPid;

use crate::event::{Faults, Part, Strings, Vector};
use crate::linux::sys::Pid;

const PAGE: usize = 4096;
/// Pages in one call; more are a matter of several.
const AT_ONCE: usize = 256;
/// What goes past these is cut, and flagged; the eBPF source has the same limits. The kernel takes no longer
/// strings (MAX_ARG_STRLEN, with the NUL), no longer file names (PATH_MAX, with the NUL), and three quarters of
/// 8 MiB together.
const LONGEST: usize = 32 * PAGE - 1;
const LONGEST_NAME: usize = 4095;
const MOST_BYTES: usize = 8 << 20;
const MOST_STRINGS: usize = 64 * 64 * 64;

/// What has been read of a process's memory. It is for one stop only.
pub struct Pages {
    pid: Pid,
    /// By number; `None` where nothing can be read.
    read: HashMap<u64, Option<Box<[u8]>>>,
}

/// Why a string could not be read whole.
enum Cut {
    Unreadable,
    TooLong(Vec<u8>),
}

impl Pages {
    pub fn of(pid: Pid) -> Pages {
        Pages { pid, read: HashMap::new() }
    }

    /// Reads those that have not been.
    fn load(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let mut left: Vec<u64> =
            numbers.into_iter().filter(|number| !self.read.contains_key(number)).collect();
        while !left.is_empty() {
            let pages = &left[..left.len().min(AT_ONCE)];
            let mut bytes = vec![0; pages.len() * PAGE];
            let remote: Vec<RemoteIoVec> = pages
                .iter()
                .map(|number| RemoteIoVec { base: (number << 12) as usize, len: PAGE })
                .collect();
            let local = &mut [IoSliceMut::new(&mut bytes)];
            let got = process_vm_readv(NixPid::from_raw(self.pid), local, &remote);
            let whole = *got.as_ref().unwrap_or(&0) / PAGE;
            for (number, page) in pages.iter().zip(bytes.chunks(PAGE)).take(whole) {
                self.read.insert(*number, Some(page.into()));
            }
            let mut done = whole;
            if whole < pages.len() {
                // It ends at the first page that cannot be read; if it is none of that, all of them cannot.
                let lost = if matches!(got, Ok(_) | Err(Errno::EFAULT)) { 1 } else { pages.len() };
                self.read.extend(pages.iter().skip(whole).take(lost).map(|&number| (number, None)));
                done += lost;
            }
            left.drain(..done.min(left.len()));
        }
    }

    fn page(&mut self, number: u64, ahead: u64) -> Option<&[u8]> {
        if !self.read.contains_key(&number) {
            self.load(number..number.saturating_add(ahead));
        }
        self.read.get(&number)?.as_deref()
    }

    /// The bytes up to the next NUL, of which there may be `longest`.
    fn string(&mut self, address: u64, longest: usize) -> Result<Vec<u8>, Cut> {
        let mut text = Vec::new();
        let (mut number, mut from, mut ahead) = (address >> 12, address as usize % PAGE, 1);
        loop {
            let page = &self.page(number, ahead).ok_or(Cut::Unreadable)?[from..];
            let page = &page[..page.len().min(longest + 1 - text.len())];
            if let Some(end) = memchr::memchr(0, page) {
                text.extend_from_slice(&page[..end]);
                return Ok(text);
            }
            text.extend_from_slice(page);
            if text.len() > longest {
                text.truncate(longest);
                return Err(Cut::TooLong(text));
            }
            (number, from, ahead) = (number.wrapping_add(1), 0, (ahead * 2).min(16));
        }
    }

    /// A pointer of `size` bytes.
    fn pointer(&mut self, address: u64, size: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        let at = address as usize % PAGE;
        if at + size <= PAGE {
            bytes[..size].copy_from_slice(&self.page(address >> 12, 1)?[at..at + size]);
        } else {
            for (i, byte) in bytes[..size].iter_mut().enumerate() {
                let address = address.wrapping_add(i as u64);
                *byte = self.page(address >> 12, 1)?[address as usize % PAGE];
            }
        }
        Some(u64::from_le_bytes(bytes))
    }

    pub fn filename(&mut self, address: u64) -> Part<Vec<u8>> {
        self.text(address, LONGEST_NAME, Faults::FILENAME_UNREADABLE)
    }

    fn text(&mut self, address: u64, longest: usize, unreadable: Faults) -> Part<Vec<u8>> {
        match self.string(address, longest) {
            Ok(text) => Part::of(text),
            Err(Cut::Unreadable) => Part { value: None, faults: unreadable },
            Err(Cut::TooLong(text)) => {
                Part { value: Some(text), faults: Faults::POSSIBLE_TRUNCATION }
            }
        }
    }

    /// The strings to which the pointers from `address` on lead, up to a null pointer.
    pub fn vector(&mut self, address: u64, pointer_size: usize) -> Part<Vector> {
        let mut faults = Faults::empty();
        let pointers = self.pointers(address, pointer_size, &mut faults);
        // Most strings lie close together, and none is far from the page in which it begins.
        self.load(pointers.iter().map(|pointer| pointer >> 12).collect::<BTreeSet<_>>());
        let mut block = Vec::new();
        let mut unread = Vec::new();
        for (at, pointer) in pointers.into_iter().enumerate() {
            if block.len() > MOST_BYTES {
                faults |= Faults::POSSIBLE_TRUNCATION;
                break;
            }
            match self.string(pointer, LONGEST) {
                Ok(text) => block.extend(text),
                Err(Cut::TooLong(text)) => {
                    block.extend(text);
                    faults |= Faults::POSSIBLE_TRUNCATION;
                }
                Err(Cut::Unreadable) => {
                    unread.push(at);
                    faults |= Faults::STRING_UNREADABLE;
                }
            }
            block.push(0);
        }
        let vector = Vector { strings: Strings::from_block(block), unread };
        Part { value: Some(vector), faults }
    }

    /// The first of those strings, if there is one.
    pub fn first(&mut self, address: u64, pointer_size: usize) -> Part<Vector> {
        let pointer = if address == 0 { Some(0) } else { self.pointer(address, pointer_size) };
        let text = match pointer {
            None => return Part { value: None, faults: Faults::POINTER_UNREADABLE },
            Some(0) => return Part::of(Vector::default()),
            Some(pointer) => self.text(pointer, LONGEST, Faults::STRING_UNREADABLE),
        };
        let unread = if text.value.is_none() { vec![0] } else { Vec::new() };
        let vector = Vector { unread, ..Vector::of([text.value.unwrap_or_default()]) };
        Part { value: Some(vector), faults: text.faults }
    }

    fn pointers(&mut self, address: u64, size: usize, faults: &mut Faults) -> Vec<u64> {
        let mut pointers = Vec::new();
        if address == 0 {
            return pointers;
        }
        for i in 0..MOST_STRINGS as u64 {
            match self.pointer(address.wrapping_add(i * size as u64), size) {
                Some(0) => return pointers,
                Some(pointer) => pointers.push(pointer),
                None => {
                    *faults |= Faults::POINTER_UNREADABLE;
                    return pointers;
                }
            }
        }
        *faults |= Faults::TOO_MANY_ITEMS;
        pointers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Pages {
        Pages::of(std::process::id() as Pid)
    }

    #[test]
    fn our_own_vectors_are_read() {
        let long = vec![b'x'; 3 * PAGE];
        let strings = [c"a".to_owned(), c"".to_owned(), std::ffi::CString::new(long).unwrap()];
        let mut pointers: Vec<u64> = strings.iter().map(|s| s.as_ptr() as u64).collect();
        pointers.push(0);
        let vector = ours().vector(pointers.as_ptr() as u64, 8);
        let first = ours().first(pointers.as_ptr() as u64, 8);
        assert_eq!(first.value.unwrap().strings, ["a"].into_iter().collect());
        let want: Strings = strings.iter().map(|s| s.to_bytes()).collect();
        assert_eq!((vector.faults, &vector.value.unwrap().strings), (Faults::empty(), &want));
        // A string that is nowhere keeps its place.
        pointers[1] = 16;
        let vector = ours().vector(pointers.as_ptr() as u64, 8);
        assert_eq!(vector.faults, Faults::STRING_UNREADABLE);
        assert_eq!((vector.value.as_ref().unwrap().unread.as_slice()), &[1]);
        assert_eq!(vector.value.unwrap().strings.len(), 3);
    }

    #[test]
    fn pointers_that_are_nowhere_are_told_and_none_at_all_is_nothing() {
        assert_eq!(ours().vector(0, 8), Part::of(Vector::default()));
        assert_eq!(ours().first(0, 8), Part::of(Vector::default()));
        assert_eq!(ours().first(16, 8).faults, Faults::POINTER_UNREADABLE);
        assert_eq!(ours().vector(16, 4).faults, Faults::POINTER_UNREADABLE);
        assert_eq!(ours().filename(u64::MAX - 2).faults, Faults::FILENAME_UNREADABLE);
    }

    #[test]
    fn pointers_of_4_bytes_may_lie_across_two_pages() {
        let mut bytes = vec![0u8; 3 * PAGE];
        let base = bytes.as_ptr() as usize;
        let at = base.next_multiple_of(PAGE) - base + PAGE - 2;
        bytes[at..at + 4].copy_from_slice(&16u32.to_le_bytes());
        let vector = ours().vector((base + at) as u64, 4).value.unwrap();
        assert_eq!((vector.unread.as_slice(), vector.strings.len()), (&[0][..], 1));
    }
}
