//! Asking a running editor to begin, where there is a way; else somebody has to press a key.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::document::Document;
use super::kind::Kind;
use crate::launcher::place::variable;
use crate::linux::children;
use crate::linux::files;
use crate::linux::sys;

/// How long an editor may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that an editor's file of settings may have, in bytes.
const SETTINGS: u64 = 16 << 20;
/// How long Neovim may take to say what it has: it may be busy, or wait for a key.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// VS Code's program under its names, with the scheme of its addresses.
const PROGRAMS: [(&str, &str); 5] = [
    ("code", "vscode"),
    ("code-insiders", "vscode-insiders"),
    ("codium", "vscodium"),
    ("cursor", "cursor"),
    ("code-oss", "code-oss"),
];

/// A way to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// CodeLLDB's server, which works from afar, too.
    Server { address: String, token: Option<String> },
    /// An address for the editor's window that was used last.
    Address { program: PathBuf, address: &'static str, scheme: &'static str },
    /// Neovim's server, and a debug adapter that its nvim-dap knows.
    Neovim { socket: OsString, adapter: String },
}

impl Way {
    /// The best for this type, `None` if the user has to begin himself.
    pub fn find(kind: Kind, folder: &Path, home: Option<&Path>) -> Option<Way> {
        if kind == Kind::CodeLldb
            && let Some(server) = codelldb_server(folder, home)
        {
            return Some(server);
        }
        let address = match kind {
            Kind::CodeLldb => "vadimcn.vscode-lldb/launch/config?",
            Kind::LldbDap => "llvm-vs-code-extensions.lldb-dap/start?config=",
            _ => return None,
        };
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        // There, or under another user, the program would speak to no window or to another one.
        let remote = set("VSCODE_IPC_HOOK_CLI") || set("SSH_CONNECTION") || set("SUDO_UID");
        if remote || !(set("DISPLAY") || set("WAYLAND_DISPLAY")) {
            return None;
        }
        PROGRAMS.into_iter().find_map(|(name, scheme)| {
            Some(Way::Address { program: which::which(name).ok()?, address, scheme })
        })
    }

    /// The Neovim in which we run, if it has nvim-dap with an adapter that will do.
    pub fn neovim(chosen: Option<Kind>) -> Option<(Kind, Way)> {
        let (socket, _) = variable("NVIM")?;
        const ADAPTERS: &str = "luaeval('(function() local ok, dap = pcall(require, \"dap\"); \
             return ok and table.concat(vim.tbl_keys(dap.adapters), \" \") or \"\" end)()')";
        let said = expression(&socket, ADAPTERS, SHORT_PATIENCE).ok()?;
        let there: Vec<&str> = said.split_ascii_whitespace().collect();
        // The names that nvim-dap's users give them.
        let known = [
            ("cppdbg", Kind::Cppdbg),
            ("codelldb", Kind::CodeLldb),
            ("lldb-dap", Kind::LldbDap),
            ("lldb", Kind::LldbDap),
            ("gdb", Kind::GdbDap),
            ("go", Kind::Go),
            ("delve", Kind::Go),
        ];
        let (adapter, kind) = known.into_iter().find(|(name, kind)| {
            there.contains(name) && chosen.is_none_or(|chosen| chosen == *kind)
        })?;
        Some((kind, Way::Neovim { socket, adapter: adapter.into() }))
    }

    /// What the user is told is being asked.
    pub fn whom(&self) -> &'static str {
        match self {
            Way::Server { .. } => "CodeLLDB was asked to attach",
            Way::Address { .. } => "VS Code was asked to attach",
            Way::Neovim { .. } => "nvim-dap was asked to attach",
        }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, configuration: &Value) -> io::Result<()> {
        match self {
            Way::Server { address, token } => ask_server(address, token.as_deref(), configuration),
            Way::Address { program, address, scheme } => {
                let text = configuration.to_string();
                let text = utf8_percent_encode(&text, NON_ALPHANUMERIC);
                let mut command = Command::new(program);
                command.arg("--open-url").arg(format!("{scheme}://{address}{text}"));
                run(command, PATIENCE).map(|_| ())
            }
            Way::Neovim { socket, adapter } => {
                let mut configuration = configuration.clone();
                configuration["type"] = json!(adapter);
                // In a string of Vim's in single quotes only those are special.
                let text = configuration.to_string().replace('\'', "''");
                let expression_text =
                    format!("luaeval('require(\"dap\").run(_A)', json_decode('{text}'))");
                expression(socket, &expression_text, PATIENCE).map(|_| ())
            }
        }
    }
}

/// Where CodeLLDB listens: its terminals say so, or the settings.
fn codelldb_server(folder: &Path, home: Option<&Path>) -> Option<Way> {
    let settings = [folder.join(".vscode/settings.json")].into_iter().chain(
        home.into_iter().flat_map(|home| {
            [
                ".vscode-server/data/Machine/settings.json",
                ".config/Code/User/settings.json",
                ".config/Code - Insiders/User/settings.json",
                ".config/VSCodium/User/settings.json",
                ".config/Cursor/User/settings.json",
            ]
            .map(|path| home.join(path))
        }),
    );
    let server = settings.into_iter().find_map(|path| {
        let settings = Document::read(&files::read(&path, SETTINGS).ok()?).ok()?;
        settings.value("lldb.rpcServer").filter(Value::is_object)
    });
    let token = server.as_ref().and_then(|server| Some(server["token"].as_str()?.to_string()));
    let file = variable("CODELLDB_LAUNCH_CONNECT_FILE").map(|(path, _)| path);
    let from_file = file.and_then(|path| files::read_text(path.as_ref(), SETTINGS).ok());
    let from_settings = || {
        let server = server.as_ref()?;
        let host = server["host"].as_str().unwrap_or("127.0.0.1");
        Some(format!("{host}:{}", server["port"].as_u64().filter(|port| *port != 0)?))
    };
    let address = from_file.map(|text| text.trim().to_string()).or_else(from_settings)?;
    Some(Way::Server { address, token })
}

fn ask_server(address: &str, token: Option<&str>, configuration: &Value) -> io::Result<()> {
    let mut request = configuration.clone();
    if let Some(token) = token {
        request["token"] = json!(token);
    }
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.to_string().as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    if answer["success"] == true {
        return Ok(());
    }
    let why = answer["message"].as_str().unwrap_or("it says no more than that it failed");
    Err(io::Error::other(crate::text::escape::text(why.as_bytes())))
}

/// What Neovim says to an expression.
fn expression(socket: &OsStr, text: &str, patience: Duration) -> io::Result<String> {
    let mut command = Command::new("nvim");
    command.arg("--server").arg(socket).arg("--remote-expr").arg(text);
    run(command, patience)
}

/// Runs a program that says little, and does not wait for ever.
fn run(mut command: Command, patience: Duration) -> io::Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    sys::given_file_limit(&mut command);
    sys::unblocked(&mut command);
    let output = children::output(command, patience)?;
    if output.status.success() {
        // Neovim 0.7 says it on the one, 0.8 on the other.
        let said = [output.stdout, output.stderr].concat();
        return Ok(String::from_utf8_lossy(&said).into_owned());
    }
    let said = OsStr::from_bytes(output.stderr.trim_ascii()).as_bytes();
    let last = said.rsplit(|&b| b == b'\n').next().unwrap_or_default();
    Err(io::Error::other(format!("{}: {}", output.status, crate::text::escape::text(last))))
}
