//! How an expression that is being typed may go on.

use super::field::PLAIN;
use super::lexer::RESERVED;

/// Fields whose names go on.
const OPEN: [&str; 5] = ["argv[", "env[", "fd[", "parent.", "ancestor."];
const OPERATORS: [&str; 10] =
    ["=", "!=", "~", "!~", "contains", "startswith", "endswith", "glob", "in", "not"];
const JOINTS: [&str; 2] = ["and", "or"];

/// What may stand next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Field,
    Operator,
    Value,
    Joint,
}

/// The words that may stand where the text ends, and where in the text that one begins which is being typed.
pub fn continuations(typed: &[u8]) -> (usize, Vec<&'static str>) {
    let is_break = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'(' | b')' | b',');
    let begin = typed.iter().rposition(is_break).map_or(0, |at| at + 1);
    let (done, word) = typed.split_at(begin);
    let mut next = Next::Field;
    for word in done.split(is_break).filter(|word| !word.is_empty()) {
        next = after(next, word);
    }
    if done.ends_with(b"(") && next == Next::Joint {
        next = Next::Value;
    }
    // parent. and ancestor. have fields of their own.
    let owner = [&b"parent."[..], b"ancestor."].into_iter().find(|owner| word.starts_with(owner));
    let (begin, word) = match owner {
        Some(owner) if next == Next::Field => (begin + owner.len(), &word[owner.len()..]),
        _ => (begin, word),
    };
    let fields = PLAIN.iter().map(|(name, _)| *name).chain(OPEN);
    let words: Vec<&str> = match next {
        Next::Field => fields.chain(["not"]).collect(),
        Next::Operator => OPERATORS.to_vec(),
        Next::Joint => JOINTS.to_vec(),
        Next::Value => Vec::new(),
    };
    let fits = |name: &&str| name.as_bytes().starts_with(word);
    (begin, words.into_iter().filter(fits).collect())
}

/// What stands after a word, where `at` was expected.
fn after(at: Next, word: &[u8]) -> Next {
    match (at, word) {
        (_, b"and" | b"or") => Next::Field,
        (Next::Field, b"not") => Next::Field,
        // A whole test in one word.
        (Next::Field, word) if word.iter().any(|byte| b"=~<>".contains(byte)) => {
            match word.last() {
                Some(b'=' | b'~' | b'<' | b'>') => Next::Value,
                _ => Next::Joint,
            }
        }
        (Next::Field, _) => Next::Operator,
        (Next::Operator, b"not") => Next::Operator,
        (Next::Operator, word) if RESERVED.contains(&word) || b"=!~<>".contains(&word[0]) => {
            Next::Value
        }
        (Next::Operator | Next::Value | Next::Joint, _) => Next::Joint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stand_next_is_offered_and_nothing_else() {
        for (typed, begin, words) in [
            ("base", 0, &["basename"][..]),
            ("not ex", 4, &["exe"]),
            ("basename=cc and arg", 16, &["argv", "argc", "argv["]),
            ("basename=cc ", 12, &["and", "or"]),
            ("basename con", 9, &["contains"]),
            ("argv contains x o", 16, &["or"]),
            ("basename = ", 11, &[]),
            ("(uid=0 or us", 10, &["user"]),
            ("parent.com", 7, &["comm"]),
            ("basename=", 0, &[]),
        ] {
            assert_eq!(continuations(typed.as_bytes()), (begin, words.to_vec()), "{typed}");
        }
        assert!(continuations(b"").1.len() > 25);
    }
}
