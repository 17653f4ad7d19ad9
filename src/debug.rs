//! `tracexec debug`: what the filter matches is held, handed to a debugger, saved or wrapped.

pub mod config;
pub mod hits;
pub mod journal;
pub mod matcher;
pub mod parents_with_timeouts;
pub mod repro;
pub mod save;
pub mod session;
