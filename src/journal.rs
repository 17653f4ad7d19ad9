//! Where `--hits-json` goes: a file, or a descriptor that we were given.
//!
//! A thread writes, so that a reader who does not read blocks nobody: the session goes on.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::caller;
use crate::escape;
use crate::report::{Report, Trouble};
use crate::sys;

/// How long the end of a session waits for what has not been read.
const PATIENCE: Duration = Duration::from_secs(2);

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
    lines: Option<mpsc::Sender<Vec<u8>>>,
    done: mpsc::Receiver<()>,
    report: Report,
}

impl Journal {
    pub fn start(file: File, report: Report) -> io::Result<Journal> {
        let (lines, incoming) = mpsc::channel::<Vec<u8>>();
        let (finished, done) = mpsc::channel();
        std::thread::Builder::new().name("hits-json".into()).spawn(move || {
            for line in incoming {
                if let Err(error) = write(&file, &line) {
                    report.warn(format!(
                        "--hits-json: cannot write: {error}; nothing more is written there"
                    ));
                    break;
                }
            }
            let _ = finished.send(());
        })?;
        Ok(Journal { lines: Some(lines), done, report })
    }

    /// Has a whole line written. Where that has failed, it has been told.
    pub fn write(&self, line: Vec<u8>) {
        if let Some(lines) = &self.lines {
            let _ = lines.send(line);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.lines = None;
        if self.done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.report.warn("--hits-json: the last lines are lost, since nobody reads them");
        }
    }
}

/// At once, if the reader has room. The descriptor may be one that does not block, of ours or of
/// whoever gave it to us.
fn write(mut file: &File, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match file.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
