//! What is said on the command line and on --hits-json.

use std::os::unix::fs::PermissionsExt;

use crate::support::World;

#[test]
fn what_makes_no_sense_is_an_error_before_the_command_starts() {
    let world = World::new();
    for (options, says, hint) in [
        (&["--on", "crsh"][..], "did you mean `crash`?", ""),
        (&["--on", "hang"], "hang=60s", ""),
        (&["--on", "exec,crash"], "no filter: -m says", ""),
        (
            &["--on", "crash", "-m", "status=1"],
            "it comes only with --on fail",
            "tracexec-filter(7)",
        ),
        (&["--on", "crash", "--break", "main"], "stays where it happened", "add exec"),
        (&["--on", "crash", "--wrap", "env"], "at its exec only", "--on exec"),
        (&["--on", "fail,hang=1s", "--wrap", "env"], "--on fail,hang=1s holds it later", ""),
        (
            &["--on", "fail", "--system", "--once", "--backend", "ptrace"],
            "ptrace sees COMMAND's tree only",
            "leave --backend ptrace away",
        ),
        (&["--on", "fail", "--system"], "how many matches", "--once"),
    ] {
        let mut command = std::process::Command::new(crate::support::TRACEXEC);
        world.prepare(&mut command);
        command.arg("debug").args(options);
        if !options.contains(&"--break") && !options.contains(&"--wrap") {
            command.arg("--hold");
        }
        command.args(["--", "echo", "ran"]);
        let outcome = crate::support::finish(world.start(command));
        assert!(outcome.stderr.contains(says), "{options:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(hint), "{options:?}: {}", outcome.stderr);
        assert_ne!(outcome.code(), 0);
        assert_eq!(outcome.out(), "", "{options:?}");
    }
}

#[test]
fn nothing_held_is_said_in_the_words_of_the_moments() {
    let world = World::new();
    let outcome = world.debug_sh(&["--on", "crash", "--hold"], "true; /bin/true");
    assert!(
        outcome.stderr.contains("nothing came to --on crash: 2 execs, 2 of them looked after"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_line_of_json_says_what_happened_to_which_thread() {
    let world = World::new();
    let program = world.fixture("dies", &[]).display().to_string();
    let hits = world.file("hits", "");
    let options = ["--on", "crash,fail", "-m", "basename=dies", "--debugger", "gdb-backtrace"];
    let more = ["--in", "background", "--hits-json", hits.to_str().unwrap()];
    let script = format!("{program} null thread; {program} exit; echo");
    world.debug_sh(&[&options[..], &more].concat(), &script);
    let text = std::fs::read_to_string(&hits).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let parked: Vec<_> = lines.iter().filter(|line| line["stage"] == "parked").collect();
    assert_eq!(parked.len(), 2, "{text}");
    assert_eq!(parked[0]["moment"], "crash");
    assert_eq!(parked[0]["signal"], libc::SIGSEGV);
    assert_eq!(parked[0]["address"], "0x0");
    assert_ne!(parked[0]["thread"], parked[0]["pid"]);
    assert_eq!((&parked[1]["moment"], &parked[1]["exit_status"]), (&"fail".into(), &3.into()));
}

/// Which it had at its exec, whatever it has changed to since.
#[test]
fn a_program_s_directory_is_told_to_templates_and_as_json() {
    let world = World::new();
    let (recorder, recorded) = (world.path("recorder"), world.path("recorded"));
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$2\" >>{}\nexec gdb -q -nx -batch -p \"$1\"\n",
        recorded.display()
    );
    std::fs::write(&recorder, script).unwrap();
    std::fs::set_permissions(&recorder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let hits = world.file("hits", "");
    let recording = format!("{} {{{{pid}}}} {{{{cwd}}}}", recorder.display());
    let dies = "cd /usr && sh -c 'cd /; kill -SEGV $$'; echo died of $?";
    let filter = ["--on", "crash", "-m", "argv[2] contains SEGV and argc=3", "--in", "background"];
    let options = [&filter[..], &["--debugger", &recording]].concat();
    let outcome = world.debug_sh(&options, dies);
    assert!(outcome.out().contains("died of 139"), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(recorded).unwrap(), "/usr\n", "{outcome:?}");
    let json = ["--debugger", "gdb-backtrace", "--hits-json", hits.to_str().unwrap()];
    world.debug_sh(&[&filter[..], &json].concat(), dies);
    let text = std::fs::read_to_string(&hits).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["cwd"], "/usr", "{text}");
}
