//! The places `nvim` and `emacs`, with the real Neovim and Emacs; and how editors are asked that cannot be
//! had here: VS Code, CodeLLDB and nvim-dap have stand-ins that only listen.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::dap::Adapter;
use crate::support::typed::nothing_is_left_of;
use crate::support::{Running, World, eventually, finish, pid_in, status_of};
use serde_json::{Value, json};

/// An editor that runs, and what it is spoken to by.
struct Editor<'a> {
    world: &'a World,
    runs: Running,
    socket: PathBuf,
    /// The variable by which those inside know it.
    variable: &'static str,
    /// The program, and the words before an expression and the socket.
    client: [&'static str; 3],
}

impl<'a> Editor<'a> {
    #[track_caller]
    fn start(
        world: &'a World,
        mut command: Command,
        variable: &'static str,
        client: [&'static str; 3],
        hint: &str,
    ) -> Editor<'a> {
        let socket = world.path("editor.sock");
        world.prepare(&mut command);
        command.env("HOME", world.dir.path()).env("TERM", "xterm").current_dir(world.dir.path());
        let runs = world.start(command);
        let mut editor = Editor { world, runs, socket, variable, client };
        eventually(hint, || {
            editor.runs.assert_runs();
            editor.try_say("1")
        });
        editor
    }

    fn neovim(world: &'a World, options: &[&str]) -> Editor<'a> {
        let mut command = Command::new("nvim");
        command.args(["--headless", "-u", "NONE", "-i", "NONE", "--listen"]);
        command.arg(world.path("editor.sock")).args(options);
        let client = ["nvim", "--remote-expr", "--server"];
        Editor::start(world, command, "NVIM", client, "Neovim: apt install neovim")
    }

    fn emacs(world: &'a World) -> Editor<'a> {
        let mut command = Command::new("emacs");
        let socket = world.path("editor.sock");
        command.arg("-Q").arg(format!("--fg-daemon={}", socket.display()));
        let client = ["emacsclient", "--eval", "--socket-name"];
        Editor::start(world, command, "EMACS_SOCKET_NAME", client, "Emacs: apt install emacs-nox")
    }

    fn try_say(&self, expression: &str) -> Option<String> {
        let [program, says, to] = self.client;
        let mut command = Command::new(program);
        // emacsclient takes the expression last.
        command.arg(to).arg(&self.socket).args([says, expression]).stdin(Stdio::null());
        let output = command.output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        output.status.success().then(|| String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    fn say(&self, expression: &str) -> String {
        self.try_say(expression).unwrap_or_else(|| panic!("{expression}"))
    }

    /// `tracexec debug --in PLACE` inside it.
    fn tracexec(&self, place: &str, options: &[&str], command: &[&str]) -> Command {
        let words = [&["debug", "--in", place], options, &["--"], command].concat();
        let mut command = self.world.tracexec(words);
        command.env(self.variable, &self.socket).current_dir(self.world.dir.path());
        command
    }

    /// Ends it; nothing may be left of what ran in it.
    #[track_caller]
    fn finish(self) {
        drop(self.runs);
        nothing_is_left_of(self.world);
    }

    /// Waits until an expression's value has this in it.
    #[track_caller]
    fn shows(&self, expression: &str, text: &str) {
        eventually(&format!("{text} in {expression}"), || {
            self.try_say(expression).filter(|said| said.contains(text))
        });
    }
}

/// The pid of a match, once a debugger has it.
#[track_caller]
fn attached(session: &mut Running, says: &str) -> i32 {
    let pid = pid_in(&session.stderr_line(says));
    eventually("the debugger", || status_of(pid, "TracerPid").filter(|tracer| tracer != "0"));
    pid
}

const TERMINAL: &str = "join(getbufline(bufnr('$'), 1, '$'), ' ')";

fn type_line(line: &str) -> String {
    format!("chansend(getbufvar(bufnr('$'), 'terminal_job_id'), [\"{line}\", ''])")
}

#[test]
fn gdb_and_lldb_run_in_a_terminal_of_neovim() {
    for (debugger, shown) in [("gdb", "main (argc=3"), ("lldb", "argc=3")] {
        let world = World::new();
        let hello = world.fixture("hello", &[]);
        let neovim = Editor::neovim(&world, &[]);
        let options = ["-m", "basename=hello", "--debugger", debugger, "--break", "main"];
        let command = [hello.to_str().unwrap(), "it's", "\"$(x)"];
        let mut session = world.start(neovim.tracexec("nvim", &options, &command));
        attached(&mut session, &format!("{debugger} in nvim"));
        neovim.shows(TERMINAL, shown);
        neovim.say(&type_line("continue"));
        let outcome = finish(session);
        assert_eq!((outcome.code(), outcome.out().as_str()), (3, "it's\n\"$(x)\nhello\n"));
        neovim.finish();
    }
}

#[test]
fn gdb_runs_in_emacs_with_its_interface_once_and_once_again() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let emacs = Editor::emacs(&world);
    let buffer = "(with-current-buffer \"*gud-shim*\" (buffer-string))";
    let script = format!("{0} first; {0} second", hello.display());
    let options = ["-m", "basename=hello", "--break", "main"];
    let mut session = world.start(emacs.tracexec("emacs", &options, &["sh", "-c", &script]));
    for _ in 0..2 {
        let pid = attached(&mut session, "gdb-mi in emacs");
        emacs.shows(buffer, &format!("Attaching to process {pid}"));
        emacs.shows(buffer, "main (argc=2");
        // Its own window shows the line.
        emacs.shows("(mapcar (function buffer-name) (buffer-list))", "\"hello.c\"");
        emacs.say(
            "(with-current-buffer \"*gud-shim*\" (goto-char (point-max)) \
             (insert \"continue\") (comint-send-input) t)",
        );
    }
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "first\nhello\nsecond\nhello\n"));
    emacs.finish();
}

#[test]
fn another_debugger_runs_in_a_terminal_of_emacs() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let emacs = Editor::emacs(&world);
    let options = ["-m", "basename=hello", "--debugger", "lldb", "--break", "main"];
    let mut session = world.start(emacs.tracexec("emacs", &options, &[hello.to_str().unwrap()]));
    let pid = attached(&mut session, "lldb in emacs-term");
    let buffer = format!("\"*tracexec {pid}*\"");
    emacs.shows(&format!("(with-current-buffer {buffer} (buffer-string))"), "argc=1");
    emacs.say(&format!("(process-send-string (get-buffer-process {buffer}) \"continue\\n\")"));
    assert_eq!(finish(session).code(), 3);
    emacs.finish();
}

