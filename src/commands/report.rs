//! `report`: what was recorded earlier, filtered, and told in another way.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::trace::{filter, sink};
use crate::cli::trace::ReportOn;
use crate::event::TraceEvent;
use crate::text::escape;
use crate::text::report::{Report, Trouble};
use crate::trace::replay::Replay;
use crate::trace::sinks::compile::Sources;
use crate::trace::sinks::json::{self, Item, NotRead};
use crate::trace::sinks::output::{Kind, Output};
use crate::trace::sinks::summary::Summary;
use crate::trace::{End, Sink};

pub fn report(on: ReportOn, report: Report) -> Result<u8, Trouble> {
    let ReportOn { file, matches, format, output, form } = on;
    form.check(format)?;
    let mut replay = filter(&matches)?.map(Replay::new);
    let input = open(&file)?;
    let path = output.unwrap_or_else(|| "-".into());
    // What is read may be what is to be written.
    let mut output = Output::open(&path, Kind::Derived)?;
    if let Some(format) = format {
        format.check(&output)?;
    }
    let told = {
        let mut sink: Box<dyn Sink> = match format {
            None => Box::new(Summary::new(&mut output)),
            Some(format) => sink(format, &mut output, &form, Sources::PresentIfAny)?,
        };
        retell(input, &file, replay.as_mut(), sink.as_mut(), report)
    };
    match told {
        Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(Failed::Write(error)) => Err(Trouble::new(format!("cannot write the report: {error}"))
            .hint("make room, or write elsewhere with -o")),
        Err(Failed::Read(trouble)) => Err(trouble),
        Ok(()) => output.complete().map(|()| 0),
    }
}

/// `-` is standard input.
fn open(file: &Path) -> Result<Box<dyn BufRead>, Trouble> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).map_err(|error| {
        Trouble::new(format!("cannot read {}: {error}", escape::path(file)))
            .hint("`tracexec collect --format json-stream` writes such a file")
    })?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, opened)))
}

enum Failed {
    Read(Trouble),
    Write(io::Error),
}

/// Tells the sink of what the file has.
fn retell(
    input: Box<dyn BufRead>,
    file: &Path,
    mut replay: Option<&mut Replay>,
    sink: &mut dyn Sink,
    report: Report,
) -> Result<(), Failed> {
    let mut written = Ok(());
    let mut end = None;
    let mut last = 0;
    let read = json::read(input, &mut |item| {
        let told = match item {
            Item::About(about) => sink.begin(&about),
            Item::End(item) => {
                end = Some(item);
                Ok(())
            }
            Item::Event(event) => {
                last = time(&event);
                let through = replay.as_mut().is_none_or(|replay| replay.lets_through(&event));
                if through { sink.event(&event) } else { Ok(()) }
            }
        };
        written = std::mem::replace(&mut written, Ok(())).and(told);
        written.is_ok()
    });
    written.map_err(Failed::Write)?;
    let whole = read.map_err(|error| Failed::Read(not_read(file, &error)))?;
    if !whole {
        report.warn(format!(
            "{} has no end: whoever wrote it was interrupted, or still writes",
            escape::path(file)
        ));
    }
    let end = end.unwrap_or(End { time: last, ..End::default() });
    let finished = sink.finish(&end).map_err(Failed::Write);
    if let Some(remark) = sink.remark() {
        report.warn(remark);
    }
    finished
}

fn time(event: &TraceEvent) -> u64 {
    match event {
        TraceEvent::Begun(begun) => begun.time,
        TraceEvent::Exec(execution) => execution.record.time,
        TraceEvent::Ended(ended) => ended.time,
    }
}

fn not_read(file: &Path, error: &NotRead) -> Trouble {
    let trouble = Trouble::new(format!("cannot read {}: {error}", escape::path(file)));
    match error {
        NotRead::Version(_) => trouble.hint("read it with the tracexec that wrote it"),
        NotRead::Cut => trouble.hint("a json-stream can be read as far as it goes"),
        _ => trouble.hint("`tracexec collect --format json-stream` writes such a file"),
    }
}
