//! What `report` reads, and all that it makes of it.

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use clap::{Args, FromArgMatches};

use super::Few;
use crate::cli::log::Shown;
use crate::event::TraceEvent;
use crate::filter::Filter;
use crate::trace::replay::Replay;
use crate::trace::sinks::compile::{Before, CompileCommands, Sources};
use crate::trace::sinks::html::Html;
use crate::trace::sinks::json::{Document, EnvForm, Item, Lines, read};
use crate::trace::sinks::log::{Log, Output, Paint};
use crate::trace::sinks::perfetto::Perfetto;
use crate::trace::sinks::summary::Summary;
use crate::trace::{End, Sink};

/// What is accepted is the same when it is written and read again; and every format has a place for it.
pub fn recording(bytes: &[u8]) {
    let Some((items, whole)) = read_all(bytes) else { return };
    if !matches!(items.first(), Some(Item::About(_))) {
        return;
    }
    let written = written(&items);
    let (again, ended) = read_all(&written).expect("what we write can be read");
    // Of what cannot be, such as a NUL byte in an argument, something else may have become at first.
    assert_eq!(show(&self::written(&again)), show(&written));
    assert!(ended || !whole);
    replay(&items);
    tell(sink(bytes.len()).as_mut(), &items);
}

fn show(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn read_all(bytes: &[u8]) -> Option<(Vec<Item>, bool)> {
    let mut items = Vec::new();
    let read = read(bytes, &mut |item| {
        items.push(item);
        true
    });
    match read {
        Ok(whole) => Some((items, whole)),
        Err(error) => {
            drop(error.to_string());
            None
        }
    }
}

fn written(items: &[Item]) -> Vec<u8> {
    let mut text = Vec::new();
    tell(&mut Lines::new(&mut text, EnvForm::Whole), items);
    text
}

fn tell(sink: &mut dyn Sink, items: &[Item]) {
    let mut end = End::default();
    for item in items {
        match item {
            Item::About(about) => sink.begin(about).unwrap(),
            Item::Event(event) => sink.event(event).unwrap(),
            Item::End(item) => end = *item,
        }
    }
    sink.finish(&end).unwrap();
    let _ = (sink.remark(), sink.unwritten());
}

/// Asks for what needs the parents.
fn replay(items: &[Item]) {
    let filter = Filter::new(&[b"parent.argv~a or depth>1 or cwd=/ or env.A=b"], Arc::new(Few));
    let mut replay = Replay::new(filter.expect("a filter"));
    for item in items {
        if let Item::Event(event) = item {
            let through = replay.lets_through(event);
            assert!(through || !matches!(event, TraceEvent::Exec(exec) if is_wanted(exec)));
        }
    }
}

fn is_wanted(exec: &crate::event::Execution) -> bool {
    exec.record.cwd.faults.is_empty() && exec.record.cwd.value.as_deref() == Some(b"/")
}

/// One of the formats.
fn sink(which: usize) -> Box<dyn Sink> {
    match which % 7 {
        0 => Box::new(Document::new(io::sink(), EnvForm::Diff, true)),
        1 => Box::new(Document::new(io::sink(), EnvForm::Whole, false)),
        2 => Box::new(Perfetto::new(io::sink())),
        3 => Box::new(CompileCommands::new(io::sink(), Sources::PresentIfAny, Before::default())),
        4 => Box::new(Html::new(io::sink())),
        5 => Box::new(Summary::new(io::sink())),
        _ => {
            let output = Output::open(Some(Path::new("/dev/null"))).expect("a null device");
            Box::new(Log::new(SHOWN.clone(), Paint(None), output))
        }
    }
}

/// Everything that a line can have.
static SHOWN: LazyLock<Shown> = LazyLock::new(|| {
    let options = ["log", "--show-cmdline", "--fd-in-cmdline", "--timestamp", "--show-interpreter"];
    let command = Shown::augment_args(clap::Command::new("log"));
    Shown::from_arg_matches(&command.get_matches_from(options)).expect("options of log")
});
