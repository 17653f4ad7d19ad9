//! Our own death: what was about to die, dies; what was about to exit, exits; nothing is left.

use crate::support::typed::nothing_is_left_of;
use crate::support::{World, eventually, finish, is_gone};

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
fn while_it_is_taken_back_a_program_goes_on() {
    let world = World::new();
    let program = world.fixture("later", &[]).display().to_string();
    let (out, flag) = (world.path("out"), world.path("flag"));
    for point in ["before-stop", "detached", "seized-again", "held-again"] {
        for looks in [["--save", "repro", "--to"], ["--debugger", "gdb-backtrace", "--in"]] {
            let _ = (std::fs::remove_file(&out), std::fs::remove_file(&flag));
            let where_to =
                if looks[0] == "--save" { world.path("kept") } else { "background".into() };
            let script =
                format!("exec >{} 2>&1; {program} {} exit; echo $?", out.display(), flag.display());
            let args = ["debug", "--on", "hang=200ms", "-m", "basename=later"];
            let mut command = world.tracexec(args.iter().chain(&looks));
            command.arg(where_to).args(["--", "sh", "-c", &script]);
            command.env("TRACEXEC_DIE_AT", point);
            let outcome = finish(world.start(command));
            assert_eq!(outcome.code(), 1009, "{point}: {}", outcome.stderr);
            std::fs::write(&flag, "").unwrap();
            eventually(&format!("its own status after {point}"), || {
                std::fs::read_to_string(&out).ok()?.ends_with("3\n").then_some(())
            });
            nothing_is_left_of(&world);
        }
    }
}

/// A breakpoint's signal that we did not live to see must not end anybody.
#[test]
fn killed_while_many_exit_it_changes_nobody_s_status() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let out = world.path("out");
    // Followed, and never held.
    let wanted = "basename=dies and status=77";
    let one = format!("{program} $m; echo $m $? >>{}", out.display());
    let script =
        format!("for i in $(seq 50); do for m in well exit; do ({one}) & done; done; wait");
    let lines = || std::fs::read_to_string(&out).unwrap_or_default();
    for after in [5, 25, 45, 65, 85] {
        let _ = std::fs::remove_file(&out);
        let args = ["debug", "--on", "fail", "-m", wanted, "--hold", "--", "sh", "-c", &script];
        let running = world.start(world.tracexec(args));
        eventually("some exits", || (lines().lines().count() >= after).then_some(()));
        running.signal(libc::SIGKILL);
        finish(running);
        eventually("all exits", || (lines().lines().count() == 100).then_some(()));
        for (line, count) in [("well 0\n", 50), ("exit 3\n", 50)] {
            assert_eq!(lines().matches(line).count(), count, "{}", lines());
        }
        nothing_is_left_of(&world);
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
