use std::io;

use super::super::State;
use super::*;
use crate::machine::diagnose::Diagnosis;
use crate::machine::procfs::Status;

/// The finding of `check` on a good machine of which one thing was changed.
fn found(check: fn(&Facts) -> Finding, change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = Facts::of_a_good_machine();
    change(&mut facts);
    check(&facts)
}

fn refused(circumstances: Circumstances) -> Result<(), Untraceable> {
    Err(Untraceable::Refused(io::Error::from_raw_os_error(libc::EPERM), circumstances))
}

const FREE: Circumstances = Circumstances {
    tracer: 0,
    ptrace_scope: None,
    our_uid: 1000,
    target_uid: 1000,
    capable: false,
    seccomp: false,
};

#[track_caller]
fn check(finding: &Finding, state: State, found: &str, hint: &str) {
    assert_eq!(finding.state, state, "{finding:?}");
    assert!(finding.found.contains(found), "{finding:?}");
    assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{finding:?}");
}

#[test]
fn a_good_machine_has_nothing_to_do() {
    let facts = Facts::of_a_good_machine();
    for finding in tracing(&facts).into_iter().chain(ebpf(&facts)) {
        assert_eq!((finding.state, &finding.hint), (State::Ok, &None), "{finding:?}");
    }
}

#[test]
fn whatever_is_not_ok_says_what_to_do() {
    let mut facts = Facts::of_an_ordinary_user();
    facts.release = "4.19.0".into();
    facts.ptrace = refused(FREE);
    facts.ptrace_scope = Some(3);
    facts.own.seccomp = true;
    facts.tracer = Some(b"strace".to_vec());
    facts.btf = false;
    facts.lockdown = Some("none integrity [confidentiality]".into());
    facts.perf_event_paranoid = None;
    facts.breakpoint = Some(libc::EPERM);
    facts.first_pid_namespace = false;
    // Of a core_pattern there is nothing to be said against.
    let findings = tracing(&facts).into_iter().chain(ebpf(&facts));
    for finding in findings.filter(|finding| finding.check != "core_pattern") {
        assert!(finding.state != State::Ok && finding.hint.is_some(), "{finding:?}");
    }
}

#[test]
fn a_kernel_that_is_too_old_is_told_for_what() {
    let of = |release: &str| found(kernel, |facts| facts.release = release.into());
    check(&of("5.3.18-x"), State::Missing, "5.3.18-x", "5.4 or later");
    check(&of("5.4.0"), State::Limited, "5.4.0", "5.10");
    check(&of("5.10.0-33-amd64"), State::Ok, "5.10.0", "");
    check(&of("7.0-rc1"), State::Ok, "7.0-rc1", "");
    check(&of("odd"), State::Ok, "odd", "");
}

#[test]
fn a_refusal_of_ptrace_has_its_cause() {
    let of = |circumstances| found(ptrace, |facts| facts.ptrace = refused(circumstances));
    check(
        &of(Circumstances { tracer: 42, ..FREE }),
        State::Missing,
        "process 42",
        "outside strace",
    );
    let scope = Circumstances { ptrace_scope: Some(2), ..FREE };
    check(&of(scope), State::Missing, "ptrace_scope is 2", "as root");
    // We are its parent, so that is not why.
    let finding = of(Circumstances { ptrace_scope: Some(1), seccomp: true, ..FREE });
    check(&finding, State::Missing, "seccomp", "SYS_PTRACE");
    assert!(!finding.found.contains("ancestor"), "{finding:?}");
}

#[test]
fn another_error_of_ptrace_is_told_as_it_is() {
    let error = |number| io::Error::from_raw_os_error(number);
    let finding = found(ptrace, |facts| {
        facts.ptrace = Err(Untraceable::Refused(error(libc::ENOSYS), FREE));
    });
    check(&finding, State::Missing, "Function not implemented", "sandbox");
    let finding = found(ptrace, |facts| {
        facts.ptrace = Err(Untraceable::NoChild(error(libc::EAGAIN)));
    });
    check(&finding, State::Missing, "forked", "ulimit -u");
}

#[test]
fn our_tracer_is_named_and_its_name_is_harmless() {
    let finding = found(tracer, |facts| {
        facts.own.tracer = 42;
        facts.tracer = Some(b"st\x1b[2Jrace".to_vec());
    });
    check(&finding, State::Limited, "process 42 (st\\x1b[2Jrace)", "outside");
}

