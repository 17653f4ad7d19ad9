//! What the kernel's facts mean. Pure.

use super::Finding;
use crate::commands::doctor::facts::Ebpf;
use crate::commands::doctor::facts::Facts;
use crate::machine::diagnose::{self, Circumstances};
use crate::machine::procfs::{CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE};
use crate::source::ptrace::Untraceable;
use crate::text::escape;

/// What a debugger needs, and what finds execs without privilege.
pub fn tracing(facts: &Facts) -> Vec<Finding> {
    vec![
        kernel(facts),
        ptrace(facts),
        tracer(facts),
        ptrace_scope(facts),
        seccomp(facts),
        breakpoints(facts),
        cores(facts),
    ]
}

/// What eBPF needs.
pub fn ebpf(facts: &Facts) -> Vec<Finding> {
    vec![
        programs(facts),
        capabilities(facts),
        btf(facts),
        tracefs(facts),
        lockdown(facts),
        perf_event_paranoid(facts),
        namespaces(facts),
    ]
}

pub fn ebpf_loads(facts: &Facts) -> bool {
    matches!(facts.ebpf, Ebpf::Loads)
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What each source needs, see tracexec-debug(1).
const OLDEST: (u32, u32) = (5, 4);
const OLDEST_FOR_EBPF: (u32, u32) = (5, 10);

fn kernel(facts: &Facts) -> Finding {
    let check = "kernel";
    let found = format!("Linux {}, {}", facts.release, std::env::consts::ARCH);
    match version(&facts.release) {
        Some(version) if version < OLDEST => Finding::missing(check, found)
            .hint("tracexec needs Linux 5.4 or later, and for eBPF 5.10: boot a newer kernel"),
        Some(version) if version < OLDEST_FOR_EBPF => {
            Finding::limited(check, found).hint("eBPF needs Linux 5.10 or later")
        }
        _ => Finding::ok(check, found),
    }
}

fn ptrace(facts: &Facts) -> Finding {
    let check = "ptrace";
    match &facts.ptrace {
        Ok(()) => Finding::ok(check, "a child of our own could be traced"),
        Err(Untraceable::NoChild(error)) => {
            Finding::missing(check, format!("no child could be forked to try it on: {error}")).hint(
                "look at the limits on processes and memory: ulimit -u, the cgroup's pids.max",
            )
        }
        Err(Untraceable::Refused(error, circumstances)) => {
            let found = format!("a child of our own could not be traced: {error}");
            if error.raw_os_error() != Some(libc::EPERM) || facts.namespaces.is_some() {
                return Finding::missing(check, found).hint(
                    "ptrace(2) may be filtered or not built in: look at the sandbox or container",
                );
            }
            // At 1, a parent may trace its child.
            let ptrace_scope = circumstances.ptrace_scope.filter(|&scope| scope > 1);
            let diagnosis = diagnose::refusal(&Circumstances { ptrace_scope, ..*circumstances });
            Finding::missing(check, format!("{found}: {}", diagnosis.cause)).hint(diagnosis.hint)
        }
    }
}

fn tracer(facts: &Facts) -> Finding {
    let check = "our tracer";
    match &facts.tracer {
        None => Finding::ok(check, "nobody traces us"),
        Some(comm) => {
            let found = format!(
                "process {} ({}) traces us, and may trace what we start",
                facts.own.tracer,
                escape::text(comm)
            );
            Finding::limited(check, found)
                .hint("run tracexec outside strace, gdb, rr or another tracexec")
        }
    }
}

fn ptrace_scope(facts: &Facts) -> Finding {
    let check = "ptrace_scope";
    let capable = facts.own.may_trace_anything();
    let setting = "kernel.yama.ptrace_scope";
    match facts.ptrace_scope {
        None => Finding::ok(check, "the kernel has no Yama, so nothing more is asked for"),
        Some(3) => Finding::missing(check, "3: nobody may trace until the next boot")
            .hint(format!("boot with another value of {setting}")),
        Some(2) if !capable => Finding::missing(check, "2: only CAP_SYS_PTRACE may trace")
            .hint("run it as root: sudo tracexec debug -u \"$USER\" ..."),
        Some(2) => Finding::limited(check, "2: debuggers must run as root, as we do")
            .hint(format!("for debuggers of an ordinary user: sysctl {setting}=1")),
        Some(1) if !capable => Finding::ok(
            check,
            "1: a debugger must be an ancestor, or admitted by the process, which tracexec sees to",
        ),
        Some(value) => Finding::ok(check, value.to_string()),
    }
}

fn seccomp(facts: &Facts) -> Finding {
    let check = "seccomp";
    if !facts.own.seccomp {
        return Finding::ok(check, "no filter on system calls");
    }
    let found = "a filter on system calls is in force, as containers have it";
    match (&facts.ptrace, &facts.ebpf) {
        (Err(_), _) => Finding::limited(check, format!("{found}; ptrace may be refused by it"))
            .hint("give the container the capability: docker run --cap-add=SYS_PTRACE"),
        (_, Ebpf::Refused(_)) => {
            Finding::limited(check, format!("{found}; bpf may be refused by it")).hint(
                "give the container the capabilities: docker run --cap-add=BPF --cap-add=PERFMON",
            )
        }
        _ => Finding::ok(check, format!("{found}; it lets through what was tried")),
    }
}

fn programs(facts: &Facts) -> Finding {
    let check = "eBPF";
    let (found, hint) = match &facts.ebpf {
        Ebpf::Loads => {
            return Finding::ok(check, "the programs were loaded, attached and taken out again");
        }
        Ebpf::NotBuilt => (
            "this tracexec was built without eBPF".to_string(),
            "build it with its default features, for which clang is needed",
        ),
        Ebpf::Lacks(what, hint) if !facts.user_namespace => {
            (what.clone(), known_better(facts, hint))
        }
        Ebpf::Lacks(why, _) | Ebpf::Refused(why) => {
            let (cause, hint) = cause(facts);
            (if cause.is_empty() { why.clone() } else { format!("{cause}: {why}") }, hint)
        }
    };
    Finding::missing(check, found).hint(hint)
}

/// The hint of somebody who knows the system less well than another row does.
fn known_better(facts: &Facts, hint: &'static str) -> &'static str {
    let own = &facts.own;
    if own.uid == 0 && !own.may_use_bpf() {
        "see capabilities, below; or `--backend ptrace` does without"
    } else if own.may_use_bpf() && facts.btf && !facts.tracefs.readable {
        "see tracefs, below; or `--backend ptrace` does without"
    } else {
        hint
    }
}

/// Why the kernel refused the programs of somebody who has what they need.
fn cause(facts: &Facts) -> (&'static str, &'static str) {
    if version(&facts.release).is_some_and(|version| version < OLDEST_FOR_EBPF) {
        ("this kernel is too old", "boot Linux 5.10 or later, or leave it to ptrace")
    } else if facts.user_namespace {
        (
            "the capabilities of a user namespace do not count for eBPF",
            "run it outside the user namespace, as root; or leave it to ptrace",
        )
    } else if confidential(facts) {
        (
            "lockdown is at confidentiality, which keeps the kernel's memory from eBPF",
            "boot with lockdown=integrity or none, or leave it to ptrace",
        )
    } else if facts.own.seccomp {
        (
            "a seccomp filter is in force, which may refuse bpf(2)",
            "run it outside the container, or leave it to ptrace",
        )
    } else {
        (
            "",
            "ptrace does without; please report it, with this table: it ought to load on this kernel",
        )
    }
}

const CAPABILITIES: [(u64, &str); 4] = [
    (CAP_SYS_PTRACE, "CAP_SYS_PTRACE"),
    (CAP_BPF, "CAP_BPF"),
    (CAP_PERFMON, "CAP_PERFMON"),
    (CAP_SYS_ADMIN, "CAP_SYS_ADMIN"),
];

fn capabilities(facts: &Facts) -> Finding {
    let check = "capabilities";
    let named = |have: bool| {
        let wanted = CAPABILITIES.iter().filter(|(bit, _)| facts.own.has(*bit) == have);
        wanted.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    let (have, lack) = (named(true), named(false));
    let found = match (have.is_empty(), lack.is_empty()) {
        (_, true) => format!("user {} has {have}", facts.own.uid),
        (true, _) => format!("user {} has none of {lack}", facts.own.uid),
        _ => format!("user {} has {have}; but not {lack}", facts.own.uid),
    };
    if facts.user_namespace && !have.is_empty() {
        return Finding::limited(check, format!("{found}, in a user namespace only"))
            .hint("for eBPF they do not count: run it outside the user namespace, as root");
    }
    if facts.own.may_use_bpf() && facts.own.may_trace_anything() {
        return Finding::ok(check, found);
    }
    Finding::limited(check, found).hint(if facts.own.uid == 0 {
        "give the container what it lacks: docker run --cap-add=SYS_PTRACE --cap-add=BPF --cap-add=PERFMON"
    } else {
        "eBPF and other users' processes need them: run it by sudo, with -u \"$USER\" for COMMAND"
    })
}

fn btf(facts: &Facts) -> Finding {
    let check = "BTF";
    match facts.btf {
        true => Finding::ok(check, "/sys/kernel/btf/vmlinux is there"),
        false => Finding::missing(check, "there is no /sys/kernel/btf/vmlinux")
            .hint("use a kernel built with CONFIG_DEBUG_INFO_BTF, with /sys mounted"),
    }
}

fn tracefs(facts: &Facts) -> Finding {
    let check = "tracefs";
    let tracefs = &facts.tracefs;
    match (tracefs.readable, tracefs.mounted) {
        (true, mounted) => {
            Finding::ok(check, format!("{} can be read", mounted.unwrap_or("/sys/kernel/tracing")))
        }
        (false, Some(path)) if facts.own.uid == 0 && !facts.user_namespace => Finding::missing(
            check,
            format!("{path} is mounted, and yet the tracepoint of exec cannot be read there"),
        )
        .hint("look whether the container or a security module closes it; as root, outside"),
        (false, Some(path)) => {
            Finding::limited(check, format!("{path} is mounted, but closed to this user"))
                .hint("run it as root, or open it to a group: mount -o remount,gid=GROUP,mode=0750")
        }
        (false, None) if tracefs.folder => Finding::missing(check, "it is not mounted")
            .hint("as root: mount -t tracefs tracefs /sys/kernel/tracing"),
        (false, None) => Finding::missing(check, "there is no /sys/kernel/tracing to mount it on")
            .hint("use a kernel built with CONFIG_FTRACE, with /sys mounted"),
    }
}

/// The mode is the word in brackets.
fn mode(lockdown: &str) -> &str {
    lockdown
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or(lockdown, |found| found.0)
}

fn confidential(facts: &Facts) -> bool {
    facts.lockdown.as_deref().map(mode) == Some("confidentiality")
}

fn lockdown(facts: &Facts) -> Finding {
    let check = "lockdown";
    match facts.lockdown.as_deref().map(mode) {
        None => Finding::ok(check, "none is shown: there is no /sys/kernel/security/lockdown"),
        Some(mode) if confidential(facts) => {
            Finding::limited(check, format!("{mode}: eBPF may not read the kernel's memory"))
                .hint("boot with lockdown=integrity or none (Secure Boot may set it)")
        }
        Some(mode) => Finding::ok(check, mode),
    }
}

fn perf_event_paranoid(facts: &Facts) -> Finding {
    let check = "perf_event_paranoid";
    let own = &facts.own;
    match facts.perf_event_paranoid {
        None => Finding::missing(check, "the kernel has no perf events, to which eBPF attaches")
            .hint("use a kernel built with CONFIG_PERF_EVENTS, with /proc mounted"),
        // Debian's and Android's kernels have this value.
        Some(value @ 3..) if !ebpf_loads(facts) && own.may_use_bpf() && !own.has(CAP_SYS_ADMIN) => {
            Finding::limited(check, format!("{value}: CAP_PERFMON may not be enough for it"))
                .hint("run it with CAP_SYS_ADMIN, or: sysctl kernel.perf_event_paranoid=2")
        }
        Some(value) if own.may_use_bpf() => Finding::ok(
            check,
            format!("{value}, which does not bind whoever has CAP_PERFMON or CAP_SYS_ADMIN"),
        ),
        Some(value) => {
            Finding::ok(check, format!("{value}; no value would do without the capabilities"))
        }
    }
}

/// What `--on fail` is cheap by.
fn breakpoints(facts: &Facts) -> Finding {
    let check = "breakpoints";
    let Some(code) = facts.breakpoint else {
        return Finding::ok(check, "the kernel's, for --on fail");
    };
    let error = std::io::Error::from_raw_os_error(code);
    let finding = Finding::limited(
        check,
        format!(
            "perf_event_open: {error}; --on fail looks at each system call instead, which is slower"
        ),
    );
    let privileged = facts.own.has(CAP_PERFMON) || facts.own.has(CAP_SYS_ADMIN);
    match facts.perf_event_paranoid {
        None => finding.hint("use a kernel built with CONFIG_PERF_EVENTS, with /proc mounted"),
        Some(3..) if !privileged => {
            finding.hint("run it with CAP_PERFMON, or: sysctl kernel.perf_event_paranoid=2")
        }
        Some(_) if facts.own.seccomp => {
            finding.hint("allow perf_event_open(2) in the filter of the container (seccomp)")
        }
        Some(_) => finding.hint("the processor, or the virtual machine, has no breakpoints to set"),
    }
}

/// Where the kernel's cores go, which is not where ours do.
fn cores(facts: &Facts) -> Finding {
    let pattern = facts.core_pattern.as_deref().unwrap_or("unknown");
    let pattern = crate::text::escape::text(pattern.as_bytes());
    Finding::ok(
        "core_pattern",
        format!("{pattern}; --save core does without it, and without limits"),
    )
}

fn namespaces(facts: &Facts) -> Finding {
    let check = "namespaces";
    if let Some(found) = &facts.namespaces {
        return Finding::missing(check, found.cause.clone()).hint(found.hint.clone());
    }
    match facts.first_pid_namespace {
        true => Finding::ok(check, "the first, from which all processes are seen"),
        false => Finding::limited(
            check,
            "one of its own, as in a container: --system does not see the machine from here",
        )
        .hint("for --system, run tracexec outside the container"),
    }
}

#[cfg(test)]
mod tests;
