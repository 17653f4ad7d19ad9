//! Text for people and for programs: escaping, reports, JSON strings.

pub mod escape;
pub mod json;
pub mod report;
