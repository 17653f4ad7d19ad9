//! Launch templates: what a terminal's file says, parsed and checked once.

use serde::Deserialize;

use super::template::{Context, Piece, Placeholder, Word, in_template, parse_words, read};
use crate::text::report::Trouble;

/// A terminal's template.
#[derive(Debug, Clone)]
pub struct Terminal {
    pub name: String,
    pub description: String,
    pub needs: Vec<String>,
    /// Variables that must be set, in our environment or the caller's under sudo.
    pub env: Vec<String>,
    /// Variables of which one must be set: it opens a window on a display.
    pub display: Vec<String>,
    pub command: Vec<Word>,
    /// Whether the debugger gets the terminal that COMMAND has.
    pub shares_terminal: bool,
    /// Whether its command runs as long as the debugger, and shows its output on our stderr.
    pub attached: bool,
    /// Which place to try when this one has no room.
    pub otherwise: Option<String>,
    /// When `--in auto` takes it.
    pub auto: Option<Auto>,
    /// What `--in NAME:TARGET` does.
    pub target: Option<Target>,
    /// The variable that names the socket of the server that it speaks to.
    pub server: Option<String>,
    /// Whether it has been tried by those who wrote it.
    pub tried: bool,
}

/// When a terminal is the choice of `--in auto`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auto {
    /// NAME or NAME=VALUE: the variables that are so inside of it.
    #[serde(default)]
    pub inside: Vec<String>,
    /// Of several the least is taken.
    pub rank: u32,
}

/// How a terminal is reached from outside of it, by a name.
#[derive(Debug, Clone)]
pub struct Target {
    pub command: Vec<Word>,
    /// Fails where there is no such target.
    pub check: Vec<Word>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTerminal {
    name: String,
    description: String,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    display: Vec<String>,
    command: String,
    #[serde(default)]
    shares_terminal: bool,
    #[serde(default)]
    attached: bool,
    otherwise: Option<String>,
    auto: Option<Auto>,
    target: Option<RawTarget>,
    server: Option<String>,
    #[serde(default = "yes")]
    tried: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    command: String,
    #[serde(default)]
    check: String,
}

fn yes() -> bool {
    true
}

/// The words of a command that runs the shim.
fn parse_command(text: &str) -> Result<Vec<Word>, String> {
    let command = parse_words(text, Context::TerminalWord)?;
    let is_shim = |piece: &Piece| {
        use Placeholder::{Shim, ShimLisp, ShimVim};
        matches!(piece, Piece::Value(Shim | ShimVim | ShimLisp))
    };
    if !command.iter().flatten().any(is_shim) {
        return Err("the command does not say {{shim}}, which is what runs there".into());
    }
    Ok(command)
}

impl Terminal {
    pub fn parse(text: &str, origin: &str) -> Result<Terminal, Trouble> {
        let raw: RawTerminal = read(text, origin)?;
        Terminal::new(raw).map_err(in_template(origin))
    }

    fn new(raw: RawTerminal) -> Result<Terminal, String> {
        let target = raw.target.map(|target| {
            let check = parse_words(&target.check, Context::TerminalWord)?;
            Ok::<_, String>(Target { command: parse_command(&target.command)?, check })
        });
        Ok(Terminal {
            name: raw.name,
            description: raw.description,
            needs: raw.needs,
            env: raw.env,
            display: raw.display,
            command: parse_command(&raw.command)?,
            shares_terminal: raw.shares_terminal,
            attached: raw.attached,
            otherwise: raw.otherwise,
            auto: raw.auto,
            target: target.transpose()?,
            server: raw.server,
            tried: raw.tried,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_file() {
        let text = "name='x'\ndescription='x'\ncommand='{{shim}}'\ncolour=1";
        let error = Terminal::parse(text, "x.toml").unwrap_err();
        assert!(error.what.contains("x.toml") && error.what.contains("colour"), "{error}");
    }
}