#[test]
fn each_ptrace_scope_means_something_else_to_root() {
    let of = |scope, capabilities| {
        found(ptrace_scope, |facts| {
            facts.ptrace_scope = scope;
            facts.own.effective_capabilities = capabilities;
        })
    };
    check(&of(None, 0), State::Ok, "no Yama", "");
    check(&of(Some(0), 0), State::Ok, "0", "");
    check(&of(Some(1), 0), State::Ok, "admitted", "");
    check(&of(Some(2), 0), State::Missing, "CAP_SYS_PTRACE", "sudo");
    check(&of(Some(2), CAP_SYS_PTRACE), State::Limited, "root", "=1");
    check(&of(Some(3), u64::MAX), State::Missing, "nobody", "boot");
}

#[test]
fn a_seccomp_filter_is_blamed_only_where_something_fails() {
    let of = |change: fn(&mut Facts)| {
        found(seccomp, |facts| {
            facts.own.seccomp = true;
            change(facts);
        })
    };
    check(&of(|_| ()), State::Ok, "lets through", "");
    check(&of(|facts| facts.ptrace = refused(FREE)), State::Limited, "ptrace", "SYS_PTRACE");
    let bpf = of(|facts| facts.ebpf = Ebpf::Refused("no".into()));
    check(&bpf, State::Limited, "bpf", "PERFMON");
}

#[test]
fn a_refusal_of_ebpf_has_its_cause() {
    let of = |change: fn(&mut Facts)| {
        found(programs, |facts| {
            facts.ebpf = Ebpf::Refused("cannot load".into());
            change(facts);
        })
    };
    check(&of(|_| ()), State::Missing, "cannot load", "report it");
    check(&of(|facts| facts.release = "5.4.1".into()), State::Missing, "too old", "5.10");
    check(&of(|facts| facts.user_namespace = true), State::Missing, "user namespace", "outside");
    check(&of(|facts| facts.own.seccomp = true), State::Missing, "seccomp", "container");
    let locked = of(|facts| facts.lockdown = Some("none integrity [confidentiality]".into()));
    check(&locked, State::Missing, "lockdown", "lockdown=integrity");
    let inside = found(programs, |facts| {
        facts.user_namespace = true;
        facts.ebpf = Ebpf::Lacks("no tracefs".into(), "mount it");
    });
    check(&inside, State::Missing, "user namespace", "outside");
    let lacking = found(programs, |facts| facts.ebpf = Ebpf::Lacks("no BTF".into(), "get it"));
    check(&lacking, State::Missing, "no BTF", "get it");
    let other = found(programs, |facts| facts.ebpf = Ebpf::NotBuilt);
    check(&other, State::Missing, "built without eBPF", "clang");
}

#[test]
fn what_ebpf_lacks_is_told_by_the_row_that_knows_best() {
    let of = |change: fn(&mut Facts)| {
        found(programs, |facts| {
            facts.ebpf = Ebpf::Lacks("lacking".into(), "run it by sudo");
            change(facts);
        })
    };
    check(&of(|facts| facts.own.effective_capabilities = 0), State::Missing, "lacking", "see cap");
    check(&of(|facts| facts.tracefs.readable = false), State::Missing, "lacking", "see tracefs");
    let ordinary = of(|facts| facts.own = Facts::of_an_ordinary_user().own);
    check(&ordinary, State::Missing, "lacking", "run it by sudo");
}

#[test]
fn capabilities_are_told_by_name() {
    let of = |uid, effective_capabilities| {
        found(capabilities, |facts| {
            facts.own = Status { uid, effective_capabilities, ..Status::default() };
        })
    };
    check(&of(1000, 0), State::Limited, "user 1000 has none of CAP_SYS_PTRACE", "sudo");
    check(&of(0, CAP_SYS_PTRACE), State::Limited, "but not CAP_BPF", "--cap-add=BPF");
    check(&of(1000, CAP_BPF | CAP_PERFMON), State::Limited, "but not CAP_SYS_PTRACE", "sudo");
    let enough = of(1000, CAP_BPF | CAP_PERFMON | CAP_SYS_PTRACE);
    check(&enough, State::Ok, "but not CAP_SYS_ADMIN", "");
    let inside = found(capabilities, |facts| facts.user_namespace = true);
    check(&inside, State::Limited, "user namespace", "outside");
}

