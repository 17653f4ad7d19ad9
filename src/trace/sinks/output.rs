//! The file that a trace is written to.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use tempfile::TempPath;

use crate::linux::caller;
use crate::linux::files;
use crate::linux::outlet::Outlet;
use crate::machine::procfs::umask;
use crate::text::escape;
use crate::text::report::Trouble;
use crate::trace::sinks::target::{self, Target, cannot_write};

/// Whether half of a file is worth something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not: the file appears when it is complete. Until then it has another name, so that a page can be looked
    /// at even if we are killed.
    Whole,
    /// It is not, and it can be made again: until it is complete it has no name.
    Derived,
    /// Every line of it counts.
    Growing,
}

/// Where it goes. Whatever it is, it is as it was until something is written.
#[derive(Debug)]
pub enum Output {
    Itself(BufWriter<Target>),
    /// Beside the file that it is to become.
    Beside(Beside),
}

/// A file that takes the place of another one.
#[derive(Debug)]
pub struct Beside {
    file: BufWriter<File>,
    /// Its own name for now, if it has one.
    name: Option<TempPath>,
    becomes: PathBuf,
    /// The folder, which may be renamed meanwhile.
    folder: File,
    /// Something has been written.
    begun: bool,
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
        let beside = Beside::open(path, kind).map_err(|error| cannot_write(path, &error))?;
        Ok(Output::Beside(beside))
    }

    /// As [`Target::in_background`].
    pub fn in_background(&mut self) -> io::Result<Option<Outlet>> {
        match self {
            Output::Itself(target) => target.get_mut().in_background(),
            Output::Beside(_) => Ok(None),
        }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Output::Itself(target) if target.get_ref().is_terminal())
    }

    /// The file that it takes the place of, if there is one.
    pub fn replaces(&self) -> Option<&Path> {
        match self {
            Output::Beside(beside) => Some(beside.becomes.as_path()).filter(|path| path.exists()),
            Output::Itself(_) => None,
        }
    }

    /// All is written: the file is put in its place. If that is nothing, nothing has begun, and what was there stays.
    pub fn complete(self) -> Result<(), Trouble> {
        match self {
            Output::Beside(beside) if beside.begun => beside.complete(),
            _ => Ok(()),
        }
    }
}

impl Output {
    /// After an error that no completion undoes: what has been written stays, under the name that it has.
    pub fn keep(self) -> Option<PathBuf> {
        let Output::Beside(Beside { begun: true, name: Some(name), .. }) = self else {
            return None;
        };
        let path = fs::canonicalize(&name).ok()?;
        name.keep().ok().map(|_| path)
    }
}

impl Beside {
    fn open(path: &Path, kind: Kind) -> io::Result<Beside> {
        let becomes = behind_links(path)?;
        // What refuses is the folder; the other name that the file has meanwhile is nobody's business.
        target::can_be_made(&becomes)?;
        let before = fs::metadata(&becomes).ok();
        if before.is_some() {
            target::can_be_replaced(&becomes)?;
        }
        let mode = before.as_ref().map_or(0o666, |before| before.permissions().mode() & 0o777);
        // One that cannot be listed will do.
        let folder = files::find_folder(target::folder(&becomes))?;
        let (file, name) = match kind {
            Kind::Derived => (tempfile::tempfile_in(held(&folder))?, None),
            _ => {
                let (file, name) = builder(mode).tempfile_in(held(&folder))?.into_parts();
                (file, Some(name))
            }
        };
        if name.is_none() {
            let masked = if before.is_some() { mode } else { mode & !umask() };
            file.set_permissions(Permissions::from_mode(masked))?;
        }
        // What was another's is not given away.
        if before.is_none_or(|before| caller::owner() == Some(before.uid())) {
            caller::give(&file);
        }
        Ok(Beside { file: BufWriter::new(file), name, becomes, folder, begun: false })
    }

    fn complete(self) -> Result<(), Trouble> {
        let Beside { file, name, becomes, folder, .. } = self;
        let mut file = match file.into_inner() {
            Ok(file) => file,
            Err(error) => return Err(cannot_write(&becomes, &error.into_error())),
        };
        let place = held(&folder).join(becomes.file_name().unwrap_or_default());
        let derived = name.is_none();
        let placed = match name {
            Some(name) => put(name, &place),
            None => link(&file, &folder)
                .map_err(|error| (error, None))
                .and_then(|name| put(name, &place)),
        };
        let Err((error, name)) = placed else { return Ok(()) };
        // COMMAND may have removed it, or its folder, and made that anew.
        let gone = name.as_ref().is_none_or(|name| !name.exists());
        if gone
            && copy(&mut file, target::folder(&becomes))
                .is_ok_and(|copy| put(copy, &becomes).is_ok())
        {
            return Ok(());
        }
        let trouble = cannot_write(&becomes, &error);
        if derived {
            return Err(trouble);
        }
        let name = name.filter(|name| name.exists());
        let kept = name.map_or_else(|| copy(&mut file, &std::env::temp_dir()), Ok);
        let kept = kept.and_then(|name| {
            let shown = fs::canonicalize(&name)?;
            name.keep().map_err(|error| error.error)?;
            Ok(shown)
        });
        Err(match kept {
            Ok(path) => trouble.hint(format!(
                "what was recorded is kept in {}",
                escape::word(path.as_os_str().as_bytes())
            )),
            Err(_) => trouble,
        })
    }
}

fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tracexec-").permissions(Permissions::from_mode(mode));
    builder
}

/// A folder by its descriptor, whatever it is called by now.
fn held(folder: &File) -> PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

/// Renames it; or else the reason, and what still has its name.
fn put(name: TempPath, place: &Path) -> Result<(), (io::Error, Option<TempPath>)> {
    // What has come there meanwhile and is no file is not replaced.
    let kind = fs::symlink_metadata(place).map(|found| found.file_type());
    if kind.is_ok_and(|kind| !kind.is_file() && !kind.is_symlink()) {
        let error = io::Error::new(
            ErrorKind::AlreadyExists,
            "something that is not a regular file is there now",
        );
        return Err((error, Some(name)));
    }
    name.persist(place).map_err(|error| (error.error, Some(error.path)))
}

/// Gives a file without a name one in its folder.
fn link(file: &File, folder: &File) -> io::Result<TempPath> {
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = tempfile::Builder::new().prefix(".tracexec-").make_in(held(folder), |path| {
        let here = AT_FDCWD;
        Ok(linkat(here, nameless.as_str(), here, path, AtFlags::AT_SYMLINK_FOLLOW)?)
    })?;
    Ok(linked.into_temp_path())
}

/// A copy in another folder.
fn copy(file: &mut File, folder: &Path) -> io::Result<TempPath> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let (mut to, name) =
        tempfile::Builder::new().prefix(".tracexec-").tempfile_in(folder)?.into_parts();
    file.seek(SeekFrom::Start(0))?;
    io::copy(file, &mut to)?;
    to.set_permissions(Permissions::from_mode(mode))?;
    caller::give(&to);
    Ok(name)
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
            Output::Beside(beside) => {
                beside.begun = true;
                beside.file.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Itself(target) => target.flush(),
            Output::Beside(beside) => {
                beside.begun = true;
                beside.file.flush()
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
