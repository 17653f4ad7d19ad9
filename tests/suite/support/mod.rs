//! What the integration tests share: tracexec run with a time-out, C programs, waiting for a state.
//!
//! Tests wait for something to be so, never for a time to pass, and each wait has a limit.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod browser;
pub mod compile;
pub mod dap;
pub mod display;
#[cfg(feature = "ebpf")]
pub mod ebpf;
pub mod log;
pub mod mi;
pub mod screen;
pub mod tmux;
pub mod typed;
pub mod user;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The program under test.
pub const TRACEXEC: &str = env!("CARGO_BIN_EXE_tracexec");

/// The source under test: `tests/suite_ebpf` includes the files of `tests/suite`.
pub const BACKEND: &str = match env!("CARGO_CRATE_NAME").as_bytes() {
    [.., b'e', b'b', b'p', b'f'] => "ebpf",
    _ => "ptrace",
};

/// The state of a match that waits for its turn.
pub const WAITING: char = if BACKEND.len() == 4 { 'T' } else { 't' };

/// Waits until `ask` gives something; fails with `what` after [`LIMIT`].
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}\n{}", processes());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What every process of the machine does and where it waits, for a wait that was in vain.
fn processes() -> String {
    let columns = "pid,ppid,pgid,tid,stat,wchan:24,args";
    let ps = Command::new("ps").args(["-eL", "-ww", "-o", columns]).output();
    ps.map_or_else(
        |error| format!("ps: {error}"),
        |ps| {
            let all = String::from_utf8_lossy(&ps.stdout).into_owned();
            // Of the kernel's own threads nothing is of interest; what has ended looks like them.
            let counts = |line: &&str| !line.contains(" [") || line.contains("<defunct>");
            all.lines().filter(counts).collect::<Vec<_>>().join("\n")
        },
    )
}

/// What says where one is: a test is nowhere.
const OF_TERMINALS: [&str; 15] = [
    "TMUX",
    "TMUX_PANE",
    "STY",
    "ZELLIJ",
    "KITTY_WINDOW_ID",
    "KITTY_LISTEN_ON",
    "WEZTERM_PANE",
    "KONSOLE_VERSION",
    "GNOME_TERMINAL_SCREEN",
    "ALACRITTY_WINDOW_ID",
    "XTERM_VERSION",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "SUDO_UID",
    "NO_COLOR",
];

/// A folder of the test's own, with the runtime directory in it.
pub struct World {
    pub dir: TempDir,
}

/// What a run has come to.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 1000 + self.status.signal().unwrap_or_default())
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        World { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Compiles `tests/fixtures/NAME.c`; `flags` may make it static, 32-bit and so on.
    pub fn fixture(&self, name: &str, flags: &[&str]) -> PathBuf {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.c"));
        let program = self.path(name);
        let output = Command::new("cc")
            .args(["-g", "-O0", "-Wall", "-Werror", "-pthread", "-o"])
            .arg(&program)
            .arg(&source)
            .args(flags)
            .output()
            .expect("cc is needed: apt install gcc libc6-dev gcc-multilib");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }

    /// `tracexec` with these arguments, its socket in this world, without a terminal's variables.
    pub fn tracexec<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(TRACEXEC);
        for arg in args {
            let arg = arg.as_ref();
            command.arg(arg);
            if arg == "debug" {
                command.args(["--backend", BACKEND]);
            }
        }
        self.prepare(&mut command);
        command
    }

    /// Gives a command this world's runtime and configuration folders, and its programs, if it has some
    /// in `bin`.
    pub fn prepare(&self, command: &mut Command) {
        let runtime = self.path("run");
        let _ = fs::create_dir(&runtime);
        command.env("XDG_RUNTIME_DIR", runtime);
        command.env("XDG_CONFIG_HOME", self.path("config"));
        for name in OF_TERMINALS {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        let bin = self.path("bin");
        if bin.exists() {
            let path = std::env::var("PATH").unwrap();
            command.env("PATH", format!("{}:{path}", bin.display()));
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        finish(self.start(self.tracexec(args)))
    }

    /// Runs a command line of a shell under `tracexec debug` with these options.
    #[track_caller]
    pub fn debug_sh(&self, options: &[&str], script: &str) -> Outcome {
        let mut args = vec!["debug"];
        args.extend_from_slice(options);
        args.extend(["--", "sh", "-c", script]);
        self.run(args)
    }

    /// Starts it, its output captured, in a process group of its own.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Running { child: Some(command.spawn().unwrap()) }
    }
}

