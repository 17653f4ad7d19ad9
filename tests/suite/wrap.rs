//! Matches that run under another program, in their place: real valgrind, strace, perf and env.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Outcome, World, finish};

/// Runs a shell's command line under `--wrap`.
#[track_caller]
fn wrap(world: &World, filter: &str, wrapper: &str, script: &str) -> Outcome {
    world.debug_sh(&["-m", filter, "--wrap", wrapper], script)
}

/// A program, executable, that is this text.
fn program(world: &World, name: &str, text: &str) -> PathBuf {
    let (path, source) = (world.path(name), world.file("source", text));
    // Another process writes it, so that no child of another test has it open.
    assert!(
        Command::new("install").arg("-m755").arg(source).arg(&path).status().unwrap().success()
    );
    path
}

/// How many matches ran under a wrapper.
fn wrapped(outcome: &Outcome) -> usize {
    outcome.stderr.lines().filter(|line| line.contains("): under ")).count()
}

#[test]
fn the_program_gets_what_it_would_have_got_and_its_parent_its_status() {
    for flags in [&[][..], &["-static"], &["-static-pie"], &["-m32"], &["-m32", "-static"]] {
        let world = World::new();
        let itself = world.fixture("itself", flags);
        let file = world.file("file", "text");
        let script = format!(
            "export ODD='a\nb'; exec 7<'{}'; read -n1 x <&7; '{}' one '' 'two  words'; echo status $?",
            file.display(),
            itself.display()
        );
        let script = format!("exec bash -c \"$(cat <<'END'\n{script}\nEND\n)\"");
        let seen = |outcome: &Outcome| {
            assert_eq!(outcome.code(), 0, "{flags:?}: {}", outcome.stderr);
            let text = outcome.out();
            assert!(text.contains("\nstatus 3\n") && text.contains("descriptor 7 at 1 "), "{text}");
            text.lines().filter(|line| !line.starts_with("process ")).map(String::from).collect()
        };
        let plain: Vec<String> = seen(&world.debug_sh(&["--list", "-m", "argc=99"], &script));
        let outcome = wrap(&world, "basename=itself", "env", &script);
        assert_eq!(wrapped(&outcome), 1, "{flags:?}: {}", outcome.stderr);
        assert_eq!(seen(&outcome), plain, "{flags:?}: {}", outcome.stderr);
    }
}

#[test]
fn the_pid_stays_and_the_words_are_a_shell_s() {
    let world = World::new();
    let itself = world.fixture("itself", &[]);
    let script = format!("echo \"before $$\"; exec '{}'", itself.display());
    let outcome = wrap(&world, "basename=itself", "env 'A=b  c' \"D=$HOME\"", &script);
    let text = outcome.out();
    let pid = text.lines().next().unwrap().strip_prefix("before ").unwrap();
    assert!(text.contains(&format!("\nprocess {pid}\n")), "{text}");
    assert!(text.contains("variable A=b\\20\\20c\n"), "{text}");
    // It is no shell that reads them.
    assert!(text.contains("variable D=$HOME\n"), "{text}");
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
}

/// A wrapper of valgrind's that writes what it runs to a file.
fn valgrind(log: &Path) -> String {
    format!("valgrind --tool=none '--log-file={}.%p'", log.display())
}

/// The `Command:` lines of valgrind's logs.
fn commands(world: &World) -> Vec<String> {
    let files = fs::read_dir(world.dir.path()).unwrap().flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log."));
    let texts = logs.map(|file| fs::read_to_string(file.path()).unwrap());
    let mut commands: Vec<String> = texts
        .filter_map(|text| Some(text.lines().find_map(|l| l.split_once(" Command: "))?.1.into()))
        .collect();
    commands.sort();
    commands
}

#[test]
fn valgrind_takes_the_place_of_dynamic_and_static_programs() {
    for flags in [&[][..], &["-static"]] {
        let world = World::new();
        let hello = world.fixture("hello", flags);
        let script = format!("'{}' one; echo status $?", hello.display());
        let outcome = wrap(&world, "basename=hello", &valgrind(&world.path("log")), &script);
        assert_eq!(outcome.out(), "one\nhello\nstatus 3\n", "{}", outcome.stderr);
        assert_eq!(commands(&world), [format!("{} one", hello.display())]);
    }
}

