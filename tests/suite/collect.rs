//! `collect` and `report`: real runs, what they write held against the schemas, and files that cannot be
//! written.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Outcome, Running, World, eventually, finish, is_gone};
use serde_json::{Value, json};

/// The sources over which everything is tried.
const BACKENDS: &[&str] = if cfg!(feature = "ebpf") { &["ptrace", "ebpf"] } else { &["ptrace"] };

fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn keeps_to(schema: &jsonschema::Validator, value: &Value) {
    let errors: Vec<String> = schema.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

/// A document, which is right.
#[track_caller]
fn document(text: &[u8]) -> Value {
    let value = serde_json::from_slice(text).unwrap();
    keeps_to(&schema("collect.json"), &value);
    value
}

/// The lines of a stream, each of them right.
#[track_caller]
fn lines(text: &[u8]) -> Vec<Value> {
    let schema = schema("collect-stream.json");
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    lines.iter().for_each(|line| keeps_to(&schema, line));
    assert!(text.ends_with(b"\n"), "half a line");
    lines
}

/// `tracexec collect` with these options, to be given a command.
fn collect(world: &World, backend: &str, options: &[&str]) -> Command {
    let mut command = world.tracexec(["collect", "--backend", backend]);
    command.args(options).arg("--").current_dir(world.dir.path());
    command
}

#[track_caller]
fn collect_sh(world: &World, backend: &str, options: &[&str], script: &str) -> Outcome {
    let mut command = collect(world, backend, options);
    command.args(["sh", "-c", script]);
    finish(world.start(command))
}

fn report(world: &World, options: &[&str]) -> Outcome {
    let mut command = world.tracexec(["report"]);
    command.args(options).current_dir(world.dir.path());
    finish(world.start(command))
}

/// The execs of a document or a stream, in their order.
fn execs(events: &[Value]) -> Vec<&Value> {
    let mut execs: Vec<&Value> = events.iter().filter(|event| event["event"] == "exec").collect();
    execs.sort_by_key(|exec| exec["id"].as_u64());
    execs
}

fn of_basename<'a>(execs: &[&'a Value], name: &str) -> Vec<&'a Value> {
    let ends = format!("/{name}");
    let named = |exec: &&&Value| exec["filename"].as_str().is_some_and(|f| f.ends_with(&ends));
    execs.iter().filter(named).copied().collect()
}

/// What a program does that shows all that is told of an exec.
fn everything(world: &World, backend: &str, options: &[&str]) -> Vec<u8> {
    world.fixture("hello", &[]);
    let at = world.fixture("execveat", &[]);
    world.file("script", "#!/bin/sh\nexit 3\n");
    let script = format!(
        "chmod +x script; ./script; X=1 /bin/true \"$1\"; env -u HOME /bin/true 5<script;
         {at} {dir} hello; /none; (exec sh -c 'kill -SEGV $$')",
        at = at.display(),
        dir = world.dir.path().display()
    );
    let mut command = collect(world, backend, options);
    let odd = OsString::from_vec(b"a\xff\x1b[2J".to_vec());
    command.args(["sh", "-c", &script, "sh"]).arg(odd).env("HOME", "/").env_remove("X");
    // The shell would set it anew.
    command.env("PWD", world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), outcome.out().as_str()), (139, "hello\n"), "{}", outcome.stderr);
    fs::read(world.path("out")).unwrap()
}

