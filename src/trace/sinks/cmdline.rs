//! An exec as a line for bash or zsh that does it again, wherever it is pasted.
//!
//! env(1) sets the directory and the variables, since a shell knows those only whose names are identifiers.
//! bash gives a program another name than its file's, and is only called for that.

mod bash;
mod path;
mod redirect;
mod variables;

use crate::event::{self, ExecRecord, Faults};
use crate::source::responses;
use crate::text::escape;
use crate::trace::Baseline;
use variables::Variables;

/// Which descriptors the line opens as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Redirect {
    #[default]
    None,
    /// Standard input, output and error.
    Stdio,
    All,
}

/// The line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Plain text without a line break.
    pub text: String,
    /// In what it differs from the exec, in words for people; harmless to show.
    pub lacking: Vec<String>,
}

/// The line that does `record`'s exec again in a shell that has what `baseline` tells, or in any shell without
/// one. Its environment is the same but for the order.
pub fn command_line(
    record: &ExecRecord,
    baseline: Option<&Baseline>,
    redirect: Redirect,
) -> CommandLine {
    let mut lacking = Vec::new();
    let program = Program::of(record, &mut lacking);
    let variables = Variables::of(record, baseline, &mut lacking);
    let mut words = vec!["env".to_string()];
    words.extend(variables.options());
    words.extend(directory(record, baseline, &mut lacking));
    let assignments = variables.assignments();
    // What a traced process has chosen is no option of a word that stands before it.
    let program_of_env =
        Some(&program.file[..]).filter(|_| matches!(program.through, Through::Env));
    if assignments.iter().copied().chain(program_of_env).any(|word| word.starts_with(b"-")) {
        words.push("--".into());
    }
    words.extend(assignments.iter().map(|entry| assignment(entry)));
    match &program.through {
        Through::Env => {}
        Through::Nice => {
            let nice = if variables.same_path(baseline) { "nice" } else { "/usr/bin/nice" };
            words.extend([nice, "-n", "0", "--"].map(String::from));
        }
        Through::Bash(name) => {
            words.extend(bash::words(&variables, record, baseline, &mut lacking));
            words.push(escape::word(name));
        }
    }
    words.push(escape::word(&program.file));
    words.extend(program.arguments.iter().map(|argument| escape::word(argument)));
    words.extend(redirect::words(record, baseline, redirect, &mut lacking));
    CommandLine { text: words.join(" "), lacking }
}

/// `-C DIR`, where it has to be said.
fn directory(
    record: &ExecRecord,
    baseline: Option<&Baseline>,
    lacking: &mut Vec<String>,
) -> Option<String> {
    let Some(cwd) = &record.cwd.value else {
        lacking.push(because("the working directory is not known", record.cwd.faults));
        return None;
    };
    if !record.cwd.faults.is_empty() {
        lacking.push(because("the working directory", record.cwd.faults));
    }
    let same = baseline.is_some_and(|baseline| baseline.cwd == *cwd);
    (!same).then(|| format!("-C {}", escape::word(cwd)))
}

/// NAME=VALUE with no more quotes than it needs.
fn assignment(entry: &[u8]) -> String {
    let (name, value) = event::variable(entry);
    let name_shown = escape::word(name);
    match value {
        Some(b"") if name_shown.as_bytes() == name => format!("{name_shown}="),
        Some(value) if name_shown.as_bytes() == name => {
            format!("{name_shown}={}", escape::word(value))
        }
        _ => escape::word(entry),
    }
}

fn because(what: &str, faults: Faults) -> String {
    let words: Vec<&str> = faults.words().collect();
    if words.is_empty() { what.into() } else { format!("{what}: {}", words.join(", ")) }
}

/// What is executed, and as what.
struct Program {
    file: Vec<u8>,
    through: Through,
    arguments: Vec<Vec<u8>>,
}

/// Who executes it after all.
enum Through {
    Env,
    /// env would take a file with a `=` for a variable. A niceness of 0 more changes nothing.
    Nice,
    /// By this argv[0], which is not the file's name.
    Bash(Vec<u8>),
}

