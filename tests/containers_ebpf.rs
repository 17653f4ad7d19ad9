//! The same over eBPF, from beside the container.

#![cfg(feature = "ebpf")]

#[path = "containers.rs"]
mod containers;
