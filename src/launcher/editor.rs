//! An editor that attaches to a parked process: what it is to be told, and how.

use std::path::Path;

use nix::unistd::{Uid, User};
use serde_json::Value;

use super::command::{Break, Given, Recipe};
use super::vscode::again::Again;
use super::vscode::attach::{self, Wishes};
use super::vscode::document::List;
use super::vscode::kind::Kind;
use super::vscode::launch::{self, Launch};
use super::vscode::workspace::Workspace;
use crate::judge::Program;
use crate::procfs::{Stat, Status};
use crate::report::Trouble;
use crate::sys::Pid;

/// The place that stands for the editor whose file is launch.json.
pub const VSCODE: &str = "vscode";

/// How many configurations --launch-json writes.
const MANY: usize = 20;

/// An editor by its launch.json, and what is ours in that.
#[derive(Debug)]
pub struct Editor {
    pub kind: Kind,
    pub workspace: Workspace,
    /// What to type at a process if the editor cannot be told.
    pub by_hand: Option<Recipe>,
    wishes: Wishes,
    /// The processes that have entries.
    entered: Vec<Pid>,
    launches: usize,
}

impl Editor {
    /// `chosen` is what --debugger says, if it says anything.
    pub fn new(
        chosen: Option<&str>,
        folder: Option<&Path>,
        stop_at: Break,
        given: Vec<Given>,
        by_hand: Option<Recipe>,
    ) -> Result<Editor, Trouble> {
        let here = std::env::current_dir()
            .map_err(|error| Trouble::new(format!("cannot find the current folder: {error}")))?;
        let workspace = Workspace::find(folder, &here)?;
        let kind = match chosen {
            Some(name) => Kind::named(name).ok_or_else(|| unknown(name))?,
            None => used(&workspace).or_else(|| Kind::installed(&home()?)).unwrap_or(Kind::Cppdbg),
        };
        let wishes = Wishes { stop_at, given, mi_debugger: mi_debugger(kind) };
        wishes.check(kind)?;
        Ok(Editor { kind, workspace, by_hand, wishes, entered: Vec::new(), launches: 0 })
    }

    /// Takes out what dead sessions have left.
    pub fn forget_stale(&mut self) -> Result<usize, Trouble> {
        let document = self.workspace.read()?;
        if document.entries(List::Configurations).is_ok_and(|entries| entries.is_empty()) {
            return Ok(0);
        }
        let written = std::fs::metadata(self.workspace.path()).and_then(|file| file.modified());
        let written = written.ok();
        self.workspace.edit(&mut |document| {
            document.detach(&|pid| !pid.is_some_and(|pid| may_be_held(pid, written)))
        })
    }

    /// The configuration that attaches to a process.
    pub fn attach_entry(&self, pid: Pid, program: &Program) -> Value {
        attach::configuration(self.kind, pid, &program.exe, &self.wishes)
    }

    /// The configuration that runs a program again.
    pub fn launch_entry(&self, again: &Again) -> Result<Launch, String> {
        launch::configuration(self.kind, again, &self.wishes)
    }

    /// Writes both; the name of the one that attaches.
    pub fn enter(
        &mut self,
        pid: Pid,
        entry: &Value,
        launch: Option<&Value>,
    ) -> Result<String, Trouble> {
        let name = self.workspace.edit(&mut |document| {
            if let Some(launch) = launch {
                document.launch(launch, 1)?;
            }
            document.attach(entry)
        })?;
        self.entered.push(pid);
        Ok(name)
    }

    /// Writes a configuration that runs a program again; its name, or `None` if there are too many.
    pub fn enter_launch(&mut self, entry: &Value) -> Result<Option<String>, Trouble> {
        if self.launches == MANY {
            return Ok(None);
        }
        let (number, first) = (self.launches + 1, self.launches == 0);
        let name = self.workspace.edit(&mut |document| {
            if first {
                document.forget_launches()?;
            }
            document.launch(entry, number)
        })?;
        self.launches = number;
        Ok(Some(name))
    }

    /// Takes out the entries of processes that are not held any more.
    pub fn keep_only(&mut self, held: &dyn Fn(Pid) -> bool) -> Result<(), Trouble> {
        let (kept, gone): (Vec<Pid>, Vec<Pid>) =
            self.entered.iter().copied().partition(|&pid| held(pid));
        if gone.is_empty() {
            return Ok(());
        }
        // Once is enough: whatever cannot be written now will not be later.
        self.entered = kept;
        self.workspace
            .edit(&mut |document| {
                document.detach(&|pid| pid.is_some_and(|pid| gone.contains(&pid)))
            })
            .map(|_| ())
    }
}

/// What a launch.json that can be read uses already.
fn used(workspace: &Workspace) -> Option<Kind> {
    let document = workspace.read().ok()?;
    let entries = document.entries(List::Configurations).ok()?;
    Kind::used(&entries)
}

/// Whether an entry's process may still be the one that was held: it is stopped or in a debugger's
/// hands, and began before the file was written.
fn may_be_held(pid: Pid, written: Option<std::time::SystemTime>) -> bool {
    let Ok(status) = Status::read(pid) else { return false };
    if status.tracer == 0 && !status.stops() {
        return false;
    }
    let began = Stat::read(pid).ok().and_then(|stat| crate::procfs::began(&stat));
    match (began, written) {
        (Some(began), Some(written)) => began <= written,
        _ => true,
    }
}

fn mi_debugger(kind: Kind) -> Option<String> {
    let name = match kind {
        Kind::Cppdbg => "gdb",
        Kind::CppdbgLldb => "lldb-mi",
        _ => return None,
    };
    which::which(name).ok()?.into_os_string().into_string().ok()
}

/// The home of the user whose editor it is.
fn home() -> Option<std::path::PathBuf> {
    let caller = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    match caller.filter(|_| Uid::effective().is_root()) {
        Some(uid) => Some(User::from_uid(Uid::from_raw(uid)).ok()??.dir),
        None => std::env::var_os("HOME").map(Into::into),
    }
}

fn unknown(name: &str) -> Trouble {
    let names: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
    Trouble::new(format!("--debugger {name}: launch.json has no such type that we know"))
        .hint(format!("there are {}; gdb means cppdbg, lldb means codelldb", names.join(", ")))
}
