//! What the user typed. No I/O happens here; what it means is `config`'s affair.

pub mod log;
pub mod settings;
pub mod trace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::debug::save::Save;
use crate::event::moment::{Moments, time_of};
use crate::launcher::shim::decode;
use crate::linux::sys::Pid;
use crate::machine::elevate::Elevated;
use crate::machine::listen::Listen;
use crate::text::report::Color;

/// The version, and which sources of exec events this build has.
const VERSION: &str = if cfg!(feature = "ebpf") {
    concat!(env!("CARGO_PKG_VERSION"), " (ptrace, eBPF)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (without eBPF)")
};

/// Stops the exec you are looking for, deep in a process tree, and hands it to your debugger.
#[derive(Debug, Parser)]
#[command(name = "tracexec", version = VERSION, max_term_width = 100, args_override_self = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every subcommand has.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Change to this directory first
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// As root: run COMMAND, and its debuggers where they may attach, as this user
    #[arg(short, long, value_name = "USER", global = true)]
    pub user: Option<String>,
    /// Run it as root, by sudo, and COMMAND as you, with your environment
    #[arg(long, global = true)]
    pub elevate: bool,
    /// Who said --elevate
    #[arg(long, value_name = "IDS", global = true, hide = true)]
    pub elevated: Option<Elevated>,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    pub color: Color,
    /// Say more about what is done
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Take defaults from this file, and not from the one in your configuration folder
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Take defaults from no file, see tracexec-config(5)
    #[arg(long, conflicts_with = "config", global = true)]
    pub no_config: bool,
}

/// The command line. `config` takes the options that it tells of, too, to show what they change.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    let debug = command.find_subcommand("debug").cloned().unwrap_or_default();
    let options = settings::KEYS.iter().filter_map(|key| find(&debug, key.id).cloned());
    command = command.mut_subcommand("config", |config| config.args(options));
    // What contradicts what is told where the command line of `debug` is made of them.
    let alone = |arg: clap::Arg| arg.conflicts_with(clap::builder::Resettable::Reset);
    let options = RERUN.iter().filter_map(|id| find(&debug, id).cloned().map(alone));
    command.mut_subcommand("rerun", |rerun| rerun.args(options))
}

/// The options of `debug` that `rerun` has, too, by what clap knows them by.
pub const RERUN: [&str; 11] = [
    "backend",
    "debugger",
    "place",
    "break_at",
    "files",
    "commands",
    "workspace",
    "wrap",
    "hold",
    "hits_json",
    "attach_timeout",
];

/// The option that a key stands for.
pub fn option(key: &settings::Key) -> Option<clap::Arg> {
    let command = Cli::command();
    if !key.table.is_empty() {
        return find(command.find_subcommand(key.table)?, key.id).cloned();
    }
    let global = find(&command, key.id).cloned();
    global.or_else(|| find(command.find_subcommand("debug")?, key.id).cloned())
}

fn find<'a>(command: &'a clap::Command, id: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|arg| arg.get_id() == id)
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run COMMAND and hand the execs that match to a debugger
    Debug(Box<Debug>),
    /// Run COMMAND and print what is executed, a line an exec
    Log(Box<trace::Log>),
    /// Run COMMAND and write what is executed to a file
    Collect(Box<trace::Collect>),
    /// Filter and convert what `collect` has written, or sum it up
    Report(trace::ReportOn),
    /// List running sessions and their hits
    Ps,
    /// Run a match again that `debug --save repro` has saved, under a debugger
    Rerun(Rerun),
    /// Let matches of running sessions run on
    Release(Release),
    /// List the debuggers and places that there are, or show one
    Templates(Templates),
    /// Show the value that each option with a default has, and where it comes from
    Config,
    /// Show what works on this machine, why the rest does not, and what to do about it
    Doctor,
    /// Print a completion script for a shell
    GenerateCompletions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Runs in the debugger's terminal
    #[command(hide = true)]
    Shim {
        #[arg(value_parser = decode)]
        socket: PathBuf,
        hit: u64,
    },
    /// Runs in this terminal, and gives the debugger one of its own
    #[command(hide = true)]
    ShimHere {
        #[arg(value_parser = decode)]
        socket: PathBuf,
        hit: u64,
    },
    /// Becomes the program that a hit's folder tells of
    #[command(hide = true)]
    Again { folder: PathBuf },
    /// Sets parked processes running if tracexec dies
    #[command(hide = true)]
    Guardian { stopped: Option<i32>, switch: Option<i32> },
}

#[derive(Debug, Args)]
pub struct Debug {
    /// Match execs for which this filter holds, see tracexec-filter(7); any of several will do
    #[arg(short, long = "match", value_name = "EXPR")]
    pub matches: Vec<OsString>,

    /// At which moments a match is held: exec, crash, fail, hang=TIME, or several, with commas between
    #[arg(long, value_name = "MOMENTS", default_value = "exec", value_parser = Moments::parse, help_heading = "What is watched")]
    pub on: Moments,
    /// Where exec events come from: eBPF as root where the kernel has it, else ptrace
    #[arg(long, value_name = "SOURCE", default_value = "auto", help_heading = "What is watched")]
    pub backend: Backend,
    /// Watch every exec of the machine, and not only COMMAND's tree (needs eBPF)
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

