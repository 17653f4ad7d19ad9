//! What a process has mapped, and how much of that belongs into a core.

use std::collections::HashSet;

use super::{DumpError, read};
use crate::linux::files;
use crate::linux::sys::Pid;
use crate::machine::procfs;

/// The most that is read of smaps, in bytes: a million mappings.
const LARGEST: u64 = 1 << 30;

/// A line of /proc/PID/maps, with what smaps adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub readable: bool,
    pub writable: bool,
    pub executable: bool,
    shared: bool,
    pub offset: u64,
    inode: u64,
    pub name: Vec<u8>,
    /// Whether it has pages of its own, in memory or swapped out.
    anonymous: bool,
    never: bool,
    huge: bool,
    /// Whether code is mapped from the same file: a program or a library.
    of_program: bool,
}

/// How much of a mapping is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Nothing,
    /// The first page, if an ELF file begins there.
    Header,
    Whole,
}

/// The bits of /proc/PID/coredump_filter, see core(5).
const ANONYMOUS_PRIVATE: u32 = 1 << 0;
const ANONYMOUS_SHARED: u32 = 1 << 1;
const FILE_PRIVATE: u32 = 1 << 2;
const FILE_SHARED: u32 = 1 << 3;
const ELF_HEADERS: u32 = 1 << 4;
const HUGE_PRIVATE: u32 = 1 << 5;
const HUGE_SHARED: u32 = 1 << 6;
const DEFAULT_FILTER: u32 = ANONYMOUS_PRIVATE | ANONYMOUS_SHARED | ELF_HEADERS | HUGE_PRIVATE;

/// Which mappings the process wants in its cores.
pub fn filter(pid: Pid) -> u32 {
    let text = procfs::read_text(pid, "coredump_filter").unwrap_or_default();
    u32::from_str_radix(text.trim(), 16).unwrap_or(DEFAULT_FILTER)
}

/// All mappings of a process, by address.
pub fn of(pid: Pid) -> Result<Vec<Mapping>, DumpError> {
    let smaps = procfs::open(pid, "smaps").and_then(|file| files::read_all(file, LARGEST));
    Ok(parse(&smaps.map_err(read("its mappings"))?))
}

pub(super) fn parse(text: &[u8]) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        if let Some(mapping) = parse_head(line) {
            mappings.push(mapping);
        } else if let Some(mapping) = mappings.last_mut() {
            mapping.note(line);
        }
    }
    let programs: HashSet<Vec<u8>> = mappings
        .iter()
        .filter(|mapping| mapping.executable && mapping.has_file())
        .map(|mapping| mapping.name.clone())
        .collect();
    for mapping in &mut mappings {
        mapping.of_program = programs.contains(&mapping.name);
    }
    mappings
}

/// `START-END rwxp OFFSET DEV INODE   NAME`.
fn parse_head(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after.strip_prefix(b" ").unwrap_or(after);
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let (permissions, offset) = (field()?.as_bytes(), field()?);
    let (_device, inode) = (field()?, field()?);
    let has = |at: usize, letter: u8| permissions.get(at) == Some(&letter);
    let name = rest.iter().position(|&byte| byte != b' ').map_or(&[][..], |at| &rest[at..]);
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    // None is empty, and sizes are reckoned from these.
    if start >= end {
        return None;
    }
    Some(Mapping {
        start,
        end,
        readable: has(0, b'r'),
        writable: has(1, b'w'),
        executable: has(2, b'x'),
        shared: has(3, b's'),
        offset: u64::from_str_radix(offset, 16).ok()?,
        inode: inode.parse().ok()?,
        name: unescaped(name),
        ..Mapping::default()
    })
}

/// The kernel writes a newline in a name as `\012`.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match rest.strip_prefix(b"\\012") {
            Some(after) => {
                plain.push(b'\n');
                after
            }
            None => {
                plain.push(byte);
                after
            }
        };
    }
    plain
}

