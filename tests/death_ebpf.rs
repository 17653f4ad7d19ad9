//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "death.rs"]
mod death;
