//! One system call in the name of a process that is stopped at its exec: prctl(PR_SET_PTRACER), by
//! which Yama lets our debugger in without anybody lowering ptrace_scope. (The other one is in `wrap`.)
//!
//! Whenever we are killed, the process must run on as if nothing had happened. So the call is made
//! of three bytes, "system call, return", in the padding of the vdso's ELF header (executable, and
//! read by nobody), and of a return address below the stack pointer, where nothing lives yet: from
//! the moment when the registers are set, the process can find its own way through the call to
//! its first instruction. Signals need no blocking: after an exec no handler exists, so none can
//! divert it.

use std::io;

use super::arch;
use super::memory::{AT_SYSINFO_EHDR, Stack};
use super::stop::{self, Report};
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs;

/// Where the padding begins in an ELF header (EI_PAD); seven bytes that must be ignored.
pub(super) const EI_PAD: u64 = 9;

/// Why the call was not made. The process is unharmed in every case but `Died`.
#[derive(Debug)]
pub enum Failed {
    /// The process is no more.
    Died,
    /// There was no place or no way.
    Impossible(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.raw_os_error() == Some(libc::ESRCH) {
            Failed::Died
        } else {
            Failed::Impossible(error.to_string())
        }
    }
}

/// Where the process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At PTRACE_EVENT_EXEC, inside execve.
    Exec,
    /// On its way to user mode.
    UserMode,
}

/// Makes the process, which has not run an instruction yet, call prctl(PR_SET_PTRACER, `ptracer`). It is
/// then at a system-call stop, with its registers as they were.
pub fn set_ptracer(pid: Pid, ptracer: u64, at: At) -> Result<(), Failed> {
    let mut stack = Stack::read(pid)?;
    let Some(vdso) = stack.auxiliary(AT_SYSINFO_EHDR)?.filter(|&at| at != 0) else {
        return Err(Failed::Impossible("it has no vdso".into()));
    };
    if at == At::Exec {
        // Until the end of the execve the kernel still writes rax.
        advance(pid, &mut Signals::Delivered)?;
    }
    let registers = sys::get_registers(pid)?;
    // A whole word is written below the stack pointer; a 32-bit process pops half of it.
    let slot = if arch::is_32_bit(&registers) { 4 } else { 8 };
    let return_at = arch::stack_pointer(&registers) - slot;
    call(pid, ptracer, vdso, return_at, &mut Signals::Delivered)
}

/// The same for a thread of a process that is in the midst of things: its stack may be full, or in use
/// below the stack pointer. So the return address lies in the vdso's header, too, where that says at
/// which place the sections begin, which nobody needs who runs. The signals that came meanwhile, which
/// are to be sent again.
pub fn set_ptracer_amid(
    pid: Pid,
    tid: Pid,
    ptracer: u64,
    in_call: bool,
) -> Result<Vec<i32>, Failed> {
    let mut signals = Signals::Kept(Vec::new());
    if in_call {
        advance(tid, &mut signals)?;
    }
    let bits32 = arch::is_32_bit(&sys::get_registers(tid)?);
    let auxv = procfs::read(pid, "auxv")?;
    let vdso = procfs::auxiliary(&auxv, if bits32 { 4 } else { 8 }, AT_SYSINFO_EHDR);
    let Some(vdso) = vdso.filter(|&at| at != 0) else {
        return Err(Failed::Impossible("it has no vdso".into()));
    };
    let e_shoff = if bits32 { 0x20 } else { 0x28 };
    call(tid, ptracer, vdso, vdso + e_shoff, &mut signals)?;
    Ok(match signals {
        Signals::Kept(kept) => kept,
        Signals::Delivered => Vec::new(),
    })
}

fn call(
    pid: Pid,
    ptracer: u64,
    vdso: u64,
    return_at: u64,
    signals: &mut Signals,
) -> Result<(), Failed> {
    if procfs::Status::read(pid).is_ok_and(|status| status.seccomp) {
        // The filter may kill a process for a call that its author did not foresee.
        return Err(Failed::Impossible("it runs under a seccomp filter".into()));
    }
    let old = sys::get_registers(pid)?;
    let bits32 = arch::is_32_bit(&old);
    let slot = if bits32 { 4 } else { 8 };
    let stub = vdso + EI_PAD;
    let padding = sys::peek(pid, stub)?;
    let code = splice(padding, &arch::syscall_and_return(bits32));
    let under = sys::peek(pid, return_at)?;
    let return_to = splice(under, &arch::program_counter(&old).to_le_bytes()[..slot]);

    fault::point("inject-begin");
    sys::poke(pid, stub, code)?;
    sys::poke(pid, return_at, return_to)?;
    let call = arch::call_prctl(&old, stub, return_at, libc::PR_SET_PTRACER as u64, ptracer);
    fault::point("inject-written");
    sys::set_registers(pid, &call)?;
    fault::point("inject-armed");
    advance(pid, signals)?;
    fault::point("inject-entered");
    advance(pid, signals)?;
    fault::point("inject-called");
    let result = arch::result(&sys::get_registers(pid)?);
    sys::set_registers(pid, &old)?;
    fault::point("inject-undone");
    sys::poke(pid, return_at, under)?;
    sys::poke(pid, stub, padding)?;
    if result < 0 {
        let error = io::Error::from_raw_os_error(-result as i32);
        return Err(Failed::Impossible(format!("prctl(PR_SET_PTRACER) failed: {error}")));
    }
    Ok(())
}

/// `word` with its lowest bytes replaced.
pub(super) fn splice(word: u64, bytes: &[u8]) -> u64 {
    let mut raw = word.to_le_bytes();
    raw[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(raw)
}

/// What becomes of signals that come meanwhile.
pub(super) enum Signals {
    /// They are ignored, end the process, or stop it, which it is about to be anyway.
    Delivered,
    /// They may have handlers, which must not run now.
    Kept(Vec<i32>),
}

/// Runs the process to its next system-call stop.
pub(super) fn advance(pid: Pid, signals: &mut Signals) -> Result<(), Failed> {
    while advance_or_exec(pid, signals)? == Report::Exec {}
    Ok(())
}

/// Runs the process to its next system-call stop, or to a new program.
pub(super) fn advance_or_exec(pid: Pid, signals: &mut Signals) -> Result<Report, Failed> {
    let mut signal = 0;
    let deadline = stop::deadline();
    loop {
        sys::cont_to_syscall(pid, signal)?;
        signal = match (stop::next(pid, deadline)?, &mut *signals) {
            (report @ (Report::Syscall | Report::Exec), _) => return Ok(report),
            (Report::Ended(_), _) => return Err(Failed::Died),
            (Report::Signal(number), Signals::Delivered) => number,
            (Report::Signal(number), Signals::Kept(kept)) => {
                kept.push(number);
                0
            }
            _ => 0,
        };
    }
}
