//! The notes of a core: registers of each thread, what the process is, and which files it has mapped.

use std::io;

use super::{DumpError, Focus, Mapping, read};
use crate::linux::sys::{self, Pid, SignalInfo};
use crate::machine::procfs::{self, Status};

const PAGE: u64 = 4096;

/// Kinds of notes, see <linux/elf.h>; those of registers are also what ptrace knows them by.
const NT_PRSTATUS: u32 = 1;
const NT_PRFPREG: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_386_TLS: u32 = 0x200;
const NT_X86_XSTATE: u32 = 0x202;
const NT_PRXFPREG: u32 = 0x46e6_2b7f;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

/// The general registers of a 32-bit program: 17 words of 4 bytes.
const REGISTERS_32: usize = 68;

/// All notes, one after the other.
#[derive(Debug)]
pub struct Notes {
    pub bytes: Vec<u8>,
    pub bits32: bool,
}

/// Reads what the notes say of a process in ptrace stops; the first thread is the one of interest.
pub fn of(pid: Pid, tids: &[Pid], focus: Focus, mappings: &[Mapping]) -> Result<Notes, DumpError> {
    let mut notes = Notes { bytes: Vec::new(), bits32: false };
    let pending = || tids.first().and_then(|&tid| next_signal(tid));
    let signal = focus.signal.or_else(pending).unwrap_or_else(|| sent(libc::SIGSTOP));
    for (index, &tid) in tids.iter().enumerate() {
        let general = sys::register_set(tid, NT_PRSTATUS).map_err(read("its registers"))?;
        notes.bits32 = general.len() == REGISTERS_32;
        // As the kernel has it, the signal is that of all threads.
        notes.status(tid, &general, number(&signal))?;
        if index == 0 {
            notes.process(pid)?;
            notes.add(b"CORE", NT_SIGINFO, &notes.signal(&signal));
            let vector =
                procfs::read(procfs::living(pid), "auxv").map_err(read("its auxiliary vector"))?;
            notes.add(b"CORE", NT_AUXV, &vector);
            notes.files(mappings);
        }
        let sets: &[(u32, &[u8])] = if notes.bits32 {
            &[
                (NT_PRFPREG, b"CORE"),
                (NT_PRXFPREG, b"LINUX"),
                (NT_X86_XSTATE, b"LINUX"),
                (NT_386_TLS, b"LINUX"),
            ]
        } else {
            &[(NT_PRFPREG, b"CORE"), (NT_X86_XSTATE, b"LINUX")]
        };
        for &(kind, name) in sets {
            // A processor or a program may do without.
            if let Ok(registers) = sys::register_set(tid, kind) {
                notes.add(name, kind, &registers);
            }
        }
    }
    Ok(notes)
}

/// The signal that a thread will get when it runs on; it is the one that ended it, for a reader of the core.
fn next_signal(tid: Pid) -> Option<SignalInfo> {
    let queues = [false, true].map(|shared| sys::pending_signals(tid, shared).unwrap_or_default());
    let stops = |signal: i32| {
        matches!(
            signal,
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGCONT
        )
    };
    let status = Status::read(tid).ok();
    let blocks = |signal| status.as_ref().is_some_and(|status| status.blocks(signal));
    queues.into_iter().flatten().find(|info| {
        let signal = number(info);
        signal > 0 && !stops(signal) && !blocks(signal)
    })
}

fn number(info: &SignalInfo) -> i32 {
    i32::from_le_bytes([info[0], info[1], info[2], info[3]])
}

fn sent(signal: i32) -> SignalInfo {
    let mut info = [0; size_of::<SignalInfo>()];
    info[..4].copy_from_slice(&signal.to_le_bytes());
    info
}

/// The numbers of /proc/PID/stat that follow the command name's parenthesis, the state letter first.
fn numbers(tid: Pid) -> io::Result<(u8, Vec<i64>)> {
    let text = procfs::read(tid, "stat")?;
    let after = memchr::memrchr(b')', &text).map_or(&text[..], |at| &text[at + 1..]);
    let text = String::from_utf8_lossy(after);
    let mut words = text.split_ascii_whitespace();
    let state = words.next().and_then(|word| word.bytes().next()).unwrap_or(b'T');
    // Some are larger than that, none of those that are used here.
    Ok((state, words.map(|word| word.parse().unwrap_or_default()).collect()))
}

/// Indexes into [`numbers`].
const PPID: usize = 0;
const PGRP: usize = 1;
const SESSION: usize = 2;
const FLAGS: usize = 5;
const UTIME: usize = 10;
const NICE: usize = 15;

