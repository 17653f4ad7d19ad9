//! Defaults of the user's own, from a file and the environment, for what was not typed.
//!
//! `cli` is what was typed and `config` what it means. What is here lies between them: settings are
//! gathered, those that give way to what was typed are dropped, and the rest become the defaults with
//! which the command line is parsed. So a value from a file is checked and read as a typed one is, and
//! clap still tells what was typed.

mod environment;
mod file;
mod key;
mod locate;
mod origin;
mod show;
mod tables;

use std::ffi::OsString;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::cli::Global;
use crate::text::report::Trouble;

pub use file::File;
pub use key::{KEYS, Key, NOT_KEYS, Takes};
pub use locate::{FileState, Folder, folder, read_trusted};
pub use origin::Origin;
pub use tables::{TABLES, Table};

/// A key's value, and where it comes from.
#[derive(Debug, Clone)]
pub struct Setting {
    pub key: &'static Key,
    pub values: Vec<OsString>,
    pub origin: Origin,
}

/// At most one value for each key.
#[derive(Debug, Default)]
pub struct Settings {
    settings: Vec<Setting>,
}

impl Settings {
    /// Reads the file and the environment.
    pub fn load(global: &Global) -> Result<(Settings, FileState), Trouble> {
        let (from_file, state) = locate::read(global)?;
        let environment = environment::parse(|name| std::env::var_os(name))?;
        Ok((Settings::merge(from_file, environment), state))
    }

    /// The environment takes precedence over the file.
    pub fn merge(file: Vec<Setting>, environment: Vec<Setting>) -> Settings {
        let mut settings = environment;
        for setting in file {
            if !settings.iter().any(|stronger| stronger.key.is(setting.key)) {
                settings.push(setting);
            }
        }
        Settings { settings }
    }

    /// Those that concern a subcommand.
    pub fn of(mut self, subcommand: &str) -> Settings {
        self.settings.retain(|setting| ["", subcommand].contains(&setting.key.table));
        self
    }

    /// Without what was typed, and without what would contradict that.
    pub fn without_typed(mut self, typed: impl Fn(&str) -> bool) -> Settings {
        let rank = |setting: Option<&Setting>| setting.map_or(0, |found| found.origin.rank());
        let of_debugger = rank(self.settings.iter().find(|setting| setting.key.name == "debugger"));
        self.settings.retain(|setting| {
            if !setting.key.table.is_empty() {
                let value = setting.values.first().and_then(|value| value.to_str());
                return !setting.key.gives_way(value.unwrap_or_default(), &typed);
            }
            let gives_way = match setting.key.name {
                // They are in the language of the debugger that they were written for.
                "x" | "ex" => typed("debugger") || of_debugger > setting.origin.rank(),
                // There, nobody waits for a debugger of ours.
                "sessions" | "attach-timeout" => typed("hold"),
                "max-hits" => typed("once") || typed("all"),
                "backend" => typed("system") && setting.values == ["ptrace"],
                // It has no hits.
                "hits-json" => typed("list"),
                _ => false,
            };
            !gives_way && !typed(setting.key.id)
        });
        self
    }

    /// The command line, with these values as its defaults.
    pub fn as_defaults(&self, mut command: clap::Command) -> clap::Command {
        for setting in &self.settings {
            let id = setting.key.id;
            if !setting.key.table.is_empty() {
                command = setting.as_default_of_table(command);
                continue;
            }
            let values = || setting.values.iter().map(clap::builder::OsStr::from);
            if command.get_arguments().any(|arg| arg.get_id() == id) {
                command = command.mut_arg(id, |arg| arg.default_values(values()));
                continue;
            }
            for name in ["debug", "config", "rerun", "log", "collect"] {
                let has = |sub: &clap::Command| sub.get_arguments().any(|arg| arg.get_id() == id);
                if !command.find_subcommand(name).is_some_and(has) {
                    continue;
                }
                command = command.mut_subcommand(name, |sub| {
                    sub.mut_arg(id, |arg| arg.default_values(values()))
                });
            }
        }
        command
    }

    /// An error about a value that was not typed says where that stands.
    pub fn explain(&self, mut trouble: Trouble) -> Trouble {
        for setting in &self.settings {
            let key = setting.key;
            let short = crate::cli::option(key).and_then(|arg| arg.get_short());
            let forms = [Some(format!("--{}", key.name)), short.map(|short| format!("-{short}"))];
            for form in forms.into_iter().flatten() {
                if let Some(rest) = trouble.what.strip_prefix(&form)
                    && rest.starts_with([' ', ':'])
                {
                    trouble.what = format!("{}: {}{rest}", setting.origin, key.name);
                    return trouble;
                }
            }
        }
        trouble
    }
}

impl Setting {
    fn as_default_of_table(&self, command: clap::Command) -> clap::Command {
        let off = self.key.takes == Takes::Switch && self.values == ["false"];
        command.mut_subcommand(self.key.table, |sub| {
            if !off {
                let values = self.values.iter().map(clap::builder::OsStr::from);
                return sub.mut_arg(self.key.id, |arg| arg.default_values(values));
            }
            let off = self.key.off();
            let has_form = sub.get_arguments().any(|arg| arg.get_id() == off.as_str());
            // Without such a form it is off anyhow.
            if has_form { sub.mut_arg(off, |arg| arg.default_value("true")) } else { sub }
        })
    }
}

