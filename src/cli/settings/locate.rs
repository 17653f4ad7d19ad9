//! Which file holds, and whether it may.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::{File, Setting};
use crate::cli::Global;
use crate::launcher::place;
use crate::linux::files;
use crate::text::escape;
use crate::text::report::Trouble;

/// The folder of a user's configuration.
#[derive(Debug, Clone)]
pub struct Folder {
    /// `$XDG_CONFIG_HOME/tracexec`.
    pub path: PathBuf,
    home: Option<PathBuf>,
    /// Who called us by sudo: what we read is to be his, or root's.
    caller: Option<User>,
}

impl Folder {
    /// A folder of our own user's.
    pub fn of(path: PathBuf) -> Folder {
        Folder { path, home: None, caller: None }
    }
}

/// What became of the file, for `tracexec config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    Read(PathBuf),
    NotThere(PathBuf),
    /// `--no-config`, or nobody knows where it would be.
    NotLooked,
}

/// Where the user's configuration is. Under sudo that is the caller's: what he has set up for himself
/// holds with and without sudo.
pub fn folder() -> Option<Folder> {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caller = caller();
    let home = match &caller {
        Some(user) => Some(user.dir.clone()),
        None => set("HOME"),
    };
    // sudo drops the variable; it is looked up where the caller has it.
    let config = match caller {
        Some(_) => place::variable("XDG_CONFIG_HOME").map(|(value, _)| PathBuf::from(value)),
        None => set("XDG_CONFIG_HOME"),
    };
    let config = config
        .filter(|path| path.is_absolute())
        .or_else(|| home.as_ref().map(|home| home.join(".config")))?;
    Some(Folder { path: config.join("tracexec"), home, caller })
}

/// Who called us by sudo, and is not root.
fn caller() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok().filter(|&uid| uid != 0)?;
    User::from_uid(Uid::from_raw(uid)).ok().flatten()
}

/// The most that a file of settings or a template may have, in bytes.
const LARGEST: u64 = 1 << 20;

/// The settings of the file that was asked for, or of the user's own if there is one.
pub(super) fn read(global: &Global) -> Result<(Vec<Setting>, FileState), Trouble> {
    if global.no_config {
        return Ok((Vec::new(), FileState::NotLooked));
    }
    let folder = folder();
    let home = folder.as_ref().and_then(|folder| folder.home.as_deref());
    if let Some(path) = &global.config {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let text = files::read_typed(&path, LARGEST)
            .map_err(|error| Trouble::new(format!("--config {}: {error}", shown(&path))))?;
        return Ok((File { path: &path, text: &text, home }.parse()?, FileState::Read(path)));
    }
    let Some(folder) = &folder else { return Ok((Vec::new(), FileState::NotLooked)) };
    let path = folder.path.join("config.toml");
    match read_trusted(&path, folder)? {
        Some(text) => {
            let settings = File { path: &path, text: &text, home }.parse()?;
            Ok((settings, FileState::Read(path)))
        }
        None => Ok((Vec::new(), FileState::NotThere(path))),
    }
}

/// A file of that folder, if there is one. Under sudo it is read as root, and what it says is done as
/// root; so nobody but the caller and root may have written it.
pub fn read_trusted(path: &Path, folder: &Folder) -> Result<Option<String>, Trouble> {
    let trouble = |why: &str| {
        Trouble::new(format!("cannot read {}: {why}", shown(path)))
            .hint("mend the file, or move it away; --no-config does without config.toml")
    };
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) if is_nothing(path, &error) => return Ok(None),
        Err(error) => return Err(trouble(&error.to_string())),
    };
    if let Some(caller) = &folder.caller
        && let Some(why) = file
            .metadata()
            .map_or_else(|error| Some(error.to_string()), |metadata| distrust(&metadata, caller))
    {
        return Err(Trouble::new(format!("{}: {why}", shown(path))).hint(
            "under sudo it would be root who does what it says: chown and chmod it, or move it away",
        ));
    }
    let text = files::read_all(file, LARGEST).and_then(files::text);
    text.map(Some).map_err(|error| trouble(&error.to_string()))
}

/// Whether there is no such file, or nothing of it may be known: another user's HOME, for instance.
fn is_nothing(path: &Path, error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => true,
        io::ErrorKind::PermissionDenied => fs::symlink_metadata(path).is_err(),
        _ => false,
    }
}

/// Why somebody else may have written a file of the caller's.
fn distrust(metadata: &fs::Metadata, caller: &User) -> Option<String> {
    let owner = metadata.uid();
    if owner != 0 && owner != caller.uid.as_raw() {
        return Some(format!(
            "it belongs to user {owner}, who is neither {} nor root",
            caller.name
        ));
    }
    // Where each user has a group of his own, files may be writable by it.
    let own_groups = [0, caller.gid.as_raw()];
    let by_group = metadata.mode() & 0o020 != 0 && !own_groups.contains(&metadata.gid());
    (by_group || metadata.mode() & 0o002 != 0).then(|| "others may write to it".into())
}

fn shown(path: &Path) -> String {
    escape::text(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
}
