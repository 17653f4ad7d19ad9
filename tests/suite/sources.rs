//! Rules that every source file keeps.

use std::fs;
use std::path::{Path, PathBuf};

/// How files are opened.
const OPENS: [&str; 7] = [
    "File::open(",
    "fs::read(",
    "fs::read_to_string(",
    "OpenOptions::new()",
    "File::options()",
    "fcntl::open(",
    "libc::open(",
];

/// What only the kernel or the user's terminal can be, and nobody else chooses.
const FIXED: [&str; 4] = ["\"/proc/", "\"/sys/", "\"/dev/tty\"", "\"/dev/null\""];

/// Where files may be opened, and why.
const MAY: [(&str, &str); 13] = [
    ("linux/files.rs", "the place for it"),
    ("machine/procfs.rs", "/proc alone"),
    ("source/ptrace/wrap.rs", "/proc/PID/mem, to write"),
    ("linux/sys/memory.rs", "a file of the kernel's"),
    ("source/ebpf/layout.rs", "the same file, where it cannot be mapped"),
    ("machine/diagnose.rs", "tracefs"),
    ("commands/doctor/facts.rs", "files of the kernel's"),
    ("trace/sinks/target.rs", "what -o names, before COMMAND runs"),
    ("trace/sinks/rotate.rs", "what -o names"),
    ("debug/journal.rs", "what --hits-json names, with O_NONBLOCK"),
    ("linux/caller.rs", "what those two name, with their flags"),
    ("commands/report.rs", "what `report` is called for, which may be a FIFO"),
    ("debug/repro/descriptors.rs", "what `rerun` opens for the program"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_file_is_opened_but_where_nothing_can_block() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &mut all);
    assert!(all.len() > 100);
    let mut wrong = Vec::new();
    for path in &all {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        if name.ends_with("tests.rs") || MAY.iter().any(|(may, _)| *may == name) {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        // Tests stand at the end.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line = line.replace("procfs::", "");
            let opens = OPENS.iter().any(|open| line.contains(open));
            if opens && !FIXED.iter().any(|fixed| line.contains(fixed)) {
                wrong.push(format!("src/{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    let wrong = wrong.join("\n");
    assert!(wrong.is_empty(), "use crate::linux::files, or procfs::open for /proc/PID:\n{wrong}");
    for (name, why) in MAY {
        assert!(root.join(name).exists(), "{name} ({why}) is gone");
    }
}
