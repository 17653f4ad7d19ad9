//! What `--save` keeps of a match, and that the match then runs on, or goes where it was to go.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{BACKEND, Outcome, World, eventually, finish, pid_in, state};

/// The folders of the hits, by name.
fn folders(world: &World) -> Vec<PathBuf> {
    // There may be none yet.
    let entries = fs::read_dir(world.path("kept")).into_iter().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn save(world: &World, what: &str, options: &[&str], filter: &str, script: &str) -> Outcome {
    let kept = world.path("kept");
    let mut all = vec!["-m", filter, "--save", what, "--to", kept.to_str().unwrap()];
    all.extend(options);
    world.debug_sh(&all, script)
}

#[test]
fn each_match_has_its_folder_and_runs_on_to_its_end() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let script = format!("for i in 1 2 3; do '{}' $i; echo status $?; done", hello.display());
    let outcome = save(&world, "core,backtrace,repro", &[], "basename=hello", &script);
    let expected: String = (1..4).map(|i| format!("{i}\nhello\nstatus 3\n")).collect();
    assert_eq!((outcome.code(), outcome.out()), (0, expected), "{}", outcome.stderr);
    let folders = folders(&world);
    assert_eq!(folders.len(), 3, "{}", outcome.stderr);
    assert_eq!(fs::metadata(world.path("kept")).unwrap().mode() & 0o777, 0o700);
    for folder in folders {
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(files(&folder), ["backtrace.txt", "core", "hit.json", "repro.sh"]);
        let name = folder.file_name().unwrap().to_str().unwrap();
        let number = name.rsplit('.').next().unwrap();
        let backtrace = fs::read_to_string(folder.join("backtrace.txt")).unwrap();
        let line = format!("{} {number}\n", hello.display());
        assert!(backtrace.starts_with(&line), "{backtrace}");
        assert!(backtrace.contains("\nrip ") && backtrace.contains("\n#0 "), "{backtrace}");
        let output = Command::new("gdb")
            .args(["-q", "-batch", "-nx", "-ex", "info proc", "-ex", "bt"])
            .args([&hello, &folder.join("core")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("hello ") && text.contains("#0 "), "{text}");
        assert!(
            outcome.stderr.contains(&format!("repro, core, backtrace in {}", folder.display()))
        );
    }
}

#[test]
fn lldb_writes_the_backtrace_for_who_chooses_it() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let script = format!("'{}'; echo status $?", hello.display());
    let options = ["--debugger", "lldb-backtrace", "--break", "main"];
    let outcome = save(&world, "backtrace", &options, "basename=hello", &script);
    assert_eq!(outcome.out(), "hello\nstatus 3\n", "{}", outcome.stderr);
    let folder = &folders(&world)[0];
    assert_eq!(files(folder), ["backtrace.txt"]);
    let backtrace = fs::read_to_string(folder.join("backtrace.txt")).unwrap();
    assert!(backtrace.contains("thread #1") && backtrace.contains("rip = "), "{backtrace}");
    // Then it was lldb's turn with the process itself, which ran on to main.
    let header = "hit 1 ----";
    let (_, shown) = outcome.stderr.split_once(header).unwrap();
    assert!(shown.contains("frame #0") && shown.contains("hello`main(argc=1"), "{shown}");
    assert!(shown.contains("(int) argc = 1"), "{shown}");
}

#[test]
fn gdb_backtrace_shows_variables_and_registers_under_a_header() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let script = format!("'{}' one; echo status $?", hello.display());
    let options = ["-m", "basename=hello", "--debugger", "gdb-backtrace", "--break", "main"];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!(outcome.out(), "one\nhello\nstatus 3\n", "{}", outcome.stderr);
    let (_, shown) = outcome.stderr.split_once("---- tracexec: process ").unwrap();
    for what in [", hit 1 ----\n", "\nrip ", "#0  main (argc=2", "i = "] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
}

#[test]
fn a_debugger_or_a_wrapper_comes_after_it() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let script = format!("'{}'; echo status $?", hello.display());
    for options in [
        &["--debugger", "gdb", "--in", "background", "--break", "main", "--ex", "continue"][..],
        &["--wrap", "env"],
    ] {
        let outcome = save(&world, "core,repro", options, "basename=hello", &script);
        assert_eq!(outcome.out(), "hello\nstatus 3\n", "{}", outcome.stderr);
        let after =
            if options[0] == "--wrap" { "under env" } else { "Temporary breakpoint 1, main" };
        let saved = outcome.stderr.find("repro, core in ").unwrap();
        assert!(outcome.stderr.find(after).is_some_and(|at| at > saved), "{}", outcome.stderr);
    }
    assert_eq!(folders(&world).len(), 2);
}

