//! What strace says of a run. Each task has a file of its own, so that no line is broken up.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use super::event::Exec;
use crate::support::{World, finish};

/// Runs a command under strace; all its execs, and COMMAND's exit status.
#[track_caller]
pub fn run(world: &World, as_user: &[&str], words: &[OsString]) -> (Vec<Exec>, i32) {
    let folder = world.path("strace");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let strace = ["strace", "-f", "-ff", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none"];
    let form = ["-v", "-s", "3000000", "-xx", "-o"];
    let mut line = as_user.iter().copied().chain(strace).chain(form);
    let mut command = Command::new(line.next().unwrap());
    command.args(line).arg(folder.join("of")).arg("--").args(words);
    super::prepare(world, &mut command);
    let outcome = finish(world.start(command));
    let mut execs = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        execs.extend(text.split(|&byte| byte == b'\n').filter_map(parse));
    }
    assert!(!execs.is_empty(), "strace is needed: apt install strace\n{}", outcome.stderr);
    (execs, outcome.code())
}

/// A line as strace -xx has it: what is no escape stands for itself.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn skip(&mut self, what: &[u8]) -> bool {
        match self.0.strip_prefix(what) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Vec<u8> {
        let end = self.0.iter().position(|byte| b",])".contains(byte)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.to_vec()
    }

    /// A string, or an address where there is none.
    fn string(&mut self) -> Option<Vec<u8>> {
        if !self.skip(b"\"") {
            self.word();
            return None;
        }
        let mut text = Vec::new();
        while !self.skip(b"\"") {
            assert!(self.skip(b"\\x"), "{:?}", String::from_utf8_lossy(self.0));
            let digits = std::str::from_utf8(&self.0[..2]).unwrap();
            text.push(u8::from_str_radix(digits, 16).unwrap());
            self.0 = &self.0[2..];
        }
        Some(text)
    }

    fn vector(&mut self) -> Option<Vec<Option<Vec<u8>>>> {
        if !self.skip(b"[") {
            return (self.word() == b"NULL").then(Vec::new);
        }
        let mut all = Vec::new();
        while !self.skip(b"]") {
            all.push(self.string());
            assert!(!self.skip(b"..."), "a string was cut");
            self.skip(b", ");
        }
        Some(all)
    }
}

fn parse(line: &[u8]) -> Option<Exec> {
    let mut text = Text(line);
    let at = text.skip(b"execveat(");
    if !at && !text.skip(b"execve(") {
        return None;
    }
    let mut folder = Vec::new();
    if at {
        folder = text.word();
        text.skip(b", ");
    }
    let mut filename = text.string();
    // A file name that is too long for the kernel is cut whatever -s says.
    let is_cut = text.skip(b"...");
    text.skip(b", ");
    let argv = text.vector();
    text.skip(b", ");
    let env = text.vector();
    let result = result(&String::from_utf8_lossy(text.0))?;
    // What the kernel makes of it.
    if let Some(name) =
        filename.as_mut().filter(|name| at && result == 0 && !name.starts_with(b"/"))
        && folder != b"AT_FDCWD"
    {
        let slash: &[u8] = if name.is_empty() { b"" } else { b"/" };
        *name = [b"/dev/fd/", folder.as_slice(), slash, name].concat();
    }
    Some(Exec { result, filename, argv, env, cut: [is_cut, false, false] }.cut().normal())
}

/// What comes after the arguments; `None` for a call that did not come back.
fn result(rest: &str) -> Option<i32> {
    // A thread's exec comes back as its leader's.
    if rest.contains("<pid changed to") {
        return Some(0);
    }
    let (_, result) = rest.rsplit_once(" = ")?;
    if result == "0" {
        return Some(0);
    }
    let name = result.strip_prefix("-1 ")?.split(' ').next()?;
    let errno = match name {
        "ENOENT" => libc::ENOENT,
        "E2BIG" => libc::E2BIG,
        "ENOEXEC" => libc::ENOEXEC,
        "EBADF" => libc::EBADF,
        "EACCES" => libc::EACCES,
        "EFAULT" => libc::EFAULT,
        "ENOTDIR" => libc::ENOTDIR,
        "ETXTBSY" => libc::ETXTBSY,
        "ENAMETOOLONG" => libc::ENAMETOOLONG,
        "ELOOP" => libc::ELOOP,
        "EPERM" => libc::EPERM,
        other => panic!("an error that is not known here: {other}"),
    };
    Some(-errno)
}
