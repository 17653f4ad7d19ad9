//! The kernel's interfaces: raw system calls, ptrace, seccomp, perf; files and messages between threads.

pub mod caller;
pub mod children;
pub mod fault;
pub mod files;
pub mod identity;
pub mod notify;
pub mod outlet;
pub mod sys;
