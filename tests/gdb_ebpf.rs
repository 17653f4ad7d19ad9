//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "gdb.rs"]
mod gdb;