impl Notes {
    fn add(&mut self, name: &[u8], kind: u32, content: &[u8]) {
        let name = [name, b"\0"].concat();
        for value in [name.len() as u32, content.len() as u32, kind] {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        for part in [&name, content] {
            self.bytes.extend_from_slice(part);
            self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        }
    }

    /// A structure's next field of the size of a long.
    fn word(&self, structure: &mut Vec<u8>, value: u64) {
        let size = if self.bits32 { 4 } else { 8 };
        structure.resize(structure.len().next_multiple_of(size), 0);
        structure.extend_from_slice(&value.to_le_bytes()[..size]);
    }

    /// struct elf_prstatus.
    fn status(&mut self, tid: Pid, registers: &[u8], signal: i32) -> Result<(), DumpError> {
        let (_, numbers) = numbers(tid).map_err(read("its state"))?;
        let number = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let status = Status::read(tid).map_err(read("its state"))?;
        let mut all = Vec::new();
        for value in [signal, 0, 0, signal] {
            all.extend_from_slice(&value.to_le_bytes());
        }
        self.word(&mut all, status.pending);
        self.word(&mut all, status.blocked);
        for value in [i64::from(tid), number(PPID), number(PGRP), number(SESSION)] {
            all.extend_from_slice(&(value as i32).to_le_bytes());
        }
        for index in UTIME..UTIME + 4 {
            let ticks = number(index) as u64;
            let per_second = sys::to_clock_ticks(1_000_000_000).max(1);
            self.word(&mut all, ticks / per_second);
            self.word(&mut all, ticks % per_second * (1_000_000 / per_second));
        }
        all.extend_from_slice(registers);
        all.extend_from_slice(&1i32.to_le_bytes());
        all.resize(all.len().next_multiple_of(if self.bits32 { 4 } else { 8 }), 0);
        self.add(b"CORE", NT_PRSTATUS, &all);
        Ok(())
    }

    /// struct elf_prpsinfo.
    fn process(&mut self, pid: Pid) -> Result<(), DumpError> {
        let (letter, numbers) = numbers(pid).map_err(read("its state"))?;
        let number = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let status = Status::read(pid).map_err(read("its state"))?;
        let state = b"RSDTZW".iter().position(|&known| known == letter).unwrap_or(3) as u8;
        let mut all = vec![state, letter, u8::from(letter == b'Z'), number(NICE) as u8];
        self.word(&mut all, number(FLAGS) as u64);
        for id in [status.real_uid, status.gid] {
            let size = if self.bits32 { 2 } else { 4 };
            all.extend_from_slice(&id.to_le_bytes()[..size]);
        }
        for value in [i64::from(pid), number(PPID), number(PGRP), number(SESSION)] {
            all.extend_from_slice(&(value as i32).to_le_bytes());
        }
        let mut line = procfs::read(procfs::living(pid), "cmdline").unwrap_or_default();
        line.pop();
        for byte in line.iter_mut().filter(|byte| **byte == 0) {
            *byte = b' ';
        }
        for (mut text, room) in [(procfs::comm(pid).unwrap_or_default(), 16), (line, 80)] {
            text.truncate(room - 1);
            text.resize(room, 0);
            all.extend_from_slice(&text);
        }
        self.add(b"CORE", NT_PRPSINFO, &all);
        Ok(())
    }

    /// A siginfo_t in the program's own layout, in which a 32-bit one has no gap before the details.
    fn signal(&self, info: &SignalInfo) -> SignalInfo {
        let mut own = *info;
        if self.bits32 {
            own[12..].fill(0);
            own[12..20].copy_from_slice(&info[16..24]);
        }
        own
    }

    /// Which file lies where.
    fn files(&mut self, mappings: &[Mapping]) {
        let files: Vec<&Mapping> = mappings.iter().filter(|mapping| mapping.has_file()).collect();
        let mut all = Vec::new();
        self.word(&mut all, files.len() as u64);
        self.word(&mut all, PAGE);
        for file in &files {
            for value in [file.start, file.end, file.offset / PAGE] {
                self.word(&mut all, value);
            }
        }
        for file in &files {
            all.extend_from_slice(&file.name);
            all.push(0);
        }
        self.add(b"CORE", NT_FILE, &all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of the only note.
    fn content(notes: &Notes) -> &[u8] {
        &notes.bytes[20..]
    }

    #[test]
    fn the_structures_have_the_sizes_of_the_kernel_s() {
        let pid = std::process::id() as Pid;
        for (bits32, registers, status, process) in [(false, 216, 336, 136), (true, 68, 144, 124)] {
            let mut notes = Notes { bytes: Vec::new(), bits32 };
            notes.status(pid, &vec![0; registers], 0).unwrap();
            assert_eq!(content(&notes).len(), status);
            let mut notes = Notes { bytes: Vec::new(), bits32 };
            notes.process(pid).unwrap();
            assert_eq!(content(&notes).len(), process);
        }
    }
}
