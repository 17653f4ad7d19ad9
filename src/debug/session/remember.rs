//! Breakpoints that are kept from one match to the next: the debuggers write and read them, in files of
//! this session's.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::debug::config::{Action, Session};
use crate::launcher::command::Recipe;
use crate::launcher::control;
use crate::text::escape;
use crate::text::report::Trouble;

/// The variable that tells a debugger's script where they are: a path in the script would be part of the
/// debugger's own language.
const VARIABLE: &str = "TRACEXEC_BREAKPOINTS";
/// What the folder's name begins with; our pid follows.
const PREFIX: &str = "breakpoints-";

/// The folder of these files, which goes with us.
pub(super) struct Memory {
    folder: Option<TempDir>,
}

impl Memory {
    pub(super) fn new(config: &Session) -> Result<Memory, Trouble> {
        let remembers = match &config.action {
            Action::Debugger(choice, _) => choice.iter().any(|recipe| recipe.remember),
            _ => false,
        };
        if !remembers {
            return Ok(Memory { folder: None });
        }
        // The folder of our sockets is closed to another user, as whom the debugger may run.
        let base = match &config.identity {
            Some(_) => std::env::temp_dir(),
            None => control::folder()?,
        };
        remove_stale(&base);
        let owner = config.identity.as_ref().map(|identity| (identity.uid, identity.gid));
        let folder = make(&base, owner).map_err(|error| {
            Trouble::new(format!(
                "--remember: cannot make a folder in {}: {error}",
                escape::path(&base)
            ))
        })?;
        Ok(Memory { folder: Some(folder) })
    }

    /// What a debugger's environment has for it.
    pub(super) fn variable(&self, recipe: &Recipe) -> Option<(OsString, OsString)> {
        let remember = recipe.debugger.remember.as_ref().filter(|_| recipe.remember)?;
        let path = self.folder.as_ref()?.path().join(&remember.name);
        Some((VARIABLE.into(), path.into_os_string()))
    }
}

fn make(base: &Path, owner: Option<(u32, u32)>) -> io::Result<TempDir> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(base)?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid))?;
    }
    Ok(folder)
}

/// Removes what sessions have left that were killed.
fn remove_stale(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another user's stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