/// What both formats tell.
#[track_caller]
fn has_everything(world: &World, events: &[Value]) {
    let all = execs(events);
    let ids: Vec<u64> = all.iter().filter_map(|exec| exec["id"].as_u64()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]) && ids[0] == 1, "{ids:?}");
    let first = all[0];
    assert_eq!((&first["depth"], &first["parent"]), (&json!(0), &Value::Null));
    assert_eq!(first["argv"][4], json!({ "bytes": "Yf8bWzJK" }));
    assert_eq!(first["cwd"], world.dir.path().to_str().unwrap());

    let true_ones = of_basename(&all, "true");
    assert_eq!(true_ones[0]["argv"], json!(["/bin/true", { "bytes": "Yf8bWzJK" }]));
    assert_eq!(true_ones[0]["parent"], json!({ "how": "spawned", "exec": 1 }));
    assert_eq!((&true_ones[0]["comm"], &true_ones[0]["prev_comm"]), (&"true".into(), &"sh".into()));
    let uids = json!({ "real": 0, "effective": 0, "saved": 0, "file_system": 0 });
    assert_eq!(true_ones[0]["ids"]["uids"], uids);
    let env = of_basename(&all, "env");
    let env = env.iter().find(|exec| exec["result"] == 0).unwrap();
    assert_eq!(true_ones[1]["parent"], json!({ "how": "becomes", "exec": env["id"] }));
    let fds = true_ones[1]["fds"].as_array().unwrap();
    let five = fds.iter().find(|fd| fd["fd"] == 5).unwrap();
    assert_eq!(five["path"], world.path("script").to_str().unwrap());
    assert_eq!((&five["kind"], &five["position"]), (&"file".into(), &json!(0)));
    assert_eq!(five["flags"]["names"][0], "O_RDONLY");

    let script = of_basename(&all, "script")[0];
    assert_eq!((&script["result"], &script["errno"]), (&json!(0), &Value::Null));
    assert!(script["exe"].as_str().unwrap().ends_with("sh"), "{script}");
    let none = of_basename(&all, "none")[0];
    assert_eq!((&none["result"], &none["errno"]), (&json!(-2), &"ENOENT".into()));
    let call = |exec: &&Value| exec["call"]["name"] == "execveat";
    let at = all.iter().copied().find(call).unwrap();
    assert!(at["call"]["dirfd"].is_i64() && at["call"]["flags"]["number"].is_u64(), "{at}");
    assert!(all.iter().all(|exec| exec["faults"] == json!({})), "{all:?}");
}

#[test]
fn a_document_tells_everything_and_how_each_program_was_over() {
    for backend in BACKENDS {
        let world = World::new();
        let text = everything(&world, backend, &["--format", "json", "-o", "out"]);
        let whole = document(&text);
        assert_eq!(whole["about"]["source"], *backend);
        assert_eq!(whole["about"]["command"][4], json!({ "bytes": "Yf8bWzJK" }));
        let events = whole["events"].as_array().unwrap();
        has_everything(&world, events);
        let all = execs(events);
        let script = of_basename(&all, "script")[0];
        assert_eq!((&script["exit"]["status"], &script["became"]), (&json!(3), &Value::Null));
        assert_eq!(script["exit"]["usage"].is_object(), *backend == "ptrace", "{script}");
        let duration = script["exit"]["duration"].as_u64().unwrap();
        let since = script["exit"]["time"].as_u64().unwrap() - script["time"].as_u64().unwrap();
        assert_eq!(duration, since);
        let kills = |exec: &&&Value| exec["argv"][2] == "kill -SEGV $$" && exec["result"] == 0;
        let killed = *all.iter().find(kills).unwrap();
        assert_eq!(
            (&killed["exit"]["signal"], &killed["exit"]["signal_name"]),
            (&json!(11), &"SIGSEGV".into())
        );
        for exec in &all {
            let over = exec["exit"].is_object() || exec["became"].is_u64();
            assert_eq!(over, exec["result"] == 0, "{exec}");
            if let Some(next) = exec["became"].as_u64() {
                let next = all.iter().find(|exec| exec["id"] == next).unwrap();
                assert_eq!(next["parent"], json!({ "how": "becomes", "exec": exec["id"] }));
            }
        }
        assert_eq!(whole["end"]["command"]["status"], 139);
    }
}

