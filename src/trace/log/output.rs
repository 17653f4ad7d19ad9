//! Where the lines go.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::trace::rotate::Rotating;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What is kept until somebody has time.
const ENOUGH: usize = 1 << 16;

/// A file, or one of the standard streams, by a descriptor of our own.
pub struct Output {
    file: File,
    standard_error: bool,
    terminal: bool,
    /// How much goes into one write: into a pipe what does not get mixed up with what others write.
    most: usize,
    pending: Vec<u8>,
    /// The reader has gone.
    gone: bool,
    rotating: Option<Rotating>,
}

impl Output {
    /// `-` is standard output, nothing is standard error. A file is emptied.
    pub fn open(path: Option<&Path>) -> io::Result<Output> {
        let file = match path {
            None => io::stderr().as_fd().try_clone_to_owned()?.into(),
            Some(path) if path == Path::new("-") => {
                io::stdout().as_fd().try_clone_to_owned()?.into()
            }
            Some(path) => File::create(path)?,
        };
        Ok(Output { standard_error: path.is_none(), ..Output::of(file) })
    }

    /// A file that goes on, and begins anew when it has become too large.
    pub fn rotating(path: &Path, most: u64, keep: u32) -> io::Result<Output> {
        let rotating = Rotating::open(path, most, keep)?;
        let file = File::options().append(true).open(path)?;
        Ok(Output { rotating: Some(rotating), ..Output::of(file) })
    }

    fn of(file: File) -> Output {
        let pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        Output {
            terminal: file.is_terminal(),
            most: if pipe { libc::PIPE_BUF } else { ENOUGH },
            standard_error: false,
            pending: Vec::new(),
            gone: false,
            rotating: None,
            file,
        }
    }

    /// Where it goes in the end.
    pub fn stream(&self) -> &File {
        &self.file
    }

    pub fn is_standard_error(&self) -> bool {
        self.standard_error
    }

    /// Standard error may be COMMAND's, too.
    pub fn is_watched(&self) -> bool {
        self.terminal || self.standard_error
    }

    /// A line, without its end. A terminal gets it at once, in one write, so that lines of COMMAND's do not
    /// come in between.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        if self.pending.len() + text.len() >= self.most {
            self.flush()?;
        }
        self.pending.extend_from_slice(text.as_bytes());
        self.pending.push(b'\n');
        if self.terminal { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let written = self.write(&pending);
        self.pending = pending;
        self.pending.clear();
        match written {
            // Whoever reads may stop when he has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            other => other,
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(rotating) = &mut self.rotating {
            return rotating.write_all(bytes);
        }
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // COMMAND may have made the terminal, which is its too, one that does not block.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut fds, PollTimeout::NONE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_goes_into_a_pipe_goes_by_whole_lines_that_are_not_torn() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::of(File::from(std::os::fd::OwnedFd::from(writer)));
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
    fn a_reader_that_has_gone_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Output::of(File::from(std::os::fd::OwnedFd::from(writer)));
        output.line("x").unwrap();
        output.flush().unwrap();
        output.line(&"x".repeat(ENOUGH)).unwrap();
        assert!(output.pending.is_empty());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut output = Output::open(Some(Path::new("/dev/full"))).unwrap();
        output.line("x").unwrap();
        assert_eq!(output.flush().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
}
