//! The command line: statuses, what COMMAND inherits, what is said and what is not.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Stdio;

use crate::support::{World, eventually, finish, is_gone, pid_in, state};

/// A filter that holds for nothing, so that only COMMAND is seen.
const NOTHING: [&str; 3] = ["-m", "basename=no-such-program", "--list"];

fn lines_of(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn nothing_that_was_typed_reaches_the_terminal_as_it_is() {
    const ODD: &str = "o\x1b[2J\u{202e}dd";
    let world = World::new();
    let debuggers = world.path("config/tracexec/launch-templates/debuggers");
    fs::create_dir_all(&debuggers).unwrap();
    let template = "name = 'mine'\ndescription = \"\\u001b[2J\\u202E\"\ncommand = 'x {{pid}}'\n";
    fs::write(debuggers.join(format!("{ODD}.toml")), template).unwrap();
    let lines: [&[&str]; 18] = [
        &["report", ODD],
        &["report", ODD, "-F", "json", "-o", ODD],
        &["debug", "-m", "argc=0", "--in", ODD, "--", "true"],
        &["debug", "-m", "argc=0", "--debugger", ODD, "--", "true"],
        &["debug", "-m", ODD, "--hold", "--", "true"],
        &["debug", "-m", "argc=0", "--hold", "-C", ODD, "--", "true"],
        &["debug", "-m", "argc=0", "--hold", "-u", ODD, "--", "true"],
        &["debug", "-m", "argc=0", "--save", "core", "--to", "/dev/null/o\x1b[2J", "--", "true"],
        &["debug", "-m", "argc=0", "--hold", "--", ODD],
        &["debug", "-m", "argc=0", "--wrap", ODD, "--", "true"],
        &["collect", "-o", "none/o\x1b[2J", "--", "true"],
        &["rerun", ODD, "--hold"],
        &["templates"],
        &["templates", "show", ODD],
        &["release", ODD],
        &[ODD],
        &["debug", "--o\x1b[2J"],
        &["log", "--events", ODD, "--", "true"],
    ];
    let harmless = |text: &str| {
        let odd = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
        !text.contains(odd)
    };
    for line in lines {
        let outcome = world.run(line);
        assert!(harmless(&outcome.stderr), "{line:?}: {:?}", outcome.stderr);
        assert!(harmless(&outcome.out()), "{line:?}: {:?}", outcome.out());
        assert!(!(outcome.stderr.is_empty() && outcome.stdout.is_empty()), "{line:?}");
    }
    let mut command = world.tracexec(["debug", "-m", "argc=0", "--hold", "--", "true"]);
    command.env("XDG_RUNTIME_DIR", world.path("none").join(ODD));
    let outcome = finish(world.start(command));
    assert!(harmless(&outcome.stderr), "{:?}", outcome.stderr);
    for (name, value) in
        [("TRACEXEC_IN", ODD), ("TRACEXEC_DEBUGGER", ODD), ("XDG_CONFIG_HOME", ODD)]
    {
        let mut command = world.tracexec(["debug", "-m", "argc=0", "--", "true"]);
        command.env(name, value);
        let outcome = finish(world.start(command));
        assert!(harmless(&outcome.stderr), "{name}: {:?}", outcome.stderr);
        let mut command = world.tracexec(["config"]);
        command.env(name, value);
        let outcome = finish(world.start(command));
        assert!(harmless(&outcome.out()) && harmless(&outcome.stderr), "{name}: {outcome:?}");
    }
}

#[test]
fn the_status_is_that_of_the_command() {
    let world = World::new();
    assert_eq!(world.debug_sh(&NOTHING, "exit 0").code(), 0);
    assert_eq!(world.debug_sh(&NOTHING, "exit 3").code(), 3);
    assert_eq!(world.debug_sh(&NOTHING, "kill -SEGV $$").code(), 139);
    assert_eq!(world.debug_sh(&NOTHING, "kill -TERM $$").code(), 143);
}

#[test]
fn a_command_that_cannot_be_executed_has_a_shells_status() {
    let world = World::new();
    let plain = world.file("plain", "no program");
    let run = |program: &str| {
        let mut args = vec!["debug"];
        args.extend(NOTHING);
        args.extend(["--", program]);
        world.run(args)
    };
    let outcome = run("no-such-command-anywhere");
    assert_eq!(outcome.code(), 127, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no-such-command-anywhere"), "{}", outcome.stderr);
    let outcome = run(plain.to_str().unwrap());
    assert_eq!(outcome.code(), 126, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Permission denied"), "{}", outcome.stderr);
}

#[test]
fn a_command_without_its_dashes_is_shown_where_it_belongs() {
    let world = World::new();
    for (args, meant) in [
        (&["log", "ls", "-l", "a b"][..], Some("tracexec log -- ls -l 'a b'")),
        (&["collect", "-o", "f", "make", "-j2"], Some("tracexec collect -o f -- make -j2")),
        (&["log", "--no-such-option"], None),
        (&["ps", "ls"], None),
    ] {
        let outcome = world.run(args);
        assert_eq!(outcome.code(), 125, "{args:?}: {}", outcome.stderr);
        let hint = outcome.stderr.split_once("hint: COMMAND comes after `--`: ");
        assert_eq!(hint.map(|(_, line)| line.trim_end()), meant, "{}", outcome.stderr);
    }
}

/// Options, and what the error must say. COMMAND must not have started.
const WRONG: &[(&[&str], &str)] = &[
    (&[], "no filter"),
    (&["-m", "cc1plus"], "basename=cc1plus"),
    (&["-m", "argvv~x"], "argv"),
    (&["-m", "argv~("], "regular expression"),
    (&["-m", "user=no-such-user-here"], "no-such-user-here"),
    (&["-m", "argc>0", "--hold", "--list"], "--list"),
    (&["-m", "argc>0", "--hold", "--debugger", "gdb"], "--debugger"),
    (&["-m", "argc>0", "--list", "--in", "tmux"], "--in"),
    (&["-m", "argc>0", "--once", "--max-hits", "2"], "--max-hits"),
    (&["-m", "argc>0", "--in", "nowhere"], "nowhere"),
    (&["-m", "argc>0", "--in", "tmux"], "TMUX"),
    (&["-m", "argc>0"], "--in background"),
    (&["-m", "argc>0", "--in", "background", "--debugger", "nodbg"], "nodbg"),
    (&["-m", "argc>0", "--in", "background", "--debugger", "nodbg -p {{pid}}"], "not installed"),
    (&["-m", "argc>0", "--in", "background", "--debugger", "gdb -p {{pdi}}"], "{{pdi}}"),
    (&["-m", "argc>0", "--in", "background", "--debugger", "gdb -q"], "{{pid}}"),
    (&["-m", "argc>0", "--in", "background", "-x", "no-such-file"], "no-such-file"),
    (&["-m", "argc>0", "--in", "background", "--ex", "one\ntwo"], "one line"),
    (&["-m", "argc>0", "--in", "background", "--break", "a\nb"], "one line"),
    (
        &["-m", "argc>0", "--in", "background", "--debugger", "gdbserver", "--break", "main"],
        "--break",
    ),
    (&["-m", "argc>0", "--in", "background", "--attach-timeout", "3 days"], "unit of time"),
    (&["-m", "argc>0", "--list", "-C", "/no-such-folder"], "/no-such-folder"),
    (&["-m", "argc>0", "--list", "-u", "no-such-user-here"], "no-such-user-here"),
];

#[test]
fn what_is_known_wrong_beforehand_is_an_error_before_the_command_starts() {
    let world = World::new();
    let witness = world.path("started");
    let script = format!("touch {}", witness.display());
    for (options, expected) in WRONG {
        // A session of its own has no terminal.
        let mut args = vec!["setsid", "--wait", crate::support::TRACEXEC, "debug"];
        args.extend_from_slice(options);
        args.extend(["--", "sh", "-c", &script]);
        let mut command = std::process::Command::new(args[0]);
        command.args(&args[1..]);
        world.prepare(&mut command);
        let outcome = finish(world.start(command));
        assert_eq!(outcome.code(), 125, "{options:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{options:?}: {}", outcome.stderr);
        assert!(!witness.exists(), "{options:?}: COMMAND was started");
    }
}

#[test]
fn a_pipe_carries_every_byte_and_nothing_else() {
    let world = World::new();
    let bytes: Vec<u8> =
        (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let input = world.file("input", &bytes);
    let mut args = vec!["debug"];
    args.extend(NOTHING);
    args.extend(["--", "sh", "-c", "cat | cat"]);
    let mut command = world.tracexec(args);
    command.stdin(fs::File::open(input).unwrap());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0);
    assert!(outcome.stdout == bytes, "{} bytes came", outcome.stdout.len());
}

#[test]
fn nothing_is_said_when_there_is_nothing_to_say() {
    let world = World::new();
    let outcome = world.debug_sh(&["-m", "basename=true", "--list"], "/bin/true; /bin/true");
    let lines = lines_of(&outcome.stderr);
    assert_eq!(lines.len(), 2, "{}", outcome.stderr);
    assert!(lines.iter().all(|line| line.contains(" /bin/true (basename=true)")), "{lines:?}");
    // Skipped and matched: no list of near misses.
    let outcome = world.debug_sh(&["-m", "basename=true", "--hold", "--skip", "5"], "/bin/true");
    assert!(outcome.stderr.contains("--skip"), "{}", outcome.stderr);
}

#[test]
fn the_nearest_misses_are_told_with_the_test_that_failed() {
    let world = World::new();
    let filter = "basename=env and argv~needle";
    let outcome = world.debug_sh(&["-m", filter, "--list"], "/usr/bin/env true; /bin/true");
    let lines = lines_of(&outcome.stderr);
    assert!(lines[0].contains("nothing matched in 4 execs"), "{}", outcome.stderr);
    assert!(lines[1].contains("/usr/bin/env true"), "{}", outcome.stderr);
    assert!(lines[1].contains("argv~needle"), "{}", outcome.stderr);
    assert!(lines.len() <= 4, "{}", outcome.stderr);
}

#[test]
fn several_filters_are_counted_together() {
    let world = World::new();
    let options = ["-m", "basename=true", "-m", "basename=false", "--list", "--max-hits", "2"];
    let outcome = world.debug_sh(&options, "/bin/false; /bin/true; /bin/false; true");
    let lines = lines_of(&outcome.stderr);
    assert_eq!(lines.len(), 2, "{}", outcome.stderr);
    assert!(lines[0].contains("basename=false") && lines[1].contains("basename=true"));
}

#[test]
fn hostile_text_reaches_the_terminal_escaped() {
    let world = World::new();
    let script =
        "exec -a \"$(printf '\\033]0;owned\\007\\nline')\" /bin/true \"$(printf '\\233\\177')\"";
    let outcome = world.run([
        "debug",
        "--color",
        "never",
        "--list",
        "-m",
        "filename endswith /true",
        "--",
        "bash",
        "-c",
        script,
    ]);
    assert!(outcome.stderr.contains("owned"), "{}", outcome.stderr);
    assert_eq!(lines_of(&outcome.stderr).len(), 1, "{}", outcome.stderr);
    assert!(
        outcome.stderr.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)),
        "{:?}",
        outcome.stderr
    );
}

#[test]
fn colours_come_only_when_asked_for_or_to_a_terminal() {
    let world = World::new();
    let run = |when: &str| {
        world.run(["debug", "--color", when, "--list", "-m", "basename=true", "--", "true"]).stderr
    };
    assert!(run("always").contains("\x1b["));
    assert!(!run("auto").contains('\x1b') && !run("never").contains('\x1b'));
}

#[test]
fn the_command_inherits_signals_mask_descriptors_and_limits() {
    let world = World::new();
    let probe = world.fixture("inherited", &[]);
    // What the probe says when nothing is in between, and when we are.
    let script = |through: &str| {
        format!(
            "trap '' PIPE USR1; ulimit -n 321; ulimit -c 0; exec 7</dev/null 9>&1; {through} {}",
            probe.display()
        )
    };
    let shell = |text: String| {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &text]);
        world.prepare(&mut command);
        finish(world.start(command))
    };
    let bare = shell(script(""));
    let ours =
        shell(script(&format!("{} debug {} --", crate::support::TRACEXEC, NOTHING.join(" "))));
    assert!(bare.out().contains("nofile 321"), "{}", bare.out());
    assert!(bare.out().contains("ignored") && bare.out().contains("fd 7"), "{}", bare.out());
    assert_eq!(bare.out(), ours.out());
    // And with what a program in the middle of a pipe has by default.
    let through = format!("{} debug {} --", crate::support::TRACEXEC, NOTHING.join(" "));
    let ours = shell(format!("{through} {}", probe.display()));
    assert_eq!(shell(probe.display().to_string()).out(), ours.out());
}

