//! What is kept of a hit (`--save`): a folder with its core, a backtrace, and what it takes to run it again.

mod backtrace;
mod folder;

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::sys::signal::SigSet;

use crate::debug::matcher::Program;
use crate::debug::repro::{self, Repro};
use crate::linux::caller::As;
use crate::linux::files;
use crate::linux::identity::Identity;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs::{self, Status};
use crate::source::coredump::{self, Focus, Prepared};
use crate::text::escape;
use crate::text::report::{Report, Trouble};

pub use backtrace::Backtracer;
use backtrace::Core;

/// How long a stop may take, which is at once on a machine that is not busy.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// The most that is shown of what a debugger says, in bytes.
const LONGEST: u64 = 2 << 20;
const BACKTRACE: &str = "backtrace.txt";
/// Of a debugger that did not come to its end, or had no room for what it said.
const PARTIAL_BACKTRACE: &str = "backtrace.partial.txt";

/// A thing that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Save {
    /// An ELF core
    Core,
    /// Stacks, variables and registers, as text
    Backtrace,
    /// A script that runs it again, and the same for `tracexec rerun`
    Repro,
}

/// What is to be kept of each hit, and where.
#[derive(Debug, Clone)]
pub struct Saves {
    what: Vec<Save>,
    to: PathBuf,
    owner: Option<(u32, u32)>,
    backtracer: Option<Backtracer>,
}

/// What is known of a hit that is to be saved. It is stopped, and stays so.
pub struct Subject {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub hit: u64,
    pub program: Program,
    pub focus: Focus,
    pub moment: &'static str,
    /// Where it is not in state T, but in a stop of its tracer's: what that knows of it.
    pub prepared: Option<Prepared>,
}

/// What has been saved.
#[derive(Debug, Default)]
pub struct Saved {
    /// The folder, if it could be made.
    pub folder: Option<PathBuf>,
    pub what: Vec<Save>,
    /// What could not be, and why.
    pub failed: Vec<String>,
}

impl Save {
    pub fn name(self) -> &'static str {
        match self {
            Save::Core => "core",
            Save::Backtrace => "backtrace",
            Save::Repro => "repro",
        }
    }
}

