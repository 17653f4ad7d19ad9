//! A Perfetto trace, read with the descriptors that Perfetto publishes, against the JSON of the same run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{World, finish};
use serde_json::{Value, json};

/// The sources over which everything is tried.
const BACKENDS: &[&str] = if cfg!(feature = "ebpf") { &["ptrace", "ebpf"] } else { &["ptrace"] };

/// A python that has the package, from where `.ci/setup --test` puts it.
#[track_caller]
fn python() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let python = Path::new(&home).join(".cache/tracexec-tests/python/bin/python");
    let works = Command::new(&python).args(["-c", "import perfetto"]).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let reason = format!("{} has no package perfetto: run .ci/setup --test", python.display());
    eprintln!("not tested: {reason}");
    assert!(std::env::var_os("TRACEXEC_TEST_ALL").is_none(), "{reason}");
    None
}

/// What the trace in a file holds.
#[track_caller]
fn decoded(python: &Path, file: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/support/read_perfetto.py");
    let output = Command::new(python).arg(script).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A run with a build's shapes, recorded as JSON and told as a Perfetto trace.
fn run(world: &World, backend: &str, python: &Path) -> (Value, Value) {
    let script = "sh -c '/bin/true \"a b\"; (X=1 /bin/echo c >/dev/null); :'; /none; env /bin/true;
                  sh -c 'kill -9 $$' || exit 4";
    let mut command = world.tracexec(["collect", "--backend", backend, "-F", "json"]);
    command.args(["-o", "run.json", "--", "sh", "-c", script]).current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 4, "{}", outcome.stderr);
    let mut command = world.tracexec(["report", "run.json", "-F", "perfetto", "-o", "run.pftrace"]);
    command.current_dir(world.dir.path());
    let outcome = finish(world.start(command));
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    let text = fs::read_to_string(world.path("run.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    (whole, decoded(python, &world.path("run.pftrace")))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

fn basename(path: &Value) -> &str {
    path.as_str().unwrap().rsplit('/').next().unwrap()
}

#[test]
fn each_exec_is_a_slice_of_its_times_on_a_track_below_that_of_its_parent() {
    let Some(python) = python() else { return };
    for backend in BACKENDS {
        let world = World::new();
        let (recorded, trace) = run(&world, backend, &python);
        let execs = list(&recorded, "events").iter().filter(|event| event["event"] == "exec");
        let execs: HashMap<u64, &Value> =
            execs.map(|exec| (exec["id"].as_u64().unwrap(), exec)).collect();
        let events = list(&trace, "events");
        let tracks: HashMap<u64, &Value> =
            list(&trace, "tracks").iter().map(|t| (t["uuid"].as_u64().unwrap(), t)).collect();
        let (mut slices, mut instants) = (0, 0);
        for event in events.iter().filter(|event| event["type"] != "TYPE_SLICE_END") {
            let exec = execs[&event["details"]["exec"].as_u64().unwrap()];
            assert_eq!(
                (&event["time"], &event["clock"]),
                (&exec["time"], &"BUILTIN_CLOCK_BOOTTIME".into())
            );
            let details = &event["details"];
            for part in ["pid", "argv", "cwd", "filename", "uid"] {
                assert_eq!(details[part], exec[part], "{event}");
            }
            let track = tracks[&event["track"].as_u64().unwrap()];
            assert!(
                track["name"].as_str().unwrap().ends_with(&format!(" {}", exec["pid"])),
                "{track}"
            );
            if exec["result"] != 0 {
                instants += 1;
                let name =
                    format!("{}: {}", basename(&exec["filename"]), exec["errno"].as_str().unwrap());
                assert_eq!(
                    (&event["type"], &event["name"]),
                    (&"TYPE_INSTANT".into(), &name.into())
                );
                assert_eq!(event["categories"], json!(["failure"]));
                continue;
            }
            slices += 1;
            assert_eq!(event["type"], "TYPE_SLICE_BEGIN");
            assert_eq!(event["name"], basename(&exec["filename"]));
            let ends = |other: &&Value| {
                other["track"] == event["track"]
                    && other["type"] == "TYPE_SLICE_END"
                    && other["time"].as_u64() > event["time"].as_u64()
            };
            let end = events.iter().find(ends).unwrap();
            let next = exec["became"].as_u64().map(|id| execs[&id]);
            let over = next.map_or(&exec["exit"]["time"], |next| &next["time"]);
            assert_eq!(&end["time"], over, "{event}");
            let (status, signal) = (&exec["exit"]["status"], &exec["exit"]["signal_name"]);
            assert_eq!(
                (&end["details"]["exit status"], &end["details"]["signal"]),
                (status, signal)
            );
        }
        assert_eq!(slices, execs.values().filter(|exec| exec["result"] == 0).count());
        assert_eq!(slices + instants, execs.len());
        // By parents, over those that have executed nothing themselves.
        let parents: HashMap<u64, u64> = list(&recorded, "events")
            .iter()
            .filter(|event| event["event"] == "begun")
            .map(|begun| (begun["pid"].as_u64().unwrap(), begun["parent"].as_u64().unwrap()))
            .collect();
        let pid_of = |track: &Value| -> u64 {
            track["name"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap()
        };
        for track in tracks.values() {
            let parent =
                tracks.get(&track["parent"].as_u64().unwrap()).map(|parent| pid_of(parent));
            assert_eq!(parent, parents.get(&pid_of(track)).copied(), "{track}");
        }
        assert!(tracks.values().any(|track| track["name"].as_str().unwrap().starts_with("none ")));
    }
}

#[test]
fn what_is_told_beside_it_is_what_json_tells() {
    let Some(python) = python() else { return };
    for backend in BACKENDS {
        let world = World::new();
        let (recorded, trace) = run(&world, backend, &python);
        let about = &recorded["about"];
        assert_eq!(trace["clocks"]["BUILTIN_CLOCK_BOOTTIME"], about["time"]);
        let echo = |event: &&Value| event["name"] == "echo";
        let event = list(&trace, "events").iter().find(echo).unwrap();
        let details = &event["details"];
        assert_eq!(details["env"]["set"].as_array().unwrap()[0], "X=1");
        assert_eq!(details["command line"], "/bin/echo c");
        let one = details["fds"].as_array().unwrap().iter().find(|fd| fd["fd"] == 1).unwrap();
        assert_eq!((&one["path"], &one["kind"]), (&"/dev/null".into(), &"char".into()));
        let with_space =
            list(&trace, "events").iter().find(|event| event["details"]["argv"][1] == "a b");
        assert_eq!(with_space.unwrap()["details"]["command line"], "/bin/true 'a b'");
    }
}

#[test]
fn a_run_is_written_to_a_file_of_its_own_name() {
    let Some(python) = python() else { return };
    for backend in BACKENDS {
        let world = World::new();
        let args = [
            "collect",
            "--backend",
            backend,
            "-F",
            "perfetto",
            "--",
            "sh",
            "-c",
            "/bin/true; exit 6",
        ];
        let mut command = world.tracexec(args);
        command.current_dir(world.dir.path());
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (6, ""));
        let trace = decoded(&python, &world.path("tracexec.pftrace"));
        assert_eq!(list(&trace, "tracks").len(), 2);
    }
}
