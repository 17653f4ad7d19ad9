//! Each entry of compile_commands.json, run as it stands, makes the object that the build made: with every option of
//! gcc that takes a value, and with several languages in one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{World, finish};
use regex::Regex;
use serde_json::Value;

/// What differs in the object where an option is lost: macros, files of `-include`, folders of `-I`.
const SOURCE: &str = "
#ifdef X
int has_x = 1;
#endif
#ifdef incd
int has_incd = 1;
#endif
#if __has_include(<only.h>)
#include <only.h>
#endif
#ifdef __cplusplus
int is_cpp;
#endif
int main(int argc, char **argv) { return argc > 1 ? (int)argv[1][0] : 0; }
";

fn project() -> World {
    let world = World::new();
    for name in ["m.c", "m.in", "n.c", "n.in"] {
        world.file(name, SOURCE);
    }
    world.file("cfg.h", "int from_cfg = 1;\n#define X 1\n");
    fs::create_dir(world.path("incd")).unwrap();
    world.file("incd/only.h", "int only = 1;\n");
    world
}

/// Runs a script under tracexec; the entries by their outputs.
fn entries(world: &World, script: &str) -> BTreeMap<PathBuf, Vec<Value>> {
    world.file("script", script);
    let mut command = world.tracexec(["collect", "--backend", "ptrace", "-F", "compile-commands"]);
    command.args(["--", "sh", "script"]).current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let text = fs::read(world.path("compile_commands.json")).unwrap();
    let all: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let mut entries: BTreeMap<PathBuf, Vec<Value>> = BTreeMap::new();
    for entry in all {
        let output = match entry["output"].as_str() {
            Some(output) => PathBuf::from(output),
            None => Path::new(entry["file"].as_str().unwrap()).with_extension("o"),
        };
        entries.entry(output).or_default().push(entry);
    }
    entries
}

fn run(mut command: Command, folder: &Path) {
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.status().unwrap();
}

/// Whether an entry makes this object again; where even the build does not do that, it need not.
fn makes(entry: &Value, output: &Path, line: &str, folder: &Path) -> bool {
    let before = fs::read(output).unwrap();
    let again = |command: Command| {
        let _ = fs::remove_file(output);
        run(command, folder);
        fs::read(output).ok()
    };
    let words = entry["arguments"].as_array().unwrap().iter();
    let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let build = || {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    };
    let made = again(command);
    made.as_deref() == Some(&before[..])
        || (made.is_some() && again(build()).as_deref() != Some(&before[..]))
}

/// The options of gcc that take a value, each with words for it: one of those will do.
fn options() -> Vec<Vec<String>> {
    let option = Regex::new(r"(?m)^  (--?[A-Za-z0-9+-]+=?)(\S*)").unwrap();
    let choice = Regex::new(r"^\[([A-Za-z0-9-]+)").unwrap();
    let mut all = BTreeSet::new();
    for language in ["common", "c", "c++"] {
        for form in ["joined", "separate"] {
            let class = format!("--help={language},{form}");
            let output = Command::new("gcc").arg(class).output().unwrap();
            for found in option.captures_iter(&String::from_utf8(output.stdout).unwrap()) {
                all.insert((found[1].to_string(), form, found[2].to_string()));
            }
        }
    }
    assert!(all.len() > 100, "{all:?}");
    let values = |meant: &str| -> Vec<String> {
        match choice.captures(meant) {
            Some(first) => vec![first[1].to_string()],
            None => ["1", "incd", "cfg.h"].map(String::from).to_vec(),
        }
    };
    let words = |(option, form, meant): (String, &str, String)| {
        let between = if form == "separate" { " " } else { "" };
        // Without this, gcc refuses the options for dependencies.
        let before = if option.starts_with("-M") { "-MMD " } else { "" };
        let with = |value: String| format!("{before}{option}{between}{value}");
        values(&meant).into_iter().map(with).collect()
    };
    all.into_iter().map(words).collect()
}

