//! What runs a script: the interpreter that its first line names, then the one that that file's names, and so
//! on, by the kernel's own rules (fs/binfmt_script.c).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef, elf};

use crate::event::{ExecRecord, Faults, Namespace, Part, Strings};
use crate::linux::files::{self, Parts};
use crate::linux::sys::Pid;
use crate::machine::procfs;

/// What the kernel reads of a file (BINPRM_BUF_SIZE).
const HEAD: usize = 256;
/// Interpreters of interpreters; an exec with more fails with ELOOP.
const MOST: usize = 5;

/// How the kernel calls what was passed by a descriptor.
const BY_DESCRIPTOR: &[u8] = b"/dev/fd/";

/// The interpreter that the beginning of a file names.
fn named(head: &[u8]) -> Option<&[u8]> {
    let head = &head[..head.len().min(HEAD)];
    let text = head.strip_prefix(b"#!")?;
    let space = |&byte: &u8| byte == b' ' || byte == b'\t';
    let end = text.iter().position(|&byte| byte == b'\n' || byte == 0);
    let line = match end.filter(|&at| text[at] == b'\n') {
        Some(at) => &text[..at],
        // Without the line's end there must be an end of the name, or it may go on. What is not there is NUL.
        None => {
            let name = text.iter().position(|byte| !space(byte))?;
            let ends = text[name..].iter().any(|byte| space(byte) || *byte == 0);
            if !ends && head.len() == HEAD {
                return None;
            }
            text
        }
    };
    let start = line.iter().position(|byte| !space(byte))?;
    let name = &line[start..];
    let name =
        &name[..name.iter().position(|byte| space(byte) || *byte == 0).unwrap_or(name.len())];
    (!name.is_empty()).then_some(name)
}

/// What is missing to run a file of ours that is there: its interpreter or its loader, or theirs.
pub fn missing(file: &Path) -> Option<Vec<u8>> {
    let mut file = file.to_path_buf();
    for _ in 0..=MOST {
        let head = files::open(&file).and_then(head_of).ok()?;
        let next = named(&head).map(<[u8]>::to_vec).or_else(|| loader(&file))?;
        let path = Path::new(OsStr::from_bytes(&next));
        if !path.exists() {
            return Some(next);
        }
        file = path.to_path_buf();
    }
    None
}

/// In words, how something is missing that runs another program.
pub fn is_missing(name: &[u8]) -> String {
    let shown = crate::text::escape::word(name);
    match name.ends_with(b"\r") {
        true => format!("its interpreter {shown} is missing: the first line ends with CR LF"),
        false => format!("its interpreter or loader {shown} is missing"),
    }
}

/// The loader that an ELF file names.
fn loader(path: &Path) -> Option<Vec<u8>> {
    let cache = ReadCache::new(files::open(path).ok()?);
    let data = Parts(&cache);
    match FileKind::parse(data).ok()? {
        FileKind::Elf64 => loader_of::<elf::FileHeader64<Endianness>>(data),
        FileKind::Elf32 => loader_of::<elf::FileHeader32<Endianness>>(data),
        _ => None,
    }
}

fn loader_of<H: FileHeader<Endian = Endianness>>(data: Parts<'_>) -> Option<Vec<u8>> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut segments = header.program_headers(endian, data).ok()?.iter();
    let named = segments.find(|segment| segment.p_type(endian) == elf::PT_INTERP)?;
    let len: u64 = named.p_filesz(endian).into();
    // No path is longer.
    if len > libc::PATH_MAX as u64 {
        return None;
    }
    let name = data.read_bytes_at(named.p_offset(endian).into(), len).ok()?;
    Some(name.split(|&byte| byte == 0).next()?.to_vec()).filter(|name| !name.is_empty())
}

/// How the files of a process are reached.
struct Reach<'a> {
    /// Where it is still there, and sees other files than we do.
    pid: Option<Pid>,
    /// Its working directory.
    cwd: Option<&'a [u8]>,
    /// Whether it sees the files that we see.
    same: bool,
}

