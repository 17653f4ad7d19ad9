//! An editor that attaches to a parked process: what it is to be told, and how.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::unistd::{Uid, User};
use serde_json::Value;

use super::command::{Break, Given, Recipe};
use super::vscode::again::Again;
use super::vscode::ask::Way;
use super::vscode::attach::{self, Wishes};
use super::vscode::document::List;
use super::vscode::kind::Kind;
use super::vscode::launch::{self, Launch};
use super::vscode::workspace::Workspace;
use crate::debug::matcher::Program;
use crate::linux::sys::Pid;
use crate::machine::procfs::{Stat, Status};
use crate::text::report::Trouble;

/// The place that stands for the editor whose file is launch.json.
pub const VSCODE: &str = "vscode";
/// The places whose debugger depends on what the editor has.
pub const NEOVIM: &str = "nvim";
const EMACS: &str = "emacs";

/// How many configurations --launch-json writes.
const MANY: usize = 20;

/// An editor by its launch.json, and what is ours in that.
#[derive(Debug)]
pub struct Editor {
    pub kind: Kind,
    workspace: Workspace,
    /// What to type at a process if the editor cannot be told.
    pub by_hand: Option<Recipe>,
    /// How to ask the editor; `None`: by its file only.
    pub way: Option<Way>,
    /// Whether it has a file.
    has_file: bool,
    wishes: Wishes,
    /// The processes that have entries.
    entered: Vec<Pid>,
    /// Those of which an entry could not be taken out.
    left: Vec<Pid>,
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
        let way = Way::find(kind, workspace.folder(), home().as_deref());
        Ok(Editor {
            kind,
            workspace,
            by_hand,
            way,
            has_file: true,
            wishes,
            entered: Vec::new(),
            left: Vec::new(),
            launches: 0,
        })
    }

    /// An editor that connects to a server of ours; `None` if the debugger is none.
    pub fn of_server(
        name: &str,
        folder: Option<&Path>,
        stop_at: Break,
        given: Vec<Given>,
    ) -> Result<Option<Editor>, Trouble> {
        let Some(kinds) = Kind::of_server(name) else { return Ok(None) };
        let mut editor = Editor::new(Some(kinds[0].name()), folder, stop_at, given, None)?;
        let installed = || home().and_then(|home| Kind::installed(&home));
        let fits = |kind: &Kind| kinds.contains(kind);
        let other = used(&editor.workspace).filter(fits).or_else(|| installed().filter(fits));
        editor.kind = other.unwrap_or(editor.kind);
        editor.way = None;
        Ok(Some(editor))
    }

    /// nvim-dap, if the Neovim in which we run has it and can do what is asked for; else a debugger goes
    /// into a terminal there.
    pub fn nvim_dap(
        chosen: Option<&str>,
        stop_at: &Break,
        given: &[Given],
        by_hand: Option<Recipe>,
    ) -> Result<Option<Editor>, Trouble> {
        // These are programs for a terminal, and no adapters.
        let kind = match chosen {
            None => None,
            Some(name) => match Kind::named(name).filter(|kind| kind.name() == name) {
                Some(kind) => Some(kind),
                None => return Ok(None),
            },
        };
        let Some((found, way)) = Way::neovim(kind) else {
            return match kind {
                Some(kind) => Err(Trouble::new(format!(
                    "--in nvim: there is no Neovim around us whose nvim-dap has an adapter for {}",
                    kind.name()
                ))
                .hint("run it in a :terminal of Neovim; --debugger gdb or lldb needs no nvim-dap")),
                None => Ok(None),
            };
        };
        let wishes = Wishes {
            stop_at: stop_at.clone(),
            given: given.to_vec(),
            mi_debugger: mi_debugger(found),
        };
        if let Err(trouble) = wishes.check(found) {
            return if kind.is_some() { Err(trouble) } else { Ok(None) };
        }
        let here = std::env::current_dir().unwrap_or_default();
        Ok(Some(Editor {
            kind: found,
            workspace: Workspace::find(None, &here)?,
            by_hand,
            way: Some(way),
            has_file: false,
            wishes,
            entered: Vec::new(),
            left: Vec::new(),
            launches: 0,
        }))
    }

    /// Its launch.json, if it has one.
    pub fn path(&self) -> Option<PathBuf> {
        self.has_file.then(|| self.workspace.path())
    }

    /// Takes out what dead sessions have left.
    pub fn forget_stale(&mut self) -> Result<usize, Trouble> {
        if !self.has_file {
            return Ok(0);
        }
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
        attach::configuration(self.kind, pid, &found_exe(pid, program), &self.wishes)
    }

    /// The configuration that connects to the server which has a process, by its host and port.
    pub fn remote_entry(&self, pid: Pid, program: &Program, server: (&str, u16)) -> Value {
        attach::remote(self.kind, pid, &found_exe(pid, program), server, &self.wishes)
    }

    /// The configuration that runs a program again.
    pub fn launch_entry(&self, again: &Again) -> Result<Launch, String> {
        launch::configuration(self.kind, again, &self.wishes)
    }

    /// Writes both, where there is a file; the name of the one that attaches.
    pub fn enter(
        &mut self,
        pid: Pid,
        entry: &Value,
        launch: Option<&Value>,
    ) -> Result<String, Trouble> {
        if !self.has_file {
            return Ok(format!("tracexec: attach to {pid}"));
        }
        let name = self.workspace.edit(&mut |document| {
            if let Some(launch) = launch {
                document.launch(launch, 1)?;
            }
            document.attach(entry)
        })?;
        self.left.retain(|&other| other != pid);
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

    /// Takes out the entries of processes that are not held any more. What fails is tried again with the
    /// next one, and at the `last`.
    pub fn keep_only(&mut self, held: &dyn Fn(Pid) -> bool, last: bool) -> Result<(), Trouble> {
        let (kept, gone): (Vec<Pid>, Vec<Pid>) =
            self.entered.iter().copied().partition(|&pid| held(pid));
        self.entered = kept;
        let again = last && !self.left.is_empty();
        if gone.is_empty() && !again {
            return Ok(());
        }
        self.left.extend(gone);
        let left = &self.left;
        self.workspace.edit(&mut |document| {
            document.detach(&|pid| pid.is_some_and(|pid| left.contains(&pid)))
        })?;
        self.left.clear();
        Ok(())
    }
}

