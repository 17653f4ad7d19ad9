//! Where a compilation was, as its paths read here: it may have been in another mount namespace.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::{absolute, path};
use crate::machine::procfs::view::View;

/// The folder of a compilation.
pub struct Place<'a> {
    /// As it is here, if it is.
    pub directory: PathBuf,
    pub is_here: bool,
    /// As it was there.
    there: &'a Path,
    view: Option<&'a View>,
}

impl<'a> Place<'a> {
    pub fn of(there: &'a Path, view: Option<&'a View>) -> Place<'a> {
        let here = match view {
            Some(view) => view.here(there),
            None => Some(there.into()),
        };
        let is_here = here.is_some();
        Place { directory: here.unwrap_or_else(|| there.into()), is_here, there, view }
    }

    /// A file that is named from there, and whether it has a place here.
    pub fn file(&self, name: &[u8]) -> (PathBuf, bool) {
        let Some(view) = self.view else { return (absolute(self.there, name), true) };
        let whole = match path(name).is_absolute() {
            true => view.whole(path(name)),
            false => absolute(self.there, name),
        };
        match view.here(&whole) {
            Some(here) => (here, true),
            None => (whole, false),
        }
    }

    /// Words of a command line, with the absolute paths in them as they are here, where there is such a folder.
    pub fn words(&self, words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if self.view.is_none() {
            return words;
        }
        words.into_iter().map(|word| self.word(&word).unwrap_or(word)).collect()
    }

    fn word(&self, word: &[u8]) -> Option<Vec<u8>> {
        /// A path, or an option with one, but no macro.
        static WITH_PATH: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?s-u)^(-[A-CE-TV-Za-z-][A-Za-z0-9+-]*=?)?(/.*)$").expect("the one above")
        });
        let parts = WITH_PATH.captures(word)?;
        let (here, is_here) = self.file(&parts[2]);
        let before = parts.get(1).map_or(&b""[..], |before| before.as_bytes());
        // An output is made later.
        let may_be = is_here && here.parent().is_none_or(Path::exists);
        may_be.then(|| [before, &here.into_os_string().into_vec()].concat())
    }
}
