//! The limit of open files. We raise it for ourselves, since every match takes some; what we start for others gets
//! the limit that we were given: programs that use select(2) rely on a low one, and COMMAND is to see no difference.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// The limit that we were given, once it has been raised.
static GIVEN: OnceLock<libc::rlimit> = OnceLock::new();

/// The limit that we were given.
pub(super) fn given() -> libc::rlimit {
    GIVEN.get().copied().unwrap_or_else(current)
}

fn current() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to a value of our own. It cannot fail.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit
}

/// Sets it. Async-signal-safe.
pub(super) fn set(limit: &libc::rlimit) -> bool {
    // SAFETY: the kernel reads a value of our own.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, std::ptr::from_ref(limit)) == 0 }
}

/// Raises it for ourselves as far as we may. Where it cannot be raised, it stays.
pub fn raise_file_limit() {
    let given = *GIVEN.get_or_init(current);
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok();
    let most = most.and_then(|most| most.trim().parse().ok()).unwrap_or(given.rlim_max);
    let most = most.max(given.rlim_max);
    if !set(&libc::rlimit { rlim_cur: most, rlim_max: most }) {
        set(&libc::rlimit { rlim_cur: given.rlim_max, ..given });
    }
}

/// So many descriptors are not for matches: without any, they could not be released either.
const RESERVED: u64 = 16;

/// An error if this descriptor, which is for a match, is one of the last that we may have. The kernel gives the lowest
/// number that is free.
pub fn leaves_room(fd: BorrowedFd<'_>) -> io::Result<()> {
    match (fd.as_raw_fd() as u64).saturating_add(RESERVED) < current().rlim_cur {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EMFILE)),
    }
}

/// Makes `command` start with the limit that we were given.
pub fn given_file_limit(command: &mut Command) {
    let limit = given();
    // SAFETY: the closure makes one system call, which is async-signal-safe.
    unsafe {
        command
            .pre_exec(move || if set(&limit) { Ok(()) } else { Err(io::Error::last_os_error()) });
    }
}
