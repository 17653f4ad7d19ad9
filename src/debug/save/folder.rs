//! The folder of a hit: by the program's name, the pid and the hit's number, whatever the program is called.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Subject;
use crate::debug::matcher::Program;
use crate::event::basename;
use crate::linux::caller::As;

/// How many bytes of a program's name are taken.
const LONGEST: usize = 100;
/// How many folders of one name there may be, of sessions before.
const MOST: u32 = 1000;

/// Makes a folder that only its owner can enter, and those above it; one that is there is left as it is.
pub fn make(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let _guard = As::user(owner);
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the folder of a hit, a new one in any case.
pub fn for_hit(to: &Path, owner: Option<(u32, u32)>, subject: &Subject) -> io::Result<PathBuf> {
    let _guard = As::user(owner);
    let name = format!("{}.{}.{}", name(&subject.program), subject.pid, subject.hit);
    for number in 1..MOST {
        let path = if number == 1 { to.join(&name) } else { to.join(format!("{name}-{number}")) };
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The program's name, in letters that mean nothing to anybody.
fn name(program: &Program) -> String {
    let name = basename(&program.filename);
    let mut safe = String::new();
    for (index, &byte) in name.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"_+".contains(&byte);
        if plain || (index > 0 && b".-".contains(&byte)) {
            safe.push(byte as char);
        } else {
            safe.push_str(&format!("%{byte:02x}"));
        }
        if safe.len() >= LONGEST {
            break;
        }
    }
    if safe.is_empty() { "unknown".into() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Strings;

    #[test]
    fn a_hostile_name_is_a_plain_one() {
        let named = |filename: &[u8]| {
            name(&Program {
                pid: 1,
                argv: Strings::default(),
                filename: filename.to_vec(),
                exe: Vec::new(),
                cwd: Vec::new(),
                because: String::new(),
                ..Program::default()
            })
        };
        assert_eq!(named(b"/bin/g++-12.1"), "g++-12.1");
        assert_eq!(named(b".."), "%2e.");
        assert_eq!(named(b"/a/-rf"), "%2drf");
        assert_eq!(named(b"a\n\x1b $(x)\xff"), "a%0a%1b%20%24%28x%29%ff");
        assert_eq!(named(b"/"), "unknown");
        assert!(named(&[b' '; 4000]).len() < 110);
    }
}
