//! `log` and `collect`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::cli::trace::{Collect, Form, Format, Log, Traced};
use crate::cli::{Backend, Global};
use crate::config;
use crate::escape;
use crate::event::Wanted;
use crate::filter::{Filter, SystemNames};
use crate::report::{Report, Trouble};
use crate::trace::compile::{CompileCommands, Sources};
use crate::trace::html::Html;
use crate::trace::journald::{self, Journal};
use crate::trace::json::{Document, Lines};
use crate::trace::log::{self, Paint};
use crate::trace::output::{Kind, Output};
use crate::trace::perfetto::Perfetto;
use crate::trace::session::{self, Config};
use crate::trace::{Sink, source};

pub fn log(options: Log, global: &Global, report: Report) -> Result<u8, Trouble> {
    let mut wanted = log::wanted(&options.shown);
    if options.journal {
        // Its fields are more than a line.
        wanted = Wanted { exe: true, cwd: true, cgroup: true, owner: true, ..wanted };
    }
    let config = traced(options.traced, global, wanted)?;
    let opened = match (&options.output, options.rotate) {
        (Some(path), Some(most)) => log::Output::rotating(path, most, options.keep),
        (path, _) => log::Output::open(path.as_deref()),
    };
    let output = opened.map_err(|error| {
        let path = options.output.unwrap_or_default();
        let path = escape::word(path.as_os_str().as_encoded_bytes());
        Trouble::new(format!("cannot write to {path}: {error}"))
            .hint("-o names the file, - is standard output")
    })?;
    let colors = global.color.wanted(output.stream()) && !options.journal;
    let colors = colors.then_some(options.shown.colors);
    let mut sink = log::Log::new(options.shown, Paint(colors), output);
    if options.journal {
        sink = sink.into_journal(journal()?);
    }
    session::run(&config, &mut sink, report)
}

/// The journal of systemd.
fn journal() -> Result<Journal, Trouble> {
    Journal::connect(Path::new(journald::SOCKET)).map_err(|error| {
        Trouble::new(format!("--journal: cannot reach {}: {error}", journald::SOCKET))
            .hint("is systemd-journald there? Without it, -o FILE --rotate SIZE keeps a log of limited size")
    })
}

pub fn collect(collect: Collect, global: &Global, report: Report) -> Result<u8, Trouble> {
    let Collect { traced: what, format, output, form } = collect;
    form.check(Some(format))?;
    let config = traced(what, global, wanted(format))?;
    let path = output.unwrap_or_else(|| format.file_name().into());
    let mut output = Output::open(&path, kind(format))?;
    let run = {
        let mut sink = sink(format, &mut output, &form, Sources::Present);
        session::run(&config, sink.as_mut(), report)
    };
    // A page that was cut off shows what it has, and says so.
    if run.is_ok() || format == Format::Html {
        output.complete()?;
    }
    run
}

impl Form {
    /// Whether it is one of this format.
    pub(super) fn check(&self, format: Option<Format>) -> Result<(), Trouble> {
        if self.pretty && format != Some(Format::Json) {
            return Err(Trouble::new("--pretty is for --format json"));
        }
        Ok(())
    }
}

/// What a format has a place for.
fn wanted(format: Format) -> Wanted {
    match format {
        Format::CompileCommands => {
            let less = Wanted { fds: false, fd_details: false, cgroup: false, ..Wanted::ALL };
            Wanted { owner: false, ids: false, failures: false, ..less }
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
) -> Box<dyn Sink + 'a> {
    match format {
        Format::Json => Box::new(Document::new(output, form.env, form.pretty)),
        Format::JsonStream => Box::new(Lines::new(output, form.env)),
        Format::Perfetto => Box::new(Perfetto::new(output)),
        Format::CompileCommands => Box::new(CompileCommands::new(output, sources)),
        Format::Html => Box::new(Html::new(output)),
    }
}

/// What is to be traced.
fn traced(traced: Traced, global: &Global, wanted: Wanted) -> Result<Config, Trouble> {
    if traced.system && traced.backend == Backend::Ptrace {
        return Err(Trouble::new("--system needs eBPF: ptrace sees COMMAND's tree only")
            .hint("leave --backend ptrace away, and run it as root"));
    }
    Ok(Config {
        filter: filter(&traced.matches)?.map(Arc::new),
        wanted: Wanted { failures: wanted.failures && !traced.successful_only, ..wanted },
        backend: source::backend(&traced)?,
        system: traced.system,
        pids: traced.pids,
        seccomp: traced.seccomp_bpf,
        command: traced.command,
        identity: config::identity(global)?,
    })
}

/// The filter that was typed, if one was.
pub(super) fn filter(matches: &[OsString]) -> Result<Option<Filter>, Trouble> {
    let expressions: Vec<&[u8]> = matches.iter().map(|m| m.as_bytes()).collect();
    let filter =
        (!expressions.is_empty()).then(|| Filter::new(&expressions, Arc::new(SystemNames)));
    filter.transpose().map_err(|error| {
        Trouble::new(format!("-m: {error}")).hint("tracexec-filter(7) describes the language")
    })
}
