//! Where the lines go.

use std::io;
use std::path::Path;

use crate::linux::outlet::Outlet;
use crate::text::report::Trouble;
use crate::trace::sinks::rotate::{self, Rotating};
use crate::trace::sinks::target::{self, Target};

/// What is kept until somebody has time.
const ENOUGH: usize = 1 << 16;

/// A file, or one of the standard streams, by a descriptor of our own. A file is as it was until it is begun.
pub struct Output {
    target: Target,
    standard_error: bool,
    terminal: bool,
    /// How much goes into one write: into a pipe what does not get mixed up with what others write.
    most: usize,
    pending: Vec<u8>,
    /// How many lines that is.
    waiting: u64,
    /// How many have come nowhere.
    lost: u64,
    /// How large a file may become, and how many older ones stay.
    limits: Option<(u64, u32)>,
    rotating: Option<Rotating>,
}

impl Output {
    /// `-` is standard output, nothing is standard error. A file is emptied when it is begun.
    pub fn open(path: Option<&Path>) -> Result<Output, Trouble> {
        let target = match path {
            Some(path) => Target::open(path)?,
            None => Target::standard_error().map_err(|error| {
                Trouble::new(format!("cannot write to standard error: {error}"))
                    .hint("-o names a file")
            })?,
        };
        Ok(Output { standard_error: path.is_none(), ..Output::of(target) })
    }

    /// A file that goes on, and begins anew when it has become too large.
    pub fn rotating(path: &Path, most: u64, keep: u32) -> Result<Output, Trouble> {
        if path == Path::new("-") {
            return Err(Trouble::new("--rotate: standard output cannot begin anew")
                .hint("name a file with -o"));
        }
        // Before it is opened, which could wait for the reader of a FIFO. Of a folder, opening it says enough.
        if !path.is_dir() {
            rotate::check(path, keep).map_err(|error| {
                Trouble::new(format!("--rotate: {error}"))
                    .hint("name a regular file with -o, or omit --rotate")
            })?;
            if path.exists() {
                target::can_be_replaced(path)
                    .map_err(|error| target::cannot_write(path, &error))?;
            }
        }
        Ok(Output { limits: Some((most, keep)), ..Output::of(Target::open(path)?) })
    }

    fn of(target: Target) -> Output {
        Output {
            terminal: target.is_terminal(),
            most: if target.is_pipe() { libc::PIPE_BUF } else { ENOUGH },
            standard_error: false,
            pending: Vec::new(),
            waiting: 0,
            lost: 0,
            limits: None,
            rotating: None,
            target,
        }
    }

    /// As [`Target::in_background`].
    pub fn in_background(&mut self) -> io::Result<Option<Outlet>> {
        if self.limits.is_some() { Ok(None) } else { self.target.in_background() }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub fn is_standard_error(&self) -> bool {
        self.standard_error
    }

    /// From here on the file is there.
    pub fn begin(&mut self) -> io::Result<()> {
        match self.limits {
            None => self.target.begin().map(drop),
            Some(_) if self.rotating.is_some() => Ok(()),
            Some((most, keep)) => {
                self.rotating = Some(Rotating::open(self.target.path(), most, keep)?);
                Ok(())
            }
        }
    }

    /// Standard error may be COMMAND's, too.
    pub fn is_watched(&self) -> bool {
        self.terminal || self.standard_error
    }

    /// A line, without its end. A terminal gets it at once, in one write, so that lines of COMMAND's do not
    /// come in between.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        if self.pending.len() + text.len() >= self.most
            && let Err(error) = self.flush()
        {
            self.lost += 1;
            return Err(error);
        }
        self.pending.extend_from_slice(text.as_bytes());
        self.pending.push(b'\n');
        self.waiting += 1;
        if self.terminal { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let (whole, written) = self.write(&pending);
        let told = memchr::memchr_iter(b'\n', &pending[..whole]).count() as u64;
        self.lost += std::mem::take(&mut self.waiting).saturating_sub(told);
        self.pending = pending;
        self.pending.clear();
        written
    }

    /// How many lines it was given and has not written.
    pub fn unwritten(&self) -> u64 {
        self.lost + self.waiting
    }

    /// How many bytes are there in whole lines, and what has stopped it.
    fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if let Err(error) = self.begin() {
            return (0, Err(error));
        }
        match &mut self.rotating {
            Some(rotating) => rotating.write_lines(lines),
            None => self.target.write_lines(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn what_goes_into_a_pipe_goes_by_whole_lines_that_are_not_torn() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::of(Target::of(File::from(std::os::fd::OwnedFd::from(writer))));
        let line = "x".repeat(1500);
        for _ in 0..3 {
            output.line(&line).unwrap();
        }
        let mut buffer = [0; 1 << 16];
        // Two had room together, the third is still to come.
        assert_eq!(reader.read(&mut buffer).unwrap(), 2 * 1501);
        output.flush().unwrap();
        assert_eq!(reader.read(&mut buffer).unwrap(), 1501);
    }

    #[test]
    fn a_reader_that_has_gone_is_told_as_that() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Output::of(Target::of(File::from(std::os::fd::OwnedFd::from(writer))));
        output.line("x").unwrap();
        assert_eq!(output.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(output.pending.is_empty());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut output = Output::open(Some(Path::new("/dev/full"))).unwrap();
        output.line("x").unwrap();
        assert_eq!(output.flush().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        output.line("y").unwrap();
        assert_eq!(output.unwritten(), 2);
    }
}
