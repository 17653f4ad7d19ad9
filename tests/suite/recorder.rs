//! A log of days: files of a limited size, and the journal.

use std::fs;
use std::process::Command;

use crate::support::{BACKEND, TRACEXEC, World, finish};

#[test]
fn a_log_begins_anew_when_it_is_large_and_keeps_so_many_older_ones() {
    let world = World::new();
    let log = world.path("execs.log");
    fs::write(&log, "from before\n").unwrap();
    let script = "i=0; while [ $i -lt 60 ]; do i=$((i + 1)); /bin/echo $i of them >/dev/null; done";
    let options = ["--rotate", "1K", "--keep", "3", "--no-diff-env", "--no-diff-fd", "-o"];
    let outcome = world.run(
        [
            &["log", "--backend", BACKEND][..],
            &options,
            &[log.to_str().unwrap(), "--", "sh", "-c", script],
        ]
        .concat(),
    );
    assert!(outcome.status.success(), "{}", outcome.stderr);
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap_or_default();
    let files = ["execs.log.3", "execs.log.2", "execs.log.1", "execs.log"].map(read);
    assert!(!world.path("execs.log.4").exists());
    for file in &files {
        assert!(file.len() <= 1024 && file.ends_with('\n'), "{file}");
    }
    let standard = ["log", "--rotate", "1K", "-o", "-", "--", "true"];
    let outcome = world.run(standard);
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--rotate: standard output"), "{}", outcome.stderr);
    // What is left is the end of it, without a gap.
    let all = files.concat();
    let numbers: Vec<u32> = all
        .lines()
        .filter_map(|line| line.split("[\"/bin/echo\", \"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    assert_eq!(numbers.last(), Some(&60), "{all}");
    assert!(numbers.len() > 20 && numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{all}");
}

#[test]
fn what_is_no_regular_file_is_not_rotated_and_nothing_runs() {
    let world = World::new();
    let files = world.path("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("file"), "before\n").unwrap();
    // The device is that of /dev/null, under a name of the test's own.
    let made = "mknod null c 1 3; mkfifo fifo; ln -s file link; ln -s none dangling; mkdir folder.2; \
                touch second; ln -s file second.1; touch folder; ln -s /dev/stdout stdout";
    let made = Command::new("sh").args(["-ec", made]).current_dir(&files).status().unwrap();
    assert!(made.success(), "root is needed to make a device");
    let all = || {
        let list = Command::new("ls").args(["-lin", "--time-style=full-iso"]).arg(&files).output();
        String::from_utf8(list.unwrap().stdout).unwrap()
    };
    let before = all();
    for (name, said) in [
        ("null", "null is not a regular file"),
        ("fifo", "fifo is not a regular file"),
        ("link", "link is a symbolic link"),
        ("dangling", "dangling is a symbolic link"),
        ("second", "second.1 is a symbolic link"),
        ("folder", "folder.2 is not a regular file"),
        ("stdout", "stdout is a symbolic link"),
        ("/dev/stdout", "/dev/stdout is a symbolic link"),
        ("/proc/self/fd/1", "/proc/self/fd/1 is a symbolic link"),
    ] {
        let mut command = world.tracexec(["log", "--backend", BACKEND, "--rotate", "10", "-o"]);
        command.args([name, "--", "touch", "has-run"]).current_dir(&files);
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""), "{name}");
        let said = format!("error: --rotate: {said} and cannot be rotated\n");
        assert!(outcome.stderr.contains(&said), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("hint: name a regular file"), "{}", outcome.stderr);
        assert_eq!(all(), before, "{name}");
    }
}

#[test]
fn a_link_that_comes_later_is_not_rotated_either() {
    let world = World::new();
    let log = world.path("execs.log");
    fs::write(world.path("other"), "before\n").unwrap();
    let script = "while [ ! -e execs.log ]; do :; done; ln -sf other execs.log; \
                  for i in 1 2 3 4 5 6 7 8 9; do /bin/echo $i $(seq 99) >/dev/null; done";
    let mut command = world.tracexec(["log", "--backend", BACKEND, "--rotate", "1K"]);
    command.args(["--no-diff-env", "--no-diff-fd", "-o"]);
    command.arg(&log).args(["--", "sh", "-c", script]).current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("execs.log is a symbolic link"), "{}", outcome.stderr);
    assert!(fs::symlink_metadata(&log).unwrap().is_symlink());
    assert!(!world.path("execs.log.1").exists());
}

#[test]
fn a_file_that_is_emptied_meanwhile_goes_on_at_its_beginning() {
    for way in [&["log"][..], &["collect", "-F", "json-stream"]] {
        for there_before in [false, true] {
            let world = World::new();
            let file = world.path("file");
            if there_before {
                fs::write(&file, "before\n").unwrap();
            }
            // As logrotate's copytruncate does it, once something has been written.
            let script = "/bin/true first; while ! grep -q first copy; do cp file copy; done; \
                          : >file; /bin/true second";
            let mut command = world.tracexec(way);
            command.args(["--backend", BACKEND, "-o", "file", "--", "sh", "-c", script]);
            command.current_dir(world.dir.path()).env("PATH", "/usr/bin:/bin");
            let outcome = finish(world.start(command));
            assert_eq!(outcome.code(), 0, "{way:?}: {}", outcome.stderr);
            let text = fs::read(&file).unwrap();
            assert!(!text.contains(&0), "{way:?}: {}", String::from_utf8_lossy(&text));
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("\"second\"") && !text.contains("before"), "{way:?}: {text}");
        }
    }
}

/// journald has a directory of its own, so that it is not the machine's.
const IN_JOURNAL: &str = r#"
    mount -t tmpfs none /run
    mkdir -p /run/systemd/journal
    /lib/systemd/systemd-journald & daemon=$!
    until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/io.systemd.journal ]; do
        kill -0 $daemon || exit 9
    done
    "$@"; status=$?
    journalctl --sync || exit 8
    journalctl -D /run/log/journal -o json --output-fields=MESSAGE,TRACEXEC_CMDLINE,TRACEXEC_EXE,OBJECT_PID,TRACEXEC_RESULT -t tracexec
    kill $daemon; wait $daemon
    exit $status
"#;

#[test]
fn the_journal_has_a_field_for_each_thing_that_is_known() {
    let world = World::new();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--root", "/", "sh", "-c", IN_JOURNAL, "sh"]);
    command.args([TRACEXEC, "log", "--backend", BACKEND, "--journal", "--", "sh", "-c"]);
    command.arg("/bin/echo \"a\nb\" $(printf '\\377') >/dev/null; exit 3");
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    let entries: Vec<serde_json::Value> =
        outcome.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let echo = entries.iter().find(|entry| entry["TRACEXEC_EXE"] == "/usr/bin/echo");
    let echo = echo.unwrap_or_else(|| panic!("{entries:#?}"));
    assert_eq!(echo["TRACEXEC_RESULT"], "0");
    assert!(echo["MESSAGE"].as_str().unwrap().contains("\"a\\nb\""), "{echo}");
    // Bytes that are not UTF-8 are an array there.
    let line: Vec<u8> = serde_json::from_value(echo["TRACEXEC_CMDLINE"].clone()).unwrap();
    assert_eq!(line, b"/bin/echo a\nb \xff");
}

#[test]
fn without_a_journal_there_is_an_error() {
    let world = World::new();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--root",
        "/",
        "sh",
        "-c",
        "mount -t tmpfs none /run; exec \"$@\"",
        "sh",
    ]);
    command.args([TRACEXEC, "log", "--journal", "--", "true"]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("--rotate SIZE"), "{}", outcome.stderr);
}
