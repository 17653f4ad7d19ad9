//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "cli.rs"]
mod cli;
