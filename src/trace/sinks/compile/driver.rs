//! Which program is a compiler's driver, by its name and its file.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::path;
use crate::event::{ExecRecord, basename};

/// What a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A compiler's driver; its command line begins after so many words.
    Driver(usize),
    /// A compiler proper, which a driver has executed.
    Proper,
    /// It may be a driver that nobody knows.
    Unknown,
    /// None, whatever its name is.
    Other,
}

/// With versions, and with the target before it: gcc, c++, x86_64-linux-gnu-gcc-12, clang++-19.
static DRIVER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^([A-Za-z0-9_.]+-)*((gcc|g\+\+|clang|clang\+\+)(-?[0-9][0-9.]*)?|(cc|c\+\+)(-[0-9][0-9.]*)?)$",
    )
});

/// What runs a compiler for others, or looks whether that is needed.
static WRAPPER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(ccache|sccache|distcc|icecc|buildcache)$"));

/// What runs scripts, whatever those are called.
static INTERPRETER: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(sh|bash|dash|zsh|ksh|mksh|busybox|fish|env|perl|ruby|lua|node|(python|perl)[0-9.]*)$")
});

static PROPER: LazyLock<Regex> = LazyLock::new(|| regex(r"^cc1(plus|obj|objplus)?$"));

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("one of those above")
}

/// By what the file is, and by what it was called.
pub fn role(record: &ExecRecord) -> Role {
    let argv = record.argv.value.as_ref().map(|argv| &argv.strings);
    let word = |at| argv.and_then(|argv| argv.get(at)).unwrap_or_default();
    let file = record.exe.value.as_deref().map(basename).unwrap_or_default();
    let called = record.filename.value.as_deref().map(basename).unwrap_or_default();
    if word(1) == b"-cc1" || word(1) == b"-cc1as" || PROPER.is_match(file) {
        return Role::Proper;
    }
    if WRAPPER.is_match(file) || WRAPPER.is_match(called) {
        // It is called by a compiler's name, or before a compiler.
        return if DRIVER.is_match(called) {
            Role::Driver(0)
        } else if DRIVER.is_match(basename(word(1))) {
            Role::Driver(1)
        } else {
            Role::Other
        };
    }
    if INTERPRETER.is_match(file) {
        return Role::Other;
    }
    if DRIVER.is_match(file) || DRIVER.is_match(called) { Role::Driver(0) } else { Role::Unknown }
}

/// The file that was executed, so that another can find it.
pub fn program(record: &ExecRecord) -> Option<Vec<u8>> {
    let filename = record.filename.value.as_deref()?;
    if filename.starts_with(b"/dev/fd/") {
        return record.exe.value.clone();
    }
    let program = path(record.cwd.value.as_deref()?).join(path(filename));
    // Without dots that lead nowhere.
    let program: PathBuf = program.components().collect();
    Some(program.into_os_string().into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_known_with_versions_and_targets() {
        for name in [
            "cc",
            "c++",
            "gcc",
            "g++",
            "gcc-12",
            "gcc-4.9",
            "x86_64-linux-gnu-gcc-12",
            "clang",
            "clang++-19",
            "arm-none-eabi-g++",
            "clang19",
        ] {
            assert!(DRIVER.is_match(name.as_bytes()), "{name}");
        }
        for name in
            ["cc1", "gcc-ar", "clang-tidy", "ccache", "clang-19-x", "gccgo", "clangd", "c99"]
        {
            assert!(!DRIVER.is_match(name.as_bytes()), "{name}");
        }
    }
}
