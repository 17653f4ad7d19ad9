//! What was typed after `log` and `collect`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Backend;
use super::log::Shown;
use crate::linux::sys::Pid;
use crate::trace::sinks::json::EnvForm;

/// What both have: which execs, of whom, from where.
#[derive(Debug, Args)]
pub struct Traced {
    /// Tell only of execs for which this filter holds, see tracexec-filter(7); any of several will do
    #[arg(short, long = "match", value_name = "EXPR")]
    pub matches: Vec<OsString>,
    /// Where exec events come from: eBPF as root where the kernel has it, else ptrace
    #[arg(long, value_name = "SOURCE", default_value = "auto", help_heading = "What is watched")]
    pub backend: Backend,
    /// Tell of every exec of the machine, and not only of COMMAND's tree (needs eBPF)
    #[arg(long, help_heading = "What is watched")]
    pub system: bool,
    /// Follow this process, which runs already, and all that comes from it; several may be named
    #[arg(
        short,
        long = "pid",
        value_name = "PID",
        conflicts_with = "system",
        help_heading = "What is watched"
    )]
    pub pids: Vec<Pid>,
    /// Over ptrace: see failing execs by a seccomp filter, which is fast, but ends COMMAND's tree if tracexec is
    /// killed, and without CAP_SYS_ADMIN takes setuid from programs; off: by stopping every system call
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "What is watched")]
    pub seccomp_bpf: SeccompBpf,
    /// Leave out the execs that fail
    #[arg(long, overrides_with = "no_successful_only", help_heading = "What is watched")]
    pub successful_only: bool,
    #[arg(long, hide = true)]
    pub no_successful_only: bool,

    /// The command to run, with its arguments; --system and -p can do without
    #[arg(last = true, required_unless_present_any = ["system", "pids"], value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeccompBpf {
    /// Unless it would take setuid from programs that have it under the tracer: as root without CAP_SYS_ADMIN
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

#[derive(Debug, Args)]
pub struct Log {
    #[command(flatten)]
    pub traced: Traced,
    #[command(flatten)]
    pub shown: Shown,
    /// Write to this file; - is standard output [default: standard error]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Where it goes")]
    pub output: Option<PathBuf>,
    /// Append to FILE, and begin anew when it would grow beyond this: 10M, 1G. FILE becomes FILE.1, and so on
    #[arg(long, value_name = "SIZE", value_parser = size_of, requires = "output", help_heading = "Where it goes")]
    pub rotate: Option<u64>,
    /// How many older files --rotate leaves
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        requires = "rotate",
        help_heading = "Where it goes"
    )]
    pub keep: u32,
    /// Write to systemd's journal, with fields to search for
    #[arg(long, conflicts_with = "output", help_heading = "Where it goes")]
    pub journal: bool,
}

/// A size in bytes: a number, with K, M or G for powers of 1024.
fn size_of(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is no size: 500K, 10M, 1G");
    let (digits, power) = match text.trim_end_matches(['B', 'i']) {
        text if text.ends_with('K') => (&text[..text.len() - 1], 10),
        text if text.ends_with('M') => (&text[..text.len() - 1], 20),
        text if text.ends_with('G') => (&text[..text.len() - 1], 30),
        text => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << power).filter(|size| *size > 0).ok_or_else(wrong)
}

#[derive(Debug, Args)]
pub struct Collect {
    #[command(flatten)]
    pub traced: Traced,
    /// The kind of file, which your configuration may say, too
    #[arg(short = 'F', long, value_name = "FORMAT", help_heading = "Where it goes")]
    pub format: Option<Format>,
    /// Write to this file; - is standard output [default: a name by the format]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Where it goes")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub form: Form,
}

/// How a format is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct Form {
    /// How environments are written, for json and json-stream [default: whole]
    #[arg(long, value_name = "HOW", help_heading = "Where it goes")]
    pub env: Option<EnvForm>,
    /// JSON for people, over several lines, for json
    #[arg(long, help_heading = "Where it goes")]
    pub pretty: bool,
    /// Begin the file anew instead of adding to what is there, for compile-commands
    #[arg(long, help_heading = "Where it goes")]
    pub fresh: bool,
}

#[derive(Debug, Args)]
pub struct ReportOn {
    /// What `collect --format json` or `json-stream` has written, complete or not; - is standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Tell only of execs for which this filter holds, see tracexec-filter(7); any of several will do
    #[arg(short, long = "match", value_name = "EXPR")]
    pub matches: Vec<OsString>,
    /// Write all of it in this form [default: a summary]
    #[arg(short = 'F', long, value_name = "FORMAT", help_heading = "Where it goes")]
    pub format: Option<Format>,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Where it goes")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One document of JSON, complete at the end
    Json,
    /// A line of JSON for each event, as it happens
    JsonStream,
    /// A trace for the viewer at ui.perfetto.dev
    Perfetto,
    /// compile_commands.json: how each source was compiled
    CompileCommands,
    /// A page for a browser: the tree on a time axis, search, details
    Html,
}

impl Format {
    /// The name of the file where none is given.
    pub fn file_name(self) -> &'static str {
        match self {
            Format::Json => "tracexec.json",
            Format::JsonStream => "tracexec.jsonl",
            Format::Perfetto => "tracexec.pftrace",
            Format::CompileCommands => "compile_commands.json",
            Format::Html => "tracexec.html",
        }
    }

    /// Whether nobody can read it on a terminal.
    pub fn is_for_programs(self) -> bool {
        matches!(self, Format::Perfetto | Format::Html)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size_of("500K"), Ok(500 << 10));
        assert_eq!(size_of("10M"), Ok(10 << 20));
        assert_eq!(size_of("1GiB"), Ok(1 << 30));
        assert_eq!(size_of("77"), Ok(77));
        for wrong in ["", "M", "0", "-1K", "1T", "99999999999G"] {
            assert!(size_of(wrong).is_err(), "{wrong}");
        }
    }
}
