//! Configurations that attach to a parked process. None shows a stop that is no event of the program's.

use std::os::unix::ffi::OsStrExt;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::text::{c_string, fit, fit_command};
use crate::launcher::command::{Break, Given};
use crate::linux::sys::Pid;
use crate::text::report::Trouble;

/// What the user asked for beyond the debugger itself.
#[derive(Debug, Clone)]
pub struct Wishes {
    pub stop_at: Break,
    pub given: Vec<Given>,
    /// The gdb or lldb-mi that cppdbg is to run.
    pub mi_debugger: Option<String>,
}

const GDB_QUIET: &str = "handle SIGSTOP SIGCONT nostop noprint nopass";
/// Before the attach this would make the attach fail.
const LLDB_QUIET: &str = "process handle SIGSTOP SIGCONT -n false -s false -p false";

impl Wishes {
    /// What was asked for and a type has no words for is an error, before COMMAND starts.
    pub fn check(&self, kind: Kind) -> Result<(), Trouble> {
        let lacks = |option: &str| {
            Trouble::new(format!("a configuration of {} has no words for {option}", kind.name()))
                .hint("cppdbg, codelldb and lldb-dap have them; or set a breakpoint in the editor")
        };
        let unfit = |option: &str, why: super::text::Unfit| {
            Trouble::new(format!("{option}: it cannot be written into launch.json: {why}"))
        };
        if let Break::Main | Break::Location(_) = self.stop_at
            && !kind.takes_commands()
        {
            return Err(lacks("--break"));
        }
        if let Break::Location(location) = &self.stop_at {
            if location.is_empty() || location.contains(char::is_control) {
                return Err(Trouble::new("--break: a location is one line of plain text"));
            }
            fit(location.as_bytes()).map_err(|why| unfit("--break", why))?;
        }
        for given in &self.given {
            let (option, fits) = match given {
                Given::File(file) => ("-x", fit_command(file.as_bytes())),
                Given::Command(command) => ("--ex", fit(command.as_bytes())),
            };
            if !kind.takes_commands() {
                return Err(lacks(option));
            }
            let text = fits.map_err(|why| unfit(option, why))?;
            if option == "-x" && !std::path::Path::new(text).is_file() {
                return Err(Trouble::new(format!("-x: there is no file {text}")));
            }
            if text.contains('\n') {
                return Err(Trouble::new("--ex: a command is one line")
                    .hint("give several --ex, or a file with -x"));
            }
        }
        Ok(())
    }

    /// The user's commands in the debugger's language; checked before.
    fn commands(&self, source: &dyn Fn(&str) -> String) -> Vec<String> {
        let command = |given: &Given| match given {
            Given::Command(command) => command.to_string_lossy().into_owned(),
            // The debugger runs in a folder of the editor's choice.
            Given::File(file) => {
                let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
                source(&path.to_string_lossy())
            }
        };
        self.given.iter().map(command).collect()
    }

    /// lldb's commands after the attach.
    fn lldb(&self) -> Vec<String> {
        let mut commands = vec![LLDB_QUIET.to_string()];
        commands.extend(self.lldb_breakpoint());
        commands.extend(self.commands(&|path| format!("command source \"{path}\"")));
        commands
    }

    pub(super) fn lldb_breakpoint(&self) -> Option<String> {
        match &self.stop_at {
            Break::Entry => None,
            Break::Main => Some("breakpoint set -n main -o true".into()),
            Break::Location(location) => Some(format!("_regexp-tbreak {location}")),
        }
    }

    /// gdb's, before there is a process: what is not there yet is waited for.
    pub(super) fn gdb_breakpoint(&self) -> Option<Value> {
        let location = match &self.stop_at {
            Break::Entry => return None,
            Break::Main => "main",
            Break::Location(location) => location,
        };
        let text = format!("-break-insert -t -f {}", c_string(location));
        Some(setup("stop there once", &text))
    }

    pub(super) fn gdb_commands(&self) -> impl Iterator<Item = Value> {
        let commands = self.commands(&|path| format!("source {path}")).into_iter();
        commands.map(|command| setup("as asked for", &console(&command)))
    }
}

