//! What holds for every launch.json: an edit changes nothing but our entries, and what was put in can be
//! taken out again without a trace.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use tracexec::launcher::vscode::document::{Document, List};

const LISTS: [List; 2] = [List::Configurations, List::Compounds];

/// What may stand between two tokens. Those that look like something else are in comments.
const TRIVIA: [&str; 9] =
    [" ", "\t", "\n", "\r\n", "\n    ", "/* , ] */", "/**/", "// } // \"\n", "//\r\n"];

fn trivia() -> impl Strategy<Value = String> {
    vec(select(&TRIVIA[..]), 0..3).prop_map(|pieces| pieces.concat())
}

/// A value's text, with white space and comments inside it.
fn value() -> impl Strategy<Value = String> {
    let scalars =
        ["1", "-2.5e3", "true", "null", "\"\"", r#""tracexec: a\u0074tach""#, r#""// \" ]""#];
    let leaf = select(scalars.to_vec()).prop_map(String::from);
    leaf.prop_recursive(2, 12, 3, |inner| {
        let keys = select(vec!["name", "type", "x", "configurations"]);
        let members = vec((keys, inner.clone()), 0..3)
            .prop_map(|members| members.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect());
        prop_oneof![list('[', vec(inner, 0..3), ']'), list('{', members, '}')]
    })
}

/// Members with commas between them, and perhaps one behind.
fn list(
    open: char,
    members: impl Strategy<Value = Vec<String>>,
    close: char,
) -> impl Strategy<Value = String> {
    (members, vec(trivia(), 8), any::<bool>()).prop_map(move |(members, trivia, trailing)| {
        let mut text = String::from(open);
        let mut trivia = trivia.iter().cycle();
        let mut next = || trivia.next().map_or("", String::as_str);
        for (at, member) in members.iter().enumerate() {
            text += &[next(), member, next()].concat();
            if trailing || at + 1 < members.len() {
                text.push(',');
            }
        }
        text += next();
        text.push(close);
        text
    })
}

/// A whole file: none, only comments, or an object with or without the lists.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let entries = || list('[', vec(value(), 0..3), ']');
    let property = prop_oneof![
        Just(r#""version": "0.2.0""#.to_string()),
        Just(r#""version":"0.1.0""#.to_string()),
        entries().prop_map(|list| format!("\"configurations\": {list}")),
        entries().prop_map(|list| format!("\"compounds\":{list}")),
        value().prop_map(|value| format!("\"inputs\": {value}")),
    ];
    let root = prop_oneof![1 => Just(String::new()), 6 => list('{', vec(property, 0..4), '}')];
    (any::<bool>(), trivia(), root, trivia()).prop_map(|(bom, before, root, after)| {
        [if bom { "\u{feff}" } else { "" }, &before, &root, &after].concat().into_bytes()
    })
}

/// Something to put in: the list, the entry's number, a value in it.
fn puts() -> impl Strategy<Value = Vec<(usize, u8, String)>> {
    vec((0..2usize, 0..3u8, any::<String>()), 1..6)
}

fn entry(number: u8, text: &str) -> Value {
    json!({ "name": format!("tracexec: entry {number}"), "args": [text, []], "pid": 7 })
}

fn read(bytes: &[u8]) -> Document {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    Document::read(bytes).unwrap_or_else(|flaw| panic!("{flaw} in:\n{}", shown()))
}

/// Whether all of `part` is in `whole`, in its order.
fn is_kept(part: &[u8], whole: &[u8]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}

fn foreign(document: &Document, list: List) -> Vec<(String, Value)> {
    let mut entries = document.entries(list).unwrap();
    entries.retain(|(name, _)| !name.starts_with("tracexec: entry "));
    entries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_put_in_is_found_and_taken_out_without_a_trace(
        before in file(),
        puts in puts(),
        order in vec(any::<Index>(), 8),
    ) {
        let original = read(&before);
        let mut document = original.clone();
        let mut there: Vec<(List, String)> = Vec::new();
        // A compound names configurations, which are there before it and after it.
        let first = (0, 0, String::new());
        for (list, number, text) in std::iter::once(&first).chain(&puts) {
            let (list, entry) = (LISTS[*list], entry(*number, text));
            document.set(list, &entry).unwrap();
            let name = entry["name"].as_str().unwrap().to_string();
            // What is written is read as it was meant, from the bytes.
            document = read(&document.bytes());
            let entries = document.entries(list).unwrap();
            prop_assert!(entries.contains(&(name.clone(), entry)));
            if !there.contains(&(list, name.clone())) {
                there.push((list, name));
            }
        }
        prop_assert!(is_kept(&before, &document.bytes()));
        for list in LISTS {
            prop_assert_eq!(foreign(&original, list), foreign(&document, list));
        }
        for index in order.iter().cycle() {
            if there.is_empty() {
                break;
            }
            let compound = there.iter().position(|(list, _)| *list == List::Compounds);
            let at = compound.unwrap_or_else(|| index.index(there.len()));
            let (list, name) = there.swap_remove(at);
            prop_assert!(document.remove(list, &name).unwrap());
            document = read(&document.bytes());
        }
        let after = document.bytes();
        prop_assert_eq!(String::from_utf8_lossy(&after), String::from_utf8_lossy(&before));
    }

    #[test]
    fn an_entry_that_is_there_is_replaced_where_it_is(
        before in file(),
        first in any::<String>(),
        second in any::<String>(),
    ) {
        let mut once = read(&before);
        once.set(List::Configurations, &entry(1, &second)).unwrap();
        let mut twice = read(&before);
        twice.set(List::Configurations, &entry(1, &first)).unwrap();
        twice.set(List::Configurations, &entry(1, &second)).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn any_bytes_are_read_or_refused_with_their_place(
        pieces in vec(select(vec!["{", "}", "[", "]", ",", ":", "\"configurations\"", "1", "//", "/*", "*/", "\n", "\u{e9}", "\\"]), 0..20),
        raw in vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = pieces.concat().into_bytes();
        bytes.extend(raw);
        match Document::read(&bytes) {
            Ok(document) => prop_assert_eq!(document.bytes(), bytes),
            Err(flaw) => prop_assert!(flaw.line > 0 && flaw.column > 0),
        }
    }
}
