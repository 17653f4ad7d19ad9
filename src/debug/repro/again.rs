//! Becomes the program that a hit's folder tells of: the COMMAND of `tracexec rerun`.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use nix::unistd::execve;

use super::{Repro, UNKNOWN_CWD};
use crate::linux::sys::{self, Inherited};
use crate::source::responses;
use crate::text::escape;
use crate::text::json::OwnedBytes;
use crate::text::report::{Report, Trouble};

/// The hidden subcommand that does it.
const SUBCOMMAND: &str = "again";

/// The COMMAND that becomes the program of `folder`: `own`, our program.
pub fn command(own: &Path, folder: &Path) -> [OsString; 3] {
    [own.into(), SUBCOMMAND.into(), folder.into()]
}

/// The folder whose program this COMMAND becomes, if it is one of ours.
pub fn rerun_by(command: &[OsString]) -> Option<&OsStr> {
    let [own, subcommand, folder] = command else { return None };
    let is_own = std::env::current_exe().is_ok_and(|path| path == Path::new(own));
    (is_own && subcommand == SUBCOMMAND).then_some(folder)
}

/// Executes the program in our place; returns only if that fails.
pub fn run(folder: &Path, report: Report) -> Trouble {
    // The signals that we were given, and no others, are for the program.
    let inherited = Inherited::note();
    // Its descriptors may have higher numbers than its limit lets it open.
    sys::raise_file_limit();
    match become_it(folder, report, inherited) {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    }
}

fn become_it(
    folder: &Path,
    report: Report,
    inherited: Inherited,
) -> Result<std::convert::Infallible, Trouble> {
    let repro = Repro::load(folder)?;
    let shown = |bytes: &[u8]| escape::word(bytes);
    let program = shown(&repro.program.0);
    let strings = |items: Vec<&[u8]>| -> Result<Vec<CString>, Trouble> {
        let strings: Result<_, _> = items.into_iter().map(CString::new).collect();
        strings.map_err(|_| Trouble::new(format!("{program}: there is a NUL byte in a word of it")))
    };
    let path = strings(vec![&repro.program.0])?;
    let mut argv = Vec::new();
    for (at, OwnedBytes(argument)) in repro.argv.iter().enumerate() {
        let is_gone = at > 0 && !responses::is_there(argument, &repro.cwd.0);
        match repro.words_of(argument).filter(|_| is_gone) {
            Some(words) => {
                let file = shown(&argument[1..]);
                report.warn(format!("{file} is gone: its words stand in its place"));
                argv.extend(words);
            }
            None => argv.push(argument.clone()),
        }
    }
    let argv = strings(argv.iter().map(Vec::as_slice).collect())?;
    let env = repro.env.iter().flatten().map(|entry| entry.0.as_slice()).collect();
    let env = strings(env)?;
    if repro.env.is_none() {
        report.warn("the environment could not be read: there is none");
    }
    let opened = open(&repro, report)?;
    if repro.cwd.0.is_empty() {
        report.warn(UNKNOWN_CWD);
    } else {
        std::env::set_current_dir(OsStr::from_bytes(&repro.cwd.0)).map_err(|error| {
            Trouble::new(format!("cannot change to {}: {error}", shown(&repro.cwd.0)))
        })?;
    }
    if let Some(mask) = repro.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    // From now on standard error is the program's, which may be a file.
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.and_then(|stderr| sys::raise_descriptor(stderr, above(&repro)));
    let trouble = match place(&repro, opened) {
        Err(error) => Trouble::new(format!("cannot give {program} its descriptors: {error}")),
        Ok(()) => {
            inherited.restore();
            let errno = execve(&path[0], &argv, &env).unwrap_err();
            Trouble::new(format!("cannot execute {program}: {}", errno.desc()))
        }
    };
    if let Ok(stderr) = stderr {
        let _ = sys::place_descriptor(stderr.as_fd(), libc::STDERR_FILENO);
    }
    Err(trouble)
}

/// A number above those of the program.
fn above(repro: &Repro) -> RawFd {
    repro.fds.iter().map(|fd| fd.number as RawFd).max().unwrap_or_default().max(2) + 1
}

/// Opens what can be, with numbers that are in nobody's way.
fn open(repro: &Repro, report: Report) -> Result<Vec<(RawFd, OwnedFd)>, Trouble> {
    let mut opened = Vec::new();
    for fd in &repro.fds {
        let target = escape::text(&fd.target.0);
        let number = fd.number;
        if let Some(why) = &fd.lost {
            if number > 2 {
                let why = escape::text(why.as_bytes());
                report.warn(format!("descriptor {number} was {why} ({target}) and is not there"));
            }
            continue;
        }
        let failed = |error: io::Error| {
            Trouble::new(format!("cannot open {target} as descriptor {number}: {error}"))
        };
        let file = fd.open().map_err(failed)?;
        let raised = sys::raise_descriptor(file.into(), above(repro)).map_err(failed)?;
        opened.push((number as RawFd, raised));
    }
    Ok(opened)
}

/// Gives them their numbers, and closes what was closed.
fn place(repro: &Repro, opened: Vec<(RawFd, OwnedFd)>) -> io::Result<()> {
    for (number, fd) in opened {
        sys::place_descriptor(fd.as_fd(), number)?;
    }
    for number in 0..3 {
        if !repro.fds.iter().any(|fd| fd.number == number) {
            sys::close_number(number as RawFd);
        }
    }
    Ok(())
}
