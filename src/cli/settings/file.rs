//! A configuration file: from its text to settings, or to what is wrong and in which line. Pure.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Origin, Setting};
use crate::cli::settings::key;
use crate::cli::settings::key::Key;
use crate::cli::settings::key::Takes;
use crate::cli::settings::tables;
use crate::cli::settings::tables::Table;
use crate::commands::suggest;
use crate::text::escape;
use crate::text::report::Trouble;

/// A file that was read.
pub struct File<'a> {
    pub path: &'a Path,
    pub text: &'a str,
    /// What `~/` stands for.
    pub home: Option<&'a Path>,
}

impl File<'_> {
    /// The settings in it.
    pub fn parse(&self) -> Result<Vec<Setting>, Trouble> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(self.text.len(), |span| span.start);
            self.wrong(at, error.message().trim_end())
        })?;
        let mut settings = Vec::new();
        for (name, value) in in_order(table.get_ref()) {
            match (tables::table(name.get_ref()), value.get_ref()) {
                (None, _) => settings.push(self.setting(None, name, value)?),
                (Some(table), DeValue::Table(entries)) => {
                    for (name, value) in in_order(entries) {
                        settings.push(self.setting(Some(table), name, value)?);
                    }
                }
                (Some(Table { name: table, .. }), _) => {
                    let what = format!("{table} is a table: its keys stand under a line [{table}]");
                    return Err(self.wrong(name.span().start, &what));
                }
            }
        }
        Ok(settings)
    }

    fn setting(
        &self,
        table: Option<&Table>,
        name: &Name<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Setting, Trouble> {
        let at = name.span().start;
        let found = table.map_or_else(|| key::find(name.get_ref()), |t| t.find(name.get_ref()));
        let key = found.ok_or_else(|| self.unknown(at, table, name.get_ref()))?;
        let values = texts(key, value.get_ref()).ok_or_else(|| {
            let kind = value.get_ref().type_str();
            self.refused(at, key, &format!("this is of the type {kind}"), None)
        })?;
        for value in &values {
            let shown = format!("\"{}\"", escape::text(value.as_bytes()));
            if value.contains('\0') || !key.accepts(&value.into()) {
                let near = suggestion(key, value);
                return Err(self.refused(at, key, &format!("{shown} is not"), near));
            }
        }
        let values = values.into_iter().map(|value| self.resolved(key, value)).collect();
        let origin = Origin::File { path: self.path.to_path_buf(), line: self.line(at) };
        Ok(Setting { key, values, origin })
    }

    /// Paths count from the file's folder, so that they mean the same wherever tracexec is run.
    fn resolved(&self, key: &Key, value: String) -> OsString {
        if !matches!(key.takes, Takes::Path | Takes::Paths) {
            return value.into();
        }
        let path = match (value.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.path.parent().map_or_else(|| PathBuf::from(&value), |dir| dir.join(&value)),
        };
        path.into_os_string()
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    fn wrong(&self, at: usize, what: &str) -> Trouble {
        let origin = Origin::File { path: self.path.to_path_buf(), line: self.line(at) };
        Trouble::new(format!("{origin}: {what}"))
            .hint("tracexec-config(5) describes the file; --no-config does without it")
    }

    fn unknown(&self, at: usize, table: Option<&Table>, name: &str) -> Trouble {
        let shown = escape::text(name.as_bytes());
        let place = table.map_or(String::new(), |table| format!(" in [{}]", table.name));
        let trouble = self.wrong(at, &format!("there is no key `{shown}`{place}"));
        let keys = match table {
            None => {
                if let Some((_, why)) = key::NOT_KEYS.iter().find(|(option, _)| *option == name) {
                    return trouble.hint(format!(
                        "--{name} is for the command line alone, since it says {why}"
                    ));
                }
                if let Some(table) = tables::with(name).next() {
                    return trouble.hint(format!("it stands under a line [{}]", table.name));
                }
                &key::KEYS[..]
            }
            Some(_) if key::find(name).is_some() => {
                return trouble.hint("it stands before the first line in brackets");
            }
            Some(_) if tables::NOT_IN_TABLES.contains(&name) => {
                return trouble.hint(format!("--{name} is for the command line alone"));
            }
            Some(table) => table.keys,
        };
        match suggest::nearest(name, keys.iter().map(|key| key.name)) {
            Some((near, _)) => trouble.hint(format!("did you mean `{near}`?")),
            None => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                trouble.hint(format!("there are {}", names.join(", ")))
            }
        }
    }

    fn refused(&self, at: usize, key: &Key, but: &str, near: Option<String>) -> Trouble {
        let what = format!("{} must be {}, and {but}", key.name, key.allowed());
        let trouble = self.wrong(at, &what);
        match near {
            Some(near) => trouble.hint(format!("did you mean \"{near}\"?")),
            None => trouble,
        }
    }
}

