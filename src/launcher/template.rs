//! Launch templates: what a debugger's file says, parsed and checked once; and the words of both kinds.
//!
//! A command is split into words first and placeholders are found in the words afterwards, so that a
//! value can never become two words or be read by a shell.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::image::Kind;
use crate::text::report::Trouble;

/// Something that is filled in at a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    Pid,
    /// The thread to which it happened, or the process.
    Tid,
    Hit,
    Port,
    /// The address at which a debugger listens, and the name of this machine's for others.
    Address,
    Host,
    Exe,
    Filename,
    Basename,
    Cwd,
    Argv,
    Location,
    Program,
    Break,
    Commands,
    /// The words for a process that sees other files than we do.
    Sysroot,
    /// The words that keep breakpoints, where that is asked for.
    Remember,
    /// The folder through which we see its files.
    Root,
    /// The process's own number for itself.
    NsPid,
    /// Paths as the process names them, and as we do.
    ExeInside,
    ExeOutside,
    CwdInside,
    CwdOutside,
    /// A file of the template's own.
    File(String),
    /// A file or command that the user gave with -x or --ex.
    Given,
    /// Terminals: the words of the shim.
    Shim,
    /// The same as JSON, inside a string of Vim's in single quotes.
    ShimVim,
    /// The same as strings of Emacs Lisp.
    ShimLisp,
    /// Terminals: the folder in which tracexec runs.
    Dir,
    /// Terminals: a variable of the caller's environment.
    Env(String),
    /// Terminals: what follows the colon in `--in NAME:TARGET`.
    Target,
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Value(Placeholder),
}

/// One word of a command.
pub type Word = Vec<Piece>;

/// A debugger's template.
#[derive(Debug, Clone)]
pub struct Debugger {
    pub name: String,
    pub description: String,
    /// Names of the program, the first that is found is taken.
    pub programs: Vec<String>,
    pub needs: Vec<String>,
    /// Whether it wants a terminal with somebody in front of it.
    pub interactive: bool,
    /// Whether it only looks at a process, and gives it back as it was.
    pub in_passing: bool,
    pub command: Vec<Word>,
    /// What to type to attach by hand.
    pub by_hand: Vec<Word>,
    /// What to type elsewhere once it runs.
    pub then: Vec<Word>,
    pub at_entry: Vec<Word>,
    pub at_main: Option<Vec<Word>>,
    pub at_location: Option<Vec<Word>>,
    pub given_file: Option<Vec<Word>>,
    pub given_command: Option<Vec<Word>>,
    /// Scripts, by name: text with numbers and {{location}} only.
    pub files: BTreeMap<String, Word>,
    /// The words for a process that sees other files than we do.
    pub sysroot: Vec<Word>,
    /// What succeeds where it works: a program may be there, and not what it needs.
    pub check: Vec<Word>,
    /// How breakpoints are kept.
    pub remember: Option<Remember>,
    /// Which programs it serves with `--debugger auto`.
    pub auto: Option<Auto>,
    /// What does not attach by ptrace has the process when it has such a descriptor.
    pub ready_fd: Option<String>,
}

/// How a debugger keeps its breakpoints from one match to the next.
#[derive(Debug, Clone)]
pub struct Remember {
    /// Debuggers of one name share them.
    pub name: String,
    pub words: Vec<Word>,
}

