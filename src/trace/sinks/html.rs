//! One page that shows a trace, with all that it needs in it.
//!
//! The page's own parts come first and the events last, so that they can be written as they happen: a page
//! that was cut off, by a full disk, still shows what it has, and says so.

mod encode;
mod table;

use std::io::{self, BufWriter, Write};

use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD, Engine};
use base64::write::EncoderWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::event::TraceEvent;
use crate::trace::{About, End, Sink};
use encode::Encoder;

const TEMPLATE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
/// One script, in parts that are read in one sitting.
const SCRIPT: &[&str] = &[
    "'use strict';\n(() => {\n",
    include_str!("page/text.js"),
    include_str!("page/data.js"),
    include_str!("page/tree.js"),
    include_str!("page/totals.js"),
    include_str!("page/fields.js"),
    include_str!("page/filter.js"),
    include_str!("page/chart.js"),
    include_str!("page/rows.js"),
    include_str!("page/details.js"),
    include_str!("page/programs.js"),
    include_str!("page/input.js"),
    include_str!("page/main.js"),
    "})();\n",
];

type Base64<W> = EncoderWriter<'static, GeneralPurpose, BufWriter<W>>;

/// The writer of a page.
pub struct Html<W: Write> {
    to: Option<W>,
    writing: Option<Writing<W>>,
}

struct Writing<W: Write> {
    encoder: Encoder,
    to: GzEncoder<Base64<W>>,
    /// What stands after the events.
    after: &'static str,
    /// Something could not be written. What would follow, could not be understood.
    failed: bool,
}

impl<W: Write> Html<W> {
    pub fn new(to: W) -> Html<W> {
        Html { to: Some(to), writing: None }
    }
}

impl<W: Write> Sink for Html<W> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        let Some(to) = self.to.take() else { return Ok(()) };
        let (before, after) = page();
        let mut file = BufWriter::with_capacity(1 << 16, to);
        file.write_all(before.as_bytes())?;
        let to = GzEncoder::new(EncoderWriter::new(file, &BASE64_STANDARD), Compression::default());
        let encoder = Encoder::new(about);
        self.writing.insert(Writing { encoder, to, after, failed: false }).flush()
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        writing.encoder.event(event);
        writing.flush()
    }

    fn finish(&mut self, end: &End) -> io::Result<()> {
        self.writing.take().map_or(Ok(()), |writing| writing.finish(end))
    }
}

impl<W: Write> Writing<W> {
    fn flush(&mut self) -> io::Result<()> {
        let written = self.to.write_all(&self.encoder.take());
        self.failed |= written.is_err();
        written
    }

    fn finish(mut self, end: &End) -> io::Result<()> {
        if !self.failed {
            self.encoder.end(end);
            self.flush()?;
        }
        self.to.try_finish()?;
        let mut file = self.to.get_mut().finish()?;
        file.write_all(self.after.as_bytes())?;
        file.flush()
    }
}

/// What stands before the events, and what after them.
fn page() -> (String, &'static str) {
    let script = SCRIPT.concat();
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    // Whatever a value of the trace might contain: nothing is fetched, and no other script runs.
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(&script),
        hash(STYLE)
    );
    let (before, after) = TEMPLATE.split_once("{{events}}").unwrap_or((TEMPLATE, ""));
    let before = before
        .replace("{{policy}}", &policy)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", &script);
    (before, after)
}
