//! Our own death: what was about to die, dies; what was about to exit, exits; nothing is left.

use super::support::typed::nothing_is_left_of;
use super::support::{World, eventually, finish, is_gone};

#[test]
fn at_any_point_a_program_does_what_it_was_about_to_do() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    for point in ["moment-begun", "held", "before-stop", "stop-sent", "detached"] {
        for (mode, status) in
            [("null", 139), ("abort", 134), ("abort thread", 134), ("exit", 3), ("exit thread", 3)]
        {
            let out = world.path("out");
            let _ = std::fs::remove_file(&out);
            let script = format!("{program} {mode}; echo $? >{}", out.display());
            let args = ["debug", "--on", "crash,fail", "-m", "basename=dies", "--hold", "--"];
            let mut command = world.tracexec(args.iter().chain(&["sh", "-c", &script]));
            command.env("TRACEXEC_DIE_AT", point);
            let outcome = finish(world.start(command));
            assert_eq!(outcome.code(), 1009, "{point} {mode}: {}", outcome.stderr);
            eventually(&format!("{status} after {point} of {mode}"), || {
                let text = std::fs::read_to_string(&out).ok()?;
                (text == format!("{status}\n")).then_some(())
            });
            nothing_is_left_of(&world);
        }
    }
}

#[test]
fn told_to_end_it_lets_all_run_to_their_own_end() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let out = world.path("out");
    let script = format!(
        "for m in null abort exit 'null t'; do ({program} $m; echo $? >>{}) & done; wait",
        out.display()
    );
    let options = ["debug", "--on", "crash,fail", "-m", "basename=dies", "--hold"];
    let command =
        world.tracexec(options.iter().chain(&["--sessions", "1", "--", "sh", "-c", &script]));
    let mut running = world.start(command);
    running.stderr_line(": held");
    running.signal(libc::SIGTERM);
    let pid = running.pid();
    assert_eq!(finish(running).code(), 143);
    assert!(is_gone(pid));
    eventually("four ends", || {
        let text = std::fs::read_to_string(&out).ok()?;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        (lines == ["134", "139", "139", "3"]).then_some(())
    });
    nothing_is_left_of(&world);
}
