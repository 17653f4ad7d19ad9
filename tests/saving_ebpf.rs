//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "saving.rs"]
mod saving;
