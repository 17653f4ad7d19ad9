//! What it takes to run a program again exactly as it was executed: read while it is stopped at its exec,
//! kept as `hit.json`, written out as a script for bash, and done by `tracexec rerun`.

mod again;
mod descriptors;
mod script;

use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::debug::matcher::Program;
use crate::event::{Response, Strings};
use crate::launcher::vscode::again::to_execute;
use crate::linux::files;
use crate::linux::sys::Pid;
use crate::machine::procfs;
use crate::source::responses;
use crate::source::wrapped::leads_to_program;
use crate::text::json::OwnedBytes;
use crate::text::report::Trouble;

pub use again::{command, rerun_by, run as run_again};
pub use descriptors::Descriptor;

/// The names of the files in a hit's folder.
pub const RECORD: &str = "hit.json";
pub const SCRIPT: &str = "repro.sh";
/// The most that a record is read of, in bytes: an environment, each byte of it escaped.
const LARGEST: u64 = 64 << 20;

const UNKNOWN_CWD: &str = "the working directory could not be read: it is the present one";

/// It grows when a reader of the old files could not read the new ones.
const VERSION: u32 = 1;

/// A program, to be run again. `schemas/hit.json` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repro {
    pub version: u32,
    pub time: String,
    /// At which moment of the process this was written.
    pub moment: String,
    pub pid: Pid,
    pub because: String,
    /// The file to execute; the interpreter's, of a script.
    pub program: OwnedBytes,
    pub filename: OwnedBytes,
    pub argv: Vec<OwnedBytes>,
    /// The response files that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<ResponseFile>,
    /// As it stood in memory, entry by entry; null if it could not be read.
    pub env: Option<Vec<OwnedBytes>>,
    /// Empty if it could not be read.
    pub cwd: OwnedBytes,
    pub umask: Option<u32>,
    pub fds: Vec<Descriptor>,
}

/// A file that an argument names by `@NAME`, with its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseFile {
    pub name: OwnedBytes,
    pub text: OwnedBytes,
}

impl Repro {
    /// Reads what is known of a stopped process.
    pub fn read(pid: Pid, program: &Program, moment: &str) -> Repro {
        let living = procfs::living(pid);
        let bytes = |bytes: &[u8]| OwnedBytes(bytes.to_vec());
        let env = procfs::read(living, "environ").ok();
        let env = env.map(|block| Strings::from_block(block).iter().map(bytes).collect());
        Repro {
            version: VERSION,
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            moment: moment.to_string(),
            pid,
            because: program.because.clone(),
            program: OwnedBytes(file_of(living, program)),
            filename: bytes(&program.filename),
            argv: program.argv.iter().map(bytes).collect(),
            responses: responses::of_process(living, &program.argv)
                .into_iter()
                .map(|Response { name, text }| ResponseFile {
                    name: OwnedBytes(name),
                    text: OwnedBytes(text),
                })
                .collect(),
            env,
            cwd: bytes(&program.cwd),
            umask: umask(living),
            fds: descriptors::of(living),
        }
    }

    /// What stands for an argument whose response file is gone, where its words are known.
    fn words_of(&self, argument: &[u8]) -> Option<Vec<Vec<u8>>> {
        let file =
            |file: &ResponseFile| Response { name: file.name.0.clone(), text: file.text.0.clone() };
        let kept: Vec<Response> = self.responses.iter().map(file).collect();
        let (words, expanded) = responses::expanded(std::iter::once(argument), &kept);
        expanded.then_some(words)
    }

    /// The file `hit.json`.
    pub fn record(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The file `repro.sh`.
    pub fn script(&self) -> Vec<u8> {
        script::write(self)
    }

    /// Reads a hit's folder.
    pub fn load(folder: &Path) -> Result<Repro, Trouble> {
        let path = folder.join(RECORD);
        let shown = crate::text::escape::word(path.as_os_str().as_encoded_bytes());
        let text = files::read(&path, LARGEST).map_err(|error| {
            Trouble::new(format!("cannot read {shown}: {error}"))
                .hint("`tracexec debug --save repro --to DIR` makes such a folder for each match")
        })?;
        let repro: Repro = serde_json::from_slice(&text)
            .map_err(|error| Trouble::new(format!("{shown} is not as we write it: {error}")))?;
        if repro.version != VERSION {
            let version = repro.version;
            return Err(Trouble::new(format!(
                "{shown} is of version {version}, ours is {VERSION}"
            ))
            .hint("use the tracexec that wrote it"));
        }
        Ok(repro)
    }
}

/// The file by the program's own name for itself, where that leads to it without a search.
fn file_of(pid: Pid, program: &Program) -> Vec<u8> {
    let name = program.argv.get(0).unwrap_or_default();
    if memchr::memchr(b'/', name).is_some() && leads_to_program(pid, name) {
        return name.to_vec();
    }
    to_execute(program)
}

fn umask(pid: Pid) -> Option<u32> {
    let text = procfs::read_text(pid, "status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}
