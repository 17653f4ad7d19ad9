//! What kind of program a process executes, as far as a debugger cares: read from the ELF file behind
//! `/proc/PID/exe`, which is there in other mount namespaces too.

use std::fs::File;

use memchr::memmem;
use object::read::{ObjectSection, ReadCache};
use object::{Object, Section};
use serde::Deserialize;

use crate::event::basename;
use crate::linux::files::Parts;
use crate::linux::sys::Pid;
use crate::machine::procfs;

/// Kinds of programs for which there are debuggers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Go, with debug information: Go's debugger takes no other.
    Go,
    Rust,
    /// Every program, these among them.
    Any,
}

/// An executable file, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub kind: Kind,
    /// The function that the user calls `main`, as gdb, lldb and dlv call it.
    pub main: String,
}

/// In the string tables of programs that hold Rust's standard library.
const RUST_SYMBOLS: [&[u8]; 3] = [b"rust_begin_unwind", b"__rust_alloc", b"lang_start"];

impl Default for Image {
    fn default() -> Image {
        Image { kind: Kind::Any, main: "main".into() }
    }
}

impl Image {
    /// Looks at what a process executes. What cannot be read is of no kind of its own.
    pub fn of(pid: Pid, filename: &[u8]) -> Image {
        procfs::open(pid, "exe")
            .ok()
            .and_then(|file| Image::read(file, basename(filename)))
            .unwrap_or_default()
    }

    /// `name`: by what name it was executed.
    fn read(file: File, name: &[u8]) -> Option<Image> {
        let len = file.metadata().ok()?.len();
        let cache = ReadCache::new(file);
        let elf = object::File::parse(Parts(&cache)).ok()?;
        let has = |name: &str| elf.section_by_name(name).is_some();
        if has(".go.buildinfo") || has(".note.go.buildid") {
            let debuggable = has(".debug_info") || has(".zdebug_info");
            let kind = if debuggable { Kind::Go } else { Kind::Any };
            return Some(Image { kind, main: "main.main".into() });
        }
        let content = |name: &str| content(elf.section_by_name(name), len);
        let symbols = content(".strtab").unwrap_or_default();
        let in_symbols = |text: &&[u8]| memmem::find(symbols, text).is_some();
        let is_rust = if symbols.is_empty() {
            // A library of Rust in a program in C leaves that sign, too; nothing else is left.
            memmem::find(content(".comment")?, b"rustc version").is_some()
        } else {
            RUST_SYMBOLS.iter().any(in_symbols)
        };
        if !is_rust {
            return None;
        }
        let main = main_of_rust(symbols, name).map(|name| format!("{name}::main"));
        Some(Image { kind: Kind::Rust, main: main.unwrap_or_else(|| "main".into()) })
    }
}

/// A section's bytes. Its size is checked against the file's, which may be made to deceive.
fn content<'a>(section: Option<Section<'a, '_, Parts<'a>>>, file_len: u64) -> Option<&'a [u8]> {
    let section = section?;
    let (_, size) = section.file_range()?;
    (size <= file_len).then(|| section.data().ok())?
}

/// The crate whose `main` is the program's, by the names of symbols: `main` itself is a shim of
/// rustc's. Of several, the one that the file is called after.
fn main_of_rust(symbols: &[u8], file_name: &[u8]) -> Option<String> {
    let mut crates: Vec<&[u8]> = Vec::new();
    for at in memmem::find_iter(symbols, b"4main") {
        let start = memchr::memrchr(0, &symbols[..at]).map_or(0, |nul| nul + 1);
        let rest = &symbols[at..];
        let end = memchr::memchr(0, rest).unwrap_or(rest.len());
        let found = crate_in(&symbols[start..at], &rest[..end]);
        crates.extend(found.filter(|name| !crates.contains(name)));
    }
    let called: Vec<u8> =
        file_name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte }).collect();
    // Cargo's tests are called CRATE-HASH.
    let fits = |name: &&&[u8]| called.strip_prefix(**name).is_some_and(is_end_or_hash);
    let chosen = match crates.as_slice() {
        [only] => only,
        several => several.iter().find(fits)?,
    };
    String::from_utf8(chosen.to_vec()).ok()
}

fn is_end_or_hash(rest: &[u8]) -> bool {
    rest.is_empty() || (rest.len() == 17 && rest[0] == b'_' && is_hexadecimal(&rest[1..]))
}

fn is_hexadecimal(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

/// The crate in a mangled `CRATE::main`, what stands before `4main` and what from there.
fn crate_in<'a>(before: &'a [u8], from: &[u8]) -> Option<&'a [u8]> {
    let path = if let Some(path) = before.strip_prefix(b"_ZN") {
        // _ZN5crate4main17h0123456789abcdefE
        let hash = from.strip_prefix(b"4main17h")?.strip_suffix(b"E")?;
        (hash.len() == 16 && is_hexadecimal(hash)).then_some(path)?
    } else {
        // _RNvCsDISAMBIGUATOR_5crate4main
        let path = before.strip_prefix(b"_RNvC")?;
        let path = match path.strip_prefix(b"s") {
            Some(path) => &path[memchr::memchr(b'_', path)? + 1..],
            None => path,
        };
        (from == b"4main").then_some(path)?
    };
    let digits = path.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let len: usize = std::str::from_utf8(&path[..digits]).ok()?.parse().ok()?;
    let name = &path[digits..];
    // A name that begins with a digit or an underscore has an underscore before it.
    let name = if name.len() == len + 1 { name.strip_prefix(b"_")? } else { name };
    // It becomes part of a debugger's command: it must be a word, whoever made the file.
    let is_word = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (name.len() == len && len > 0 && is_word).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGACY: &[u8] = b"\0x\0_ZN6rhello4main17h68bce1c4f3ec2851E\0main\0";
    const V0: &[u8] = b"\0_RNvNtCsjrHSEGnQ3l9_3std4mainX\0_RNvCs6OtdTqdQtwP_6rhello4main\0";

    #[test]
    fn the_crate_of_main_is_found_in_both_manglings() {
        for symbols in [LEGACY, V0] {
            assert_eq!(main_of_rust(symbols, b"another"), Some("rhello".into()));
        }
        assert_eq!(main_of_rust(b"\0main\0_ZN1a1b4main17h68bce1c4f3ec2851E\0", b"a"), None);
    }

    #[test]
    fn of_several_crates_the_one_of_the_files_name_is_taken() {
        let symbols = b"\0_ZN3lib4main17h68bce1c4f3ec2851E\0_ZN7my_tool4main17h68bce1c4f3ec2851E\0";
        for name in [&b"my-tool"[..], b"my_tool-0123456789abcdef"] {
            assert_eq!(main_of_rust(symbols, name), Some("my_tool".into()));
        }
        assert_eq!(main_of_rust(symbols, b"tool"), None);
    }

    #[test]
    fn a_name_that_is_made_to_be_a_command_is_none() {
        let symbols = b"\0_ZN9x\nshell a4main17h68bce1c4f3ec2851E\0_RNvC3a;b4main\0";
        assert_eq!(main_of_rust(symbols, b"x"), None);
    }

    #[test]
    fn what_is_no_elf_file_is_of_no_kind() {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(Image::read(file, b"x"), None);
        assert_eq!(Image::of(i32::MAX, b"x"), Image::default());
    }

    #[test]
    fn this_test_is_a_program_in_rust_with_a_main_of_its_own() {
        let image = Image::of(std::process::id() as Pid, b"tracexec");
        assert_eq!(image, Image { kind: Kind::Rust, main: "tracexec::main".into() });
    }
}
