//! What gdb and lldb have in common: each test runs with the real gdb and with the real lldb.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use crate::support::typed::{Typed, nothing_is_left_of};
use crate::support::{World, eventually, finish, signal_process, state, status_of};

struct Debugger {
    name: &'static str,
    prompt: &'static str,
    /// What it is told to set a breakpoint at `main`, and what it says when that is reached.
    break_main: &'static str,
    reached: &'static str,
    /// How it prints a word.
    say: fn(&str) -> String,
    /// What it says where `--break` finds no such place as these.
    no_such_place: [(&'static str, &'static str); 3],
    /// What it asks when it is to quit, and says when it has let a process go.
    really: &'static str,
    detached: &'static str,
    interrupted: &'static str,
}

const GDB: Debugger = Debugger {
    name: "gdb",
    prompt: "(gdb) ",
    break_main: "break main",
    reached: "Breakpoint 1, main (",
    say: |word| format!("echo {word}\\n"),
    no_such_place: [
        ("main", "\"main\" not defined"),
        ("no_such_function", "\"no_such_function\" not defined"),
        ("nowhere.c:12", "No symbol table is loaded"),
    ],
    really: "Quit anyway?",
    detached: "detached]",
    interrupted: "received signal SIGINT",
};

const LLDB: Debugger = Debugger {
    name: "lldb",
    prompt: "(lldb) ",
    break_main: "breakpoint set -n main",
    reached: "stop reason = breakpoint 1.1",
    say: |word| format!("script print('{word}')"),
    no_such_place: [
        ("main", "tracexec: no such place"),
        ("no_such_function", "tracexec: no such place"),
        ("nowhere.c:12", "tracexec: no such place"),
    ],
    really: "really want to proceed",
    detached: "detached\n",
    interrupted: "stop reason = signal SIGSTOP",
};

with_both!(
    inside_sh_c_one_continue_reaches_main,
    in_a_pipeline_the_data_passes_through,
    under_make_each_job_gets_its_turn,
    a_posix_spawn_child_is_debuggable,
    a_location_of_any_kind_is_reached,
    where_the_place_is_not_found_the_process_stays_at_its_entry,
    commands_run_in_the_order_given,
    behind_a_debugger_that_is_gone_the_process_runs_to_its_end,
    an_interrupt_reaches_the_target_and_not_the_build,
    a_process_killed_in_the_debugger_is_seen_as_killed,
    an_ordinary_user_needs_no_privileges,
    another_user_of_roots_choice,
);

