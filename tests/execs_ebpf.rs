//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "execs.rs"]
mod execs;
