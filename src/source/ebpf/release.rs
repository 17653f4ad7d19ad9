//! The guardian's part: sets running whatever the programs have stopped and nobody took.

use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use libbpf_rs::{MapInfo, libbpf_sys};

use super::skeleton::types::{bss, stopped_process};
use crate::linux::sys::{self, Pid, SharedWords};
use crate::machine::procfs;

/// Switches the programs off, and sends SIGCONT to every process in the map of what was stopped.
pub fn all(stopped: RawFd, switch: RawFd) {
    let key = 0u32;
    // SAFETY: the type holds integers only.
    let off: bss = unsafe { std::mem::zeroed() };
    // SAFETY: the key and the value have the sizes of the map, whose descriptor we have inherited.
    unsafe {
        libbpf_sys::bpf_map_update_elem(
            switch,
            (&raw const key).cast(),
            (&raw const off).cast(),
            0,
        );
    }
    // SAFETY: the descriptor is inherited, and nobody closes it.
    let stopped = unsafe { BorrowedFd::borrow_raw(stopped) };
    let Ok(slots) = slots_of(stopped) else { return };
    release_all(&slots);
    // A program that was running when the switch was thrown may still have added one.
    sys::wait_for_kernel_readers();
    release_all(&slots);
}

/// The map is shared memory: thousands of slots, which are not worth a system call each.
fn slots_of(map: BorrowedFd<'_>) -> std::io::Result<SharedWords> {
    let info = MapInfo::new(map).map_err(std::io::Error::other)?.info;
    SharedWords::new(map, info.max_entries as usize * size_of::<stopped_process>())
}

fn release_all(slots: &SharedWords) {
    const WORD: usize = size_of::<u32>();
    let words = size_of::<stopped_process>() / WORD;
    for first in (0..slots.count()).step_by(words) {
        let tgid = slots.get(first + offset_of!(stopped_process, tgid) / WORD);
        if tgid != 0 {
            let at = first + offset_of!(stopped_process, start_time) / WORD;
            let start_time = u64::from(slots.get(at + 1)) << 32 | u64::from(slots.get(at));
            release(tgid as Pid, start_time);
        }
    }
}

fn release(tgid: Pid, start_time: u64) {
    let _ = match procfs::pidfd_of(tgid, start_time) {
        Ok(pidfd) => sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGCONT),
        Err(error) if procfs::says_gone(tgid, &error) => Ok(()),
        // Without descriptors there is nothing but its number.
        Err(_) => sys::kill(tgid, libc::SIGCONT),
    };
}