impl<'a> Reach<'a> {
    fn of(record: &'a ExecRecord, pid: Option<Pid>) -> Reach<'a> {
        let same = sees_our_files(record.mount_namespace.known(), pid);
        Reach { pid, cwd: record.cwd.value.as_deref(), same }
    }

    fn path(&self, name: &[u8]) -> Option<PathBuf> {
        let path = Path::new(OsStr::from_bytes(name));
        if self.same && path.is_absolute() && procfs::own(name).is_none() {
            return Some(path.to_path_buf());
        }
        if self.same && !path.is_absolute() {
            let there = |cwd: &&[u8]| cwd.starts_with(b"/") && !cwd.ends_with(b" (deleted)");
            if let Some(cwd) = self.cwd.filter(there) {
                return Some(Path::new(OsStr::from_bytes(cwd)).join(path));
            }
        }
        self.pid.map(|pid| procfs::as_seen_by(pid, name))
    }

    /// The beginning of a file; `None` where there is no such file.
    fn head(&self, name: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        let path = self.path(name).ok_or(())?;
        let is_none =
            |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
        match files::open(&path).and_then(head_of) {
            Ok(head) => Ok(Some(head)),
            // No regular file.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory
                ) =>
            {
                Ok(Some(Vec::new()))
            }
            // A descriptor that is not there any more may have been anything.
            Err(error) if is_none(&error) && procfs::own(name).is_none() => Ok(None),
            Err(_) => Err(()),
        }
    }
}

