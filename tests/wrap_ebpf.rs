//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "wrap.rs"]
mod wrap;
