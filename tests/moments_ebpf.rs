//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "moments/main.rs"]
mod moments;
