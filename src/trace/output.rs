//! The file that a trace is written to.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::target::{self, Target, cannot_write};
use crate::caller;
use crate::outlet::Outlet;
use crate::report::Trouble;

/// Whether half of a file is worth something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not: the file appears when it is complete.
    Whole,
    /// Every line of it counts.
    Growing,
}

/// Where it goes. Whatever it is, it is as it was until something is written.
#[derive(Debug)]
pub enum Output {
    Itself(BufWriter<Target>),
    /// Beside the file that it is to become.
    Beside {
        file: BufWriter<NamedTempFile>,
        becomes: PathBuf,
        /// Something has been written.
        begun: bool,
    },
}

impl Output {
    /// `-` is standard output.
    pub fn open(path: &Path, kind: Kind) -> Result<Output, Trouble> {
        let target = Target::open(path)?;
        // A device or a pipe is not to be replaced.
        if kind == Kind::Growing || !target.is_replaceable() {
            // What a growing one is given is whole lines, which are to be there.
            let most = if kind == Kind::Growing { 0 } else { 1 << 16 };
            return Ok(Output::Itself(BufWriter::with_capacity(most, target)));
        }
        Output::beside(path).map_err(|error| cannot_write(path, &error))
    }

    /// As [`Target::in_background`].
    pub fn in_background(&mut self) -> io::Result<Option<Outlet>> {
        match self {
            Output::Itself(target) => target.get_mut().in_background(),
            Output::Beside { .. } => Ok(None),
        }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Output::Itself(target) if target.get_ref().is_terminal())
    }

    /// The file that it takes the place of, if there is one.
    pub fn replaces(&self) -> Option<&Path> {
        match self {
            Output::Beside { becomes, .. } => Some(becomes.as_path()).filter(|path| path.exists()),
            Output::Itself(_) => None,
        }
    }

    fn beside(path: &Path) -> io::Result<Output> {
        let path = behind_links(path)?;
        // What refuses is the folder; the other name that the file has meanwhile is nobody's business.
        target::can_be_made(&path)?;
        let before = fs::metadata(&path).ok();
        let mode = before.as_ref().map_or(0o666, |before| before.permissions().mode() & 0o777);
        let file = tempfile::Builder::new()
            .prefix(".tracexec-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(target::folder(&path))?;
        // What was another's is not given away.
        if before.is_none_or(|before| caller::owner() == Some(before.uid())) {
            caller::give(file.as_file());
        }
        Ok(Output::Beside { file: BufWriter::new(file), becomes: path, begun: false })
    }

    /// All is written: the file is put in its place. If that is nothing, nothing has begun, and what was there stays.
    pub fn complete(self) -> Result<(), Trouble> {
        let Output::Beside { file, becomes, begun: true } = self else { return Ok(()) };
        let placed = match file.into_inner() {
            Ok(file) => file.persist(&becomes).map(drop).map_err(|error| error.error),
            Err(error) => Err(error.into_error()),
        };
        placed.map_err(|error| cannot_write(&becomes, &error))
    }
}

/// The file behind whatever links lead to it, which stay links. It need not be there.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let there = fs::metadata(path).ok();
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(to) = fs::read_link(&path) else { break };
        path = target::folder(&path).join(to);
    }
    // What /proc shows as links can lead to a file that has no name.
    let found = fs::symlink_metadata(&path).ok();
    let id = |found: &Metadata| (found.dev(), found.ino());
    match found.as_ref().map(id) == there.as_ref().map(id) {
        true => Ok(path),
        false => Err(io::Error::other("it has no name under which it could be replaced")),
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Itself(target) => target.write(bytes),
            Output::Beside { file, begun, .. } => {
                *begun = true;
                file.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Itself(target) => target.flush(),
            Output::Beside { file, begun, .. } => {
                *begun = true;
                file.flush()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_when_its_successor_is_complete_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        for complete in [false, true] {
            let mut output = Output::open(&link, Kind::Whole).unwrap();
            output.write_all(b"new").unwrap();
            assert_eq!(fs::read(&file).unwrap(), b"old");
            if complete {
                output.complete().unwrap();
            }
        }
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something is left");
    }

    #[test]
    fn a_link_to_where_nothing_is_yet_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let name = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("two", name("one")).unwrap();
        std::os::unix::fs::symlink(name("file"), name("two")).unwrap();
        let mut output = Output::open(&name("one"), Kind::Whole).unwrap();
        output.write_all(b"new").unwrap();
        output.complete().unwrap();
        assert_eq!(fs::read(name("file")).unwrap(), b"new");
        for link in ["one", "two"] {
            assert!(fs::symlink_metadata(name(link)).unwrap().is_symlink(), "{link}");
        }
    }

    #[test]
    fn what_has_no_name_is_not_replaced() {
        let file = tempfile::tempfile().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let refused = Output::open(Path::new(&path), Kind::Whole).unwrap_err();
        assert!(refused.what.contains("it has no name"), "{refused}");
    }

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        let mut output = Output::open(Path::new("/dev/null"), Kind::Whole).unwrap();
        output.write_all(b"x").unwrap();
        output.complete().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