#[test]
fn a_reader_that_goes_away_ends_the_writer() {
    let world = World::new();
    let through = format!("{} debug {} --", crate::support::TRACEXEC, NOTHING.join(" "));
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &format!("{through} yes | head -n 2; echo ${{PIPESTATUS[0]}}")]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.out(), "y\ny\n141\n", "{}", outcome.stderr);
}

#[test]
fn directory_and_user_hold_before_and_after_the_subcommand() {
    let world = World::new();
    let dir = world.dir.path().to_str().unwrap();
    for args in [["-C", dir, "debug", "--list"], ["debug", "-C", dir, "--list"]] {
        let mut all = args.to_vec();
        all.extend(["-m", "argc>99", "--", "pwd"]);
        assert_eq!(world.run(all).out().trim_end(), dir);
    }
    let outcome =
        world.run(["-u", "nobody", "debug", "--list", "-m", "user=nobody", "--", "id", "-un"]);
    assert_eq!(outcome.out(), "nobody\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("user=nobody"), "{}", outcome.stderr);
    let groups = world.run(["debug", "-u", "nobody", "--list", "-m", "argc>99", "--", "id", "-G"]);
    assert!(!groups.out().split_whitespace().any(|gid| gid == "0"), "{}", groups.out());
}

#[test]
fn an_ordinary_user_cannot_become_another() {
    let world = World::new();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let tracexec = world.path("tracexec");
    fs::copy(crate::support::TRACEXEC, &tracexec).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(tracexec);
    command.args(["debug", "-u", "root", "--list", "-m", "argc>0", "--", "id"]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("only root"), "{}", outcome.stderr);
}

#[test]
fn there_is_a_completion_script_for_each_shell() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = world.run(["generate-completions", shell]);
        assert_eq!(outcome.code(), 0);
        assert!(outcome.out().contains("TRACEXEC_COMPLETE"), "{shell}: {}", outcome.out());
    }
}

