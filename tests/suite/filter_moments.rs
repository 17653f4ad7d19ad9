//! The fields of moments: what is known of them at the exec, and what decides later.

use std::sync::Arc;
use std::time::Duration;

use crate::filter_support::{FewNames, Given};
use tracexec::event::moment::{Happened, Moments, Now, What};
use tracexec::filter::{Answer, Filter};

const ALL: &str = "exec,crash,fail,hang=1m";

fn filter(moments: &str, expressions: &[&str]) -> Result<Filter, String> {
    let moments = Moments::parse(moments).unwrap();
    Filter::of_moments(expressions, Arc::new(FewNames), moments).map_err(|error| error.to_string())
}

fn at(what: What, seconds: u64) -> Now {
    Now::At(Happened { what, tid: 1, age: Duration::from_secs(seconds) })
}

fn crash(signal: i32) -> Now {
    at(What::Crash { signal, code: 0, address: None, sender: None }, 5)
}

fn fail(status: u8) -> Now {
    at(What::Fail { status }, 5)
}

/// What a filter says of a program with these facts at each of these moments.
fn answers(expressions: &[&str], moments: &[Now]) -> Vec<Answer> {
    let filter = filter(ALL, expressions).unwrap();
    let early = filter.early(&mut facts());
    moments.iter().map(|now| filter.judge_at(&early, *now).answer).collect()
}

fn facts() -> Given {
    crate::filter_support::compiler()
}

#[test]
fn what_is_no_fault_counts_only_where_it_is_named() {
    use Answer::{No, Yes};
    let moments = [
        crash(libc::SIGSEGV),
        crash(libc::SIGTERM),
        fail(0),
        fail(3),
        at(What::Hang, 60),
        Now::Exec,
    ];
    assert_eq!(answers(&[], &moments), [Yes, No, No, Yes, Yes, Yes]);
    assert_eq!(answers(&["basename=cc1plus"], &moments), [Yes, No, No, Yes, Yes, Yes]);
    assert_eq!(answers(&["basename=as"], &moments), [No; 6]);
    assert_eq!(answers(&["signal=TERM"], &moments), [No, Yes, No, No, No, No]);
    assert_eq!(answers(&["signal in (SIGSEGV, 15)"], &moments), [Yes, Yes, No, No, No, No]);
    assert_eq!(answers(&["status<2"], &moments), [No, No, Yes, No, No, No]);
    // Each expression has its own defaults.
    assert_eq!(
        answers(&["basename=as and signal=TERM", "basename=cc1plus"], &moments),
        [Yes, No, No, Yes, Yes, Yes]
    );
    assert_eq!(answers(&["signal=TERM or status=0"], &moments), [No, Yes, Yes, No, No, No]);
    assert_eq!(answers(&["signal", "status"], &moments), [Yes, Yes, Yes, Yes, No, No]);
    assert_eq!(answers(&["not signal"], &moments), [No, No, No, Yes, Yes, Yes]);
    assert_eq!(answers(&["signal != SEGV"], &moments), [No, Yes, No, Yes, Yes, Yes]);
    assert_eq!(answers(&["age >= 1m"], &moments), [No, No, No, No, Yes, No]);
    assert_eq!(answers(&["age < 5001ms"], &moments), [Yes, No, No, Yes, No, Yes]);
}

#[test]
fn at_the_exec_only_what_is_certain_rules_a_program_out() {
    let judge = |expression: &str| filter(ALL, &[expression]).unwrap().judge(&mut facts()).answer;
    assert_eq!(judge("basename=cc1plus"), Answer::Unknown);
    assert_eq!(judge("basename=as"), Answer::No);
    assert_eq!(judge("basename=as and signal=SEGV"), Answer::No);
    assert_eq!(judge("basename=as or signal=SEGV"), Answer::Unknown);
    assert_eq!(judge("not signal=SEGV and status=1"), Answer::Unknown);
}

#[test]
fn only_what_was_written_is_named_as_the_reason() {
    let filter = filter("crash", &["basename=cc1plus and signal in (SEGV, 6)"]).unwrap();
    let early = filter.early(&mut facts());
    let because = filter.because_at(&early, crash(6));
    assert_eq!(because, "basename=cc1plus and signal in (SEGV, 6)");
    let all =
        Filter::of_moments(&[] as &[&str], Arc::new(FewNames), Moments::parse("crash").unwrap())
            .unwrap();
    assert_eq!(all.because_at(&all.early(&mut facts()), crash(6)), "");
}

#[test]
fn a_test_that_can_never_match_is_a_mistake() {
    for (moments, expression, says) in [
        ("crash", "status=1", "`status` is not available here: it comes only with --on fail"),
        ("fail", "signal=SEGV", "`signal` is not available here: it comes only with --on crash"),
        (
            "exec",
            "age>1s",
            "`age` is not available here: it comes only with --on crash, fail or hang",
        ),
        ("crash", "signal=KILL", "SIGKILL kills before anybody sees it"),
        ("crash", "signal=CHLD", "SIGCHLD ends no process"),
        ("crash", "signal=SGEV", "did you mean `SEGV`?"),
        ("crash", "signal=99", "signals have numbers from 1 to 64"),
        ("crash", "signal~SEGV", "`~` is not for `signal`"),
        ("fail", "status=256", "an exit status is at most 255"),
        ("fail", "status~1", "`~` is for texts, and `status` is a number"),
        ("hang=1s", "age=1s", "never the same twice"),
        ("hang=1s", "age>1day", "no unit of time"),
        ("hang=1s", "age<0", "no time is less than 0"),
        ("hang=1s", "age", "`age` is always there"),
        ("crash", "parent.signal=SEGV", "is not kept of ancestors"),
    ] {
        let error = filter(moments, &[expression]).unwrap_err();
        assert!(error.contains(says), "{expression}: {error}");
    }
}
