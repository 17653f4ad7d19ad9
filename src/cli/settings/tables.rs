//! The tables of the file: defaults for one subcommand each.

use crate::cli::settings::key::Key;
use crate::cli::settings::key::Takes;

/// A part of the file, `[log]`, with the options of that subcommand as keys.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub keys: &'static [Key],
}

/// In the order of the manual.
pub const TABLES: [Table; 2] =
    [Table { name: "log", keys: &LOG }, Table { name: "collect", keys: &COLLECT }];

const fn log(name: &'static str, takes: Takes, otherwise: &'static str) -> Key {
    Key { table: "log", name, id: name, takes, otherwise }
}

const fn switch(name: &'static str, otherwise: &'static str) -> Key {
    log(name, Takes::Switch, otherwise)
}

const fn collect(
    name: &'static str,
    id: &'static str,
    takes: Takes,
    otherwise: &'static str,
) -> Key {
    Key { table: "collect", name, id, takes, otherwise }
}

const LOG: [Key; 25] = [
    switch("show-comm", "true"),
    switch("show-filename", "true"),
    switch("show-argv", "true"),
    switch("show-interpreter", "true"),
    switch("show-cwd", "false"),
    switch("diff-env", "true"),
    switch("show-env", "false"),
    switch("diff-fd", "true"),
    switch("show-fd", "false"),
    switch("hide-cloexec-fds", "true"),
    switch("decode-errno", "true"),
    switch("resolve-proc-self-exe", "true"),
    switch("show-cmdline", "false"),
    switch("stdio-in-cmdline", "false"),
    switch("fd-in-cmdline", "false"),
    switch("timestamp", "false"),
    log("inline-timestamp-format", Takes::Text, "%H:%M:%S"),
    switch("show-all-events", "false"),
    log("events", Takes::List, "warning, error, exec, tracee-exit"),
    log("filter-include", Takes::List, "none"),
    log("filter-exclude", Takes::List, "none"),
    switch("more-colors", "false"),
    switch("less-colors", "false"),
    Key { id: "seccomp_bpf", ..log("seccomp-bpf", Takes::Text, "") },
    Key { id: "successful_only", ..switch("successful-only", "false") },
];

const COLLECT: [Key; 5] = [
    collect("format", "format", Takes::Text, "none"),
    collect("env", "env", Takes::Text, "whole"),
    collect("pretty", "pretty", Takes::Switch, "false"),
    collect("seccomp-bpf", "seccomp_bpf", Takes::Text, ""),
    collect("successful-only", "successful_only", Takes::Switch, "false"),
];

/// The options of those subcommands that are no keys of their tables: what one run is about, where it goes, what a
/// key before the tables says for all, and what changes nothing.
pub const NOT_IN_TABLES: [&str; 10] = [
    "match",
    "system",
    "pid",
    "output",
    "rotate",
    "keep",
    "journal",
    "backend",
    "foreground",
    "fresh",
];

/// The table of that name.
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

/// The tables that have a key of that name.
pub fn with(name: &str) -> impl Iterator<Item = &'static Table> + '_ {
    TABLES.iter().filter(move |table| table.find(name).is_some())
}

impl Table {
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    /// What clap knows the form by that switches the option off.
    pub fn off(&self) -> String {
        // Those of clap's own making have underscores.
        let dash = if self.id.contains('_') { '_' } else { '-' };
        format!("no{dash}{}", self.id)
    }

    /// Whether this default of a table's says something else than an option that was typed.
    pub fn gives_way(&self, value: &str, typed: impl Fn(&str) -> bool) -> bool {
        let whole_or_difference = |what: &str| {
            ["show", "diff", "no-show"].iter().any(|form| typed(&format!("{form}-{what}")))
        };
        typed(self.id)
            || typed(&self.off())
            || match self.name {
                "show-env" | "diff-env" => whole_or_difference("env"),
                "show-fd" | "diff-fd" => whole_or_difference("fd"),
                "more-colors" | "less-colors" => typed("more-colors") || typed("less-colors"),
                "show-all-events" => typed("events"),
                // To tell how the time is shown is to ask for it.
                "timestamp" => value == "false" && typed("inline-timestamp-format"),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli;
    use crate::cli::log::Shown;
    use clap::FromArgMatches;

    #[test]
    fn every_option_is_a_key_of_its_table_or_has_a_reason_for_not_being_one() {
        let command = cli::command();
        let mut others = BTreeSet::new();
        for table in &TABLES {
            let sub = command.find_subcommand(table.name).unwrap();
            let mut named: Vec<&str> = Vec::new();
            for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long().filter(|long| *long != "help") else { continue };
                match table.find(long) {
                    Some(key) => {
                        assert_eq!((key.id, key.table), (arg.get_id().as_str(), table.name))
                    }
                    None => _ = others.insert(long.to_string()),
                }
                named.push(long);
            }
            for key in table.keys {
                assert!(named.contains(&key.name) && cli::option(key).is_some(), "{}", key.name);
                let has_default = cli::option(key).is_some_and(|arg| {
                    arg.get_action().takes_values() && !arg.get_default_values().is_empty()
                });
                assert_eq!(key.otherwise.is_empty(), has_default, "{}", key.name);
            }
        }
        assert_eq!(others, NOT_IN_TABLES.map(String::from).into());
    }

    #[test]
    fn what_is_built_in_is_what_holds_without_a_file() {
        let line = |options: &[String]| {
            let words =
                ["tracexec".into(), "log".into()].into_iter().chain(options.iter().cloned());
            let words = words.chain(["--".into(), "true".into()]);
            let matches = cli::command().try_get_matches_from(words).unwrap();
            Shown::from_arg_matches(matches.subcommand_matches("log").unwrap()).unwrap()
        };
        for key in LOG.iter().filter(|key| key.takes == Takes::Switch && key.id == key.name) {
            let form = match key.otherwise {
                // All of it is another thing than the difference, which holds.
                "false" if ["show-env", "show-fd"].contains(&key.name) => continue,
                "false" => format!("--no-{}", key.name),
                _ => format!("--{}", key.name),
            };
            let command = cli::command();
            let log = command.find_subcommand("log").unwrap();
            if log.get_arguments().any(|arg| arg.get_long() == form.strip_prefix("--")) {
                assert_eq!(line(std::slice::from_ref(&form)), line(&[]), "{form}");
            }
        }
    }
}
