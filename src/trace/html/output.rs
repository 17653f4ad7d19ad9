//! Where a page goes: a file that is there when it is whole, or a stream.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// A file in the making, which has another name until it is whole.
pub struct Making {
    temporary: TempPath,
    path: PathBuf,
}

impl Making {
    /// Gives the file its name.
    pub fn keep(self) -> io::Result<()> {
        self.temporary.persist(self.path).map_err(|error| error.error)
    }
}

/// Makes a file beside `path`; `-` is standard output. What is no regular file is written to as it is.
pub fn create(path: &Path) -> io::Result<(File, Option<Making>)> {
    if path == Path::new("-") {
        return Ok((File::from(io::stdout().as_fd().try_clone_to_owned()?), None));
    }
    // The file that a link leads to is replaced, and not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    match fs::metadata(&path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(kind) if !kind.is_file() => {
            return Ok((File::options().write(true).open(path)?, None));
        }
        _ => {}
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let named = tempfile::Builder::new()
        .prefix(".tracexec-")
        .suffix(".html")
        // As any new file: what the umask leaves.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let (file, temporary) = named.into_parts();
    Ok((file, Some(Making { temporary, path })))
}
