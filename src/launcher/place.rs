//! The terminal in which a debugger runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::catalog::{self, Catalog};
use super::shim;
use super::template::{Piece, Placeholder, Word};
use super::terminal::Terminal;
use crate::linux::children;
use crate::linux::sys::{self, Pid};
use crate::machine::sudo_caller::{Caller, own_variable};
use crate::text::report::Trouble;

/// How long a terminal may take to say whether it has a target.
const CHECKED_WITHIN: Duration = Duration::from_secs(10);

/// A terminal that was chosen, with what it needs of the environment.
#[derive(Debug, Clone)]
pub struct Place {
    pub terminal: Terminal,
    env: Vec<(String, OsString)>,
    /// What follows the colon in `--in NAME:TARGET`.
    target: Option<String>,
    /// What runs there runs as this user, who is not us: he called us by sudo, in his terminal.
    pub foreign: Option<u32>,
    caller: Option<Box<Caller>>,
    /// Where to go if this one has no room.
    pub otherwise: Option<Box<Place>>,
}

impl Place {
    /// Finds the place of that name; `auto` for the one that fits where we are.
    pub fn choose(name: &str, interactive: bool, catalog: &Catalog) -> Result<Place, Trouble> {
        let caller = Caller::find();
        let finder = Finder { catalog, caller: caller.as_ref() };
        match name.split_once(':') {
            _ if name == "auto" => finder.auto(interactive),
            Some((name, target)) => finder.targeted(name, target),
            None => finder.named(name),
        }
    }

    /// The variable of that name which it needs.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_os_str())
    }

    /// The socket of the server that it speaks to, and whether that can be reached.
    pub fn server(&self) -> Option<(PathBuf, io::Result<()>)> {
        let value = self.variable(self.terminal.server.as_deref()?)?.as_bytes();
        let value = value.strip_prefix(b"unix:").unwrap_or(value);
        // $TMUX is SOCKET,PID,SESSION.
        let socket = value.rsplitn(3, |&byte| byte == b',').last().unwrap_or(value);
        let reached = match socket.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)
                .and_then(|address| UnixStream::connect_addr(&address)),
            None => UnixStream::connect(OsStr::from_bytes(socket)),
        };
        Some((PathBuf::from(OsStr::from_bytes(socket)), reached.map(drop)))
    }

    /// Starts the shim there, for `hit`.
    pub fn start(&self, socket: &Path, hit: u64, pid: Pid) -> io::Result<Child> {
        let shim = shim::words(self.terminal.shares_terminal, socket, hit)?;
        let words = match (&self.target, &self.terminal.target) {
            (Some(_), Some(target)) => &target.command,
            _ => &self.terminal.command,
        };
        let mut command = self.command(words, &shim, hit, pid)?;
        sys::given_file_limit(&mut command);
        if self.terminal.attached {
            command.stdin(Stdio::null()).stdout(io::stderr());
            sys::own_session(&mut command, sys::Controlling::Nothing);
        } else if !self.terminal.shares_terminal {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            sys::unblocked(&mut command);
            // A window's program may live as long as the window: Ctrl-C here is not meant for it.
            sys::own_session(&mut command, sys::Controlling::Nothing);
        }
        command.spawn()
    }

    fn command(
        &self,
        words: &[Word],
        shim: &[OsString],
        hit: u64,
        pid: Pid,
    ) -> io::Result<Command> {
        let words = self.words(words, shim, hit, pid)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if let Some(caller) = &self.caller {
            caller.run(&mut command);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// A terminal's words; values of the traced process are not among them.
    fn words(
        &self,
        words: &[Word],
        shim: &[OsString],
        hit: u64,
        pid: Pid,
    ) -> io::Result<Vec<OsString>> {
        let dir = std::env::current_dir()?;
        let mut ready = Vec::new();
        for word in words {
            if let [Piece::Value(Placeholder::Shim)] = word.as_slice() {
                ready.extend(shim.iter().cloned());
                continue;
            }
            let mut joined = OsString::new();
            for piece in word {
                match piece {
                    Piece::Text(text) => joined.push(text),
                    Piece::Value(Placeholder::Dir) => joined.push(&dir),
                    Piece::Value(Placeholder::ShimVim) => joined.push(vim_string(shim)),
                    Piece::Value(Placeholder::ShimLisp) => joined.push(lisp_strings(shim)),
                    Piece::Value(Placeholder::Hit) => joined.push(hit.to_string()),
                    Piece::Value(Placeholder::Pid) => joined.push(pid.to_string()),
                    Piece::Value(Placeholder::Env(name)) => {
                        joined.push(self.variable(name).unwrap_or_default());
                    }
                    Piece::Value(Placeholder::Target) => {
                        joined.push(self.target.as_deref().unwrap_or_default());
                    }
                    Piece::Value(_) => {}
                }
            }
            ready.push(joined);
        }
        Ok(ready)
    }

    /// Asks whether there is such a target; what was said if not.
    fn check_target(&self) -> Result<(), String> {
        let Some(target) = &self.terminal.target else { return Ok(()) };
        if target.check.is_empty() {
            return Ok(());
        }
        let output = self
            .command(&target.check, &[], 0, 0)
            .and_then(|mut command| {
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                children::output(command, CHECKED_WITHIN)
            })
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(crate::text::escape::text(output.stderr.trim_ascii())),
        }
    }
}

