//! gdb's machine interface, driven as cppdbg drives it (MIEngine, DebuggedProcess.GetInitializeCommands).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::Value;

use super::LIMIT;

/// A gdb that is spoken to.
pub struct Gdb {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    pub seen: Vec<String>,
    sent: usize,
}

impl Gdb {
    pub fn start(configuration: &Value) -> Gdb {
        let path = configuration["miDebuggerPath"].as_str().unwrap();
        let mut command = Command::new(path);
        command.args(["-nx", "--interpreter=mi"]).env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("gdb is needed: apt install gdb");
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut gdb = Gdb { child, stdin, lines, seen: Vec::new(), sent: 0 };
        gdb.ask("-gdb-set mi-async on");
        for command in configuration["setupCommands"].as_array().into_iter().flatten() {
            gdb.command(command["text"].as_str().unwrap());
        }
        gdb.command("-interpreter-exec console \"set pagination off\"");
        gdb
    }

    /// A command as it stands in a configuration: of the interface, or of gdb itself.
    #[track_caller]
    fn command(&mut self, text: &str) -> String {
        match text.starts_with('-') {
            true => self.ask(text),
            false => self.ask(&format!("-interpreter-exec console \"{text}\"")),
        }
    }

    /// Sends a command; its result.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.sent += 1;
        let token = self.sent.to_string();
        writeln!(self.stdin, "{token}{command}").unwrap();
        let result = self.line(&format!("the result of {command}"), |line| {
            line.strip_prefix(&token).is_some_and(|rest| rest.starts_with('^'))
        });
        assert!(!result.contains("^error"), "{command}: {result}");
        result
    }

    /// Waits for a line.
    #[track_caller]
    pub fn line(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line =
                line.unwrap_or_else(|error| panic!("{what}: {error} after {:#?}", self.seen));
            self.seen.push(line.clone());
            if is(&line) {
                return line;
            }
        }
    }

    /// The next stop.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        self.line("a stop", |line| line.starts_with("*stopped"))
    }

    /// Attaches, up to where cppdbg sets the program going.
    #[track_caller]
    pub fn attach(&mut self, configuration: &Value) {
        self.program(configuration);
        let pid = configuration["processId"].as_str().unwrap();
        self.ask(&format!("-target-attach {pid}"));
        // The stop of the attach itself has no reason; it goes on.
        if !self.seen.iter().any(|line| line.starts_with("*stopped")) {
            self.stop();
        }
        self.ask("-exec-continue");
    }

    /// Connects to a server that has the process, and has it go on.
    #[track_caller]
    pub fn connect(&mut self, configuration: &Value) {
        self.program(configuration);
        let address = configuration["miDebuggerServerAddress"].as_str().unwrap();
        self.ask(&format!("-target-select remote {address}"));
        if !self.seen.iter().any(|line| line.starts_with("*stopped")) {
            self.stop();
        }
        self.ask("-exec-continue");
    }

    /// Runs the program.
    #[track_caller]
    pub fn launch(&mut self, configuration: &Value) {
        let folder = configuration["cwd"].as_str().unwrap();
        self.ask(&format!("-environment-cd {}", quoted(folder)));
        self.program(configuration);
        let words = configuration["args"].as_array().unwrap().iter();
        let words: Vec<String> = words.map(|word| quoted(word.as_str().unwrap())).collect();
        self.ask(&format!("-exec-arguments {}", words.join(" ")));
        self.ask("-break-insert main");
        for variable in configuration["environment"].as_array().into_iter().flatten() {
            let text = |key: &str| variable[key].as_str().unwrap().to_string();
            self.command(&format!("set env {} {}", text("name"), text("value")));
        }
        self.ask("-exec-run");
    }

    #[track_caller]
    fn program(&mut self, configuration: &Value) {
        let program = configuration["program"].as_str().unwrap();
        self.ask(&format!("-file-exec-and-symbols {}", quoted(program)));
        self.command("show architecture");
    }

    /// How often the program has stopped so far.
    pub fn stops(&self) -> usize {
        self.seen.iter().filter(|line| line.starts_with("*stopped")).count()
    }
}

/// LaunchOptions.QuoteArgument: what holds a space, and does not begin with a quote, is put in quotes.
fn quoted(word: &str) -> String {
    match !word.starts_with('"') && word.contains([' ', '\t']) {
        true => format!("\"{word}\""),
        false => word.to_string(),
    }
}

impl Drop for Gdb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