    /// The debugger: auto, a template's name, or a command of your own with {{pid}}
    #[arg(
        long,
        value_name = "NAME|'WORDS {{pid}}'",
        default_value = "auto",
        help_heading = "What is done with a match"
    )]
    pub debugger: String,
    /// Where the debugger runs: auto, here, tmux, tmux:SESSION, xterm, background, vscode, nvim, emacs,
    /// another template
    #[arg(
        long = "in",
        value_name = "PLACE",
        default_value = "auto",
        help_heading = "What is done with a match"
    )]
    pub place: String,
    /// Run on to this place (main, a function, FILE:LINE); without it, stay at the first instruction
    #[arg(long = "break", value_name = "LOCATION", help_heading = "What is done with a match")]
    pub break_at: Option<String>,
    /// Run the debugger's commands from this file after the hand-over
    #[arg(short = 'x', value_name = "FILE", help_heading = "What is done with a match")]
    pub files: Vec<OsString>,
    /// Run this debugger command after the hand-over
    #[arg(
        long = "ex",
        value_name = "CMD",
        allow_hyphen_values = true,
        help_heading = "What is done with a match"
    )]
    pub commands: Vec<OsString>,
    /// Run the match under this program, in its place: valgrind, strace -D, perf record, env...
    #[arg(long, value_name = "'PROGRAM ARGS'", conflicts_with_all = ["hold", "list", "debugger", "place", "break_at", "files", "commands", "launch_json"], help_heading = "What is done with a match")]
    pub wrap: Option<String>,
    /// Save this of each match before anything else becomes of it, a folder each; it then runs on, unless
    /// a debugger is asked for
    #[arg(long, value_name = "WHAT", value_delimiter = ',', requires = "to", conflicts_with_all = ["list", "launch_json"], help_heading = "What is done with a match")]
    pub save: Vec<Save>,
    /// The folder in which --save makes its folders
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, requires = "save", help_heading = "What is done with a match")]
    pub to: Option<PathBuf>,
    /// With --in vscode and --launch-json: the folder whose .vscode/launch.json is edited
    #[arg(long, value_name = "DIR", help_heading = "What is done with a match")]
    pub workspace: Option<PathBuf>,
    /// Stop nothing: write a configuration into launch.json that runs the match again
    #[arg(long, conflicts_with_all = ["hold", "list", "place"], help_heading = "What is done with a match")]
    pub launch_json: bool,
    /// Write a line of JSON for each stage of each match: to a file, or a descriptor by its number
    #[arg(long, value_name = "FILE|FD", value_hint = clap::ValueHint::FilePath, help_heading = "What is done with a match")]
    pub hits_json: Option<OsString>,
    /// Keep breakpoints from one match of this session to the next
    #[arg(long, help_heading = "What is done with a match")]
    pub remember: bool,
    /// Where a debugger listens that is used from elsewhere [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR[:PORT]", help_heading = "What is done with a match")]
    pub listen: Option<Listen>,
    /// Start no debugger: leave the match stopped and say how to attach
    #[arg(long, conflicts_with_all = ["list", "debugger", "place", "break_at", "files", "commands", "listen", "remember"], help_heading = "What is done with a match")]
    pub hold: bool,
    /// Stop nothing: print the execs that match, and by which test
    #[arg(long, conflicts_with_all = ["debugger", "place", "break_at", "files", "commands", "hits_json", "listen", "remember"], help_heading = "What is done with a match")]
    pub list: bool,

    /// Take the first match only; the same as --max-hits 1
    #[arg(long, conflicts_with = "max_hits", help_heading = "How many")]
    pub once: bool,
    /// Take this many matches, then let go of the whole tree
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "How many")]
    pub max_hits: Option<u64>,
    /// With --system: take every match, as long as it runs
    #[arg(long, requires = "system", conflicts_with_all = ["once", "max_hits"], help_heading = "How many")]
    pub all: bool,
    /// Let the first N matches run on
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "How many")]
    pub skip: u64,
    /// How many debuggers may run at a time [default: 1; with --hold: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "How many")]
    pub sessions: Option<u64>,
    /// What a further match does meanwhile [default: wait; with --system: skip]
    #[arg(long, value_name = "WHAT", help_heading = "How many")]
    pub when_busy: Option<WhenBusy>,

    /// What becomes of a match whose debugger could not be started or did not attach
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "resume",
        help_heading = "When something goes wrong"
    )]
    pub on_launch_failure: OnFailure,
    /// How long a debugger may take to attach: 500ms, 30s, 2m [default: 30s; with --hold: no limit]
    #[arg(long, value_name = "TIME", value_parser = time_of, help_heading = "When something goes wrong")]
    pub attach_timeout: Option<Duration>,

    /// The command to run, with its arguments; --system and -p can do without
    #[arg(last = true, required_unless_present_any = ["system", "pids"], value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// eBPF where it can be had, else ptrace
    Auto,
    /// No privilege needed; follows COMMAND's tree
    Ptrace,
    /// Matches and stops in the kernel
    Ebpf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenBusy {
    /// It waits, stopped, until a debugger has gone
    Wait,
    /// It runs on
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// It runs on
    Resume,
    /// It stays stopped, as with --hold
    Hold,
}

#[derive(Debug, Args)]
pub struct Rerun {
    /// The folder of the match
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct Release {
    /// The process to let run on
    #[arg(value_name = "PID", required_unless_present = "all", conflicts_with = "all")]
    pub pid: Option<Pid>,
    /// All of them, of every session
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Templates {
    #[command(subcommand)]
    pub what: Option<TemplatesCommand>,
}

#[derive(Debug, Subcommand)]
pub enum TemplatesCommand {
    /// Print a template's file, ready to copy and change
    Show {
        /// Its name
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time_of("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time_of("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time_of("3"), Ok(Duration::from_secs(3)));
        assert!(time_of("3 days").is_err() && time_of("").is_err() && time_of("-1s").is_err());
    }
}
