//! Matches in other mount and pid namespaces, and behind chroot(2): made by bwrap, by unshare with
//! pivot_root, by chroot. The program and its libraries exist only there, at least by these paths.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::typed::nothing_is_left_of;
use crate::support::{Outcome, Running, World, finish, pid_in};

/// What the programs' names end with: a session that watches the whole machine must not take those of
/// another test.
fn mark(world: &World) -> String {
    world.dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_string()
}

/// A folder to be a root, with hello and meeting in its /app, and what they need.
fn jail(world: &World) -> PathBuf {
    let jail = world.path("jail");
    for folder in ["app", "bin", "lib64", "proc", "dev", "old", "tmp"] {
        fs::create_dir_all(jail.join(folder)).unwrap();
    }
    for name in ["hello", "meeting"] {
        let program = world.fixture(name, &["-Wl,-rpath,/lib64"]);
        fs::rename(program, jail.join("app").join(format!("{name}-{}", mark(world)))).unwrap();
    }
    let listed = Command::new("ldd")
        .arg(jail.join("app").join(format!("hello-{}", mark(world))))
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = Path::new(library).file_name().unwrap();
        fs::copy(library, jail.join("lib64").join(name)).unwrap();
    }
    let busybox = which::which("busybox").expect("busybox is needed: apt install busybox-static");
    fs::copy(busybox, jail.join("bin/busybox")).unwrap();
    jail
}

/// A shell's line, run inside by sh, with what comes back of it.
fn contained(how: &str, jail: &Path, line: &str) -> Vec<String> {
    let jail = jail.to_str().unwrap();
    let pivot = "mount --bind $0 $0 && cd $0 && pivot_root . old && \
                 exec /bin/busybox sh -c \"/bin/busybox umount -l /old; $1\"";
    let words = match how {
        "bwrap" => vec!["bwrap", "--unshare-pid", "--bind", jail, "/", "--proc", "/proc"],
        "unshare" => vec!["unshare", "-m", "-p", "-f", "--propagation", "private"],
        _ => vec!["chroot", jail],
    };
    let shell = match how {
        "unshare" => vec!["sh", "-c", pivot, jail, line],
        _ => vec!["/bin/busybox", "sh", "-c", line],
    };
    [words, shell].concat().into_iter().map(String::from).collect()
}

/// Runs it in a container of this kind under a session: with eBPF beside one that watches the whole
/// machine, with ptrace as its COMMAND. What the session came to, and what the container said.
#[track_caller]
fn debug(world: &World, how: &str, options: &[&str], line: &str) -> (Outcome, String) {
    let jail = jail(world);
    let words = contained(how, &jail, &line.replace("MARK", &mark(world)));
    let matching = format!("basename endswith -{}", mark(world));
    let mut session = world.tracexec(["debug", "-v", "-m", &matching]);
    session.args(["--in", "background"]).args(options);
    if crate::support::BACKEND == "ptrace" {
        session.arg("--").args(&words);
        let outcome = finish(world.start(session));
        let said = outcome.out();
        return (outcome, said);
    }
    session.args(["--system", "--once"]);
    let mut session: Running = world.start(session);
    session.stderr_line("events come from eBPF");
    let mut command = Command::new(&words[0]);
    world.prepare(&mut command);
    command.args(&words[1..]);
    let inside = finish(world.start(command));
    (finish(session), inside.out() + &inside.stderr)
}

#[cfg(feature = "ebpf")]
fn available() -> bool {
    crate::support::BACKEND == "ptrace" || crate::support::ebpf::available()
}

#[cfg(not(feature = "ebpf"))]
fn available() -> bool {
    true
}

const KINDS: [&str; 3] = ["bwrap", "unshare", "chroot"];
const HELLO: &str = "/app/hello-MARK a; echo status $?";

