//! Displays in memory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;

/// An X server with a screen that nobody sees.
pub struct Display {
    server: Child,
    number: String,
}

impl Display {
    #[track_caller]
    pub fn start() -> Display {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().expect("Xvfb is needed: apt install xvfb");
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        assert!(!number.is_empty(), "Xvfb has ended");
        Display { server, number: number.trim().to_string() }
    }

    pub fn name(&self) -> String {
        format!(":{}", self.number)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

/// A Wayland compositor in a window of an X server: it has a keyboard there, which foot wants.
pub struct Wayland {
    compositor: Child,
    runtime: TempDir,
}

const SOCKET: &str = "wayland-test";

impl Wayland {
    #[track_caller]
    pub fn start(display: &Display) -> Wayland {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = Command::new("weston");
        command.args(["--backend=x11-backend.so", "--idle-time=0", "--no-config"]);
        command.arg(format!("--socket={SOCKET}"));
        command.env("DISPLAY", display.name()).env("XDG_RUNTIME_DIR", runtime.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let compositor = command.spawn().expect("weston is needed: apt install weston");
        let socket = runtime.path().join(SOCKET);
        eventually("a Wayland socket", || socket.exists().then_some(()));
        Wayland { compositor, runtime }
    }

    pub fn name(&self) -> &str {
        SOCKET
    }

    pub fn runtime(&self) -> &Path {
        self.runtime.path()
    }
}

impl Drop for Wayland {
    fn drop(&mut self) {
        end(&mut self.compositor);
    }
}

/// Asks it to end, so that it removes its sockets.
fn end(server: &mut Child) {
    super::signal_process(server.id() as i32, libc::SIGTERM);
    let _ = server.wait();
}
