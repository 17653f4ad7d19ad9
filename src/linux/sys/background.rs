//! A process that goes on where the one that was called ends.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::{Pid, check};

/// Forks a child that goes on in our place, and is killed when we end; `None` in it, else its pid. For a process of one
/// thread.
pub fn fork_successor() -> io::Result<Option<Pid>> {
    let parent = std::process::id();
    // SAFETY: with no other thread, nothing is locked or half done that the child would find so.
    let pid = unsafe { check(libc::fork().into())? as Pid };
    if pid != 0 {
        return Ok(Some(pid));
    }
    end_with_parent(true);
    // SAFETY: takes no argument and cannot fail.
    if unsafe { libc::getppid() } as u32 != parent {
        exit_now(125);
    }
    Ok(None)
}

fn end_with_parent(on: bool) {
    // SAFETY: a system call on numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, if on { libc::SIGKILL } else { 0 }) };
}

/// Has the process go on in the background, in a session of its own and in no folder, with nothing open but `kept`. A
/// signal ends it again as it ends others. What had the descriptors must never be dropped.
pub fn become_daemon(kept: RawFd) {
    end_with_parent(false);
    let fds = std::fs::read_dir("/proc/self/fd").map(|all| {
        let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        all.flatten().filter_map(number).collect::<Vec<RawFd>>()
    });
    // SAFETY: system calls on numbers, a path and a set of our own; the caller says that nobody uses the descriptors.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        for fd in fds.unwrap_or_default() {
            if fd > 2 && fd != kept {
                libc::close(fd);
            }
        }
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        for fd in 0..3 {
            // Nothing at all where there is no /dev/null.
            if libc::dup2(null, fd) == -1 {
                libc::close(fd);
            }
        }
        let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Ends the process, and nothing else is done.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(status.into()) }
}
