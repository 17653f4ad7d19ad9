//! Defaults of the user's own that do not go with the rest of a command line: they give way.

use clap::ArgMatches;

use crate::cli::Backend;
use crate::cli::settings::typed;
use crate::cli::trace::{Form, Format, SeccompBpf, Traced};

impl Traced {
    /// `matches` are those of the subcommand.
    pub(super) fn fit(&mut self, matches: &ArgMatches) {
        let elsewhere = self.system || !self.pids.is_empty() || self.backend == Backend::Ebpf;
        if self.seccomp_bpf != SeccompBpf::On || !elsewhere {
            return;
        }
        if !typed(matches, "seccomp_bpf") {
            self.seccomp_bpf = SeccompBpf::Auto;
        } else if !typed(matches, "backend") && self.backend == Backend::Ebpf {
            self.backend = Backend::Auto;
        }
    }
}

impl Form {
    /// The same, for a file of this format.
    pub(super) fn fit(&mut self, format: Format, matches: &ArgMatches) {
        if !typed(matches, "pretty") && format != Format::Json {
            self.pretty = false;
        }
        if !typed(matches, "env") && !matches!(format, Format::Json | Format::JsonStream) {
            self.env = None;
        }
    }
}
