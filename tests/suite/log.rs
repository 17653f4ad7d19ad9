//! `tracexec log`: what is executed is told, over every source, where it is wanted and as it happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::log::{backends, start};
use crate::support::tmux::Tmux;
use crate::support::{Outcome, World, eventually, finish};

#[track_caller]
fn run(world: &World, backend: &str, options: &[&str], script: &str) -> Outcome {
    finish(start(world, backend, options, &["sh", "-c", script]))
}

/// The lines without the pids before them.
fn without_pids(log: &str) -> Vec<String> {
    log.lines().map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).into()).collect()
}

#[test]
fn each_exec_has_its_line_failed_ones_too() {
    let world = World::new();
    let script = world.file("script", "#!/bin/cat\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    world.file("text", "x");
    let line = "A=1 /bin/echo 'a b' >out; ./script; ./nothing; ./text; exec /bin/false";
    for backend in backends() {
        let outcome = run(&world, backend, &["-o", "log"], line);
        assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
        assert_eq!(outcome.out(), "#!/bin/cat\n");
        let log = fs::read_to_string(world.path("log")).unwrap();
        let lines = without_pids(&log);
        let echo = r#"<sh>: "/bin/echo" ["/bin/echo", "a b"] env[+A="1"] fd[~1="OUT"] = 0"#;
        let out = world.path("out");
        assert!(lines.contains(&echo.replace("OUT", out.to_str().unwrap())), "{log}");
        assert!(log.contains(r#"<sh>: "./script" ["#) && log.contains(r#"interpreter="/bin/cat""#));
        assert!(log.contains(r#"<sh>: "./nothing" ["./nothing"] = -2 ENOENT (No such"#), "{log}");
        assert!(log.contains(r#"<sh>: "./text" ["./text"] = -13 EACCES (Permission"#), "{log}");
        assert!(lines.last().unwrap() == ": COMMAND exited with status 1", "{log}");
        // What COMMAND was before is no program of the user's.
        assert!(lines[0].starts_with(": \"") && lines[0].contains("sh"), "{log}");
        // Those that failed so.
        for (filter, count) in [("errno", 2), ("errno=eacces", 1), ("errno in (13, ENOENT)", 2)] {
            let outcome = run(&world, backend, &["-o", "log", "-m", filter], line);
            assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
            let log = fs::read_to_string(world.path("log")).unwrap();
            let failed = log.lines().filter(|line| line.contains("] = -")).count();
            assert_eq!((failed, log.lines().count()), (count, count + 1), "{filter}: {log}");
        }
        // Without those that fail.
        let outcome = run(&world, backend, &["-o", "log", "--successful-only"], line);
        assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
        let log = fs::read_to_string(world.path("log")).unwrap();
        assert_eq!((log.lines().count(), log.contains("ENOENT")), (5, false), "{log}");
        assert!(without_pids(&log)[0].starts_with(": \""), "{log}");
        assert!(without_pids(&log).contains(&echo.replace("OUT", out.to_str().unwrap())), "{log}");
    }
}

/// Programs that are there and cannot be run, and what of each is missing.
fn not_to_be_run(world: &World) -> Vec<(&'static str, String)> {
    let executable = |name: &str, text: &str| {
        let path = world.file(name, text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable("crlf", "#!/bin/sh\r\necho x\r\n");
    executable("none", "#!/no/such/python3 -u\n");
    let nested = format!("#!{}\n", world.path("none").display());
    executable("nested", &nested);
    let mut all = vec![
        ("crlf", "its interpreter $'/bin/sh\\r' is missing: the first line ends with CR LF".into()),
        ("none", "its interpreter or loader /no/such/python3 is missing".into()),
        ("nested", "its interpreter or loader /no/such/python3 is missing".into()),
    ];
    for (name, flags) in [("elf64", &["-m64"][..]), ("elf32", &["-m32"])] {
        let loader = format!("-Wl,--dynamic-linker=/no/such/{name}");
        fs::rename(world.fixture("hello", &[flags, &[&loader]].concat()), world.path(name))
            .unwrap();
        all.push((name, format!("its interpreter or loader /no/such/{name} is missing")));
    }
    all
}

#[test]
fn what_is_missing_to_run_a_program_is_named() {
    let world = World::new();
    let all = not_to_be_run(&world);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let line = format!("for f in {} gone; do ./$f; done 2>/dev/null; :", names.join(" "));
    for backend in backends() {
        let outcome = finish(start(&world, backend, &["-o", "log"], &["bash", "-c", &line]));
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let log = fs::read_to_string(world.path("log")).unwrap();
        let of = |name: &str| {
            let words = format!("\"./{name}\" [");
            log.lines()
                .find(|line| line.contains(&words))
                .unwrap_or_else(|| panic!("{name}: {log}"))
        };
        for (name, missing) in &all {
            let end = format!(" = -2 ENOENT (No such file or directory): {missing}");
            assert!(of(name).ends_with(&end), "{backend}: {}", of(name));
        }
        assert!(of("gone").ends_with(" = -2 ENOENT (No such file or directory)"), "{log}");
    }
    // COMMAND itself, also along PATH.
    let path = format!("/none:{}:{}", world.dir.path().display(), std::env::var("PATH").unwrap());
    for (name, missing) in &all {
        for command in [format!("./{name}"), name.to_string()] {
            for words in [&["log", "--backend", "ptrace"][..], &["debug", "--hold"]] {
                let mut tracexec = world.tracexec(words);
                tracexec
                    .args(["-m", "argc=0", "--"])
                    .arg(&command)
                    .current_dir(world.dir.path())
                    .env("PATH", &path);
                let outcome = finish(world.start(tracexec));
                let message = format!("cannot execute {command}: {missing}\n");
                assert_eq!(outcome.code(), 127, "{}", outcome.stderr);
                assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
            }
        }
    }
}

#[test]
fn a_command_gets_the_environment_entry_by_entry() {
    let world = World::new();
    let (bare, given) = (world.fixture("bare", &[]), world.fixture("given", &[]));
    let run = |words: &[&str]| {
        let mut command = Command::new(&bare);
        command.args(words).arg(&given).current_dir(world.dir.path());
        world.start(command)
    };
    let alone = finish(run(&[]));
    assert_eq!(alone.stdout.iter().filter(|byte| **byte == 0).count(), 12, "{}", alone.out());
    let tracexec = crate::support::TRACEXEC;
    for backend in backends() {
        let log = [tracexec, "log", "-o", "log", "--backend", backend, "--"];
        let debug = [tracexec, "debug", "-m", "argc=0", "--hold", "--backend", backend, "--"];
        for words in [&log[..], &debug] {
            let under = finish(run(words));
            assert_eq!(under.out(), alone.out(), "{words:?} {}", under.stderr);
        }
    }
}

#[test]
fn the_zone_of_a_time_has_its_name() {
    let world = World::new();
    for (zone, name) in [("UTC0", "UTC +0000"), ("XYZ-1", "XYZ +0100"), ("<A-B>3", "A-B -0300")] {
        let format = "[%Z %z] %Y";
        let mut command =
            world.tracexec(["log", "-o", "log", "--inline-timestamp-format", format, "--", "true"]);
        command.env("TZ", zone).current_dir(world.dir.path());
        assert_eq!(finish(world.start(command)).code(), 0);
        let log = fs::read_to_string(world.path("log")).unwrap();
        assert!(log.starts_with(&format!("[{name}] 2")), "{log}");
    }
}

#[test]
fn what_a_script_was_called_by_is_kept() {
    let world = World::new();
    // The kernel's own #! line has one more word, and the interpreter is a script itself.
    for (name, text) in [("shim", "#!/usr/bin/env bash\n:\n"), ("runner", "#!/bin/sh\n:\n")] {
        let script = world.file(name, text);
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let folder = world.dir.path().display();
    let script = world.file("nested", format!("#!{folder}/runner word\n"));
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    let line = "for f in shim nested; do (exec -a 'py thon' \"$PWD/$f\" -c x); done; ./shim y; :";
    for backend in backends() {
        let options = ["-o", "log", "--show-cmdline", "--show-argv"];
        let running = start(&world, backend, &options, &["bash", "-c", line]);
        assert_eq!(finish(running).code(), 0);
        let log = fs::read_to_string(world.path("log")).unwrap();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(" cmdline: ")).collect();
        for name in ["shim", "nested"] {
            let end = format!("\"$0\" -- \"$@\"' 'py thon' {folder}/{name} -c x");
            let found = lines.iter().find(|line| line.ends_with(&end));
            let found = found.unwrap_or_else(|| panic!("{backend}: {log}"));
            let words = format!("\"{folder}/{name}\", \"-c\", \"x\"] argv0=\"py thon\" ");
            assert!(found.contains(&words), "{backend}: {found}");
        }
        // The file's own name is nothing to tell.
        let plain = lines.iter().find(|line| line.contains(" \"./shim\", \"y\"]"));
        let plain = plain.unwrap_or_else(|| panic!("{backend}: {log}"));
        assert!(!plain.contains("argv0=") && plain.ends_with(" ./shim y"), "{backend}: {plain}");
        let mut command = world.tracexec(["collect", "--backend", backend, "-F", "json"]);
        command.args(["-o", "json", "--", "bash", "-c", line]).current_dir(world.dir.path());
        assert_eq!(finish(world.start(command)).code(), 0);
        let text = fs::read_to_string(world.path("json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let passed = |exec: &serde_json::Value| exec["passed_argv"].clone();
        let execs = json["events"].as_array().unwrap();
        let all: Vec<_> = execs.iter().map(passed).filter(|passed| !passed.is_null()).collect();
        let odd = serde_json::json!(["py thon", "-c", "x"]);
        assert_eq!(
            all,
            [odd.clone(), odd, serde_json::json!(["./shim", "y"])],
            "{backend}: {text}"
        );
        // A recording says the same.
        let report = world.run(["report", world.path("json").to_str().unwrap(), "-F", "json"]);
        let again: serde_json::Value = serde_json::from_str(&report.out()).unwrap();
        assert_eq!(again["events"], json["events"], "{backend}: {}", report.stderr);
    }
}

#[test]
fn what_proc_self_means_is_looked_up_for_the_process_that_says_it() {
    let world = World::new();
    let script = world.file("script", "#!/bin/sh -e\nread x <fifo\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Over eBPF a process is looked at after its exec: each waits until that is done.
    let line = "/proc/self/exe -c 'read x <fifo'; /proc/self/cwd/script 7; \
                /proc/thread-self/cwd/script 8; :";
    for backend in backends() {
        let log = world.path("log");
        let _ = fs::remove_file(&log);
        let options = ["-o", "log", "--show-cmdline", "--show-interpreter"];
        let running = start(&world, backend, &options, &["bash", "-c", line]);
        let mut lines = Vec::new();
        for name in ["/proc/self/exe", "/proc/self/cwd/script 7", "/proc/thread-self/cwd/script 8"]
        {
            lines.push(eventually(name, || {
                let log = fs::read_to_string(&log).ok()?;
                let found = |line: &&str| line.contains(name) && line.contains("= 0 cmdline");
                log.lines().skip(1).find(found).map(String::from)
            }));
            fs::write(&fifo, "x\n").unwrap();
        }
        assert_eq!(finish(running).code(), 0);
        assert!(!lines[0].contains("interpreter="), "{backend}: {}", lines[0]);
        assert!(lines[0].contains("<not the same: the file was named /proc/self/exe>"));
        for (line, end) in [(&lines[1], "/proc/self/cwd/script 7"), (&lines[2], "script 8")] {
            assert!(line.contains("interpreter=\"/bin/sh\""), "{backend}: {line}");
            assert!(line.contains("cmdline: env ") && line.ends_with(end), "{backend}: {line}");
            assert!(!line.contains(" -e "), "{backend}: {line}");
        }
    }
}

#[test]
fn the_filter_and_the_kinds_choose_lines() {
    let world = World::new();
    for backend in backends() {
        let options = ["-o-", "-m", "basename=true", "--no-show-fd", "--no-show-env"];
        let outcome = run(&world, backend, &options, "/bin/true x; /bin/echo y >&2; exit 3");
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (3, "y\n"));
        let lines =
            [r#"<sh>: "/bin/true" ["/bin/true", "x"] = 0"#, ": COMMAND exited with status 3"];
        assert_eq!(without_pids(&outcome.out()), lines);
        let kinds = ["-o-", "--events", "new-child,tracee-spawn,tracee-exit,info"];
        let outcome = run(&world, backend, &kinds, "/bin/true; kill -TERM $$");
        assert_eq!(outcome.code(), 143, "{}", outcome.stderr);
        let lines = without_pids(&outcome.out());
        assert!(lines[0].starts_with("info: tracexec ") && lines[0].contains(" follows sh -c "));
        assert!(lines[1].starts_with(": COMMAND runs: sh -c "), "{lines:?}");
        assert!(lines[2].starts_with(": has a new child "), "{lines:?}");
        assert_eq!((lines[3].as_str(), lines.len()), (": COMMAND was killed by SIGTERM", 5));
        assert!(lines[4].ends_with("of them failed; 1 new process"), "{lines:?}");
    }
}

#[test]
fn a_log_to_a_file_is_there_as_soon_as_nothing_more_happens() {
    let world = World::new();
    for backend in backends() {
        let log = world.path("log");
        let _ = fs::remove_file(&log);
        let words = ["sh", "-c", "/bin/true; exec cat"];
        let mut command = world.tracexec(["log", "--backend", backend, "-o"]);
        command.arg(&log).arg("--").args(words).stdin(std::process::Stdio::piped());
        let mut running = world.start(command);
        eventually("the line of cat", || {
            let log = fs::read_to_string(&log).ok()?;
            log.lines().any(|line| line.contains("/cat\" [\"cat\"]")).then_some(())
        });
        running.assert_runs();
        crate::support::feed(&mut running, b"");
        assert_eq!(finish(running).code(), 0);
    }
}

#[test]
fn what_cannot_be_written_is_an_error_at_the_end_and_command_runs_on() {
    let world = World::new();
    for backend in backends() {
        let outcome = run(&world, backend, &["-o", "/dev/full"], "/bin/true; echo done");
        assert_eq!((outcome.code(), outcome.out().as_str()), (125, "done\n"));
        let said = "cannot write what is traced: No space left on device (os error 28); ";
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        // Those of sh and true, and of the end.
        assert!(outcome.stderr.contains("; 3 events are lost"), "{}", outcome.stderr);
        let outcome = run(&world, backend, &["-o", "/dev/full", "-m", "pid=1"], "echo done");
        assert!(outcome.stderr.contains("; 1 event is lost"), "{}", outcome.stderr);
        let outcome = run(&world, backend, &["-o", "none/log"], "echo done");
        assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""));
        assert!(outcome.stderr.contains("cannot write none/log: No such file"));
    }
}

#[test]
fn a_full_file_ends_with_a_whole_line_and_what_is_not_there_is_counted() {
    let world = World::new();
    let script = "ulimit -f 8; trap '' XFSZ; exec \"$0\" \"$@\"";
    let execs = "for i in $(seq 100); do /bin/true 0123456789012345678901234567890123456789; done";
    for backend in backends() {
        for rotated in [&[][..], &["--rotate", "1M"]] {
            let log = world.path("log");
            let _ = fs::remove_file(&log);
            // What is too large for the limit is refused as what is too large for the disk.
            let mut command = Command::new("bash");
            command.args(["-c", script, crate::support::TRACEXEC, "log", "--backend", backend]);
            command.args(["-o", "log"]).args(rotated).args(["--", "sh", "-c", execs]);
            world.prepare(&mut command);
            command.current_dir(world.dir.path());
            let outcome = finish(world.start(command));
            assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
            let text = fs::read_to_string(&log).unwrap();
            assert!(text.ends_with('\n') && text.len() > 4096, "{text}");
            // sh, seq, a hundred times true, and the end.
            let lost = 103 - text.lines().count();
            let said = format!("; {lost} events are lost");
            assert!(outcome.stderr.contains(&said), "{said}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::new();
    let ways = backends().flat_map(|backend| {
        ["log", "collect -F json-stream"].map(|what| format!("{what} --backend {backend} -o-"))
    });
    for way in ways {
        let tracexec = format!("'{}' {way}", crate::support::TRACEXEC);
        let mut command = std::process::Command::new("bash");
        let script = format!(
            "{tracexec} -- sh -c 'for i in 1 2 3; do /bin/true; read x <&3; done 2>&1; exit 7' 3<>fifo | \
             {{ head -n 1; printf 'a\\nb\\nc\\n' >fifo; }}; echo ${{PIPESTATUS[0]}}"
        );
        command.arg("-c").arg(format!("mkfifo fifo; {script}"));
        world.prepare(&mut command);
        command.current_dir(world.dir.path());
        let _ = fs::remove_file(world.path("fifo"));
        // The descriptor is opened for both, so that nobody waits for the other.
        let outcome = finish(world.start(command));
        assert!(outcome.out().ends_with("\n7\n"), "{}{}", outcome.out(), outcome.stderr);
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn redirections_are_done_again() {
    let world = World::new();
    world.file("in", "x\n");
    world.file("more", "before\n");
    for backend in backends() {
        let options = ["-o", "log", "--show-cmdline", "--stdio-in-cmdline", "-m", "basename=cat"];
        let script = "cat <in >>more 2>&1; cat <in 3<>rw >only 2>/dev/null; echo x | cat";
        let outcome = run(&world, backend, &options, script);
        assert_eq!((outcome.code(), outcome.out().as_str()), (0, "x\n"), "{}", outcome.stderr);
        let log = fs::read_to_string(world.path("log")).unwrap();
        let lines: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("env ")).map(|l| l.1).collect();
        assert_eq!(lines.len(), 3, "{log}");
        let dir = world.dir.path().display();
        assert!(lines[0].ends_with(&format!(" <{dir}/in >>{dir}/more 2>&1")), "{log}");
        assert!(lines[1].ends_with(&format!(" <{dir}/in >{dir}/only 2>/dev/null")), "{log}");
        assert!(log.contains("<not the same: descriptor 0 is pipe:["), "{log}");
        fs::write(world.path("only"), "old").unwrap();
        let again = lines[..2].iter().fold(String::new(), |text, line| text + "env " + line + "\n");
        let mut command = std::process::Command::new("bash");
        command.arg("-c").arg(again).current_dir("/");
        assert_eq!(finish(world.start(command)).code(), 0);
        let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
        assert_eq!((read("more").as_str(), read("only").as_str()), ("before\nx\nx\n", "x\n"));
        fs::write(world.path("more"), "before\n").unwrap();
    }
}

#[test]
fn a_terminal_gets_whole_lines_with_colours_and_nothing_that_it_would_obey() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    for backend in backends() {
        let script = r#"/bin/true "$(printf '\033[2J\033]0;owned\007')"; ./none 2>/dev/null"#;
        world.file("script", script);
        let program = tmux.tracexec.display();
        tmux.shell(&format!("{program} log --backend {backend} -- sh script"));
        let ended = tmux.ended();
        assert_eq!(ended.code, 127, "{}", ended.screen);
        let shown = r#"["/bin/true", "\x1b[2J\x1b]0;owned\x07"]"#;
        assert!(ended.screen.contains(shown), "{}", ended.screen);
        assert_ne!(tmux.value(&tmux.first, "#{pane_title}"), "owned");
        let coloured = tmux.ask(&["capture-pane", "-p", "-e", "-S", "-", "-t", &tmux.first]);
        assert!(coloured.contains("\u{1b}[33m= -2 ENOENT"), "{coloured}");
        tmux.press(&tmux.first, "C-l");
        tmux.shell(&format!("NO_COLOR=1 {program} log --backend {backend} -- sh script"));
        tmux.ended();
        let plain = tmux.ask(&["capture-pane", "-p", "-e", "-t", &tmux.first]);
        assert!(plain.contains("= -2 ENOENT") && !plain.contains("\u{1b}[33m"), "{plain}");
    }
    tmux.finish();
}

#[test]
fn an_interactive_shell_under_it_is_in_the_foreground_and_gives_the_terminal_back() {
    let world = World::new();
    let tmux = Tmux::start(&world);
    for (at, backend) in backends().enumerate() {
        let program = tmux.tracexec.display();
        let shell = format!("env PS1='inner{at}> ' bash --norc --noprofile -i");
        tmux.shell(&format!("{program} log --backend {backend} -o log{at} -- {shell}"));
        tmux.ends_with(&tmux.first, &format!("inner{at}>"));
        tmux.type_line(&tmux.first, "sleep 1000");
        let log = world.path(&format!("log{at}"));
        eventually("the line of sleep", || {
            fs::read_to_string(&log).ok()?.contains(r#"["sleep", "1000"]"#).then_some(())
        });
        // Ctrl-C is for sleep alone.
        tmux.press(&tmux.first, "C-c");
        tmux.shows(&tmux.first, "^C");
        tmux.ends_with(&tmux.first, &format!("inner{at}>"));
        tmux.type_line(&tmux.first, "exit 9");
        assert_eq!(tmux.ended().code, 9);
        let log = fs::read_to_string(log).unwrap();
        assert!(log.ends_with("COMMAND exited with status 9\n"), "{log}");
    }
    tmux.finish();
}

#[test]
fn a_signal_ends_it_with_all_that_was_seen() {
    let world = World::new();
    for backend in backends() {
        let log = world.path("log");
        let _ = fs::remove_file(&log);
        let running = start(
            &world,
            backend,
            &["-o", log.to_str().unwrap(), "--show-all-events"],
            &["sleep", "1000"],
        );
        let sleep = eventually("the line of sleep", || {
            let log = fs::read_to_string(&log).ok()?;
            let line = log.lines().find(|line| line.contains(r#"["sleep", "1000"]"#))?;
            line.split(':').next()?.parse::<i32>().ok()
        });
        running.signal(libc::SIGTERM);
        assert_eq!(finish(running).code(), 143);
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.ends_with(" of them failed; 0 new processes\n"), "{log}");
        assert!(Path::new(&format!("/proc/{sleep}")).exists());
        crate::support::signal_process(sleep, libc::SIGKILL);
    }
}

#[test]
fn a_log_of_another_user_s_command_differs_by_what_that_command_changes() {
    let world = World::new();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for backend in backends() {
        let options = ["-o-", "-u", "nobody", "--events", "exec", "-m", "basename=true"];
        let outcome = run(&world, backend, &options, "cd /; A=1 exec /bin/true");
        let lines = without_pids(&outcome.out());
        assert_eq!(lines.len(), 1, "{lines:?} {}", outcome.stderr);
        assert!(lines[0].contains("+A=\"1\"") && !lines[0].contains("HOME"), "{lines:?}");
    }
}