#[test]
fn command_itself_is_saved_and_goes_on() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for (options, after) in [
        (&[][..], ""),
        (&["--debugger", "gdb-backtrace", "--break", "main"], "#0  main ("),
        (&["--wrap", "env"], ": under env\n"),
    ] {
        let mut command = world.tracexec(["debug", "-m", "basename=hello", "--save", "core"]);
        command.args(options).arg("--to").arg(world.path("kept")).arg("--").arg(&hello);
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(after), "{}", outcome.stderr);
    }
    assert_eq!(folders(&world).len(), 3);
}

#[test]
fn what_a_saved_program_executes_is_watched_as_ever() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    // Matches from which others come; COMMAND is one, too.
    let script = format!("bash -c \"'{}'; echo \\$?\"; exit 7", hello.display());
    let filter = "basename=bash or basename=hello";
    for options in [&[][..], &["--wrap", "env"]] {
        let mut command = world.tracexec(["debug", "-m", filter, "--save", "repro"]);
        command.args(options).arg("--to").arg(world.path("kept"));
        command.args(["--", "bash", "-c", &script]);
        let outcome = finish(world.start(command));
        assert_eq!(
            (outcome.code(), outcome.out().as_str()),
            (7, "hello\n3\n"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stderr.matches(": repro in ").count(), 3, "{}", outcome.stderr);
        assert_eq!(
            outcome.stderr.matches(": under env").count(),
            if options.is_empty() { 0 } else { 3 },
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(folders(&world).len(), 6);
}

#[test]
fn one_that_is_held_stays_so() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let kept = world.path("kept");
    let args = ["debug", "-m", "basename=hello", "--hold", "--save", "core", "--to"];
    let mut command = world.tracexec(args);
    command.arg(&kept).arg("--").args(["sh", "-c", &format!("'{}'; exit $?", hello.display())]);
    let mut running = world.start(command);
    let pid = pid_in(&running.stderr_line(": held"));
    eventually("state T", || (state(pid) == Some('T')).then_some(()));
    assert_eq!(files(&folders(&world)[0]), ["core"]);
    world.run(["release", &pid.to_string()]);
    let outcome = finish(running);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
}

#[test]
fn an_end_meanwhile_lets_it_run_and_leaves_no_half_of_anything() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let templates = world.path("config/tracexec/launch-templates/debuggers");
    fs::create_dir_all(&templates).unwrap();
    let text = "name = 'gdb-backtrace'\ndescription = 'slow'\nprograms = ['gdb']\n\
                command = '{{program}} -q -nx -batch -p {{pid}} -ex \"shell sleep 1000; : WORLD\"'\n";
    let mark = format!("sleep 1000; : {}", world.dir.path().display());
    let text = text.replace("sleep 1000; : WORLD", &mark);
    fs::write(templates.join("slow.toml"), text).unwrap();
    let mut command = world.tracexec(["debug", "-m", "basename=hello", "--save", "backtrace,core"]);
    command.arg("--to").arg(world.path("kept"));
    let status = world.path("status");
    let script = format!("'{}'; echo $? >'{}'", hello.display(), status.display());
    command.args(["--", "sh", "-c", &script]);
    let mut running = world.start(command);
    let hit = eventually("a traced process", || {
        running.assert_runs();
        let pids = crate::support::processes_with(hello.to_str().unwrap());
        pids.into_iter().find(|&pid| {
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            let traced = crate::support::status_of(pid, "TracerPid");
            // Not by us, for the core.
            let core = folders(&world).first().is_some_and(|folder| folder.join("core").exists());
            exe.is_ok_and(|exe| exe == hello) && core && traced.is_some_and(|pid| pid != "0")
        })
    });
    assert!(world.run(["ps"]).out().contains(" saving "), "{hit}");
    running.signal(libc::SIGTERM);
    let outcome = finish(running);
    assert_eq!(outcome.code(), 128 + libc::SIGTERM, "{}", outcome.stderr);
    let found = eventually("the program's end", || {
        fs::read_to_string(&status).ok().filter(|text| !text.is_empty())
    });
    assert_eq!(found, "3\n");
    assert_eq!(files(&folders(&world)[0]), ["backtrace.partial.txt", "core"]);
    eventually("the debugger's end", || {
        crate::support::processes_with(&mark).is_empty().then_some(())
    });
}

