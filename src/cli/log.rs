//! What was typed after `log` of what its lines show.

use std::fmt;

use clap::builder::PossibleValue;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};

/// An option with a `--no-` form. Of the two the last one holds.
struct Switch {
    name: &'static str,
    default: bool,
    help: &'static str,
    /// Another switch that this one takes the place of.
    instead_of: Option<&'static str>,
}

const fn switch(name: &'static str, default: bool, help: &'static str) -> Switch {
    Switch { name, default, help, instead_of: None }
}

const fn instead(of: &'static str, switch: Switch) -> Switch {
    Switch { instead_of: Some(of), ..switch }
}

const HEADING: &str = "What a line shows (each has a --no- form, too; the last one holds)";

const SHOWN: [Switch; 17] = [
    switch("show-comm", true, "The command name before the exec [default]"),
    switch("show-filename", true, "The file's name as it was passed [default]"),
    switch("show-argv", true, "The arguments [default]"),
    switch("show-interpreter", true, "What runs a script [default]"),
    switch("show-cwd", false, "The working directory"),
    instead(
        "show-env",
        switch("diff-env", true, "What differs in the environment from COMMAND's [default]"),
    ),
    instead("diff-env", switch("show-env", false, "The whole environment")),
    instead(
        "show-fd",
        switch("diff-fd", true, "Which descriptors differ from COMMAND's [default]"),
    ),
    instead("diff-fd", switch("show-fd", false, "All descriptors")),
    switch("hide-cloexec-fds", true, "Leave out descriptors that the exec closes [default]"),
    switch("decode-errno", true, "Why an exec failed, in words [default]"),
    switch("resolve-proc-self-exe", true, "The program in place of /proc/self/exe [default]"),
    switch(
        "show-cmdline",
        false,
        "A line for bash or zsh that does the exec again, in place of file name, arguments and environment",
    ),
    switch("stdio-in-cmdline", false, "In that line, standard input, output and error as well"),
    switch("fd-in-cmdline", false, "In that line, all descriptors as well"),
    switch("timestamp", false, "The time"),
    switch(
        "foreground",
        true,
        "Taken for compatibility: COMMAND is in the foreground whenever tracexec is",
    ),
];

/// How much of the environment, or of the descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Nothing,
    Difference,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Colors {
    Less,
    Usual,
    More,
}

/// A kind of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// What is traced, and at the end how much there was
    Info,
    /// What is missing from the log
    Warning,
    /// What ends the trace
    Error,
    /// A process was made
    NewChild,
    /// A program was executed, or could not be
    Exec,
    /// COMMAND runs
    TraceeSpawn,
    /// COMMAND has ended
    TraceeExit,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map(PossibleValue::get_name).unwrap_or_default())
    }
}

/// Which lines, and what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub comm: bool,
    pub filename: bool,
    pub argv: bool,
    pub interpreter: bool,
    pub cwd: bool,
    pub env: Amount,
    pub fd: Amount,
    pub hide_cloexec_fds: bool,
    pub decode_errno: bool,
    pub resolve_proc_self_exe: bool,
    pub cmdline: bool,
    pub stdio_in_cmdline: bool,
    pub fd_in_cmdline: bool,
    pub timestamp: bool,
    pub timestamp_format: String,
    pub colors: Colors,
    pub kinds: Vec<Kind>,
}