#[test]
fn a_stream_tells_everything_in_its_order_with_environments_as_differences() {
    for backend in BACKENDS {
        let world = World::new();
        let options = ["-F", "json-stream", "--env", "diff", "-o", "out"];
        let lines = lines(&everything(&world, backend, &options));
        let kinds: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!((kinds[0], *kinds.last().unwrap()), ("about", "end"));
        has_everything(&world, &lines);
        let times: Vec<u64> = lines.iter().filter_map(|line| line["time"].as_u64()).collect();
        assert!(times.is_sorted(), "{times:?}");
        let all = execs(&lines);
        let true_ones = of_basename(&all, "true");
        assert_eq!(true_ones[0]["env"], json!({ "set": ["X=1"], "unset": [] }));
        assert_eq!(true_ones[1]["env"], json!({ "set": [], "unset": ["HOME"] }));
        let script = of_basename(&all, "script")[0];
        let end =
            lines.iter().find(|line| line["event"] == "ended" && line["exec"] == script["id"]);
        assert_eq!(end.unwrap()["status"], 3);
    }
}

#[test]
fn the_file_has_a_name_by_its_format_and_stays_what_it_was_until_its_successor_is_complete() {
    for backend in BACKENDS {
        let world = World::new();
        for (format, name) in [("json", "tracexec.json"), ("json-stream", "tracexec.jsonl")] {
            let outcome = collect_sh(&world, backend, &["-F", format], "exit 7");
            assert_eq!((outcome.code(), outcome.stderr.as_str()), (7, ""));
            assert!(world.path(name).is_file(), "{name}");
        }
        let before = world.file("tracexec.json", "before");
        let seen = collect_sh(&world, backend, &["-F", "json"], "cat tracexec.json");
        assert_eq!(seen.out(), "before");
        document(&fs::read(&before).unwrap());
        let names = fs::read_dir(world.dir.path()).unwrap().flatten();
        assert!(
            names.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        );
    }
}

/// A trace of a shell that runs until it is told to end, and that shell's pid.
fn endless(world: &World, backend: &str, format: &str) -> (Running, i32) {
    let mut command = collect(world, backend, &["-F", format, "-o", "out"]);
    command.args(["sh", "-c", "/bin/true; echo $$ >pid.new; mv pid.new pid; sleep 1000; :"]);
    let session = world.start(command);
    let pid = eventually("the shell's pid", || {
        fs::read_to_string(world.path("pid")).ok()?.trim().parse().ok()
    });
    (session, pid)
}

#[test]
fn a_signal_finishes_the_file() {
    for backend in BACKENDS {
        for (format, signal) in
            [("json", libc::SIGTERM), ("json-stream", libc::SIGTERM), ("json", libc::SIGINT)]
        {
            let world = World::new();
            let (session, shell) = endless(&world, backend, format);
            session.signal(signal);
            let group = session.pid();
            let outcome = finish(session);
            assert_eq!(outcome.code(), 128 + signal, "{}", outcome.stderr);
            let text = fs::read(world.path("out")).unwrap();
            let events = match format {
                "json" => document(&text)["events"].as_array().unwrap().clone(),
                _ => lines(&text),
            };
            let all = execs(&events);
            assert!(!of_basename(&all, "true").is_empty(), "{events:?}");
            let last = document_end(&text);
            assert!(last["command"].is_null(), "{last}");
            // COMMAND runs on where it is not bound to its tracer.
            crate::support::signal_process(-group, libc::SIGKILL);
            eventually("the shell's end", || is_gone(shell).then_some(()));
        }
    }
}

fn document_end(text: &[u8]) -> Value {
    match serde_json::from_slice::<Value>(text) {
        Ok(whole) => whole["end"].clone(),
        Err(_) => lines(text).pop().unwrap(),
    }
}

#[test]
fn ctrl_c_on_the_terminal_ends_the_command_and_the_file_has_its_end() {
    use crate::support::tmux::Tmux;
    for backend in BACKENDS {
        let world = World::new();
        let tmux = Tmux::start(&world);
        let line = format!(
            "cd '{}' && '{}' collect --backend {backend} -F json -o out -- sh -c 'echo o''n; sleep 1000'",
            world.dir.path().display(),
            crate::support::TRACEXEC
        );
        tmux.type_line(&tmux.first, &line);
        tmux.ends_with(&tmux.first, "\non");
        tmux.press(&tmux.first, "C-c");
        let whole = eventually("the document", || fs::read(world.path("out")).ok());
        assert_eq!(document(&whole)["end"]["command"]["signal"], 2);
        tmux.finish();
    }
}

