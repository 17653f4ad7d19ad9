//! compile_commands.json: the same builds under Bear, and what clang makes of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{World, finish};
use serde_json::Value;

/// The sources over which everything is tried.
const BACKENDS: &[&str] = if cfg!(feature = "ebpf") { &["ptrace", "ebpf"] } else { &["ptrace"] };

/// Sources, a response file, a makefile, and a script that is called as a compiler is.
fn project() -> World {
    let world = World::new();
    world.file("main.c", "#include <part.h>\nint main(void) { return part(); }\n");
    world.file("part.c", "#include \"inc/part.h\"\nint part(void) { return VALUE; }\n");
    world.file("more.cpp", "int more() { return 0; }\n");
    world.file("with space.c", "int space;\n");
    world.file("start.S", "");
    fs::create_dir(world.path("inc")).unwrap();
    fs::create_dir(world.path("sub")).unwrap();
    world.file("inc/part.h", "int part(void);\n");
    world.file(
        "Makefile",
        "CFLAGS = -O1 -Iinc '-DVALUE=0' -MMD -MF $*.d\n\
         prog: main.o part.o more.o\n\tg++ -o $@ $^ -lm -Wl,-O1\n",
    );
    world
}

/// What a compilation database says: the folder, the file, the output and the words of each entry.
type Entries = BTreeSet<(String, String, String, Vec<String>)>;

fn entries(file: &Path) -> Entries {
    let text = fs::read_to_string(file).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let entry = |entry: &Value| {
        let words = entry["arguments"].as_array().unwrap().iter().map(text).collect();
        (text(&entry["directory"]), text(&entry["file"]), text(&entry["output"]), words)
    };
    value.as_array().unwrap().iter().map(entry).collect()
}

/// Runs a script under tracexec; the entries.
#[track_caller]
fn ours(world: &World, backend: &str, script: &str) -> Entries {
    ours_without(world, backend, script, "")
}

/// The same, where some are left out, which is said.
#[track_caller]
fn ours_without(world: &World, backend: &str, script: &str, left_out: &str) -> Entries {
    let args = ["collect", "--backend", backend, "-F", "compile-commands", "--"];
    let mut command = world.tracexec(args);
    command.args(["sh", "-ec", script]).current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), &outcome.stderr), (0, &said(left_out)), "{}", outcome.out());
    entries(&world.path("compile_commands.json"))
}

/// What is said of those that are left out.
fn said(left_out: &str) -> String {
    match left_out {
        "" => String::new(),
        why => format!("tracexec: warning: {why}\n"),
    }
}

#[track_caller]
fn of_bear(world: &World, script: &str) -> Entries {
    let mut command = Command::new("bear");
    command.args(["--output", "bear.json", "--", "sh", "-ec", script]);
    world.prepare(&mut command);
    command.current_dir(world.dir.path());
    let output = command.output().expect("bear is needed: apt install bear");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    entries(&world.path("bear.json"))
}

