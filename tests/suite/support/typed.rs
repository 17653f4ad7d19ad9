//! tracexec on a terminal of the test's own, whose debugger is typed to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::openpty;

use super::{BACKEND, LIMIT, Outcome, Running, TRACEXEC, World, eventually, is_gone, pid_in};

/// Text that grows while somebody writes it.
pub struct Growing {
    text: Arc<Mutex<String>>,
    seen: usize,
}

impl Growing {
    pub fn new(mut stream: impl Read + Send + 'static) -> Growing {
        let text = Arc::new(Mutex::new(String::new()));
        let grown = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                let new = String::from_utf8_lossy(&buffer[..len]).replace('\r', "");
                grown.lock().unwrap().push_str(&new);
            }
        });
        Growing { text, seen: 0 }
    }

    /// All of it, so far.
    pub fn all(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Looks for `text` after what was found before; what has come up to its end.
    pub fn look_for(&mut self, text: &str) -> Option<String> {
        let all = self.all();
        let end = self.seen + all[self.seen..].find(text)? + text.len();
        let new = all[self.seen..end].to_string();
        self.seen = end;
        Some(new)
    }

    /// The same, and waits for it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(new) = self.look_for(text) {
                return new;
            }
            assert!(Instant::now() < deadline, "in vain: {text:?} in:\n{}", self.all());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether whoever wrote it has closed it.
    fn is_closed(&self) -> bool {
        Arc::strong_count(&self.text) == 1
    }
}

/// `tracexec debug --in here`, its messages and the target's output kept apart from the terminal.
pub struct Typed {
    leader: Running,
    /// What is typed and shown.
    keyboard: File,
    pub screen: Growing,
    pub stdout: Growing,
    pub stderr: Growing,
    pub tracexec: i32,
}

/// The terminal must outlive tracexec, as a user's does: a shell is its session's leader, keeps it
/// open as descriptor 9, and ends when its standard input does.
const LEADER: &str = r#""$@" </dev/null 9>&-; status=$?; read end; exit $status"#;

impl Typed {
    /// Runs `script` in a shell.
    #[track_caller]
    pub fn start(world: &World, options: &[&str], script: &str) -> Typed {
        let terminal = openpty(None, None).unwrap();
        let mut command = Command::new("sh");
        world.prepare(&mut command);
        command
            .args(["-c", LEADER, "sh", TRACEXEC, "debug", "--backend", BACKEND, "--in", "here"])
            .args(options);
        command.args(["--", "sh", "-c", script]).env("TERM", "dumb");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for end in [&terminal.master, &terminal.slave] {
            tracexec::linux::sys::close_on_exec(end.as_fd()).unwrap();
        }
        let slave = terminal.slave.as_raw_fd();
        let keyboard = File::from(terminal.master);
        // SAFETY: system calls that are async-signal-safe; the descriptor is open until after the
        // spawn.
        unsafe {
            command.pre_exec(move || {
                if libc::setsid() == -1
                    || libc::ioctl(slave, libc::TIOCSCTTY, 0) == -1
                    || libc::dup2(slave, 9) == -1
                    || libc::fcntl(9, libc::F_SETFD, 0) == -1
                {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let shell = child.id();
        let stdout = Growing::new(child.stdout.take().unwrap());
        let stderr = Growing::new(child.stderr.take().unwrap());
        let screen = Growing::new(keyboard.try_clone().unwrap());
        let tracexec = eventually("tracexec's pid", || {
            let children = format!("/proc/{shell}/task/{shell}/children");
            fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
        });
        let leader = Running { child: Some(child) };
        Typed { leader, keyboard, screen, stdout, stderr, tracexec }
    }

    /// Waits until the next debugger is started; the pid of its process.
    #[track_caller]
    pub fn hit(&mut self) -> i32 {
        let said = self.stderr.wait_for(" in here\n");
        let line = said.lines().rfind(|line| line.ends_with(" in here")).unwrap();
        pid_in(line)
    }

    /// Types keys.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line and waits until `text` is shown after it; what was shown.
    #[track_caller]
    pub fn enter(&mut self, line: &str, text: &str) -> String {
        self.keys(line);
        self.keys("\n");
        // The echo of the line is not what it brings about.
        self.screen.wait_for(line);
        self.screen.wait_for(text)
    }

    /// Waits for tracexec's end, and that of all who could write its output; what it came to.
    #[track_caller]
    pub fn finish(mut self) -> Outcome {
        eventually("tracexec's end", || is_gone(self.tracexec).then_some(()));
        drop(self.leader.child().stdin.take());
        let status = eventually("the leader's end", || self.leader.child().try_wait().unwrap());
        eventually("the end of what it wrote", || {
            (self.stdout.is_closed() && self.stderr.is_closed()).then_some(())
        });
        Outcome { status, stdout: self.stdout.all().into_bytes(), stderr: self.stderr.all() }
    }
}

/// The processes that were started in this world and still are there.
pub fn processes_of(world: &World) -> Vec<i32> {
    let mark = world.dir.path().to_str().unwrap().as_bytes().to_vec();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if memchr::memmem::find(&environment, &mark).is_some() && !is_gone(pid) {
            found.push(pid);
        }
    }
    found
}

/// Waits until no process of this world is left, stopped ones included.
#[track_caller]
pub fn nothing_is_left_of(world: &World) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = processes_of(world);
        if left.is_empty() {
            return;
        }
        let shown: Vec<String> = left
            .iter()
            .map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                format!("{pid} {:?} {}", super::state(*pid), String::from_utf8_lossy(&line))
            })
            .collect();
        assert!(Instant::now() < deadline, "still there: {shown:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
