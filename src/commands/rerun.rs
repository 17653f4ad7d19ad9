//! `tracexec rerun`: a session whose COMMAND is ourselves, who become the saved program; that exec is the match.

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;

use crate::cli;
use crate::cli::settings;
use crate::debug::repro::{self, Repro};
use crate::text::report::Trouble;

/// The options that every subcommand has.
const GLOBAL: [&str; 5] = ["user", "color", "verbose", "config", "no_config"];

/// The command line of `debug` that does it. -C has been done.
pub fn command_line(folder: &Path, matches: &ArgMatches) -> Result<Vec<OsString>, Trouble> {
    // What is wrong with it is to be known now.
    Repro::load(folder)?;
    let own = std::env::current_exe()
        .map_err(|error| Trouble::new(format!("cannot find our own program: {error}")))?;
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let mut line: Vec<OsString> = vec!["tracexec".into(), "debug".into()];
    line.extend(options(matches));
    // The first exec of this very process is ours, the second the program's.
    line.extend(["-m", "depth=0", "--skip", "1", "--once", "--"].map(OsString::from));
    line.extend(repro::command(&own, &folder));
    Ok(line)
}

/// What was typed, in its order.
fn options(matches: &ArgMatches) -> Vec<OsString> {
    let command = cli::command();
    let Some(rerun) = command.find_subcommand("rerun") else { return Vec::new() };
    let known = |id: &str| {
        rerun.get_arguments().chain(command.get_arguments()).find(|arg| arg.get_id() == id)
    };
    let mut words: Vec<(usize, Vec<OsString>)> = Vec::new();
    for &id in cli::RERUN.iter().chain(&GLOBAL).filter(|id| settings::typed(matches, id)) {
        let Some(arg) = known(id) else { continue };
        let name = arg.get_long().map(|long| format!("--{long}"));
        let name = name.or(arg.get_short().map(|short| format!("-{short}"))).unwrap_or_default();
        let indices = matches.indices_of(id).into_iter().flatten();
        if !arg.get_action().takes_values() {
            let times = if id == "verbose" { matches.get_count(id) } else { 1 };
            words.extend((0..times).map(|_| (0, vec![OsString::from(&name)])));
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        for (index, value) in indices.zip(values) {
            let mut word = OsString::from(&name);
            if arg.get_long().is_some() {
                word.push("=");
            }
            word.push(value);
            words.push((index, vec![word]));
        }
    }
    words.sort_by_key(|(index, _)| *index);
    words.into_iter().flat_map(|(_, words)| words).collect()
}
