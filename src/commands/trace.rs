//! `log` and `collect`.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use clap::builder::PossibleValue;
use clap::{ArgMatches, ValueEnum};

use crate::cli::trace::{Collect, Form, Format, Log, Traced};
use crate::cli::{Backend, Global};
use crate::debug::config;
use crate::event::Wanted;
use crate::filter::{Filter, SystemNames};
use crate::text::escape;
use crate::text::report::{Report, Trouble};
use crate::trace::session::{self, Config};
use crate::trace::sinks::compile::{Before, CompileCommands, Sources};
use crate::trace::sinks::html::Html;
use crate::trace::sinks::journald::{self, Journal};
use crate::trace::sinks::json::{Document, Lines};
use crate::trace::sinks::log::{self, Paint};
use crate::trace::sinks::output::{Kind, Output};
use crate::trace::sinks::perfetto::Perfetto;
use crate::trace::{Sink, front, source};

pub fn log(options: Log, global: &Global, report: Report) -> Result<u8, Trouble> {
    let mut wanted = log::wanted(&options.shown);
    if options.journal {
        // Its fields are more than a line.
        wanted = Wanted { exe: true, cwd: true, cgroup: true, owner: true, ..wanted };
    }
    let config = traced(options.traced, global, wanted)?;
    let output = match (&options.output, options.rotate) {
        (Some(path), Some(most)) => log::Output::rotating(path, most, options.keep),
        (path, _) => log::Output::open(path.as_deref()),
    }?;
    let colors = global.color.wanted_on(output.is_terminal()) && !options.journal;
    let colors = colors.then_some(options.shown.colors);
    let mut sink = log::Log::new(options.shown, Paint(colors), output);
    if options.journal {
        sink = sink.into_journal(journal()?);
    }
    let outlet = sink.in_background().map_err(no_thread)?;
    session::run(&config, (&mut sink, outlet), report)
}

fn no_thread(error: io::Error) -> Trouble {
    Trouble::new(format!("cannot start the thread that writes: {error}"))
}

/// The journal of systemd.
fn journal() -> Result<Journal, Trouble> {
    Journal::connect(Path::new(journald::SOCKET)).map_err(|error| {
        Trouble::new(format!("--journal: cannot reach {}: {error}", journald::SOCKET))
            .hint("is systemd-journald there? Without it, -o FILE --rotate SIZE keeps a log of limited size")
    })
}

/// `matches` are those of the subcommand.
pub fn collect(
    collect: Collect,
    global: &Global,
    matches: &ArgMatches,
    report: Report,
) -> Result<u8, Trouble> {
    let Collect { traced: what, format, output, mut form } = collect;
    let format = format.ok_or_else(|| {
        Trouble::new("collect writes a file, and nothing says of which format").hint(
            "-F json, json-stream, perfetto, compile-commands or html; tracexec-config(5) has a default for it",
        )
    })?;
    form.fit(format, matches);
    form.check(Some(format))?;
    let config = traced(what, global, wanted(format))?;
    let path = output.unwrap_or_else(|| format.file_name().into());
    let mut output = Output::open(&path, kind(format))?;
    format.check(&output)?;
    let run = {
        let outlet = output.in_background().map_err(no_thread)?;
        let mut sink = sink(format, &mut output, &form, Sources::Present)?;
        session::run(&config, (sink.as_mut(), outlet), report)
    };
    // A page that was cut off shows what it has, and says so.
    if run.is_ok() || format == Format::Html {
        output.complete()?;
        return run;
    }
    run.map_err(|trouble| match output.keep() {
        Some(path) => trouble.hint(format!(
            "what was written before is kept in {}",
            escape::word(path.as_os_str().as_bytes())
        )),
        None => trouble,
    })
}