/// The shim's words, all of them ours, as JSON inside a string of Vim's in single quotes. Bytes that are
/// not UTF-8 can be in none of the two languages.
fn vim_string(shim: &[OsString]) -> String {
    let words: Vec<_> = shim.iter().map(|word| word.to_string_lossy()).collect();
    serde_json::json!(words).to_string().replace('\'', "''")
}

/// The same as strings of Emacs Lisp.
fn lisp_strings(shim: &[OsString]) -> String {
    let string = |word: &OsString| {
        let text = word.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{text}\"")
    };
    shim.iter().map(string).collect::<Vec<_>>().join(" ")
}

/// Looks for a place.
struct Finder<'a> {
    catalog: &'a Catalog,
    caller: Option<&'a Caller>,
}

impl Finder<'_> {
    fn auto(&self, interactive: bool) -> Result<Place, Trouble> {
        if !interactive {
            return self.named("background");
        }
        let mut all: Vec<&Terminal> = self.catalog.terminals.iter().map(|e| &e.template).collect();
        all.retain(|terminal| terminal.auto.is_some());
        all.sort_by_key(|terminal| terminal.auto.as_ref().map(|auto| auto.rank));
        let mut inside = all.iter().filter(|terminal| self.is_inside(terminal));
        if let Some(place) = inside.find_map(|terminal| self.named(&terminal.name).ok()) {
            return Ok(place);
        }
        if File::open("/dev/tty").is_ok() {
            return self.named("here");
        }
        // Started by a desktop, say: a window is better than nothing.
        let mut windows = all.iter().filter(|terminal| !terminal.display.is_empty());
        windows.find_map(|terminal| self.named(&terminal.name).ok()).ok_or_else(|| {
            Trouble::new("there is no terminal here in which a debugger could run (--in auto)").hint(
                "run it in tmux or a terminal; or choose --in background with a debugger that needs \
                 nobody, such as --debugger gdb-backtrace or gdbserver; or --hold",
            )
        })
    }

    /// Whether this is such a terminal, as the variables tell.
    fn is_inside(&self, terminal: &Terminal) -> bool {
        let Some(auto) = &terminal.auto else { return false };
        let holds = |test: &String| {
            let (name, wanted) = match test.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (test.as_str(), None),
            };
            let value = self.variable(name).map(|(value, _)| value);
            value.is_some_and(|value| wanted.is_none_or(|wanted| value == *wanted))
        };
        !auto.inside.is_empty() && auto.inside.iter().all(holds)
    }

    /// A variable of our environment or, under sudo, of the caller's; and whether it is his.
    fn variable(&self, name: &str) -> Option<(OsString, bool)> {
        own_variable(name)
            .map(|value| (value, false))
            .or_else(|| Some((self.caller?.variable(name)?, true)))
    }

    fn template(&self, name: &str) -> Result<&Terminal, Trouble> {
        let Some(terminal) = self.catalog.terminal(name) else {
            let names: Vec<&str> =
                self.catalog.terminals.iter().map(|entry| entry.template.name.as_str()).collect();
            return Err(Trouble::new(format!("--in {name}: there is no such place")).hint(
                format!(
                    "there are auto, vscode, {}; `tracexec templates` tells more",
                    names.join(", ")
                ),
            ));
        };
        let (_, missing) = catalog::look_up(&[], &terminal.needs);
        if let Some(missing) = missing.first() {
            return Err(Trouble::new(format!(
                "--in {name}: the program {missing} is not installed"
            ))
            .hint(format!("install {missing}, or choose another place with --in")));
        }
        Ok(terminal)
    }

    /// The place of that name, or the one that it names for where it cannot be.
    fn named(&self, name: &str) -> Result<Place, Trouble> {
        let terminal = self.template(name)?;
        let otherwise = match &terminal.otherwise {
            Some(other) => self.named(other).map(Box::new).map(Some),
            None => Ok(None),
        };
        match self.at(terminal) {
            Ok(place) => Ok(Place { otherwise: otherwise?, ..place }),
            // What is said of the other one is not what was asked.
            Err(trouble) => otherwise.ok().flatten().map(|place| *place).ok_or(trouble),
        }
    }

    fn at(&self, terminal: &Terminal) -> Result<Place, Trouble> {
        let name = &terminal.name;
        let mut place = Place {
            terminal: terminal.clone(),
            env: Vec::new(),
            target: None,
            foreign: None,
            caller: None,
            otherwise: None,
        };
        for variable in &terminal.env {
            let Some((value, of_caller)) = self.variable(variable) else {
                return Err(Trouble::new(format!(
                    "--in {name}: ${variable} is not set, so this is no such terminal"
                ))
                .hint("start tracexec inside it, or choose another place with --in"));
            };
            place.env.push((variable.clone(), value));
            if of_caller {
                place.is_the_callers(self.caller);
            }
        }
        if !terminal.display.is_empty() {
            self.find_display(&mut place)?;
        }
        if terminal.shares_terminal && File::open("/dev/tty").is_err() {
            return Err(Trouble::new(format!("--in {name}: this process has no terminal"))
                .hint("choose --in tmux, or --in background with a debugger that needs nobody"));
        }
        Ok(place)
    }

    /// The display is that of the user who sits there: sudo keeps DISPLAY, but not all that goes with it.
    fn find_display(&self, place: &mut Place) -> Result<(), Trouble> {
        let names = &place.terminal.display;
        let is_set = |name: &String| self.caller.is_some_and(|c| c.variable(name).is_some());
        if names.iter().any(is_set) {
            place.is_the_callers(self.caller);
            return Ok(());
        }
        if names.iter().any(|name| own_variable(name).is_some()) {
            return Ok(());
        }
        let shown: Vec<String> = names.iter().map(|name| format!("${name}")).collect();
        let neither = match shown.as_slice() {
            [only] => format!("{only} is not set"),
            several => format!("neither {} is set", several.join(" nor ")),
        };
        Err(Trouble::new(format!(
            "--in {}: {neither}, so there is no display for its window",
            place.terminal.name
        ))
        .hint("choose another place with --in"))
    }

    /// A session of that name, from anywhere. Under sudo the caller's comes first.
    fn targeted(&self, name: &str, target: &str) -> Result<Place, Trouble> {
        let terminal = self.template(name)?;
        if terminal.target.is_none() || target.is_empty() {
            return Err(Trouble::new(format!(
                "--in {name}:{target}: {name} has no sessions that are chosen by a name"
            ))
            .hint(format!("say --in {name}; `tracexec templates show tmux` shows one that has")));
        }
        let mut place = Place {
            terminal: terminal.clone(),
            env: Vec::new(),
            target: Some(target.to_string()),
            foreign: None,
            caller: None,
            otherwise: None,
        };
        let inside_our_own = terminal.env.iter().all(|name| own_variable(name).is_some());
        if !inside_our_own && self.caller.is_some() {
            let mut his = place.clone();
            his.is_the_callers(self.caller);
            if his.check_target().is_ok() {
                return Ok(his);
            }
        }
        // The server that we are in, where there is one, and not only its default.
        let own = |name: &String| Some((name.clone(), own_variable(name)?));
        place.env = terminal.env.iter().filter_map(own).collect();
        place.check_target().map_err(|said| {
            Trouble::new(format!("--in {name}:{target}: {said}"))
                .hint(format!("start it first: `{name}` lists and makes sessions"))
        })?;
        Ok(place)
    }
}

impl Place {
    /// It is run as the user who called sudo.
    fn is_the_callers(&mut self, caller: Option<&Caller>) {
        self.foreign = caller.map(|caller| caller.uid);
        self.caller = caller.map(|caller| Box::new(caller.clone()));
    }
}

/// Runs the shim for `hit` on a terminal that another user has offered.
pub fn start_on(terminal: OwnedFd, socket: &Path, hit: u64) -> io::Result<Child> {
    let words = shim::words(false, socket, hit)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
    sys::given_file_limit(&mut command);
    sys::own_session(&mut command, sys::Controlling::StdinOfAnother);
    command.spawn()
}

/// A variable of our environment or, under sudo, which drops most, of the one who called it, and then
/// his user id.
pub fn variable(name: &str) -> Option<(OsString, Option<u32>)> {
    own_variable(name).map(|value| (value, None)).or_else(|| {
        let caller = Caller::find()?;
        Some((caller.variable(name)?, Some(caller.uid)))
    })
}