/// Of the driver alone, and with a source that is not called as one; `{}` is the output.
const MORE: [&str; 30] = [
    "-c m.c --output {}",
    "-c m.c --output={}",
    "--compile m.c -o{}",
    "-x c -c m.in -o {}",
    "-xc -c m.in -o {}",
    "--language c -c m.in -o {}",
    "--language=c++ -c m.in -o {}",
    "-x c++ -x none -c m.c -o {}",
    "-std=gnu11 -c m.c -o {}",
    "--std gnu11 -c m.c -o {}",
    "--std=gnu++11 -c m.c -o {}",
    "--sysroot / -c m.c -o {}",
    "--param max-inline-insns-single=9 -c m.c -o {}",
    "--prefix incd -c m.c -o {}",
    "-B incd -c m.c -o {}",
    "-specs /dev/null -c m.c -o {}",
    "--specs /dev/null -c m.c -o {}",
    "-wrapper env,A=1 -c m.c -o {}",
    "--for-assembler --warn -c m.c -o {}",
    "-Xassembler --warn -c m.c -o {}",
    "--for-linker -s -Xlinker n.c -c m.c -o {}",
    "--entry n.c -e n.c --force-link n.c -u n.c -c m.c -o {}",
    "--library-directory n.c -L n.c -l n.c -z n.c -T n.c -c m.c -o {}",
    "-Xpreprocessor -DX=1 -c m.c -o {}",
    "--write-dependencies -MF {}.d -MT n.c -c m.c -o {}",
    "--write-user-dependencies -MQn.c -c m.c -o {}",
    "--define-macro X=1 --include-directory incd -c m.c -o {}",
    "--include cfg.h --undefine-macro incd -c m.c -o {}",
    "-isystem incd -target x86_64-linux-gnu -c m.c -o {}",
    "-Xclang -DX=1 -mllvm -stats=0 -c m.c -o {}",
];

#[track_caller]
fn every_option(compiler: &str) {
    let world = project();
    let folder = world.dir.path();
    // Each object, with the lines of which the first one that is right makes it.
    let mut lines: Vec<(PathBuf, String)> = Vec::new();
    for (number, words) in options().into_iter().enumerate() {
        let output = format!("option{number}.o");
        let line = |words: String| format!("{compiler} {words} -c m.c -o {output}");
        let each: Vec<String> = words.into_iter().map(line).collect();
        lines.push((folder.join(&output), each.join(" || ")));
    }
    for (number, words) in MORE.iter().enumerate() {
        let output = format!("more{number}.o");
        let line = format!("{compiler} {}", words.replace("{}", &output));
        lines.push((folder.join(&output), line));
    }
    let script: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    let entries = entries(&world, &format!("exec 2>/dev/null >&2 </dev/null\n{script}exit 0\n"));
    let mut wrong = Vec::new();
    let mut made = 0;
    for (output, line) in lines.iter().filter(|(output, _)| output.exists()) {
        made += 1;
        let entry = entries.get(output).map(|entries| &entries[..]).unwrap_or_default();
        if entry.len() != 1 || !makes(&entry[0], output, line, folder) {
            wrong.push(format!("{line}: {entry:?}"));
        }
    }
    assert!(made > 60, "only {made} of {} were compiled", lines.len());
    assert!(wrong.is_empty(), "{} of {made}: {wrong:#?}", wrong.len());
}

#[test]
fn every_option_of_gcc_that_takes_a_value_is_kept_or_needless() {
    every_option("gcc");
}

#[test]
fn every_option_of_gcc_is_so_for_g_plus_plus() {
    every_option("g++");
}

#[test]
fn every_option_of_gcc_is_so_for_clang() {
    every_option("clang-19");
}

#[test]
fn each_source_has_the_language_that_is_in_force_where_it_stands() {
    for line in [
        "gcc -c -x c m.in -x none n.c",
        "g++ -c -x c m.c -x c++ n.c",
        "g++ -c m.c -x c n.c",
        "gcc -c --language c++ m.in -xc n.in",
        "clang-19 -c -x c++ m.c -x c n.c",
    ] {
        let world = project();
        let folder = world.dir.path();
        let entries = entries(&world, line);
        assert_eq!(entries.len(), 2, "{line}: {entries:#?}");
        for (output, entry) in &entries {
            assert_eq!(entry.len(), 1, "{line}: {entries:#?}");
            assert!(makes(&entry[0], output, line, folder), "{line}: {entry:#?}");
        }
    }
}
