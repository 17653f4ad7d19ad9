//! What a shell offers when Tab is pressed: beside options the words that only we know of, fields of the filter
//! language, templates, processes.
//!
//! The shell's script asks us each time, by the variable [`VARIABLE`].

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli;
use crate::filter;
use crate::launcher::catalog::Catalog;
use crate::launcher::control::{self, Reply, Request};
use crate::launcher::editor;
use crate::linux::sys::Pid;
use crate::machine::procfs;
use crate::text::escape;
use crate::text::report::Trouble;

/// By which the shell's script asks.
const VARIABLE: &str = "TRACEXEC_COMPLETE";
/// Whether the shell that asks compares what comes with the word as it was typed: only bash does so with the quote.
static KEEPS_QUOTES: OnceLock<bool> = OnceLock::new();
/// How much of a process's command line is shown beside its number, in columns.
const LINE: usize = 60;

/// Answers a shell, and does not return, if one asks.
pub fn answer() {
    let shell = std::env::var_os(VARIABLE);
    let _ = KEEPS_QUOTES.set(shell.is_none_or(|shell| shell == "bash"));
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The script by which a shell asks.
pub fn script(shell: &str) -> Result<Vec<u8>, Trouble> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer =
        shells.completer(shell).ok_or_else(|| Trouble::new(format!("{shell} is no shell")))?;
    completer
        .write_registration(VARIABLE, "tracexec", "tracexec", "tracexec", &mut script)
        .map_err(|error| Trouble::new(format!("cannot make the script: {error}")))?;
    Ok(script)
}

/// The command line with what is offered for its values.
fn command() -> clap::Command {
    let mut command = cli::command();
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_string()).collect();
    for name in names {
        command = command.mut_subcommand(name, with_values);
    }
    command
}

fn with_values(mut command: clap::Command) -> clap::Command {
    if std::env::args_os().any(|word| word.as_bytes().starts_with(b"--no")) {
        // They are left out of --help, and who begins to write one looks for them.
        let negates = |arg: &clap::Arg| arg.get_long().is_some_and(|long| long.starts_with("no-"));
        command = command.mut_args(|arg| if negates(&arg) { arg.hide(false) } else { arg });
    }
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    for id in ids {
        let release = command.get_name() == "release";
        let offer: fn(&OsStr) -> Vec<CompletionCandidate> = match id.as_str() {
            "matches" => expressions,
            "debugger" => debuggers,
            "place" => places,
            "pid" if release => hits,
            "pid" | "pids" => processes,
            _ => continue,
        };
        command = command.mut_arg(id, |arg| arg.add(ArgValueCompleter::new(offer)));
    }
    if command.get_name() == "templates" {
        command = command.mut_subcommand("show", |show| {
            show.mut_arg("name", |arg| arg.add(ArgValueCompleter::new(templates)))
        });
    }
    command
}

/// Those words that go on where the typed one ends, with what stands before it.
fn beginning<'a>(
    typed: &OsStr,
    words: impl IntoIterator<Item = (&'a str, String)>,
) -> Vec<CompletionCandidate> {
    let fits = |word: &str| word.as_bytes().starts_with(typed.as_bytes());
    let words = words.into_iter().filter(|(word, _)| fits(word));
    words.map(|(word, help)| CompletionCandidate::new(word).help(Some(help.into()))).collect()
}

/// What may stand at the end of an expression.
fn expressions(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.as_bytes();
    // Some shells hand over the quote that is open.
    let quote = typed.iter().take_while(|byte| matches!(byte, b'\'' | b'"')).count();
    let (before, words) = filter::continuations(&typed[quote..]);
    let begin = if KEEPS_QUOTES.get() == Some(&false) { quote } else { 0 };
    let candidate = |word: &&str| {
        let text = [&typed[begin..quote + before], word.as_bytes()].concat();
        CompletionCandidate::new(OsString::from(OsStr::from_bytes(&text)))
    };
    words.iter().map(candidate).collect()
}

fn debuggers(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Ok(catalog) = Catalog::load() else { return Vec::new() };
    let found = catalog.debuggers.iter().map(|entry| &entry.template);
    let words = found.map(|template| (template.name.as_str(), template.description.clone()));
    beginning(typed, words.chain([("auto", "by the program".to_string())]))
}

fn places(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Ok(catalog) = Catalog::load() else { return Vec::new() };
    let found = catalog.terminals.iter().map(|entry| &entry.template);
    let words = found.map(|template| (template.name.as_str(), template.description.clone()));
    let own = [("auto", "by the terminal".into()), (editor::VSCODE, "VS Code".into())];
    beginning(typed, words.chain(own))
}

fn templates(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Ok(catalog) = Catalog::load() else { return Vec::new() };
    let debuggers = catalog.debuggers.iter().map(|entry| &entry.template);
    let debuggers = debuggers.map(|found| (found.name.as_str(), found.description.clone()));
    let terminals = catalog.terminals.iter().map(|entry| &entry.template);
    let terminals = terminals.map(|found| (found.name.as_str(), found.description.clone()));
    beginning(typed, debuggers.chain(terminals))
}

/// The processes of the machine, with what they execute; the kernel's threads left out.
fn processes(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<Pid>().ok()) else { continue };
        if !name.as_bytes().starts_with(typed.as_bytes()) || pid == std::process::id() as Pid {
            continue;
        }
        let line = procfs::read(pid, "cmdline").unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        let argv = crate::event::Strings::from_block(line);
        let help = escape::command_line(&argv, LINE);
        found.push((pid, CompletionCandidate::new(name).help(Some(help.into()))));
    }
    found.sort_by_key(|(pid, _)| *pid);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The matches that wait in running sessions.
fn hits(typed: &OsStr) -> Vec<CompletionCandidate> {
    let (replies, _) = control::ask_all(&Request::Ps).unwrap_or_default();
    let mut words = Vec::new();
    for reply in replies {
        if let Reply::Session(state) = reply {
            words.extend(state.hits.iter().map(|hit| (hit.pid.to_string(), hit.line.clone())));
        }
    }
    beginning(typed, words.iter().map(|(pid, command)| (pid.as_str(), command.clone())))
}
