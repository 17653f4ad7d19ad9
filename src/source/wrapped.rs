//! Programs that run under another one (`--wrap`): what that is, by what name it finds the program, and
//! which execs are its own doing and so no matches.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::debug::matcher::Program;
use crate::event;
use crate::linux::files;
use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Stat};
use crate::text::escape;
use crate::text::report::Trouble;

/// A program under which others are to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapper {
    pub path: PathBuf,
    /// Its name as it was given, and its arguments.
    pub words: Vec<OsString>,
}

impl Wrapper {
    /// What `--wrap` says: words as in a shell, without a shell.
    pub fn parse(text: &str) -> Result<Wrapper, Trouble> {
        let words = shell_words::split(text)
            .map_err(|error| Trouble::new(format!("--wrap {}: {error}", quoted(text))))?;
        let Some(name) = words.first().filter(|name| !name.is_empty()) else {
            return Err(Trouble::new("--wrap: there is no program in it")
                .hint("an example: --wrap 'valgrind --leak-check=full'"));
        };
        let path = which::which(name).map_err(|_| {
            Trouble::new(format!("--wrap: the program {} is not installed", quoted(name)))
                .hint("install it, or give its path")
        })?;
        Ok(Wrapper { path, words: words.into_iter().map(OsString::from).collect() })
    }

    /// As a line to read.
    pub fn line(&self) -> String {
        crate::launcher::command::line(&self.words)
    }
}

fn quoted(text: &str) -> String {
    escape::word(text.as_bytes())
}

/// What one process is to execute in its own place: the wrapper, told of the program by this name.
#[derive(Debug, Clone)]
pub struct WrapOrder {
    pub wrapper: Wrapper,
    pub program: Vec<u8>,
}

/// Why a program does not run under its wrapper.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    #[error("it ended before that")]
    Gone,
    #[error("it had been let go")]
    LetGo,
    /// It runs on as if nothing had been asked.
    #[error("{0}")]
    Impossible(String),
}

/// A name by which a process that has just executed its program can execute it again: the one that was
/// used, where it still leads there; for a script that of its interpreter.
pub fn name_of(pid: Pid, program: &Program) -> Option<Vec<u8>> {
    let first = program.argv.get(0).unwrap_or_default();
    let names = [program.filename.as_slice(), first, program.exe.as_slice()];
    let name = names.into_iter().find(|name| leads_to_program(pid, name))?;
    // It is neither to be looked for in PATH nor to be taken for an option.
    let is_plain = memchr::memchr(b'/', name).is_some() && !name.starts_with(b"-");
    Some(if is_plain { name.to_vec() } else { [b"./", name].concat() })
}

/// Whether what process `pid` knows by this name is its own program, and would be to whoever executes it.
pub fn leads_to_program(pid: Pid, name: &[u8]) -> bool {
    if event::is_self(name) {
        return false;
    }
    let there = fs::metadata(procfs::as_seen_by(pid, name)).ok();
    let there = there.map(|metadata| (metadata.dev(), metadata.ino()));
    !name.is_empty() && there.is_some() && there == file_of(pid).ok()
}

/// The processes that run under a wrapper.
#[derive(Debug, Default)]
pub struct Wraps(Mutex<Vec<Wrapped>>);

#[derive(Debug)]
struct Wrapped {
    pid: Pid,
    start_time: u64,
    /// The program's file: by number, and by path.
    file: (u64, u64),
    path: Vec<u8>,
    /// Whether the wrapper has executed it.
    begun: bool,
}

impl Wrapped {
    fn read(pid: Pid) -> io::Result<Wrapped> {
        let path = procfs::link(pid, "exe")?;
        let start_time = Stat::read(pid)?.start_time;
        Ok(Wrapped { pid, start_time, file: file_of(pid)?, path, begun: false })
    }

