//! What differs between processors. Another one needs this file's items and nothing else.

#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("tracexec knows x86_64 only so far; src/source/ptrace/arch.rs is what a port needs");

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use crate::linux::sys::{self, Call, Pid};

    /// The general registers.
    pub use libc::user_regs_struct as Registers;

    /// The code segment of a 32-bit program under a 64-bit kernel.
    const CS_32: u64 = 0x23;

    /// Whether a program, at its first instruction, is a 32-bit one. PTRACE_GETREGS gives the
    /// 64-bit layout all the same.
    pub fn is_32_bit(registers: &Registers) -> bool {
        registers.cs == CS_32
    }

    /// The stack pointer.
    pub fn stack_pointer(registers: &Registers) -> u64 {
        registers.rsp
    }

    /// The program counter.
    pub fn program_counter(registers: &Registers) -> u64 {
        registers.rip
    }

    /// A system call instruction with a return after it, `syscall; ret` or `int 0x80; ret`.
    pub fn syscall_and_return(bits32: bool) -> [u8; 3] {
        if bits32 { [0xcd, 0x80, 0xc3] } else { [0x0f, 0x05, 0xc3] }
    }

    /// Registers which, from a stub of that form at `stub`, make the call prctl(`option`, `value`,
    /// 0, 0, 0) and return to an address that stands at `stack`.
    ///
    /// All that a program may rely on at its entry is the stack pointer and rdx (edx), the function
    /// to register with atexit, 0 from the kernel: so it is here, and the call may be left to
    /// run by itself.
    pub fn call_prctl(
        old: &Registers,
        stub: u64,
        stack: u64,
        option: u64,
        value: u64,
    ) -> Registers {
        let mut new = *old;
        new.rip = stub;
        new.rsp = stack;
        new.orig_rax = u64::MAX;
        if is_32_bit(old) {
            new.rax = 172;
            (new.rbx, new.rcx, new.rdx, new.rsi, new.rdi) = (option, value, 0, 0, 0);
        } else {
            new.rax = libc::SYS_prctl as u64;
            (new.rdi, new.rsi, new.rdx, new.r10, new.r8) = (option, value, 0, 0, 0);
        }
        new
    }

    /// A system call instruction, then `xor edx, edx; ret`.
    pub fn syscall_clear_and_return(bits32: bool) -> [u8; 5] {
        if bits32 { [0xcd, 0x80, 0x31, 0xd2, 0xc3] } else { [0x0f, 0x05, 0x31, 0xd2, 0xc3] }
    }

    /// Registers which, from a stub of that form at `stub`, make the call execve(`path`, `argv`, `envp`)
    /// and, should it fail, return to an address that stands at `stack`, with edx as a program begins.
    pub fn call_execve(
        old: &Registers,
        stub: u64,
        stack: u64,
        [path, argv, envp]: [u64; 3],
    ) -> Registers {
        let mut new = *old;
        new.rip = stub;
        new.rsp = stack;
        new.orig_rax = u64::MAX;
        if is_32_bit(old) {
            new.rax = 11;
            (new.rbx, new.rcx, new.rdx) = (path, argv, envp);
        } else {
            new.rax = libc::SYS_execve as u64;
            (new.rdi, new.rsi, new.rdx) = (path, argv, envp);
        }
        new
    }

    /// The first argument of a function at whose first instruction a thread is.
    pub fn first_argument(tid: Pid, registers: &Registers) -> std::io::Result<u64> {
        if is_32_bit(registers) {
            sys::peek(tid, registers.rsp + 4).map(|word| word & 0xffff_ffff)
        } else {
            Ok(registers.rdi)
        }
    }

    /// AUDIT_ARCH_X86_64, and AUDIT_ARCH_I386 for 32-bit calls.
    const ARCH_64: u32 = 0xc000_003e;
    const ARCH_32: u32 = 0x4000_0003;

    /// For a call that ends the thread: whether it ends the process, too.
    pub fn exit_call(call: Call) -> Option<bool> {
        match (call.arch, call.number) {
            (ARCH_64, 231) | (ARCH_32, 252) => Some(true),
            (ARCH_64, 60) | (ARCH_32, 1) => Some(false),
            _ => None,
        }
    }

    /// What is to be known of a call that executes a program.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ExecCall {
        /// It is execveat(2), and not execve(2).
        pub at: bool,
        /// The pointers in its vectors have 4 bytes.
        pub compat: bool,
    }

    /// Whether a call executes a program. Those of x32 have 64-bit arguments, and vectors of 32 bits.
    pub fn exec_call(number: u64, arch: u32) -> Option<ExecCall> {
        let (at, compat) = match (arch, number) {
            (ARCH_64, 59) => (false, false),
            (ARCH_64, 322) => (true, false),
            (ARCH_64, 0x4000_0208) | (ARCH_32, 11) => (false, true),
            (ARCH_64, 0x4000_0221) | (ARCH_32, 358) => (true, true),
            _ => return None,
        };
        Some(ExecCall { at, compat })
    }

    /// The same for a thread that is in a call.
    pub fn in_exit_call(registers: &Registers) -> Option<bool> {
        let arch = if is_32_bit(registers) { ARCH_32 } else { ARCH_64 };
        exit_call(Call { number: registers.orig_rax, first: 0, arch })
    }

    /// Registers which, at the entry of a call, skip it and have it made anew: both instructions that
    /// make one have two bytes.
    pub fn call_again(old: &Registers) -> Registers {
        let mut new = *old;
        new.rip -= 2;
        new.rax = old.orig_rax;
        new.orig_rax = u64::MAX;
        new
    }

    /// What a system call has returned.
    pub fn result(registers: &Registers) -> i64 {
        if is_32_bit(registers) { registers.rax as i32 as i64 } else { registers.rax as i64 }
    }
}