#[test]
fn gdb_reaches_main_of_a_program_that_exists_only_inside() {
    if !available() {
        return;
    }
    for how in KINDS {
        let world = World::new();
        let options =
            ["--debugger", "gdb", "--break", "main", "--ex", "bt", "--ex", "info sharedlibrary"];
        let (outcome, said) = debug(&world, how, &options, HELLO);
        let stderr = &outcome.stderr;
        assert!(stderr.contains("Temporary breakpoint 1, main (argc=2"), "{how}: {stderr}");
        assert!(!stderr.contains("Program received"), "{how}: {stderr}");
        // The C library is the container's own.
        let library = stderr.lines().find(|line| line.contains("libc.so.6")).unwrap_or_default();
        assert!(library.contains("/root/lib64/libc.so.6"), "{how}: {stderr}");
        assert_eq!(said, "a\nhello\nstatus 3\n", "{how}: {stderr}");
        nothing_is_left_of(&world);
    }
}

#[test]
fn lldb_reaches_main_of_a_program_that_exists_only_inside() {
    if !available() {
        return;
    }
    for how in KINDS {
        let world = World::new();
        let options = ["--debugger", "lldb", "--break", "main", "--ex", "bt", "--ex", "image list"];
        let (outcome, said) = debug(&world, how, &options, HELLO);
        let stderr = &outcome.stderr;
        assert!(stderr.contains("stop reason = one-shot breakpoint 1"), "{how}: {stderr}");
        assert!(stderr.contains("`main(argc=2"), "{how}: {stderr}");
        assert!(stderr.contains("__libc_start_main"), "{how}: {stderr}");
        assert!(stderr.contains("/root/lib64/libc.so.6"), "{how}: {stderr}");
        assert_eq!(said, "a\nhello\nstatus 3\n", "{how}: {stderr}");
        nothing_is_left_of(&world);
    }
}

#[test]
fn the_threads_of_a_container_are_gdbs_too() {
    if !available() {
        return;
    }
    for how in ["bwrap", "unshare"] {
        let world = World::new();
        let options = ["--debugger", "gdb-backtrace", "--break", "all_there"];
        let (outcome, said) = debug(&world, how, &options, "/app/meeting-MARK; echo status $?");
        let stderr = &outcome.stderr;
        assert!(stderr.contains("all_there () at "), "{how}: {stderr}");
        assert_eq!(stderr.matches(" in worker (unused=0x0)").count(), 3, "{how}: {stderr}");
        assert_eq!(said, "status 6\n", "{how}: {stderr}");
    }
}

#[test]
fn a_template_has_the_paths_and_the_pid_by_both_names() {
    if !available() {
        return;
    }
    for how in KINDS {
        let world = World::new();
        let recorder = world.path("recorder");
        let recorded = world.path("recorded");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >{}\nexec gdb -q -batch -p \"$1\" >/dev/null 2>&1\n",
            recorded.display()
        );
        fs::write(&recorder, script).unwrap();
        fs::set_permissions(&recorder, fs::Permissions::from_mode(0o755)).unwrap();
        let own = format!(
            "{} {{{{pid}}}} {{{{ns_pid}}}} {{{{root}}}} {{{{exe.inside}}}} {{{{exe.outside}}}} {{{{cwd.inside}}}} {{{{cwd.outside}}}}",
            recorder.display()
        );
        let (outcome, said) =
            debug(&world, how, &["--debugger", &own], &format!("cd /app; {HELLO}"));
        assert_eq!(said, "a\nhello\nstatus 3\n", "{how}: {}", outcome.stderr);
        let hit = outcome.stderr.lines().find(|line| line.ends_with(" in background")).unwrap();
        let pid = pid_in(hit);
        let recorded = fs::read_to_string(recorded).unwrap();
        let words: Vec<&str> = recorded.lines().collect();
        let root = format!("/proc/{pid}/root");
        // Where the mounts are the same, its folder has a name of our own.
        let outside =
            if how == "chroot" { world.path("jail").display().to_string() } else { root.clone() };
        assert_eq!(words[0], pid.to_string(), "{how}");
        assert_eq!(words[1] == words[0], how == "chroot", "{how}: {words:?}");
        assert_eq!(words[2], root, "{how}");
        let program = format!("/app/hello-{}", mark(&world));
        assert_eq!(words[3], program, "{how}");
        assert_eq!(words[4], format!("{outside}{program}"), "{how}");
        assert_eq!(words[5], "/app", "{how}");
        assert_eq!(words[6], format!("{outside}/app"), "{how}");
        let told = format!("exe {program}, for us {}", words[4]);
        assert!(outcome.stderr.contains(&told), "{how}: {}", outcome.stderr);
    }
}
