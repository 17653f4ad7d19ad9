//! The part of the kernel's type information (BTF) that the programs ask for.
//!
//! libbpf looks for each structure that the programs read among all types of the kernel, by name: a hundred
//! thousand, time and again. Handed only those that have the right names, and what lies in them, it is
//! done at once. The format is described in the kernel's Documentation/bpf/btf.rst. What is not as
//! described there gives `None`, and libbpf finds its own way.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};

use crate::linux::sys;

/// What the running kernel tells of its types.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// The kinds of types that are told apart here.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// Name, kind and count, size or type.
const TYPE: usize = 12;

/// Type information, as it lies in a file.
struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins, by its number less one.
    starts: Vec<u32>,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// How many bytes follow a type of this kind, which tells of so many things.
fn tail(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => 0,
        _ => return None,
    })
}

/// A type, looked at.
struct Type<'a> {
    name: u32,
    info: u32,
    size_or_type: u32,
    tail: &'a [u8],
}

impl Type<'_> {
    fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn is_composite(&self) -> bool {
        matches!(self.kind(), kind::STRUCT | kind::UNION)
    }
}

impl<'a> Types<'a> {
    fn parse(file: &'a [u8]) -> Option<Types<'a>> {
        if file.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let part = |offset, len| {
            let begin = word(file, 4)? as usize + word(file, offset)? as usize;
            file.get(begin..begin.checked_add(word(file, len)? as usize)?)
        };
        let (types, strings) = (part(8, 12)?, part(16, 20)?);
        let mut starts = Vec::with_capacity(types.len() / 24);
        let mut at = 0;
        while at < types.len() {
            starts.push(at as u32);
            let info = word(types, at + 4)?;
            at += TYPE + tail(info >> 24 & 0x1f, (info & 0xffff) as usize)?;
        }
        Some(Types { types, strings, starts })
    }

    fn get(&self, id: u32) -> Option<Type<'a>> {
        let at = *self.starts.get((id as usize).checked_sub(1)?)? as usize;
        let info = word(self.types, at + 4)?;
        let len = tail(info >> 24 & 0x1f, (info & 0xffff) as usize)?;
        Some(Type {
            name: word(self.types, at)?,
            info,
            size_or_type: word(self.types, at + 8)?,
            tail: self.types.get(at + TYPE..at + TYPE + len)?,
        })
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        &rest[..memchr::memchr(0, rest).unwrap_or(rest.len())]
    }

    /// All structures and unions that have a name.
    fn composites(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        (1..=self.starts.len() as u32).filter_map(|id| {
            let found = self.get(id)?;
            (found.is_composite() && found.name != 0).then(|| (id, self.string(found.name)))
        })
    }
}

/// A name without what tells it from others that stand for the same type, as libbpf has it.
fn essential(name: &[u8]) -> &[u8] {
    memchr::memmem::find(name, b"___").map_or(name, |at| &name[..at])
}

/// What is taken over, under numbers of its own.
struct Chosen<'a> {
    from: &'a Types<'a>,
    /// New numbers by old ones.
    numbers: HashMap<u32, u32>,
    order: Vec<u32>,
    strings: Vec<u8>,
    offsets: HashMap<u32, u32>,
}

impl<'a> Chosen<'a> {
    /// The new number of a type, which is taken over with all that lies in it.
    fn take(&mut self, id: u32) -> u32 {
        if id == 0 {
            return 0;
        }
        let next = self.order.len() as u32 + 1;
        *self.numbers.entry(id).or_insert_with(|| {
            self.order.push(id);
            next
        })
    }

    fn name(&mut self, offset: u32) -> u32 {
        if offset == 0 {
            return 0;
        }
        let (from, strings) = (self.from, &mut self.strings);
        *self.offsets.entry(offset).or_insert_with(|| {
            let at = strings.len() as u32;
            strings.extend_from_slice(from.string(offset));
            strings.push(0);
            at
        })
    }

    /// A type under its new number.
    fn write(&mut self, id: u32, out: &mut Vec<u8>) -> Option<()> {
        let found = self.from.get(id)?;
        let name = self.name(found.name);
        let refers = match found.kind() {
            // What a pointer points to is looked up by its own name.
            kind::PTR | kind::FUNC_PROTO => 0,
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                self.take(found.size_or_type)
            }
            kind::FUNC | kind::VAR | kind::DATASEC | kind::DECL_TAG => return None,
            _ => found.size_or_type,
        };
        let info = if found.kind() == kind::FUNC_PROTO { found.info & !0xffff } else { found.info };
        push(out, &[name, info, refers]);
        match found.kind() {
            kind::ARRAY => {
                let (item, index) = (word(found.tail, 0)?, word(found.tail, 4)?);
                let words = [self.take(item), self.take(index), word(found.tail, 8)?];
                push(out, &words);
            }
            kind::STRUCT | kind::UNION => {
                for member in found.tail.chunks_exact(12) {
                    let words = [
                        self.name(word(member, 0)?),
                        self.take(word(member, 4)?),
                        word(member, 8)?,
                    ];
                    push(out, &words);
                }
            }
            kind::ENUM => {
                for value in found.tail.chunks_exact(8) {
                    let words = [self.name(word(value, 0)?), word(value, 4)?];
                    push(out, &words);
                }
            }
            kind::ENUM64 => {
                for value in found.tail.chunks_exact(12) {
                    let words = [self.name(word(value, 0)?), word(value, 4)?, word(value, 8)?];
                    push(out, &words);
                }
            }
            kind::FUNC_PROTO => {}
            _ => out.extend_from_slice(found.tail),
        }
        Some(())
    }
}