#[test]
fn without_a_server_the_process_runs_on_and_that_is_said() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for (place, variable) in [("emacs", "EMACS_SOCKET_NAME"), ("nvim", "NVIM")] {
        let words = ["debug", "--in", place, "-m", "basename=hello", "--", hello.to_str().unwrap()];
        let mut command = world.tracexec(words);
        command.env(variable, world.path("nobody")).env("ALTERNATE_EDITOR", "");
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 3);
        let what = format!("cannot open the place {place}");
        assert!(outcome.stderr.contains(&what), "{}", outcome.stderr);
    }
}

/// A stand-in for nvim-dap, which cannot be had here: it has an adapter, and keeps what it is to run.
#[test]
fn nvim_dap_is_given_a_configuration_that_lldb_dap_can_use() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    fs::create_dir_all(world.path("rtp/lua")).unwrap();
    let kept = world.path("kept.json");
    let module = format!(
        "return {{ adapters = {{ lldb = {{}} }}, run = function(c) \
         vim.fn.writefile({{vim.fn.json_encode(c)}}, '{}') end }}",
        kept.display()
    );
    world.file("rtp/lua/dap.lua", module);
    let path = format!("set rtp+={}", world.path("rtp").display());
    let neovim = Editor::neovim(&world, &["--cmd", &path]);
    let options = ["-m", "basename=hello", "--break", "main"];
    let command = [hello.to_str().unwrap(), "it's"];
    let mut session = world.start(neovim.tracexec("nvim", &options, &command));
    let pid = pid_in(&session.stderr_line("waits for the editor"));
    session.stderr_line("nvim-dap was asked to attach");
    let configuration: Value =
        eventually("the configuration", || serde_json::from_slice(&fs::read(&kept).ok()?).ok());
    assert_eq!((&configuration["type"], &configuration["pid"]), (&json!("lldb"), &json!(pid)));
    let mut adapter = Adapter::start(Command::new("lldb-dap-19"));
    adapter.begin(&configuration);
    let (function, variables) = adapter.where_it_is();
    assert!(function.starts_with("main") && variables.contains(&("argc".into(), "2".into())));
    assert_eq!(adapter.go_on(), 3);
    assert_eq!(finish(session).code(), 3);
    // A debugger for terminals is none of nvim-dap's.
    let options = ["-m", "basename=hello", "--debugger", "gdb", "--ex", "continue"];
    let session = world.start(neovim.tracexec("nvim", &options, &command));
    assert!(finish(session).stderr.contains("gdb in nvim"));
    neovim.finish();
}