/// Options for a debugger that nobody types to: it goes to `main` by one `continue`, then on.
fn to_main<'a>(debugger: &Debugger, matching: &'a str) -> [&'a str; 12] {
    let (name, break_main) = (debugger.name, debugger.break_main);
    let go = "continue";
    ["-m", matching, "--debugger", name, "--in", "background", "--ex", break_main, "--ex", go]
        .into_iter()
        .chain(["--ex", go])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

/// `main` was reached as many times, and nothing had to be clicked away.
#[track_caller]
fn assert_reached(debugger: &Debugger, stderr: &str, times: usize) {
    assert_eq!(stderr.matches(debugger.reached).count(), times, "{stderr}");
    assert!(!stderr.contains("Program received"), "{stderr}");
}

fn inside_sh_c_one_continue_reaches_main(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let script = format!("echo before; {} a; echo status $?", hello.display());
    let outcome = world.debug_sh(&to_main(debugger, "basename=hello"), &script);
    assert_reached(debugger, &outcome.stderr, 1);
    assert_eq!(outcome.out(), "before\na\nhello\nstatus 3\n", "{}", outcome.stderr);
    assert_eq!(outcome.code(), 0);
    nothing_is_left_of(&world);
}

fn in_a_pipeline_the_data_passes_through(debugger: &Debugger) {
    let world = World::new();
    let through = world.fixture("through", &[]);
    let data: Vec<u8> =
        (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = world.file("data", &data);
    let script = format!(
        "cat {} | {{ {}; echo $? >{}; }} | cat",
        file.display(),
        through.display(),
        world.path("status").display()
    );
    let outcome = world.debug_sh(&to_main(debugger, "basename=through"), &script);
    assert_reached(debugger, &outcome.stderr, 1);
    assert!(outcome.stdout == data, "{} bytes; {}", outcome.stdout.len(), outcome.stderr);
    assert_eq!(fs::read_to_string(world.path("status")).unwrap(), "4\n");
}

fn under_make_each_job_gets_its_turn(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    world.file(
        "Makefile",
        format!("all: 1 2 3\n1 2 3:\n\t@{} job $@ >out$@; test $$? = 3\n", hello.display()),
    );
    let dir = world.dir.path().to_str().unwrap();
    let mut args = vec!["debug"];
    let options = to_main(debugger, "basename=hello");
    args.extend(options);
    args.extend(["--", "make", "-j2", "-C", dir, "--no-print-directory"]);
    let outcome = world.run(args);
    assert_reached(debugger, &outcome.stderr, 3);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for job in 1..=3 {
        let out = fs::read_to_string(world.path(&format!("out{job}"))).unwrap();
        assert_eq!(out, format!("job\n{job}\nhello\n"));
    }
}

fn a_posix_spawn_child_is_debuggable(debugger: &Debugger) {
    let world = World::new();
    let (spawner, hello) = (world.fixture("spawner", &[]), world.fixture("hello", &[]));
    let mut args = vec!["debug"];
    let options = to_main(debugger, "basename=hello");
    args.extend(options);
    args.extend(["--", spawner.to_str().unwrap(), hello.to_str().unwrap(), "a"]);
    let outcome = world.run(args);
    assert_reached(debugger, &outcome.stderr, 1);
    assert_eq!(outcome.out(), "a\nhello\nspawned: 3\n", "{}", outcome.stderr);
    assert_eq!(outcome.code(), 3);
}

fn a_location_of_any_kind_is_reached(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let meeting = world.fixture("meeting", &[]);
    for (program, location, shown, status) in [
        (&hello, "main", "hello.c:6", 3),
        (&hello, "hello.c:9", "hello.c:9", 3),
        (&meeting, "all_there", "meeting.c:", 6),
    ] {
        let name = format!("basename={}", program.file_name().unwrap().to_str().unwrap());
        let options =
            ["-m", &name, "--debugger", debugger.name, "--in", "background", "--break", location];
        let options = [&options[..], &["--ex", "bt"]].concat();
        let outcome = world.debug_sh(&options, program.to_str().unwrap());
        assert!(outcome.stderr.contains(shown), "{location}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("Program received"), "{}", outcome.stderr);
        // The answer of a script, which is nobody's affair.
        assert!(!outcome.stderr.contains("True"), "{}", outcome.stderr);
        // The debugger has quit at its end of input, and the program has run on.
        assert_eq!(outcome.code(), status, "{location}: {}", outcome.stderr);
    }
    nothing_is_left_of(&world);
}

fn where_the_place_is_not_found_the_process_stays_at_its_entry(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &["-static", "-s", "-no-pie"]);
    for (location, said) in debugger.no_such_place {
        let script = format!("{} a; echo status $?", hello.display());
        let mut typed =
            start(&world, debugger, &["-m", "basename=hello", "--break", location], &script);
        let pid = typed.hit();
        let shown = until_ready(&mut typed, debugger);
        assert!(shown.contains(said), "{location}: {shown}");
        assert_eq!(program_counter(pid), entry_point(pid), "{location}");
        assert_eq!(typed.stdout.all(), "");
        quit(&mut typed, debugger);
        let outcome = typed.finish();
        assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{}", outcome.stderr);
    }
    nothing_is_left_of(&world);
}

/// Starts tracexec on a terminal, with a debugger that says when it listens to what is typed.
#[track_caller]
fn start(world: &World, debugger: &Debugger, options: &[&str], script: &str) -> Typed {
    let ready = (debugger.say)("ready");
    let ready = ["--debugger", debugger.name, "--ex", &ready];
    Typed::start(world, &[options, &ready].concat(), script)
}

/// Waits until the debugger listens; what it has shown.
#[track_caller]
fn until_ready(typed: &mut Typed, debugger: &Debugger) -> String {
    let shown = typed.screen.wait_for("\nready\n");
    typed.screen.wait_for(debugger.prompt);
    shown
}

/// Where a process that is stopped will go on.
fn program_counter(pid: i32) -> u64 {
    let line = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let word = line.split_whitespace().last().unwrap();
    u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap()
}

/// AT_ENTRY of a 64-bit process.
fn entry_point(pid: i32) -> u64 {
    let auxv = fs::read(format!("/proc/{pid}/auxv")).unwrap();
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
    let entry = auxv.chunks_exact(16).find(|pair| word(&pair[..8]) == libc::AT_ENTRY);
    word(&entry.unwrap()[8..])
}

fn quit(typed: &mut Typed, debugger: &Debugger) {
    typed.enter("quit", debugger.really);
    typed.keys("y\n");
}

fn commands_run_in_the_order_given(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let say = debugger.say;
    let (one, three) = (say("say-one"), say("say-three"));
    let two = world.file("two", say("say-two") + "\n");
    let four = world.file("four", say("say-four") + "\n");
    let options = [
        "-m",
        "basename=hello",
        "--debugger",
        debugger.name,
        "--in",
        "background",
        "--ex",
        &one,
        "-x",
        two.to_str().unwrap(),
        "--ex",
        &three,
        "-x",
        four.to_str().unwrap(),
    ];
    let outcome = world.debug_sh(&options, hello.to_str().unwrap());
    // A line of its own is what was said, and not the command.
    let said: Vec<&str> =
        outcome.stderr.lines().filter_map(|line| line.strip_prefix("say-")).collect();
    assert_eq!(said, ["one", "two", "three", "four"], "{}", outcome.stderr);
    assert_eq!(outcome.code(), 3);
}

fn behind_a_debugger_that_is_gone_the_process_runs_to_its_end(debugger: &Debugger) {
    let world = World::new();
    // lldb has a breakpoint in the dynamic loader from the first, and its death leaves it there: a
    // static program has no loader.
    fs::rename(world.fixture("hello", &["-static"]), world.path("hello-static")).unwrap();
    let hello = world.fixture("hello", &[]).display().to_string();
    let script = format!(
        "{hello} quit; echo $?; {hello} detach; echo $?; {hello}-static kill; echo $?; \
         {hello} main; echo $?"
    );
    let mut typed = start(&world, debugger, &["-m", "basename~hello"], &script);

    typed.hit();
    until_ready(&mut typed, debugger);
    quit(&mut typed, debugger);

    typed.hit();
    until_ready(&mut typed, debugger);
    typed.enter("detach", debugger.detached);
    typed.stdout.wait_for("detach\nhello\n3\n");
    typed.keys("quit\n");

    let pid = typed.hit();
    until_ready(&mut typed, debugger);
    signal_process(debugger_of(&world, pid), libc::SIGKILL);

    typed.hit();
    until_ready(&mut typed, debugger);
    typed.enter(debugger.break_main, "hello.c");
    typed.enter("continue", debugger.reached);
    typed.screen.wait_for("hello.c");
    quit(&mut typed, debugger);

    let outcome = typed.finish();
    let expected = "quit\nhello\n3\ndetach\nhello\n3\nkill\nhello\n3\nmain\nhello\n3\n";
    assert_eq!(outcome.out(), expected, "{}", outcome.stderr);
    assert_eq!(outcome.code(), 0);
    nothing_is_left_of(&world);
}

/// The debugger that has process `pid`, as `tracexec ps` tells.
fn debugger_of(world: &World, pid: i32) -> i32 {
    eventually("a debugger in tracexec ps", || {
        let outcome = world.run(["ps"]);
        let line = outcome
            .out()
            .lines()
            .find(|line| line.contains(&format!(" {pid} attached")))?
            .to_string();
        line.split_once("(debugger ")?.1.split_once(')')?.0.parse().ok()
    })
}

fn an_interrupt_reaches_the_target_and_not_the_build(debugger: &Debugger) {
    let world = World::new();
    let until = world.fixture("until", &[]);
    let (other, flag) = (world.path("other"), world.path("flag"));
    let script = format!(
        "{0} {1} & {0} {2}; echo status $?; wait $!; echo other $?",
        until.display(),
        other.display(),
        flag.display()
    );
    let matching = "basename=until and argv[1]~flag";
    let mut typed = start(&world, debugger, &["-m", matching, "--break", "main"], &script);
    let pid = typed.hit();
    until_ready(&mut typed, debugger);
    for _ in 0..2 {
        typed.enter("continue", "ing");
        let running = || matches!(state(pid), Some('R' | 'S')).then_some(());
        eventually("the target running in the debugger", running);
        interrupt(&mut typed, debugger);
        assert_eq!(state(pid), Some('t'));
    }
    fs::write(&flag, "").unwrap();
    typed.enter("continue", "exited");
    typed.keys("quit\n");
    typed.stdout.wait_for("status 5\n");
    fs::write(&other, "").unwrap();
    let outcome = typed.finish();
    assert!(outcome.out().ends_with("status 5\nother 5\n"), "{:?}", outcome);
    nothing_is_left_of(&world);
}

/// Presses Ctrl-C. lldb drops it while it has not yet understood that the process runs: a person would
/// press again, and so do we.
#[track_caller]
fn interrupt(typed: &mut Typed, debugger: &Debugger) {
    let mut pressed: Option<Instant> = None;
    eventually("an interrupt", || {
        if pressed.is_none_or(|at| at.elapsed().as_secs() >= 3) {
            typed.keys("\x03");
            pressed = Some(Instant::now());
        }
        typed.screen.look_for(debugger.interrupted)
    });
}

fn a_process_killed_in_the_debugger_is_seen_as_killed(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let options = ["-m", "basename=hello", "--debugger", debugger.name, "--in", "background"];
    let options =
        [&options[..], &["--ex", if debugger.name == "gdb" { "kill" } else { "process kill" }]]
            .concat();
    // With something to do after it, the shell does not become the program itself.
    let outcome = world.debug_sh(&options, &format!("{}; echo status $?", hello.display()));
    assert_eq!(outcome.out(), "status 137\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}

const NOBODY: u32 = 65534;

/// Lets everybody into the world's folder.
fn open(world: &World) {
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

fn an_ordinary_user_needs_no_privileges(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    // The build's own folder may be closed to others.
    let tracexec = world.path("tracexec");
    fs::copy(crate::support::TRACEXEC, &tracexec).unwrap();
    let mut command = Command::new("setpriv");
    world.prepare(&mut command);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(&tracexec).arg("debug").args(to_main(debugger, "basename=hello"));
    command.args(["--", "sh", "-c"]).arg(format!("{} a; echo status $?", hello.display()));
    command.env("HOME", world.dir.path()).current_dir("/");
    open(&world);
    std::os::unix::fs::chown(world.path("run"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(world.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    let outcome = finish(world.start(command));
    assert_reached(debugger, &outcome.stderr, 1);
    assert_eq!(outcome.out(), "a\nhello\nstatus 3\n", "{}", outcome.stderr);
}

fn another_user_of_roots_choice(debugger: &Debugger) {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    open(&world);
    let script = format!("id -u; {} a; echo status $?", hello.display());
    let options = ["-u", "nobody", "-m", "basename=hello", "--break", "main"];
    let mut typed = start(&world, debugger, &options, &script);
    let pid = typed.hit();
    let shown = until_ready(&mut typed, debugger);
    assert!(shown.contains("hello.c:6"), "{shown}");
    for process in [pid, debugger_of(&world, pid)] {
        let uid = status_of(process, "Uid").unwrap();
        assert!(uid.split_whitespace().all(|id| id == "65534"), "{uid}");
    }
    quit(&mut typed, debugger);
    let outcome = typed.finish();
    assert_eq!(outcome.out(), "65534\na\nhello\nstatus 3\n", "{}", outcome.stderr);
    nothing_is_left_of(&world);
}
