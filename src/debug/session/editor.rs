//! Matches that an editor is to attach to, or to run again.

use serde_json::Value;

use super::{Session, line};
use crate::debug::config::Action;
use crate::debug::hits::Stage;
use crate::debug::session::stages::End;
use crate::debug::session::stages::What;
use crate::launcher::editor::Editor;
use crate::launcher::vscode::again::Again;
use crate::text::report::Trouble;

impl Session {
    /// What dead sessions have left is dangerous: another process may have its number.
    pub(super) fn forget_stale_entries(&mut self) {
        let Some(editor) = self.editor() else { return };
        match editor.forget_stale() {
            Ok(0) => {}
            Ok(count) => self.report.detail(format!("{count} entries of dead sessions taken out")),
            // It is said again when something is to be written.
            Err(trouble) => self.report.detail(&trouble),
        }
    }

    /// The editor whose file is ours to write.
    fn editor(&mut self) -> Option<&mut Editor> {
        match &mut self.config.action {
            Action::Editor(editor) | Action::LaunchJson(editor) => Some(editor),
            _ => self.config.remote.as_deref_mut(),
        }
    }

    /// A server has the process: writes how to connect to it.
    pub(super) fn tell_of_server(&mut self, index: usize) {
        let hit = &self.hits[index];
        let Some(listen) = self.recipe_of(hit).map(|recipe| recipe.listen) else { return };
        let Some(editor) = &mut self.config.remote else { return };
        let hit = &self.hits[index];
        let server = (&*listen.host(), hit.findings.port);
        let entry = editor.remote_entry(hit.pid, &hit.program, server);
        match editor.enter(hit.pid, &entry, None) {
            Ok(name) => self.begin(&entry, &name),
            Err(trouble) => self.say(&trouble),
        }
    }

    /// Parks a match, and tells the editor of it.
    pub(super) fn hand_to_editor(&mut self, index: usize) {
        let Action::Editor(editor) = &self.config.action else { return };
        let place = if editor.path().is_some() { "vscode" } else { "nvim" };
        let hit = &mut self.hits[index];
        hit.place = Some(place.into());
        let again = Again::read(hit.pid, &hit.program);
        if !self.park_for_anyone(index, "waits for the editor") {
            return;
        }
        let hit = &self.hits[index];
        let Action::Editor(editor) = &mut self.config.action else { return };
        let entry = editor.attach_entry(hit.pid, &hit.program);
        let launch = editor.launch_entry(&again);
        let written =
            editor.enter(hit.pid, &entry, launch.as_ref().ok().map(|launch| &launch.entry));
        let has_file = editor.path().is_some();
        match &written {
            Ok(name) => self.begin(&entry, name),
            Err(trouble) => {
                self.say(trouble);
                self.say_how_to_attach(index);
            }
        }
        if written.is_ok() && has_file {
            self.say_what_was_left_out(launch.map(|launch| launch.left_out));
        }
    }

    /// Asks the editor to attach, or its user.
    fn begin(&self, entry: &Value, name: &str) {
        let editor = match &self.config.action {
            Action::Editor(editor) => editor,
            _ => match &self.config.remote {
                Some(editor) => editor,
                None => return,
            },
        };
        let by_key = match editor.path() {
            Some(path) => format!(
                "choose \"{name}\" ({}) under Run and Debug, and press F5; it is in {}",
                editor.kind.name(),
                crate::text::escape::word(path.as_os_str().as_encoded_bytes())
            ),
            None => "`tracexec ps` lists what waits, `tracexec release` lets it run on".into(),
        };
        let Some(way) = editor.way.clone() else {
            return self.report.hint(by_key);
        };
        self.report.say(way.whom());
        let mut entry = entry.clone();
        entry["name"] = name.into();
        let report = self.report;
        // An answer may not come before the debugger has attached, which we are to see meanwhile.
        let asked = std::thread::Builder::new().spawn(move || {
            if let Err(error) = way.ask(&entry) {
                report.warn(format!("it does not do it: {error}"));
                report.hint(by_key);
            }
        });
        if let Err(error) = asked {
            report.warn(format!("cannot ask the editor: {error}"));
        }
    }

    /// Writes a configuration that runs a match again, and lets it run on.
    pub(super) fn write_launch(&mut self, index: usize) {
        let hit = &mut self.hits[index];
        let Action::LaunchJson(editor) = &mut self.config.action else { return };
        let again = Again::read(hit.pid, &hit.program);
        let what = line(&hit.program);
        hit.let_run();
        self.stages.tell(hit, What::Over(End::Released, None));
        let launch = editor.launch_entry(&again);
        if let Ok(launch) = &launch {
            match editor.enter_launch(&launch.entry) {
                Ok(Some(name)) => self.report.hit(format!("{what}: \"{name}\" in launch.json")),
                Ok(None) => self.report.hit(format!("{what}: not written, there are many already")),
                Err(trouble) => {
                    self.report.hit(format!("{what}: not written"));
                    return self.say(&trouble);
                }
            }
        } else {
            self.report.hit(format!("{what}: not written"));
        }
        self.say_what_was_left_out(launch.map(|launch| launch.left_out));
    }

    /// Takes out the entries of processes that have ended or were let go.
    pub(super) fn take_out_entries(&mut self, last: bool) {
        let editor = match &mut self.config.action {
            Action::Editor(editor) => editor,
            _ => match &mut self.config.remote {
                Some(editor) => editor,
                None => return,
            },
        };
        let hits = &self.hits;
        let held = |pid| {
            hits.iter().any(|hit| {
                hit.pid == pid && matches!(hit.stage, Stage::Parked(_) | Stage::Attached(_))
            })
        };
        if let Err(trouble) = editor.keep_only(&held, last) {
            self.say(&trouble);
        }
    }

    fn say(&self, trouble: &Trouble) {
        self.report.warn(trouble);
        if let Some(hint) = &trouble.hint {
            self.report.hint(hint);
        }
    }

    fn say_what_was_left_out(&self, left_out: Result<Vec<String>, String>) {
        match left_out {
            Ok(left_out) => {
                for what in left_out {
                    self.report.warn(format!("the configuration to run it again lacks {what}"));
                }
            }
            Err(why) => {
                self.report.warn(format!("no configuration to run it again: {why}"));
            }
        }
    }
}