#[test]
fn held_processes_are_listed_and_let_go_from_elsewhere() {
    let world = World::new();
    let script = "/bin/sleep 0; echo one; /bin/sleep 0; echo two";
    let args = ["debug", "--hold", "-m", "basename=sleep", "--", "sh", "-c", script];
    let mut session = world.start(world.tracexec(args));
    let line = session.stderr_line(": held");
    let pid = pid_in(&line);
    assert!(line.contains("/bin/sleep 0 (basename=sleep)"), "{line}");
    assert!(session.stderr_line("attach with").contains(&format!("-p {pid}")));
    assert!(session.stderr_line("release").contains(&pid.to_string()));
    eventually("the stop", || (state(pid)? == 'T').then_some(()));
    // The socket is the user's alone.
    let folder = world.path("run").join("tracexec");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let socket = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert!(socket.file_type().unwrap().is_socket());

    let ps = world.run(["ps"]).out();
    assert!(ps.contains(&format!("session {}", session.pid())), "{ps}");
    assert!(ps.contains(&pid.to_string()) && ps.contains("parked"), "{ps}");
    let refused = world.run(["release", "1"]);
    assert_eq!(refused.code(), 125);
    assert!(refused.stderr.contains("tracexec ps"), "{}", refused.stderr);
    assert_eq!(world.run(["release", &pid.to_string()]).out(), format!("released {pid}\n"));
    eventually("the process's end", || is_gone(pid).then_some(()));

    let second = pid_in(&session.stderr_line(": held"));
    assert_eq!(world.run(["release", "--all"]).out(), format!("released {second}\n"));
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (0, "one\ntwo\n"));
    assert_eq!(world.run(["ps"]).out(), "");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn a_held_process_is_let_go_after_the_time_that_was_given() {
    let world = World::new();
    let options = ["--hold", "--attach-timeout", "100ms", "-m", "basename=true"];
    let outcome = world.debug_sh(&options, "/bin/true; exit 4");
    assert_eq!(outcome.code(), 4, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("it runs on"), "{}", outcome.stderr);
}

