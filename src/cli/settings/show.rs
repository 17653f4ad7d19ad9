//! `tracexec config`: each key, the value that holds, and where it comes from. It is a configuration
//! file itself, with that in comments.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::ArgMatches;

use super::{FileState, KEYS, Key, Origin, Settings, TABLES, Takes, typed};
use crate::cli;
use crate::text::escape;

/// A column that most values fit into.
const COLUMN: usize = 44;

/// `matches` are those of the subcommand, parsed without the settings.
pub fn show(settings: &Settings, state: &FileState, matches: &ArgMatches) -> String {
    let shown = |path: &std::path::Path| escape::text(path.as_os_str().as_bytes());
    let mut text = match state {
        FileState::Read(path) => format!("# {}\n", shown(path)),
        FileState::NotThere(path) => format!("# there is no {}\n", shown(path)),
        FileState::NotLooked => "# no configuration file\n".to_string(),
    };
    let mut add = |line: &str, remark: &str| {
        text.push_str(&format!("{line:<COLUMN$} # {remark}\n"));
    };
    for key in &KEYS {
        let (line, origin) = line(key, settings, matches);
        add(&line, &origin);
    }
    for table in &TABLES {
        add(&format!("[{}]", table.name), &format!("tracexec {}", table.name));
        for key in table.keys {
            let (line, origin) = line(key, settings, matches);
            add(&line, &origin);
        }
    }
    text
}

fn line(key: &Key, settings: &Settings, matches: &ArgMatches) -> (String, String) {
    let set = settings.settings.iter().find(|setting| setting.key.is(key));
    let (values, origin) = if key.table.is_empty() && typed(matches, key.id) {
        (typed_values(key, matches), Origin::CommandLine)
    } else if let Some(setting) = set {
        (setting.values.clone(), setting.origin.clone())
    } else {
        let arg = cli::option(key);
        let takes =
            |arg: &&clap::Arg| key.takes != Takes::Switch || arg.get_action().takes_values();
        let defaults = arg.iter().filter(takes).flat_map(|arg| arg.get_default_values());
        (defaults.map(OsString::from).collect(), Origin::BuiltIn)
    };
    if !values.is_empty() {
        return (format!("{} = {}", key.name, value(key, &values)), origin.to_string());
    }
    match key.otherwise {
        "" => (format!("{} = 0", key.name), origin.to_string()),
        otherwise => (format!("# {}: {otherwise}", key.name), origin.to_string()),
    }
}

fn typed_values(key: &Key, matches: &ArgMatches) -> Vec<OsString> {
    match matches.try_get_raw(key.id) {
        Ok(Some(values)) if key.name != "verbose" => values.map(OsString::from).collect(),
        _ => vec![matches.get_count("verbose").to_string().into()],
    }
}

/// A string of TOML in which all that a terminal would act on is an escape; the crate escapes control characters
/// only.
fn basic_string(text: &str) -> String {
    let mut shown = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            c if escape::is_dangerous(c) => shown.push_str(&format!("\\U{:08X}", c as u32)),
            c => shown.push(c),
        }
    }
    shown.push('"');
    shown
}

fn value(key: &Key, values: &[OsString]) -> String {
    let quoted = |value: &OsString| {
        let text = value.to_str().map_or_else(|| escape::text(value.as_bytes()), String::from);
        match text.contains(escape::is_dangerous) {
            true => basic_string(&text),
            false => toml::Value::String(text).to_string(),
        }
    };
    match key.takes {
        Takes::List | Takes::Paths => {
            let all: Vec<String> = values.iter().map(quoted).collect();
            format!("[{}]", all.join(", "))
        }
        Takes::Number | Takes::Switch => values[0].to_string_lossy().into_owned(),
        Takes::Text | Takes::Time | Takes::Path => quoted(&values[0]),
    }
}
