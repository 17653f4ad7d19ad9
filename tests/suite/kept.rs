//! What has been recorded is not lost at the end, whatever becomes of the folder that it is for; and what can be known
//! to fail is an error before COMMAND starts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Outcome, TRACEXEC, World, eventually, finish};
use serde_json::Value;

/// Records a script to `folder/out`, with its temporary files in `temp`.
fn record(world: &World, script: &str) -> Outcome {
    for folder in ["folder", "temp"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    let mut command = world.tracexec(["collect", "--backend", "ptrace", "-F", "json", "-o"]);
    command.args(["folder/out", "--", "sh", "-ec", script]);
    command.current_dir(world.dir.path()).env("TMPDIR", world.path("temp"));
    finish(world.start(command))
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn is_whole(file: &Path) {
    let value: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert!(value["end"].is_object() && !value["events"].as_array().unwrap().is_empty());
}

#[test]
fn a_recording_follows_its_folder_or_comes_back_to_its_name() {
    for (script, folder) in [
        ("mv folder other", "other"),
        ("mv folder other; mkdir folder", "other"),
        // As `git clean` does it.
        ("rm -f folder/.tracexec-*", "folder"),
        ("rm -rf folder; mkdir folder", "folder"),
        ("echo old >folder/out", "folder"),
        ("ln -s /dev/null folder/out", "folder"),
    ] {
        let world = World::new();
        let outcome = record(&world, script);
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{script}");
        is_whole(&world.path(folder).join("out"));
        assert_eq!(names(&world.path(folder)), ["out"], "{script}");
        assert!(names(&world.path("temp")).is_empty(), "{script}");
    }
}

#[test]
fn a_recording_that_cannot_be_placed_is_kept_elsewhere() {
    for (script, folder) in
        [("rm -rf folder", "temp"), ("mkdir folder/out", "folder"), ("mkfifo folder/out", "folder")]
    {
        let world = World::new();
        let outcome = record(&world, script);
        assert_eq!(outcome.code(), 125, "{script}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("error: cannot write "), "{script}: {}", outcome.stderr);
        let kept = outcome.stderr.split("what was recorded is kept in ").nth(1).unwrap().trim();
        assert_eq!(Path::new(kept).parent().unwrap(), world.path(folder), "{script}");
        is_whole(Path::new(kept));
    }
}

#[test]
fn a_recording_that_a_full_disk_cuts_off_is_kept_beside_the_file() {
    for format in ["json", "perfetto"] {
        let world = World::new();
        fs::create_dir(world.path("folder")).unwrap();
        fs::write(world.path("folder/out"), "before").unwrap();
        // What is too large for the limit is refused as what is too large for the disk.
        let script = "ulimit -f 16; trap '' XFSZ; exec \"$0\" \"$@\"";
        let execs = "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); /bin/true $i; done";
        let mut command = Command::new("bash");
        command.args(["-c", script, TRACEXEC, "collect", "--backend", "ptrace", "-F", format]);
        command.args(["-o", "folder/out", "--", "sh", "-c", execs]);
        world.prepare(&mut command);
        command.current_dir(world.dir.path());
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{format}: {}", outcome.stderr);
        let said = "what was written before is kept in ";
        let kept =
            outcome.stderr.split(said).nth(1).unwrap_or_else(|| panic!("{}", outcome.stderr));
        assert!(fs::metadata(kept.trim()).unwrap().len() > 4096, "{}", outcome.stderr);
        assert_eq!(names(&world.path("folder")).len(), 2);
        assert_eq!(fs::read(world.path("folder/out")).unwrap(), b"before");
    }
}

#[test]
fn what_could_not_be_replaced_at_the_end_is_an_error_at_the_beginning() {
    let world = World::new();
    let file = world.path("sticky/out");
    fs::create_dir(world.path("sticky")).unwrap();
    fs::write(&file, "before").unwrap();
    // Another user's file in another user's sticky folder.
    chown(&file, Some(1), Some(1)).unwrap();
    chown(world.path("sticky"), Some(1), Some(1)).unwrap();
    fs::set_permissions(world.path("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    let ways: [&[&str]; 3] = [
        &["collect", "--backend", "ptrace", "-F", "json"],
        &["collect", "--backend", "ptrace", "-F", "html"],
        &["log", "--backend", "ptrace", "--rotate", "1M"],
    ];
    let refused = |outcome: &Outcome, why: &str| {
        assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("error: cannot write "), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        assert_eq!(fs::read(&file).unwrap(), b"before");
        assert_eq!(names(&world.path("sticky")), ["out"]);
        assert!(!world.path("ran").exists());
    };
    for way in ways {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-fowner", "--inh-caps", "-all", TRACEXEC]).args(way);
        command.arg("-o").arg(&file).arg("--").arg("touch").arg(world.path("ran"));
        world.prepare(&mut command);
        refused(&finish(world.start(command)), "Operation not permitted");
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" \"$0\"; exec \"$@\"";
        command.args(["-m", "sh", "-ec", script]).arg(&file).arg(TRACEXEC).args(way);
        command.arg("-o").arg(&file).arg("--").arg("touch").arg(world.path("ran"));
        world.prepare(&mut command);
        refused(&finish(world.start(command)), "it is a mount point and cannot be replaced");
    }
}

#[test]
fn an_interrupted_report_leaves_no_file() {
    let world = World::new();
    let outcome = record(&world, ":");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let recording = world.path("folder/out");
    let empty = world.path("empty");
    fs::create_dir(&empty).unwrap();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL] {
        for format in ["json", "html", "perfetto", "compile-commands"] {
            let mut command = world.tracexec(["report", "-", "-F", format, "-o", "out"]);
            command.current_dir(&empty).stdin(Stdio::piped());
            let mut running = world.start(command);
            let folder = format!("/proc/{}/fd", running.pid());
            // It waits for more, and has what it writes to.
            eventually("an output", || {
                running.assert_runs();
                let targets = fs::read_dir(&folder).ok()?.flatten();
                let mut targets = targets.filter_map(|fd| fs::read_link(fd.path()).ok());
                targets.find(|target: &PathBuf| target.starts_with(&empty) && *target != empty)
            });
            running.signal(signal);
            let outcome = finish(running);
            assert_eq!(outcome.code(), 1000 + signal, "{format}: {}", outcome.stderr);
            assert!(names(&empty).is_empty(), "{format} {signal}: {:?}", names(&empty));
        }
    }
    // One that is not interrupted has what every new file has.
    let mut command = world.tracexec(["report", "-F", "json", "-o", "out"]);
    command.arg(&recording).current_dir(&empty);
    assert_eq!(finish(world.start(command)).code(), 0);
    assert_eq!(names(&empty), ["out"]);
    is_whole(&empty.join("out"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&empty.join("out")), mode(&recording));
}
