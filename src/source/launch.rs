//! Starts COMMAND so that a source has it before it executes anything.
//!
//! The child waits for a byte on a pipe instead of stopping itself, which would confuse shells and
//! parents; what fails in it, an exec that is refused among it, comes back on a second pipe.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::LaunchError;
use crate::linux::identity::Identity;
use crate::linux::sys::{self, Inherited, Pid};
use crate::machine::procfs::Stat;

/// COMMAND, and how it is to run.
#[derive(Clone)]
pub struct Command {
    pub words: Vec<OsString>,
    pub identity: Option<Identity>,
    pub inherited: Inherited,
}

/// A child that has yet to report how its exec went.
pub struct Launched {
    pub pid: Pid,
    /// Its argv[0].
    pub name: OsString,
    report: File,
}

/// Which step failed in the child.
const IDENTITY: u8 = 1;
const EXEC: u8 = 2;
const SECCOMP: u8 = 3;

impl AsFd for Launched {
    /// Something can be read there, the end of it too, once it is known how the exec went.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

impl Launched {
    /// Whether it has executed COMMAND. It may have ended by now, but must not have been waited for.
    pub fn has_executed(&self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.executed)
    }

    /// What went wrong before the exec, once the child has ended.
    pub fn failure(mut self) -> Option<LaunchError> {
        let mut report = [0; 5];
        self.report.read_exact(&mut report).ok()?;
        let [step, errno @ ..] = report;
        let error = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
        Some(match step {
            IDENTITY => LaunchError::Identity(error),
            SECCOMP => LaunchError::Seccomp(error),
            _ => LaunchError::Exec(error),
        })
    }
}

fn strings<'a>(items: impl Iterator<Item = &'a OsStr>) -> io::Result<Vec<CString>> {
    items.map(|item| CString::new(item.as_bytes()).map_err(io::Error::from)).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// Our own environment, entry by entry: std leaves out those without a `=`.
fn own_environment() -> Vec<OsString> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: libc's environment is a null pointer, or an array of strings that ends with one; nobody changes it, since
    // we set no variable.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            entries.push(OsStr::from_bytes(CStr::from_ptr(*next).to_bytes()).to_os_string());
            next = next.add(1);
        }
    }
    entries
}

/// The environment that COMMAND gets.
pub fn environment(identity: Option<&Identity>) -> Vec<OsString> {
    let Some(identity) = identity else { return own_environment() };
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    identity.adjust(&mut environment);
    let entry = |(mut entry, value): (OsString, OsString)| {
        entry.push("=");
        entry.push(value);
        entry
    };
    environment.into_iter().map(entry).collect()
}

/// Forks COMMAND and has `take` see it before it goes on.
pub fn launch(
    command: &Command,
    take: impl FnOnce(Pid) -> io::Result<()>,
) -> Result<Launched, LaunchError> {
    launch_under(command, Seccomp::Off, take)
}

/// Whether COMMAND runs under a filter that stops its execs, see [`sys::stop_at_execs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    On,
    Off,
}

/// The same, under a filter if that is asked for.
pub fn launch_under(
    command: &Command,
    seccomp: Seccomp,
    take: impl FnOnce(Pid) -> io::Result<()>,
) -> Result<Launched, LaunchError> {
    let argv =
        strings(command.words.iter().map(OsString::as_os_str)).map_err(LaunchError::System)?;
    let environment = environment(command.identity.as_ref());
    let envp = strings(environment.iter().map(OsString::as_os_str)).map_err(LaunchError::System)?;
    let (argv, envp) = (pointers(&argv), pointers(&envp));
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| LaunchError::System(errno.into()));
    let (wait, go) = pipe()?;
    let (report, reporter) = pipe()?;

    // SAFETY: the child calls nothing but async-signal-safe functions on what was made before the
    // fork, and leaves by exec or _exit.
    match unsafe { libc::fork() } {
        -1 => Err(LaunchError::System(io::Error::last_os_error())),
        0 => {
            let files = ChildFiles { wait: &wait, go: &go, reporter: &reporter };
            // SAFETY: as above; the pointers end with a null and point to living strings.
            unsafe { become_command(command, seccomp, &files, &argv, &envp) }
        }
        pid => {
            drop((wait, reporter));
            if let Err(error) = take(pid) {
                // The closed pipe tells the child to end.
                drop(go);
                let _ = sys::reap(pid);
                return Err(LaunchError::Trace(error));
            }
            let _ = File::from(go).write_all(b"!");
            let name = command.words[0].clone();
            Ok(Launched { pid, name, report: File::from(report) })
        }
    }
}

struct ChildFiles<'a> {
    wait: &'a OwnedFd,
    go: &'a OwnedFd,
    reporter: &'a OwnedFd,
}

/// The child's part.
///
/// # Safety
/// Only between fork and exec; `argv` and `envp` are arrays that end with a null pointer.
unsafe fn become_command(
    command: &Command,
    seccomp: Seccomp,
    files: &ChildFiles<'_>,
    argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
) -> ! {
    // SAFETY: system calls on descriptors and memory that live until the exec.
    unsafe {
        libc::close(files.go.as_raw_fd());
        let mut byte = 0u8;
        let got = loop {
            let got = libc::read(files.wait.as_raw_fd(), ptr::from_mut(&mut byte).cast(), 1);
            if got != -1 || *libc::__errno_location() != libc::EINTR {
                break got;
            }
        };
        if got != 1 {
            libc::_exit(125);
        }
        let mut step = SECCOMP;
        // While root is root, it needs no no_new_privs.
        if seccomp == Seccomp::Off || sys::stop_at_execs().is_some() {
            step = IDENTITY;
            if command.identity.as_ref().is_none_or(Identity::assume) {
                step = EXEC;
                command.inherited.restore();
                libc::execvpe(argv[0], argv.as_ptr(), envp.as_ptr());
            }
        }
        let errno = (*libc::__errno_location()).to_ne_bytes();
        let report = [step, errno[0], errno[1], errno[2], errno[3]];
        libc::write(files.reporter.as_raw_fd(), report.as_ptr().cast(), report.len());
        libc::_exit(125)
    }
}