/// tracexec in a folder of its own, for VS Code, with these variables.
fn for_vscode(world: &World, debugger: &str, variables: &[(&str, &Path)]) -> (Running, i32) {
    let hello = world.fixture("hello", &[]);
    fs::create_dir_all(world.path("ws/.vscode")).unwrap();
    let words = ["debug", "--in", "vscode", "-m", "basename=hello", "--debugger", debugger];
    let mut command = world.tracexec(words.into_iter().chain(["--", hello.to_str().unwrap()]));
    for name in ["VSCODE_IPC_HOOK_CLI", "SSH_CONNECTION", "WAYLAND_DISPLAY", "DISPLAY"] {
        command.env_remove(name);
    }
    command.env("HOME", world.dir.path()).current_dir(world.path("ws"));
    command.envs(variables.iter().copied());
    let mut session = world.start(command);
    let pid = pid_in(&session.stderr_line("waits for the editor"));
    (session, pid)
}

/// A stand-in for VS Code's program: it keeps its arguments, and attaches nothing.
#[test]
fn vs_code_is_given_an_address_that_holds_the_configuration() {
    for (debugger, begins) in [
        ("codelldb", "vscode://vadimcn.vscode-lldb/launch/config?"),
        ("lldb-dap", "vscode://llvm-vs-code-extensions.lldb-dap/start?config="),
    ] {
        let world = World::new();
        fs::create_dir(world.path("bin")).unwrap();
        let kept = world.path("kept");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{0}.new' && mv '{0}.new' '{0}'\n",
            kept.display()
        );
        let code = world.file("bin/code", script);
        fs::set_permissions(&code, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap());
        let variables = [("PATH", Path::new(&path)), ("DISPLAY", Path::new(":9"))];
        let (mut session, pid) = for_vscode(&world, debugger, &variables);
        session.stderr_line("VS Code was asked to attach");
        let words = eventually("the address", || fs::read_to_string(&kept).ok());
        let words: Vec<&str> = words.lines().collect();
        assert_eq!(words[0], "--open-url");
        let text = words[1].strip_prefix(begins).unwrap_or_else(|| panic!("{words:?}"));
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%'), "{text}");
        let text = percent_encoding::percent_decode_str(text).decode_utf8().unwrap();
        let configuration: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&configuration["pid"], &configuration["request"]),
            (&json!(pid), &json!("attach"))
        );
        world.run(["release", &pid.to_string()]);
        assert_eq!(finish(session).code(), 3);
        // From afar, the editor is at another place.
        let (mut session, pid) = for_vscode(
            &world,
            debugger,
            &[variables[0], variables[1], ("SSH_CONNECTION", Path::new("x"))],
        );
        session.stderr_line("press F5");
        world.run(["release", &pid.to_string()]);
        finish(session);
    }
}

/// A stand-in for CodeLLDB's server, by its protocol.
#[test]
fn codelldbs_server_is_given_the_configuration_and_its_answer_is_heeded() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let file = world.file("rpcaddress.txt", format!("{address}\n"));
    fs::create_dir_all(world.path("ws/.vscode")).unwrap();
    let settings = "{ // the token\n \"lldb.rpcServer\": { \"token\": \"secret\", \"port\": 1 }, }";
    fs::write(world.path("ws/.vscode/settings.json"), settings).unwrap();
    let variables = [("CODELLDB_LAUNCH_CONNECT_FILE", file.as_path())];
    let (mut session, pid) = for_vscode(&world, "codelldb", &variables);
    session.stderr_line("CodeLLDB was asked to attach");
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = String::new();
    stream.read_to_string(&mut request).unwrap();
    let request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!((&request["token"], &request["pid"]), (&json!("secret"), &json!(pid)));
    assert_eq!((&request["type"], &request["request"]), (&json!("lldb"), &json!("attach")));
    stream.write_all(b"{\"success\":false,\"message\":\"Token\\u001b mismatch\"}").unwrap();
    drop(stream);
    assert!(session.stderr_line("does not do it").ends_with("Token\\x1b mismatch"));
    session.stderr_line("press F5");
    world.run(["release", &pid.to_string()]);
    assert_eq!(finish(session).code(), 3);
}