/// gdb's command in its machine interface.
fn console(command: &str) -> String {
    format!("-interpreter-exec console {}", c_string(command))
}

fn setup(description: &str, text: &str) -> Value {
    json!({ "description": description, "text": text, "ignoreFailures": false })
}

/// The configuration that connects to a server, which has the process already, without its name.
pub fn remote(kind: Kind, pid: Pid, exe: &[u8], server: (&str, u16), wishes: &Wishes) -> Value {
    let (host, port) = server;
    let address = format!("{host}:{port}");
    let program = fit_command(exe).map_or_else(|_| format!("/proc/{pid}/exe"), String::from);
    let stops = wishes.stop_at == Break::Entry;
    let connect = format!("gdb-remote {address}");
    let mut entry = match kind {
        Kind::CodeLldb => json!({
            "request": "attach",
            "targetCreateCommands": [format!("target create \"{program}\"")],
            "processCreateCommands": ([vec![connect], wishes.lldb()].concat()),
            "stopOnEntry": stops,
        }),
        Kind::LldbDap => json!({
            "request": "attach",
            "program": program,
            "gdb-remote-hostname": host,
            "gdb-remote-port": port,
            "postRunCommands": wishes.lldb(),
            "stopOnEntry": stops,
        }),
        // gdb gets the program's libraries from the server, too.
        _ => {
            let quiet =
                setup("no stop at the signals by which tracexec held it", &console(GDB_QUIET));
            let mut commands =
                vec![quiet, setup("files of the server", &console("set sysroot target:"))];
            commands.extend(wishes.gdb_breakpoint());
            commands.extend(wishes.gdb_commands());
            json!({
                "request": "launch",
                "program": program,
                "cwd": "${workspaceFolder}",
                "MIMode": "gdb",
                "miDebuggerPath": wishes.mi_debugger.as_deref().unwrap_or("gdb"),
                "miDebuggerServerAddress": address,
                "setupCommands": commands,
            })
        }
    };
    entry["type"] = json!(kind.json_type());
    entry["presentation"] = json!({ "group": "tracexec", "order": pid });
    entry
}

/// The configuration, without its name. A path of the program that could not be written is replaced by
/// one that always can.
pub fn configuration(kind: Kind, pid: Pid, exe: &[u8], wishes: &Wishes) -> Value {
    let program = fit_command(exe).map_or_else(|_| format!("/proc/{pid}/exe"), String::from);
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.to_string(), value);
    put("type", json!(kind.json_type()));
    put("request", json!("attach"));
    let stops = wishes.stop_at == Break::Entry;
    match kind {
        Kind::Cppdbg => {
            put("program", json!(program));
            put("processId", json!(pid.to_string()));
            put("MIMode", json!("gdb"));
            if let Some(path) = &wishes.mi_debugger {
                put("miDebuggerPath", json!(path));
            }
            let mut commands = vec![setup(
                "no stop at the signals by which tracexec held it",
                &console(GDB_QUIET),
            )];
            commands.extend(wishes.gdb_breakpoint());
            commands.extend(wishes.gdb_commands());
            put("setupCommands", json!(commands));
        }
        Kind::CppdbgLldb => {
            put("program", json!(program));
            put("processId", json!(pid.to_string()));
            put("MIMode", json!("lldb"));
            if let Some(path) = &wishes.mi_debugger {
                put("miDebuggerPath", json!(path));
            }
        }
        Kind::CodeLldb => {
            put("program", json!(program));
            put("pid", json!(pid));
            put("stopOnEntry", json!(stops));
            let mut commands = vec![format!("process attach --pid {pid}")];
            commands.extend(wishes.lldb());
            put("processCreateCommands", json!(commands));
        }
        Kind::LldbDap => {
            put("program", json!(program));
            put("pid", json!(pid));
            put("stopOnEntry", json!(stops));
            put("postRunCommands", json!(wishes.lldb()));
        }
        Kind::GdbDap => {
            put("program", json!(program));
            put("pid", json!(pid));
        }
        Kind::Go => {
            put("mode", json!("local"));
            put("processId", json!(pid));
            put("stopOnEntry", json!(stops));
        }
    }
    Value::Object(entry)
}
