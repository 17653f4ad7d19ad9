//! Configurations that run a program again.

use serde_json::{Map, Value, json};

use super::again::Again;
use super::attach::Wishes;
use super::kind::Kind;
use super::text::{Unfit, fit, fit_command};
use crate::launcher::command::Break;
use crate::text::escape;

/// A configuration without its name, and what had to be left out of it.
#[derive(Debug)]
pub struct Launch {
    pub entry: Value,
    pub left_out: Vec<String>,
}

/// How long the arguments may be that are written, in bytes.
const LONG: usize = 1 << 20;

/// The configuration; or what of it cannot be written, without which it would run something else.
pub fn configuration(kind: Kind, again: &Again, wishes: &Wishes) -> Result<Launch, String> {
    let must = |what: &str, result: Result<String, Unfit>| {
        result.map_err(|why| format!("{what} cannot be written: {why}"))
    };
    let program = must("the program's path", fit_command(&again.program).map(String::from))?;
    let cwd = must("its directory", fit_command(&again.cwd).map(String::from))?;
    if again.args.iter().map(Vec::len).sum::<usize>() > LONG {
        return Err("its arguments are longer than 1 MiB".into());
    }
    let mut args = Vec::new();
    for (at, arg) in again.args.iter().enumerate() {
        let arg = if kind == Kind::Cppdbg { shell_word(arg) } else { fit(arg).map(String::from) };
        args.push(must(&format!("argument {}", at + 1), arg)?);
    }
    let mut left_out = Vec::new();
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| {
        let empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        // gdb's own adapter takes the absence of an environment for another one than the empty one.
        if !empty || key == "args" || kind == Kind::GdbDap {
            entry.insert(key.to_string(), value);
        }
    };
    put("type", json!(kind.json_type()));
    put("request", json!("launch"));
    if kind == Kind::Go {
        put("mode", json!("exec"));
    }
    put("program", json!(program));
    let input = standard_input(kind, again, &mut left_out);
    if let (Kind::Cppdbg, Some(path)) = (kind, &input) {
        // Its arguments pass through a shell.
        args.extend(["<".into(), format!("\"{path}\"")]);
    }
    put("args", json!(args));
    put("cwd", json!(cwd));
    let env = environment(kind, again, &mut left_out);
    let as_object = || env.iter().cloned().map(|(k, v)| (k, json!(v))).collect::<Map<_, _>>();
    let at_main = wishes.stop_at == Break::Main;
    let lldb_commands = |commands: Vec<String>| {
        let all = wishes.lldb_breakpoint().into_iter().chain(commands);
        json!(all.collect::<Vec<_>>())
    };
    match kind {
        Kind::Cppdbg | Kind::CppdbgLldb => {
            let pair = |(name, value)| json!({ "name": name, "value": value });
            put("environment", env.into_iter().map(pair).collect());
            put("externalConsole", json!(false));
            put("stopAtEntry", json!(at_main));
            put("MIMode", json!(if kind == Kind::Cppdbg { "gdb" } else { "lldb" }));
            if let Some(path) = &wishes.mi_debugger {
                put("miDebuggerPath", json!(path));
            }
            if kind == Kind::Cppdbg {
                let place = wishes.gdb_breakpoint().filter(|_| !at_main);
                let all = place.into_iter().chain(wishes.gdb_commands());
                put("setupCommands", all.collect());
            }
        }
        Kind::CodeLldb => {
            put("env", json!(as_object()));
            if let Some(path) = &input {
                put("stdio", json!([path, null, null]));
            }
            put("preRunCommands", lldb_commands(Vec::new()));
        }
        Kind::LldbDap => {
            // LLVM 19 and earlier know no object here.
            let pair = |(name, value): &(String, String)| json!(format!("{name}={value}"));
            put("env", env.iter().map(pair).collect());
            let redirect =
                input.iter().map(|path| format!("settings set target.input-path \"{path}\""));
            put("preRunCommands", lldb_commands(redirect.collect()));
        }
        Kind::GdbDap => {
            put("env", json!(as_object()));
            put("stopAtBeginningOfMainSubprogram", json!(at_main));
        }
        Kind::Go => {
            put("env", json!(as_object()));
        }
    }
    Ok(Launch { entry: Value::Object(entry), left_out })
}

/// The file to read from, where the type can have one.
fn standard_input(kind: Kind, again: &Again, left_out: &mut Vec<String>) -> Option<String> {
    let path = again.stdin.as_ref()?;
    if !matches!(kind, Kind::Cppdbg | Kind::CodeLldb | Kind::LldbDap) {
        left_out.push(format!("its standard input, for which {} has no words", kind.name()));
        return None;
    }
    // In double quotes a shell still has its variables.
    let fits = fit_command(path).and_then(|text| match text.contains('$') {
        true => Err(Unfit::Variable),
        false => Ok(text.to_string()),
    });
    fits.map_err(|why| left_out.push(format!("its standard input: {why}"))).ok()
}

/// The variables to set; gdb's own adapter is given all of them or none.
fn environment(kind: Kind, again: &Again, left_out: &mut Vec<String>) -> Vec<(String, String)> {
    let all = match kind {
        Kind::GdbDap => &again.whole_env,
        _ => &again.env,
    };
    if again.whole_env.is_empty() {
        left_out.push("its environment, which could not be read or is empty".into());
    }
    let mut fitting = Vec::new();
    for (name, value) in all {
        let value = match kind {
            // It becomes a command.
            Kind::Cppdbg | Kind::CppdbgLldb => fit_command(value),
            _ => fit(value),
        };
        match fit_command(name).and_then(|name| Ok((name.to_string(), value?.to_string()))) {
            Ok(pair) => fitting.push(pair),
            Err(why) => left_out.push(format!("the variable {}: {why}", escape::text(name))),
        }
    }
    fitting
}

/// An argument as a shell takes it. cppdbg hands its arguments to gdb, and that to a shell, and puts quotes
/// around what holds a space and does not begin with one.
fn shell_word(arg: &[u8]) -> Result<String, Unfit> {
    let text = fit(arg)?;
    if text.contains(char::is_control) {
        return Err(Unfit::Control);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.into());
    }
    let mut word = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            word.push('\\');
        }
        word.push(c);
    }
    word.push('"');
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_for_a_shell_is_one_word_and_nothing_runs() {
        for (arg, word) in [
            ("-O2", "-O2"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("$(touch x)", "\"\\$(touch x)\""),
            ("`x`;>\"", "\"\\`x\\`;>\\\"\""),
        ] {
            assert_eq!(shell_word(arg.as_bytes()).unwrap(), word);
        }
        assert_eq!(shell_word(b"a\nb"), Err(Unfit::Control));
    }
}
