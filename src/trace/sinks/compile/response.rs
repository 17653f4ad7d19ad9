//! Response files: words of a command line that name files with more words, see gcc(1).

use std::io;
use std::path::Path;

use super::path;
use crate::linux::files;
use crate::source::responses::words as quoted;

/// What a command line may still read. A file may name itself, twice even; and `@/dev/zero` has no end.
struct Budget {
    files: u32,
    bytes: u64,
}

/// The words, those of response files in their places. A file that is gone, or is too much, stays named.
pub fn expanded(words: Vec<Vec<u8>>, directory: &Path) -> Vec<Vec<u8>> {
    // As many files as gcc itself reads.
    let mut budget = Budget { files: 2000, bytes: 16 << 20 };
    let mut all = Vec::new();
    // What is to come, the next one last.
    let mut rest: Vec<Vec<u8>> = words.into_iter().rev().collect();
    while let Some(word) = rest.pop() {
        let named = word.strip_prefix(b"@");
        match named.and_then(|name| budget.read(&directory.join(path(name))).ok()) {
            Some(text) => rest.extend(quoted(&text).into_iter().rev()),
            None => all.push(word),
        }
    }
    all
}

impl Budget {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let refused = || io::Error::from(io::ErrorKind::FileTooLarge);
        let files = self.files.checked_sub(1).ok_or_else(refused)?;
        let text = files::read(path, self.bytes)?;
        self.bytes -= text.len() as u64;
        self.files = files;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_file_that_names_itself_twice_is_not_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("two"), "@two @two a.c").unwrap();
        let all = expanded(words("@two -c"), folder.path());
        assert_eq!(all.iter().filter(|word| *word == b"a.c").count(), 2000);
        assert_eq!(all.last().unwrap(), b"-c");
        fs::write(folder.path().join("large"), "a.c ".repeat(1 << 20)).unwrap();
        let all = expanded(words("@large @large @large @large @large"), folder.path());
        assert_eq!(all.iter().filter(|word| *word == b"@large").count(), 1);
    }

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let line = words("@/dev/zero @pipe @. @none");
        assert_eq!(expanded(line.clone(), folder.path()), line);
    }
}
