//! What it takes to run a program again that has just been executed, read while it is stopped.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::debug::matcher::Program;
use crate::event::Strings;
use crate::linux::sys::Pid;
use crate::machine::procfs;

/// A program, to be run again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    pub program: Vec<u8>,
    /// Without the program's own name.
    pub args: Vec<Vec<u8>>,
    pub cwd: Vec<u8>,
    /// The variables that differ from those of tracexec, which are the editor's, more or less.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// All of them; none, where they may not be read.
    pub whole_env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file that is its standard input, where it is one.
    pub stdin: Option<Vec<u8>>,
}

/// What shells change with each command.
const OF_SHELLS: [&[u8]; 3] = [b"_", b"SHLVL", b"OLDPWD"];

impl Again {
    /// Reads what is known of a stopped process.
    pub fn read(pid: Pid, program: &Program) -> Again {
        let block = procfs::read(pid, "environ").unwrap_or_default();
        let own = |name: &[u8]| std::env::var_os(OsStr::from_bytes(name));
        let whole_env = variables(&block);
        let mut env = whole_env.clone();
        env.retain(|(name, value)| {
            let same = own(name).is_some_and(|own| own.as_bytes() == value.as_slice());
            !same && !OF_SHELLS.contains(&name.as_slice())
        });
        Again {
            program: to_execute(program),
            args: program.argv.iter().skip(1).map(<[u8]>::to_vec).collect(),
            cwd: program.cwd.clone(),
            env,
            whole_env,
            stdin: input(pid),
        }
    }
}

fn variables(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = Strings::from_block(block.to_vec());
    let pair = |text: &[u8]| {
        let at = memchr::memchr(b'=', text).filter(|&at| at > 0)?;
        Some((text[..at].to_vec(), text[at + 1..].to_vec()))
    };
    all.iter().filter_map(pair).collect()
}

/// The path as it was executed, since some programs go by their name; the resolved one where that is
/// another file, as for a script.
pub fn to_execute(program: &Program) -> Vec<u8> {
    let given =
        Path::new(OsStr::from_bytes(&program.cwd)).join(OsStr::from_bytes(&program.filename));
    let as_given = || {
        let file = fs::canonicalize(&given).ok()?;
        let path = fs::canonicalize(given.parent()?).ok()?.join(given.file_name()?);
        (file.as_os_str().as_bytes() == program.exe).then(|| path.into_os_string().into_vec())
    };
    as_given().unwrap_or_else(|| program.exe.clone())
}

/// The regular file that a process reads as its standard input.
fn input(pid: Pid) -> Option<Vec<u8>> {
    let link = procfs::path(pid, "fd/0");
    let target = fs::read_link(&link).ok()?;
    let (here, there) = (fs::metadata(&target).ok()?, fs::metadata(&link).ok()?);
    // A file that was removed or replaced since is no input to give it.
    let same = here.dev() == there.dev() && here.ino() == there.ino();
    (same && there.is_file()).then(|| target.into_os_string().into_vec())
}
