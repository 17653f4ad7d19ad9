//! Parses, hands over, reports.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tracexec::run())
}
