//! argv, the environment and the file name of a process that nobody traces, from /proc.

use std::io::{self, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid as NixPid;

use crate::linux::sys::Pid;
use crate::machine::procfs;
use crate::source::stopped::Vectors;

/// See getauxval(3).
const AT_EXECFN: u64 = 31;
const PAGE: usize = 4096;
/// No path is longer, see limits.h; one passed to exec may be.
const LONGEST: usize = 1 << 17;

/// What /proc shows, each read when first asked for.
pub struct FromProc {
    pid: Pid,
    argv: Option<Vec<u8>>,
    environment: Option<Vec<u8>>,
    filename: Option<Vec<u8>>,
}

fn unexpected() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "an auxiliary vector that is not as getauxval(3) says",
    )
}

impl FromProc {
    /// As [`ReadVectors`](crate::source::stopped::ReadVectors).
    pub fn read(pid: Pid) -> io::Result<Box<dyn Vectors>> {
        Ok(Box::new(FromProc::of(pid)))
    }

    fn of(pid: Pid) -> FromProc {
        FromProc { pid, argv: None, environment: None, filename: None }
    }

    fn kept<'a>(pid: Pid, kept: &'a mut Option<Vec<u8>>, file: &str) -> io::Result<&'a [u8]> {
        if kept.is_none() {
            *kept = Some(procfs::read(pid, file)?);
        }
        Ok(kept.as_deref().unwrap_or_default())
    }
}

impl Vectors for FromProc {
    fn argv(&mut self) -> io::Result<&[u8]> {
        Self::kept(self.pid, &mut self.argv, "cmdline")
    }

    fn environment(&mut self) -> io::Result<&[u8]> {
        Self::kept(self.pid, &mut self.environment, "environ")
    }

    fn filename(&mut self) -> io::Result<&[u8]> {
        if self.filename.is_none() {
            let vector = procfs::read(self.pid, "auxv")?;
            let address = auxiliary(&vector, AT_EXECFN).ok_or_else(unexpected)?;
            self.filename = Some(read_string(self.pid, address as usize)?);
        }
        Ok(self.filename.as_deref().unwrap_or_default())
    }
}

/// A value of an auxiliary vector, whose words are of 8 bytes or, in a 32-bit program, of 4.
fn auxiliary(vector: &[u8], key: u64) -> Option<u64> {
    let word =
        |bytes: &[u8]| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    // Keys are small, so that the upper half of the first one tells.
    let size = if vector.get(4..8)? == [0; 4] { 8 } else { 4 };
    let mut pairs = vector.chunks_exact(2 * size);
    pairs.find_map(|pair| (word(&pair[..size]) == key).then(|| word(&pair[size..])))
}

/// The bytes up to the next NUL, read page by page, since what follows may not be there.
fn read_string(pid: Pid, mut at: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < LONGEST {
        let mut page = vec![0; PAGE - at % PAGE];
        let remote = [RemoteIoVec { base: at, len: page.len() }];
        let got =
            process_vm_readv(NixPid::from_raw(pid), &mut [IoSliceMut::new(&mut page)], &remote)?;
        if let Some(end) = memchr::memchr(0, &page[..got]) {
            text.extend(&page[..end]);
            return Ok(text);
        }
        text.extend(&page[..got]);
        at += got;
    }
    Err(unexpected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_vectors_are_read() {
        let pid = std::process::id() as Pid;
        let mut vectors = FromProc::of(pid);
        let name = std::env::args_os().next().unwrap();
        assert!(vectors.argv().unwrap().starts_with(name.as_encoded_bytes()));
        assert!(!vectors.filename().unwrap().is_empty());
    }

    #[test]
    fn a_32_bit_vector_has_smaller_words() {
        let words: [u32; 6] = [32, 0xf7f0_0000, 31, 0xffff_0123, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(auxiliary(&bytes, AT_EXECFN), Some(0xffff_0123));
    }
}
