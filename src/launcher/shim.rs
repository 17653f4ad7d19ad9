//! Our own program in the place where the debugger is to run. It asks the session what to execute, so
//! that no terminal ever sees a value of a traced process, and executes that in its own place, so
//! that its pid is the debugger's.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::SigSet;
use serde::{Deserialize, Serialize};

use super::command::ReadyWord;
use crate::launcher::control::{self, Reply, Request};
use crate::linux::identity::Identity;
use crate::linux::sys;
use crate::text::escape;
use crate::text::report::Trouble;

/// The hidden subcommand that [`run`]s, and the one with a terminal of its own ([`super::relay`]).
pub const SUBCOMMAND: &str = "shim";
pub const RELAY_SUBCOMMAND: &str = "shim-here";

/// The words that run the shim. A terminal may have a language of its own in which it reads them ($HOME in
/// konsole, a semicolon in tmux), so that they hold nothing but plain characters, whatever is in our
/// paths: the socket is encoded, and our own program has a name in /proc.
pub fn words(shares_terminal: bool, socket: &Path, hit: u64) -> io::Result<Vec<OsString>> {
    let own = std::env::current_exe()?;
    let own = match own.as_os_str().as_bytes().iter().all(is_plain) {
        true => own.into_os_string(),
        false => format!("/proc/{}/exe", std::process::id()).into(),
    };
    let subcommand = if shares_terminal { RELAY_SUBCOMMAND } else { SUBCOMMAND };
    Ok(vec![own, subcommand.into(), encode(socket).into(), hit.to_string().into()])
}

fn is_plain(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+@".contains(byte)
}

/// A path as the shim is told it: every byte that is not plain is `%` and two digits.
fn encode(path: &Path) -> String {
    let encode = |byte: &u8| match is_plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02x}"),
    };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

/// The path that [`encode`] was given.
pub fn decode(text: &str) -> Result<PathBuf, String> {
    let mut parts = text.split('%');
    let mut path = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or("not a path as we write it")?;
        path.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
        path.extend_from_slice(rest.as_bytes());
    }
    Ok(OsString::from_vec(path).into())
}

/// What a shim is to execute.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub words: Vec<ReadyWord>,
    /// The environment in which tracexec was started.
    pub environment: Vec<(OsString, OsString)>,
    pub identity: Option<Identity>,
    /// The folder in which tracexec runs.
    pub directory: PathBuf,
}

/// Variables that say what terminal this is: the shim's own hold, not those of where tracexec runs.
const OF_THE_TERMINAL: [&str; 35] = [
    "TERM",
    "COLORTERM",
    "TERMINFO",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WINDOW",
    "WINDOWID",
    "LINES",
    "COLUMNS",
    "VTE_VERSION",
    "ZELLIJ",
    "ZELLIJ_SESSION_NAME",
    "ZELLIJ_PANE_ID",
    "KITTY_WINDOW_ID",
    "KITTY_PID",
    "KITTY_LISTEN_ON",
    "KITTY_PUBLIC_KEY",
    "WEZTERM_PANE",
    "WEZTERM_UNIX_SOCKET",
    "KONSOLE_VERSION",
    "KONSOLE_DBUS_SERVICE",
    "KONSOLE_DBUS_SESSION",
    "KONSOLE_DBUS_WINDOW",
    "GNOME_TERMINAL_SCREEN",
    "GNOME_TERMINAL_SERVICE",
    "XTERM_VERSION",
    "ALACRITTY_WINDOW_ID",
    "ALACRITTY_SOCKET",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "INSIDE_EMACS",
    "NVIM",
];

/// Asks the session behind `socket` what to execute for `hit`, and becomes that.
pub fn run(socket: &Path, hit: u64) -> Result<(), Trouble> {
    // The session and the relay block signals for their own sake; the debugger lives by them.
    let _ = SigSet::empty().thread_set_mask();
    if control::is_foreign(socket) {
        return offer_terminal(socket, hit);
    }
    Err(become_debugger(socket, hit))
}