/// How many events are said to be lost.
#[track_caller]
fn lost(outcome: &Outcome, why: &str) -> u64 {
    assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.contains(why));
    let line = line.unwrap_or_else(|| panic!("no {why:?} in {}", outcome.stderr));
    let words: Vec<&str> = line.split(' ').collect();
    let at = words.iter().position(|word| *word == "events").expect(line);
    words[at - 1].parse().expect(line)
}

const FULL: &str = "No space left on device";

#[test]
fn a_full_disk_is_an_error_at_the_end_and_the_command_goes_on() {
    let script = "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done; echo done";
    for backend in BACKENDS {
        let world = World::new();
        let disk = world.path("disk");
        fs::create_dir(&disk).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&disk)
            .status()
            .unwrap();
        assert!(mounted.success());
        let _unmount = Unmount(disk.clone());
        for format in ["json", "json-stream"] {
            let outcome = collect_sh(&world, backend, &["-F", format, "-o", "/dev/full"], script);
            assert_eq!((lost(&outcome, FULL), outcome.out().as_str()), (301 + 1, "done\n"));

            fs::write(disk.join("out"), "before").unwrap();
            let outcome = collect_sh(&world, backend, &["-F", format, "-o", "disk/out"], script);
            assert_eq!(outcome.out(), "done\n");
            let lost = lost(&outcome, FULL);
            let text = fs::read(disk.join("out")).unwrap();
            if format == "json" {
                assert_eq!((lost, text.as_slice()), (302, &b"before"[..]));
                // What was written is kept beside it.
                let all = fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().path());
                let kept = all.filter(|path| !path.ends_with("out")).collect::<Vec<_>>();
                let [kept] = &kept[..] else { panic!("{kept:?}") };
                let name = kept.file_name().unwrap().to_str().unwrap();
                assert!(outcome.stderr.contains(name), "{name}: {}", outcome.stderr);
                fs::remove_file(kept).unwrap();
            } else {
                // What is there can be read; the first line is no event.
                let written = memchr::memchr_iter(b'\n', &text).count() as u64 - 1;
                assert!(lost < 302 && written + lost >= 302, "{written} and {lost}");
                let report = report(&world, &["disk/out"]);
                assert_eq!(report.code(), 0, "{}", report.stderr);
                assert!(report.stderr.contains("has no end"), "{}", report.stderr);
            }
            assert_eq!(fs::read_dir(&disk).unwrap().count(), 1, "something is left");
        }
    }
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn what_cannot_be_written_is_said_before_the_command_runs() {
    for backend in BACKENDS {
        let world = World::new();
        let outcome = collect_sh(&world, backend, &["-F", "json", "-o", "none/out"], "echo ran");
        assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""));
        let message = "cannot write none/out: No such file or directory (os error 2)\n";
        assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
    }
}

/// A recording in both formats of the same run.
fn recorded(world: &World, backend: &str) {
    let script = "sh -c '/bin/true; /bin/echo a; :'; (X=1 /bin/true); /none; env -i /bin/echo b";
    let outcome = collect_sh(world, backend, &["-F", "json", "-o", "whole.json"], script);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let to_stream = report(world, &["whole.json", "-F", "json-stream", "-o", "stream.jsonl"]);
    assert_eq!((to_stream.code(), to_stream.stderr.as_str()), (0, ""));
}

#[test]
fn one_format_becomes_the_other_and_comes_back_the_same() {
    for backend in BACKENDS {
        let world = World::new();
        recorded(&world, backend);
        let whole = fs::read(world.path("whole.json")).unwrap();
        lines(&fs::read(world.path("stream.jsonl")).unwrap());
        let back = report(&world, &["stream.jsonl", "-F", "json"]);
        assert!(back.stdout == whole, "{}", back.stderr);
        // Over itself, and from standard input.
        let onto = report(&world, &["stream.jsonl", "-F", "json-stream", "-o", "stream.jsonl"]);
        assert_eq!(onto.code(), 0, "{}", onto.stderr);
        let mut command = world.tracexec(["report", "-", "-F", "json", "--pretty"]);
        command.stdin(Stdio::from(File::open(world.path("stream.jsonl")).unwrap()));
        let pretty = finish(world.start(command));
        assert!(document(&pretty.stdout) == document(&whole), "{}", pretty.stderr);
    }
}

