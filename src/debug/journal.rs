//! Where `--hits-json` goes: a file, or a descriptor that we were given.
//!
//! A reader who does not read blocks nobody: the session goes on, and counts the lines that are lost.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::linux::caller;
use crate::linux::outlet::Outlet;
use crate::linux::sys;
use crate::text::escape;
use crate::text::report::{PATIENCE, Report, Trouble};

/// Opens what `--hits-json` names: a number is a descriptor, anything else a file, which grows. For a
/// time before anything else is open, so that a number is what the caller meant.
pub fn open(word: &OsStr) -> Result<File, Trouble> {
    let shown = escape::word(word.as_bytes());
    let trouble = |why: &str| Trouble::new(format!("--hits-json {shown}: {why}"));
    if let Some(number) = word.to_str().and_then(descriptor) {
        let file = sys::take_inherited(number).map(File::from).map_err(|error| {
            trouble(&format!("there is no such open descriptor ({error})")).hint(format!(
                "in a shell: tracexec debug --hits-json {number} ... {number}>FILE; a file of that name is ./{number}"
            ))
        })?;
        let flags = fcntl(file.as_fd(), FcntlArg::F_GETFL).unwrap_or(0);
        if flags & OFlag::O_ACCMODE.bits() == OFlag::O_RDONLY.bits() {
            return Err(trouble("this descriptor is open for reading only"));
        }
        return Ok(file);
    }
    if word == "-" {
        return Err(trouble("there is no file of that name").hint("standard output is 1"));
    }
    let mut options = OpenOptions::new();
    // Without O_NONBLOCK, a FIFO that nobody reads would be waited for.
    options.append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    caller::open_or_make(Path::new(word), &options).map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => trouble("nobody reads from it").hint("start its reader first"),
        _ => trouble(&format!("cannot write to it: {error}")),
    })
}

fn descriptor(word: &str) -> Option<i32> {
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// Takes lines to be written.
pub struct Journal {
    outlet: Outlet,
    report: Report,
    /// An error has been reported.
    failed: Cell<bool>,
}

impl Journal {
    pub fn start(file: File, report: Report) -> io::Result<Journal> {
        Ok(Journal {
            outlet: Outlet::to_file("hits-json", file)?,
            report,
            failed: Cell::new(false),
        })
    }

    /// Has a whole line written.
    pub fn write(&self, line: Vec<u8>) {
        let told = |lost| {
            self.report.warn(format!("--hits-json: {}, since nobody read them", lines(lost)));
            Vec::new()
        };
        self.check(self.outlet.offer(line, told));
    }

    fn check(&self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.failed.replace(true)
        {
            self.report
                .warn(format!("--hits-json: cannot write: {error}; nothing more is written there"));
        }
    }
}

fn lines(lost: u64) -> String {
    if lost == 1 { "1 line is lost".into() } else { format!("{lost} lines are lost") }
}

impl Drop for Journal {
    fn drop(&mut self) {
        match self.outlet.wait(PATIENCE) {
            Err(error) => self.check(Err(error)),
            Ok(whole) => {
                let lost = self.outlet.lost() + if whole { 0 } else { self.outlet.unwritten() };
                if lost > 0 {
                    self.report.warn(format!(
                        "--hits-json: the last {}, since nobody reads them",
                        lines(lost)
                    ));
                }
            }
        }
    }
}