#[test]
fn what_a_full_disk_cuts_short_is_not_reported_as_saved() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    // What is too large for the limit is refused as what is too large for the disk.
    let script = "ulimit -f 1; trap '' XFSZ; exec \"$0\" \"$@\"";
    let options = ["debug", "--backend", BACKEND, "-m", "basename=hello", "--save"];
    for (what, left) in
        [("backtrace", &["backtrace.partial.txt"][..]), ("core", &[]), ("repro", &[])]
    {
        let _ = fs::remove_dir_all(world.path("kept"));
        let mut command = Command::new("bash");
        command.args(["-c", script, crate::support::TRACEXEC]).args(options).arg(what);
        command.arg("--to").arg(world.path("kept")).arg("--").arg(&hello);
        // Of the repro, the script has room, and the record has not.
        command.arg("x".repeat(600));
        world.prepare(&mut command);
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
        let said = &outcome.stderr;
        assert!(said.contains(": nothing in ") && said.contains(&format!("no {what}: ")), "{said}");
        assert!(said.contains("File too large"), "{said}");
        assert_eq!(files(&folders(&world)[0]), left, "{said}");
    }
}

#[test]
fn the_lines_of_json_name_the_folder() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let json = world.path("json");
    let options = ["--hits-json", json.to_str().unwrap()];
    save(&world, "repro", &options, "basename=hello", &format!("'{}'", hello.display()));
    let text = fs::read_to_string(json).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["saved"].as_str(), folders(&world)[0].to_str());
    assert_eq!((last["stage"].as_str(), last["end"].as_str()), (Some("over"), Some("released")));
    assert!(lines[0]["saved"].is_null());
}

#[test]
fn a_hostile_name_stays_in_the_folder() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let odd = world.path(".. $(touch owned)\n\x1b[2J");
    fs::copy(&hello, &odd).unwrap();
    let mut command =
        world.tracexec(["debug", "-m", "argc=1", "--save", "repro,backtrace", "--to"]);
    command.arg(world.path("kept")).arg("--").arg(&odd).current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    let folder = &folders(&world)[0];
    let name = folder.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("%2e.%20%24%28touch%20owned%29%0a%1b%5b2J."), "{name}");
    assert!(!outcome.stderr.contains('\x1b'), "{}", outcome.stderr);
    let again = Command::new(folder.join("repro.sh")).output().unwrap();
    assert_eq!((again.status.code(), again.stdout.as_slice()), (Some(3), &b"hello\n"[..]));
    assert!(!world.path("owned").exists());
}

#[test]
fn the_folders_above_are_made_too() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let to = world.path("kept").join("by").join("program");
    let script = format!("'{}'; exit $?", hello.display());
    let options = ["-m", "basename=hello", "--save", "repro", "--to", to.to_str().unwrap()];
    let outcome = world.debug_sh(&options, &script);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1, "{}", outcome.stderr);
    for folder in [&to, to.parent().unwrap(), &world.path("kept")] {
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
    }
}

#[test]
fn where_nothing_can_be_written_that_is_said_and_the_program_runs_on() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let file = world.file("file", "");
    let script = format!("'{}'; exit $?", hello.display());
    let to = file.join("kept");
    let options = ["-m", "argc>0", "--save", "core", "--to", to.to_str().unwrap()];
    let outcome = world.debug_sh(&options, "echo ran");
    assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""));
    assert!(outcome.stderr.contains("cannot make this folder"), "{}", outcome.stderr);
    // A limit has the effect of a full disk.
    let tracexec =
        world.tracexec(["debug", "-m", "basename=hello", "--save", "core,repro", "--to"]);
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -f 32; exec \"$@\"", "bash"]);
    command.arg(tracexec.get_program()).args(tracexec.get_args());
    command.arg(world.path("kept")).args(["--", "sh", "-c", &script]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("no core: cannot write it: File too large"),
        "{}",
        outcome.stderr
    );
    assert_eq!(files(&folders(&world)[0]), ["hit.json", "repro.sh"]);
}