type Name<'a> = Spanned<Cow<'a, str>>;

/// The entries of a table as they stand in the file.
fn in_order<'a, 'b>(table: &'a DeTable<'b>) -> Vec<(&'a Name<'b>, &'a Spanned<DeValue<'b>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// The value that was meant, where there are only some.
pub(super) fn suggestion(key: &Key, value: &str) -> Option<String> {
    let values = crate::cli::option(key)?.get_possible_values();
    let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    suggest::nearest(value, names).map(|(near, _)| near.to_string())
}

/// A value as it would be typed; none if it is of another type than the key's.
fn texts(key: &Key, value: &DeValue<'_>) -> Option<Vec<String>> {
    let one = |text: String| Some(vec![text]);
    match (key.takes, value) {
        (Takes::Number | Takes::Time, DeValue::Integer(number)) => {
            one(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
        }
        (Takes::Switch, DeValue::Boolean(on)) => one(on.to_string()),
        (Takes::Number | Takes::Switch, _) => None,
        (Takes::List | Takes::Paths, DeValue::Array(items)) => {
            items.iter().map(|item| item.get_ref().as_str().map(String::from)).collect()
        }
        (_, DeValue::String(text)) => one(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Setting>, Trouble> {
        let home = Some(Path::new("/home/u"));
        File { path: Path::new("/c/config.toml"), text, home }.parse()
    }

    fn error(text: &str) -> (String, String) {
        let trouble = parse(text).unwrap_err();
        (trouble.what, trouble.hint.unwrap_or_default())
    }

    fn values(text: &str) -> Vec<OsString> {
        parse(text).unwrap().remove(0).values
    }

    #[test]
    fn each_setting_knows_its_line() {
        let settings = parse("# c\n\ndebugger = \"lldb\"\nin = 'tmux'\n").unwrap();
        let origins: Vec<String> =
            settings.iter().map(|setting| setting.origin.to_string()).collect();
        assert_eq!(origins, ["/c/config.toml:3", "/c/config.toml:4"]);
        assert_eq!(settings[0].values, ["lldb"]);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_key_that_was_meant() {
        let (what, hint) = error("in = 'tmux'\ndebuger = 'gdb'\n");
        assert_eq!(what, "/c/config.toml:2: there is no key `debuger`");
        assert_eq!(hint, "did you mean `debugger`?");
        let (what, hint) = error("terminal = 'x'");
        assert!(what.contains("`terminal`") && hint.starts_with("there are backend, "), "{hint}");
        let (_, hint) = error("match = 'argc>0'");
        assert!(hint.contains("--match is for the command line"), "{hint}");
        // A table is a key, too.
        assert!(error("[debug]\nin = 'tmux'").0.contains(":1: there is no key `debug`"));
    }

    #[test]
    fn a_table_has_the_keys_of_its_subcommand() {
        let text =
            "in = 'here'\n[log]\nshow-cwd = true\nevents = ['exec']\n[collect]\nenv = 'diff'";
        let settings = parse(text).unwrap();
        let found: Vec<(&str, &str, String)> = settings
            .iter()
            .map(|setting| (setting.key.table, setting.key.name, setting.origin.to_string()))
            .collect();
        let at = |line: u32| format!("/c/config.toml:{line}");
        let (log, collect) = ("log", "collect");
        let expected = [("", "in", at(1)), (log, "show-cwd", at(3)), (log, "events", at(4))];
        assert_eq!(found, [&expected[..], &[(collect, "env", at(6))]].concat());
        assert_eq!(settings[1].values, ["true"]);
    }

    #[test]
    fn a_key_in_the_wrong_place_is_an_error_that_says_the_right_one() {
        let (what, hint) = error("show-cmdline = true");
        assert_eq!(what, "/c/config.toml:1: there is no key `show-cmdline`");
        assert_eq!(hint, "it stands under a line [log]");
        let (what, hint) = error("[log]\n\ndebugger = 'gdb'");
        assert_eq!(what, "/c/config.toml:3: there is no key `debugger` in [log]");
        assert_eq!(hint, "it stands before the first line in brackets");
        assert_eq!(error("[log]\nshow-cdw = true").1, "did you mean `show-cwd`?");
        assert_eq!(error("[log]\noutput = 'x'").1, "--output is for the command line alone");
        assert!(
            error("log = 'x'").0.contains(":1: log is a table: its keys stand under a line [log]")
        );
        let (what, _) = error("[log]\nshow-cwd = 'yes'");
        assert_eq!(
            what,
            "/c/config.toml:2: show-cwd must be true or false, and this is of the type string"
        );
        assert_eq!(error("[collect]\nformat = 'jsno'").1, "did you mean \"json\"?");
    }

    #[test]
    fn a_wrong_value_names_the_key_and_what_is_allowed() {
        let (what, hint) = error("\nwhen-busy = 'wiat'");
        assert_eq!(
            what,
            "/c/config.toml:2: when-busy must be one of \"wait\", \"skip\", and \"wiat\" is not"
        );
        assert_eq!(hint, "did you mean \"wait\"?");
        assert!(error("max-hits = 0").0.contains("a whole number from 1, and \"0\" is not"));
        assert!(error("max-hits = 'two'").0.contains("this is of the type string"));
        assert!(error("debugger = ['a']").0.contains("must be a string"));
        assert!(error("attach-timeout = '3 days'").0.contains("\"500ms\""));
        assert!(error("ex = [1]").0.contains("a list of strings"));
        assert!(error("in = \"a\\u0000b\"").0.contains("is not"));
    }

    #[test]
    fn what_is_no_toml_is_an_error_in_its_line() {
        assert!(error("in = 'tmux'\nbreak = main\n").0.starts_with("/c/config.toml:2: "));
        assert!(error("in = 'a'\nin = 'b'\n").0.starts_with("/c/config.toml:2: "));
    }

    #[test]
    fn numbers_and_times_are_as_on_the_command_line() {
        assert_eq!(values("sessions = 1_0"), ["10"]);
        assert_eq!(values("attach-timeout = 5"), ["5"]);
        assert_eq!(values("attach-timeout = '500ms'"), ["500ms"]);
        assert_eq!(values("ex = 'one'"), ["one"]);
        assert_eq!(values("ex = ['one', '$(two)']"), ["one", "$(two)"]);
    }

    #[test]
    fn paths_count_from_the_files_folder_and_the_tilde_is_the_home() {
        let paths = values("x = ['a.gdb', '/abs', '~/b.gdb', '~other/c']");
        assert_eq!(paths, ["/c/a.gdb", "/abs", "/home/u/b.gdb", "/c/~other/c"]);
        assert_eq!(values("hits-json = '3'"), ["/c/3"]);
        assert_eq!(values("debugger = '~/d {{pid}}'"), ["~/d {{pid}}"]);
    }
}
