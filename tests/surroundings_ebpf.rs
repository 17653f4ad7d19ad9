//! The same over the eBPF source.

#![cfg(feature = "ebpf")]

#[path = "surroundings.rs"]
mod surroundings;
