//! The formats in which what is traced is written.

pub mod clock;
pub mod cmdline;
pub mod compile;
pub mod html;
pub mod journald;
pub mod json;
pub mod log;
pub mod output;
pub mod perfetto;
pub mod rotate;
pub mod summary;
pub mod target;
pub mod words;
