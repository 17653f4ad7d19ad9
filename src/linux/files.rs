//! Opens and reads files whose names others choose: traced processes, or whoever can write to a folder.
//!
//! Under such a name may lie a FIFO, whose opening waits for a writer, a device, or a file without an end. A test
//! checks that no other module opens files by itself.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use object::read::{ReadCache, ReadRef};

/// The most that is read of a program's file at a time: hostile headers may name any size.
const LARGEST_PART: u64 = 128 << 20;

/// Opens a regular file for reading, without waiting for anybody.
pub fn open(path: &Path) -> io::Result<File> {
    // With O_PATH nothing is opened yet, and so a device does nothing.
    let found = with_flags(path, libc::O_PATH)?;
    regular(&found)?;
    // By its descriptor it cannot be exchanged meanwhile. Another process may hold a lease: hence O_NONBLOCK.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    match with_flags(Path::new(&again), flags) {
        // In a pid namespace that has no /proc of its own.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = with_flags(path, flags)?;
            regular(&file)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Opens a folder, for its lock.
pub fn open_folder(path: &Path) -> io::Result<File> {
    with_flags(path, libc::O_DIRECTORY | libc::O_NONBLOCK)
}

/// Finds a folder, which is not opened to be read.
pub fn find_folder(path: &Path) -> io::Result<File> {
    with_flags(path, libc::O_PATH | libc::O_DIRECTORY)
}

/// The whole of a regular file, if it has no more than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_all(open(path)?, limit)
}

/// The same of a text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// A text whose name was typed: it may also be the pipe that a shell puts in place of `<(...)`.
pub fn read_typed(path: &Path, limit: u64) -> io::Result<String> {
    let file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let found = with_flags(path, libc::O_PATH)?;
            let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
            let name = std::fs::read_link(&itself)?;
            if !name.as_os_str().as_encoded_bytes().starts_with(b"pipe:") {
                return Err(error);
            }
            let file = with_flags(Path::new(&itself), libc::O_NONBLOCK)?;
            fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
            file
        }
        file => file?,
    };
    text(read_all(file, limit)?)
}

/// The rest of a file, if that has no more than `limit` bytes.
pub fn read_all(file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
        let what = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The bytes as text.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    let what = "it is not UTF-8";
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, what))
}

fn with_flags(path: &Path, flags: libc::c_int) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Refuses a directory with [`io::ErrorKind::IsADirectory`], and what else is not a regular file with
/// [`io::ErrorKind::Unsupported`].
fn regular(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let what = format!("it is {}, not a regular file", name(kind));
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

fn name(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A program's file, read in parts of a limited size.
#[derive(Clone, Copy)]
pub struct Parts<'a>(pub &'a ReadCache<File>);

impl<'a> ReadRef<'a> for Parts<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > LARGEST_PART {
            return Err(());
        }
        self.0.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(
        self,
        range: std::ops::Range<u64>,
        delimiter: u8,
    ) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_block_is_refused_unopened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, what) in [
            (pipe.as_path(), "it is a FIFO, not a regular file"),
            (Path::new("/dev/zero"), "it is a device, not a regular file"),
        ] {
            let error = open(path).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (io::ErrorKind::Unsupported, what.into())
            );
        }
        assert_eq!(open(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(open_folder(&pipe).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "four");
        assert_eq!(read(&path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // Sparse, as large as can be.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 1 << 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let cache = ReadCache::new(open(&path).unwrap());
        assert!(Parts(&cache).read_bytes_at(0, 4).is_ok());
        assert!(Parts(&cache).read_bytes_at(0, 1 << 39).is_err());
    }
}
