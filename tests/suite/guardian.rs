//! Somebody ends the guardian: another one takes its place.

use crate::support::ebpf::guardian_of;
use crate::support::typed::nothing_is_left_of;
use crate::support::{
    WAITING, World, eventually, finish, pid_in, processes_with, signal_process, state,
};

#[test]
fn another_guardian_answers_for_what_the_one_that_was_killed_did() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let line = format!("for i in 1 2 3; do '{}' $i & done; wait; exit 4", hello.display());
    let mut words = vec!["debug", "-v", "--hold", "--sessions", "1", "--when-busy", "wait"];
    words.extend(["-m", "basename=hello", "--", "sh", "-c", &line]);
    let mut session = world.start(world.tracexec(words));
    let parked = pid_in(&session.stderr_line(": held"));
    let mine = || processes_with(hello.to_str().unwrap());
    let in_state = |letter| {
        mine().into_iter().filter(|pid| *pid != parked && state(*pid) == Some(letter)).count()
    };
    eventually("two that wait", || (in_state(WAITING) == 2).then_some(()));
    eventually("its stop", || (state(parked) == Some('T')).then_some(()));
    for _ in 0..2 {
        let guardian = eventually("a guardian", || guardian_of(session.pid()));
        signal_process(guardian, libc::SIGKILL);
        session.stderr_line("another one has taken its place");
        assert_ne!(guardian_of(session.pid()), Some(guardian));
    }
    // It has let nobody run.
    assert_eq!((state(parked), in_state(WAITING)), (Some('T'), 2));
    session.signal(libc::SIGKILL);
    let outcome = finish(session);
    assert_eq!(outcome.code(), 1000 + libc::SIGKILL);
    eventually("the end of all", || mine().is_empty().then_some(()));
    assert_eq!(outcome.out().matches("hello\n").count(), 3, "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

/// What was parked afterwards, and what was let go, is known to the new one, too.
#[test]
fn a_session_goes_on_with_another_guardian() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let line = format!("'{0}' one; '{0}' two; exit 4", hello.display());
    let words = ["debug", "-v", "--hold", "-m", "basename=hello", "--", "sh", "-c", &line];
    let mut session = world.start(world.tracexec(words));
    let first = pid_in(&session.stderr_line(": held"));
    let guardian = eventually("a guardian", || guardian_of(session.pid()));
    signal_process(guardian, libc::SIGKILL);
    session.stderr_line("another one has taken its place");
    assert_eq!(world.run(["release", &first.to_string()]).code(), 0);
    let second = pid_in(&session.stderr_line(": held"));
    assert_ne!(first, second);
    session.signal(libc::SIGKILL);
    let outcome = finish(session);
    eventually("the end of all", || {
        processes_with(hello.to_str().unwrap()).is_empty().then_some(())
    });
    assert!(outcome.out().ends_with("two\nhello\n"), "{}", outcome.stderr);
    nothing_is_left_of(&world);
}
