//! Which templates there are: compiled in, and the user's own, which come first.

use std::fs;
use std::path::PathBuf;

use include_dir::{Dir, include_dir};

use super::inherit;
use super::template::{Debugger, Piece};
use super::terminal::Terminal;
use crate::cli::settings::{self, Folder};
use crate::text::escape;
use crate::text::report::Trouble;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/launch-templates");

/// The origin of a template that is compiled in.
pub const BUILT_IN_ORIGIN: &str = "built in";

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

impl Catalog {
    pub fn load() -> Result<Catalog, Trouble> {
        Catalog::with(settings::folder().as_ref())
    }

    /// The built-in templates, and those in `launch-templates` of the user's folder if there is one.
    pub fn with(user: Option<&Folder>) -> Result<Catalog, Trouble> {
        Ok(Catalog {
            debuggers: load("debuggers", user, Debugger::parse, |template| &template.name)?,
            terminals: load("terminals", user, Terminal::parse, |template| &template.name)?,
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
    user: Option<&Folder>,
    parse: fn(&str, &str) -> Result<T, Trouble>,
    name: fn(&T) -> &String,
) -> Result<Vec<Entry<T>>, Trouble> {
    let mut texts = user.map_or(Ok(Vec::new()), |folder| user_texts(folder, kind))?;
    let built_in = BUILT_IN.get_dir(kind).into_iter().flat_map(Dir::files);
    texts.extend(
        built_in.filter_map(|file| {
            Some((BUILT_IN_ORIGIN.to_string(), file.contents_utf8()?.to_string()))
        }),
    );
    let mut entries: Vec<Entry<T>> = Vec::new();
    for index in 0..texts.len() {
        let whole = inherit::complete(&texts, index)
            .map_err(|what| Trouble::new(format!("launch template {}: {what}", texts[index].0)))?;
        let (origin, text) = texts[index].clone();
        let template = parse(&whole, &origin)?;
        // The first of a name holds: the user's own come first.
        if !entries.iter().any(|entry| name(&entry.template) == name(&template)) {
            entries.push(Entry { origin, text, template });
        }
    }
    entries.sort_by(|a, b| name(&a.template).cmp(name(&b.template)));
    Ok(entries)
}

fn user_texts(user: &Folder, kind: &str) -> Result<Vec<(String, String)>, Trouble> {
    let folder = user.path.join("launch-templates").join(kind);
    let Ok(files) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut texts = Vec::new();
    for path in files.flatten().map(|file| file.path()) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let Some(text) = settings::read_trusted(&path, user)? else { continue };
            texts.push((escape::path(&path), text));
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

/// What is there of the programs that a debugger's template runs.
#[derive(Debug)]
pub struct Programs {
    /// What `{{program}}` stands for.
    pub program: Option<PathBuf>,
    /// The command's first word, where that is the name of a program.
    pub first: Option<PathBuf>,
    pub missing: Vec<String>,
}

impl Programs {
    pub fn of(debugger: &Debugger) -> Programs {
        let (program, mut missing) = look_up(&debugger.programs, &debugger.needs);
        let mut first = None;
        if let Some([Piece::Text(name)]) = debugger.command.first().map(Vec::as_slice) {
            first = which::which(name).ok();
            if first.is_none() && !missing.contains(name) {
                missing.push(name.clone());
            }
        }
        Programs { program, first, missing }
    }
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