impl Program {
    fn of(record: &ExecRecord, lacking: &mut Vec<String>) -> Program {
        let (mut file, certain) = file(record, lacking);
        let vector = record.argv.value.as_ref();
        if vector.is_none() || !record.argv.faults.is_empty() {
            lacking.push(because("the arguments are not all known", record.argv.faults));
        }
        let mut argv: Vec<&[u8]> =
            vector.into_iter().flat_map(|vector| vector.strings.iter()).collect();
        let script = record.script();
        if let Some(at) = script {
            // The kernel has put its interpreter before it, and thrown its own first argument away.
            argv.drain(..at);
            let passed = record.passed.value.as_ref().filter(|_| record.passed.faults.is_empty());
            if let Some(name) = passed.and_then(|passed| passed.strings.get(0)) {
                argv[0] = name;
            }
        } else if record.result == 0 && !record.interpreters.faults.is_empty() {
            let what = "whether an interpreter has got it, with words of its own, is not known";
            lacking.push(because(what, record.interpreters.faults));
        }
        let mut argv = argv.into_iter();
        let name = argv.next().map(<[u8]>::to_vec);
        let (arguments, expanded) = responses::expanded(argv, &record.responses);
        if expanded {
            lacking.push("the words of response files stand in their places".into());
        }
        if vector.is_some_and(|vector| vector.strings.is_empty()) {
            lacking.push("there was no argument, not even a name".into());
        }
        // bash would make it absolute, and a script sees its path, but not its own argv[0].
        let keeps_path = script.is_some() && !file.starts_with(b"/");
        if keeps_path && name.as_ref().is_some_and(|name| *name != file) {
            lacking.push("the script's argv[0] is the file's name".into());
        }
        let through = match name {
            Some(name) if path::leads_to(record, &name, &file) => {
                return Program { file: name, through: Through::Env, arguments };
            }
            Some(name) if (name != file && !keeps_path) || !file.contains(&b'/') => {
                Through::Bash(name)
            }
            _ if file.contains(&b'=') => Through::Nice,
            _ => Through::Env,
        };
        // env and bash look for one without a `/`, and bash makes it absolute, by the home folder after a `~`.
        let expands = file.starts_with(b"~") && matches!(through, Through::Bash(_));
        if expands || (!file.contains(&b'/') && !file.is_empty()) {
            file.splice(..0, *b"./");
        }
        if certain && !file.starts_with(b"/") && matches!(through, Through::Bash(_)) {
            lacking.push("the file is named by its whole path".into());
        }
        Program { file, through, arguments }
    }
}

/// The file that is executed, and whether it is named as it was.
fn file(record: &ExecRecord, lacking: &mut Vec<String>) -> (Vec<u8>, bool) {
    let exe = record.exe.value.as_ref().filter(|_| record.exe.faults.is_empty());
    let Some(filename) = &record.filename.value else {
        lacking.push(because("the file's name is not known", record.filename.faults));
        return (exe.cloned().unwrap_or_default(), false);
    };
    if !record.filename.faults.is_empty() {
        lacking.push(because("the file's name", record.filename.faults));
    }
    if event::is_self(filename) {
        // In the shell it is the shell's.
        lacking.push(format!("the file was named {}", escape::text(filename)));
        return (exe.unwrap_or(filename).clone(), false);
    }
    let Some((number, rest)) = by_descriptor(record, filename) else {
        return (filename.clone(), true);
    };
    let fds = record.fds.value.iter().flatten();
    let target = fds.map(|fd| &fd.fd).find(|fd| fd.number == number).map(|fd| fd.target.clone());
    lacking.push(format!("the file was named by descriptor {number}"));
    let file = match (target, rest) {
        (Some(target), b"") => target,
        (Some(target), rest) => [&target[..], b"/", rest].concat(),
        (None, b"") => exe.unwrap_or(filename).clone(),
        (None, _) => filename.clone(),
    };
    (file, false)
}

/// The descriptor that an execveat names a file by, and the path from there.
fn by_descriptor<'a>(record: &ExecRecord, filename: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let folders: [&[u8]; 3] = [b"/dev/fd/", b"/proc/self/fd/", b"/proc/thread-self/fd/"];
    if let Some(rest) = folders.iter().find_map(|folder| filename.strip_prefix(*folder)) {
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        return Some((number, rest.get(end + 1..).unwrap_or_default()));
    }
    let number = record.call.and_then(|call| call.at)?;
    (!filename.starts_with(b"/")).then_some(())?;
    Some((number.try_into().ok()?, filename))
}

#[cfg(test)]
mod tests;
