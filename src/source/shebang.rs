//! The first line of a script.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How much of a file the kernel looks at (BINPRM_BUF_SIZE).
const LOOKED_AT: u64 = 256;
/// How often an interpreter may be a script again.
const DEEPEST: usize = 5;

/// What runs a script, what runs that, and so on; nothing for a file that is no script, `None` for one that
/// cannot be read.
pub fn chain(file: &Path) -> Option<Vec<Vec<u8>>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut next = Some(first_bytes(file)?);
    while let Some(path) = next.as_deref().and_then(interpreter)
        && found.len() < DEEPEST
    {
        found.push(path.to_vec());
        next = first_bytes(Path::new(OsStr::from_bytes(path)));
    }
    Some(found)
}

fn first_bytes(file: &Path) -> Option<Vec<u8>> {
    // Not to wait for the writer of a FIFO.
    let mut options = File::options();
    let file =
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(file).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The program that a file's first bytes name.
fn interpreter(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"#!")?;
    let line = rest.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    words.find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_after_the_mark_is_the_interpreter() {
        assert_eq!(interpreter(b"#!/bin/sh -e\nexit"), Some(&b"/bin/sh"[..]));
        assert_eq!(interpreter(b"#! \t/usr/bin/env\tpython3"), Some(&b"/usr/bin/env"[..]));
        assert_eq!(interpreter(b"#!\n/bin/sh"), None);
        assert_eq!(interpreter(b"\x7fELF"), None);
    }

    #[test]
    fn a_script_that_runs_a_script_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, outer) = (folder.path().join("inner"), folder.path().join("outer"));
        std::fs::write(&inner, "#!/bin/cat\n").unwrap();
        std::fs::write(&outer, format!("#!{}\n", inner.display())).unwrap();
        let inner = inner.as_os_str().as_bytes().to_vec();
        assert_eq!(chain(&outer), Some(vec![inner, b"/bin/cat".to_vec()]));
        assert_eq!(chain(Path::new("/bin/cat")), Some(Vec::new()));
        assert_eq!((chain(folder.path()), chain(&folder.path().join("none"))), (None, None));
    }
}
