//! The kernel's refusals, explained: from a set of facts to the cause and what to do. Pure but for
//! [`Circumstances::of`], which gathers the facts.

use crate::linux::sys::Pid;
use crate::machine::procfs::Status;

/// What decides whether one process may trace another, see ptrace(2), "Ptrace access mode checking".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Who traces the target already (0: nobody).
    pub tracer: Pid,
    /// Yama's ptrace_scope; `None` without Yama.
    pub ptrace_scope: Option<u8>,
    pub our_uid: u32,
    pub target_uid: u32,
    /// Whether we have CAP_SYS_PTRACE.
    pub capable: bool,
    /// Whether the kernel runs us under a seccomp filter, as containers do.
    pub seccomp: bool,
}

/// A cause, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub cause: String,
    pub hint: String,
}

/// Where tracefs may be, in the order in which libbpf looks for it.
pub const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The kernel's types, which the eBPF programs are fitted to.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Whether this user can find the kernel's tracepoint of exec.
pub fn finds_tracepoints() -> bool {
    let id = |path: &str| std::path::Path::new(path).join("events/sched/sched_process_exec/id");
    TRACEFS.into_iter().any(|path| std::fs::read(id(path)).is_ok())
}

/// Yama's ptrace_scope, `None` where the kernel has no Yama.
pub fn ptrace_scope() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

/// What about our own namespaces keeps us from knowing processes by what /proc says of them.
pub fn namespaces() -> Option<Diagnosis> {
    let link = |name: &str| std::fs::read_link(format!("/proc/self{name}")).ok();
    let Some(own) = link("") else {
        return Some(Diagnosis {
            cause: "/proc is not mounted, by which processes are looked at".into(),
            hint: "mount -t proc proc /proc".into(),
        });
    };
    if own.as_os_str() != std::process::id().to_string().as_str() {
        return Some(Diagnosis {
            cause: "/proc is that of another pid namespace, in which processes have other numbers"
                .into(),
            hint: "mount this one's: mount -t proc proc /proc (unshare has --mount-proc)".into(),
        });
    }
    (link("/ns/time") != link("/ns/time_for_children")).then(|| Diagnosis {
        cause: "our children get another time namespace than we have, in which processes have begun at \
                other times"
            .into(),
        hint: "start tracexec in that namespace: unshare --time --fork".into(),
    })
}

impl Circumstances {
    /// Gathers what holds between this process and `target`.
    pub fn of(target: Pid) -> Circumstances {
        let us = Status::read(std::process::id() as Pid).unwrap_or_default();
        let them = Status::read(target).unwrap_or_default();
        Circumstances {
            tracer: them.tracer,
            ptrace_scope: ptrace_scope(),
            our_uid: us.uid,
            target_uid: them.uid,
            capable: us.may_trace_anything(),
            seccomp: us.seccomp,
        }
    }
}

/// Why the kernel said EPERM to an attach; in the order in which the kernel checks, as far as that
/// can be seen from outside.
pub fn refusal(facts: &Circumstances) -> Diagnosis {
    let diagnosis = |cause: String, hint: &str| Diagnosis { cause, hint: hint.into() };
    if facts.tracer != 0 {
        return diagnosis(
            format!(
                "process {} traces it already, and a process has one tracer at most",
                facts.tracer
            ),
            "run tracexec outside strace, gdb, rr or another tracexec",
        );
    }
    if !facts.capable && facts.our_uid != facts.target_uid {
        return diagnosis(
            format!("it runs as user {}, and we as user {}", facts.target_uid, facts.our_uid),
            "run tracexec as root; -u USER then runs COMMAND as an ordinary user",
        );
    }
    match facts.ptrace_scope {
        Some(3) => {
            return diagnosis(
                "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot".into(),
                "boot with another value of kernel.yama.ptrace_scope",
            );
        }
        Some(2) if !facts.capable => {
            return diagnosis(
                "kernel.yama.ptrace_scope is 2: only CAP_SYS_PTRACE may trace".into(),
                "run it as root: sudo tracexec debug -u \"$USER\" ...",
            );
        }
        Some(1) if !facts.capable => {
            return diagnosis(
                "kernel.yama.ptrace_scope is 1: only an ancestor may trace, or whom the process itself admits"
                    .into(),
                "let tracexec start the debugger, which it then has admitted; or attach as root",
            );
        }
        _ => {}
    }
    if facts.seccomp {
        return diagnosis(
            "ptrace is refused, by the seccomp filter under which we run, it seems".into(),
            "give the container the capability: docker run --cap-add=SYS_PTRACE",
        );
    }
    diagnosis(
        "ptrace is refused, perhaps by a security module, or the process may not be dumped".into(),
        "look at the kernel's log (dmesg) and try as root",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Circumstances = Circumstances {
        tracer: 0,
        ptrace_scope: Some(0),
        our_uid: 1000,
        target_uid: 1000,
        capable: false,
        seccomp: false,
    };

    #[test]
    fn an_existing_tracer_is_named_before_anything_else() {
        let facts = Circumstances { tracer: 42, ptrace_scope: Some(3), ..FREE };
        assert!(refusal(&facts).cause.contains("process 42"));
    }

    #[test]
    fn other_ids_are_named_before_yama() {
        let facts = Circumstances { target_uid: 0, ptrace_scope: Some(1), ..FREE };
        assert!(refusal(&facts).cause.contains("as user 0"));
    }

    #[test]
    fn each_value_of_yama_has_its_cause() {
        for (scope, word) in [(1, "ancestor"), (2, "CAP_SYS_PTRACE"), (3, "next boot")] {
            let facts = Circumstances { ptrace_scope: Some(scope), ..FREE };
            assert!(refusal(&facts).cause.contains(word), "{scope}");
        }
        let capable = Circumstances { ptrace_scope: Some(2), capable: true, ..FREE };
        assert!(!refusal(&capable).cause.contains("yama"));
    }

    #[test]
    fn a_container_is_suspected_last() {
        let facts = Circumstances { ptrace_scope: None, seccomp: true, ..FREE };
        assert!(refusal(&facts).hint.contains("--cap-add"));
    }
}
