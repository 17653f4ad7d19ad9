//! `log` and `collect`.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::cli::trace::{Collect, Format, Log, Traced};
use crate::cli::{Backend, Global};
use crate::config;
use crate::event::{TraceEvent, Wanted};
use crate::filter::{Filter, SystemNames};
use crate::report::{Report, Trouble};
use crate::trace::html::Html;
use crate::trace::session::{self, Config};
use crate::trace::{About, End, Sink};

pub fn log(log: Log, global: &Global, report: Report) -> Result<u8, Trouble> {
    let config = traced(log.traced, global, Wanted::ALL)?;
    session::run(&config, &mut Raw, report)
}

pub fn collect(collect: Collect, global: &Global, report: Report) -> Result<u8, Trouble> {
    let config = traced(collect.traced, global, Wanted::ALL)?;
    match collect.format {
        Format::Html => {
            let path = collect.output.unwrap_or_else(|| "tracexec.html".into());
            session::run(&config, &mut Html::create(&path)?, report)
        }
        Format::Json | Format::JsonStream => session::run(&config, &mut Raw, report),
    }
}

/// What is to be traced.
fn traced(traced: Traced, global: &Global, wanted: Wanted) -> Result<Config, Trouble> {
    if traced.system && traced.backend == Backend::Ptrace {
        return Err(Trouble::new("--system needs eBPF: ptrace sees COMMAND's tree only")
            .hint("leave --backend ptrace away, and run it as root"));
    }
    let expressions: Vec<&[u8]> = traced.matches.iter().map(|m| m.as_bytes()).collect();
    let filter = (!expressions.is_empty())
        .then(|| Filter::new(&expressions, Arc::new(SystemNames)))
        .transpose()
        .map_err(|error| {
            Trouble::new(format!("-m: {error}")).hint("tracexec-filter(7) describes the language")
        })?;
    Ok(Config {
        filter: filter.map(Arc::new),
        wanted: Wanted { failures: wanted.failures && !traced.successful_only, ..wanted },
        backend: traced.backend,
        system: traced.system,
        command: traced.command,
        identity: config::identity(global)?,
    })
}

/// The events as they are, for those who work on tracexec.
struct Raw;

impl Sink for Raw {
    fn begin(&mut self, about: &About) -> std::io::Result<()> {
        eprintln!("{about:?}");
        Ok(())
    }
    fn event(&mut self, event: &TraceEvent) -> std::io::Result<()> {
        eprintln!("{event:?}");
        Ok(())
    }
    fn finish(&mut self, end: &End) -> std::io::Result<()> {
        eprintln!("{end:?}");
        Ok(())
    }
}
