//! The raw system calls that neither `std` nor `nix` offers in the form needed here: ptrace with
//! real-time signals, wait statuses as the kernel gives them, pidfds, and what was true of this
//! process before the Rust runtime began.

mod alarm;
mod background;
mod files;
#[cfg(feature = "ebpf")]
mod memory;
pub mod perf;
mod ptrace;
mod seccomp;
mod zone;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use libc::{c_int, c_long, pid_t};

pub use alarm::Alarm;
pub use background::{become_daemon, exit_now, fork_successor};
pub use files::{given_file_limit, leaves_room, raise_file_limit};
#[cfg(feature = "ebpf")]
pub use memory::{KernelFile, SharedWords};
pub use ptrace::*;
pub use seccomp::*;
pub use zone::zone_name;

/// A process or thread id.
pub type Pid = pid_t;

fn check(result: c_long) -> io::Result<c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

// --- what we were given -------------------------------------------------------------------------

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static SIGCHLD_IGNORED: AtomicBool = AtomicBool::new(false);
static WAKE_IGNORED: AtomicBool = AtomicBool::new(false);
/// Bit N: descriptor N was closed when we started.
static CLOSED_STDIO: AtomicU8 = AtomicU8::new(0);

/// Rust's runtime ignores SIGPIPE and opens /dev/null on closed standard descriptors before `main`;
/// COMMAND must get what we were given, so it is noted before that.
extern "C" fn note_inheritance() {
    SIGPIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    SIGCHLD_IGNORED.store(is_ignored(libc::SIGCHLD), Ordering::Relaxed);
    WAKE_IGNORED.store(is_ignored(WAKE), Ordering::Relaxed);
    let mut closed = 0;
    for fd in 0..3 {
        // SAFETY: F_GETFD reads a flag of a descriptor number, open or not.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            closed |= 1 << fd;
        }
    }
    CLOSED_STDIO.store(closed, Ordering::Relaxed);
}

// SAFETY: an entry of .init_array is a function that the C runtime calls once, before main, with
// arguments that this one ignores; it uses nothing that the Rust runtime would have to set up.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_INHERITANCE: extern "C" fn() = note_inheritance;

/// Whether a signal is ignored.
pub fn is_ignored(signal: c_int) -> bool {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action makes sigaction a query; `old` is ours and large enough.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) == 0
            && old.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// What a child that becomes COMMAND has to put back. Made before the fork, applied after it.
#[derive(Clone, Copy)]
pub struct Inherited {
    mask: libc::sigset_t,
    ignored: [(c_int, bool); 3],
    closed: u8,
    files: libc::rlimit,
}

impl Inherited {
    /// Notes the signal mask (of the calling thread, before anything was blocked) beside what was
    /// noted at start-up.
    pub fn note() -> Self {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: a null new set makes this a query; `mask` is ours and zeroed is a valid set.
        let mask = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            mask.assume_init()
        };
        Inherited {
            mask,
            ignored: [
                (libc::SIGPIPE, SIGPIPE_IGNORED.load(Ordering::Relaxed)),
                (libc::SIGCHLD, SIGCHLD_IGNORED.load(Ordering::Relaxed)),
                (WAKE, WAKE_IGNORED.load(Ordering::Relaxed)),
            ],
            closed: CLOSED_STDIO.load(Ordering::Relaxed),
            files: files::given(),
        }
    }

    /// Puts it back. Async-signal-safe, for the child between fork and exec.
    pub fn restore(&self) {
        files::set(&self.files);
        // SAFETY: plain system calls on values of our own; no allocation, no lock.
        unsafe {
            for (signal, ignored) in self.ignored {
                libc::signal(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
            }
            for fd in 0..3 {
                if self.closed & (1 << fd) != 0 {
                    libc::close(fd);
                }
            }
            libc::sigprocmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut());
        }
    }
}

/// Whether one of the standard descriptors was closed when we started. /dev/null is open there since.
pub fn was_closed(fd: RawFd) -> bool {
    (0..3).contains(&fd) && CLOSED_STDIO.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Gives SIGCHLD its default action: were it ignored, the kernel would reap COMMAND unseen.
pub fn default_sigchld() {
    // SAFETY: sets a default action; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

// --- waking the tracer thread -------------------------------------------------------------------

/// The signal that interrupts the tracer's waitpid. Nobody notices it: its default is to be ignored.
const WAKE: c_int = libc::SIGURG;

extern "C" fn wake_handler(_: c_int) {}

/// Installs the handler that does nothing, so that [`wake`] makes a blocked waitpid return EINTR.
pub fn install_wake_handler() -> io::Result<()> {
    // SAFETY: the handler does nothing, which is async-signal-safe; without SA_RESTART on purpose.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = wake_handler as extern "C" fn(c_int) as usize;
        check(libc::sigaction(WAKE, &action, std::ptr::null_mut()) as c_long)?;
    }
    Ok(())
}

/// Blocks until a signal such as that of [`wake`] comes.
pub fn wait_for_wake() {
    nix::unistd::pause();
}

/// The id of the calling thread.
pub fn gettid() -> Pid {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::gettid() }
}