impl Format {
    /// Whether it can go there.
    pub(super) fn check(self, output: &Output) -> Result<(), Trouble> {
        if !self.is_for_programs() || !output.is_terminal() {
            return Ok(());
        }
        let value = self.to_possible_value();
        let name = value.as_ref().map(PossibleValue::get_name).unwrap_or_default();
        Err(Trouble::new(format!("--format {name} is nothing for a terminal"))
            .hint("name a file with -o, or redirect standard output"))
    }
}

impl Form {
    /// Whether it is one of this format; `None` is a summary.
    pub(super) fn check(&self, format: Option<Format>) -> Result<(), Trouble> {
        if self.pretty && format != Some(Format::Json) {
            return Err(Trouble::new("--pretty is for --format json").hint("leave it away"));
        }
        if self.fresh && format != Some(Format::CompileCommands) {
            return Err(Trouble::new("--fresh is for --format compile-commands").hint("omit it"));
        }
        let hint = match format {
            _ if self.env.is_none() => return Ok(()),
            Some(Format::Json | Format::JsonStream) => return Ok(()),
            Some(Format::Perfetto | Format::Html) => {
                "leave it away: environments are shown there as differences to that of COMMAND"
            }
            Some(Format::CompileCommands) => "leave it away: no environment is written there",
            None => "leave it away: a summary has no environments",
        };
        Err(Trouble::new("--env is for --format json and json-stream").hint(hint))
    }
}

/// What a format has a place for.
fn wanted(format: Format) -> Wanted {
    match format {
        Format::CompileCommands => {
            let less = Wanted { fds: false, fd_details: false, cgroup: false, ..Wanted::ALL };
            Wanted { owner: false, ids: false, failures: false, view: true, ..less }
        }
        _ => Wanted::ALL,
    }
}

/// How a file of this format comes to be.
fn kind(format: Format) -> Kind {
    match format {
        Format::Json | Format::Perfetto | Format::CompileCommands | Format::Html => Kind::Whole,
        Format::JsonStream => Kind::Growing,
    }
}

/// What writes it.
pub(super) fn sink<'a>(
    format: Format,
    output: &'a mut Output,
    form: &Form,
    sources: Sources,
) -> Result<Box<dyn Sink + 'a>, Trouble> {
    let env = form.env.unwrap_or_default();
    Ok(match format {
        Format::Json => Box::new(Document::new(output, env, form.pretty)),
        Format::JsonStream => Box::new(Lines::new(output, env)),
        Format::Perfetto => Box::new(Perfetto::new(output)),
        Format::CompileCommands => {
            let before = Before::read(output.replaces(), form.fresh)?;
            Box::new(CompileCommands::new(output, sources, before))
        }
        Format::Html => Box::new(Html::new(output)),
    })
}

/// What is to be traced.
fn traced(traced: Traced, global: &Global, wanted: Wanted) -> Result<Config, Trouble> {
    if traced.system && traced.backend == Backend::Ptrace {
        return Err(Trouble::new("--system needs eBPF: ptrace sees COMMAND's tree only")
            .hint("leave --backend ptrace away, and run it as root"));
    }
    let config = Config {
        filter: filter(&traced.matches)?.map(Arc::new),
        wanted: Wanted { failures: wanted.failures && !traced.successful_only, ..wanted },
        backend: source::backend(&traced)?,
        system: traced.system,
        pids: traced.pids,
        seccomp: traced.seccomp_bpf,
        command: traced.command,
        identity: config::identity(global)?,
    };
    // Before there are threads, and before there are files that are to be removed in the end.
    if source::may_filter(&config) {
        front::split();
    }
    Ok(config)
}

/// The filter that was typed, if one was.
pub(super) fn filter(matches: &[OsString]) -> Result<Option<Filter>, Trouble> {
    let expressions: Vec<&[u8]> = matches.iter().map(|m| m.as_bytes()).collect();
    let filter =
        (!expressions.is_empty()).then(|| Filter::of_records(&expressions, Arc::new(SystemNames)));
    filter.transpose().map_err(config::misunderstood)
}