/// What a debugger is the choice of `--debugger auto` for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auto {
    pub images: Vec<Kind>,
    /// Of several the least is taken.
    pub rank: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawDebugger {
    name: String,
    description: String,
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default = "yes")]
    interactive: bool,
    #[serde(default)]
    in_passing: bool,
    command: String,
    #[serde(default)]
    by_hand: String,
    #[serde(default)]
    then: String,
    #[serde(default)]
    r#break: RawBreak,
    #[serde(default)]
    commands: RawCommands,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    sysroot: String,
    #[serde(default)]
    check: String,
    remember: Option<RawRemember>,
    auto: Option<Auto>,
    ready_fd: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRemember {
    name: String,
    words: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawBreak {
    #[serde(default)]
    entry: String,
    main: Option<String>,
    location: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawCommands {
    file: Option<String>,
    command: Option<String>,
}

fn yes() -> bool {
    true
}

/// Where a text stands, which decides what may be filled in there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    DebuggerWord,
    DebuggerFile,
    Given,
    TerminalWord,
}

fn placeholder(name: &str, context: Context) -> Option<Placeholder> {
    use Context::{DebuggerFile, DebuggerWord, Given, TerminalWord};
    let found = match name {
        "pid" => Placeholder::Pid,
        "tid" => Placeholder::Tid,
        "hit" => Placeholder::Hit,
        "port" => Placeholder::Port,
        "address" => Placeholder::Address,
        "host" => Placeholder::Host,
        "exe" => Placeholder::Exe,
        "filename" => Placeholder::Filename,
        "basename" => Placeholder::Basename,
        "cwd" => Placeholder::Cwd,
        "argv" => Placeholder::Argv,
        "location" => Placeholder::Location,
        "program" => Placeholder::Program,
        "break" => Placeholder::Break,
        "commands" => Placeholder::Commands,
        "sysroot" => Placeholder::Sysroot,
        "remember" => Placeholder::Remember,
        "root" => Placeholder::Root,
        "ns_pid" => Placeholder::NsPid,
        "exe.inside" => Placeholder::ExeInside,
        "exe.outside" => Placeholder::ExeOutside,
        "cwd.inside" => Placeholder::CwdInside,
        "cwd.outside" => Placeholder::CwdOutside,
        "given" => Placeholder::Given,
        "shim" => Placeholder::Shim,
        "shim-vim" => Placeholder::ShimVim,
        "shim-lisp" => Placeholder::ShimLisp,
        "dir" => Placeholder::Dir,
        "target" => Placeholder::Target,
        _ => {
            if let Some(file) = name.strip_prefix("file:") {
                Placeholder::File(file.to_string())
            } else {
                Placeholder::Env(name.strip_prefix("env.")?.to_string())
            }
        }
    };
    let allowed = match found {
        Placeholder::Pid | Placeholder::Hit => true,
        Placeholder::Tid => matches!(context, DebuggerFile | DebuggerWord),
        Placeholder::Port | Placeholder::Address | Placeholder::Host => context != TerminalWord,
        Placeholder::Root | Placeholder::NsPid => context != TerminalWord,
        Placeholder::Location => matches!(context, DebuggerFile | DebuggerWord),
        Placeholder::Given => context == Given,
        Placeholder::Shim | Placeholder::ShimVim | Placeholder::ShimLisp => context == TerminalWord,
        Placeholder::Dir | Placeholder::Env(_) | Placeholder::Target => context == TerminalWord,
        _ => context == DebuggerWord,
    };
    allowed.then_some(found)
}

/// Numbers, and texts of our own making, may stand anywhere; any other value must be a word by itself, since the text around it
/// could be a language of its own, in which the value would be read as code.
fn may_be_embedded(value: &Placeholder, context: Context) -> bool {
    match value {
        Placeholder::Pid | Placeholder::Tid | Placeholder::Hit | Placeholder::Port => true,
        Placeholder::Address | Placeholder::Host => true,
        Placeholder::Root | Placeholder::NsPid => true,
        Placeholder::Location => context == Context::DebuggerFile,
        Placeholder::Env(_) | Placeholder::Target => true,
        // Quoted for the language that they are named after.
        Placeholder::ShimVim | Placeholder::ShimLisp => true,
        // A path of our own making.
        Placeholder::File(_) => context == Context::DebuggerWord,
        _ => false,
    }
}

fn parse_word(text: &str, context: Context) -> Result<Word, String> {
    let mut word = Word::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        let end = after.find("}}").ok_or("`{{` without `}}`")?;
        let name = after[2..end].trim();
        let value = placeholder(name, context).ok_or_else(|| {
            format!("`{{{{{name}}}}}` is no placeholder, or not one for this place")
        })?;
        if !before.is_empty() {
            word.push(Piece::Text(before.to_string()));
        }
        word.push(Piece::Value(value));
        rest = &after[end + 2..];
    }
    if !rest.is_empty() || word.is_empty() {
        word.push(Piece::Text(rest.to_string()));
    }
    if word.len() > 1 {
        for piece in &word {
            if let Piece::Value(value) = piece
                && !may_be_embedded(value, context)
            {
                return Err(format!("in `{text}` a placeholder must be a word by itself"));
            }
        }
    }
    Ok(word)
}

