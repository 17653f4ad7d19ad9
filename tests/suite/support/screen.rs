//! A screen session of the test's own, which nobody looks at.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::user::User;
use super::{World, eventually};

pub struct Screen<'w> {
    world: &'w World,
    user: Option<&'w User>,
}

/// Its name.
pub const NAME: &str = "work";

impl<'w> Screen<'w> {
    /// Runs a shell's script in its first window.
    #[track_caller]
    pub fn start(world: &'w World, user: Option<&'w User>, script: &str) -> Screen<'w> {
        let folder = world.path("screen");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let script = world.file("in-screen", script);
        let screen = Screen { world, user };
        let mut command = screen.command();
        if let Some(user) = user {
            user.give(world.dir.path());
        }
        command.args(["-c", "/dev/null", "-dmS", NAME, "sh"]).arg(script);
        let status = command.status().expect("screen is needed: apt install screen");
        assert!(status.success());
        screen
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("screen");
        self.world.prepare(&mut command);
        self.environment(&mut command);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// What says where its socket is.
    pub fn environment(&self, command: &mut Command) {
        command.env("SCREENDIR", self.world.path("screen")).env("TERM", "xterm");
        command.env("HOME", self.world.dir.path()).current_dir(self.world.dir.path());
    }

    /// Types a line in a window.
    pub fn type_line(&self, window: &str, line: &str) {
        let mut command = self.command();
        command.args(["-S", NAME, "-p", window, "-X", "stuff"]).arg(format!("{line}\r"));
        assert!(command.status().unwrap().success());
    }

    /// Waits until a window shows something.
    #[track_caller]
    pub fn shows(&self, window: &str, text: &str) {
        let copy = self.world.path("hardcopy");
        eventually(&format!("{text:?} in window {window}"), || {
            let _ = fs::remove_file(&copy);
            let mut command = self.command();
            command.args(["-S", NAME, "-p", window, "-X", "hardcopy"]).arg(&copy);
            let _ = command.output();
            let shown = fs::read(&copy).unwrap_or_default();
            String::from_utf8_lossy(&shown).contains(text).then_some(())
        });
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // Gone already, unless the test has failed.
        let _ = self.command().args(["-S", NAME, "-X", "quit"]).output();
    }
}