/// In a terminal of the user who called sudo, the debugger must be root's all the same: the session
/// is given the terminal, and runs it there.
fn offer_terminal(socket: &Path, hit: u64) -> Result<(), Trouble> {
    match control::offer_terminal(socket, hit) {
        Ok(Reply::Refused(why)) => Err(Trouble::new(format!("no debugger for hit {hit}: {why}"))),
        Ok(_) => Ok(()),
        Err(error) => Err(Trouble::new(format!("the session has ended: {error}"))),
    }
}

fn become_debugger(socket: &Path, hit: u64) -> Trouble {
    // As long as it takes: the session may have to wait for the process.
    let reply = control::ask(socket, &Request::Shim(hit), None);
    let order = match reply {
        Ok(Reply::Execute(order)) => order,
        Ok(Reply::Refused(why)) => {
            return Trouble::new(format!("no debugger for hit {hit}: {why}"));
        }
        Ok(_) => return Trouble::new("the session gave an answer that was not asked for"),
        Err(error) => {
            return Trouble::new(format!(
                "cannot ask the session at {}: {error}",
                escape::path(socket)
            ))
            .hint("the process has been let go; run tracexec again");
        }
    };
    execute(*order)
}

/// Executes the order in place of this process.
fn execute(order: Order) -> Trouble {
    let mut words = Vec::new();
    let mut scripts = Vec::new();
    for word in order.words {
        match ready(word, &mut scripts) {
            Ok(word) => words.push(word),
            Err(error) => {
                return Trouble::new(format!("cannot make a debugger script: {error}"));
            }
        }
    }
    let Some((program, arguments)) = words.split_first() else {
        return Trouble::new("the session sent an empty command");
    };
    let own: Vec<(&str, Option<OsString>)> =
        OF_THE_TERMINAL.iter().map(|&name| (name, std::env::var_os(name))).collect();
    let mut environment = order.environment;
    if let Some(identity) = order.identity.as_ref().filter(|identity| !identity.is_ours()) {
        identity.adjust(&mut environment);
        if !identity.assume() {
            let error = io::Error::last_os_error();
            return Trouble::new(format!("cannot become user {}: {error}", identity.name));
        }
    }
    // A user of root's choice may be kept out of it.
    let _ = std::env::set_current_dir(&order.directory);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment);
    for (name, value) in own {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    sys::inherit(&mut command, scripts.iter().map(File::as_raw_fd).collect());
    let error = command.exec();
    let shown = crate::text::escape::word(program.as_bytes());
    Trouble::new(format!("cannot execute {shown}: {error}"))
}

/// The word, its file made and added to `scripts`.
pub fn ready(word: ReadyWord, scripts: &mut Vec<File>) -> io::Result<OsString> {
    let mut script = |content: &str| {
        let (path, script) = file(content)?;
        scripts.push(script);
        Ok::<_, io::Error>(path)
    };
    Ok(match word {
        ReadyWord::Text(text) => text,
        ReadyWord::File(content) => script(&content)?.into(),
        ReadyWord::Around(before, content, after) => {
            let mut word = before;
            word.push(script(&content)?);
            word.push(after);
            word
        }
    })
}

/// A file in memory, and its path in a program that inherits it.
fn file(content: &str) -> io::Result<(String, File)> {
    let name = CString::new("tracexec-script")?;
    let mut file = File::from(memfd_create(name.as_c_str(), MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content.as_bytes())?;
    file.rewind()?;
    Ok((format!("/dev/fd/{}", file.as_raw_fd()), file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_in_plain_characters() {
        let path = PathBuf::from(OsString::from_vec(b"/a b/$HOME;%\xff\xc3\xbc/x.sock".to_vec()));
        let encoded = encode(&path);
        assert_eq!(encoded, "/a%20b/%24HOME%3b%25%ff%c3%bc/x.sock");
        assert_eq!(decode(&encoded), Ok(path));
        assert!(decode("%").is_err() && decode("%zz").is_err() && decode("%é").is_err());
        assert_eq!(decode("@tracexec-1"), Ok("@tracexec-1".into()));
    }
}
