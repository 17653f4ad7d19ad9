//! The subcommands: each is handed what was typed, and gives the status to exit with.

pub mod complete;
pub mod doctor;
mod fit;
mod report;
mod rerun;
pub mod suggest;
mod trace;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{ArgMatches, FromArgMatches, ValueEnum};
use nix::unistd::Uid;

use crate::cli::settings::{self, Settings};
use crate::cli::{self, Cli, Command};
use crate::debug::config;
use crate::debug::repro;
use crate::debug::session;
use crate::launcher::catalog::{self, Catalog};
use crate::launcher::control::{self, Reply, Request, SessionState};
use crate::launcher::{editor, relay, shim};
use crate::linux::sys;
use crate::machine::elevate;
use crate::source::guardian;
use crate::text::escape;
use crate::text::report::{self as messages, Color, Report, Trouble};
use crate::trace::front;

/// The status of an error of our own, as env(1) and its kin have it.
const OWN_ERROR: u8 = 125;

/// clap repeats what was typed as it is.
fn print_error(error: &clap::Error) {
    let text = error.render().to_string();
    let _ = match escape::lines(&text) {
        Cow::Borrowed(_) => error.print(),
        Cow::Owned(harmless) => io::stderr().write_all(harmless.as_bytes()),
    };
}

/// Parses the command line and does what it says.
pub fn run() -> u8 {
    complete::answer();
    let matches = match cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            if !error.use_stderr() {
                // Help, or the version.
                return error.print().map_or_else(written, |()| print(b"")).unwrap_or_else(
                    |trouble| {
                        Report::new(Color::Auto, 0).error(&trouble);
                        OWN_ERROR
                    },
                );
            }
            print_error(&error);
            let line: Vec<OsString> = std::env::args_os().collect();
            if let Some(meant) = suggest::line_with_command(&error, &line) {
                Report::new(Color::Auto, 0).hint(format!("COMMAND comes after `--`: {meant}"));
            }
            return OWN_ERROR;
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            print_error(&error);
            return OWN_ERROR;
        }
    };
    let mut report = Report::new(cli.global.color, cli.global.verbose);
    let status = dispatch(cli, &matches, &mut report).unwrap_or_else(|trouble| {
        report.error(&trouble);
        if let Some(hint) = &trouble.hint {
            report.hint(hint);
        }
        OWN_ERROR
    });
    messages::flush();
    front::leave(status);
    status
}

fn dispatch(cli: Cli, matches: &ArgMatches, report: &mut Report) -> Result<u8, Trouble> {
    let global = cli.global;
    match &global.elevated {
        Some(elevated) => elevated.dress()?,
        None if global.elevate && !Uid::effective().is_root() => return Err(elevate::by_sudo()),
        None => {}
    }
    config::change_directory(global.directory.as_ref())?;
    match cli.command {
        Command::Debug(_) => debug(&global, matches, None, report),
        Command::Log(_) | Command::Collect(_) => trace(&global, matches, report),
        Command::Report(on) => report::report(on, *report),
        Command::Rerun(rerun) => {
            let matches = matches.subcommand_matches("rerun").unwrap_or(matches);
            let line = rerun::command_line(&rerun.folder, matches)?;
            let matches = cli::command().try_get_matches_from(&line).map_err(no_line)?;
            debug(&global, &matches, Some(&line), report)
        }
        Command::Again { folder } => Err(repro::run_again(&folder, *report)),
        Command::Config => show_config(&global, matches),
        Command::Ps => ps(*report),
        Command::Release(release) => self::release(&release, *report),
        Command::Templates(templates) => match templates.what {
            None => list_templates(),
            Some(cli::TemplatesCommand::Show { name }) => show_template(&name),
        },
        Command::Doctor => {
            let (color, trouble) = match settings(&global, matches, None) {
                Ok((_, cli, _)) => (cli.global.color, None),
                Err(trouble) => (global.color, Some(trouble)),
            };
            let diagnosis = doctor::run(color, trouble);
            print(diagnosis.text.as_bytes())?;
            Ok(diagnosis.status)
        }
        Command::GenerateCompletions { shell } => {
            let shell = shell.to_possible_value();
            print(&complete::script(shell.as_ref().map_or("", |shell| shell.get_name()))?)
        }
        Command::Shim { socket, hit } => shim::run(&socket, hit).map(|()| 0),
        Command::ShimHere { socket, hit } => relay::run(&socket, hit).map(|()| 0),
        Command::Guardian { stopped, switch } => guardian::run(stopped.zip(switch))
            .map(|()| 0)
            .map_err(|error| Trouble::new(format!("the guardian failed: {error}"))),
    }
}

