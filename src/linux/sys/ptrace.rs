//! The requests of ptrace(2). Each is only for a tracee of the calling thread, and most of them for one that is
//! stopped.

use std::io;
use std::mem::MaybeUninit;

use libc::{c_int, c_long, c_void};

use super::{Pid, check};

fn ptrace(request: libc::c_uint, pid: Pid, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: every caller in this module passes a request whose address and data are numbers, or
    // a pointer to memory of its own that outlives the call.
    check(unsafe { libc::ptrace(request, pid, address as *mut c_void, data as *mut c_void) })
}

/// PTRACE_SEIZE with `options`.
pub fn seize(pid: Pid, options: c_int) -> io::Result<()> {
    ptrace(libc::PTRACE_SEIZE, pid, 0, options as usize).map(drop)
}

/// PTRACE_SETOPTIONS.
pub fn set_options(pid: Pid, options: c_int) -> io::Result<()> {
    ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options as usize).map(drop)
}

/// PTRACE_CONT, delivering `signal` (0: none).
pub fn cont(pid: Pid, signal: c_int) -> io::Result<()> {
    ptrace(libc::PTRACE_CONT, pid, 0, signal as usize).map(drop)
}

/// PTRACE_LISTEN: leaves a group-stop in force.
pub fn listen(pid: Pid) -> io::Result<()> {
    ptrace(libc::PTRACE_LISTEN, pid, 0, 0).map(drop)
}

/// PTRACE_SYSCALL, delivering `signal` (0: none).
pub fn cont_to_syscall(pid: Pid, signal: c_int) -> io::Result<()> {
    ptrace(libc::PTRACE_SYSCALL, pid, 0, signal as usize).map(drop)
}

/// PTRACE_DETACH, delivering `signal` (0: none).
pub fn detach(pid: Pid, signal: c_int) -> io::Result<()> {
    ptrace(libc::PTRACE_DETACH, pid, 0, signal as usize).map(drop)
}

/// PTRACE_INTERRUPT: stops a tracee that was seized, soon.
pub fn interrupt(pid: Pid) -> io::Result<()> {
    ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0).map(drop)
}

/// PTRACE_GETREGSET: registers of a kind, by the number that their note has in a core.
pub fn register_set(tid: Pid, kind: u32) -> io::Result<Vec<u8>> {
    // The largest is the extended state, some 11 KB with all that processors have by now.
    let mut buffer = vec![0; 64 << 10];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    ptrace(libc::PTRACE_GETREGSET, tid, kind as usize, &raw mut part as usize)?;
    buffer.truncate(part.iov_len);
    Ok(buffer)
}

/// A siginfo_t as the kernel has it.
pub type SignalInfo = [u8; 128];

/// PTRACE_PEEKSIGINFO: the signals that are pending for a tracee, or for its whole process.
pub fn pending_signals(tid: Pid, shared: bool) -> io::Result<Vec<SignalInfo>> {
    let arguments =
        libc::ptrace_peeksiginfo_args { off: 0, flags: u32::from(shared), nr: PENDING as i32 };
    let mut found = [[0; size_of::<SignalInfo>()]; PENDING];
    let count = ptrace(
        libc::PTRACE_PEEKSIGINFO,
        tid,
        &raw const arguments as usize,
        &raw mut found as usize,
    )?;
    Ok(found[..count as usize].to_vec())
}

/// More than that are never pending but by intent.
const PENDING: usize = 16;

/// What is known of a signal that is about to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signalled {
    pub code: c_int,
    /// Where the signal comes from a fault.
    pub address: u64,
    /// Where somebody has sent it.
    pub sender: Pid,
    /// Where it is about a descriptor.
    pub descriptor: c_int,
}

/// PTRACE_GETSIGINFO.
pub fn signal_info(pid: Pid) -> io::Result<Signalled> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    ptrace(libc::PTRACE_GETSIGINFO, pid, 0, info.as_mut_ptr() as usize)?;
    // SAFETY: the kernel has filled it; all bit patterns are valid, and these are mere numbers whatever
    // the signal. si_fd, which libc has no name for, is the seventh word.
    unsafe {
        let descriptor = info.as_ptr().cast::<c_int>().add(6).read();
        let info = info.assume_init();
        let (address, sender) = (info.si_addr() as u64, info.si_pid());
        Ok(Signalled { code: info.si_code, address, sender, descriptor })
    }
}

