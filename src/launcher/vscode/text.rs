//! Values of a traced process in a launch.json: what cannot stand there, and why.

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it contains `${{`, in the place of which the editor would put something else")]
    Variable,
    #[error("it contains control characters, which would be commands to the debugger")]
    Control,
    #[error("it contains quotes or backslashes, which this debugger takes for its own")]
    Quotes,
}

/// A value as a text of JSON. VS Code substitutes `${...}` everywhere, and `${command:...}` runs
/// things; there is no way to escape it.
pub fn fit(bytes: &[u8]) -> Result<&str, Unfit> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unfit::NotUtf8)?;
    if text.contains("${") { Err(Unfit::Variable) } else { Ok(text) }
}

/// A value that becomes part of a debugger's command on its way.
pub fn fit_command(bytes: &[u8]) -> Result<&str, Unfit> {
    let text = fit(bytes)?;
    if text.contains(char::is_control) {
        return Err(Unfit::Control);
    }
    if text.contains(['"', '\'', '\\', '`']) { Err(Unfit::Quotes) } else { Ok(text) }
}

/// A string of gdb's machine interface.
pub fn c_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_or_a_debugger_would_act_on_is_refused() {
        assert_eq!(fit(b"$HOME {x} $(x)"), Ok("$HOME {x} $(x)"));
        assert_eq!(fit(b"a${command:x}"), Err(Unfit::Variable));
        assert_eq!(fit(b"\xff"), Err(Unfit::NotUtf8));
        assert_eq!(fit_command(b"/a b/c"), Ok("/a b/c"));
        assert_eq!(fit_command(b"a\n-exec-run"), Err(Unfit::Control));
        assert_eq!(fit_command(b"a\"b"), Err(Unfit::Quotes));
        assert_eq!(c_string(r#"a "b\c""#), r#""a \"b\\c\"""#);
    }
}
