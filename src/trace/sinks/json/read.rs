//! What was written, read back: a document as a whole, a stream line by line.

use std::fmt;
use std::io::{self, BufRead};

use serde::Deserialize;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FORMAT, VERSION};
use crate::event::{Strings, TraceEvent};
use crate::trace::sinks::json::into;
use crate::trace::sinks::json::into::Nonsense;
use crate::trace::sinks::json::model;
use crate::trace::sinks::json::model::Header;
use crate::trace::{About, End};

/// A part of a recording.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    About(Box<About>),
    Event(TraceEvent),
    End(End),
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not what `collect --format json` or `json-stream` writes{0}")]
    NotOurs(String),
    #[error("its format is of version {0}, and this tracexec reads {VERSION}")]
    Version(u32),
    #[error("it is cut off, and json cannot be read in part")]
    Cut,
    #[error("line {0}: {1}")]
    Line(usize, String),
}

/// Reads a recording, its events in the order in which they happened, as long as `take` wants more;
/// whether it was whole.
pub fn read(mut input: impl BufRead, take: &mut dyn FnMut(Item) -> bool) -> Result<bool, NotRead> {
    let mut first = Vec::new();
    input.read_until(b'\n', &mut first)?;
    if tag(&first).is_ok_and(|tag| tag == "about") {
        return stream(first, input, take);
    }
    input.read_to_end(&mut first)?;
    document(&first, take).map(|()| true)
}

/// Which kind of line it is; empty for what is another object.
fn tag(line: &[u8]) -> serde_json::Result<String> {
    #[derive(Deserialize)]
    struct Tagged {
        #[serde(default)]
        event: String,
    }
    serde_json::from_slice(line).map(|Tagged { event }| event)
}

fn stream(
    mut line: Vec<u8>,
    mut input: impl BufRead,
    take: &mut dyn FnMut(Item) -> bool,
) -> Result<bool, NotRead> {
    let mut baseline = Strings::default();
    let mut whole = false;
    let mut more = true;
    for number in 1.. {
        match item(&line, &mut baseline, &mut |item| {
            whole = matches!(item, Item::End(_));
            more = more && take(item);
            more
        }) {
            // Whoever wrote it was interrupted.
            Err(NotRead::Line(..)) if number > 1 && !line.ends_with(b"\n") => return Ok(false),
            Err(NotRead::Line(_, why)) => return Err(NotRead::Line(number, why)),
            other => other?,
        }
        line.clear();
        if !more || input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
    }
    Ok(whole)
}

fn in_line(error: impl fmt::Display) -> NotRead {
    NotRead::Line(0, error.to_string())
}

/// What a line, or an entry of a document, says. A later version may have kinds of its own.
fn item(
    line: &[u8],
    baseline: &mut Strings,
    take: &mut dyn FnMut(Item) -> bool,
) -> Result<(), NotRead> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    match tag(line).map_err(in_line)?.as_str() {
        "about" => {
            let header: Header = serde_json::from_slice(line).map_err(in_line)?;
            let about = about(header)?;
            *baseline = about.baseline.env.clone();
            take(Item::About(Box::new(about)));
        }
        "begun" => {
            let begun: model::Begun = serde_json::from_slice(line).map_err(in_line)?;
            take(Item::Event(TraceEvent::Begun(begun.into())));
        }
        "exec" => {
            let exec: model::Exec = serde_json::from_slice(line).map_err(in_line)?;
            let (execution, ended) = into::execution(exec, baseline).map_err(in_line)?;
            let more = take(Item::Event(TraceEvent::Exec(Box::new(execution))));
            if let Some(ended) = ended.filter(|_| more) {
                take(Item::Event(TraceEvent::Ended(ended)));
            }
        }
        "ended" => {
            let ended: model::Ended = serde_json::from_slice(line).map_err(in_line)?;
            take(Item::Event(TraceEvent::Ended(ended.into())));
        }
        "end" => {
            let end: model::End = serde_json::from_slice(line).map_err(in_line)?;
            take(Item::End(end.into()));
        }
        _ => {}
    }
    Ok(())
}

fn about(header: Header) -> Result<About, NotRead> {
    if header.format != FORMAT {
        return Err(NotRead::NotOurs(format!(", but {:?}", header.format)));
    }
    if header.version != VERSION {
        return Err(NotRead::Version(header.version));
    }
    header.about.try_into().map_err(|error: Nonsense| NotRead::NotOurs(format!(": {error}")))
}

/// A document's members.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u32,
    #[serde(borrow)]
    about: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    end: Option<model::End>,
}

fn document(text: &[u8], take: &mut dyn FnMut(Item) -> bool) -> Result<(), NotRead> {
    let refused = |error: serde_json::Error| {
        if error.is_eof() && text.trim_ascii_start().starts_with(b"{\"format\"") {
            NotRead::Cut
        } else if text.trim_ascii().is_empty() {
            NotRead::NotOurs(": it is empty".into())
        } else {
            NotRead::NotOurs(format!(": {error}"))
        }
    };
    let whole: Whole = serde_json::from_slice(text).map_err(refused)?;
    let missing = |what: &str| NotRead::NotOurs(format!(": it has no {what}"));
    let raw = whole.about.ok_or_else(|| missing("\"about\""))?;
    let described = serde_json::from_str(raw.get()).map_err(refused)?;
    let header = Header { format: whole.format.into(), version: whole.version, about: described };
    let about = about(header)?;
    let mut baseline = about.baseline.env.clone();
    take(Item::About(Box::new(about)));
    let raw = whole.events.ok_or_else(|| missing("\"events\""))?;
    let mut events = Vec::new();
    let entries = Entries { baseline: &mut baseline, events: &mut events };
    entries.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(refused)?;
    events.sort_by_key(time);
    let events = events.into_iter().map(Item::Event);
    // Whether all of them were wanted is nobody's question.
    let _ = events.chain(whole.end.map(|end| Item::End(end.into()))).all(take);
    Ok(())
}

fn time(event: &TraceEvent) -> u64 {
    match event {
        TraceEvent::Begun(begun) => begun.time,
        TraceEvent::Exec(execution) => execution.record.time,
        TraceEvent::Ended(ended) => ended.time,
    }
}

/// The entries of a document's events.
struct Entries<'a> {
    baseline: &'a mut Strings,
    events: &'a mut Vec<TraceEvent>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(entry) = seq.next_element::<&RawValue>()? {
            let mut add = |item| {
                if let Item::Event(event) = item {
                    self.events.push(event);
                }
                true
            };
            item(entry.get().as_bytes(), self.baseline, &mut add).map_err(|error| {
                let nth = self.events.len();
                serde::de::Error::custom(format!("after {nth} events: {error}"))
            })?;
        }
        Ok(())
    }
}
