//! JSON of what was traced: one document, or a line for each event; and back from it.
//!
//! The form is described in `schemas/collect.json` and `schemas/collect-stream.json`.

mod document;
mod from;
mod into;
mod lines;
mod model;
mod read;

pub use document::Document;
pub(super) use from::BaselineEnv;
pub use lines::Lines;
pub use model::EnvForm;
pub(super) use model::Text;
pub use read::{Item, NotRead, read};

/// What a document and the first line of a stream say they are.
pub const FORMAT: &str = "tracexec-collect";

/// It grows when a reader of the old form could not read the new one.
pub const VERSION: u32 = 1;