/// Whether an option was typed; false for one that this subcommand does not have.
pub fn typed(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).is_ok()
        && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Whether an option has the value that is built in: nobody has said another one.
pub fn built_in(matches: &ArgMatches, id: &str) -> bool {
    let Some(key) = KEYS.iter().find(|key| key.id == id) else { return false };
    let Some(arg) = crate::cli::option(key) else { return false };
    let holds = matches.try_get_raw(id).ok().flatten();
    matches.value_source(id) != Some(ValueSource::CommandLine)
        && holds
            .is_none_or(|holds| holds.eq(arg.get_default_values().iter().map(|v| v.as_os_str())))
}

pub use show::show;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn of_file(text: &str) -> Vec<Setting> {
        File { path: Path::new("/c.toml"), text, home: None }.parse().unwrap()
    }

    fn of_environment(name: &str, value: &str) -> Vec<Setting> {
        environment::parse(|asked| (asked == name).then(|| value.into())).unwrap()
    }

    fn names(settings: &Settings) -> Vec<&str> {
        settings.settings.iter().map(|setting| setting.key.name).collect()
    }

    #[test]
    fn the_environment_takes_precedence_over_the_file() {
        let file = of_file("in = 'tmux'\nbreak = 'main'");
        let settings = Settings::merge(file, of_environment("TRACEXEC_IN", "here"));
        assert_eq!(names(&settings), ["in", "break"]);
        assert_eq!(settings.settings[0].values, ["here"]);
    }

    #[test]
    fn what_was_typed_takes_precedence_over_both() {
        let settings = Settings::merge(of_file("in = 'tmux'\nbreak = 'main'"), Vec::new());
        assert_eq!(names(&settings.without_typed(|id| id == "place")), ["break"]);
    }

    #[test]
    fn a_debuggers_commands_go_with_their_debugger() {
        let file = || of_file("debugger = 'gdb'\nex = ['list']\nx = ['a']");
        let settings = Settings::merge(file(), Vec::new());
        assert_eq!(names(&settings.without_typed(|_| false)), ["debugger", "ex", "x"]);
        let settings = Settings::merge(file(), Vec::new());
        assert!(names(&settings.without_typed(|id| id == "debugger")).is_empty());
        let settings = Settings::merge(file(), of_environment("TRACEXEC_DEBUGGER", "lldb"));
        assert_eq!(names(&settings.without_typed(|_| false)), ["debugger"]);
    }

    #[test]
    fn a_default_never_contradicts_what_was_typed() {
        for (text, with) in [
            ("sessions = 2", "hold"),
            ("attach-timeout = 5", "hold"),
            ("max-hits = 2", "all"),
            ("max-hits = 2", "once"),
            ("backend = 'ptrace'", "system"),
            ("hits-json = 'x'", "list"),
        ] {
            let settings = Settings::merge(of_file(text), Vec::new());
            assert!(names(&settings.without_typed(|id| id == with)).is_empty(), "{text}");
            let settings = Settings::merge(of_file(text), Vec::new());
            assert_eq!(names(&settings.without_typed(|_| false)).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_setting_is_a_default_that_is_no_conflict() {
        let text =
            "debugger = 'lldb'\nmax-hits = 3\nex = ['a', '-b']\ncolor = 'never'\nverbose = 2";
        let settings = Settings::merge(of_file(text), Vec::new());
        let command = settings.as_defaults(crate::cli::command());
        let line = ["tracexec", "debug", "--hold", "-m", "x", "--", "true"];
        let matches = command.clone().try_get_matches_from(line).unwrap();
        let debug = matches.subcommand_matches("debug").unwrap();
        assert_eq!(debug.get_one::<String>("debugger").unwrap(), "lldb");
        assert_eq!(debug.get_one::<u64>("max_hits"), Some(&3));
        assert_eq!(debug.get_many::<OsString>("commands").unwrap().count(), 2);
        assert_eq!(debug.indices_of("commands").unwrap().count(), 2);
        assert_eq!(debug.get_count("verbose"), 2);
        assert!(!built_in(debug, "debugger") && built_in(debug, "place"));
        assert!(!built_in(debug, "max_hits") && built_in(debug, "sessions"));
        assert!(!typed(debug, "debugger") && typed(debug, "hold") && !typed(debug, "nothing"));
        let line = ["tracexec", "debug", "-v", "--ex", "c", "-m", "x", "--", "true"];
        let matches = command.try_get_matches_from(line).unwrap();
        let debug = matches.subcommand_matches("debug").unwrap();
        assert_eq!(debug.get_count("verbose"), 1);
        assert_eq!(debug.get_many::<OsString>("commands").unwrap().count(), 1);
    }

    #[test]
    fn an_error_about_a_value_says_where_that_stands() {
        let settings = Settings::merge(of_file("\ndebugger = 'gbd'\nuser = 'x'"), Vec::new());
        let what = |text: &str| settings.explain(Trouble::new(text)).what;
        assert_eq!(what("--debugger gbd: no"), "/c.toml:2: debugger gbd: no");
        assert_eq!(what("-u x: no"), "/c.toml:3: user x: no");
        assert_eq!(what("--debuggers: no"), "--debuggers: no");
        assert_eq!(
            settings.settings[0].origin,
            Origin::File { path: PathBuf::from("/c.toml"), line: 2 }
        );
    }
}
