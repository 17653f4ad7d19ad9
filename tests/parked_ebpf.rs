//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "parked.rs"]
mod parked;
