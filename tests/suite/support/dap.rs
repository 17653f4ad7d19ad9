//! A client of a debug adapter: what an editor is to it, over its standard streams.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::{Value, json};

use super::LIMIT;

/// An adapter that runs.
pub struct Adapter {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    /// All that it said, for when a test fails; and the output of the program.
    pub seen: Vec<Value>,
    /// How much of that was looked through.
    looked: usize,
    sent: u64,
}

impl Adapter {
    pub fn start(mut command: Command) -> Adapter {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("lldb-dap is needed: apt install lldb-19");
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut stdout) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut adapter = Adapter { child, stdin, messages, seen: Vec::new(), looked: 0, sent: 0 };
        adapter.ask(
            "initialize",
            json!({ "adapterID": "test", "linesStartAt1": true, "columnsStartAt1": true, "pathFormat": "path" }),
        );
        adapter
    }

    /// Sends a request without waiting.
    pub fn send(&mut self, command: &str, arguments: Value) -> u64 {
        self.sent += 1;
        let request = json!({ "seq": self.sent, "type": "request", "command": command, "arguments": arguments });
        let text = request.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.stdin.flush().unwrap();
        self.sent
    }

    /// Sends a request; the body of its answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let number = self.send(command, arguments);
        self.answer(number)
    }

    #[track_caller]
    pub fn answer(&mut self, number: u64) -> Value {
        let answer = self.find(&format!("the answer to {number}"), true, |message| {
            message["type"] == "response" && message["request_seq"] == number
        });
        assert_eq!(answer["success"], true, "{answer}");
        answer["body"].clone()
    }

    /// The next event of that name.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        let event = self
            .find(name, false, |message| message["type"] == "event" && message["event"] == name);
        event["body"].clone()
    }

    #[track_caller]
    fn find(&mut self, what: &str, anywhere: bool, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        let mut at = if anywhere { 0 } else { self.looked };
        loop {
            if let Some(found) = self.seen[at..].iter().position(&is) {
                if !anywhere {
                    self.looked = at + found + 1;
                }
                return self.seen[at + found].clone();
            }
            at = self.seen.len();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) => self.seen.push(message),
                Err(error) => panic!("{what}: {error} after {:#?}", self.seen),
            }
        }
    }

    /// Starts a session as VS Code does, with a configuration of launch.json.
    #[track_caller]
    pub fn begin(&mut self, configuration: &Value) {
        let request = configuration["request"].as_str().unwrap().to_string();
        let number = self.send(&request, configuration.clone());
        self.event("initialized");
        self.ask("setFunctionBreakpoints", json!({ "breakpoints": [] }));
        self.ask("setExceptionBreakpoints", json!({ "filters": [] }));
        self.ask("configurationDone", json!({}));
        self.answer(number);
    }

    /// The function in which the program has stopped, and its arguments and variables as texts.
    #[track_caller]
    pub fn where_it_is(&mut self) -> (String, Vec<(String, String)>) {
        let mut stack = Value::Null;
        // lldb-dap 19 may tell of the stop of its own connection late, when the program runs again (a race,
        // mended for LLVM 21 by llvm-project's #137920): there are no frames then, and another stop follows.
        while stack["stackFrames"][0].is_null() {
            let thread = self.event("stopped")["threadId"].clone();
            stack = self.ask("stackTrace", json!({ "threadId": thread, "levels": 1 }));
        }
        let frame = &stack["stackFrames"][0];
        let scopes = self.ask("scopes", json!({ "frameId": frame["id"] }));
        let reference = scopes["scopes"][0]["variablesReference"].clone();
        let variables = self.ask("variables", json!({ "variablesReference": reference }));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let pair = |v: &Value| (text(&v["name"]), text(&v["value"]));
        let variables = variables["variables"].as_array().unwrap().iter().map(pair).collect();
        (text(&frame["name"]), variables)
    }

    /// Lets the program run to its end; its exit code.
    #[track_caller]
    pub fn go_on(&mut self) -> i64 {
        self.ask("continue", json!({ "threadId": 1 }));
        self.event("exited")["exitCode"].as_i64().unwrap()
    }

    /// How often the program has stopped so far.
    pub fn stops(&self) -> usize {
        self.seen.iter().filter(|message| message["event"] == "stopped").count()
    }

    /// What the program has written.
    pub fn output(&self) -> String {
        let output = self.seen.iter().filter(|message| message["event"] == "output");
        let stdout = output.filter(|message| message["body"]["category"] == "stdout");
        stdout.filter_map(|message| message["body"]["output"].as_str()).collect()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().split_once(": ") {
            Some(("Content-Length", number)) => length = number.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
