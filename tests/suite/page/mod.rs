//! `collect --format html`: the page in a headless Chromium.

mod hostile;
mod large;
mod look;
#[cfg(feature = "ebpf")]
mod real;
mod searching;
mod story;
mod writing;