#[test]
fn a_filter_finds_in_a_recording_what_it_finds_in_the_run() {
    for backend in BACKENDS {
        let world = World::new();
        recorded(&world, backend);
        let shown = |filter: &str, file: &str| -> Vec<String> {
            let outcome = report(&world, &[file, "-m", filter, "-F", "json-stream"]);
            assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{filter}");
            let lines = lines(&outcome.stdout);
            let line = |exec: &Value| {
                let words = exec["argv"].as_array().unwrap().iter();
                words.map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ")
            };
            execs(&lines).into_iter().map(line).collect()
        };
        let nothing: &[&str] = &[];
        for (filter, expected) in [
            ("basename=true", &["/bin/true", "/bin/true"][..]),
            ("basename=true and env[X]=1", &["/bin/true"]),
            ("argv~'^/bin/echo '", &["/bin/echo a", "/bin/echo b"]),
            // The parent forked, and executed nothing itself.
            ("basename=true and parent.comm=sh and depth=2", &["/bin/true"]),
            ("basename=echo and parent.argv[1]=-c and parent.depth=1", &["/bin/echo a"]),
            ("basename=echo and ancestor.depth=1", &["/bin/echo a"]),
            ("basename=echo and not env[PATH]", &["/bin/echo b"]),
            ("basename=none and fd[0].type=char", &["/none"]),
            ("interpreter", nothing),
            ("uid!=0", nothing),
        ] {
            for file in ["whole.json", "stream.jsonl"] {
                assert_eq!(shown(filter, file), expected, "{filter} in {file}");
            }
        }
    }
}

#[test]
fn ancestors_that_a_recording_lacks_are_not_guessed() {
    for backend in BACKENDS {
        let world = World::new();
        let options = ["-F", "json-stream", "-o", "part.jsonl", "-m", "basename!=sh"];
        let script = "env sh -c 'env /bin/true; :'; :";
        let outcome = collect_sh(&world, backend, &options, script);
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        for (filter, count) in [
            ("basename=true", 1),
            ("basename=true and depth=2", 1),
            // Nothing shows that it is none of them, either.
            ("basename=true and ancestor.basename=env", 0),
            ("basename=true and not ancestor.basename=env", 0),
        ] {
            let outcome = report(&world, &["part.jsonl", "-m", filter, "-F", "json"]);
            let whole = document(&outcome.stdout);
            assert_eq!(execs(whole["events"].as_array().unwrap()).len(), count, "{filter}");
        }
    }
}

#[test]
fn without_a_format_a_recording_is_summed_up() {
    for backend in BACKENDS {
        let world = World::new();
        recorded(&world, backend);
        let outcome = report(&world, &["stream.jsonl"]);
        let text = outcome.out();
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
        assert!(text.contains("; exit status 0\n"), "{text}");
        assert!(text.contains("ENOENT: No such file or directory"), "{text}");
        let frequent = text.split("the most frequent").nth(1).unwrap();
        assert!(
            frequent
                .lines()
                .any(|line| line.trim_start().starts_with("2 ") && line.ends_with(" true")),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_a_reason() {
    let world = World::new();
    for (content, reason) in [
        ("hello", "is not what `collect"),
        ("", "it is empty"),
        ("{}", "it has no \"about\""),
        ("{\"format\":\"tracexec-collect\",\"version\":1,\"about\":{\"com", "it is cut off"),
        ("{\"event\":\"about\",\"format\":\"other\",\"version\":1}", "missing field"),
    ] {
        world.file("file", content);
        let outcome = report(&world, &["file"]);
        assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""), "{content}");
        assert!(outcome.stderr.contains(reason), "{content}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("hint: "), "{}", outcome.stderr);
    }
    let outcome = report(&world, &["none"]);
    assert!(outcome.stderr.contains("cannot read none: No such file"), "{}", outcome.stderr);
}
