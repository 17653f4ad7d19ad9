//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "debuggers.rs"]
mod debuggers;
