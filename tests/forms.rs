//! What does not go together of `collect` and `report`: a format, where it goes, and how it is written.

mod support;

use std::fs;

use support::tmux::Tmux;
use support::{TRACEXEC, World};

#[test]
fn what_nobody_can_read_is_refused_on_a_terminal_before_command_runs() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    tmux.type_line(&tmux.first, &format!("cd '{}'", world.dir.path().display()));
    // The line's end, with its status, and what the screen then shows. Each run has a number.
    let mut runs = 0;
    let mut run = |arguments: &str, status: u8| {
        runs += 1;
        tmux.type_line(&tmux.first, "clear");
        tmux.type_line(&tmux.first, &format!("'{TRACEXEC}' {arguments}; echo r''un {runs}: $?"));
        tmux.shows(&tmux.first, &format!("run {runs}: {status}"))
    };
    for format in ["perfetto", "html"] {
        let said = format!("error: --format {format} is nothing for a terminal");
        for output in ["-", "/dev/stdout", "/dev/tty"] {
            let options = format!("collect --backend ptrace -F {format} -o {output}");
            let screen = run(&format!("{options} -- touch ran"), 125);
            assert!(screen.contains(&said) && screen.contains("hint: name a file"), "{screen}");
            assert!(!world.path("ran").exists());
        }
    }
    // A pipe is none, and lines of JSON can be read.
    run("collect --backend ptrace -F html -o - -- true | cat >page.html", 0);
    assert!(fs::read_to_string(world.path("page.html")).unwrap().starts_with("<!DOCTYPE html>"));
    let screen = run("collect --backend ptrace -F json-stream -o - -- true", 0);
    assert!(screen.contains("\"event\":\"end\""), "{screen}");
    // What was recorded is treated in the same way.
    run("collect --backend ptrace -F json -o recording -- true", 0);
    let screen = run("report recording -F perfetto", 125);
    assert!(screen.contains("--format perfetto is nothing for a terminal"), "{screen}");
    tmux.finish();
}