#[test]
fn a_build_has_the_entries_that_it_has_under_bear() {
    for backend in BACKENDS {
        let world = project();
        let script = "make -s -B -j2
            gcc -c main.c -Iinc -o 1.o; cc -Iinc -c -o 2.o ./part.c -DVALUE=2
            (cd sub; gcc -I ../inc -c ../main.c -o 3.o)
            gcc -c 'with space.c' -o '4 4.o' '-DX=\"a b\"'
            x86_64-linux-gnu-gcc-12 -c start.S -o 5.o; gcc -x c++ -c main.c -Iinc -o 6.o
            clang-19 -c main.c -I inc -o 7.o; clang-19 -fsyntax-only main.c -isystem inc -o 8.o
            gcc -S part.c -DVALUE=1 --param max-inline-insns-single=9 -include inc/part.h -o 9.s
            gcc -fPIC -shared part.c -o 10.so -DVALUE=1 -L. -lm 2>/dev/null || :
            gcc -E -Iinc main.c >/dev/null; gcc -M -Iinc main.c >/dev/null; gcc --version >/dev/null
            gcc -Iinc -MM -c main.c >/dev/null; gcc -print-file-name=x.c >/dev/null
            echo 'int x;' >conftest.c; gcc -c conftest.c -o conftest.o; rm conftest.*
            echo 'int x;' | gcc -x c -c - -o 11.o";
        let gone = world.path("conftest.c");
        let gone = gone.display();
        let gone =
            format!("1 compilation left out: 1 with a source that is gone (the first is {gone})");
        let ours = ours_without(&world, backend, script, &gone);
        let bear = of_bear(&world, script);
        assert_eq!(ours.len(), 13, "{ours:#?}");
        // What we do not have from Bear: that what is linked is the output of a source that is compiled at
        // once, and -c where nothing is to come out.
        let known = |(directory, file, output, words): &(String, String, String, Vec<String>)| {
            let linked = output.ends_with("/10.so");
            let mut words = words.clone();
            if linked {
                let at = words.iter().position(|word| word == "-o").unwrap();
                words.drain(at..at + 2);
            }
            if words.iter().any(|word| word == "-fsyntax-only") {
                words.retain(|word| word != "-c");
            }
            let output = if linked { String::new() } else { output.clone() };
            (directory.clone(), file.clone(), output, words)
        };
        assert_eq!(ours, bear.iter().map(known).collect());
    }
}