impl Mapping {
    fn note(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        let Some((key, value)) = line.split_once(':') else { return };
        let some = || value.split_whitespace().next().is_some_and(|number| number != "0");
        match key {
            "Anonymous" | "Swap" => self.anonymous |= some(),
            "VmFlags" => {
                let has = |flag: &str| value.split_whitespace().any(|word| word == flag);
                self.never = has("dd") || has("io");
                self.huge = has("ht");
            }
            _ => {}
        }
    }

    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Whether a file is mapped there, one that has been removed included.
    pub fn has_file(&self) -> bool {
        self.inode != 0 && self.name.first() == Some(&b'/')
    }

    /// Whether only pages that are there can hold anything.
    pub fn is_sparse(&self) -> bool {
        self.inode == 0 && !self.huge
    }

    /// What the kernel's own cores have of it (vma_dump_size in fs/coredump.c), and the constants of
    /// programs and libraries beside: lldb takes what a core lacks for zeros, where gdb looks into the file.
    pub fn extent(&self, filter: u32) -> Extent {
        let whole_if = |bit: u32| if filter & bit != 0 { Extent::Whole } else { Extent::Nothing };
        if self.name == b"[vdso]" {
            return Extent::Whole;
        }
        if self.never {
            return Extent::Nothing;
        }
        if self.huge {
            return whole_if(if self.shared { HUGE_SHARED } else { HUGE_PRIVATE });
        }
        if self.shared {
            let unlinked = self.name.ends_with(b" (deleted)");
            return whole_if(if unlinked { ANONYMOUS_SHARED } else { FILE_SHARED });
        }
        if self.anonymous && filter & ANONYMOUS_PRIVATE != 0 {
            return Extent::Whole;
        }
        if self.inode == 0 {
            return Extent::Nothing;
        }
        let constants = self.of_program && !self.executable && filter & ELF_HEADERS != 0;
        if filter & FILE_PRIVATE != 0 || (constants && self.readable) {
            return Extent::Whole;
        }
        let may_be_header = self.offset == 0 && self.readable && filter & ELF_HEADERS != 0;
        if may_be_header { Extent::Header } else { Extent::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
55d0-55e0 r-xp 00001000 08:01 12                         /bin/a b\\012c (deleted)
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f00-7f20 rw-p 00000000 00:00 0 \nAnonymous:             4 kB\nVmFlags: rd wr
7f30-7f40 rw-s 00000000 00:01 7                          /dev/zero (deleted)
VmFlags: rd wr sh
7f40-7f50 r--p 00002000 08:01 12                         /bin/a b\\012c (deleted)
Anonymous:             0 kB
7f50-7f60 r--p 00000000 00:00 0                          [vvar]
VmFlags: rd mr pf io de dd
";

    #[test]
    fn what_ends_before_it_begins_is_no_mapping() {
        for addresses in ["2000-1000", "1000-1000", "55d0c0a00000-55d"] {
            assert_eq!(parse(format!("{addresses} r-xp 0 08:01 42  /bin/a\n").as_bytes()), []);
        }
    }

    #[test]
    fn mappings_are_read_with_odd_names() {
        let found = parse(TEXT);
        assert_eq!(found.len(), 5);
        assert_eq!((found[0].start, found[0].end, found[0].offset), (0x55d0, 0x55e0, 0x1000));
        assert_eq!(found[0].name, b"/bin/a b\nc (deleted)");
        assert!(found[0].executable && found[0].has_file() && !found[1].has_file());
    }

    #[test]
    fn what_is_written_follows_the_filter() {
        let extents = |filter| parse(TEXT).iter().map(|m| m.extent(filter)).collect::<Vec<_>>();
        use Extent::{Nothing, Whole};
        assert_eq!(extents(DEFAULT_FILTER), [Nothing, Whole, Whole, Whole, Nothing]);
        assert_eq!(extents(0), [Nothing; 5]);
        assert_eq!(extents(FILE_PRIVATE), [Whole, Nothing, Nothing, Whole, Nothing]);
    }

    #[test]
    fn our_own_mappings_are_there() {
        let found = of(std::process::id() as Pid).unwrap();
        let here = TEXT.as_ptr() as u64;
        assert!(found.iter().any(|mapping| (mapping.start..mapping.end).contains(&here)));
        assert!(found.iter().any(|mapping| mapping.name == b"[stack]" && mapping.anonymous));
    }
}