pub(super) fn parse_words(text: &str, context: Context) -> Result<Vec<Word>, String> {
    let words = shell_words::split(text).map_err(|error| format!("`{text}`: {error}"))?;
    words.iter().map(|word| parse_word(word, context)).collect()
}

fn parse_optional(text: Option<String>, context: Context) -> Result<Option<Vec<Word>>, String> {
    text.map(|text| parse_words(&text, context)).transpose()
}

/// Reads a TOML file's text; an error names the file.
pub(super) fn read<T: for<'a> Deserialize<'a>>(text: &str, origin: &str) -> Result<T, Trouble> {
    toml::from_str(text).map_err(|error| {
        Trouble::new(format!("launch template {origin}: {}", error.to_string().trim_end())).hint(
            "tracexec-templates(5) describes the form; `tracexec templates show gdb` is an example",
        )
    })
}

pub(super) fn in_template(origin: &str) -> impl Fn(String) -> Trouble {
    let origin = origin.to_string();
    move |what| {
        Trouble::new(format!("launch template {origin}: {what}"))
            .hint("tracexec-templates(5) lists the placeholders")
    }
}

impl Remember {
    fn new(raw: RawRemember) -> Result<Remember, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if raw.name.is_empty() || !raw.name.bytes().all(is_plain) {
            return Err("[remember] name: letters, digits and `-` only".into());
        }
        let words = parse_words(&raw.words, Context::DebuggerWord)?;
        Ok(Remember { name: raw.name, words })
    }
}

