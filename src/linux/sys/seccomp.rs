//! A seccomp filter that stops execve and execveat for a tracer, of every kind of call that x86 has, and lets
//! all else pass. It stays with a process and with all that come from it, see seccomp(2).
//!
//! The crates that build such filters make them for one architecture, and kill what calls by another, or need
//! a library in C; this is thirteen instructions.

use std::io;

use libc::{c_int, sock_filter, sock_fprog};

use super::{check, reap};

/// AUDIT_ARCH of 64-bit calls, those of x32 among them, and of 32-bit ones.
const ARCH_64: u32 = 0xc000_003e;
const ARCH_32: u32 = 0x4000_0003;

/// Instructions of classic BPF.
const fn load(offset: usize) -> sock_filter {
    let code = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    sock_filter { code, jt: 0, jf: 0, k: offset as u32 }
}

/// So many instructions are passed over if it is equal, and if not.
const fn equal(value: u32, yes: u8, no: u8) -> sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    sock_filter { code, jt: yes, jf: no, k: value }
}

const fn give(value: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: value }
}

static PROGRAM: [sock_filter; 13] = [
    load(std::mem::offset_of!(libc::seccomp_data, arch)),
    equal(ARCH_64, 0, 5),
    load(std::mem::offset_of!(libc::seccomp_data, nr)),
    equal(59, 8, 0),          // execve
    equal(322, 7, 0),         // execveat
    equal(0x4000_0208, 6, 0), // execve of x32
    equal(0x4000_0221, 5, 4), // execveat of x32
    equal(ARCH_32, 0, 3),
    load(std::mem::offset_of!(libc::seccomp_data, nr)),
    equal(11, 2, 0),  // execve
    equal(358, 1, 0), // execveat
    give(libc::SECCOMP_RET_ALLOW),
    give(libc::SECCOMP_RET_TRACE),
];

/// What a filter takes from whom it is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    Nothing,
    /// It can gain no privileges by an exec any more.
    NoNewPrivs,
}

/// Puts the calling process under the filter, for good; without CAP_SYS_ADMIN the kernel asks for no_new_privs.
/// Async-signal-safe; if it fails, errno says why.
pub fn stop_at_execs() -> Option<Price> {
    if install() {
        return Some(Price::Nothing);
    }
    // SAFETY: reads a number, and a system call on numbers.
    let may = unsafe {
        *libc::__errno_location() == libc::EACCES
            && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    };
    (may && install()).then_some(Price::NoNewPrivs)
}

fn install() -> bool {
    let program =
        sock_fprog { len: PROGRAM.len() as u16, filter: (&raw const PROGRAM).cast_mut().cast() };
    // SAFETY: a system call on a program that the kernel copies.
    unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            // The filter hides nothing from whom it watches: before Linux 5.16 it would else be slowed down as
            // a sandbox is.
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        ) == 0
    }
}

/// Whether that works here, and for what; tried in a child that ends at once.
pub fn can_stop_at_execs() -> io::Result<Price> {
    /// No errno.
    const NO_NEW_PRIVS: c_int = 255;
    // SAFETY: the child makes system calls on values of its own, and never returns.
    let pid = unsafe {
        let pid = check(libc::fork().into())? as c_int;
        if pid == 0 {
            libc::_exit(match stop_at_execs() {
                Some(Price::Nothing) => 0,
                Some(Price::NoNewPrivs) => NO_NEW_PRIVS,
                None => *libc::__errno_location(),
            });
        }
        pid
    };
    match reap(pid)? {
        0 => Ok(Price::Nothing),
        status if libc::WIFEXITED(status) => match libc::WEXITSTATUS(status) {
            NO_NEW_PRIVS => Ok(Price::NoNewPrivs),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        _ => Err(io::Error::other("it ends who asks for it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program gives for a call.
    fn run(arch: u32, number: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = PROGRAM[at];
            at += 1;
            match u32::from(step.code) & 7 {
                libc::BPF_LD => word = if step.k == 0 { number } else { arch },
                libc::BPF_JMP => at += usize::from(if word == step.k { step.jt } else { step.jf }),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn execs_of_every_kind_stop_and_nothing_else_does() {
        let stops = |arch| {
            let numbers = (0..1024).chain(0x4000_0000..0x4000_0400);
            numbers.filter(move |&n| run(arch, n) == libc::SECCOMP_RET_TRACE).collect::<Vec<_>>()
        };
        assert_eq!(stops(ARCH_64), [59, 322, 0x4000_0208, 0x4000_0221]);
        assert_eq!(stops(ARCH_32), [11, 358]);
        assert!(stops(0xc000_00b7).is_empty());
    }
}