/// The debugger and the place for `--in emacs`: GUD speaks gdb's machine interface, other debuggers get a
/// terminal.
pub fn in_emacs<'a>(chosen: Option<&'a str>, place: &'a str) -> (Option<&'a str>, &'a str) {
    match chosen {
        _ if place != EMACS => (chosen, place),
        None | Some("gdb" | "gdb-mi") => (Some("gdb-mi"), place),
        Some(_) => (chosen, "emacs-term"),
    }
}

/// What a launch.json that can be read uses already.
fn used(workspace: &Workspace) -> Option<Kind> {
    let document = workspace.read().ok()?;
    let mut entries = document.entries(List::Configurations).ok()?;
    entries.retain(|(name, _)| !name.starts_with("tracexec: "));
    Kind::used(&entries)
}

/// Where a process's program is found.
fn found_exe(pid: Pid, program: &Program) -> Vec<u8> {
    let link = format!("/proc/{pid}/exe");
    // Removed or replaced since, or in another mount namespace: that path is another file's, or none's.
    let path = Path::new(OsStr::from_bytes(&program.exe));
    if is_same_file(path, Path::new(&link)) { program.exe.clone() } else { link.into_bytes() }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether an entry's process may still be the one that was held: it is stopped or in a debugger's
/// hands, and began before the file was written.
fn may_be_held(pid: Pid, written: Option<SystemTime>) -> bool {
    let Ok(status) = Status::read(pid) else { return false };
    if status.tracer == 0 && !status.stops() {
        return false;
    }
    let began = Stat::read(pid).ok().and_then(|stat| crate::machine::procfs::began(&stat));
    match (began, written) {
        // Both clocks may have been set since.
        (Some(began), Some(written)) => began <= written + Duration::from_secs(60),
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
fn home() -> Option<PathBuf> {
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
