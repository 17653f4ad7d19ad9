//! What is written, against what the extensions say that they take.

use super::Workspace;
use crate::support::{World, finish};
use serde_json::{Value, json};

/// What of a configuration the schema of this name does not allow.
fn flaws(name: &str, configuration: &Value) -> Vec<String> {
    let schemas: Value = serde_json::from_str(include_str!("schemas/launch.json")).unwrap();
    let validator = jsonschema::validator_for(&schemas[name]).unwrap();
    let flaws = validator.iter_errors(configuration);
    flaws.map(|flaw| format!("{}: {flaw}", flaw.instance_path())).collect()
}

#[track_caller]
pub fn check(kind: &str, configuration: &Value) {
    let request = configuration["request"].as_str().unwrap();
    let found = flaws(&format!("{kind} {request}"), configuration);
    assert!(found.is_empty(), "{found:#?} in {configuration:#}");
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    let good = json!({ "name": "x", "type": "lldb-dap", "request": "attach", "pid": 7 });
    check("lldb-dap", &good);
    for (key, wrong) in [
        ("pid", json!("7")),
        ("processId", json!(7)),
        ("request", json!("launch")),
        ("postRunCommands", json!([7])),
        ("stopOnEntry", json!(0)),
    ] {
        let mut bad = good.clone();
        bad[key] = wrong;
        assert_eq!(flaws("lldb-dap attach", &bad).len(), 1, "{bad}");
    }
    let empty = flaws("cppdbg attach", &json!({}));
    assert_eq!(empty.len(), 5, "{empty:?}");
}

#[test]
fn every_type_gets_what_its_extension_takes() {
    let world = World::new();
    let again = world.fixture("again", &[]);
    let file = world.file("input", "a line\n");
    for name in ["cppdbg", "cppdbg-lldb", "codelldb", "lldb-dap", "gdb-dap", "go"] {
        let takes_commands = ["cppdbg", "codelldb", "lldb-dap"].contains(&name);
        for commands in [false, true].into_iter().filter(|commands| !commands || takes_commands) {
            let workspace = Workspace::new(&world);
            let script = format!("CASE=1 {} a 'b c' <{}", again.display(), file.display());
            let mut options = vec!["-m", "basename=again", "--debugger", name];
            if commands {
                options.extend(["--break", "again.c:12", "--ex", "help"]);
                options.extend(["-x", file.to_str().unwrap()]);
            }
            let (session, pid) = workspace.hit(&options, &["sh", "-c", &script]);
            let kind = workspace.configuration("tracexec: attach")["type"].clone();
            for (_, configuration) in workspace.configurations() {
                check(kind.as_str().unwrap(), &configuration);
            }
            world.run(["release", &pid.to_string()]);
            assert_eq!(finish(session).code(), 5);
            std::fs::remove_dir_all(&workspace.folder).unwrap();
        }
    }
}

#[test]
fn what_a_type_has_no_words_for_is_an_error_beforehand() {
    let world = World::new();
    let workspace = Workspace::new(&world);
    for (debugger, option, value, error) in [
        ("go", "--break", "main", "has no words for --break"),
        ("gdb-dap", "--ex", "bt", "has no words for --ex"),
        ("lldb-dap", "--break", "${workspaceFolder}", "--break: it cannot be written"),
        ("cppdbg", "--ex", "echo ${env:HOME}", "--ex: it cannot be written"),
        ("strace", "--ex", "bt", "has no such type that we know"),
    ] {
        let options = ["--in", "vscode", "-m", "argc>0", "--debugger", debugger, option, value];
        let outcome = finish(world.start(workspace.tracexec(&options, &["true"])));
        assert_eq!(outcome.code(), 125, "{debugger} {option}");
        assert!(outcome.stderr.contains(error), "{}", outcome.stderr);
    }
    assert_eq!(workspace.text(), None);
}
