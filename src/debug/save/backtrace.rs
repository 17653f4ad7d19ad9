//! The backtrace of a hit, written by a debugger that nobody looks at: gdb, on the process itself, or lldb,
//! on its core, since lldb would set the process running.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Subject;
use crate::launcher::catalog::{Catalog, Programs};
use crate::launcher::command::{Break, Findings, ReadyWord, Recipe, Values};
use crate::launcher::image::Image;
use crate::launcher::inside::Inside;
use crate::launcher::shim;
use crate::launcher::template::{Piece, Placeholder, Word};
use crate::linux::identity::Identity;
use crate::linux::sys::{self, Pid};
use crate::machine::diagnose;
use crate::machine::procfs;
use crate::text::escape;
use crate::text::report::Trouble;

/// How long a debugger may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked whether it is still wanted.
const LOOK: u16 = 100;

/// A debugger that writes backtraces, by its template.
#[derive(Debug, Clone)]
pub struct Backtracer {
    recipe: Recipe,
    on_core: bool,
}

/// The core that a debugger reads, if it wants one.
#[derive(Clone, Copy)]
pub enum Core<'a> {
    At(&'a Path),
    Open(&'a File),
}

impl Backtracer {
    /// The one that goes with the session's debugger, else the first that is installed.
    pub fn find(debugger: Option<&str>) -> Result<Backtracer, Trouble> {
        let catalog = Catalog::load()?;
        let mut names = ["gdb-backtrace", "lldb-backtrace"];
        if debugger.is_some_and(|name| name.starts_with("lldb")) {
            names.reverse();
        }
        let found = names.into_iter().find_map(|name| {
            let template = catalog.debugger(name)?;
            let programs = Programs::of(template);
            let program = programs.program.filter(|_| programs.missing.is_empty())?;
            let recipe = Recipe {
                debugger: template.clone(),
                program: Some(program),
                stop_at: Break::Entry,
                given: Vec::new(),
                listen: Default::default(),
                remember: false,
            };
            Backtracer::of(&recipe)
        });
        found.ok_or_else(|| {
            Trouble::new("--save backtrace: neither gdb nor lldb is installed")
                .hint("install one of them, or save the core only")
        })
    }

    /// The same as a session's debugger, if that is one that can do with a core.
    pub fn of(recipe: &Recipe) -> Option<Backtracer> {
        let name = &*recipe.debugger.name;
        let on_core = name == "lldb-backtrace";
        (on_core || name == "gdb-backtrace").then(|| Backtracer { recipe: recipe.clone(), on_core })
    }

    /// Whether it reads a core.
    pub fn wants_core(&self, subject: &Subject) -> bool {
        self.on_core || subject.prepared.is_some() || procfs::first_thread_ended(subject.pid)
    }

    /// Has the debugger write to `file`.
    pub fn write(
        &self,
        subject: &Subject,
        core: Core<'_>,
        user: Option<&Identity>,
        file: &mut File,
        cancelled: &AtomicBool,
    ) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        let (pid, hit, program) = (subject.pid, subject.hit, &subject.program);
        let findings = Findings {
            image: Image::of(procfs::living(pid), &program.filename),
            inside: Inside::of(pid, &program.exe, &program.cwd),
            ..Findings::default()
        };
        let values = Values { pid, hit, program, findings: &findings };
        let mut recipe = self.recipe.clone();
        if self.wants_core(subject) {
            let living = procfs::living(pid);
            recipe.debugger.command =
                if self.on_core { on_core_words(living) } else { gdb_on_core_words(living) };
        }
        let mut words = recipe.words(&values);
        if self.wants_core(subject) {
            let path = match core {
                Core::At(path) => path.as_os_str().to_os_string(),
                Core::Open(file) => format!("/dev/fd/{}", file.as_raw_fd()).into(),
            };
            words.extend(["--core".into(), path].map(ReadyWord::Text));
        }
        let attaches = !self.wants_core(subject);
        if user.is_some() && attaches && diagnose::ptrace_scope().is_some_and(|scope| scope >= 2) {
            return Err("the debugger would have to run as root on a process of another user, which could make it \
                        run code: kernel.yama.ptrace_scope allows root only to attach"
                .into());
        }
        let arguments: Vec<String> = subject.program.argv.iter().map(escape::word).collect();
        let line = arguments.join(" ");
        writeln!(file, "{line}\nprocess {}, at its {}\n", subject.pid, subject.moment)
            .map_err(said)?;
        let inherited = if let Core::Open(file) = core { Some(file) } else { None };
        let (reader, writer) = io::pipe().map_err(said)?;
        let mut child = start(words, writer, inherited, user).map_err(said)?;
        let name = escape::text(self.recipe.debugger.name.as_bytes());
        let ended = take_down(&mut child, reader, file, cancelled);
        if !matches!(ended, Ok(Some(_))) {
            // It leads a session of its own; until it is waited for, the number is its.
            let _ = sys::kill(-(child.id() as Pid), libc::SIGKILL);
            let _ = child.wait();
        }
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("{name} failed ({status})")),
            Ok(None) => {
                let seconds = PATIENCE.as_secs();
                let _ = writeln!(file, "\n{name} was ended before its end");
                Err(format!("{name} took longer than {seconds} s, or was not wanted any more"))
            }
            Err(error) => Err(format!("cannot write what {name} says: {error}")),
        }
    }
}

