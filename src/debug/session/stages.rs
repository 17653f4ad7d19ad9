//! What `--hits-json` says of a hit at each of its stages. `schemas/hits.json` describes it.

use std::time::SystemTime;

use serde::Serialize;

use super::Session;
use crate::debug::config::{self, Action};
use crate::debug::hits::{Hit, Progress, Stage};
use crate::debug::journal::Journal;
use crate::linux::sys::Pid;
use crate::machine::procfs::Status;
use crate::source::ParkError;
use crate::text::json::{self, Bytes};
use crate::text::report::{Report, Trouble};

/// It grows when a reader of the old lines could not read the new ones.
const VERSION: u32 = 1;

/// What has happened to a hit.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    Waiting,
    Parked,
    /// It stays parked, and its debugger did not come: why.
    ParkedStill(&'a str),
    Attached,
    Over(End, Option<&'a str>),
}

/// How a hit is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum End {
    /// The process has ended.
    #[serde(rename = "ended")]
    Ended,
    /// It runs on, and had no debugger.
    #[serde(rename = "released")]
    Released,
    /// It runs under the program that --wrap names.
    #[serde(rename = "wrapped")]
    Wrapped,
    /// It runs on without its debugger.
    #[serde(rename = "debugger gone")]
    DebuggerGone,
    /// The session has ended, and the debugger goes on.
    #[serde(rename = "left to its debugger")]
    Left,
}

impl From<&ParkError> for End {
    fn from(error: &ParkError) -> End {
        match error {
            ParkError::Gone | ParkError::Dying(_) | ParkError::Leaving => End::Ended,
            ParkError::StillRunning(_) | ParkError::LetGo | ParkError::Refused(_) => End::Released,
        }
    }
}

/// The order of the fields is that of the lines.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    time: String,
    session: Pid,
    hit: u64,
    stage: &'static str,
    pid: Pid,
    argv: Vec<Bytes<'a>>,
    filename: Option<Bytes<'a>>,
    exe: Option<Bytes<'a>>,
    cwd: Option<Bytes<'a>>,
    because: &'a str,
    moment: &'static str,
    thread: Pid,
    signal: Option<i32>,
    address: Option<String>,
    exit_status: Option<u8>,
    debugger: Option<&'a str>,
    debugger_pid: Option<Pid>,
    place: Option<&'a str>,
    port: Option<u16>,
    end: Option<End>,
    why: Option<&'a str>,
    saved: Option<Bytes<'a>>,
}

/// Tells of stages where that was asked for.
pub(super) struct Stages {
    pub journal: Option<Journal>,
    /// The names of the debuggers of which a hit gets one.
    debuggers: Vec<String>,
}

impl Session {
    /// The passages that a hit makes by itself; those of a failure are told where it is decided.
    pub(super) fn tell_progress(&self, index: usize, progress: &Progress) {
        let what = match progress {
            Progress::Ended => What::Over(End::Ended, None),
            Progress::Attached => What::Attached,
            Progress::DebuggerGone(_) => What::Over(End::DebuggerGone, None),
            Progress::ShimEnded | Progress::NoPlace(_) | Progress::NotAttached(_) => return,
        };
        self.stages.tell(&self.hits[index], what);
    }
}

impl Stages {
    pub fn start(config: &mut config::Session, report: Report) -> Result<Stages, Trouble> {
        let journal = config.hits_json.take().map(|file| Journal::start(file, report));
        let journal = journal.transpose().map_err(|error| {
            Trouble::new(format!("--hits-json: cannot start the thread that writes: {error}"))
        })?;
        let debuggers = match &config.action {
            Action::Debugger(choice, _) => {
                choice.iter().map(|recipe| recipe.debugger.name.clone()).collect()
            }
            Action::Editor(editor) => vec![editor.kind.name().to_string()],
            Action::Hold(_)
            | Action::List
            | Action::LaunchJson(_)
            | Action::Wrap(_)
            | Action::Nothing => Vec::new(),
        };
        Ok(Stages { journal, debuggers })
    }

    /// Of several it is found out when there is room for the hit.
    fn debugger_of(&self, hit: &Hit, what: What<'_>) -> Option<&str> {
        match self.debuggers.as_slice() {
            [debugger] => Some(debugger),
            _ if matches!(what, What::Waiting) => None,
            debuggers => debuggers.get(hit.findings.recipe).map(String::as_str),
        }
    }

    pub fn tell(&self, hit: &Hit, what: What<'_>) {
        let Some(journal) = &self.journal else { return };
        let (stage, end, why) = match what {
            What::Waiting => ("waiting", None, None),
            What::Parked => ("parked", None, None),
            What::ParkedStill(why) => ("parked", None, Some(why)),
            What::Attached => ("attached", None, None),
            What::Over(end, why) => ("over", Some(end), why),
        };
        let program = &hit.program;
        let line = Line {
            version: VERSION,
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            session: std::process::id() as Pid,
            hit: hit.id,
            stage,
            pid: hit.pid,
            argv: program.argv.iter().map(Bytes).collect(),
            filename: known_bytes(&program.filename),
            exe: known_bytes(&program.exe),
            cwd: known_bytes(&program.cwd),
            because: &program.because,
            moment: program.happened.map_or("exec", |happened| happened.what.name()),
            thread: program.happened.map_or(hit.pid, |happened| happened.tid),
            signal: program.happened.and_then(|happened| happened.what.signal()),
            address: program.happened.and_then(|happened| happened.what.address()),
            exit_status: program.happened.and_then(|happened| happened.what.status()),
            debugger: self.debugger_of(hit, what),
            debugger_pid: debugger_pid(hit),
            place: hit.place.as_deref(),
            port: (hit.findings.port != 0).then_some(hit.findings.port),
            end,
            why,
            saved: hit.folder.as_ref().map(|folder| Bytes(folder.as_os_str().as_encoded_bytes())),
        };
        if let Ok(line) = json::line(&line) {
            journal.write(line);
        }
    }
}

/// What could not be read is empty in a [`crate::debug::matcher::Program`].
fn known_bytes(bytes: &[u8]) -> Option<Bytes<'_>> {
    (!bytes.is_empty()).then_some(Bytes(bytes))
}

/// The debugger that we started, or whoever has attached.
fn debugger_pid(hit: &Hit) -> Option<Pid> {
    match &hit.stage {
        Stage::Parked(parked) => parked.debugger.as_ref().map(|debugger| debugger.pid),
        Stage::Attached(Some(debugger)) => Some(debugger.pid),
        Stage::Attached(None) => {
            Status::read(hit.pid).ok().map(|status| status.tracer).filter(|&tracer| tracer != 0)
        }
        Stage::Waiting(_) | Stage::Launching(_) | Stage::Saving(_) | Stage::Over => None,
    }
}
