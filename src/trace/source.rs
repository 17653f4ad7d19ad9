//! How ptrace is to see failing execs, and what is said of it.

use std::io;

use super::session::Config;
use crate::cli::Backend;
use crate::cli::trace::{SeccompBpf, Traced};
use crate::linux::sys::{self, Pid, Price};
use crate::machine::procfs::Status;
use crate::source::ptrace::record::Way;
use crate::text::report::{Report, Trouble};

/// The source that was asked for: who wants the filter wants ptrace.
pub fn backend(traced: &Traced) -> Result<Backend, Trouble> {
    match (traced.seccomp_bpf, traced.backend) {
        (SeccompBpf::On, Backend::Ebpf) => Err(Trouble::new("--seccomp-bpf on is for ptrace")
            .hint("leave it away: eBPF sees failing execs without")),
        (SeccompBpf::On, _) if traced.system => {
            Err(Trouble::new("--seccomp-bpf on is for ptrace, which --system cannot use")
                .hint("leave it away: eBPF sees failing execs without"))
        }
        (SeccompBpf::On, _) => Ok(Backend::Ptrace),
        (_, backend) => Ok(backend),
    }
}

/// Whether a seccomp filter may be what [`way`] chooses, should ptrace be the source.
pub fn may_filter(config: &Config) -> bool {
    config.wanted.failures
        && config.pids.is_empty()
        && config.seccomp != SeccompBpf::Off
        && config.backend != Backend::Ebpf
        && !config.system
}

/// The cheapest way to see what is wanted.
pub(super) fn way(config: &Config, report: Report) -> Result<Way, Trouble> {
    if !config.wanted.failures {
        report.detail("ptrace stops at successful execs");
        return Ok(Way::Execs);
    }
    let way = match config.seccomp {
        SeccompBpf::Off => Way::Calls,
        SeccompBpf::On if !config.pids.is_empty() => {
            return Err(Trouble::new(
                "--seccomp-bpf on: no filter can be put on a process that runs already",
            )
            .hint("leave --seccomp-bpf away, or -p"));
        }
        SeccompBpf::On => {
            sys::can_stop_at_execs().map_err(|error| {
                Trouble::new(format!("--seccomp-bpf on: the kernel refuses the filter: {error}"))
                    .hint("--seccomp-bpf off does without, and is slower")
            })?;
            Way::Seccomp
        }
        SeccompBpf::Auto if !config.pids.is_empty() => Way::Calls,
        SeccompBpf::Auto => match sys::can_stop_at_execs() {
            Ok(Price::NoNewPrivs) if keeps_setuid() => {
                slow(report);
                Way::Calls
            }
            Ok(_) => Way::Seccomp,
            Err(error) => {
                report.detail(format!("no seccomp filter, which the kernel refuses: {error}"));
                Way::Calls
            }
        },
    };
    report.detail(match way {
        Way::Seccomp => "ptrace stops at execs, by a seccomp filter",
        Way::Calls | Way::Execs => "ptrace stops at every system call",
    });
    Ok(way)
}

/// Whether programs get the privileges of their owner under our tracer, see ptrace(2).
fn keeps_setuid() -> bool {
    Status::own().is_ok_and(|status| status.may_trace_anything())
}

/// Root without CAP_SYS_ADMIN, as in a container that has CAP_SYS_PTRACE alone.
fn slow(report: Report) {
    report.warn(
        "every system call of COMMAND stops, so that it may take three times as long, or longer: without CAP_SYS_ADMIN, \
         a seccomp filter, which stops execs alone, would keep programs from gaining privileges",
    );
    report.hint(
        "--successful-only omits failing execs, and stops at no other call; --seccomp-bpf on takes the filter, where \
         nothing under COMMAND is set-user-ID or has file capabilities; --seccomp-bpf off says that it is meant so; \
         with CAP_SYS_ADMIN, or with what eBPF needs (see tracexec doctor), none of them is needed",
    );
}

/// COMMAND has ended, what it leaves cannot be let go, and whoever called us has to wait for it.
pub(super) fn bound(report: Report) {
    report.warn(
        "COMMAND has ended, and what it has started in the background runs on; without a tracer its execs would fail, \
         so tracexec stays until it has ended: Ctrl-C ends it, too",
    );
    report.hint("--seccomp-bpf off lets it go");
}

/// The same, and we stay in the background.
pub(super) fn kept(report: Report) {
    report.warn(format!(
        "COMMAND has ended, and what it has started in the background runs on; without a tracer its execs would fail, \
         so process {} of tracexec stays in the background until it has ended",
        std::process::id()
    ));
    report.hint("--seccomp-bpf off lets it go");
}

/// Descendants of those that -p names.
pub fn not_followed(report: Report, which: &[(Pid, io::Error)]) {
    for (pid, error) in which {
        report.warn(format!("process {pid}, which comes from one of -p, is not followed: {error}"));
    }
}
