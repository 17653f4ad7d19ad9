//! A stream, or a file that is as it was until something is written: COMMAND may turn out not to run.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, eaccess};

use crate::linux::caller;
use crate::linux::outlet::Outlet;
use crate::linux::sys;
use crate::machine::procfs;
use crate::text::escape;
use crate::text::report::Trouble;

/// What is written to.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    /// Not there as long as there is no file of that name.
    file: Option<File>,
    /// What is in it goes when the first is written.
    to_be_emptied: bool,
    /// Nobody else writes to it: it is no stream that we were given.
    own: bool,
    /// Who writes, where a reader may be slow.
    outlet: Option<Outlet>,
}

impl Target {
    /// The file of this name, or the stream: `-` and `/dev/stdout` are standard output itself, which need not be at
    /// its beginning. What can be known wrong of it is an error now.
    pub fn open(path: &Path) -> Result<Target, Trouble> {
        Target::find(path).map_err(|error| cannot_write(path, &error))
    }

    fn find(path: &Path) -> io::Result<Target> {
        if let Some(stream) = standard_stream(path) {
            return Ok(Target { path: path.into(), ..stream? });
        }
        let (file, to_be_emptied) = match fs::metadata(path) {
            // Appended to: whoever empties it meanwhile, as logrotate does, gets no hole at its beginning.
            Ok(there) => (Some(File::options().append(true).open(path)?), there.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                can_be_made(path)?;
                (None, false)
            }
            Err(error) => return Err(error),
        };
        Ok(Target { path: path.into(), file, to_be_emptied, own: true, outlet: None })
    }

    pub fn standard_error() -> io::Result<Target> {
        Target::of_descriptor(io::stderr())
    }

    fn of_descriptor(descriptor: impl AsFd) -> io::Result<Target> {
        // It was closed, and is /dev/null since.
        if sys::was_closed(descriptor.as_fd().as_raw_fd()) {
            return Err(Errno::EBADF.into());
        }
        descriptor.as_fd().try_clone_to_owned().map(|own| Target::of(own.into()))
    }

    /// What is open already.
    pub fn of(file: File) -> Target {
        Target {
            path: PathBuf::new(),
            file: Some(file),
            to_be_emptied: false,
            own: false,
            outlet: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a file of its own, which can be replaced, or none yet.
    pub fn is_replaceable(&self) -> bool {
        self.file.is_none() || self.to_be_emptied
    }

    pub fn is_terminal(&self) -> bool {
        self.file.as_ref().is_some_and(File::is_terminal)
    }

    pub fn is_pipe(&self) -> bool {
        let metadata = self.file.as_ref().and_then(|file| file.metadata().ok());
        metadata.is_some_and(|metadata| metadata.file_type().is_fifo())
    }

    /// From here on nobody waits for who reads this, if it is a stream.
    pub fn in_background(&mut self) -> io::Result<Option<Outlet>> {
        let Some(file) = &self.file else { return Ok(None) };
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() || kind.is_socket() || file.is_terminal() {
            self.outlet = Some(Outlet::to_file("trace", file.try_clone()?)?);
        }
        Ok(self.outlet.clone())
    }

    /// Writes whole lines; see [`write_lines`].
    pub fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        write_lines(self, lines, |target, by| match &mut target.file {
            Some(file) if target.own => shorten(file, by),
            _ => Ok(()),
        })
    }

    /// From here on the file is there, and what was in it is not.
    pub fn begin(&mut self) -> io::Result<&mut File> {
        if std::mem::take(&mut self.to_be_emptied)
            && let Some(file) = &self.file
        {
            file.set_len(0)?;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let made = caller::open_or_make(&self.path, File::options().append(true))?;
                if made.metadata()?.is_file() {
                    made.set_len(0)?;
                }
                Ok(none.insert(made))
            }
        }
    }
}

