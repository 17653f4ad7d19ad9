//! A tmux server of the test's own: what is typed into a pane, and what is to be read there.

use std::cell::Cell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::user::User;
use super::{BACKEND, TRACEXEC, World, eventually, is_gone, signal_process};

/// What the shell in the first pane asks for a command with.
const PROMPT: &str = "ready$";

/// A server with one session, in whose first pane a shell waits for commands.
pub struct Tmux<'w> {
    world: &'w World,
    user: Option<&'w User>,
    /// The program under test, where the shell's user can execute it.
    pub tracexec: PathBuf,
    pub first: String,
    typed: Cell<u32>,
}

/// What the shell has said of a command that it was given.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// All that is to be seen in its pane.
    pub screen: String,
}

impl<'w> Tmux<'w> {
    pub fn start(world: &'w World) -> Tmux<'w> {
        Tmux::of(world, None, TRACEXEC.into())
    }

    /// The server of a user who is not root. The world becomes his.
    pub fn start_as(world: &'w World, user: &'w User) -> Tmux<'w> {
        let tracexec = world.path("tracexec");
        fs::copy(TRACEXEC, &tracexec).unwrap();
        Tmux::of(world, Some(user), tracexec)
    }

    fn of(world: &'w World, user: Option<&'w User>, tracexec: PathBuf) -> Tmux<'w> {
        fs::create_dir(world.path("tmux")).unwrap();
        let typed = Cell::new(0);
        let mut tmux = Tmux { world, user, tracexec, first: String::new(), typed };
        world.prepare(&mut tmux.command());
        if let Some(user) = user {
            user.give(world.dir.path());
        }
        let size = ["-x", "200", "-y", "100"];
        let mut new = vec!["new-session", "-d", "-P", "-F", "#{pane_id}"];
        new.extend(size);
        new.extend(["--", "bash", "--norc", "--noprofile", "-i"]);
        tmux.first = tmux.ask(&new).trim().to_string();
        tmux.shows(&tmux.first, PROMPT);
        tmux
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", "test", "-f", "/dev/null"]);
        self.world.prepare(&mut command);
        let home = self.world.dir.path();
        command.current_dir(home).env("HOME", home).env("TMUX_TMPDIR", home.join("tmux"));
        command.env("PS1", format!("{PROMPT} ")).env("HISTFILE", "").env("SHELL", "/bin/sh");
        command.env_remove("DEBUGINFOD_URLS");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Runs a tmux command; what it says.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().expect("tmux is needed: apt install tmux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A value of a pane, as tmux(1) lists them under FORMATS.
    pub fn value(&self, pane: &str, format: &str) -> String {
        self.ask(&["display-message", "-p", "-t", pane, format]).trim().to_string()
    }

    /// The process that was started in a pane.
    pub fn pid(&self, pane: &str) -> i32 {
        self.value(pane, "#{pane_pid}").parse().unwrap()
    }

    /// Makes a program believe that it runs in the first pane.
    pub fn pretend(&self, command: &mut Command) {
        let tmux = self.value(&self.first, "#{socket_path},#{pid},0");
        command.env("TMUX", tmux).env("TMUX_PANE", &self.first);
    }

    /// The panes of all windows, the first one left out.
    pub fn others(&self) -> Vec<String> {
        let panes = self.ask(&["list-panes", "-s", "-F", "#{pane_id}"]);
        panes.lines().filter(|pane| *pane != self.first).map(str::to_string).collect()
    }

    pub fn windows(&self) -> usize {
        self.ask(&["list-windows"]).lines().count()
    }

    /// Waits until there are so many panes beside the first.
    #[track_caller]
    pub fn other_panes(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} more panes"), || {
            let others = self.others();
            if others.len() == count {
                return Some(others);
            }
            breathe()
        })
    }

    /// What a pane shows and has shown, without the blank lines at the end.
    pub fn screen(&self, pane: &str) -> String {
        let screen = self.ask(&["capture-pane", "-p", "-J", "-S", "-", "-t", pane]);
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_string()
    }

    /// Waits until a pane shows something.
    #[track_caller]
    pub fn shows(&self, pane: &str, text: &str) -> String {
        self.until(pane, text, |screen| screen.contains(text))
    }

    /// Waits until this is the last thing that a pane shows.
    #[track_caller]
    pub fn ends_with(&self, pane: &str, text: &str) -> String {
        self.until(pane, text, |screen| screen.ends_with(text))
    }

    #[track_caller]
    fn until(&self, pane: &str, what: &str, good: impl Fn(&str) -> bool) -> String {
        let shown = Cell::new(String::new());
        let print = Last { shown: &shown, what };
        let screen = eventually(&format!("{what:?} in pane {pane}"), || {
            let screen = self.screen(pane);
            if good(&screen) {
                return Some(screen);
            }
            shown.set(screen);
            breathe()
        });
        std::mem::forget(print);
        screen
    }

    /// Waits for gdb's prompt.
    #[track_caller]
    pub fn gdb(&self, pane: &str) -> String {
        self.ends_with(pane, "\n(gdb)")
    }

    /// Presses keys, by tmux's names.
    pub fn press(&self, pane: &str, key: &str) {
        self.ask(&["send-keys", "-t", pane, key]);
    }

    /// Types a line.
    pub fn type_line(&self, pane: &str, line: &str) {
        self.ask(&["send-keys", "-l", "-t", pane, "--", line]);
        self.press(pane, "Enter");
    }

    /// Has the shell run a line of its own language.
    pub fn shell(&self, line: &str) {
        self.typed.set(self.typed.get() + 1);
        self.type_line(&self.first, &format!("{line}; echo \"end {} $?.\"", self.typed.get()));
    }

    /// Has the shell run `tracexec debug OPTIONS -- sh -c SCRIPT`.
    pub fn debug(&self, options: &[&str], script: &str) {
        self.shell(&self.debug_line(options, script));
    }

    pub fn debug_line(&self, options: &[&str], script: &str) -> String {
        let mut words = vec![self.tracexec.to_str().unwrap(), "debug", "--backend", BACKEND];
        words.extend_from_slice(options);
        words.extend(["--", "sh", "-c", script]);
        shell_words::join(words)
    }

    /// Waits for the end of what the shell was given last.
    #[track_caller]
    pub fn ended(&self) -> Ended {
        let mark = format!("end {} ", self.typed.get());
        // The line as it was typed has no number there.
        let code = |screen: &str| {
            screen.split(&mark).find_map(|rest| rest.split_once('.')?.0.parse().ok())
        };
        let screen = self.until(&self.first, &mark, |screen| code(screen).is_some());
        Ended { code: code(&screen).unwrap(), screen }
    }

    /// Ends the shell: as the last pane it takes the server with it, and then nothing of this test's
    /// may be left.
    #[track_caller]
    pub fn finish(self) {
        self.type_line(&self.first, "exit");
        nothing_left(self.world);
    }
}

