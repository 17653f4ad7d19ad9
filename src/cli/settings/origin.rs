//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;

/// In the order of precedence, the weakest first; see [`Origin::rank`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    File { path: PathBuf, line: usize },
    Environment(String),
    CommandLine,
}

impl Origin {
    /// Two values from one file have the same rank, whatever their lines.
    pub fn rank(&self) -> u8 {
        match self {
            Origin::BuiltIn => 0,
            Origin::File { .. } => 1,
            Origin::Environment(_) => 2,
            Origin::CommandLine => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File { path, line } => {
                let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
                write!(f, "{}:{line}", crate::text::escape::text(path))
            }
            Origin::Environment(name) => f.write_str(name),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}