#[test]
fn skip_and_once_choose_the_match() {
    let world = World::new();
    let script = "/bin/echo 1; /bin/echo 2; /bin/echo 3";
    let options = ["--hold", "--skip", "1", "--once", "-m", "basename=echo"];
    let mut args = vec!["debug"];
    args.extend(options);
    args.extend(["--", "sh", "-c", script]);
    let mut session = world.start(world.tracexec(args));
    let line = session.stderr_line(": held");
    assert!(line.contains("/bin/echo 2"), "{line}");
    // All of the tree is untraced by now, but what is held is still ours to let go.
    world.run(["release", "--all"]);
    let outcome = finish(session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (0, "1\n2\n3\n"), "{}", outcome.stderr);
}

#[test]
fn a_signal_to_us_alone_lets_all_go() {
    let world = World::new();
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGHUP, 129)] {
        let script = format!("echo $$; /bin/sleep 0; : > {}", world.path("done").display());
        let args = ["debug", "--hold", "-m", "basename=sleep", "--", "sh", "-c", &script];
        let mut session = world.start(world.tracexec(args));
        let pid = pid_in(&session.stderr_line(": held"));
        session.signal(signal);
        let mut stdout = session.child().stdout.take().unwrap();
        let status_seen = eventually("our end", || session.child().try_wait().unwrap());
        assert_eq!(status_seen.code(), Some(status));
        eventually("the process's end", || is_gone(pid).then_some(()));
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        let command: i32 = text.trim().parse().unwrap();
        eventually("COMMAND's end", || is_gone(command).then_some(()));
        fs::remove_file(world.path("done")).expect("COMMAND ran to its end");
    }
}

