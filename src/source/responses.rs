//! Response files: arguments `@FILE` that stand for the words in FILE, see gcc(1). Builds delete them as soon as the
//! program has ended, so their text is kept at the exec.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::event::{ExecRecord, Response, Strings};
use crate::linux::files;
use crate::linux::sys::Pid;
use crate::machine::procfs;
use crate::source::interpreters;

/// What is kept of an exec; a file beyond it is not kept.
const MOST_FILES: usize = 100;
const MOST_BYTES: u64 = 1 << 20;
/// What is put in the place of arguments; a file may name itself, twice even.
const MOST_EXPANDED: u32 = 2000;

/// The file that an argument names.
fn name(argument: &[u8]) -> Option<&[u8]> {
    argument.strip_prefix(b"@").filter(|name| !name.is_empty())
}

/// The response files of an exec that has just been recorded. `pid`: its process, where that is still there.
pub fn of_record(record: &ExecRecord, pid: Option<Pid>) -> Vec<Response> {
    let Some(argv) = &record.argv.value else { return Vec::new() };
    let known = Some(record.uid).filter(|uid| *uid != u32::MAX);
    read(&argv.strings, known.or_else(|| pid.and_then(user)), |name| {
        interpreters::place(record, pid, name)
    })
}

/// The response files of a living process.
pub fn of_process(pid: Pid, argv: &Strings) -> Vec<Response> {
    read(argv, user(pid), |name| Some(procfs::as_seen_by(pid, name)))
}

/// The user whose rights a process has.
fn user(pid: Pid) -> Option<u32> {
    fs::metadata(procfs::path(pid, "")).ok().map(|metadata| metadata.uid())
}

fn read(
    argv: &Strings,
    user: Option<u32>,
    place: impl Fn(&[u8]) -> Option<PathBuf>,
) -> Vec<Response> {
    let mut kept: Vec<Response> = Vec::new();
    let mut seen = HashSet::new();
    let mut left = MOST_BYTES;
    let mut names: Vec<Vec<u8>> = argv.iter().filter_map(name).map(<[u8]>::to_vec).collect();
    names.reverse();
    while let Some(name_of_file) = names.pop() {
        if seen.len() == MOST_FILES || !seen.insert(name_of_file.clone()) {
            continue;
        }
        let text = place(&name_of_file).and_then(|path| text(&path, user, left));
        let Some(text) = text else { continue };
        left -= text.len() as u64;
        names.extend(words(&text).iter().filter_map(|word| name(word)).map(<[u8]>::to_vec));
        kept.push(Response { name: name_of_file, text });
    }
    kept
}

/// The text of a file of the process's user; we may be allowed to read more than that one.
fn text(path: &Path, user: Option<u32>, most: u64) -> Option<Vec<u8>> {
    let file = files::open(path).ok()?;
    if Some(file.metadata().ok()?.uid()) != user {
        return None;
    }
    files::read_all(file, most).ok()
}

/// The arguments with the words of those files in their places whose text was kept, and whether there are any.
pub fn expanded<'a>(
    argv: impl Iterator<Item = &'a [u8]>,
    kept: &[Response],
) -> (Vec<Vec<u8>>, bool) {
    let mut left = MOST_EXPANDED;
    let mut all = Vec::new();
    // What is to come, the next one last.
    let mut rest: Vec<Vec<u8>> = argv.map(<[u8]>::to_vec).collect();
    rest.reverse();
    while let Some(word) = rest.pop() {
        let found = name(&word).and_then(|name| kept.iter().find(|file| file.name == name));
        match found.filter(|_| left > 0) {
            Some(file) => {
                left -= 1;
                rest.extend(words(&file.text).into_iter().rev());
            }
            None => all.push(word),
        }
    }
    (all, left < MOST_EXPANDED)
}

/// Whether the file of an argument is there, from this directory on.
pub fn is_there(argument: &[u8], cwd: &[u8]) -> bool {
    let cwd = Path::new(OsStr::from_bytes(cwd));
    name(argument).is_some_and(|name| cwd.join(OsStr::from_bytes(name)).exists())
}

/// The words of a response file: whitespace between them, quotes of either kind, a backslash before anything.
pub fn words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut within = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            b'\'' | b'"' if within.is_none() => {
                within = Some(byte);
                word.get_or_insert_default();
            }
            _ if within == Some(byte) => within = None,
            _ if within.is_none() && byte.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(line: &str, folder: &Path) -> Vec<Response> {
        let argv: Strings = line.split(' ').collect();
        let user = Some(nix::unistd::geteuid().as_raw());
        read(&argv, user, |name| Some(folder.join(OsStr::from_bytes(name))))
    }

    #[test]
    fn only_regular_files_of_the_user_within_the_limits_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(path("one"), "-c '@two' \"a b\"").unwrap();
        fs::write(path("two"), "@one @two x").unwrap();
        fs::write(path("large"), "x".repeat(MOST_BYTES as usize + 1)).unwrap();
        fs::write(path("half"), "x".repeat(MOST_BYTES as usize / 2 + 1)).unwrap();
        let names = |line| -> Vec<String> {
            let name = |file: Response| String::from_utf8(file.name).unwrap();
            kept(line, folder.path()).into_iter().map(name).collect()
        };
        assert_eq!(names("cc @one @pipe @. @none @ @/dev/zero @large"), ["one", "two"]);
        fs::write(path("more"), "x".repeat(MOST_BYTES as usize / 2 + 1)).unwrap();
        assert_eq!(names("@half @more"), ["half"]);
        let argv: Strings = ["@one"].into_iter().collect();
        assert_eq!(read(&argv, Some(4711), |_| Some(path("one"))), []);
        assert_eq!(read(&argv, None, |_| Some(path("one"))), []);
    }

    #[test]
    fn words_take_the_places_of_files_and_not_for_ever() {
        let file = |name: &str, text: &str| Response { name: name.into(), text: text.into() };
        let all = [file("a", "x 'y z' @b @gone"), file("b", "")];
        let words = |line: &[&'static str], all: &[Response]| {
            expanded(line.iter().map(|word| word.as_bytes()), all)
        };
        let (line, some) = words(&["cc", "@a", "@"], &all);
        assert_eq!((line.join(&b'|'), some), (b"cc|x|y z|@gone|@".to_vec(), true));
        assert_eq!(words(&["cc", "a"], &all), (vec![b"cc".to_vec(), b"a".to_vec()], false));
        let (line, _) = words(&["@a"], &[file("a", "@a @a")]);
        assert_eq!(line.len(), MOST_EXPANDED as usize + 1);
    }
}
