//! Which templates there are: compiled in, and the user's own, which come first.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::template::{Debugger, Terminal};
use crate::report::Trouble;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/launch-templates");

/// A template, as text and as what it means.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// The file it came from, or `built in`.
    pub origin: String,
    pub text: String,
    pub template: T,
}

/// All templates, by name.
#[derive(Debug)]
pub struct Catalog {
    pub debuggers: Vec<Entry<Debugger>>,
    pub terminals: Vec<Entry<Terminal>>,
}

/// `$XDG_CONFIG_HOME/tracexec/launch-templates`.
pub fn user_folder() -> Option<PathBuf> {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("tracexec").join("launch-templates"))
}

impl Catalog {
    pub fn load() -> Result<Catalog, Trouble> {
        let user = user_folder();
        Ok(Catalog {
            debuggers: load("debuggers", user.as_deref(), Debugger::parse, |template| {
                &template.name
            })?,
            terminals: load("terminals", user.as_deref(), Terminal::parse, |template| {
                &template.name
            })?,
        })
    }

    pub fn debugger(&self, name: &str) -> Option<&Debugger> {
        self.debuggers.iter().map(|entry| &entry.template).find(|template| template.name == name)
    }

    pub fn terminal(&self, name: &str) -> Option<&Terminal> {
        self.terminals.iter().map(|entry| &entry.template).find(|template| template.name == name)
    }
}

fn load<T>(
    kind: &str,
    user: Option<&Path>,
    parse: fn(&str, &str) -> Result<T, Trouble>,
    name: fn(&T) -> &String,
) -> Result<Vec<Entry<T>>, Trouble> {
    let mut texts = user.map_or(Ok(Vec::new()), |folder| user_texts(&folder.join(kind)))?;
    let built_in = BUILT_IN.get_dir(kind).into_iter().flat_map(Dir::files);
    texts.extend(
        built_in
            .filter_map(|file| Some(("built in".to_string(), file.contents_utf8()?.to_string()))),
    );
    let mut entries: Vec<Entry<T>> = Vec::new();
    for (origin, text) in texts {
        let template = parse(&text, &origin)?;
        // The first of a name holds: the user's own come first.
        if !entries.iter().any(|entry| name(&entry.template) == name(&template)) {
            entries.push(Entry { origin, text, template });
        }
    }
    entries.sort_by(|a, b| name(&a.template).cmp(name(&b.template)));
    Ok(entries)
}

fn user_texts(folder: &Path) -> Result<Vec<(String, String)>, Trouble> {
    let Ok(files) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut texts = Vec::new();
    for path in files.flatten().map(|file| file.path()) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).map_err(|error| {
                Trouble::new(format!("cannot read {}: {error}", path.display()))
            })?;
            texts.push((path.display().to_string(), text));
        }
    }
    texts.sort();
    Ok(texts)
}

/// The first of a template's programs that is there, and those of its needs that are not.
pub fn look_up(programs: &[String], needs: &[String]) -> (Option<PathBuf>, Vec<String>) {
    let program = programs.iter().find_map(|name| which::which(name).ok());
    let mut missing: Vec<String> =
        needs.iter().filter(|name| which::which(name).is_err()).cloned().collect();
    if program.is_none() && !programs.is_empty() {
        missing.insert(0, programs[0].clone());
    }
    (program, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_template_parses() {
        let debuggers = load("debuggers", None, Debugger::parse, |t| &t.name).unwrap();
        let terminals = load("terminals", None, Terminal::parse, |t| &t.name).unwrap();
        let names = |name: &str| debuggers.iter().any(|entry| entry.template.name == name);
        assert!(["gdb", "lldb", "gdbserver", "gdb-backtrace"].into_iter().all(names));
        let names = |name: &str| terminals.iter().any(|entry| entry.template.name == name);
        assert!(["here", "tmux", "tmux-window", "background"].into_iter().all(names));
    }

    #[test]
    fn a_place_that_another_falls_back_on_exists() {
        let terminals = load("terminals", None, Terminal::parse, |t| &t.name).unwrap();
        for entry in &terminals {
            if let Some(other) = &entry.template.otherwise {
                assert!(terminals.iter().any(|entry| entry.template.name == *other), "{other}");
            }
        }
    }
}
