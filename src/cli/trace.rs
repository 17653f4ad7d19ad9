//! What was typed after `log` and `collect`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Backend;

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
    /// Leave out the execs that fail
    #[arg(long, overrides_with = "no_successful_only", help_heading = "What is watched")]
    pub successful_only: bool,
    #[arg(long, hide = true)]
    pub no_successful_only: bool,

    /// The command to run, with its arguments; --system can do without
    #[arg(last = true, required_unless_present = "system", value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Log {
    #[command(flatten)]
    pub traced: Traced,
    /// Write to this file; - is standard output [default: standard error]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Where it goes")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Collect {
    #[command(flatten)]
    pub traced: Traced,
    /// The kind of file
    #[arg(short = 'F', long, value_name = "FORMAT", help_heading = "Where it goes")]
    pub format: Format,
    /// Write to this file; - is standard output [default: a name by the format]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Where it goes")]
    pub output: Option<PathBuf>,
    /// JSON for people, over several lines
    #[arg(long, help_heading = "Where it goes")]
    pub pretty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One document of JSON, complete at the end
    Json,
    /// A line of JSON for each event, as it happens
    JsonStream,
    /// A page for a browser: the tree on a time axis, search, details
    Html,
}
