//! A program whose name and arguments are made to be code wherever somebody takes them for that.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::support::World;
use crate::support::tmux::Tmux;

const NAME: &str = "$(touch owned); \".";
const FOLDER: &str = "a b\n`touch owned`;$(touch owned)";
const ARGUMENTS: [&str; 7] = [
    "two\nlines; touch owned\n!touch owned",
    "\x1b]0;owned\x07\x1b[31m",
    "--",
    ";",
    "#{pane_id}#(touch owned)",
    "{{pid}}",
    "",
];
const PLACES: [&str; 4] = ["here", "tmux", "tmux-window", "background"];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Makes the program in a folder of such a name, and a script that runs it there; the folder.
fn build(world: &World) -> PathBuf {
    let folder = world.path(FOLDER);
    fs::create_dir(&folder).unwrap();
    fs::rename(world.fixture("hello", &[]), folder.join(NAME)).unwrap();
    let words: Vec<String> = ARGUMENTS.iter().map(|argument| quoted(argument)).collect();
    let run = format!("./{} {} >/dev/null", quoted(NAME), words.join(" "));
    world.file("build", format!("cd {}\n{run}\necho got $?\nexit 7\n", quoted(FOLDER)));
    folder
}

/// Runs the script with a debugger in a place, its standard error in a file, and judges the outcome.
fn debug(world: &World, tmux: &Tmux<'_>, place: &str, debugger: &[&str]) {
    let options = [&["-m", "basename~touch", "--in", place], debugger].concat();
    tmux.shell(&format!("{} 2>err", tmux.debug_line(&options, ". ./build")));
    let ended = tmux.ended();
    assert_eq!(ended.code, 7, "{place}: {}", ended.screen);
    assert!(ended.screen.contains("got 3\n"), "{place}: {}", ended.screen);
    let said = fs::read_to_string(world.path("err")).unwrap();
    assert!(said.contains("$(touch owned)"), "{place}: {said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{place}: {said:?}");
    assert!(!said.contains("warning") && !said.contains("error"), "{place}: {said}");
    for folder in [world.path("."), world.path(FOLDER)] {
        assert!(!folder.join("owned").exists(), "{place}");
    }
    tmux.other_panes(0);
}

#[test]
fn gdb_takes_it_in_every_place_and_it_does_no_harm() {
    let world = World::new();
    build(&world);
    let tmux = Tmux::start(&world);
    for place in PLACES {
        // A line that only a debugger with the process could have written.
        let seen = world.path(&format!("seen-{place}"));
        let log = format!("set logging file {}", seen.display());
        let ex = ["--ex", &log, "--ex", "set logging redirect on"];
        let on = ["--ex", "set logging enabled on", "--ex", "info inferiors"];
        let quit = ["--ex", "set logging enabled off", "--ex", "detach", "--ex", "quit"];
        debug(&world, &tmux, place, &[&ex[..], &on, &quit].concat());
        let seen = fs::read_to_string(&seen).unwrap();
        assert!(seen.contains(NAME), "{place}: {seen}");
    }
    tmux.finish();
}

#[test]
fn a_template_of_the_users_own_gets_each_value_as_a_word() {
    let world = World::new();
    let folder = build(&world);
    let recorder = world.path("recorder");
    let recorded = world.path("recorded");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\0' \"$@\" >{}\nexec gdb -q -batch -p \"$1\" >/dev/null 2>&1\n",
        recorded.display()
    );
    fs::write(&recorder, script).unwrap();
    fs::set_permissions(&recorder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let templates = world.path("config/tracexec/launch-templates/debuggers");
    fs::create_dir_all(&templates).unwrap();
    let command = format!(
        "{} {{{{pid}}}} {{{{exe}}}} {{{{filename}}}} {{{{basename}}}} {{{{cwd}}}} {{{{argv}}}}",
        recorder.display()
    );
    let text = format!("name='recorder'\ndescription='records'\ncommand='{command}'\n");
    fs::write(templates.join("recorder.toml"), text).unwrap();

    let filename = format!("./{NAME}");
    let exe = folder.join(NAME);
    let mut expected = vec![exe.as_os_str().as_bytes(), filename.as_bytes(), NAME.as_bytes()];
    expected.extend([folder.as_os_str().as_bytes(), filename.as_bytes()]);
    expected.extend(ARGUMENTS.iter().map(|argument| argument.as_bytes()));
    let tmux = Tmux::start(&world);
    for place in PLACES {
        debug(&world, &tmux, place, &["--debugger", "recorder"]);
        let recorded = fs::read(&recorded).unwrap();
        let words: Vec<&[u8]> = recorded.strip_suffix(b"\0").unwrap().split(|b| *b == 0).collect();
        assert!(words[0].iter().all(u8::is_ascii_digit), "{place}");
        assert_eq!(words[1..], expected, "{place}");
        fs::remove_file(world.path("recorded")).unwrap();
    }
    tmux.finish();
}