/// Interrupts a system call in which thread `tid` of this process blocks.
pub fn wake(tid: Pid) {
    // SAFETY: sends a signal whose handler does nothing to a thread of our own process.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, WAKE) };
}

// --- waiting ------------------------------------------------------------------------------------

/// waitpid for the calling thread's children and tracees only (`__WNOTHREAD`), threads included.
/// `Ok(None)` means interrupted.
pub fn wait_tracee(pid: Pid) -> io::Result<Option<(Pid, c_int)>> {
    let mut status = 0;
    // SAFETY: `status` is ours; the flags are the kernel's, see wait(2).
    match unsafe { libc::waitpid(pid, &mut status, libc::__WALL | libc::__WNOTHREAD) } {
        -1 => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(None) } else { Err(error) }
        }
        pid => Ok(Some((pid, status))),
    }
}

/// The same for all of them, with what an ended one has used if that is wanted, which costs something at every stop;
/// it does not block unless it is told to. `Ok(None)` means interrupted, or that nothing is there.
pub fn wait_any_tracee(block: bool, used: bool) -> io::Result<Option<(Pid, c_int, libc::rusage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let into = if used { usage.as_mut_ptr() } else { std::ptr::null_mut() };
    let flags = libc::__WALL | libc::__WNOTHREAD | if block { 0 } else { libc::WNOHANG };
    // SAFETY: both are ours, or the second is null; the flags are the kernel's, see wait(2).
    match unsafe { libc::wait4(-1, &mut status, flags, into) } {
        -1 => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(None) } else { Err(error) }
        }
        0 => Ok(None),
        // SAFETY: the kernel has filled it, or left it zeroed; all bit patterns are valid.
        pid => Ok(Some((pid, status, unsafe { usage.assume_init() }))),
    }
}

/// What [`wait_tracee`] would say now, if anything.
pub fn poll_tracee(pid: Pid) -> io::Result<Option<c_int>> {
    let mut status = 0;
    let flags = libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
    // SAFETY: `status` is ours; the flags are the kernel's, see wait(2).
    match check(unsafe { libc::waitpid(pid, &mut status, flags) } as c_long)? {
        0 => Ok(None),
        _ => Ok(Some(status)),
    }
}

/// Reaps a child of this process that has ended; its wait status.
pub fn reap(pid: Pid) -> io::Result<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours.
        if unsafe { libc::waitpid(pid, &mut status, 0) } == pid {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Nanoseconds since boot, by CLOCK_BOOTTIME.
pub fn boot_time() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// Nanoseconds since boot in the clock ticks of proc(5).
pub fn to_clock_ticks(nanoseconds: u64) -> u64 {
    nanoseconds / clock_tick()
}

/// The other way round.
pub fn from_clock_ticks(ticks: u64) -> u64 {
    ticks * clock_tick()
}

/// In nanoseconds.
fn clock_tick() -> u64 {
    // SAFETY: takes a number only.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    1_000_000_000 / per_second
}

// --- signals and pidfds -------------------------------------------------------------------------

/// kill(2).
pub fn kill(pid: Pid, signal: c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::kill(pid, signal) } as c_long).map(drop)
}

/// tgkill(2): a signal for one thread.
pub fn tgkill(tgid: Pid, tid: Pid, signal: c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) }).map(drop)
}

/// kcmp(2): whether descriptor `number` of two processes is one open file. `false` where the kernel does not tell.
pub fn is_same_file(one: Pid, other: Pid, number: u32) -> bool {
    const KCMP_FILE: c_int = 0;
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILE, number, number) == 0 }
}

/// Whether `tid` is a thread of process `tgid`.
pub fn is_thread_of(tgid: Pid, tid: Pid) -> bool {
    // SAFETY: signal 0 is a mere test.
    unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, 0) == 0 }
}

/// pidfd_open(2): readable once the process has ended.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: on success the kernel gives a new descriptor (close-on-exec) that nobody else owns.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// pidfd_send_signal(2): reaches that very process or none.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes it behave like kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) })
        .map(drop)
}