/// lldb's words for a core, which follows them. While the process is there, its file is, whatever has become
/// of the path.
fn on_core_words(living: Pid) -> Vec<Word> {
    let text = |text: &str| vec![Piece::Text(text.to_string())];
    vec![
        vec![Piece::Value(Placeholder::Program)],
        text("--batch"),
        text("--no-lldbinit"),
        text("-O"),
        text("settings set interpreter.echo-commands false"),
        vec![Piece::Value(Placeholder::Commands)],
        text("-s"),
        vec![Piece::Value(Placeholder::File("report".to_string()))],
        text("--file"),
        text(&format!("/proc/{living}/exe")),
    ]
}

/// The same for gdb, which can otherwise do without a core.
fn gdb_on_core_words(living: Pid) -> Vec<Word> {
    let text = |text: &str| vec![Piece::Text(text.to_string())];
    let file = |name: &str| vec![Piece::Value(Placeholder::File(name.to_string()))];
    vec![
        vec![Piece::Value(Placeholder::Program)],
        text("-q"),
        text("-batch"),
        text("-nx"),
        vec![Piece::Value(Placeholder::Sysroot)],
        text("-ix"),
        file("before"),
        text(&format!("--se=/proc/{living}/exe")),
        vec![Piece::Value(Placeholder::Commands)],
        text("-x"),
        file("report"),
    ]
}

fn start(
    words: Vec<ReadyWord>,
    output: PipeWriter,
    core: Option<&File>,
    user: Option<&Identity>,
) -> io::Result<Child> {
    let mut plain = Vec::new();
    let mut scripts = Vec::new();
    for word in words {
        plain.push(shim::ready(word, &mut scripts)?);
    }
    let mut command = Command::new(&plain[0]);
    command.args(&plain[1..]);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    if let Some(user) = user {
        user.take(&mut command);
    }
    sys::inherit(&mut command, scripts.iter().chain(core).map(AsRawFd::as_raw_fd).collect());
    sys::own_session(&mut command, sys::Controlling::Nothing);
    sys::given_file_limit(&mut command);
    sys::unblocked(&mut command);
    command.spawn()
}

/// Writes down what a debugger says until its end; `None` if that takes too long, or is not wanted any more. It
/// says it to us, since debuggers do not notice that a disk is full.
fn take_down(
    child: &mut Child,
    mut output: PipeReader,
    file: &mut File,
    cancelled: &AtomicBool,
) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    let pidfd = sys::pidfd_open(child.id() as Pid)?;
    let mut buffer = [0; 1 << 16];
    let mut open = true;
    while Instant::now() < deadline && !cancelled.load(Ordering::Relaxed) {
        let mut fds = [pidfd.as_fd(), output.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        // What has been closed is always ready.
        let watched = if open { &mut fds[..] } else { &mut fds[..1] };
        if poll(watched, PollTimeout::from(LOOK)).is_err() {
            continue;
        }
        let ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        if open && ready(&fds[1]) {
            let read = output.read(&mut buffer)?;
            file.write_all(&buffer[..read])?;
            open = read > 0;
        } else if ready(&fds[0]) {
            return child.wait().map(Some);
        }
    }
    Ok(None)
}