#[test]
fn a_kernel_without_btf_or_perf_events_is_told() {
    check(
        &found(btf, |facts| facts.btf = false),
        State::Missing,
        "vmlinux",
        "CONFIG_DEBUG_INFO_BTF",
    );
    let finding = found(perf_event_paranoid, |facts| facts.perf_event_paranoid = None);
    check(&finding, State::Missing, "perf events", "CONFIG_PERF_EVENTS");
}

#[test]
fn a_tracefs_is_open_closed_not_mounted_or_not_there() {
    let of = |uid, folder, mounted, readable| {
        found(tracefs, |facts| {
            facts.own.uid = uid;
            facts.tracefs = super::super::facts::Tracefs { folder, mounted, readable };
        })
    };
    let path = Some("/sys/kernel/tracing");
    check(&of(0, true, path, true), State::Ok, "can be read", "");
    check(&of(0, true, path, false), State::Missing, "cannot be read", "security module");
    check(&of(1000, true, path, false), State::Limited, "closed to this user", "as root");
    check(&of(0, true, None, false), State::Missing, "not mounted", "mount -t tracefs");
    check(&of(0, false, None, false), State::Missing, "/sys/kernel/tracing", "CONFIG_FTRACE");
}

#[test]
fn lockdown_is_in_the_way_at_confidentiality_only() {
    let of = |text: Option<&str>| found(lockdown, |facts| facts.lockdown = text.map(String::from));
    check(&of(None), State::Ok, "there is no", "");
    check(&of(Some("[none] integrity confidentiality")), State::Ok, "none", "");
    check(&of(Some("none [integrity] confidentiality")), State::Ok, "integrity", "");
    let strict = of(Some("none integrity [confidentiality]"));
    check(&strict, State::Limited, "confidentiality", "lockdown=integrity");
}

#[test]
fn perf_event_paranoid_is_in_the_way_of_capabilities_alone() {
    let of = |value, capabilities, ebpf: fn() -> Ebpf| {
        found(perf_event_paranoid, |facts| {
            facts.perf_event_paranoid = Some(value);
            facts.own.effective_capabilities = capabilities;
            facts.ebpf = ebpf();
        })
    };
    let refused = || Ebpf::Refused("cannot attach".into());
    check(&of(4, CAP_BPF | CAP_PERFMON, refused), State::Limited, "CAP_PERFMON", "sysctl");
    check(&of(4, CAP_BPF | CAP_PERFMON, || Ebpf::Loads), State::Ok, "4", "");
    check(&of(4, u64::MAX, refused), State::Ok, "4", "");
    check(&of(-1, 0, refused), State::Ok, "-1", "");
}

#[test]
fn what_refuses_a_breakpoint_is_named() {
    let of = |error, paranoid, capabilities, seccomp| {
        found(breakpoints, |facts| {
            facts.breakpoint = error;
            facts.perf_event_paranoid = paranoid;
            facts.own.effective_capabilities = capabilities;
            facts.own.seccomp = seccomp;
        })
    };
    check(&of(None, Some(4), 0, true), State::Ok, "--on fail", "");
    let (access, refused) = (Some(libc::EACCES), Some(libc::EPERM));
    check(&of(access, Some(3), 0, false), State::Limited, "Permission denied", "sysctl");
    check(&of(refused, Some(2), 0, true), State::Limited, "Operation not permitted", "seccomp");
    check(&of(Some(libc::ENOENT), None, 0, false), State::Limited, "No such", "CONFIG_PERF");
    check(&of(Some(libc::ENODEV), Some(2), 0, false), State::Limited, "No such", "processor");
}

#[test]
fn where_the_kernel_s_cores_go_is_told_and_no_matter() {
    let finding = found(cores, |facts| facts.core_pattern = Some("|/bin/\u{1b}[2Jx %p".into()));
    check(&finding, State::Ok, "--save core", "");
    assert!(!format!("{finding:?}").contains('\u{1b}'));
}

#[test]
fn a_pid_namespace_limits_and_anothers_proc_prevents() {
    let inner = found(namespaces, |facts| facts.first_pid_namespace = false);
    check(&inner, State::Limited, "--system", "outside the container");
    let cause = "/proc is that of another pid namespace".into();
    let foreign = Diagnosis { cause, hint: "mount -t proc proc /proc".into() };
    let foreign = found(namespaces, |facts| facts.namespaces = Some(foreign));
    check(&foreign, State::Missing, "/proc", "mount -t proc");
}