impl Saves {
    /// Makes the folder, if need be: what is wrong with it is to be known before anything runs.
    pub fn new(what: &[Save], to: &Path, debugger: Option<&str>) -> Result<Saves, Trouble> {
        let owner = crate::linux::caller::caller();
        let to = std::path::absolute(to)
            .map_err(|error| Trouble::new(format!("--to {}: {error}", escape::path(to))))?;
        folder::make(&to, owner).map_err(|error| {
            let shown = crate::text::escape::word(to.as_os_str().as_encoded_bytes());
            Trouble::new(format!("--to {shown}: cannot make this folder: {error}"))
                .hint("name a folder in which you can write")
        })?;
        let wants = what.contains(&Save::Backtrace);
        let backtracer = wants.then(|| Backtracer::find(debugger)).transpose()?;
        let mut kinds = Vec::new();
        for &kind in what {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Ok(Saves { what: kinds, to, owner, backtracer })
    }

    /// Has a debugger look at a core of a process that is stopped, and say on our standard error what it would say of
    /// the process; in a thread as below.
    pub fn show(
        backtracer: Backtracer,
        subject: &Subject,
        cancelled: &AtomicBool,
        report: Report,
    ) -> Saved {
        let _ = SigSet::all().thread_block();
        let mut saved = Saved::default();
        let shown = match tempfile::tempdir() {
            Ok(folder) => {
                let to = folder.path().to_path_buf();
                let saves =
                    Saves { what: Vec::new(), to, owner: None, backtracer: Some(backtracer) };
                let result = saves.backtrace(subject, folder.path(), cancelled);
                // What it said of a failure, too.
                for name in [BACKTRACE, PARTIAL_BACKTRACE] {
                    let mut text = Vec::new();
                    if let Ok(file) = files::open(&folder.path().join(name))
                        && file.take(LONGEST).read_to_end(&mut text).is_ok()
                    {
                        report.pass_on(text);
                    }
                }
                result
            }
            Err(error) => Err(format!("cannot make a folder for its core: {error}")),
        };
        saved.failed.extend(shown.err().map(|why| format!("no backtrace: {why}")));
        rest(subject, cancelled);
        saved
    }

    /// Saves a process that is stopped. To be called in a thread of its own, in which
    /// no signal is to arrive afterwards.
    pub fn save(&self, subject: &Subject, cancelled: &AtomicBool) -> Saved {
        // A file that grows beyond a limit of ours is an error like others.
        let _ = SigSet::all().thread_block();
        let mut saved = Saved::default();
        let folder = match folder::for_hit(&self.to, self.owner, subject) {
            Ok(folder) => saved.folder.insert(folder).clone(),
            Err(error) => {
                saved
                    .failed
                    .push(format!("cannot make a folder in {}: {error}", escape::path(&self.to)));
                return saved;
            }
        };
        // What is quick comes first, and the core before a debugger comes near.
        for kind in [Save::Repro, Save::Core, Save::Backtrace] {
            if !self.what.contains(&kind) || cancelled.load(Ordering::Relaxed) {
                continue;
            }
            let result = match kind {
                Save::Repro => self.repro(subject, &folder).map_err(|error| error.to_string()),
                Save::Core => self.core(subject, &folder, "core", cancelled),
                Save::Backtrace => self.backtrace(subject, &folder, cancelled),
            };
            match result {
                Ok(()) => saved.what.push(kind),
                Err(why) => saved.failed.push(format!("no {}: {why}", kind.name())),
            }
        }
        rest(subject, cancelled);
        saved
    }

    fn repro(&self, subject: &Subject, folder: &Path) -> io::Result<()> {
        let repro = Repro::read(subject.pid, &subject.program, subject.moment);
        let _guard = As::user(self.owner);
        let write = |text: &[u8], mode| {
            let mut file = temporary(folder)?;
            file.write_all(text)?;
            file.as_file().set_permissions(Permissions::from_mode(mode))?;
            io::Result::Ok(file)
        };
        // Both of them or none.
        let record = write(&repro.record()?, 0o600)?;
        let script = write(&repro.script(), 0o700)?;
        for (file, name) in [(record, repro::RECORD), (script, repro::SCRIPT)] {
            file.persist_noclobber(folder.join(name)).map_err(|error| error.error)?;
        }
        Ok(())
    }

    /// Writes a core to a file that has its name only once it is whole.
    fn core(
        &self,
        subject: &Subject,
        folder: &Path,
        name: &str,
        cancelled: &AtomicBool,
    ) -> Result<(), String> {
        let file = self.as_owner(|| temporary(folder)).map_err(|error| error.to_string())?;
        self.dump(subject, file.as_file(), cancelled)?;
        let persist = || file.persist_noclobber(folder.join(name)).map_err(|error| error.error);
        self.as_owner(persist).map(drop).map_err(|error| error.to_string())
    }

    fn dump(&self, subject: &Subject, file: &File, cancelled: &AtomicBool) -> Result<(), String> {
        let wanted = || !cancelled.load(Ordering::Relaxed);
        match &subject.prepared {
            Some(prepared) => prepared.write(file, &wanted),
            None => coredump::of_stopped(subject.pid, subject.focus, file, &wanted),
        }
        .map_err(|error| error.to_string())
    }

    fn backtrace(
        &self,
        subject: &Subject,
        folder: &Path,
        cancelled: &AtomicBool,
    ) -> Result<(), String> {
        let Some(backtracer) = &self.backtracer else { return Err("there is no debugger".into()) };
        let said = |error: io::Error| error.to_string();
        let mut file = self.as_owner(|| temporary(folder)).map_err(said)?;
        let core = folder.join("core");
        let result = if let Some(user) = Identity::of_process(subject.pid) {
            // Cores that we keep are not for that user to read.
            let own = tempfile::tempfile_in(folder).map_err(said)?;
            if backtracer.wants_core(subject) {
                self.dump(subject, &own, cancelled)?;
                fchown(&own, Some(user.uid), None).map_err(said)?;
            }
            let core = Core::Open(&own);
            backtracer.write(subject, core, Some(&user), file.as_file_mut(), cancelled)
        } else {
            let borrowed = backtracer.wants_core(subject) && !core.exists();
            if borrowed {
                self.core(subject, folder, "core", cancelled)?;
            }
            let at = Core::At(&core);
            let result = backtracer.write(subject, at, None, file.as_file_mut(), cancelled);
            if borrowed {
                let _ = self.as_owner(|| std::fs::remove_file(&core));
            }
            result
        };
        // What was cut short has another name.
        let name = if result.is_ok() { BACKTRACE } else { PARTIAL_BACKTRACE };
        let persist = || file.persist_noclobber(folder.join(name)).map_err(|error| error.error);
        let persisted = self.as_owner(persist).map(drop).map_err(said);
        result.map_err(|why| format!("{why}; {PARTIAL_BACKTRACE} has what it said")).and(persisted)
    }

    fn as_owner<T>(&self, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _guard = As::user(self.owner);
        action()
    }
}

/// Sees to it that a process is in the stop in which it was.
fn rest(subject: &Subject, cancelled: &AtomicBool) {
    if subject.prepared.is_some() {
        return;
    }
    settle(subject.pid);
    if cancelled.load(Ordering::Relaxed) {
        // It was set going, but a debugger had it that we have ended since.
        let _ = sys::pidfd_send_signal(subject.pidfd.as_fd(), libc::SIGCONT);
    }
}

/// Waits until the stop that a debugger leaves a process in is in force in all threads: a SIGCONT that came
/// before it would be lost.
fn settle(pid: Pid) {
    let deadline = Instant::now() + SETTLES_WITHIN;
    let rests = |tid: Pid| {
        Status::read(tid)
            .map_or(true, |status| status.tracer == 0 && matches!(status.state, b'T' | b'Z' | b'X'))
    };
    while Instant::now() < deadline {
        let Ok(threads) = procfs::threads(pid) else { return };
        if threads.into_iter().all(rests) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".new.").tempfile_in(folder)
}
