//! Breakpoints by perf_event_open(2): the kernel signals the thread that reaches one, and nothing of it
//! is in the process's memory or in its debug registers as ptrace shows them.
//!
//! The kernel could send SIGTRAP for it (`sigtrap` of perf_event_attr), which would end the process where
//! its tracer dies in that moment. So it is the event's owner that is signalled, with [`SIGNAL`], which is
//! ignored by whom nobody traces.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long};

use super::{Pid, Signalled, check};

/// What a thread at a breakpoint gets: a signal that is ignored unless a program handles it, and one that
/// those which do take as a hint only.
pub const SIGNAL: c_int = libc::SIGURG;

/// A breakpoint of one thread, which is there until this is dropped.
#[derive(Debug)]
pub struct Breakpoint {
    event: OwnedFd,
    pub address: u64,
}

// Bits of perf_event_attr, see perf_event_open(2).
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;

impl Breakpoint {
    pub fn set(tid: Pid, address: u64) -> io::Result<Breakpoint> {
        const TYPE_BREAKPOINT: u64 = 5;
        const EXECUTE: u64 = 4;
        const CLOSE_ON_EXEC: u64 = 8;
        // struct perf_event_attr in its second version, of 72 bytes.
        let mut attributes = [0u64; 9];
        attributes[0] = TYPE_BREAKPOINT | (size_of_val(&attributes) as u64) << 32;
        // Each time.
        attributes[2] = 1;
        attributes[5] = EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR;
        attributes[6] = EXECUTE << 32;
        attributes[7] = address;
        attributes[8] = size_of::<c_long>() as u64;
        // SAFETY: the kernel reads the attributes, which outlive the call, and gives a new descriptor
        // that nobody else owns.
        let event = unsafe {
            let any_cpu = -1;
            let fd = check(libc::syscall(
                libc::SYS_perf_event_open,
                attributes.as_ptr(),
                tid,
                any_cpu,
                -1,
                CLOSE_ON_EXEC,
            ))?;
            OwnedFd::from_raw_fd(fd as RawFd)
        };
        signals(&event, tid)?;
        Ok(Breakpoint { event, address })
    }

    /// Whether a signal that this thread is to get says that it has come here.
    pub fn has_sent(&self, info: &Signalled) -> bool {
        // POLL_IN, which libc does not know.
        info.code == 1 && info.descriptor == self.event.as_raw_fd()
    }
}

/// Whether the kernel would set one in a process of ours.
pub fn probe() -> io::Result<()> {
    // Nothing is executed there.
    Breakpoint::set(super::gettid(), 0x1000).map(drop)
}

/// Has an event signal a thread.
fn signals(event: &OwnedFd, tid: Pid) -> io::Result<()> {
    const F_SETSIG: c_int = 10;
    const F_SETOWN_EX: c_int = 15;
    const F_OWNER_TID: c_int = 0;
    let owner = [F_OWNER_TID, tid];
    let fd = event.as_raw_fd();
    // SAFETY: struct f_owner_ex is two ints, which the kernel reads; the others take numbers.
    unsafe {
        check(c_long::from(libc::fcntl(fd, F_SETOWN_EX, owner.as_ptr())))?;
        check(c_long::from(libc::fcntl(fd, F_SETSIG, SIGNAL)))?;
        check(c_long::from(libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC)))?;
    }
    Ok(())
}