    fn lives(&self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.start_time == self.start_time)
    }

    /// Whether a process has the program in its memory: it is the program, or a wrapper that has loaded
    /// it, as valgrind does.
    fn has_loaded(&self, pid: Pid) -> bool {
        let maps = procfs::read(pid, "maps").unwrap_or_default();
        maps.split(|&byte| byte == b'\n').any(|line| {
            line.strip_suffix(self.path.as_slice()).is_some_and(|rest| rest.ends_with(b" "))
        })
    }
}

fn file_of(pid: Pid) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(procfs::path(pid, "exe"))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// No tree is deeper; a bound for one that changes while it is walked.
const DEEPEST: usize = 1000;

impl Wraps {
    fn all(&self) -> MutexGuard<'_, Vec<Wrapped>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a process that is about to execute its wrapper.
    pub fn add(&self, pid: Pid) -> io::Result<()> {
        let wrapped = Wrapped::read(pid)?;
        let mut all = self.all();
        all.retain(|known| known.pid != pid && known.lives());
        all.push(wrapped);
        Ok(())
    }

    /// It runs without a wrapper after all.
    pub fn remove(&self, pid: Pid) {
        self.all().retain(|known| known.pid != pid);
    }

    /// Whether the exec that `pid` has just made is the doing of a wrapper: of the program that it wraps,
    /// of a further part of its own, or of a helper. What the wrapped program executes is not.
    pub fn made(&self, pid: Pid) -> bool {
        let mut all = self.all();
        if all.is_empty() {
            return false;
        }
        let mut above = pid;
        let mut between = Vec::new();
        for _ in 0..DEEPEST {
            if let Some(wrapped) = all.iter_mut().find(|known| known.pid == above)
                && wrapped.lives()
            {
                if above != pid {
                    between.push(above);
                }
                return wrapped.is_doing_of_wrapper(pid, &between);
            }
            if above != pid {
                between.push(above);
            }
            match Stat::read(above) {
                Ok(stat) if stat.ppid > 1 => above = stat.ppid,
                _ => return false,
            }
        }
        false
    }
}

impl Wrapped {
    /// `between`: the parents of `pid` up to the wrapped process.
    fn is_doing_of_wrapper(&mut self, pid: Pid, between: &[Pid]) -> bool {
        if between.iter().any(|&parent| self.has_loaded(parent)) {
            return false;
        }
        if pid == self.pid && self.begun {
            return false;
        }
        if file_of(pid).is_ok_and(|file| file == self.file) {
            return !std::mem::replace(&mut self.begun, true) || pid != self.pid;
        }
        true
    }
}

/// Whether a program is one that traces others: it then cannot work on what somebody else traces.
/// A script is judged by its interpreter.
pub fn traces_others(pid: Pid) -> bool {
    use object::{Object, ObjectSymbol, ReadCache};
    let Ok(file) = procfs::open(pid, "exe") else { return false };
    let cache = ReadCache::new(file);
    object::File::parse(files::Parts(&cache)).is_ok_and(|file| {
        file.dynamic_symbols()
            .any(|symbol| symbol.is_undefined() && symbol.name_bytes() == Ok(b"ptrace"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapper_is_words_and_must_be_there() {
        let wrapper = Wrapper::parse("env 'A=b c'").unwrap();
        assert_eq!(wrapper.words, ["env", "A=b c"]);
        assert!(wrapper.path.is_absolute());
        assert!(Wrapper::parse("no-such-program x").unwrap_err().what.contains("not installed"));
        assert!(Wrapper::parse("").is_err() && Wrapper::parse("'").is_err());
        assert!(Wrapper::parse("''").is_err());
    }

    #[test]
    fn our_own_file_is_in_our_memory() {
        let pid = std::process::id() as Pid;
        let own = Wrapped::read(pid).unwrap();
        assert!(own.lives() && own.has_loaded(pid));
        let other = Wrapped { path: b"/no/such/file".to_vec(), ..own };
        assert!(!other.has_loaded(pid));
    }
}
