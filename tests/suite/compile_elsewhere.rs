//! Compilations in another mount namespace, and of sources that are gone.

use std::fs;

use crate::support::log::backends;
use crate::support::{Outcome, World, finish};
use serde_json::Value;

fn project() -> World {
    let world = World::new();
    fs::create_dir_all(world.path("src/inc")).unwrap();
    fs::create_dir(world.path("jail")).unwrap();
    world.file("src/one.c", "#include <one.h>\nint one = ONE;\n");
    world.file("src/inc/one.h", "#define ONE 1\n");
    world
}

#[track_caller]
fn collect(world: &World, backend: &str, words: &[&str]) -> (Outcome, Vec<Value>) {
    let mut command = world.tracexec(["collect", "--backend", backend, "-F", "compile-commands"]);
    command.arg("--").args(words).current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let text = fs::read(world.path("compile_commands.json")).unwrap();
    (outcome, serde_json::from_slice(&text).unwrap())
}

/// What runs a shell's line in another mount namespace, where `src` is `/mnt`.
const SANDBOXES: [&[&str]; 2] = [
    &["bwrap", "--dev-bind", "/", "/", "--bind", "src", "/mnt", "--chdir", "/mnt", "sh", "-ec"],
    &["unshare", "-m", "sh", "-ec", "mount --bind src /mnt; cd /mnt; sh -ec \"$0\""],
];

#[test]
fn paths_of_a_sandbox_are_written_as_they_are_here() {
    for backend in backends() {
        for sandbox in SANDBOXES {
            let world = project();
            let line = "gcc -DX=/mnt/inc -I/mnt/inc -c one.c -o one.o; \
                        gcc -I /mnt/inc -c /mnt/one.c -o /mnt/two.o; exit 0";
            let (outcome, entries) = collect(&world, backend, &[sandbox, &[line]].concat());
            assert_eq!(outcome.stderr, "", "{sandbox:?}");
            let src = world.path("src");
            let src = src.to_str().unwrap();
            assert_eq!(entries.len(), 2, "{sandbox:?} {entries:#?}");
            for (entry, output) in entries.iter().zip(["one.o", "two.o"]) {
                assert_eq!(entry["directory"], src, "{entry}");
                assert_eq!(entry["file"], format!("{src}/one.c"));
                assert_eq!(entry["output"], format!("{src}/{output}"));
            }
            let words = entries[0]["arguments"].to_string();
            assert!(words.contains(&format!("\"-DX=/mnt/inc\",\"-I{src}/inc\"")), "{words}");
            let words = entries[1]["arguments"].to_string();
            assert!(words.contains(&format!("\"-I\",\"{src}/inc\"")), "{words}");
            // Each runs as it stands.
            for entry in &entries {
                fs::remove_file(entry["output"].as_str().unwrap()).unwrap();
                let words = entry["arguments"].as_array().unwrap().iter();
                let words: Vec<_> = words.map(|word| word.as_str().unwrap()).collect();
                let mut command = std::process::Command::new(words[0]);
                command.args(&words[1..]).current_dir(entry["directory"].as_str().unwrap());
                assert!(command.status().unwrap().success(), "{words:?}");
                assert!(fs::exists(entry["output"].as_str().unwrap()).unwrap());
            }
        }
    }
}

#[test]
fn absolute_paths_behind_chroot_are_found() {
    for backend in backends() {
        let world = project();
        let src = world.path("src");
        let script = "mount --rbind / jail; exec chroot jail sh -ec 'cd /; gcc -I$0/inc -c $0/one.c -o $0/one.o; :' $0";
        let words = ["unshare", "-m", "sh", "-ec", script, src.to_str().unwrap()];
        let (outcome, entries) = collect(&world, backend, &words);
        assert_eq!(outcome.stderr, "");
        assert_eq!(entries.len(), 1, "{entries:#?}");
        assert_eq!(entries[0]["directory"], "/");
        assert_eq!(entries[0]["file"], format!("{}/one.c", src.display()));
    }
}

#[test]
fn what_cannot_be_reached_is_counted_with_its_reason() {
    for backend in backends() {
        let world = project();
        // A file of that name here is another one.
        let same = world.path("jail/a.c");
        fs::write(&same, "int other;\n").unwrap();
        let script = "mount -t tmpfs none jail; cd jail; echo 'int a;' >a.c; gcc -c a.c; cd ..; \
                      mkdir gone; echo 'int b;' >gone/b.c; cp gone/b.c gone/c.c; \
                      gcc -c gone/b.c gone/c.c; rm -r gone; gcc -Isrc/inc -c src/one.c";
        let (outcome, entries) = collect(&world, backend, &["unshare", "-m", "sh", "-ec", script]);
        assert_eq!(entries.len(), 1, "{entries:#?}");
        let said = "tracexec: warning: 3 compilations left out: 2 with a source that is gone, 1 in another \
                    mount namespace, in folders that are not here (the first is /";
        // From the root of that namespace on, which is above ours if we are in a chroot.
        let first = format!("{})\n", same.display());
        let right = outcome.stderr.starts_with(said) && outcome.stderr.ends_with(&first);
        assert!(right, "{}", outcome.stderr);
    }
}

#[test]
fn where_all_is_left_out_the_file_stays_as_it_is() {
    let world = project();
    let before = "[]\n \n";
    world.file("compile_commands.json", before);
    let script = "echo 'int b;' >b.c; gcc -c b.c; rm b.c";
    let (outcome, _) = collect(&world, "ptrace", &["sh", "-ec", script]);
    assert!(outcome.stderr.contains("1 compilation left out: 1 with"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the file is left as it was"), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(world.path("compile_commands.json")).unwrap(), before);
}