/// A process that is killed with its group if the test ends before it does.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id() as i32
    }

    pub fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        signal_process(self.pid(), signal);
    }

    /// Fails, with what it said, if it has ended.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child().try_wait().unwrap() {
            let mut said = String::new();
            let _ = self.child().stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
            panic!("it has ended, {status}:\n{said}");
        }
    }

    /// Reads its standard error until a line contains `text`; that line.
    #[track_caller]
    pub fn stderr_line(&mut self, text: &str) -> String {
        let stderr = self.child().stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut seen = String::new();
        let mut byte = [0];
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u16;
            let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(left)).unwrap();
            assert!(ready > 0, "in vain: a line with {text:?} after:\n{seen}");
            if stderr.read(&mut byte).unwrap() == 0 {
                break;
            }
            if byte[0] != b'\n' {
                line.push(byte[0]);
                continue;
            }
            let text_line = String::from_utf8_lossy(&line).into_owned();
            if text_line.contains(text) {
                return text_line;
            }
            seen.push_str(&text_line);
            seen.push('\n');
            line.clear();
        }
        panic!("no line with {text:?} in:\n{seen}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal_process(-(child.id() as i32), libc::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// Waits for the end, and collects the output.
#[track_caller]
pub fn finish(mut running: Running) -> Outcome {
    fn reader(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_end(&mut all);
            }
            all
        })
    }
    let (stdout, stderr) = (running.child().stdout.take(), running.child().stderr.take());
    let (stdout, stderr) = (reader(stdout), reader(stderr));
    let status = eventually("the command's end", || running.child().try_wait().unwrap());
    let mut child = running.child.take().unwrap();
    // The group may live on on purpose; what keeps the pipes open would hang the readers, so it goes.
    let pid = child.id() as i32;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !(stdout.is_finished() && stderr.is_finished()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    if !(stdout.is_finished() && stderr.is_finished()) {
        signal_process(-pid, libc::SIGKILL);
    }
    let _ = child.wait();
    Outcome {
        status,
        stdout: stdout.join().unwrap(),
        stderr: String::from_utf8_lossy(&stderr.join().unwrap()).into_owned(),
    }
}

/// kill(2).
pub fn signal_process(pid: i32, signal: i32) {
    let _ = tracexec::linux::sys::kill(pid, signal);
}

/// The state letter of a process, see proc(5); `None` when it is gone.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A line's value in /proc/PID/status.
pub fn status_of(pid: i32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(&format!("{key}:")))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Whether a process is gone, or a zombie that nobody has collected yet.
pub fn is_gone(pid: i32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// The pid at the beginning of a hit line, `tracexec: PID ...`.
#[track_caller]
pub fn pid_in(line: &str) -> i32 {
    // A prompt may stand before it.
    let text = line.split("tracexec: ").nth(1).unwrap_or_default();
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("no pid in {line:?}"))
}

/// The pids of all processes whose command line contains `text`.
pub fn processes_with(text: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        if String::from_utf8_lossy(&line).contains(text) && !is_gone(pid) {
            found.push(pid);
        }
    }
    found
}

/// Writes to a child's standard input and closes it.
pub fn feed(running: &mut Running, bytes: &[u8]) {
    let mut stdin = running.child().stdin.take().unwrap();
    stdin.write_all(bytes).unwrap();
}
