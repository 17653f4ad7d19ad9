//! Parents that give a program so much time and no more. What holds a process does not hold their clocks.

use crate::event::{Strings, basename};
use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Stat};
use crate::text::escape;

/// A program that ends what it runs when its time is up.
struct Clock {
    /// The last component of what is executed.
    program: &'static str,
    /// A word that its command line has, where the program does more than that.
    word: Option<&'static str>,
    /// What to do about it.
    raise: &'static str,
}

const fn clock(program: &'static str, word: Option<&'static str>, raise: &'static str) -> Clock {
    Clock { program, word, raise }
}

/// Those that are known.
const CLOCKS: [Clock; 12] = [
    clock("timeout", None, "give it a longer time"),
    clock("ctest", None, "ctest --timeout 86400, unless a test's TIMEOUT property says less"),
    clock("cmake", Some("--timeout"), "raise its --timeout"),
    clock("meson", Some("test"), "meson test --timeout-multiplier 0"),
    clock("systemd-run", None, "-p RuntimeMaxSec=infinity"),
    clock("prove", Some("--timeout"), "raise its --timeout"),
    clock("pytest", None, "--timeout 0, if pytest-timeout is there"),
    clock("py.test", None, "--timeout 0, if pytest-timeout is there"),
    clock("bazel", None, "--test_timeout=-1"),
    clock("cargo-nextest", None, "a longer slow-timeout in .config/nextest.toml"),
    clock("dejagnu", None, "raise its timeout"),
    clock("runtest", None, "raise its timeout"),
];

/// Interpreters, whose first argument is the program.
const INTERPRETERS: [&str; 4] = ["python", "perl", "sh", "bash"];

/// How far up the ancestors are looked at.
const FAR: usize = 64;

/// An ancestor that has a clock.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub pid: Pid,
    /// Escaped.
    pub line: String,
    pub raise: &'static str,
}

/// The nearest ancestor of a process that is known to have a clock.
pub fn above(pid: Pid) -> Option<Found> {
    let mut at = pid;
    for _ in 0..FAR {
        at = Stat::read(at).ok()?.ppid;
        if at <= 1 {
            return None;
        }
        let Ok(argv) = procfs::read(at, "cmdline") else { continue };
        let argv = Strings::from_block(argv);
        if let Some(raise) = raise(&argv) {
            return Some(Found { pid: at, line: escape::command_line(&argv, 60), raise });
        }
    }
    None
}

fn raise(argv: &Strings) -> Option<&'static str> {
    let mut words = argv.iter();
    let mut program = basename(words.next()?);
    let interpreted = INTERPRETERS.iter().any(|name| program.starts_with(name.as_bytes()));
    if interpreted {
        program = basename(words.find(|word| !word.starts_with(b"-"))?);
    }
    let clock = CLOCKS.iter().find(|clock| clock.program.as_bytes() == program)?;
    let named = |word: &str| words.any(|found| found.starts_with(word.as_bytes()));
    clock.word.is_none_or(named).then_some(clock.raise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_known_by_its_command_line() {
        let raise = |words: &[&str]| raise(&words.iter().collect());
        assert!(raise(&["/usr/bin/timeout", "10", "x"]).is_some());
        assert!(raise(&["ctest", "-j4"]).is_some());
        assert!(raise(&["/usr/bin/python3", "-u", "/usr/bin/meson", "test"]).is_some());
        assert!(raise(&["/usr/bin/python3", "/usr/bin/meson", "compile"]).is_none());
        assert!(raise(&["make", "timeout"]).is_none() && raise(&[]).is_none());
    }
}