#[test]
fn under_sudo_it_is_the_caller_s() {
    let user = crate::support::user::User::new();
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = world.path("home");
    fs::create_dir(&home).unwrap();
    user.give(&home);
    let mut command = world.tracexec(["debug", "-m", "basename=hello"]);
    command.args(["--save", "core,backtrace,repro", "--to"]).arg(home.join("kept"));
    command.arg("--").arg(&hello);
    command.env("SUDO_UID", user.uid.to_string()).env("SUDO_GID", user.gid.to_string());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    let folder = fs::read_dir(home.join("kept")).unwrap().next().unwrap().unwrap().path();
    let mut paths: Vec<PathBuf> = files(&folder).iter().map(|name| folder.join(name)).collect();
    assert_eq!(paths.len(), 4, "{}", outcome.stderr);
    paths.extend([folder, home.join("kept")]);
    for path in paths {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (user.uid, user.gid), "{}", path.display());
    }
}

/// What `itself` says, without what differs from run to run.
fn said(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with("process "));
    lines.map(String::from).collect()
}

/// A command that `itself` is executed by, with odd words, variables and descriptors.
fn odd(world: &World, itself: &Path, name: Option<&str>) -> Command {
    let input = world.file("input", "0123456789");
    let (output, log) = (world.file("out\nput", "0123456789"), world.file("log", "first\n"));
    let name = name.map(|name| format!("-a '{name}'")).unwrap_or_default();
    let script = format!(
        "exec 7<\"$1\" 8<>\"$2\" 9>>\"$3\" 12</dev/null; read -n3 x <&7; shift 3; umask 027; exec {name} \"$@\""
    );
    let kept = world.path("kept");
    let mut command =
        world.tracexec(["debug", "-m", "filename endswith itself", "--save", "repro"]);
    command.arg("--to").arg(kept).args(["--", "bash", "-c", &script, "bash"]);
    command.args([&input, &output, &log]).arg(itself);
    let words: [&[u8]; 8] = [
        b"",
        b"a b",
        b"it's \"$x\" `y`",
        b"two\nlines\t",
        b"\xff\x80",
        "é".as_bytes(),
        b"-n",
        b"*",
    ];
    command.args(words.map(OsStr::from_bytes));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    world.prepare(&mut command);
    for (name, value) in [
        (&b"-dash"[..], &b"1"[..]),
        (b"a b", b"in the name"),
        (b"with.dot", b"x"),
        (b"QUOTES", b"'\"$(touch owned)`touch owned`\\"),
        (b"LINES_", b"one\ntwo"),
        (b"BYTES", b"\xfe\xff"),
        (b"BYTES\xff", b"1"),
        (b"EMPTY", b""),
        (b"SHLVL", b"7"),
        (b"EQUALS", b"a=b="),
    ] {
        command.env(OsStr::from_bytes(name), OsString::from_vec(value.to_vec()));
    }
    command.current_dir(world.dir.path());
    command
}

#[test]
fn the_script_runs_it_exactly_as_it_was() {
    for name in [None, Some("another name"), Some("")] {
        let world = World::new();
        let itself = world.fixture("itself", &[]);
        let outcome = finish(world.start(odd(&world, &itself, name)));
        assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
        assert!(
            outcome.out().contains("descriptor 7 at 3 ")
                && outcome.out().contains("argument \\ff\\80\n")
        );
        let record = fs::read_to_string(folders(&world)[0].join("hit.json")).unwrap();
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/hit.json");
        let schema = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
        assert!(jsonschema::is_valid(&schema, &serde_json::from_str(&record).unwrap()), "{record}");
        let script = folders(&world)[0].join("repro.sh");
        let mut command = Command::new(&script);
        command.current_dir("/").env("OF_NOBODY", "1");
        world.prepare(&mut command);
        let again = finish(world.start(command));
        assert_eq!(again.code(), 3, "{}", again.stderr);
        assert_eq!(said(&again.out()), said(&outcome.out()), "{name:?} {}", again.stderr);
        // Whoever runs the tests may have left open what cannot be opened again.
        let ours = |line: &&str| !line.ends_with(" and is not there");
        assert_eq!(again.stderr.lines().filter(ours).count(), 0, "{}", again.stderr);
        assert!(!world.path("owned").exists());
    }
}

