//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "tracer.rs"]
mod tracer;
