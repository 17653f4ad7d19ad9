//! What does not go together of `collect` and `report`: a format, where it goes, and how it is written.

use std::fs;

use crate::support::tmux::Tmux;
use crate::support::{TRACEXEC, World, finish};

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

#[test]
fn how_json_is_written_is_refused_for_what_is_none_before_anything_is_done() {
    let world = World::new();
    let run = |world: &World, words: &[&str]| {
        let mut command = world.tracexec(words);
        command.current_dir(world.dir.path());
        finish(world.start(command))
    };
    let recorded = run(&world, &["collect", "-F", "json", "-o", "recording", "--", "true"]);
    assert_eq!(recorded.code(), 0, "{}", recorded.stderr);
    for (format, option, hint) in [
        ("perfetto", "--env=whole", "as differences to that of COMMAND"),
        ("html", "--env=diff", "as differences to that of COMMAND"),
        ("compile-commands", "--env=diff", "no environment is written there"),
        ("json-stream", "--pretty", "leave it away"),
        ("json-stream", "--fresh", "omit it"),
    ] {
        let said = |stderr: &str| {
            let option = option.split('=').next().unwrap();
            let of = if option == "--fresh" { "compile-commands" } else { "json" };
            let error = format!("error: {option} is for --format {of}");
            assert!(stderr.contains(&error) && stderr.contains(hint), "{format}: {stderr}");
        };
        let collect = ["collect", "-F", format, option, "-o", "file", "--", "touch", "ran"];
        let report = ["report", "recording", "-F", format, option, "-o", "file"];
        for line in [&collect[..], &report] {
            let outcome = run(&world, line);
            assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""), "{line:?}");
            said(&outcome.stderr);
        }
    }
    for name in ["file", "ran"] {
        assert!(!world.path(name).exists(), "{name}");
    }
    let outcome = run(&world, &["report", "recording", "--env", "diff"]);
    assert!(outcome.stderr.contains("a summary has no environments"), "{}", outcome.stderr);
    for format in ["json", "json-stream"] {
        let outcome = run(&world, &["report", "recording", "-F", format, "--env", "diff"]);
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{format}");
        assert!(outcome.out().contains("\"unset\":[]"), "{}", outcome.out());
    }
}