#[test]
fn of_a_script_it_takes_the_interpreter_s_place() {
    let world = World::new();
    let script = program(&world, "script", "#!/bin/sh -u\necho \"$0 $1\"\nexit 3\n");
    let path = script.display();
    let wrapper = valgrind(&world.path("log"));
    let outcome = wrap(&world, "basename=script", &wrapper, &format!("'{path}' one; exit $?"));
    assert_eq!((outcome.code(), outcome.out()), (3, format!("{path} one\n")), "{}", outcome.stderr);
    assert_eq!(commands(&world), [format!("/bin/sh -u {path} one")]);
}

#[test]
fn what_a_wrapped_program_executes_is_watched() {
    let world = World::new();
    let (start, hello) = (world.fixture("posix_spawn", &[]), world.fixture("hello", &[]));
    let (start, hello) = (start.display(), hello.display());
    // The second one matches by its parent's argument, too, and must not be run twice.
    let wrapper = valgrind(&world.path("log"));
    let outcome = wrap(&world, "argv~/hello$", &wrapper, &format!("{start} {hello}; exit $?"));
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    assert_eq!(commands(&world), [format!("{hello}"), format!("{start} {hello}")]);
    assert_eq!(wrapped(&outcome), 2, "{}", outcome.stderr);
}

#[test]
fn a_wrapper_that_executes_the_program_and_helpers_is_not_wrapped_itself() {
    let world = World::new();
    let (start, hello) = (world.fixture("posix_spawn", &[]), world.fixture("hello", &[]));
    let log = world.path("log");
    let (start, hello) = (start.display(), hello.display());
    // One that stays, as perf does, and one that goes.
    for (name, last) in [("stays", "\"$@\"; exit $?"), ("goes", "exec \"$@\"")] {
        let _ = fs::remove_file(&log);
        let text = format!("#!/bin/sh\n/bin/true\necho \"$1\" >>'{}'\n{last}\n", log.display());
        let wrapper = program(&world, name, &text);
        let wrapper = wrapper.to_str().unwrap();
        let outcome = wrap(&world, "depth>0", wrapper, &format!("{start} {hello}; exit $?"));
        assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
        assert_eq!(wrapped(&outcome), 2, "{}", outcome.stderr);
        assert_eq!(fs::read_to_string(&log).unwrap(), format!("{start}\n{hello}\n"));
    }
}

#[test]
fn ten_thousand_arguments_arrive() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for wrapper in ["env", "valgrind -q --tool=none"] {
        let script = format!(
            "'{}' $(seq 10000) | sha256sum; seq 10000 | (cat; echo hello) | sha256sum",
            hello.display()
        );
        let outcome = wrap(&world, "basename=hello", wrapper, &script);
        let text = outcome.out();
        let sums: Vec<&str> = text.lines().collect();
        assert!(sums.len() == 2 && sums[0] == sums[1], "{text}{}", outcome.stderr);
        assert_eq!(wrapped(&outcome), 1, "{}", outcome.stderr);
    }
}

#[test]
fn strace_may_trace_what_it_wraps() {
    let world = World::new();
    for (options, flags) in [("-D", &[][..]), ("-D", &["-m32"]), ("", &[])] {
        let hello = world.fixture("hello", flags);
        let log = world.path("log");
        let wrapper = format!("strace {options} -o '{}'", log.display());
        let script = format!("echo $$; exec '{}' one", hello.display());
        let outcome = wrap(&world, "basename=hello", &wrapper, &script);
        assert_eq!(outcome.code(), 3, "{options}: {}", outcome.stderr);
        assert!(outcome.out().ends_with("\none\nhello\n"), "{options}: {}", outcome.stderr);
        // With -D, strace is the one that goes on a moment longer.
        let text = crate::support::eventually("strace's log of the end", || {
            fs::read_to_string(&log).ok().filter(|text| text.contains("+++ exited with 3 +++"))
        });
        assert!(text.starts_with("execve(") && text.contains("/hello\", \"one\"]"), "{text}");
    }
}

