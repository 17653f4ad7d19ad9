//! What is written, against what the extensions say that they take.

use super::Workspace;
use crate::support::{World, finish};
use serde_json::{Value, json};

/// What of a JSON schema the files beside this one use. Each word that is not known is an error.
fn flaws(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, wanted) in schema.as_object().unwrap() {
        let sub =
            |schema: &Value, value: &Value, key: &str| flaws(schema, value, &format!("{at}/{key}"));
        match word.as_str() {
            "const" if value == wanted => {}
            "enum" if wanted.as_array().unwrap().contains(value) => {}
            "type" if has_type(wanted, value) => {}
            "anyOf" if wanted.as_array().unwrap().iter().any(|s| sub(s, value, "").is_empty()) => {}
            "required" => {
                let names = wanted.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                let missing = names.filter(|name| value.get(name).is_none());
                found.extend(missing.map(|name| format!("{at} lacks {name}")));
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.flat_map(|item| sub(wanted, item, "item")));
            }
            "properties" => {
                for (name, schema) in wanted.as_object().unwrap() {
                    found.extend(value.get(name).into_iter().flat_map(|v| sub(schema, v, name)));
                }
            }
            "additionalProperties" => {
                for (name, other) in value.as_object().into_iter().flatten() {
                    match wanted {
                        _ if schema["properties"].get(name).is_some() => {}
                        Value::Bool(false) => found.push(format!("{at} has {name}")),
                        schema => found.extend(sub(schema, other, name)),
                    }
                }
            }
            _ => found.push(format!("{at}: {word} {wanted} does not hold of {value}")),
        }
    }
    found
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    wanted.as_array().map_or_else(|| is(wanted), |names| names.iter().any(is))
}

fn schemas() -> Value {
    serde_json::from_str(include_str!("schemas/launch.json")).unwrap()
}

#[track_caller]
fn check(kind: &str, configuration: &Value) {
    let request = configuration["request"].as_str().unwrap();
    let found = flaws(&schemas()[format!("{kind} {request}")], configuration, kind);
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
        assert_eq!(flaws(&schemas()["lldb-dap attach"], &bad, "").len(), 1, "{bad}");
    }
    let empty = flaws(&schemas()["cppdbg attach"], &json!({}), "");
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