/// Waits until no process of this world's is left.
#[track_caller]
pub fn nothing_left(world: &World) {
    let shown = Cell::new(String::new());
    let print = Last { shown: &shown, what: "no process left" };
    eventually("no process left", || {
        let left = processes_of(world.dir.path());
        if left.is_empty() {
            return Some(());
        }
        let lines = left.iter().map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid} {:?} {}\n", super::state(*pid), String::from_utf8_lossy(&line))
        });
        shown.set(lines.collect());
        breathe()
    });
    std::mem::forget(print);
}

/// The living processes that were started with, in, or out of a folder.
pub fn processes_of(folder: &Path) -> Vec<i32> {
    let folder = folder.to_str().unwrap();
    let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let mentioned =
            cwd.starts_with(folder) || holds(&read("cmdline")) || holds(&read("environ"));
        if mentioned && !is_gone(pid) && pid != std::process::id() as i32 {
            found.push(pid);
        }
    }
    found
}

/// Not to take the machine from those that are waited for. Gives what [`eventually`] goes on for.
fn breathe<T>() -> Option<T> {
    std::thread::sleep(Duration::from_millis(20));
    None
}

/// Shows what was to be seen last, if the wait for something else fails.
struct Last<'a> {
    shown: &'a Cell<String>,
    what: &'a str,
}

impl Drop for Last<'_> {
    fn drop(&mut self) {
        eprintln!("--- instead of {:?}:\n{}\n---", self.what, self.shown.take());
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        // Gone already, unless the test has failed.
        let mut kill = self.command();
        let _ = kill.arg("kill-server").stdout(Stdio::null()).stderr(Stdio::null()).status();
        for pid in processes_of(self.world.dir.path()) {
            signal_process(pid, libc::SIGKILL);
        }
    }
}