#[test]
fn a_recording_has_the_response_files_that_the_build_has_deleted() {
    for backend in BACKENDS {
        let world = project();
        let script =
            "printf %s '-c @inner' >words; printf %s '\"-DVALUE=1 + 1\" part.c -o 1.o' >inner
            gcc @words; rm words inner; :";
        let mut command =
            world.tracexec(["collect", "--backend", backend, "-F", "json", "-o", "json"]);
        command.args(["--", "sh", "-ec", script]).current_dir(world.dir.path());
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 0, "{}{}", outcome.out(), outcome.stderr);
        let text = fs::read_to_string(world.path("json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let gcc =
            value["events"].as_array().unwrap().iter().find(|event| event["argv"][1] == "@words");
        let words = serde_json::json!({"name": "words", "text": "-c @inner"});
        assert_eq!(gcc.unwrap()["responses"][0], words, "{text}");
        let mut report = world.tracexec(["report", "json", "-F", "compile-commands", "-o", "db"]);
        report.current_dir(world.dir.path());
        let outcome = finish(world.start(report));
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let entries = entries(&world.path("db"));
        let words: Vec<_> = entries.iter().map(|entry| entry.3[1..].join("|")).collect();
        assert_eq!(words, ["-c|-DVALUE=1 + 1|-o|1.o|part.c"]);
    }
}

#[test]
fn what_bear_does_not_see_has_entries_too() {
    for backend in BACKENDS {
        let world = project();
        world.file("words", "-c '-DVALUE=\"1 2\"' part.c -o 1.o");
        // A driver that nobody knows by its name: what it executes shows what it is.
        let script = "gcc -w @words; cp $(readlink -f $(command -v gcc)) known-to-nobody
            COMPILER_PATH=$(dirname $(gcc -print-prog-name=cc1)) ./known-to-nobody -Iinc -c main.c -o 2.o
            gcc -DVALUE=3 -Iinc main.c part.c -o prog";
        let root = world.dir.path().to_str().unwrap();
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let own = format!("{root}/known-to-nobody");
        let expected: Entries = [
            (
                "part.c",
                "1.o",
                words(&["/usr/bin/gcc", "-w", "-c", "-DVALUE=\"1 2\"", "-o", "1.o", "part.c"]),
            ),
            ("main.c", "2.o", words(&[&own, "-Iinc", "-c", "-o", "2.o", "main.c"])),
            ("main.c", "", words(&["/usr/bin/gcc", "-c", "-DVALUE=3", "-Iinc", "main.c"])),
            ("part.c", "", words(&["/usr/bin/gcc", "-c", "-DVALUE=3", "-Iinc", "part.c"])),
        ]
        .into_iter()
        .map(|(file, output, words)| {
            let output = if output.is_empty() { String::new() } else { format!("{root}/{output}") };
            (root.to_string(), format!("{root}/{file}"), output, words)
        })
        .collect();
        assert_eq!(ours(&world, backend, script), expected);
    }
}

#[test]
fn a_wrapper_and_the_compiler_below_it_have_one_entry() {
    for backend in BACKENDS {
        let world = project();
        let cache = world.path("cache");
        let script = format!(
            "export CCACHE_DIR={}; ccache gcc -Iinc -c main.c -o 1.o; ccache gcc -Iinc -c main.c -o 1.o
             ln -s $(command -v ccache) sub/gcc; PATH=$PWD/sub:$PATH; gcc -Iinc -c main.c -o 2.o",
            cache.display()
        );
        let entries = ours(&world, backend, &script);
        let shown: Vec<(&str, Vec<&str>)> = entries
            .iter()
            .map(|(_, _, output, words)| {
                let output = output.rsplit('/').next().unwrap();
                (output, words.iter().skip(1).map(String::as_str).collect())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("1.o", vec!["-Iinc", "-c", "-o", "1.o", "main.c"]),
                ("2.o", vec!["-Iinc", "-c", "-o", "2.o", "main.c"]),
            ]
        );
    }
}

#[test]
fn clang_s_own_tools_find_each_source_and_its_headers_by_it() {
    for backend in BACKENDS {
        let world = project();
        ours(&world, backend, "make -s -B; gcc -c 'with space.c'");
        for (tool, args) in [
            ("clang-check-19", &["-p", "."][..]),
            ("clangd-19", &["--compile-commands-dir=.", "--check=main.c", "--log=error"]),
        ] {
            let mut command = Command::new(tool);
            command.args(args).current_dir(world.dir.path());
            if tool.starts_with("clang-check") {
                command.args(["main.c", "part.c", "more.cpp", "with space.c"]);
            }
            let output = command.output().expect("apt install clang-tools-19 clangd-19");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{tool}: {said}");
            assert!(!said.contains("error"), "{tool}: {said}");
        }
        // Without it, clang does not find what the makefile names.
        fs::write(world.path("compile_commands.json"), "[]").unwrap();
        let mut command = Command::new("clang-check-19");
        let output = command.args(["-p", ".", "main.c"]).current_dir(world.dir.path()).output();
        assert!(!output.unwrap().status.success());
    }
}

#[test]
fn a_recording_has_them_as_well_where_its_sources_are_gone() {
    for backend in BACKENDS {
        let world = project();
        let args = ["collect", "--backend", backend, "-F", "json-stream", "-o", "run.jsonl", "--"];
        let mut command = world.tracexec(args);
        command.args(["make", "-s", "-B"]).current_dir(world.dir.path());
        assert_eq!(finish(world.start(command)).code(), 0);
        let now = |left_out: &str| {
            let args = ["report", "run.jsonl", "-F", "compile-commands", "-o", "out.json"];
            let mut command = world.tracexec(args);
            command.current_dir(world.dir.path());
            let outcome = finish(world.start(command));
            assert_eq!((outcome.code(), outcome.stderr), (0, said(left_out)));
            entries(&world.path("out.json"))
        };
        let all = now("");
        assert_eq!(all.len(), 3, "{all:#?}");
        let part = world.path("part.c");
        fs::remove_file(&part).unwrap();
        let part = part.display();
        let gone =
            format!("1 compilation left out: 1 with a source that is gone (the first is {part})");
        assert_eq!(now(&gone).len(), 2);
        for source in ["main.c", "more.cpp"] {
            fs::remove_file(world.path(source)).unwrap();
        }
        assert_eq!(now(""), all);
    }
}