impl Args for Shown {
    fn augment_args(command: Command) -> Command {
        let switches = SHOWN.iter().flat_map(Switch::args);
        let valued = [timestamp_format()].into_iter().chain(kinds());
        command.args(switches).args(colors()).args(valued).next_help_heading(None)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Switch {
    fn args(&self) -> [Arg; 2] {
        let flag = |name: String| Arg::new(name.clone()).long(name).action(ArgAction::SetTrue);
        let no = format!("no-{}", self.name);
        let mut on = flag(self.name.into()).help(self.help).help_heading(HEADING);
        on = on.overrides_with(no.clone());
        if let Some(other) = self.instead_of {
            on = on.overrides_with(other);
        }
        let off = flag(no).hide(true).help(format!("Not --{}", self.name));
        [on, off.overrides_with(self.name)]
    }
}

fn colors() -> [Arg; 2] {
    let flag = |name: &'static str, other: &'static str| {
        let arg = Arg::new(name).long(name).action(ArgAction::SetTrue);
        arg.overrides_with(other).help_heading("Colours")
    };
    [
        flag("more-colors", "less-colors").help("Colour arguments and the rest, too"),
        flag("less-colors", "more-colors").help("Colour the process and the result only"),
    ]
}

fn timestamp_format() -> Arg {
    Arg::new("inline-timestamp-format")
        .long("inline-timestamp-format")
        .value_name("FORMAT")
        .value_parser(crate::trace::sinks::log::clock::parse_format)
        .help("The time in this format of strftime, and --timestamp [default: %H:%M:%S]")
        .help_heading(HEADING)
}

fn kinds() -> [Arg; 4] {
    let arg = |name: &'static str| {
        let arg = Arg::new(name).long(name).value_name("KINDS").help_heading("Which lines");
        arg.value_delimiter(',').action(ArgAction::Append).value_parser(clap::value_parser!(Kind))
    };
    let usual = "These kinds of lines [default: warning,error,exec,tracee-exit]";
    [
        Arg::new("show-all-events")
            .long("show-all-events")
            .action(ArgAction::SetTrue)
            .help("Every kind of line")
            .help_heading("Which lines"),
        arg("events").visible_alias("filter").help(usual),
        arg("filter-include").help("These as well"),
        arg("filter-exclude").help("But not these"),
    ]
}

impl FromArgMatches for Shown {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Shown, clap::Error> {
        let told = |name: &str| {
            let typed = |name: &str| matches.get_flag(name);
            match (typed(name), typed(&format!("no-{name}"))) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            }
        };
        let on = |name: &str| {
            let default = SHOWN.iter().any(|switch| switch.name == name && switch.default);
            told(name).unwrap_or(default)
        };
        let cmdline = on("show-cmdline");
        // The command line has them in it.
        let beside = |name: &str| told(name).unwrap_or(!cmdline);
        let amount = |all: &str, difference: &str, default| match (told(all), told(difference)) {
            (Some(true), _) => Amount::All,
            (_, Some(true)) => Amount::Difference,
            (None, None) => default,
            _ => Amount::Nothing,
        };
        let env = if cmdline { Amount::Nothing } else { Amount::Difference };
        let format = matches.get_one::<String>("inline-timestamp-format");
        Ok(Shown {
            comm: on("show-comm"),
            filename: beside("show-filename"),
            argv: beside("show-argv"),
            interpreter: on("show-interpreter"),
            cwd: on("show-cwd"),
            env: amount("show-env", "diff-env", env),
            fd: amount("show-fd", "diff-fd", Amount::Difference),
            hide_cloexec_fds: on("hide-cloexec-fds"),
            decode_errno: on("decode-errno"),
            resolve_proc_self_exe: on("resolve-proc-self-exe"),
            cmdline,
            stdio_in_cmdline: on("stdio-in-cmdline"),
            fd_in_cmdline: on("fd-in-cmdline"),
            timestamp: match told("timestamp") {
                Some(false) => later_than_no_timestamp(matches),
                told => told.unwrap_or(format.is_some()),
            },
            timestamp_format: format.map_or("%H:%M:%S", String::as_str).into(),
            colors: match (matches.get_flag("more-colors"), matches.get_flag("less-colors")) {
                (true, _) => Colors::More,
                (_, true) => Colors::Less,
                _ => Colors::Usual,
            },
            kinds: chosen(matches, matches.get_flag("show-all-events"))?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Whether a format was typed after that; it asks for the time.
fn later_than_no_timestamp(matches: &ArgMatches) -> bool {
    let format = "inline-timestamp-format";
    matches.value_source(format) == Some(ValueSource::CommandLine)
        && matches.index_of(format) > matches.index_of("no-timestamp")
}

/// The kinds of lines that are to be shown.
fn chosen(matches: &ArgMatches, all: bool) -> Result<Vec<Kind>, clap::Error> {
    let told = |name: &str| -> Option<Vec<Kind>> {
        matches.get_many(name).map(|kinds| kinds.copied().collect())
    };
    let mut kinds = match told("events") {
        _ if all => Kind::value_variants().to_vec(),
        Some(kinds) => kinds,
        None => vec![Kind::Warning, Kind::Error, Kind::Exec, Kind::TraceeExit],
    };
    let (mut include, mut exclude) = (told("filter-include"), told("filter-exclude"));
    let is_default = |name| matches.value_source(name) == Some(ValueSource::DefaultValue);
    // A default gives way where the other one was typed.
    match (is_default("filter-include"), is_default("filter-exclude")) {
        (true, false) => without(&mut include, exclude.as_deref()),
        (false, true) => without(&mut exclude, include.as_deref()),
        _ => {}
    }
    let (include, exclude) = (include.unwrap_or_default(), exclude.unwrap_or_default());
    if let Some(both) = include.iter().find(|kind| exclude.contains(kind)) {
        let message = format!("{both} is both included and excluded");
        return Err(clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message + "\n"));
    }
    kinds.extend(include);
    kinds.retain(|kind| !exclude.contains(kind));
    Ok(kinds)
}

/// Takes out what is among the others.
fn without(kinds: &mut Option<Vec<Kind>>, others: Option<&[Kind]>) {
    if let (Some(kinds), Some(others)) = (kinds, others) {
        kinds.retain(|kind| !others.contains(kind));
    }
}

impl Shown {
    pub fn shows(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(options: &[&str]) -> Result<Shown, clap::Error> {
        let command = Shown::augment_args(Command::new("log").args_override_self(true));
        let words = [&["log"], options].concat();
        Shown::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn the_last_of_two_forms_holds() {
        let usual = shown(&[]).unwrap();
        assert!(usual.argv && usual.comm && usual.interpreter && !usual.cwd && !usual.timestamp);
        let off =
            shown(&["--show-cwd", "--no-show-argv", "--no-show-cwd", "--no-show-comm"]).unwrap();
        assert!(!off.argv && !off.cwd && !off.comm);
        let on = shown(&["--no-show-argv", "--show-argv", "--no-show-cwd", "--show-cwd"]).unwrap();
        assert!(on.argv && on.cwd);
    }

    #[test]
    fn a_format_and_its_opposite_are_taken_in_their_order() {
        let timestamp = |options: &[&str]| shown(options).unwrap().timestamp;
        let (format, no) = ("--inline-timestamp-format=%s", "--no-timestamp");
        assert!(timestamp(&[format]) && timestamp(&[no, format]));
        assert!(!timestamp(&[no]) && !timestamp(&[format, no]));
    }

    #[test]
    fn whole_and_difference_take_each_other_s_place() {
        let env = |options: &[&str]| shown(options).unwrap().env;
        assert_eq!(env(&[]), Amount::Difference);
        assert_eq!(env(&["--show-env"]), Amount::All);
        assert_eq!(env(&["--show-env", "--diff-env"]), Amount::Difference);
        assert_eq!(env(&["--diff-env", "--show-env", "--no-diff-env"]), Amount::All);
        assert_eq!(env(&["--no-show-env"]), Amount::Nothing);
        assert_eq!(env(&["--no-diff-env"]), Amount::Nothing);
        assert_eq!(env(&["--show-env", "--no-show-env"]), Amount::Nothing);
    }

    #[test]
    fn a_command_line_stands_for_what_is_in_it_unless_that_is_asked_for() {
        let cmdline = shown(&["--show-cmdline", "--show-argv"]).unwrap();
        assert!(cmdline.argv && !cmdline.filename && cmdline.env == Amount::Nothing);
        assert_eq!(cmdline.fd, Amount::Difference);
    }

    #[test]
    fn kinds_are_chosen_included_and_excluded() {
        let kinds = |options: &[&str]| shown(options).unwrap().kinds;
        assert_eq!(kinds(&["--filter", "exec,info"]), [Kind::Exec, Kind::Info]);
        assert_eq!(kinds(&["--filter=exec", "--events=info"]), [Kind::Exec, Kind::Info]);
        let some = ["--events=exec", "--filter-include=new-child,info", "--filter-exclude=exec"];
        assert_eq!(kinds(&some), [Kind::NewChild, Kind::Info]);
        assert_eq!(kinds(&["--show-all-events", "--filter-exclude=info"]).len(), 6);
        assert!(shown(&["--filter-include=exec", "--filter-exclude=exec"]).is_err());
        assert!(shown(&["--events=exce"]).is_err());
    }

    #[test]
    fn a_format_of_the_time_asks_for_it() {
        let times = shown(&["--inline-timestamp-format", "%T"]).unwrap();
        assert_eq!((times.timestamp, times.timestamp_format.as_str()), (true, "%T"));
        assert!(!shown(&["--inline-timestamp-format=%T", "--no-timestamp"]).unwrap().timestamp);
        assert!(shown(&["--inline-timestamp-format", "%Q"]).is_err());
    }
}
