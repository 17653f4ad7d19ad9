//! compile_commands.json that is there already: what is compiled is added to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::log::backends;
use crate::support::{Outcome, World, finish};
use serde_json::{Value, json};

const FILE: &str = "compile_commands.json";

/// A makefile with two sources.
fn project() -> World {
    let world = World::new();
    world.file("one.c", "int one;\n");
    world.file("two.c", "int two;\n");
    world.file("Makefile", "CFLAGS = -O1\nall: one.o two.o\n");
    world
}

#[track_caller]
fn collect(world: &World, backend: &str, options: &[&str], script: &str) -> Outcome {
    let mut command = world.tracexec(["collect", "--backend", backend, "-F", "compile-commands"]);
    command.args(options).args(["--", "sh", "-ec", script]).current_dir(world.dir.path());
    finish(world.start(command))
}

#[track_caller]
fn collected(world: &World, backend: &str, options: &[&str], script: &str) {
    let outcome = collect(world, backend, options, script);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{}", outcome.out());
}

/// The words of each entry, by its file and its output, without their folder.
fn entries(world: &World) -> BTreeMap<(String, String), String> {
    let all: Value = serde_json::from_slice(&fs::read(world.path(FILE)).unwrap()).unwrap();
    let name = |path: &Value| path.as_str().unwrap_or_default().rsplit('/').next().unwrap().into();
    let of = |entry: &Value| {
        let words: Vec<_> = entry["arguments"].as_array().unwrap().iter().skip(1).collect();
        let words: Vec<_> = words.into_iter().map(|word| word.as_str().unwrap()).collect();
        ((name(&entry["file"]), name(&entry["output"])), words.join(" "))
    };
    let all = all.as_array().unwrap();
    let entries: BTreeMap<_, _> = all.iter().map(of).collect();
    assert_eq!(entries.len(), all.len(), "one is there twice: {all:#?}");
    entries
}

fn shown(entries: &BTreeMap<(String, String), String>) -> Vec<(&str, &str, &str)> {
    entries.iter().map(|((f, o), w)| (f.as_str(), o.as_str(), w.as_str())).collect()
}

#[test]
fn what_is_compiled_again_takes_its_place_and_the_rest_stays() {
    for backend in backends() {
        let world = project();
        collected(&world, backend, &[], "make -s");
        let both = entries(&world);
        assert_eq!(both.len(), 2, "{both:#?}");
        // One source is compiled again, with other words.
        collected(&world, backend, &[], "touch two.c; make -s CFLAGS=-O2");
        let one = ("one.c", "one.o", "-O1 -c -o one.o one.c");
        let two = ("two.c", "two.o", "-O2 -c -o two.o two.c");
        assert_eq!(shown(&entries(&world)), [one, two]);
        // The same source with another output is another entry.
        collected(&world, backend, &[], "gcc -g -c two.c -o debug.o");
        let debug = ("two.c", "debug.o", "-g -c -o debug.o two.c");
        assert_eq!(shown(&entries(&world)), [one, debug, two]);
        // What is gone has no entry any more.
        collected(&world, backend, &[], "rm one.c; touch two.c; make -s two.o CFLAGS=-O2");
        assert_eq!(shown(&entries(&world)), [debug, two]);
        collected(&world, backend, &["--fresh"], "gcc -g -c two.c -o debug.o");
        assert_eq!(shown(&entries(&world)), [debug]);
    }
}

#[test]
fn where_nothing_is_compiled_the_file_stays_as_it_is() {
    for backend in backends() {
        let world = project();
        collected(&world, backend, &[], "make -s");
        let file = world.path(FILE);
        let is = || (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().ino());
        let before = is();
        for options in [&[][..], &["--fresh"]] {
            let outcome = collect(&world, backend, options, "make -s");
            assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
            assert!(outcome.stderr.contains("the file is left as it was"), "{}", outcome.stderr);
            assert_eq!(is(), before, "{options:?}");
        }
        fs::remove_file(&file).unwrap();
        let outcome = collect(&world, backend, &[], "make -s");
        assert!(!outcome.stderr.contains("left as it was"), "{}", outcome.stderr);
        assert_eq!(fs::read(&file).unwrap(), b"[]\n");
    }
}

#[test]
fn entries_of_others_are_kept_as_they_are() {
    let world = project();
    let folder = world.dir.path().to_str().unwrap();
    let others = json!([
        { "directory": folder, "command": "cc -c 'one.c' -o one.o", "file": "./one.c", "mark": 1 },
        { "directory": folder, "command": "cc -c two.c -o two.o", "file": "two.c" },
        { "directory": folder, "command": "cc -c none.c", "file": "none.c" },
        { "directory": "/", "arguments": ["cc", "-c", "x.c"], "file": format!("{folder}/two.c") },
    ]);
    fs::write(world.path(FILE), others.to_string()).unwrap();
    collected(&world, "ptrace", &[], "gcc -c two.c -o two.o");
    let all: Vec<Value> = serde_json::from_slice(&fs::read(world.path(FILE)).unwrap()).unwrap();
    assert_eq!(all.len(), 3, "{all:#?}");
    assert_eq!(all[..2], [others[0].clone(), others[3].clone()]);
    assert_eq!(all[2]["output"], format!("{folder}/two.o"));
}

#[test]
fn a_file_that_is_something_else_is_an_error_before_anything_runs() {
    let world = project();
    for text in ["no JSON", "{}", "[1]", "[{\"file\": \"one.c\"}]", "[{\"directory\": \"/\"}]"] {
        fs::write(world.path(FILE), text).unwrap();
        let outcome = collect(&world, "ptrace", &[], "touch ran");
        assert_eq!(outcome.code(), 125, "{text}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("error: cannot add to "), "{text}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("--fresh replaces it"), "{text}: {}", outcome.stderr);
        assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), text);
        assert!(!world.path("ran").exists(), "{text}");
    }
    collected(&world, "ptrace", &["--fresh"], "make -s");
    assert_eq!(entries(&world).len(), 2);
}

#[test]
fn a_recording_is_added_in_the_same_way() {
    let world = project();
    collected(&world, "ptrace", &[], "make -s");
    let mut command = world.tracexec(["collect", "--backend", "ptrace", "-F", "json-stream"]);
    command.args(["-o", "recording", "--", "gcc", "-g", "-c", "two.c"]);
    command.current_dir(world.dir.path());
    assert_eq!(finish(world.start(command)).code(), 0);
    for (options, count) in [(&[][..], 3), (&[], 3), (&["--fresh"], 1)] {
        let mut command = world.tracexec(["report", "recording", "-F", "compile-commands"]);
        command.args(["-o", FILE]).args(options).current_dir(world.dir.path());
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{options:?}");
        assert_eq!(entries(&world).len(), count, "{options:?}");
    }
}
