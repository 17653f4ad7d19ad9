//! execve in the name of a process that is stopped at its exec, so that another program runs in its place
//! and is told to run the one that it was to be.
//!
//! As with the other call (`inject`), the process must run on if we are killed at any moment. So nothing
//! of what the kernel has put on its stack is touched: the new vector, with copies of the pointers to the
//! old arguments, and its strings are written below the stack pointer, where nothing lives yet. Should the
//! call fail, three more instructions bring the process to its first one.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use super::admit::{Seized, wait_for_group_stop};
use super::arch;
use super::inject::{At, EI_PAD, Failed, Signals, advance, advance_or_exec, splice};
use super::memory::{AT_SYSINFO_EHDR, Stack};
use super::stop::Report;
use crate::linux::fault;
use crate::linux::sys::{self, Pid};
use crate::machine::procfs;
use crate::source::ParkError;
use crate::source::wrapped::{WrapError, WrapOrder};

/// Free space between the stack pointer and what is written, with the address to return to in it.
const GAP: u64 = 256;

impl From<Failed> for WrapError {
    fn from(failed: Failed) -> WrapError {
        match failed {
            Failed::Died => WrapError::Gone,
            Failed::Impossible(why) => WrapError::Impossible(why),
        }
    }
}

/// Has a process that nobody traces, and that is in state T, execute the wrapper. It runs then, whatever
/// became of it.
pub fn stopped(pid: Pid, order: &WrapOrder) -> Result<(), WrapError> {
    let refused = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::ESRCH) => WrapError::Gone,
        _ => WrapError::Impossible(format!("the kernel refused: {error}")),
    };
    let seized = Seized::new(pid, libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC);
    let _seized = seized.map_err(refused)?;
    wait_for_group_stop(pid).map_err(|error| match error {
        ParkError::Gone => WrapError::Gone,
        error => WrapError::Impossible(error.to_string()),
    })?;
    // Its stop stays, but is no group-stop any more.
    sys::kill(pid, libc::SIGCONT).map_err(refused)?;
    Ok(execute(pid, At::UserMode, order)?)
}

/// Has a tracee execute the wrapper. On success it is at the stop of that exec; where that is impossible,
/// as it was, on its way to its first instruction.
pub(super) fn execute(pid: Pid, at: At, order: &WrapOrder) -> Result<(), Failed> {
    let mut stack = Stack::read(pid)?;
    let Some(vdso) = stack.auxiliary(AT_SYSINFO_EHDR)?.filter(|&at| at != 0) else {
        return Err(Failed::Impossible("it has no vdso".into()));
    };
    let (arguments, environment) = stack.arguments()?;
    if at == At::Exec {
        // Until the end of the execve the kernel still writes rax.
        advance(pid, &mut Signals::Delivered)?;
    }
    let old = sys::get_registers(pid)?;
    let (bits32, word) = (arch::is_32_bit(&old), stack.word());
    let top = arch::stack_pointer(&old);
    let vector = Vector::below(top - GAP, word, order, &arguments)
        .ok_or_else(|| Failed::Impossible("there is no room on its stack".into()))?;
    let stub = vdso + EI_PAD;
    let padding = sys::peek(pid, stub)?;
    let code = splice(padding, &arch::syscall_clear_and_return(bits32));
    let return_at = top - word as u64;
    let counter = arch::program_counter(&old).to_le_bytes();

    let memory = File::options().read(true).write(true).open(procfs::path(pid, "mem"))?;
    let mut under = vec![0; vector.bytes.len()];
    // Where no stack is yet, there is nothing to bring back.
    let _ = memory.read_exact_at(&mut under, vector.at);
    let mut slot = [0; 8];
    let _ = memory.read_exact_at(&mut slot[..word], return_at);
    memory.write_all_at(&vector.bytes, vector.at)?;
    memory.write_all_at(&counter[..word], return_at)?;
    sys::poke(pid, stub, code)?;
    fault::point("wrap-written");
    let words = [vector.path, vector.argv, environment];
    sys::set_registers(pid, &arch::call_execve(&old, stub, return_at, words))?;
    fault::point("wrap-armed");
    advance(pid, &mut Signals::Delivered)?;
    fault::point("wrap-entered");
    if advance_or_exec(pid, &mut Signals::Delivered)? == Report::Exec {
        return Ok(());
    }
    let result = arch::result(&sys::get_registers(pid)?);
    sys::set_registers(pid, &old)?;
    fault::point("wrap-undone");
    sys::poke(pid, stub, padding)?;
    memory.write_all_at(&under, vector.at)?;
    memory.write_all_at(&slot[..word], return_at)?;
    Err(Failed::Impossible(std::io::Error::from_raw_os_error(-result as i32).to_string()))
}

/// What the call's pointers point to.
struct Vector {
    at: u64,
    bytes: Vec<u8>,
    path: u64,
    argv: u64,
}

impl Vector {
    /// Lays it out so that it ends below `end`: the strings, then the pointers to them and to the program's
    /// old arguments.
    fn below(end: u64, word: usize, order: &WrapOrder, arguments: &[u8]) -> Option<Vector> {
        let wrapper = &order.wrapper;
        let words = wrapper.words.iter().map(|word| word.as_bytes());
        let strings: Vec<&[u8]> = [wrapper.path.as_os_str().as_bytes()]
            .into_iter()
            .chain(words)
            .chain([order.program.as_slice()])
            .collect();
        let text: usize = strings.iter().map(|string| string.len() + 1).sum();
        let pointers = (strings.len() - 1) * word + arguments.len();
        let argv = end.checked_sub(pointers as u64)? & !15;
        let at = argv.checked_sub(text as u64)?;
        let mut bytes = Vec::with_capacity((end - at) as usize);
        let mut addresses = Vec::with_capacity(strings.len());
        for string in strings {
            addresses.push(at + bytes.len() as u64);
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        for address in &addresses[1..] {
            bytes.extend_from_slice(&address.to_le_bytes()[..word]);
        }
        bytes.extend_from_slice(arguments);
        Some(Vector { at, bytes, path: addresses[0], argv })
    }
}
