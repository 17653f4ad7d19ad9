//! The guardian's part: sets running whatever the programs have stopped and nobody took.

use std::os::fd::{AsFd, RawFd};

use libbpf_rs::libbpf_sys;

use super::skeleton::types::{bss, stopped_process};
use crate::procfs;
use crate::sys;

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
    release_all(stopped);
    // A program that was running when the switch was thrown may still have added one.
    sys::wait_for_kernel_readers();
    release_all(stopped);
}

fn release_all(stopped: RawFd) {
    let mut last = None;
    while let Some(slot) = next(stopped, last) {
        last = Some(slot);
        if let Some(process) = look_up(stopped, slot).filter(|process| process.tgid != 0) {
            release(&process);
        }
    }
}

fn next(map: RawFd, after: Option<u32>) -> Option<u32> {
    let mut found = 0u32;
    let after = after.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: keys of the map's size, or the null pointer that asks for the first.
    let failed =
        unsafe { libbpf_sys::bpf_map_get_next_key(map, after.cast(), (&raw mut found).cast()) };
    (failed == 0).then_some(found)
}

fn look_up(map: RawFd, slot: u32) -> Option<stopped_process> {
    let mut process = stopped_process::default();
    // SAFETY: a key and a value of the map's sizes.
    let failed = unsafe {
        libbpf_sys::bpf_map_lookup_elem(map, (&raw const slot).cast(), (&raw mut process).cast())
    };
    (failed == 0).then_some(process)
}

fn release(process: &stopped_process) {
    if let Some(pidfd) = procfs::pidfd_of(process.tgid, process.start_time) {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGCONT);
    }
}