#[test]
fn perf_records_what_it_wraps() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let data = world.path("data");
    let record = format!("perf record -q -o '{}'", data.display());
    let alone = Command::new("sh").arg("-c").arg(format!("{record} true")).output().unwrap();
    if !alone.status.success() {
        let why = String::from_utf8_lossy(&alone.stderr).into_owned();
        eprintln!("not tested: perf cannot record here: {why}");
        assert!(std::env::var_os("TRACEXEC_TEST_ALL").is_none(), "perf cannot record: {why}");
        return;
    }
    fs::remove_file(&data).unwrap();
    let outcome =
        wrap(&world, "basename=hello", &record, &format!("'{}'; exit $?", hello.display()));
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    assert!(fs::metadata(&data).unwrap().len() > 0);
}

#[test]
fn what_cannot_be_executed_is_said_and_the_program_runs_as_if_nothing_had_been_asked() {
    for flags in [&[][..], &["-static"], &["-m32"]] {
        let world = World::new();
        let itself = world.fixture("itself", flags);
        let no_program = program(&world, "broken", "\x01\x02no program\n");
        let script = format!("'{}' one; echo status $?", itself.display());
        let broken = no_program.to_str().unwrap();
        let outcome = wrap(&world, "basename=itself", broken, &script);
        let said =
            format!("not under {broken}: Exec format error (os error 8); it runs on without");
        assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
        assert!(
            outcome.out().starts_with(&format!("argument {}\nargument one\n", itself.display()))
        );
        assert!(outcome.out().ends_with("\nstatus 3\n"), "{}", outcome.out());
    }
}

#[test]
fn one_that_is_not_there_is_an_error_before_anything_runs() {
    let world = World::new();
    let outcome = wrap(&world, "argc>0", "no-such-program -x", "echo ran");
    assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""));
    assert!(outcome.stderr.contains("the program no-such-program is not installed"));
}

#[test]
fn a_program_without_a_name_runs_without_a_wrapper() {
    let world = World::new();
    let (memfd, hello) = (world.fixture("memfd", &[]), world.fixture("hello", &[]));
    let run = |way: &str| {
        let script = format!("'{}' {way} '{}'; exit $?", memfd.display(), hello.display());
        let outcome = wrap(&world, "basename=40", "env", &script);
        assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
        outcome
    };
    // It keeps its descriptor, and is found by that.
    assert_eq!(wrapped(&run("keep")), 1);
    let said = run("close").stderr;
    assert!(said.contains("not under env: its file has no name any more; it runs on"), "{said}");
}

#[test]
fn an_ordinary_user_s_program_is_wrapped_too() {
    let user = crate::support::user::User::new();
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!("'{}'; exit $?", hello.display());
    let args =
        ["debug", "-u", &user.name, "-m", "basename=hello", "--wrap", "env", "--", "sh", "-c"];
    let mut command = world.tracexec(args);
    command.arg(&script);
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    assert_eq!(wrapped(&outcome), 1, "{}", outcome.stderr);
}

#[test]
fn a_match_later_than_its_exec_runs_on_without_the_wrapper() {
    let world = World::new();
    let dies = world.fixture("dies", &[]);
    let to = world.path("kept").display().to_string();
    // No exec has a signal or a status, so that only the later moment matches.
    for (on, filter, mode, status) in [
        ("exec,crash", "signal=SEGV", "null", 139),
        ("exec,fail", "status=3", "exit", 3),
        ("exec,hang=300ms", "age>=100ms and basename=sleep", "", 0),
    ] {
        for more in [&[][..], &["--save", "repro", "--to", &to]] {
            let options = ["--on", on, "-m", filter, "--wrap", "env A=1"];
            let script = match mode {
                "" => "sleep 1; echo status $?".into(),
                mode => format!("'{}' {mode}; echo status $?", dies.display()),
            };
            let outcome = world.debug_sh(&[&options[..], more].concat(), &script);
            let said = &outcome.stderr;
            assert_eq!(outcome.out(), format!("status {status}\n"), "{on}: {said}");
            let line = "not under env A=1, which is possible at the exec only; it runs on";
            assert!(said.contains(line), "{on}: {said}");
            assert!(!said.contains("): under env"), "{on}: {said}");
        }
    }
    crate::support::typed::nothing_is_left_of(&world);
}
