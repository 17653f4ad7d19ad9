//! What is found out about the machine: /proc, the caller of sudo, why the kernel refuses something.

pub mod diagnose;
pub mod elevate;
pub mod listen;
pub mod procfs;
pub mod sudo_caller;
