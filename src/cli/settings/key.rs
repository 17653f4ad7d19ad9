//! Which options can have a default of the user's own, by what name, and what they take.

use std::ffi::OsString;

use crate::cli;

/// An option that a configuration file and the environment can give a value.
#[derive(Debug)]
pub struct Key {
    /// The table that it stands in; empty for what stands before all tables.
    pub table: &'static str,
    /// As in the file; on the command line with dashes before it.
    pub name: &'static str,
    /// What clap knows the option by.
    pub id: &'static str,
    pub takes: Takes,
    /// What holds without any value.
    pub otherwise: &'static str,
}

/// What a value is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A string.
    Text,
    /// A whole number.
    Number,
    /// A string with a unit, or a number of seconds.
    Time,
    /// A string that names a file.
    Path,
    /// Several strings.
    List,
    /// Several strings that name files.
    Paths,
    /// `true` or `false`.
    Switch,
}

const fn key(name: &'static str, id: &'static str, takes: Takes, otherwise: &'static str) -> Key {
    Key { table: "", name, id, takes, otherwise }
}

/// Those before all tables, in the order of the manual.
pub const KEYS: [Key; 15] = [
    key("backend", "backend", Takes::Text, ""),
    key("debugger", "debugger", Takes::Text, ""),
    key("in", "place", Takes::Text, ""),
    key("break", "break_at", Takes::Text, "the first instruction"),
    key("x", "files", Takes::Paths, "none"),
    key("ex", "commands", Takes::List, "none"),
    key("max-hits", "max_hits", Takes::Number, "any number"),
    key("sessions", "sessions", Takes::Number, "1; with --hold any number"),
    key("when-busy", "when_busy", Takes::Text, "wait; with --system skip"),
    key("on-launch-failure", "on_launch_failure", Takes::Text, ""),
    key("attach-timeout", "attach_timeout", Takes::Time, "30s; with --hold no limit"),
    key("hits-json", "hits_json", Takes::Path, "none"),
    key("user", "user", Takes::Text, "who you are"),
    key("color", "color", Takes::Text, ""),
    key("verbose", "verbose", Takes::Number, ""),
];

/// The options that are no keys, and why.
pub const NOT_KEYS: [(&str, &str); 21] = [
    ("match", "what one session is about"),
    ("on", "what one session is about"),
    ("system", "what one session is about"),
    ("pid", "what one session is about"),
    ("elevate", "to become root is said anew each time"),
    ("elevated", "it is for tracexec itself"),
    ("hold", "what one session is about"),
    ("list", "what one session is about"),
    ("save", "what one session is about"),
    ("to", "what one session is about"),
    ("wrap", "what one session is about"),
    ("once", "max-hits = 1 is the same"),
    ("all", "what one session is about"),
    ("skip", "what one session is about"),
    ("listen", "who may control a process is said anew each time"),
    ("remember", "what one session is about"),
    ("launch-json", "what one session is about"),
    ("workspace", "it is found by the folder"),
    ("directory", "it stands for cd"),
    ("config", "it names the file"),
    ("no-config", "it names the file"),
];

/// The key of that name before the tables.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Key {
    /// Whether they are the same.
    pub fn is(&self, other: &Key) -> bool {
        (self.table, self.name) == (other.table, other.name)
    }

    /// The variable that gives it a value.
    pub fn variable(&self) -> String {
        let table = if self.table.is_empty() { "" } else { "_" };
        let name = format!("TRACEXEC_{}{table}{}", self.table, self.name);
        name.to_uppercase().replace('-', "_")
    }

    /// Whether it takes several values.
    pub fn is_list(&self) -> bool {
        matches!(self.takes, Takes::List | Takes::Paths)
    }

    /// The values that it takes, in words.
    pub fn allowed(&self) -> String {
        if self.takes == Takes::Switch {
            return "true or false".into();
        }
        let values = cli::option(self).map(|arg| arg.get_possible_values()).unwrap_or_default();
        if !values.is_empty() {
            let names: Vec<String> =
                values.iter().map(|value| format!("\"{}\"", value.get_name())).collect();
            return format!("one of {}", names.join(", "));
        }
        match self.takes {
            Takes::Text | Takes::Path | Takes::Switch => "a string".into(),
            Takes::Number if self.name == "verbose" => "a whole number from 0 to 255".into(),
            Takes::Number => "a whole number from 1".into(),
            Takes::Time => "a time such as \"500ms\", \"30s\" or \"2m\"".into(),
            Takes::List | Takes::Paths => "a list of strings, [\"...\", \"...\"]".into(),
        }
    }

    /// Whether the command line would take this value.
    pub fn accepts(&self, value: &OsString) -> bool {
        if self.takes == Takes::Switch {
            return value == "true" || value == "false";
        }
        let Some(arg) = cli::option(self) else { return false };
        if matches!(arg.get_action(), clap::ArgAction::Count) {
            return value.to_str().is_some_and(|text| text.parse::<u8>().is_ok());
        }
        let mut word = match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => OsString::from(format!("--{long}=")),
            (None, Some(short)) => OsString::from(format!("-{short}=")),
            (None, None) => OsString::new(),
        };
        word.push(value);
        let command = clap::Command::new("value").no_binary_name(true).disable_help_flag(true);
        command.arg(arg.required(false)).try_get_matches_from([word]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_option_is_a_key_or_has_a_reason_for_not_being_one() {
        let command = cli::command();
        let debug = command.find_subcommand("debug").unwrap();
        let mut options = BTreeSet::new();
        for arg in command.get_arguments().chain(debug.get_arguments()) {
            if !arg.is_positional() && !["help", "version"].contains(&arg.get_id().as_str()) {
                let short = arg.get_short().map(String::from);
                options.insert(arg.get_long().map(String::from).or(short).unwrap());
            }
        }
        let keys = KEYS.iter().map(|key| key.name);
        let named: BTreeSet<String> =
            keys.chain(NOT_KEYS.iter().map(|(name, _)| *name)).map(String::from).collect();
        assert_eq!(options, named);
        for key in &KEYS {
            let arg = cli::option(key).expect(key.name);
            let short = arg.get_short().map(String::from);
            assert!(arg.get_long() == Some(key.name) || short.as_deref() == Some(key.name));
            let has_default = !arg.get_default_values().is_empty();
            let counts = matches!(arg.get_action(), clap::ArgAction::Count);
            assert_eq!(key.otherwise.is_empty(), has_default || counts, "{}", key.name);
        }
    }

    #[test]
    fn a_value_is_judged_as_on_the_command_line() {
        let accepts = |name: &str, value: &str| find(name).unwrap().accepts(&value.into());
        assert!(accepts("backend", "ebpf") && !accepts("backend", "epbf"));
        assert!(accepts("attach-timeout", "2m") && !accepts("attach-timeout", "2 days"));
        assert!(accepts("max-hits", "1") && !accepts("max-hits", "0"));
        assert!(accepts("verbose", "2") && !accepts("verbose", "256"));
        assert!(accepts("ex", "-list") && accepts("x", "-file") && accepts("debugger", "--x"));
    }
}
