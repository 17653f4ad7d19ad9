//! Makes text from traced processes harmless for a terminal, and readable for a person.

use std::borrow::Cow;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::event::Strings;

/// Characters that a terminal acts on, or that reorder or hide what is shown.
pub(crate) fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{61c}' | '\u{ad}')
}

/// The bytes with everything that is not plain text written as an escape.
pub fn text(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => shown.push_str("\\n"),
                '\t' => shown.push_str("\\t"),
                '\r' => shown.push_str("\\r"),
                c if is_dangerous(c) && (c as u32) < 0x80 => {
                    let _ = write!(shown, "\\x{:02x}", c as u32);
                }
                c if is_dangerous(c) => {
                    let _ = write!(shown, "\\u{{{:x}}}", c as u32);
                }
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// One word as a POSIX shell, or bash and zsh where it holds something odd (`$'...'`), would take it, byte for
/// byte, in the locale C, too. In no shell does it end before its last quote: within quotes there is no `\'`, by
/// which dash would end the one form and fish would not end the other.
pub fn word(bytes: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(b);
    // zsh looks up what follows a `=`.
    if !bytes.is_empty() && bytes[0] != b'=' && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let shown = text(bytes);
    let before_quote = shown.ends_with('\\') || shown.contains("\\'");
    if shown.as_bytes() == bytes && !before_quote {
        return format!("'{}'", shown.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => quoted.push_str("\\\\"),
                // An interactive bash looks for events of its history at a `!`.
                '\'' | '!' => hexadecimal(&mut quoted, [c as u8]),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                '\r' => quoted.push_str("\\r"),
                // Not by the character's number: what that becomes depends on the locale.
                c if is_dangerous(c) => hexadecimal(&mut quoted, c.encode_utf8(&mut [0; 4])),
                c => quoted.push(c),
            }
        }
        hexadecimal(&mut quoted, chunk.invalid());
    }
    quoted.push('\'');
    quoted
}

fn hexadecimal(quoted: &mut String, bytes: impl AsRef<[u8]>) {
    for byte in bytes.as_ref() {
        let _ = write!(quoted, "\\x{byte:02x}");
    }
}

/// A path, to be read in a message.
pub fn path(path: impl AsRef<Path>) -> String {
    word(path.as_ref().as_os_str().as_bytes())
}

/// The text of a message, whatever is in it, with its line breaks.
pub fn lines(message: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| matches!(c, '\n' | '\t') || !is_dangerous(c);
    if message.chars().all(is_harmless) {
        return Cow::Borrowed(message);
    }
    let mut shown = String::with_capacity(message.len() + 16);
    for part in message.split_inclusive(['\n', '\t']) {
        let end = part.strip_suffix(['\n', '\t']).unwrap_or(part).len();
        shown.push_str(&text(&part.as_bytes()[..end]));
        shown.push_str(&part[end..]);
    }
    Cow::Owned(shown)
}

/// A command line to read, not to run: words quoted, cut to about `width` characters.
pub fn command_line(argv: &Strings, width: usize) -> String {
    let mut line = String::new();
    for argument in argv.iter() {
        if !line.is_empty() {
            line.push(' ');
        }
        // What will be cut away is not looked at: an argument may be megabytes long.
        let part = &argument[..argument.len().min(width * 4 + 4)];
        line.push_str(&word(part));
        if line.len() > width * 4 {
            break;
        }
    }
    shorten(&line, width).into_owned()
}

/// `line` cut to `width` characters, with a mark if it was longer.
pub fn shorten(line: &str, width: usize) -> Cow<'_, str> {
    match line.char_indices().nth(width) {
        None => Cow::Borrowed(line),
        Some(_) => {
            let end = line.char_indices().nth(width.saturating_sub(1)).map_or(0, |(at, _)| at);
            Cow::Owned(format!("{}…", &line[..end]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_bidirectional_controls_are_made_visible() {
        assert_eq!(text(b"a\x1b[2Jb\n\xff"), "a\\x1b[2Jb\\n\\xff");
        assert_eq!(text("\u{202e}x\u{9b}é".as_bytes()), "\\u{202e}x\\u{9b}é");
    }

    #[test]
    fn words_are_quoted_so_that_a_shell_takes_them_back() {
        assert_eq!(word(b"-O2"), "-O2");
        assert_eq!(word(b""), "''");
        assert_eq!(word(b"a b"), "'a b'");
        assert_eq!(word(b"it's"), r"'it'\''s'");
        assert_eq!(word(b"a\nb'\\\xff"), r"$'a\nb\x27\\\xff'");
        assert_eq!((word(b"a\\").as_str(), word(br"\a").as_str()), (r"$'a\\'", r"'\a'"));
        assert_eq!(word(b"$(touch owned)"), "'$(touch owned)'");
        assert_eq!(word("\u{202e}é\x01".as_bytes()), r"$'\xe2\x80\xaeé\x01'");
        assert_eq!((word(b"=ls").as_str(), word(b"a^b").as_str()), ("'=ls'", "'a^b'"));
    }

    #[test]
    fn a_message_keeps_nothing_but_its_lines() {
        assert_eq!(lines("a\n\tb é\n"), "a\n\tb é\n");
        assert_eq!(lines("a\x1b[2J\nb\r\u{202e}\n\n"), "a\\x1b[2J\nb\\r\\u{202e}\n\n");
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark() {
        let argv: Strings = ["a", "bbbbbbbbbb"].into_iter().collect();
        assert_eq!(command_line(&argv, 6), "a bbb…");
    }
}
