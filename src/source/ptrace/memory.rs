//! What the kernel has put on a new program's stack: argv, the environment, the auxiliary vector
//! and the strings they point to.
//!
//! Right after an exec all of it lies in one piece above the stack pointer, in this order: argc, the
//! pointers to argv, those to the environment, the auxiliary vector, then (after some padding) the
//! strings of argv, of the environment, and the file name (fs/exec.c, fs/binfmt_elf.c). So one
//! process_vm_readv gives nearly always everything.

use std::io::{self, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid as NixPid;

use super::arch;
use crate::linux::sys::{self, Pid};
use crate::source::stopped::Vectors;

const PAGE: u64 = 4096;
/// What is read at first, in bytes; most programs' vectors and strings fit.
const FIRST: usize = 16 << 10;
/// More than the kernel lets argv and the environment take, pointers included (6 MiB, and 8 bytes
/// for each of at most 6 Mi strings); a bound for what is not as expected.
const LIMIT: usize = 64 << 20;
/// Remote pieces in one call (UIO_MAXIOV).
const PIECES: usize = 1024;

/// Keys of the auxiliary vector, see getauxval(3).
const AT_EXECFN: u64 = 31;
pub const AT_SYSINFO_EHDR: u64 = 33;

/// The start of a new program's stack, read as far as was needed.
pub struct Stack {
    pid: Pid,
    base: u64,
    word: usize,
    bytes: Vec<u8>,
    /// Whether the end of the stack was reached.
    whole: bool,
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a stack that is not laid out as after an exec")
}

impl Stack {
    /// Reads the stack of a process that is stopped at its exec.
    pub fn read(pid: Pid) -> io::Result<Stack> {
        Self::read_with(pid, &sys::get_registers(pid)?)
    }

    /// The same, with registers that were read already.
    pub fn read_with(pid: Pid, registers: &arch::Registers) -> io::Result<Stack> {
        let word = if arch::is_32_bit(registers) { 4 } else { 8 };
        let base = arch::stack_pointer(registers);
        let mut stack = Stack { pid, base, word, bytes: Vec::new(), whole: false };
        stack.grow(FIRST)?;
        if stack.bytes.is_empty() { Err(unexpected()) } else { Ok(stack) }
    }

    /// Reads on until `len` bytes are there, or the stack ends. A partial read ends at a piece's
    /// boundary, so each page is a piece.
    fn grow(&mut self, len: usize) -> io::Result<()> {
        if len > LIMIT {
            return Err(unexpected());
        }
        while self.bytes.len() < len && !self.whole {
            let had = self.bytes.len();
            let from = self.base + had as u64;
            let mut pieces = Vec::with_capacity((len - had) / PAGE as usize + 2);
            let mut at = from;
            while at < self.base + len as u64 && pieces.len() < PIECES {
                let end = (at / PAGE + 1) * PAGE;
                pieces.push(RemoteIoVec { base: at as usize, len: (end - at) as usize });
                at = end;
            }
            let wanted = (at - from) as usize;
            self.bytes.resize(had + wanted, 0);
            let local = &mut [IoSliceMut::new(&mut self.bytes[had..])];
            let got = match process_vm_readv(NixPid::from_raw(self.pid), local, &pieces) {
                Ok(got) => got,
                Err(nix::errno::Errno::EFAULT) => 0,
                Err(errno) => return Err(errno.into()),
            };
            self.bytes.truncate(had + got);
            self.whole = got < wanted;
        }
        Ok(())
    }

    fn pointer(&mut self, index: usize) -> io::Result<u64> {
        let at = index * self.word;
        if at + self.word > self.bytes.len() {
            self.grow((at + self.word).next_multiple_of(FIRST))?;
        }
        let raw = self.bytes.get(at..at + self.word).ok_or_else(unexpected)?;
        let mut word = [0; 8];
        word[..self.word].copy_from_slice(raw);
        Ok(u64::from_le_bytes(word))
    }

    fn argc(&mut self) -> io::Result<usize> {
        usize::try_from(self.pointer(0)?).map_err(|_| unexpected())
    }

    /// The address of the file name's string, which ends the strings.
    fn execfn(&mut self) -> io::Result<u64> {
        self.auxiliary(AT_EXECFN)?.ok_or_else(unexpected)
    }

    /// How many bytes a pointer has.
    pub fn word(&self) -> usize {
        self.word
    }

    /// The pointers to what follows the program's own name, the null pointer at their end included, as
    /// they lie in memory; and the address of those to the environment.
    pub fn arguments(&mut self) -> io::Result<(Vec<u8>, u64)> {
        let argc = self.argc()?;
        let environment = self.base + (self.environment_index()? * self.word) as u64;
        let from = self.base + ((argc.min(1) + 1) * self.word) as u64;
        Ok((self.between(from, environment)?.to_vec(), environment))
    }

    /// A value of the auxiliary vector.
    pub fn auxiliary(&mut self, key: u64) -> io::Result<Option<u64>> {
        let mut index = self.environment_index()?;
        while self.pointer(index)? != 0 {
            index += 1;
        }
        index += 1;
        loop {
            match self.pointer(index)? {
                0 => return Ok(None),
                found if found == key => return self.pointer(index + 1).map(Some),
                _ => index += 2,
            }
        }
    }

    fn environment_index(&mut self) -> io::Result<usize> {
        self.argc()?.checked_add(2).ok_or_else(unexpected)
    }

    /// The bytes between two addresses.
    fn between(&mut self, from: u64, to: u64) -> io::Result<&[u8]> {
        let start = from.checked_sub(self.base).ok_or_else(unexpected)? as usize;
        let end = to.checked_sub(self.base).ok_or_else(unexpected)? as usize;
        if end > self.bytes.len() {
            self.grow(end)?;
        }
        self.bytes.get(start..end).ok_or_else(unexpected)
    }
}

impl Vectors for Stack {
    fn argv(&mut self) -> io::Result<&[u8]> {
        let from = self.pointer(1)?;
        if from == 0 {
            return Ok(&[]);
        }
        let environment = self.environment_index()?;
        let to = match self.pointer(environment)? {
            0 => self.execfn()?,
            first => first,
        };
        self.between(from, to)
    }

    fn environment(&mut self) -> io::Result<&[u8]> {
        let first = self.environment_index()?;
        let from = self.pointer(first)?;
        if from == 0 {
            return Ok(&[]);
        }
        let to = self.execfn()?;
        self.between(from, to)
    }

    fn filename(&mut self) -> io::Result<&[u8]> {
        let from = self.execfn()?;
        let start = from.checked_sub(self.base).ok_or_else(unexpected)? as usize;
        loop {
            let tail = self.bytes.get(start..).unwrap_or_default();
            if let Some(len) = memchr::memchr(0, tail) {
                return self.between(from, from + len as u64);
            }
            if self.whole {
                return Err(unexpected());
            }
            self.grow(self.bytes.len().max(start) + FIRST)?;
        }
    }
}