#[test]
fn the_script_runs_nothing_from_the_descriptors_that_shells_use() {
    let world = World::new();
    let itself = world.fixture("itself", &[]);
    let hostile = world.file("hostile", "touch owned\n".repeat(2000));
    let open: String = [10, 11, 62, 63, 254, 255]
        .map(|number| format!("exec {number}<\"$1\"; read -rn 6 x <&{number}\n"))
        .concat();
    let mut command =
        world.tracexec(["debug", "-m", "filename endswith itself", "--save", "repro", "--to"]);
    command.arg(world.path("kept")).args([
        "--",
        "bash",
        "-c",
        &format!("{open}exec \"$2\" x"),
        "bash",
    ]);
    command.args([&hostile, &itself]).current_dir(world.dir.path());
    // So much that bash does not read all of the script at once.
    command.env("LONG", "x".repeat(30_000));
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    let folder = &folders(&world)[0];
    let script = folder.join("repro.sh");
    let text = fs::read(&script).unwrap();
    let of_path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| vec!["bash".to_string(), "-c".into(), script.into()];
    for (words, stdin) in [
        (vec![script.to_str().unwrap().to_string()], false),
        (shell("cd \"$0\" && exec bash repro.sh"), false),
        (shell("PATH=$0:$PATH exec repro.sh"), false),
        (shell("ulimit -n 256 && cd \"$0\" && exec ./repro.sh"), false),
        (vec!["bash".to_string()], true),
    ] {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(folder).env("PATH", &of_path);
        if stdin {
            command = Command::new("bash");
        }
        command.current_dir(world.dir.path());
        world.prepare(&mut command);
        command.stdin(if stdin { fs::File::open(&script).unwrap().into() } else { Stdio::null() });
        let again = finish(world.start(command));
        assert!(!world.path("owned").exists(), "{words:?}");
        assert_eq!(again.code(), 3, "{words:?} {}", again.stderr);
        assert_eq!(said(&again.out()), said(&outcome.out()), "{words:?} {}", again.stderr);
    }
    // One that is cut short runs nothing at all.
    let half = world.file("half.sh", &text[..text.len() - 3]);
    let again = finish(world.start({
        let mut command = Command::new("bash");
        command.arg(half).current_dir(world.dir.path());
        command
    }));
    assert!(again.code() != 0 && again.out().is_empty(), "{}", again.stderr);
}

#[test]
fn a_program_that_cannot_be_run_again_is_an_error_on_the_terminal() {
    let world = World::new();
    let itself = world.fixture("itself", &[]);
    let log = world.file("log", "");
    let mut command =
        world.tracexec(["debug", "-m", "filename endswith itself", "--save", "repro", "--to"]);
    command.arg(world.path("kept")).args(["--", "sh", "-c", "exec \"$0\" 2>log"]).arg(&itself);
    command.current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    fs::set_permissions(&itself, fs::Permissions::from_mode(0o644)).unwrap();
    let mut rerun = world.tracexec(["rerun", "--hold", "--backend", crate::support::BACKEND]);
    rerun.arg(&folders(&world)[0]);
    let again = finish(world.start(rerun));
    let message = format!("error: cannot execute {}: Permission denied", itself.display());
    assert!(again.code() != 0 && again.stderr.contains(&message), "{}", again.stderr);
    assert_eq!(fs::read_to_string(log).unwrap(), "");
}

#[test]
fn a_response_file_that_is_gone_is_replaced_by_its_words() {
    let world = World::new();
    let itself = world.fixture("itself", &[]);
    let words = world.file("words", "-x \"a b\" @none $(touch$IFS''owned)\n");
    let mut command =
        world.tracexec(["debug", "-m", "filename endswith itself", "--save", "repro", "--to"]);
    command
        .arg(world.path("kept"))
        .arg("--")
        .arg(&itself)
        .args(["first", "@words", "@none", "last"]);
    command.current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    let folder = &folders(&world)[0];
    let record = fs::read_to_string(folder.join("hit.json")).unwrap();
    assert!(record.contains("\"responses\""), "{record}");
    let arguments = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("argument "));
        lines.skip(1).map(String::from).collect()
    };
    for there in [true, false] {
        let mut script = Command::new(folder.join("repro.sh"));
        world.prepare(&mut script);
        let mut rerun = world.tracexec(["rerun", "--debugger", "gdb-backtrace"]);
        rerun.arg(folder).args(["--backend", crate::support::BACKEND]);
        for mut command in [script, rerun] {
            command.current_dir("/");
            let again = finish(world.start(command));
            assert_eq!(again.code(), 3, "{}", again.stderr);
            let found = arguments(&again.out());
            if there {
                assert_eq!(found, ["first", "@words", "@none", "last"]);
            } else {
                let words = ["-x", "a\\20b", "@none", "$(touch$IFSowned)"];
                assert_eq!(found, [&["first"][..], &words, &["@none", "last"]].concat());
                assert!(again.stderr.contains("is gone: its words"), "{}", again.stderr);
            }
        }
        let _ = fs::remove_file(&words);
    }
    assert!(!world.path("owned").exists());
}

