//! A headless Chromium, driven over WebDriver: a page is opened, asked and clicked on.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{LIMIT, Running, World, eventually};

/// A browser with one window. It ends with the test.
pub struct Browser {
    driver: Running,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts it; its files are in the world's folder.
    #[track_caller]
    pub fn start(world: &World) -> Browser {
        let mut command = Command::new("chromedriver");
        command.args(["--port=0"]).stdin(Stdio::null());
        // Chromium keeps things in the folder of its user.
        command.env("HOME", world.dir.path()).env("TMPDIR", world.dir.path());
        let mut driver = world.start(command);
        let mut said = BufReader::new(driver.child().stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "apt install chromium-driver");
            let port = line.trim_end().trim_end_matches('.').rsplit_once("successfully on port ");
            if let Some(port) = port.and_then(|(_, port)| port.parse().ok()) {
                break port;
            }
        };
        // What it says later is of no interest, but it must be able to say it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let mut browser = Browser { driver, port, session: String::new() };
        let profile = world.path("profile");
        let arguments = [
            "--headless=new".to_string(),
            // It is root who runs the tests.
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-dev-shm-usage".into(),
            "--window-size=1400,900".into(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "unhandledPromptBehavior": "ignore",
        }}});
        let session = browser.request("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Opens a file and waits until it is there to be used.
    #[track_caller]
    pub fn open(&self, page: &Path) {
        self.post("/url", &json!({"url": format!("file://{}", page.display())}));
        let state = eventually("a page that is ready", || {
            self.run("return document.documentElement.dataset.state").as_str().map(String::from)
        });
        assert_eq!(state, "ready", "{}", self.text("#message"));
    }

    /// Runs a script in the page; what it returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The same of a script that calls `done`.
    #[track_caller]
    pub fn run_async(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; {script}");
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Runs a script when what was done before has been drawn.
    #[track_caller]
    pub fn look(&self, script: &str) -> Value {
        self.run(&format!(
            "return new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))
                .then(() => {{ {script} }})"
        ))
    }

    /// The text of the first element that a selector finds, `null` where there is none.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.textContent ?? 'null'");
        self.look(&script).as_str().unwrap().into()
    }

    /// The texts of all elements that a selector finds and that can be seen.
    #[track_caller]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = format!(
            "return [...document.querySelectorAll({selector:?})].filter(e => e.checkVisibility()).map(e => e.textContent)"
        );
        let texts = self.look(&script);
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().into()).collect()
    }

    /// Clicks on the element as the mouse does.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let wanted = json!({"using": "css selector", "value": selector});
        let element = self.post("/element", &wanted);
        let id =
            element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_string();
        self.post(&format!("/element/{id}/click"), &json!({}));
    }

    /// Presses a key and lets go of it.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.actions(json!([{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key},
        ]}]));
    }

    /// What the mouse and the keys do, in WebDriver's words.
    #[track_caller]
    pub fn actions(&self, actions: Value) {
        self.post("/actions", &json!({"actions": actions}));
    }

    /// What the page said on the console, or the browser about it.
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().iter().map(Value::to_string).collect()
    }

    /// The text of the dialogue that a script has opened.
    #[track_caller]
    pub fn dialogue(&self) -> Option<String> {
        let (status, body) =
            self.exchange("GET", &format!("{}/alert/text", self.session), "").unwrap();
        (status == 200).then(|| body["value"].to_string())
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.request("POST", &format!("{}{path}", self.session), body)
    }

    #[track_caller]
    fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, mut answer) = self.exchange(method, path, &body.to_string()).unwrap();
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["value"].take()
    }

    /// One request over a connection of its own.
    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let mut answer = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut answer)?;
        Ok((status, serde_json::from_slice(&answer)?))
    }
}

impl Drop for Browser {
    /// The driver ends the browser, which is in no group of ours, and then goes with its own.
    fn drop(&mut self) {
        let _ = self.exchange("DELETE", &self.session, "");
        self.driver.signal(libc::SIGTERM);
    }
}
