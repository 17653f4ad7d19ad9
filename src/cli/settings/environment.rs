//! The variables `TRACEXEC_...`, one for each key. Pure.
//!
//! Other variables of that beginning are no affair of ours: tests and wrappers have their own.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::file::suggestion;
use super::{Origin, Setting, TABLES};
use crate::cli::settings::key::KEYS;
use crate::cli::settings::key::Key;
use crate::text::escape;
use crate::text::report::Trouble;

/// The settings among the variables. An empty one counts as not set.
pub fn parse(variable: impl Fn(&str) -> Option<OsString>) -> Result<Vec<Setting>, Trouble> {
    let mut settings = Vec::new();
    for key in KEYS.iter().chain(TABLES.iter().flat_map(|table| table.keys)) {
        let name = key.variable();
        let Some(value) = variable(&name).filter(|value| !value.is_empty()) else { continue };
        let values = split(key, value);
        if let Some(wrong) = values.iter().find(|value| !key.accepts(value)) {
            return Err(refused(key, &name, wrong));
        }
        settings.push(Setting { key, values, origin: Origin::Environment(name) });
    }
    Ok(settings)
}

/// A list has one entry a line.
fn split(key: &Key, value: OsString) -> Vec<OsString> {
    if !key.is_list() {
        return vec![value];
    }
    let lines = value.as_bytes().split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| OsString::from_vec(line.to_vec())).collect()
}

fn refused(key: &Key, name: &str, value: &OsString) -> Trouble {
    let shown = escape::text(value.as_bytes());
    let trouble = Trouble::new(format!("${name} must be {}, and it is {shown}", key.allowed()));
    match value.to_str().and_then(|value| suggestion(key, value)) {
        Some(near) => trouble.hint(format!("did you mean {near}?")),
        None => trouble.hint("tracexec-config(5) describes the variables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &[u8]) -> Result<Vec<Setting>, Trouble> {
        parse(|asked| (asked == name).then(|| OsString::from_vec(value.to_vec())))
    }

    #[test]
    fn each_key_has_a_variable() {
        let settings = set("TRACEXEC_IN", b"background").unwrap();
        assert_eq!((settings[0].key.name, settings.len()), ("in", 1));
        assert_eq!(settings[0].origin.to_string(), "TRACEXEC_IN");
        let settings = set("TRACEXEC_LOG_SHOW_CMDLINE", b"true").unwrap();
        assert_eq!((settings[0].key.table, settings[0].key.name), ("log", "show-cmdline"));
        assert!(set("TRACEXEC_ON_LAUNCH_FAILURE", b"hold").is_ok_and(|found| found.len() == 1));
    }

    #[test]
    fn a_wrong_value_is_an_error_and_an_unknown_name_is_none() {
        let trouble = set("TRACEXEC_BACKEND", b"epbf").unwrap_err();
        assert!(trouble.what.contains("$TRACEXEC_BACKEND must be one of"), "{trouble}");
        assert_eq!(trouble.hint.as_deref(), Some("did you mean ebpf?"));
        let trouble = set("TRACEXEC_LOG_SHOW_CWD", b"yes").unwrap_err();
        assert!(trouble.what.contains("must be true or false, and it is yes"), "{trouble}");
        assert!(set("TRACEXEC_TEST_ALL", b"1").unwrap().is_empty());
    }

    #[test]
    fn an_empty_one_is_not_set_and_a_list_has_an_entry_a_line() {
        assert!(set("TRACEXEC_DEBUGGER", b"").unwrap().is_empty());
        assert_eq!(set("TRACEXEC_EX", b"one\ntwo two\n").unwrap()[0].values, ["one", "two two"]);
    }

    #[test]
    fn a_path_may_hold_any_bytes() {
        let settings = set("TRACEXEC_X", b"/a\xff").unwrap();
        assert_eq!(settings[0].values[0].as_bytes(), b"/a\xff");
    }
}
