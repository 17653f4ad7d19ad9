//! VS Code's launch.json, written by the real program and given to real debuggers.

mod attach;
mod file;
mod launch;
mod schema;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Running, World, pid_in};
use serde_json::Value;
use tracexec::launcher::vscode::document::{Document, List};

/// A folder with a launch.json, or where one is to be.
pub struct Workspace<'a> {
    world: &'a World,
    pub folder: PathBuf,
}

impl<'a> Workspace<'a> {
    pub fn new(world: &'a World) -> Workspace<'a> {
        let folder = world.path("ws");
        fs::create_dir_all(folder.join(".git")).unwrap();
        Workspace { world, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(".vscode/launch.json")
    }

    /// Puts a launch.json there.
    pub fn write(&self, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.folder.join(".vscode")).unwrap();
        fs::write(self.path(), text).unwrap();
    }

    pub fn text(&self) -> Option<String> {
        fs::read_to_string(self.path()).ok()
    }

    /// tracexec in this folder.
    pub fn tracexec(&self, options: &[&str], command: &[&str]) -> Command {
        let words = ["debug"].iter().chain(options).chain(&["--"]).chain(command);
        let mut command = self.world.tracexec(words);
        command.current_dir(&self.folder);
        // As in a terminal that is no editor's.
        for name in ["CODELLDB_LAUNCH_CONNECT_FILE", "NVIM", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command.env("HOME", self.world.dir.path());
        command
    }

    /// Starts it with `--in vscode` and waits until an entry is there; the pid of the process.
    #[track_caller]
    pub fn hit(&self, options: &[&str], command: &[&str]) -> (Running, i32) {
        let options = [&["--in", "vscode"], options].concat();
        let mut session = self.world.start(self.tracexec(&options, command));
        let pid = pid_in(&session.stderr_line("waits for the editor"));
        session.stderr_line("press F5");
        (session, pid)
    }

    /// A configuration that was written.
    #[track_caller]
    pub fn configuration(&self, name: &str) -> Value {
        let found = self.configurations().into_iter().find(|(other, _)| other == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.text())).1
    }

    pub fn configurations(&self) -> Vec<(String, Value)> {
        let document = Document::read(&fs::read(self.path()).unwrap()).unwrap();
        document.entries(List::Configurations).unwrap()
    }
}
