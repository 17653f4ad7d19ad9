//! The findings as a table: a row is a check, its state, what was found, and beneath, after `->`, what
//! to do.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use super::{Finding, Group, Verdict};
use crate::linux::sys;
use crate::text::escape;
use crate::text::report::Style;

/// How wide the lines for a stream may be; only those of a terminal are broken.
pub fn width(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = sys::window_size(stream.as_fd()).ok().filter(|_| stream.is_terminal())?;
    // Some say 0 where nobody has told them.
    Some(if size.ws_col == 0 { 80 } else { usize::from(size.ws_col).max(60) })
}

/// A longer name moves its own row only.
const WIDEST_NAME: usize = 20;
/// That of `limited` and `missing`.
const STATE: usize = 7;

pub fn render(groups: &[Group], verdict: &Verdict, width: Option<usize>, color: bool) -> String {
    let all = groups.iter().flat_map(|group| &group.findings);
    let name = all.map(|finding| finding.check.chars().count()).max().unwrap_or_default();
    let name = name.min(WIDEST_NAME);
    let mut text = String::new();
    for group in groups {
        text.push_str(group.title);
        text.push('\n');
        for finding in &group.findings {
            row(&mut text, finding, name, width, color);
        }
    }
    let style = if verdict.works { Style::Good } else { Style::Error };
    for line in broken(&verdict.sentence, width) {
        text.push_str(&style.paint(color, &line));
        text.push('\n');
    }
    text
}

fn row(text: &mut String, finding: &Finding, name: usize, width: Option<usize>, color: bool) {
    let indent = 2 + name + 2 + STATE + 2;
    let room = width.map(|width| width.saturating_sub(indent));
    let check = escape::text(finding.check.as_bytes());
    let state = finding.state;
    let padding = " ".repeat(STATE - state.name().len());
    let state = state.style().paint(color, state.name());
    let mut start = format!("  {check:<name$}  {state}{padding}  ");
    let blank = " ".repeat(indent);
    for line in broken(&finding.found, room) {
        text.push_str(&format!("{start}{line}\n"));
        start.clone_from(&blank);
    }
    let mut mark = "-> ";
    for line in broken(finding.hint.as_deref().unwrap_or_default(), room.map(|room| room - 3)) {
        text.push_str(&format!("{blank}{}\n", Style::Dim.paint(color, &format!("{mark}{line}"))));
        mark = "   ";
    }
}

/// The text, made harmless, in lines of at most `width` characters where its words allow it.
fn broken(text: &str, width: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines().map(|line| escape::text(line.as_bytes())) {
        let Some(width) = width.filter(|&width| line.chars().count() > width) else {
            lines.push(line);
            continue;
        };
        let mut part = String::new();
        let mut len = 0;
        for word in line.split_whitespace() {
            let more = word.chars().count();
            if len > 0 && len + 1 + more > width {
                lines.push(std::mem::take(&mut part));
                len = 0;
            }
            if len > 0 {
                part.push(' ');
                len += 1;
            }
            part.push_str(word);
            len += more;
        }
        lines.push(part);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(finding: Finding, width: Option<usize>, color: bool) -> String {
        let groups =
            [Group { title: "things", findings: vec![Finding::ok("long-name", "yes"), finding] }];
        let verdict = Verdict { works: true, sentence: "all is well".into() };
        render(&groups, &verdict, width, color)
    }

    #[test]
    fn a_row_has_columns_and_what_to_do_stands_beneath() {
        let text = shown(Finding::missing("gdb", "not there").hint("install it"), None, false);
        let expected = "things\n  \
            long-name  ok       yes\n  \
            gdb        missing  not there\n                      -> install it\n\
            all is well\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn long_lines_are_broken_for_a_terminal_only() {
        let finding =
            || Finding::ok("x", "word ".repeat(30).trim()).hint("hint ".repeat(30).trim());
        assert_eq!(shown(finding(), None, false).lines().count(), 5);
        let text = shown(finding(), Some(60), false);
        assert!(text.lines().count() > 8 && text.lines().all(|line| line.len() <= 60), "{text}");
        assert!(text.contains("\n                         hint hint"), "{text}");
    }

    #[test]
    fn hostile_text_is_made_harmless_and_its_lines_keep_their_places() {
        let finding = Finding::ok("\x1b[2J", "a\x07\nb\u{202e}").hint("c\x1b]0;d");
        let text = shown(finding, Some(80), false);
        assert!(text.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{text:?}");
        assert!(text.contains("a\\x07\n                      b\\u{202e}\n"), "{text}");
    }

    #[test]
    fn colours_come_only_when_wanted() {
        let finding = || Finding::missing("gdb", "not there").hint("install it");
        assert!(!shown(finding(), None, false).contains('\x1b'));
        assert!(shown(finding(), None, true).contains("\x1b[31mmissing\x1b[0m  not there"));
    }
}