impl Debugger {
    pub fn parse(text: &str, origin: &str) -> Result<Debugger, Trouble> {
        let raw: RawDebugger = read(text, origin)?;
        let wrong = in_template(origin);
        let word = Context::DebuggerWord;
        let files = raw
            .files
            .into_iter()
            .map(|(name, text)| Ok((name, parse_word(&text, Context::DebuggerFile)?)))
            .collect::<Result<BTreeMap<_, _>, String>>()
            .map_err(&wrong)?;
        let debugger = Debugger {
            name: raw.name,
            description: raw.description,
            programs: raw.programs,
            needs: raw.needs,
            interactive: raw.interactive,
            in_passing: raw.in_passing,
            command: parse_words(&raw.command, word).map_err(&wrong)?,
            by_hand: parse_words(&raw.by_hand, word).map_err(&wrong)?,
            then: parse_words(&raw.then, word).map_err(&wrong)?,
            at_entry: parse_words(&raw.r#break.entry, word).map_err(&wrong)?,
            at_main: parse_optional(raw.r#break.main, word).map_err(&wrong)?,
            at_location: parse_optional(raw.r#break.location, word).map_err(&wrong)?,
            given_file: parse_optional(raw.commands.file, Context::Given).map_err(&wrong)?,
            given_command: parse_optional(raw.commands.command, Context::Given).map_err(&wrong)?,
            files,
            check: parse_words(&raw.check, word).map_err(&wrong)?,
            sysroot: parse_words(&raw.sysroot, word).map_err(&wrong)?,
            remember: raw.remember.map(Remember::new).transpose().map_err(&wrong)?,
            auto: raw.auto,
            ready_fd: raw.ready_fd,
        };
        debugger.check().map_err(wrong)?;
        Ok(debugger)
    }

    /// A command of the user's own.
    pub fn ad_hoc(text: &str) -> Result<Debugger, Trouble> {
        let wrong = |what: String| {
            Trouble::new(format!("--debugger: {what}"))
                .hint("an example: --debugger 'gdb -q -p {{pid}}'; tracexec-templates(5) lists the placeholders")
        };
        let command = parse_words(text, Context::DebuggerWord).map_err(wrong)?;
        let debugger = Debugger {
            name: text.to_string(),
            description: String::new(),
            programs: Vec::new(),
            needs: Vec::new(),
            interactive: true,
            in_passing: false,
            command,
            by_hand: Vec::new(),
            then: Vec::new(),
            at_entry: Vec::new(),
            at_main: None,
            at_location: None,
            given_file: None,
            given_command: None,
            files: BTreeMap::new(),
            sysroot: Vec::new(),
            check: Vec::new(),
            remember: None,
            auto: None,
            ready_fd: None,
        };
        debugger.check().map_err(wrong)?;
        Ok(debugger)
    }

    /// Whether `--debugger auto` may take it for any program.
    pub fn serves_all(&self) -> bool {
        self.auto.as_ref().is_some_and(|auto| auto.images.contains(&Kind::Any))
    }

    /// Whether it is used by way of a port.
    pub fn listens(&self) -> bool {
        self.mentions(&Placeholder::Port)
    }

    fn mentions(&self, value: &Placeholder) -> bool {
        let words = self.command.iter().chain(&self.then).flatten();
        words.into_iter().any(|piece| matches!(piece, Piece::Value(found) if found == value))
    }

    /// Whether the program's directory is told anywhere in it.
    pub fn tells_directory(&self) -> bool {
        use Placeholder::{Cwd, CwdInside, CwdOutside};
        let optional = [&self.at_main, &self.at_location, &self.given_file, &self.given_command];
        let remember = self.remember.iter().map(|remember| &remember.words);
        let lists = [&self.command, &self.by_hand, &self.then, &self.at_entry, &self.sysroot];
        let lists = lists.into_iter().chain(optional.into_iter().flatten()).chain(remember);
        let mut pieces = lists.flatten().chain(self.files.values()).flatten();
        pieces.any(|piece| matches!(piece, Piece::Value(Cwd | CwdInside | CwdOutside)))
    }

    fn check(&self) -> Result<(), String> {
        let Some(first) = self.command.first() else { return Err("the command is empty".into()) };
        let fixed = match first.as_slice() {
            [Piece::Text(text)] => !text.is_empty(),
            [Piece::Value(Placeholder::Program)] => !self.programs.is_empty(),
            _ => false,
        };
        if !fixed {
            return Err("the command's first word must be a program's name, or {{program}}".into());
        }
        if !self.command.iter().flatten().any(|p| *p == Piece::Value(Placeholder::Pid)) {
            return Err(
                "the command does not say {{pid}}, so it could not know what to attach to".into()
            );
        }
        let remember = self.remember.as_ref().map(|remember| &remember.words);
        let words = [Some(&self.at_entry), self.at_main.as_ref(), self.at_location.as_ref()];
        let words = words.into_iter().chain([remember, Some(&self.sysroot)]);
        for piece in self.command.iter().chain(words.flatten().flatten()).flatten() {
            if let Piece::Value(Placeholder::File(name)) = piece
                && !self.files.contains_key(name)
            {
                return Err(format!("{{{{file:{name}}}}} has no entry under [files]"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_be_part_of_a_word_that_could_be_code() {
        let error = Debugger::ad_hoc("gdb -p {{pid}} -ex 'file {{exe}}'").unwrap_err();
        assert!(error.what.contains("word by itself"), "{error}");
        assert!(Debugger::ad_hoc("gdb --pid={{pid}} {{exe}}").is_ok());
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        let error = Debugger::ad_hoc("gdb -p {{pod}}").unwrap_err();
        assert!(error.what.contains("`{{pod}}`"), "{error}");
    }

    #[test]
    fn a_command_that_cannot_know_its_process_is_refused() {
        assert!(Debugger::ad_hoc("gdb").unwrap_err().what.contains("{{pid}}"));
        assert!(Debugger::ad_hoc("{{pid}}").unwrap_err().what.contains("first word"));
        assert!(Debugger::ad_hoc("").unwrap_err().what.contains("empty"));
    }

    #[test]
    fn a_file_must_exist_that_a_word_names() {
        let text = "name='x'\ndescription='x'\ncommand='x {{pid}} {{file:none}}'";
        assert!(Debugger::parse(text, "x.toml").unwrap_err().what.contains("[files]"));
    }
}
