//! `collect --format html`: the page in a headless Chromium.

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod large;
mod look;
#[cfg(feature = "ebpf")]
mod real;
mod searching;
mod story;
mod writing;
