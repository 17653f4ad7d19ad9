//! Regular expressions and globs, both of them over bytes.

use regex::bytes::{Regex, RegexBuilder};

/// A regular expression, ready to be searched for; its text is in it.
pub(super) struct Pattern {
    pub regex: Regex,
    /// Whether it works on characters. In any case `.` matches a line break.
    pub unicode: bool,
}

/// Builds the regular expression of `~`. The error is one line.
///
/// A pattern that is all ASCII works on bytes: its `.` matches any byte, so that a file name that
/// is not UTF-8 does not break a match, and its `\w` is ASCII. One with other characters, or
/// with a `\p`, works on characters. One that is not UTF-8 itself works on bytes again.
pub(super) fn regex(pattern: &[u8]) -> Result<Pattern, String> {
    let Ok(text) = std::str::from_utf8(pattern) else {
        return build(&escape_bytes(pattern), false);
    };
    if text.is_ascii()
        && let Ok(regex) = build(text, false)
    {
        return Ok(regex);
    }
    build(text, true)
}

fn build(pattern: &str, unicode: bool) -> Result<Pattern, String> {
    let regex = RegexBuilder::new(pattern)
        .unicode(unicode)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| last_line(&error))?;
    Ok(Pattern { regex, unicode })
}

/// The errors of the regex crate draw the pattern over several lines, and so do ours.
fn last_line(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("it takes more than {limit} bytes of memory");
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

/// Writes every byte that is not ASCII as `\xNN`, in classes and out of them.
fn escape_bytes(pattern: &[u8]) -> String {
    let mut out = String::new();
    let mut bytes = pattern.iter().peekable();
    while let Some(&byte) = bytes.next() {
        match byte {
            // Such a byte needs no backslash of its own, and would lose ours to it.
            b'\\' if bytes.peek().is_some_and(|next| !next.is_ascii()) => {}
            b'\\' => {
                out.push('\\');
                out.extend(bytes.next().map(|&next| next as char));
            }
            _ => push_byte(byte, &mut out),
        }
    }
    out
}

fn push_byte(byte: u8, out: &mut String) {
    if byte.is_ascii() {
        out.push(byte as char);
    } else {
        push_escaped(byte, out);
    }
}

fn push_escaped(byte: u8, out: &mut String) {
    out.push_str(&format!("\\x{byte:02x}"));
}

/// Builds a glob for the whole value: `*` is any bytes, `/` among them, `?` one byte, `[a-z]` and
/// `[!a-z]` one of a class, and a backslash takes the next byte as it is.
pub(super) fn glob(pattern: &[u8]) -> Result<Pattern, String> {
    let mut out = String::from("^");
    let mut rest = pattern;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' => out.push_str(".*"),
            b'?' => out.push('.'),
            b'[' => rest = class(rest, &mut out)?,
            b'\\' => {
                let (&literal, after) =
                    rest.split_first().ok_or("nothing follows the last `\\`")?;
                rest = after;
                push_escaped(literal, &mut out);
            }
            _ => push_escaped(byte, &mut out),
        }
    }
    out.push('$');
    build(&out, false)
}

/// Translates a class whose `[` was read, and returns what follows its `]`.
fn class<'a>(text: &'a [u8], out: &mut String) -> Result<&'a [u8], String> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    out.push_str(if negated { "[^" } else { "[" });
    let mut rest = &text[usize::from(negated)..];
    let mut first = true;
    loop {
        if !first && let Some(after) = rest.strip_prefix(b"]") {
            out.push(']');
            return Ok(after);
        }
        first = false;
        let (from, after) = class_byte(rest)?;
        rest = after;
        push_escaped(from, out);
        if let Some(after) = rest.strip_prefix(b"-")
            && !after.starts_with(b"]")
        {
            let (to, after) = class_byte(after)?;
            rest = after;
            if to < from {
                return Err("a range in `[...]` runs backwards".to_string());
            }
            out.push('-');
            push_escaped(to, out);
        }
    }
}

fn class_byte(text: &[u8]) -> Result<(u8, &[u8]), String> {
    let text = text.strip_prefix(b"\\").unwrap_or(text);
    let (&byte, after) = text.split_first().ok_or("a `[` is not closed: write `\\[` for itself")?;
    Ok((byte, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_for_the_whole_value_and_crosses_slashes() {
        for (pattern, text, expected) in [
            ("*.c", "src/a\n.c", true),
            ("*.c", "a.cc", false),
            ("a?c", "a\u{e9}c", false), // Two bytes.
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("[]-]", "-", true),
            ("[]-]", "]", true),
            (r"\*[\]]", "*]", true),
            ("a.c", "abc", false),
            ("", "", true),
        ] {
            assert_eq!(
                glob(pattern.as_bytes()).unwrap().regex.is_match(text.as_bytes()),
                expected,
                "{pattern}"
            );
        }
        for pattern in ["[a", "[", "[]", r"a\", "[z-a]", r"[\"] {
            assert!(glob(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_regular_expression_sees_bytes() {
        assert!(regex(b"^a.b$").unwrap().regex.is_match(b"a\xffb"));
        assert!(regex(b"^a.b$").unwrap().regex.is_match(b"a\nb"));
        assert!(regex(b"[\xe9\xff]+$").unwrap().regex.is_match(b"caf\xe9"));
        assert!(regex(b"\\\xe9$").unwrap().regex.is_match(b"caf\xe9"));
        assert!(regex("(?i)É".as_bytes()).unwrap().regex.is_match("é".as_bytes()));
        assert!(regex(br"^\p{L}$").unwrap().regex.is_match("é".as_bytes()));
        assert_eq!(regex(b"(a").err().unwrap(), "unclosed group");
    }
}