/// A system call that a tracee is about to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub number: u64,
    pub first: u64,
    /// AUDIT_ARCH of it.
    pub arch: u32,
}

/// PTRACE_GET_SYSCALL_INFO: `None` unless the tracee is on its way into a call.
pub fn entered_call(pid: Pid) -> io::Result<Option<Call>> {
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    const ENTRY: u64 = 1;
    // struct ptrace_syscall_info: op, three bytes of padding and arch, ip, sp, nr, six arguments.
    let mut words = [0u64; 11];
    let size = size_of_val(&words);
    ptrace(GET_SYSCALL_INFO, pid, size, words.as_mut_ptr() as usize)?;
    let call = Call { number: words[3], first: words[4], arch: (words[0] >> 32) as u32 };
    Ok((words[0] & 0xff == ENTRY).then_some(call))
}

/// Where a tracee stands with regard to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCall {
    /// On its way into one: its number, arguments, and AUDIT_ARCH.
    Entry {
        number: u64,
        arguments: [u64; 6],
        arch: u32,
    },
    /// On its way out of one, with this result.
    Exit(i64),
    Neither,
}

/// PTRACE_GET_SYSCALL_INFO, as a whole.
pub fn at_call(pid: Pid) -> io::Result<AtCall> {
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    const ENTRY: u64 = 1;
    const EXIT: u64 = 2;
    const SECCOMP: u64 = 3;
    // As above; of an exit the result, of a seccomp stop the same as of an entry.
    let mut words = [0u64; 11];
    let size = size_of_val(&words);
    ptrace(GET_SYSCALL_INFO, pid, size, words.as_mut_ptr() as usize)?;
    Ok(match words[0] & 0xff {
        ENTRY | SECCOMP => {
            let mut arguments = [0; 6];
            arguments.copy_from_slice(&words[4..10]);
            AtCall::Entry { number: words[3], arguments, arch: (words[0] >> 32) as u32 }
        }
        EXIT => AtCall::Exit(words[3] as i64),
        _ => AtCall::Neither,
    })
}

/// PTRACE_GETSIGMASK: the signals that a tracee blocks, signal 1 in the lowest bit.
pub fn signal_mask(tid: Pid) -> io::Result<u64> {
    const GETSIGMASK: libc::c_uint = 0x420a;
    let mut mask = 0u64;
    ptrace(GETSIGMASK, tid, size_of_val(&mask), &raw mut mask as usize)?;
    Ok(mask)
}

/// PTRACE_SETSIGMASK.
pub fn set_signal_mask(tid: Pid, mask: u64) -> io::Result<()> {
    const SETSIGMASK: libc::c_uint = 0x420b;
    ptrace(SETSIGMASK, tid, size_of_val(&mask), &raw const mask as usize).map(drop)
}

/// PTRACE_GETEVENTMSG.
pub fn event_message(pid: Pid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message as usize)?;
    Ok(message)
}

/// PTRACE_GETREGS.
#[cfg(target_arch = "x86_64")]
pub fn get_registers(pid: Pid) -> io::Result<libc::user_regs_struct> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    ptrace(libc::PTRACE_GETREGS, pid, 0, registers.as_mut_ptr() as usize)?;
    // SAFETY: the kernel has filled it; all bit patterns are valid.
    Ok(unsafe { registers.assume_init() })
}

/// PTRACE_SETREGS.
#[cfg(target_arch = "x86_64")]
pub fn set_registers(pid: Pid, registers: &libc::user_regs_struct) -> io::Result<()> {
    ptrace(libc::PTRACE_SETREGS, pid, 0, std::ptr::from_ref(registers) as usize).map(drop)
}

/// PTRACE_PEEKDATA: the word at `address`.
pub fn peek(pid: Pid, address: u64) -> io::Result<u64> {
    let mut word: c_long = 0;
    // The raw call stores the word through `data`; glibc's wrapper returns it and hides errors.
    // SAFETY: `word` is ours and as large as what the kernel stores.
    check(unsafe {
        libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA, pid, address, &raw mut word)
    })?;
    Ok(word as u64)
}

/// PTRACE_POKEDATA: writes a word, into pages that are not writable too.
pub fn poke(pid: Pid, address: u64, word: u64) -> io::Result<()> {
    ptrace(libc::PTRACE_POKEDATA, pid, address as usize, word as usize).map(drop)
}