fn head_of(file: File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The interpreters of an exec, from its file name, working directory, descriptors and image as they were
/// recorded. `pid` finds its process, if that is still there.
pub fn of(record: &ExecRecord, pid: impl FnOnce() -> Option<Pid>) -> Part<Vec<Vec<u8>>> {
    let lost = Part { value: None, faults: Faults::PATH_UNREADABLE };
    let Some(passed) = record.filename.value.as_deref() else { return lost };
    if !may_have(record) {
        return Part::of(Vec::new());
    }
    let exe = record.exe.value.as_deref();
    if exe == Some(passed) {
        return Part::of(Vec::new());
    }
    let pid = pid();
    if record.result == 0 && is_closed(record, passed, pid) {
        return Part::of(Vec::new());
    }
    let reach = Reach::of(record, pid);
    let mut chain: Vec<Vec<u8>> = Vec::new();
    let mut at = called(record, passed);
    loop {
        let head = match reach.head(&at) {
            Ok(head) => head,
            Err(()) => return Part { value: (!chain.is_empty()).then_some(chain), ..lost },
        };
        let next = match head.as_deref().and_then(named) {
            Some(next) => next.to_vec(),
            // Only where it is what the kernel has not found.
            None if record.result == -libc::ENOENT && head.is_some() => {
                let found = reach.path(&at).and_then(|path| loader(&path));
                match found.filter(|loader| reach.head(loader) == Ok(None)) {
                    Some(loader) => loader,
                    None => break,
                }
            }
            None => break,
        };
        if chain.len() == MOST || chain.last() == Some(&next) {
            break;
        }
        at = next;
        chain.push(at.clone());
    }
    match exe {
        Some(exe) if record.result == 0 => checked(chain, &reach, exe, &at, lost),
        _ => Part::of(chain),
    }
}

/// The path by which we reach a file that the process of an exec knows by this name.
pub fn place(record: &ExecRecord, pid: Option<Pid>, name: &[u8]) -> Option<PathBuf> {
    Reach::of(record, pid).path(name)
}

/// Whether something may run the file that was passed: to whatever does the kernel gives that name as an argument,
/// see its binfmt_script.c and binfmt_misc.c.
pub fn is_handed(argv: &Strings, passed: &[u8]) -> bool {
    argv.iter().skip(1).any(|argument| argument == passed)
}

/// The same of a record, of which that may not be known.
pub fn may_have(record: &ExecRecord) -> bool {
    match (&record.filename.value, &record.argv.value) {
        (Some(passed), Some(argv))
            if record.result == 0
                && record.filename.faults.is_empty()
                && record.argv.faults.is_empty() =>
        {
            is_handed(&argv.strings, passed)
        }
        _ => true,
    }
}

/// The descriptor in a name that begins with one, and the rest.
fn by_descriptor(name: &[u8]) -> Option<(u32, &[u8])> {
    let path = name.strip_prefix(BY_DESCRIPTOR)?;
    let end = memchr::memchr(b'/', path).unwrap_or(path.len());
    let number = std::str::from_utf8(&path[..end]).ok()?.parse().ok()?;
    Some((number, path[end..].strip_prefix(b"/").unwrap_or_default()))
}

/// Whether the exec has closed the descriptor by which it was called. The kernel runs no script by such a one.
fn is_closed(record: &ExecRecord, passed: &[u8], pid: Option<Pid>) -> bool {
    let Some((number, _)) = by_descriptor(passed) else { return false };
    match (&record.fds.value, pid) {
        (Some(fds), _) if record.fds.faults.is_empty() => {
            !fds.iter().any(|record| record.fd.number == number && !record.close_on_exec)
        }
        (_, Some(pid)) => {
            matches!(procfs::fd(pid, number), Ok(None)) && procfs::path(pid, "exe").exists()
        }
        _ => false,
    }
}

/// The file as it was passed, with what a descriptor stands for where that was recorded.
fn called(record: &ExecRecord, passed: &[u8]) -> Vec<u8> {
    let by_call = record.call.and_then(|call| call.at).filter(|&at| at != libc::AT_FDCWD);
    let (number, rest) = match (by_call, by_descriptor(passed)) {
        // Of a success the kernel has put them together.
        (_, Some((number, rest))) => (Some(number), rest),
        (Some(folder), None) if record.result != 0 && !passed.starts_with(b"/") => {
            (u32::try_from(folder).ok(), passed)
        }
        _ => return passed.to_vec(),
    };
    let Some(number) = number else { return passed.to_vec() };
    let mut open = record.fds.value.iter().flatten();
    let mut path = match open.find(|record| record.fd.number == number) {
        Some(found) if found.fd.target.starts_with(b"/") => found.fd.target.clone(),
        _ => [BY_DESCRIPTOR, number.to_string().as_bytes()].concat(),
    };
    if !rest.is_empty() {
        path.push(b'/');
        path.extend_from_slice(rest);
    }
    path
}

/// What runs must be what the last one is, or other files than its own were read. What is neither a script nor
/// what was passed is run by what runs, see the kernel's binfmt_misc.
fn checked(
    chain: Vec<Vec<u8>>,
    reach: &Reach<'_>,
    exe: &[u8],
    last: &[u8],
    lost: Part<Vec<Vec<u8>>>,
) -> Part<Vec<Vec<u8>>> {
    if exe == last {
        return Part::of(chain);
    }
    let file = |path: PathBuf| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let running = reach.pid.and_then(|pid| file(procfs::path(pid, "exe")));
    let running = running.or_else(|| reach.path(exe).and_then(file));
    match (running, reach.path(last).and_then(file)) {
        (Some(running), Some(last)) if running == last => Part::of(chain),
        (Some(_), Some(_)) if chain.is_empty() => Part::of(vec![exe.to_vec()]),
        _ => lost,
    }
}

/// Whether absolute paths lead a process to the files to which they lead us.
fn sees_our_files(namespace: Option<u32>, pid: Option<Pid>) -> bool {
    static OWN: OnceLock<Option<u32>> = OnceLock::new();
    let of = |pid| procfs::namespace(pid, Namespace::Mnt).ok();
    let own = *OWN.get_or_init(|| of(std::process::id() as Pid));
    let theirs = namespace.or_else(|| pid.and_then(of));
    // What has ended, and was not waited for yet, has no root any more.
    let root = pid.is_none_or(|pid| procfs::link(pid, "root").map_or(true, |root| root == b"/"));
    own.is_some() && own == theirs && root
}

/// First lines, and names by descriptors.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    if let Some(name) = named(bytes) {
        let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0);
        assert!(!name.is_empty() && name.len() < HEAD && !name.iter().any(ends), "{name:?}");
    }
    let _ = by_descriptor(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_read_as_the_kernel_does() {
        assert_eq!(named(b"#!/bin/sh\n"), Some(&b"/bin/sh"[..]));
        assert_eq!(named(b"#! \t/bin/sh -e x \nrest"), Some(&b"/bin/sh"[..]));
        assert_eq!(named(b"#!/bin/sh"), Some(&b"/bin/sh"[..]));
        assert_eq!(named(b"#!sh\tx"), Some(&b"sh"[..]));
        for none in [&b"#!"[..], b"#!  \n/bin/sh", b"#!\n", b"", b"#", b"\x7fELF", b" #!/bin/sh\n"]
        {
            assert_eq!(named(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_name_that_may_go_on_is_none() {
        let long = |len: usize, end: &[u8]| [b"#!/".as_slice(), &vec![b'a'; len], end].concat();
        assert_eq!(named(&long(400, b"\n")), None);
        assert_eq!(named(&long(253, b"\n")), None);
        assert_eq!(named(&long(252, b"\n")).map(<[u8]>::len), Some(253));
        assert_eq!(
            named(&long(
                200,
                b" an argument that is cut, which is no harm to the name itself at all"
            ))
            .map(<[u8]>::len),
            Some(201)
        );
    }
}