/// What we have looked at already, or put together ourselves, is no command line.
fn no_line(error: clap::Error) -> Trouble {
    Trouble::new(error.to_string())
}

/// The settings that hold beside what was typed, and the command line with them as its defaults. `line`
/// stands for our own command line.
fn settings(
    global: &cli::Global,
    typed: &ArgMatches,
    line: Option<&[OsString]>,
) -> Result<(Settings, Cli, ArgMatches), Trouble> {
    let (settings, _) = Settings::load(global)?;
    let (name, of_subcommand) = typed.subcommand().unwrap_or(("", typed));
    let settings = settings.of(name).without_typed(|id| settings::typed(of_subcommand, id));
    let command = settings.as_defaults(cli::command());
    // Each value has been looked at, so that this cannot fail.
    let matches = match line {
        None => command.try_get_matches(),
        Some(line) => command.try_get_matches_from(line),
    };
    let matches = matches.map_err(no_line)?;
    let cli = Cli::from_arg_matches(&matches).map_err(no_line)?;
    Ok((settings, cli, matches))
}

fn debug(
    global: &cli::Global,
    typed: &ArgMatches,
    line: Option<&[OsString]>,
    report: &mut Report,
) -> Result<u8, Trouble> {
    let (settings, cli, matches) = settings(global, typed, line)?;
    *report = Report::new(cli.global.color, cli.global.verbose);
    let Command::Debug(debug) = cli.command else { return Ok(OWN_ERROR) };
    let matches = matches.subcommand_matches("debug").unwrap_or(&matches);
    let config = config::Session::new(*debug, &cli.global, matches)
        .map_err(|trouble| settings.explain(trouble))?;
    session::run(config, *report)
}

/// `log` and `collect`.
fn trace(global: &cli::Global, typed: &ArgMatches, report: &mut Report) -> Result<u8, Trouble> {
    let (settings, cli, matches) = settings(global, typed, None)?;
    *report = Report::new(cli.global.color, cli.global.verbose);
    let matches = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let done = match cli.command {
        Command::Log(mut log) => {
            log.traced.fit(matches);
            trace::log(*log, &cli.global, *report)
        }
        Command::Collect(mut collect) => {
            collect.traced.fit(matches);
            trace::collect(*collect, &cli.global, matches, *report)
        }
        _ => Ok(OWN_ERROR),
    };
    done.map_err(|trouble| settings.explain(trouble))
}

fn show_config(global: &cli::Global, matches: &ArgMatches) -> Result<u8, Trouble> {
    let matches = matches.subcommand_matches("config").unwrap_or(matches);
    let (settings, state) = Settings::load(global)?;
    let settings = settings.without_typed(|id| settings::typed(matches, id));
    print(settings::show(&settings, &state, matches).as_bytes())
}

/// Writes to standard output. A reader that has gone away is no error.
fn print(text: &[u8]) -> Result<u8, Trouble> {
    if sys::was_closed(libc::STDOUT_FILENO) {
        return Err(Trouble::new("cannot write to standard output: it is closed"));
    }
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) => written(error),
        Ok(()) => Ok(0),
    }
}

/// What an error of standard output means.
fn written(error: io::Error) -> Result<u8, Trouble> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(0),
        _ => Err(Trouble::new(format!("cannot write to standard output: {error}"))),
    }
}

fn ps(report: Report) -> Result<u8, Trouble> {
    let mut text = String::new();
    let (replies, silent) = control::ask_all(&Request::Ps)?;
    for reply in replies {
        if let Reply::Session(state) = reply {
            show_session(&mut text, &state);
        }
    }
    print(text.as_bytes())?;
    Ok(do_not_answer(report, &silent))
}

