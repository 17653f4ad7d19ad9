//! The same over eBPF.

#![cfg(feature = "ebpf")]

#[path = "letting_go.rs"]
mod letting_go;