/// Writes whole lines: how many bytes of those that are there whole by now, and what has stopped it. `torn` takes away
/// as many bytes of the last one.
pub fn write_lines<W: Write>(
    to: &mut W,
    lines: &[u8],
    torn: impl FnOnce(&mut W, u64) -> io::Result<()>,
) -> (usize, io::Result<()>) {
    let mut written = 0;
    let error = loop {
        if written == lines.len() {
            return (written, Ok(()));
        }
        match to.write(&lines[written..]) {
            Ok(0) => break ErrorKind::WriteZero.into(),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
    };
    let whole = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |at| at + 1);
    if whole < written {
        // What remains is half a line; the error that is told is the one before.
        let _ = torn(to, (written - whole) as u64);
    }
    (whole, Err(error))
}

/// Makes a regular file shorter, and goes on at its end.
pub fn shorten(file: &mut File, by: u64) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(());
    }
    let len = found.len().saturating_sub(by);
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len)).map(drop)
}

/// Why a file cannot be written, and what to do.
pub fn cannot_write(path: &Path, error: &io::Error) -> Trouble {
    let path = escape::word(path.as_os_str().as_bytes());
    Trouble::new(format!("cannot write {path}: {error}"))
        .hint("name another file with -o; - is standard output")
}

/// Standard output or error, if that is what a path names.
fn standard_stream(path: &Path) -> Option<io::Result<Target>> {
    match path.to_str()? {
        "-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => {
            Some(Target::of_descriptor(io::stdout()))
        }
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Some(Target::standard_error()),
        _ => None,
    }
}

/// The folder that a file is in.
pub fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Whether a file of this name, which is not there, could be.
pub fn can_be_made(path: &Path) -> io::Result<()> {
    Ok(eaccess(folder(path), AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// Whether a file that is there can be replaced. Its folder may refuse that though it can be written in: a sticky one,
/// or because of what chattr(1) has set. The kernel says so before it notices that a file is not a folder.
pub fn can_be_replaced(path: &Path) -> io::Result<()> {
    if procfs::view::is_mount_point(path) {
        return Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "it is a mount point and cannot be replaced",
        ));
    }
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotADirectory => Err(error),
        _ => Ok(()),
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(outlet) = &self.outlet {
            return outlet.push(bytes.to_vec()).map(|()| bytes.len());
        }
        let file = self.begin()?;
        loop {
            match file.write(bytes) {
                // COMMAND may have made the terminal, which is its too, one that does not block.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut fds, PollTimeout::NONE);
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begin()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_as_it_was_until_something_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "before").unwrap();
        let mut targets = [&old, &new].map(|path| Target::open(path).unwrap());
        assert_eq!((fs::read(&old).unwrap(), new.exists()), (b"before".into(), false));
        for target in &mut targets {
            target.write_all(b"one ").unwrap();
            target.write_all(b"two").unwrap();
        }
        assert_eq!(fs::read(&old).unwrap(), b"one two");
        assert_eq!(fs::read(&new).unwrap(), b"one two");
    }

    #[test]
    fn nothing_written_is_an_empty_file_once_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "before").unwrap();
        Target::open(&path).unwrap().flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_cannot_be_written_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path| Target::find(path).unwrap_err().kind();
        assert_eq!(kind(&folder.path().join("none/file")), ErrorKind::NotFound);
        assert_eq!(kind(folder.path()), ErrorKind::IsADirectory);
        let trouble = Target::open(Path::new("none/a\nb")).unwrap_err();
        assert!(trouble.what.starts_with("cannot write $'none/a\\nb': No such file"), "{trouble}");
    }

    #[test]
    fn a_device_is_no_file_to_be_replaced() {
        let mut null = Target::open(Path::new("/dev/null")).unwrap();
        assert!(!null.is_replaceable());
        null.write_all(b"x").unwrap();
        assert!(!Target::open(Path::new("/dev/stdout")).unwrap().is_replaceable());
    }
}