/// Says which sessions did not answer; the status to exit with.
fn do_not_answer(report: Report, silent: &[PathBuf]) -> u8 {
    for path in silent {
        let path = escape::word(path.as_os_str().as_encoded_bytes());
        report.warn(format!("the session behind {path} does not answer"));
    }
    u8::from(!silent.is_empty())
}

fn show_session(text: &mut String, state: &SessionState) {
    text.push_str(&format!(
        "session {}: {} ({} execs seen)\n",
        state.pid, state.command, state.execs
    ));
    for hit in &state.hits {
        let debugger = hit.debugger.map(|pid| format!(" (debugger {pid})")).unwrap_or_default();
        text.push_str(&format!("  {:>8} {:<8} {}{debugger}\n", hit.pid, hit.stage, hit.line));
    }
}

fn release(release: &cli::Release, report: Report) -> Result<u8, Trouble> {
    let mut released = Vec::new();
    let (replies, silent) = control::ask_all(&Request::Release(release.pid))?;
    let silent = do_not_answer(report, &silent);
    for reply in replies {
        match reply {
            Reply::Released(pids) => released.extend(pids),
            Reply::Refused(why) => {
                return Err(
                    Trouble::new(why).hint("end or detach the debugger: the process then runs on")
                );
            }
            _ => {}
        }
    }
    if let Some(pid) = release.pid
        && released.is_empty()
    {
        return Err(Trouble::new(format!("no session holds process {pid}"))
            .hint("`tracexec ps` lists what is held; sessions of root are seen by root"));
    }
    let lines: String = released.iter().map(|pid| format!("released {pid}\n")).collect();
    print(lines.as_bytes())?;
    Ok(silent)
}

fn list_templates() -> Result<u8, Trouble> {
    let catalog = Catalog::load()?;
    let mut text = String::from("debuggers (--debugger)\n");
    for entry in &catalog.debuggers {
        let template = &entry.template;
        let missing = catalog::Programs::of(template).missing;
        show_entry(&mut text, &template.name, &template.description, &entry.origin, &missing);
    }
    text.push_str("places (--in), beside auto\n");
    let vscode = "VS Code, by its launch.json, see tracexec-debug(1)";
    show_entry(&mut text, editor::VSCODE, vscode, catalog::BUILT_IN_ORIGIN, &[]);
    for entry in &catalog.terminals {
        let template = &entry.template;
        let (_, missing) = catalog::look_up(&[], &template.needs);
        let untried = if template.tried { "" } else { "; not tried" };
        let origin = format!("{}{untried}", entry.origin);
        show_entry(&mut text, &template.name, &template.description, &origin, &missing);
    }
    print(text.as_bytes())
}

fn show_entry(text: &mut String, name: &str, description: &str, origin: &str, missing: &[String]) {
    let lack = match missing {
        [] => String::new(),
        missing => format!("; not installed: {}", missing.join(", ")),
    };
    let line = format!("{name:<19} {description} [{origin}{lack}]");
    text.push_str(&format!("  {}\n", escape::text(line.as_bytes())));
}

fn show_template(name: &str) -> Result<u8, Trouble> {
    let catalog = Catalog::load()?;
    let debugger = catalog.debuggers.iter().find(|entry| entry.template.name == name);
    let terminal = catalog.terminals.iter().find(|entry| entry.template.name == name);
    let text = debugger.map(|entry| &entry.text).or(terminal.map(|entry| &entry.text));
    match text {
        // Elsewhere than on a terminal it is the file, byte for byte.
        Some(text) if io::stdout().is_terminal() => print(escape::lines(text).as_bytes()),
        Some(text) => print(text.as_bytes()),
        None if name == editor::VSCODE => {
            Err(Trouble::new(format!("{name} is a place, but no template"))
                .hint("tracexec-debug(1) describes it under EDITORS"))
        }
        None => {
            Err(Trouble::new(format!("there is no template {}", escape::word(name.as_bytes())))
                .hint("`tracexec templates` lists them"))
        }
    }
}