#[test]
fn a_daemon_does_not_keep_us() {
    let world = World::new();
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
    let outcome = world.debug_sh(&NOTHING, script);
    let daemon: i32 = outcome.out().trim().parse().unwrap();
    assert_eq!(outcome.code(), 0);
    assert_eq!(crate::support::status_of(daemon, "TracerPid").as_deref(), Some("0"));
    crate::support::signal_process(daemon, libc::SIGKILL);
    eventually("the daemon's end", || is_gone(daemon).then_some(()));
}

#[test]
fn templates_are_listed_shown_and_overridden() {
    let world = World::new();
    let listed = world.run(["templates"]).out();
    for name in
        ["gdb", "lldb", "gdbserver", "gdb-backtrace", "here", "tmux", "tmux-window", "background"]
    {
        assert!(listed.contains(&format!("  {name} ")), "{name}: {listed}");
    }
    let shown = world.run(["templates", "show", "gdb"]).out();
    assert!(shown.contains("name = \"gdb\"") && shown.contains("{{pid}}"), "{shown}");
    assert_eq!(world.run(["templates", "show", "none"]).code(), 125);

    let folder = world.path("config/tracexec/launch-templates/debuggers");
    fs::create_dir_all(&folder).unwrap();
    let own = "name = 'mine'\ndescription = 'my own'\ninteractive = false\nneeds = ['no-such-program']\ncommand = 'sh -c true {{pid}}'\n";
    fs::write(folder.join("mine.toml"), own).unwrap();
    fs::write(folder.join("gdb.toml"), shown.replace("the GNU debugger", "gdb, but mine")).unwrap();
    let listed = world.run(["templates"]).out();
    assert!(listed.contains("gdb, but mine") && !listed.contains("the GNU debugger"), "{listed}");
    assert!(listed.contains("mine.toml; not installed: no-such-program"), "{listed}");

    fs::write(folder.join("bad.toml"), "name = 'bad'\n").unwrap();
    let outcome = world.run(["templates"]);
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("bad.toml"), "{}", outcome.stderr);
}

#[test]
fn a_closed_standard_error_changes_nothing() {
    let world = World::new();
    let through = format!("{} debug --list -m basename=true --", crate::support::TRACEXEC);
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &format!("{through} sh -c '/bin/true; echo out' 2>&-; echo $?")]);
    world.prepare(&mut command);
    command.stdin(Stdio::null());
    assert_eq!(finish(world.start(command)).out(), "out\n0\n");
}