#[test]
fn a_directory_that_cannot_be_read_is_the_present_one() {
    let world = World::new();
    let itself = world.fixture("itself", &[]);
    // No link of /proc is longer than a page.
    let deeper = "d=$(printf %0200d 0); for i in $(seq 25); do mkdir $d && cd -P $d; done";
    let script = format!("{deeper}; exec '{}'", itself.display());
    let mut command =
        world.tracexec(["debug", "-m", "filename endswith itself", "--save", "repro", "--to"]);
    command
        .arg(world.path("kept"))
        .args(["--", "bash", "-c", &script])
        .current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    let folder = &folders(&world)[0];
    let mut command = Command::new(folder.join("repro.sh"));
    command.current_dir("/");
    world.prepare(&mut command);
    let mut rerun = world.tracexec(["rerun", "--debugger", "gdb-backtrace"]);
    rerun.arg(folder).args(["--backend", crate::support::BACKEND]).current_dir("/");
    for command in [command, rerun] {
        let again = finish(world.start(command));
        assert_eq!(again.code(), 3, "{}", again.stderr);
        assert!(
            again.stderr.contains("the working directory could not be read"),
            "{}",
            again.stderr
        );
        assert!(again.out().contains("directory /\n"), "{}", again.out());
    }
}

#[test]
fn rerun_does_so_under_a_debugger() {
    for name in [None, Some("another name")] {
        let world = World::new();
        let itself = world.fixture("itself", &[]);
        let outcome = finish(world.start(odd(&world, &itself, name)));
        assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
        let folder = &folders(&world)[0];
        let folder = folder.to_str().unwrap();
        let backend = ["--backend", crate::support::BACKEND];
        let mut command =
            world.tracexec(["rerun", folder, "--debugger", "gdb", "--in", "background"]);
        command.args(backend).args(["--break", "main", "--ex", "print argc", "--ex", "continue"]);
        command.current_dir("/").env("OF_NOBODY", "1");
        let again = finish(world.start(command));
        assert_eq!(again.code(), 3, "{}", again.stderr);
        assert!(again.stderr.contains("$1 = 9\n"), "{}", again.stderr);
        // The descriptors of gdb's own are none of the program's.
        assert_eq!(said(&again.out()), said(&outcome.out()), "{name:?} {}", again.stderr);
        let mut command = world.tracexec(["rerun", "--wrap", "env ADDED=1", folder]);
        command.args(backend);
        let again = finish(world.start(command));
        assert!(again.out().contains("variable ADDED=1\n"), "{}{}", again.stderr, again.out());
        let mut command = world.tracexec(["rerun", "--hold", folder]);
        command.args(backend);
        let mut held = world.start(command);
        let pid = pid_in(&held.stderr_line(": held"));
        let shown = world.run(["ps"]).out();
        assert!(shown.contains(&format!(": rerun {folder} (2 execs seen)\n")), "{shown}");
        assert_eq!(world.run(["release", &pid.to_string()]).code(), 0);
        assert_eq!(finish(held).code(), 3);
    }
}

#[test]
fn what_cannot_be_opened_again_is_said() {
    let world = World::new();
    let itself = world.fixture("itself", &[]);
    let gone = world.file("gone", "x");
    let script = format!(
        "exec 5<'{}'; rm '{0}'; echo | {{ '{}' 6<&0; echo status $?; }}",
        gone.display(),
        itself.display()
    );
    let outcome = save(&world, "repro", &[], "basename=itself", &script);
    assert!(outcome.out().ends_with("status 3\n"), "{}", outcome.stderr);
    let folder = &folders(&world)[0];
    let again = Command::new(folder.join("repro.sh"))
        .stdin(fs::File::open("/dev/null").unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        said.contains("repro.sh: descriptor 5 was a file without that name any more"),
        "{said}"
    );
    assert!(said.contains("repro.sh: descriptor 6 was a pipe (pipe:["), "{said}");
    assert_eq!(again.status.code(), Some(3));
    let hold = world.run(["rerun", folder.to_str().unwrap(), "--debugger", "gdb-backtrace"]);
    assert!(hold.stderr.contains("warning: descriptor 5 was a file"), "{}", hold.stderr);
    let none = world.run(["rerun", world.dir.path().to_str().unwrap(), "--hold"]);
    assert!(
        none.code() == 125 && none.stderr.contains("hit.json: No such file"),
        "{}",
        none.stderr
    );
}
