//! The launch.json of a workspace: found, read, and written so that nobody ever sees half of it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

use super::document::Document;
use crate::linux::caller::{As, caller};
use crate::linux::files;
use crate::machine::procfs::umask;
use crate::text::report::Trouble;

const FOLDER: &str = ".vscode";
const FILE: &str = "launch.json";
/// What a file that we make ends with.
const BLANK: &[u8] = b"\n";
/// The most that such a file may have, in bytes.
const LARGEST: u64 = 16 << 20;
/// How long another session may take to write.
const PATIENCE: Duration = Duration::from_secs(5);

/// The place of a launch.json.
#[derive(Debug, Clone)]
pub struct Workspace {
    folder: PathBuf,
    /// As whom root writes: the user who called sudo, or else the folder's owner.
    owner: Option<(u32, u32)>,
    /// What was not there before us.
    made_folder: bool,
    /// It was there, and said nothing.
    was_blank: bool,
}

impl Workspace {
    /// `given`, or the nearest folder upwards from `start` that has `.vscode` or `.git`, or `start`.
    pub fn find(given: Option<&Path>, start: &Path) -> Result<Workspace, Trouble> {
        let folder = match given {
            Some(folder) => fs::canonicalize(folder)
                .map_err(|error| Trouble::new(format!("--workspace {}: {error}", shown(folder))))?,
            None => {
                let marked =
                    |folder: &&Path| [FOLDER, ".git"].iter().any(|name| folder.join(name).exists());
                start.ancestors().find(marked).unwrap_or(start).to_path_buf()
            }
        };
        if !folder.is_dir() {
            return Err(Trouble::new(format!("--workspace {}: this is no folder", shown(&folder))));
        }
        let owner = caller().or_else(|| owner_of(&folder));
        Ok(Workspace { folder, owner, made_folder: false, was_blank: false })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its launch.json is, as the user would say it.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FOLDER).join(FILE)
    }

    /// What it says now; nothing, if it is not there.
    pub fn read(&self) -> Result<Document, Trouble> {
        let _guard = As::user(self.owner);
        let target = self.target().map_err(|error| self.trouble("cannot find", &error))?;
        self.parse(&self.content(&target)?.unwrap_or_default())
    }

    /// Edits it. No other session writes meanwhile; and where an editor did, it is done again.
    pub fn edit<T>(
        &mut self,
        change: &mut dyn FnMut(&mut Document) -> Result<T, super::document::Flaw>,
    ) -> Result<T, Trouble> {
        let _guard = As::user(self.owner);
        let cannot = |error: &io::Error| self.trouble("cannot write", error);
        let parent = self.folder.join(FOLDER);
        let made = match fs::create_dir(&parent) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(cannot(&error)),
        };
        self.made_folder |= made;
        let cannot = |error: &io::Error| self.trouble("cannot write", error);
        let result = (|| {
            let target = self.target().map_err(|error| cannot(&error))?;
            let home = target.parent().unwrap_or(&parent);
            let _lock = lock(home).map_err(|error| cannot(&error))?;
            loop {
                let before = self.content(&target)?;
                let mut document = self.parse(before.as_deref().unwrap_or(BLANK))?;
                let blank = before.is_some() && document.is_blank();
                let value = change(&mut document).map_err(|flaw| self.not_jsonc(&flaw))?;
                let after = document.bytes();
                let unused = after == BLANK && !blank && !self.was_blank;
                if after == before.as_deref().unwrap_or(BLANK) && !(unused && before.is_some()) {
                    return Ok((value, blank));
                }
                let after = (!unused).then_some(after.as_slice());
                if replace(&target, before.as_deref(), after).map_err(|error| cannot(&error))? {
                    return Ok((value, blank));
                }
            }
        })();
        if self.made_folder {
            // It goes when nothing is in it.
            let _ = fs::remove_dir(&parent);
        }
        let (value, blank) = result?;
        self.was_blank |= blank;
        Ok(value)
    }

    /// The file itself, behind whatever links lead to it.
    fn target(&self) -> io::Result<PathBuf> {
        let path = self.path();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
            Err(error) => Err(error),
            Ok(_) => fs::canonicalize(&path),
        }
    }

    fn content(&self, target: &Path) -> Result<Option<Vec<u8>>, Trouble> {
        match files::read(target, LARGEST) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.trouble("cannot read", &error)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Document, Trouble> {
        Document::read(bytes).map_err(|flaw| self.not_jsonc(&flaw))
    }

    fn not_jsonc(&self, flaw: &super::document::Flaw) -> Trouble {
        let (line, column) = (flaw.line, flaw.column);
        Trouble::new(format!("{}:{line}:{column}: {}", shown(&self.path()), flaw.what))
            .hint("it was left as it is; correct it there, or name another folder by --workspace")
    }

    fn trouble(&self, what: &str, error: &io::Error) -> Trouble {
        Trouble::new(format!("{what} {}: {error}", shown(&self.path())))
            .hint("name a folder that you can write to by --workspace")
    }
}

fn shown(path: &Path) -> String {
    crate::text::escape::word(path.as_os_str().as_encoded_bytes())
}

/// Holds the folder's lock, which ends with the descriptor.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let deadline = Instant::now() + PATIENCE;
    let mut file = files::open_folder(folder)?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                file = back;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// Puts a new file in place of the old one, or removes it. False if it has changed meanwhile.
fn replace(target: &Path, before: Option<&[u8]>, after: Option<&[u8]>) -> io::Result<bool> {
    let unchanged = || match files::read(target, LARGEST) {
        Ok(now) => before == Some(now.as_slice()),
        Err(error) => before.is_none() && error.kind() == io::ErrorKind::NotFound,
    };
    let Some(after) = after else {
        return if unchanged() { fs::remove_file(target).map(|()| true) } else { Ok(false) };
    };
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".launch.json.").tempfile_in(folder)?;
    new.write_all(after)?;
    match fs::metadata(target) {
        Ok(old) => {
            let ours = new.as_file().metadata()?;
            if (old.uid(), old.gid()) != (ours.uid(), ours.gid()) {
                fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
            new.as_file().set_permissions(old.permissions())?;
        }
        Err(_) => new.as_file().set_permissions(Permissions::from_mode(0o666 & !umask()))?,
    }
    new.as_file().sync_all()?;
    if !unchanged() {
        return Ok(false);
    }
    new.persist(target).map_err(|error| error.error)?;
    Ok(true)
}

/// The ordinary user in whose folder root is.
fn owner_of(folder: &Path) -> Option<(u32, u32)> {
    // Not of what a link of his leads to.
    let metadata = fs::symlink_metadata(folder.join(FOLDER)).or_else(|_| fs::metadata(folder));
    let metadata = metadata.ok().filter(|_| Uid::effective().is_root())?;
    Some((metadata.uid(), metadata.gid())).filter(|(uid, _)| *uid != 0)
}