/// Lets descriptors live on in a child's program.
pub fn inherit(command: &mut Command, fds: Vec<RawFd>) {
    // SAFETY: the closure makes system calls only.
    unsafe {
        command.pre_exec(move || {
            for &fd in &fds {
                if libc::fcntl(fd, libc::F_SETFD, 0) == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Waits until every eBPF program that runs now has come to its end: a grace period of RCU, some 10 ms.
#[cfg(feature = "ebpf")]
pub fn wait_for_kernel_readers() {
    const MEMBARRIER_CMD_GLOBAL: c_int = 1;
    // SAFETY: a system call on numbers.
    let failed = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0;
    if failed {
        // Kernels with CPUs without a tick do not have it.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

// --- children of our own ------------------------------------------------------------------------

/// What becomes the controlling terminal of a new session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Controlling {
    Nothing,
    /// Its standard input.
    Stdin,
    /// The same, taken from the session that has it (needs CAP_SYS_ADMIN).
    StdinOfAnother,
}

/// Makes `command` start with no signal blocked: what we block for ourselves is not for others.
pub fn unblocked(command: &mut Command) {
    // SAFETY: the closure makes one system call on memory of its own, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
            Ok(())
        });
    }
}

/// Makes `command` start in a session of its own.
pub fn own_session(command: &mut Command, terminal: Controlling) {
    let steal = c_int::from(terminal == Controlling::StdinOfAnother);
    // SAFETY: the closure makes two system calls, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() == -1
                || (terminal != Controlling::Nothing
                    && libc::ioctl(0, libc::TIOCSCTTY, steal) == -1)
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Forks a child that does nothing but be there, in our process group, until we end. For a process
/// of one thread.
pub fn stand_in() -> io::Result<Pid> {
    let parent = std::process::id();
    // SAFETY: the child makes system calls on values of its own, and never returns.
    unsafe {
        let pid = check(libc::fork().into())? as Pid;
        if pid == 0 {
            let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if libc::getppid() as u32 == parent {
                libc::pause();
            }
            libc::_exit(0);
        }
        Ok(pid)
    }
}

/// Reads the size of terminal `fd` in rows and columns.
pub fn window_size(fd: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel fills `size`, which is ours; all bit patterns are valid.
    unsafe {
        check(libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) as c_long)?;
        Ok(size.assume_init())
    }
}

/// Sets the size of terminal `fd`.
pub fn set_window_size(fd: BorrowedFd<'_>, size: &libc::winsize) -> io::Result<()> {
    // SAFETY: the kernel reads `size`, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size)) }
        as c_long)
    .map(drop)
}

/// Makes `number` another name of an open descriptor, and has it live on in what we execute. What it was
/// before is closed.
pub fn place_descriptor(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers; the caller says that nothing of ours has this one.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) } as c_long).map(drop)
}

/// Closes a descriptor that was given to us.
pub fn close_number(number: RawFd) {
    // SAFETY: as above.
    unsafe { libc::close(number) };
}

/// A copy of a descriptor with a number from `least` on.
pub fn raise_descriptor(fd: OwnedFd, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: on success the kernel gives a new descriptor that nobody else owns.
    unsafe {
        let new = check(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) as c_long)?;
        Ok(OwnedFd::from_raw_fd(new as RawFd))
    }
}

/// Sets FD_CLOEXEC, for calls that cannot create with it.
pub fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: sets a flag of a descriptor that is borrowed for the call.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } as c_long)
        .map(drop)
}

/// A descriptor that we were given by number. What we start does not inherit it, unless it is one of
/// the standard ones.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if was_closed(number) {
        return Err(nix::errno::Errno::EBADF.into());
    }
    // SAFETY: on success the kernel gives a new descriptor that nobody else owns.
    let taken = unsafe {
        let fd = check(libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3).into())?;
        OwnedFd::from_raw_fd(fd as RawFd)
    };
    if number > libc::STDERR_FILENO {
        // SAFETY: it is open, as has just been seen, and is borrowed for the call only.
        close_on_exec(unsafe { BorrowedFd::borrow_raw(number) })?;
    }
    Ok(taken)
}

/// Lets the calling thread be woken by [`wake`], whatever mask it has inherited.
pub fn unblock_wake() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is ours and initialised by sigemptyset.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), WAKE);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

// --- descriptors over sockets -------------------------------------------------------------------

/// Sends `bytes` and a descriptor (SCM_RIGHTS, see unix(7)).
pub fn send_with_descriptor(
    stream: &UnixStream,
    bytes: &[u8],
    fd: BorrowedFd<'_>,
) -> io::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let fds = [fd.as_raw_fd()];
    let parts = [io::IoSlice::new(bytes)];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(stream.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None)?;
    Ok(())
}

/// Receives one message of a few bytes, and a descriptor if one came with it.
pub fn receive_with_descriptor(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut bytes = [0; 256];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [io::IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut received = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                received = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    let len = message.bytes;
    Ok((bytes[..len].to_vec(), received))
}
