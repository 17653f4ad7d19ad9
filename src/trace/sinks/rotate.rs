//! A file that begins anew when it has become too large, as logrotate(8) does it: `FILE` becomes `FILE.1`, that
//! `FILE.2`, and so on, and the last one goes.
//!
//! The crates for that cut lines in two, or say nothing when a file cannot be opened.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::linux::caller;
use crate::text::escape;
use crate::trace::sinks::target;

/// Lines, in files of a limited size.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    file: File,
    /// How large it is by now, in bytes.
    size: u64,
    most: u64,
    keep: u32,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Rotating {
    /// Goes on with a file that is there. It holds at most `most` bytes, or one line; `keep` older ones stay.
    pub fn open(path: &Path, most: u64, keep: u32) -> io::Result<Rotating> {
        check(path, keep)?;
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Rotating { path: path.into(), file, size, most, keep, rest: Vec::new() })
    }

    fn rotate(&mut self) -> io::Result<()> {
        check(&self.path, self.keep)?;
        let older = |number| older(&self.path, number);
        for number in (1..self.keep).rev() {
            unless_missing(fs::rename(older(number), older(number + 1)))?;
        }
        match self.keep {
            0 => unless_missing(fs::remove_file(&self.path))?,
            _ => unless_missing(fs::rename(&self.path, older(1)))?,
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }

    /// Writes lines that are whole: how many bytes of those that are there whole by now, and what has stopped it.
    pub fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut done = 0;
        while done < lines.len() {
            let rest = &lines[done..];
            let room = usize::try_from(self.most.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let fits = match rest.len() <= room {
                true => rest.len(),
                false => memchr::memrchr(b'\n', &rest[..room]).map_or(0, |at| at + 1),
            };
            // A line that is longer than a file may be has one for itself.
            let now = match fits {
                0 if self.size == 0 => memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1),
                fits => fits,
            };
            let (whole, result) =
                target::write_lines(&mut self.file, &rest[..now], target::shorten);
            self.size += whole as u64;
            done += whole;
            if result.is_err() {
                return (done, result);
            }
            if done < lines.len()
                && let Err(error) = self.rotate()
            {
                return (done, Err(error));
            }
        }
        (done, Ok(()))
    }
}

/// The name of an older one.
fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Only regular files are renamed. To rename a device, a FIFO or a link would take it away from everybody else.
/// Looks at the names and opens nothing.
pub fn check(path: &Path, keep: u32) -> io::Result<()> {
    for number in 0..=keep {
        let path = if number == 0 { path.into() } else { older(path, number) };
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if !kind.is_file() {
            let what = if kind.is_symlink() { "a symbolic link" } else { "not a regular file" };
            let shown = escape::word(path.as_os_str().as_bytes());
            return Err(io::Error::other(format!("{shown} is {what} and cannot be rotated")));
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    caller::open_or_make(path, OpenOptions::new().append(true))
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        if whole > 0 {
            let mut lines = std::mem::take(&mut self.rest);
            lines.extend_from_slice(&bytes[..whole]);
            self.write_lines(&lines).1?;
        }
        self.rest.extend_from_slice(&bytes[whole..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_cut_and_the_oldest_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "0\n").unwrap();
        let mut log = Rotating::open(&path, 8, 2).unwrap();
        log.write_all(b"11").unwrap();
        log.write_all(b"1\n222\n3333333333333\n4\n").unwrap();
        log.write_all(b"55555\n666666\n7").unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        assert_eq!(read("log"), "666666\n");
        assert_eq!(read("log.1"), "4\n55555\n");
        assert_eq!(read("log.2"), "3333333333333\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_cannot_be_opened_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/log");
        assert_eq!(Rotating::open(&path, 8, 2).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
