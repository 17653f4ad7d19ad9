//! bash between env(1) and the program, to give it a name, and what bash does to the environment meanwhile.
//! What is said here of bash was tried with each name that it knows.

use super::variables::Variables;
use crate::event::{self, ExecRecord};
use crate::text::escape;
use crate::trace::Baseline;

const EXEC: &str = r#"exec -a "$0" -- "$@""#;

/// What bash takes away or gives values of its own, and passes on as it is told before the exec.
const MENDED: [&str; 21] = [
    "IFS",
    "OPTERR",
    "OPTIND",
    "PS1",
    "PS2",
    "PS4",
    "BASH",
    "BASHPID",
    "BASH_ARGV0",
    "BASH_COMMAND",
    "BASH_EXECUTION_STRING",
    "BASH_MONOSECONDS",
    "BASH_SUBSHELL",
    "BASH_VERSION",
    "COMP_WORDBREAKS",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "HISTCMD",
    "LINENO",
    "RANDOM",
    "SRANDOM",
];

/// What it passes on in no way.
const LOST: [&str; 5] = ["", "BASHOPTS", "BASH_VERSINFO", "PPID", "SHELLOPTS"];

/// The words that stand before the program's name.
pub fn words(
    variables: &Variables,
    record: &ExecRecord,
    baseline: Option<&Baseline>,
    lacking: &mut Vec<String>,
) -> Vec<String> {
    let wanted = |name: &str| variables.wanted.get(name.as_bytes()).map(Vec::as_slice);
    for name in LOST.into_iter().filter(|name| wanted(name).is_some()) {
        let name = escape::word(name.as_bytes());
        lacking.push(format!("bash does not pass the variable {name} on"));
    }
    let script = if record.env.value.is_some() {
        script(variables, record, baseline)
    } else {
        EXEC.to_string()
    };
    // With another PATH it may not be found.
    let bash = if variables.same_path(baseline) { "bash" } else { "/bin/bash" };
    // No functions from the environment, no BASH_ENV, and no .bashrc, which some read if SSH_CLIENT is set.
    vec![bash.into(), "--norc".into(), "-pc".into(), escape::word(script.as_bytes())]
}

fn given<'a>(baseline: &'a Baseline, name: &str) -> Option<&'a [u8]> {
    baseline.env.iter().map(event::variable).find(|entry| entry.0 == name.as_bytes())?.1
}

fn script(variables: &Variables, record: &ExecRecord, baseline: Option<&Baseline>) -> String {
    let wanted = |name: &str| variables.wanted.get(name.as_bytes()).map(Vec::as_slice);
    let mut set: Vec<&str> = MENDED.into_iter().filter(|name| wanted(name).is_some()).collect();
    let mut unset = Vec::new();
    match wanted("PWD") {
        None => unset.push("PWD"),
        // Another name for the same folder is left as well, but who knows.
        value if record.cwd.value.as_deref() == value => {}
        Some(_) => set.push("PWD"),
    }
    // What a shell has set is a folder, which bash leaves.
    let old = wanted("OLDPWD");
    if old.is_some() && old != baseline.and_then(|baseline| given(baseline, "OLDPWD")) {
        set.push("OLDPWD");
    }
    match wanted("SHLVL") {
        None => unset.push("SHLVL"),
        // One more at its beginning, and one less at an exec.
        Some(value) if is_level(value) => {}
        Some(_) => set.push("SHLVL"),
    }
    // Each command sets it.
    if !(set.is_empty() && unset.is_empty()) && wanted("_").is_some() {
        set.push("_");
    }
    let mut script = String::new();
    if !unset.is_empty() {
        script = format!("unset {}; ", unset.join(" "));
    }
    for name in set {
        script.push_str(&format!("{name}={} ", escape::word(wanted(name).unwrap_or_default())));
    }
    // In a subshell an exec leaves SHLVL alone.
    match script.contains("SHLVL") {
        true => format!("({script}{EXEC})"),
        false => format!("{script}{EXEC}"),
    }
}

/// Whether bash counts from there, up to a thousand.
fn is_level(value: &[u8]) -> bool {
    let plain = value.iter().all(u8::is_ascii_digit) && !value.starts_with(b"0");
    (plain && (1..=3).contains(&value.len()) && value != b"999") || value == b"0"
}