fn push(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_ne_bytes());
    }
}

/// What the programs tell of theirs.
const PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/exec.btf"));

/// Looks at what the running kernel tells of its types.
fn of_kernel<T>(look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    // Mapped, it need not be copied; Linux 6.16 and later offer that.
    match sys::KernelFile::map(Path::new(KERNEL)) {
        Ok(types) => Some(look(&types)),
        Err(_) => fs::read(KERNEL).ok().map(|types| look(&types)),
    }
}

/// Whether the running kernel has a function, or a type, of one of these names, each between NUL bytes.
pub fn has_any(names: &[&[u8]]) -> bool {
    of_kernel(|types| names.iter().any(|name| memchr::memmem::find(types, name).is_some()))
        .unwrap_or(false)
}

/// Of the running kernel's types those that the programs ask for, as a file in memory.
pub fn in_memory() -> Option<OwnedFd> {
    let found = of_kernel(|types| needed(types, PROGRAMS))??;
    // A limit on files holds in memory, too, and kills.
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    if (found.len() as u64) > most {
        return None;
    }
    let file = memfd_create(c"tracexec-btf", MFdFlags::MFD_CLOEXEC).ok()?;
    File::from(file.try_clone().ok()?).write_all(&found).ok()?;
    Some(file)
}

/// Of the kernel's types those whose names are among `programs`' own, in a form that stands for itself.
fn needed(kernel: &[u8], programs: &[u8]) -> Option<Vec<u8>> {
    let programs = Types::parse(programs)?;
    let names: HashSet<&[u8]> = programs.composites().map(|(_, name)| essential(name)).collect();
    let kernel = Types::parse(kernel)?;
    let mut chosen = Chosen {
        from: &kernel,
        numbers: HashMap::new(),
        order: Vec::new(),
        strings: vec![0],
        offsets: HashMap::new(),
    };
    for (id, name) in kernel.composites() {
        if names.contains(essential(name)) {
            chosen.take(id);
        }
    }
    let mut types = Vec::new();
    let mut at = 0;
    while let Some(&id) = chosen.order.get(at) {
        chosen.write(id, &mut types)?;
        at += 1;
    }
    let mut file = Vec::with_capacity(HEADER + types.len() + chosen.strings.len());
    file.extend_from_slice(&MAGIC.to_ne_bytes());
    file.extend_from_slice(&[1, 0]);
    let (types_len, strings_len) = (types.len() as u32, chosen.strings.len() as u32);
    push(&mut file, &[HEADER as u32, 0, types_len, types_len, strings_len]);
    file.extend_from_slice(&types);
    file.extend_from_slice(&chosen.strings);
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and places of the members of a structure.
    fn members<'a>(types: &Types<'a>, name: &[u8]) -> Option<Vec<(&'a [u8], u32)>> {
        let (id, _) = types.composites().find(|(_, found)| *found == name)?;
        let found = types.get(id)?;
        let member = |bytes: &[u8]| Some((types.string(word(bytes, 0)?), word(bytes, 8)?));
        found.tail.chunks_exact(12).map(member).collect()
    }

    #[test]
    fn what_is_taken_over_lies_where_the_kernel_has_it() {
        let Ok(kernel) = fs::read(KERNEL) else {
            return eprintln!("not tried: this kernel tells nothing of its types ({KERNEL})");
        };
        let found = needed(&kernel, PROGRAMS).unwrap();
        assert!(found.len() < kernel.len() / 20, "{} of {}", found.len(), kernel.len());
        let (all, found) = (Types::parse(&kernel).unwrap(), Types::parse(&found).unwrap());
        for name in [&b"task_struct"[..], b"cred", b"file", b"trace_event_raw_sched_process_exec"] {
            let members = members(&found, name);
            assert!(members.as_ref().is_some_and(|members| !members.is_empty()), "{name:?}");
            assert_eq!(members, super::tests::members(&all, name));
        }
    }

    #[test]
    fn nothing_makes_it_panic() {
        for len in (0..PROGRAMS.len().min(4096)).step_by(5) {
            assert!(needed(&PROGRAMS[..len], PROGRAMS).is_none());
        }
        let mut bytes = PROGRAMS.to_vec();
        for at in (0..bytes.len()).step_by(97) {
            bytes[at] = !bytes[at];
            let _ = needed(&bytes, PROGRAMS);
            bytes[at] = !bytes[at];
        }
        assert_eq!(essential(b"task_struct___before_5_5"), b"task_struct");
    }
}
