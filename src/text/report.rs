//! The only writer of what people read: errors, warnings, hints, hits, all on standard error; and the
//! colours of what goes to standard output.
//!
//! Every text that comes from a traced process passes through [`crate::text::escape`] on its way here.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use crate::linux::outlet::Outlet;

use crate::text::escape;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether what is written to a stream is to be coloured.
    pub fn wanted(self, stream: &impl IsTerminal) -> bool {
        self.wanted_on(stream.is_terminal())
    }

    /// The same of what is a terminal or is none.
    pub fn wanted_on(self, terminal: bool) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
            }
        }
    }
}

/// Who writes while a session runs, which must not wait for a reader.
static OUTLET: OnceLock<Outlet> = OnceLock::new();
/// How long a line may take to be written before the session goes on without that.
const PROMPT: Duration = Duration::from_millis(100);
/// How long the end of a session waits for what has not been read.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// From here on nobody waits for a reader of standard error: what it does not read is kept up to a limit, and then lost.
pub fn never_wait() -> io::Result<()> {
    if OUTLET.get().is_none() {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let _ = OUTLET.set(Outlet::to_file("messages", stderr)?);
    }
    Ok(())
}

/// Waits for what is still to be written to standard error, if anybody reads it.
pub fn flush() {
    if let Some(outlet) = OUTLET.get() {
        let _ = outlet.wait(PATIENCE);
    }
}

/// How to speak to the user.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    color: bool,
    verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Good,
    Warning,
    Error,
    Dim,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Good => "\x1b[32m",
            Style::Warning => "\x1b[33m",
            Style::Error => "\x1b[31m",
            Style::Dim => "\x1b[2m",
        }
    }

    /// The text in this style, where colours are wanted.
    pub fn paint(self, color: bool, text: &str) -> String {
        match (color, self.code()) {
            (true, code) if !code.is_empty() => format!("{code}{text}\x1b[0m"),
            _ => text.to_string(),
        }
    }
}

impl Report {
    pub fn new(color: Color, verbose: u8) -> Report {
        Report { color: color.wanted(&io::stderr()), verbose }
    }

    /// One write a line, so that lines of others do not come in between. That it fails is nobody's
    /// business: COMMAND goes on.
    fn line(self, style: Style, label: &str, text: &str) {
        let label = style.paint(self.color, &format!("tracexec: {label}"));
        // Callers escape what others have chosen; what none of them has thought of does no harm.
        self.pass_on(format!("{label}{}\n", escape::lines(text)).into_bytes());
    }

    /// Writes what is harmless to standard error as it is.
    pub fn pass_on(self, bytes: Vec<u8>) {
        let Some(outlet) = OUTLET.get() else { return drop(io::stderr().write_all(&bytes)) };
        let told = |lost| {
            let label = Style::Warning.paint(self.color, "tracexec: warning: ");
            let lost = if lost == 1 { "1 message is" } else { &format!("{lost} messages are") };
            format!("{label}{lost} lost: nobody read standard error\n").into_bytes()
        };
        if outlet.offer(bytes, told).is_ok() {
            // What others write after it is to stand after it.
            outlet.wait_briefly(PROMPT);
        }
    }

    /// A match, and what becomes of it.
    pub fn hit(self, text: impl Display) {
        self.line(Style::Good, "", &text.to_string());
    }

    /// Something that was asked for.
    pub fn say(self, text: impl Display) {
        self.line(Style::Plain, "", &text.to_string());
    }

    /// Something that only `-v` asks for.
    pub fn detail(self, text: impl Display) {
        if self.verbose > 0 {
            self.line(Style::Dim, "", &text.to_string());
        }
    }

    pub fn warn(self, text: impl Display) {
        self.line(Style::Warning, "warning: ", &text.to_string());
    }

    pub fn error(self, text: impl Display) {
        self.line(Style::Error, "error: ", &text.to_string());
    }

    /// What to do about the error or warning before it.
    pub fn hint(self, text: impl Display) {
        self.line(Style::Dim, "hint: ", &text.to_string());
    }
}

/// An error with what to do about it.
#[derive(Debug)]
pub struct Trouble {
    pub what: String,
    pub hint: Option<String>,
}

impl Trouble {
    pub fn new(what: impl Into<String>) -> Trouble {
        Trouble { what: what.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Trouble {
        self.hint = Some(hint.into());
        self
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Trouble {}

/// How many columns a line on standard error may take; a log has room.
pub fn width() -> usize {
    let size = crate::linux::sys::window_size(io::stderr().as_fd());
    size.map_or(160, |size| usize::from(size.ws_col)).clamp(80, 200)
}
