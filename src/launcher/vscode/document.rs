//! A launch.json as text, edited in place: a syntax tree tells where things are, and bytes are spliced,
//! so that whatever is not ours stays as it was typed.
//!
//! What is put in can be taken out again without a trace, from the text alone: white space goes before
//! an entry and never after it; an array that we had to make has its first entry right behind its
//! bracket, which nothing that we add to somebody's array has; and an object that we had to make has
//! its version last. Compounds are put in after configurations, and taken out before them.

use std::ops::Range;

use jsonc_parser::ast::{Array, Object, Value as Node};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::gap::Gap;

const BOM: &str = "\u{feff}";
const INDENT: &str = "    ";
const VERSION: &str = "0.2.0";

/// The lists of a launch.json that we have entries in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Configurations,
    Compounds,
}

impl List {
    fn key(self) -> &'static str {
        match self {
            List::Configurations => "configurations",
            List::Compounds => "compounds",
        }
    }
}

/// Why a text is none that we can edit, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Flaw {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// A launch.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    bom: bool,
    text: String,
}

/// Its parts, by their places in the text.
struct Tree<'a> {
    text: &'a str,
    root: Option<Object<'a>>,
}

impl Document {
    pub fn read(bytes: &[u8]) -> Result<Document, Flaw> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            flaw(&valid, valid.len(), "this is not UTF-8")
        })?;
        let (bom, text) = match text.strip_prefix(BOM) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let document = Document { bom, text: text.to_string() };
        for list in [List::Configurations, List::Compounds] {
            document.tree()?.array(list)?;
        }
        Ok(document)
    }

    pub fn bytes(&self) -> Vec<u8> {
        [if self.bom { BOM } else { "" }, &self.text].concat().into_bytes()
    }

    /// Whether it says nothing at all, not even in a comment.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// The entries of a list, those without a name left out.
    pub fn entries(&self, list: List) -> Result<Vec<(String, Value)>, Flaw> {
        let tree = self.tree()?;
        let Some(array) = tree.array(list)? else { return Ok(Vec::new()) };
        let named = |node: &Node<'_>| Some((name(node)?.to_string(), node.clone().into()));
        Ok(array.elements.iter().filter_map(named).collect())
    }

    /// A property of the whole.
    pub fn value(&self, key: &str) -> Option<Value> {
        let root = self.tree().ok()?.root?;
        let property = root.properties.into_iter().rfind(|p| p.name.as_str() == key)?;
        Some(property.value.into())
    }

    /// Puts an entry in place of the one of its name, or at the list's end.
    pub fn set(&mut self, list: List, entry: &Value) -> Result<(), Flaw> {
        self.put(list, entry, false)
    }

    /// The same for an entry that is to stay: it may be set out more nicely than one that has to go
    /// without a trace.
    pub fn keep(&mut self, list: List, entry: &Value) -> Result<(), Flaw> {
        self.put(list, entry, true)
    }

    fn put(&mut self, list: List, entry: &Value, stays: bool) -> Result<(), Flaw> {
        let new = {
            let tree = self.tree()?;
            let wanted = entry["name"].as_str().unwrap_or_default();
            let array = tree.array(list)?;
            let old = array.and_then(|array| {
                array.elements.iter().find(|node| name(node).is_some_and(|name| name == wanted))
            });
            match (old, array) {
                (Some(node), _) => {
                    let value = tree.render(entry, tree.line_indent(node.start()));
                    splice(tree.text, node.start()..node.end(), &value)
                }
                (None, Some(array)) => tree.append(array, entry, stays),
                (None, None) => tree.make_list(list, entry),
            }
        };
        self.text = new;
        Ok(())
    }

    /// Takes an entry out, and what we had made for its sake. False if there is none of that name.
    pub fn remove(&mut self, list: List, wanted: &str) -> Result<bool, Flaw> {
        let new = {
            let tree = self.tree()?;
            let Some(array) = tree.array(list)? else { return Ok(false) };
            let is_it = |node: &Node<'_>| name(node).is_some_and(|name| name == wanted);
            let Some(at) = array.elements.iter().position(is_it) else { return Ok(false) };
            let node = &array.elements[at];
            let made = array.elements.len() == 1
                && node.start() == array.start() + 1
                && node.end() == array.end() - 1;
            if made {
                tree.without_list(list)
            } else {
                let members: Vec<Range<usize>> = array.elements.iter().map(range).collect();
                without(tree.text, array.start()..array.end(), &members, at)
            }
        };
        self.text = new;
        Ok(true)
    }

    fn tree(&self) -> Result<Tree<'_>, Flaw> {
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let text = self.text.as_str();
        let parsed =
            parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| Flaw {
                line: error.line_display(),
                column: error.column_display(),
                what: error.kind().to_string(),
            })?;
        let root = match parsed.value {
            None => None,
            Some(Node::Object(object)) => Some(object),
            Some(other) => return Err(flaw(text, other.start(), "this is not an object")),
        };
        Ok(Tree { text, root })
    }
}

impl<'a> Tree<'a> {
    /// Of several properties of one name the last one holds.
    fn property(&self, list: List) -> Option<usize> {
        let root = self.root.as_ref()?;
        root.properties.iter().rposition(|property| property.name.as_str() == list.key())
    }

    fn array(&self, list: List) -> Result<Option<&Array<'a>>, Flaw> {
        let (Some(at), Some(root)) = (self.property(list), &self.root) else { return Ok(None) };
        match &root.properties[at].value {
            Node::Array(array) => Ok(Some(array)),
            other => Err(flaw(self.text, other.start(), "this is not an array")),
        }
    }

    fn append(&self, array: &Array<'_>, entry: &Value, stays: bool) -> String {
        let last = array.elements.last().map(range);
        let end = match stays && array.end() == array.start() + 2 {
            true => format!("{}{}", self.newline(), self.line_indent(array.start())),
            false => String::new(),
        };
        let member = |indent: String| self.render(entry, indent) + &end;
        self.insert(array.start()..array.end(), last, true, &member)
    }

    /// Adds a property, or all that there is to a launch.json.
    fn make_list(&self, list: List, entry: &Value) -> String {
        let Some(root) = &self.root else {
            let newline = self.newline();
            let value = self.render(entry, INDENT.into());
            let object = format!(
                "{{{newline}{INDENT}\"{}\": [{value}],{newline}{INDENT}\"version\": \"{VERSION}\"{newline}}}",
                list.key()
            );
            // Behind the comments that are there.
            let end = Gap::of(self.text, 0..self.text.len()).end;
            let lead = if end == 0 { "" } else { newline };
            return splice(self.text, end..end, &format!("{lead}{object}"));
        };
        let last = root.properties.last().map(range);
        let member =
            |indent: String| format!("\"{}\": [{}]", list.key(), self.render(entry, indent));
        self.insert(root.start()..root.end(), last, false, &member)
    }

    /// Puts a member at the end of an array or object, which lies at `whole`.
    fn insert(
        &self,
        whole: Range<usize>,
        last: Option<Range<usize>>,
        in_array: bool,
        member: &dyn Fn(String) -> String,
    ) -> String {
        let inside = last.as_ref().map_or(whole.start + 1, |last| last.end)..whole.end - 1;
        let gap = Gap::of(self.text, inside.clone());
        let own_line = match &last {
            Some(last) => self.begins_line(last.start),
            // In an array the white space says that the array was there; see above.
            None => in_array || self.text[inside].contains('\n'),
        };
        let (lead, indent) = if own_line || gap.line_comment {
            let indent = match &last {
                Some(last) => self.line_indent(last.start),
                None => format!("{}{}", self.line_indent(whole.start), self.unit()),
            };
            (format!("{}{indent}", self.newline()), indent)
        } else {
            let lead = if last.is_some() { " " } else { "" };
            (lead.to_string(), self.line_indent(gap.end))
        };
        let trailing = if gap.comma.is_some() { "," } else { "" };
        let new = format!("{lead}{}{trailing}", member(indent));
        let mut text = splice(self.text, gap.end..gap.end, &new);
        if let (Some(last), None) = (last, gap.comma) {
            text.insert(last.end, ',');
        }
        text
    }

    /// Without a list that holds nothing but the one entry of ours, for which we made it.
    fn without_list(&self, list: List) -> String {
        let (Some(at), Some(root)) = (self.property(list), &self.root) else {
            return self.text.to_string();
        };
        let members: Vec<Range<usize>> = root.properties.iter().map(range).collect();
        let version = root.properties.get(1).is_some_and(|property| {
            let value = property.value.as_string_lit();
            property.name.as_str() == "version" && value.is_some_and(|v| v.value == VERSION)
        });
        let comments = (1..members.len()).any(|at| {
            let gap = Gap::of(self.text, members[at - 1].end..members[at].start);
            gap.comma.is_none_or(|comma| gap.end != comma + 1)
        });
        if at == 0 && members.len() == 2 && version && !comments {
            let start = Gap::of(self.text, 0..root.start()).end;
            return splice(self.text, start..root.end(), "");
        }
        without(self.text, root.start()..root.end(), &members, at)
    }

    fn render(&self, value: &Value, indent: String) -> String {
        let unit = self.unit();
        let mut bytes = Vec::new();
        let formatter = PrettyFormatter::with_indent(unit.as_bytes());
        // Writing to memory does not fail, nor does writing what is JSON already.
        let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
        let text = String::from_utf8_lossy(&bytes);
        text.replace('\n', &format!("{}{indent}", self.newline()))
    }

    fn newline(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    /// One step of indentation, as the first property has it.
    fn unit(&self) -> String {
        let step = self.root.as_ref().and_then(|root| {
            let first = root.properties.first()?.start();
            let indent = self.begins_line(first).then(|| self.line_indent(first))?;
            indent.strip_prefix(&self.line_indent(root.start())).map(String::from)
        });
        step.filter(|step| !step.is_empty()).unwrap_or_else(|| INDENT.into())
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind(['\n', '\r']).map_or(0, |newline| newline + 1)
    }

    /// The white space with which the line begins.
    fn line_indent(&self, at: usize) -> String {
        let line = &self.text[self.line_start(at)..];
        line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
    }

    fn begins_line(&self, at: usize) -> bool {
        let before = &self.text[self.line_start(at)..at];
        before.chars().all(|c| matches!(c, ' ' | '\t')) && self.line_start(at) > 0
    }
}

/// The text without one member of the array or object at `whole`.
fn without(text: &str, whole: Range<usize>, members: &[Range<usize>], at: usize) -> String {
    let member = &members[at];
    let before_start = if at == 0 { whole.start + 1 } else { members[at - 1].end };
    let after_end = members.get(at + 1).map_or(whole.end - 1, |next| next.start);
    let before = Gap::of(text, before_start..member.start);
    let after = Gap::of(text, member.end..after_end);
    match (after.comma, members.get(at + 1)) {
        // The first one leaves its place to the next.
        (Some(comma), Some(next)) if at == 0 && after.end == comma + 1 => {
            splice(text, member.start..next.start, "")
        }
        (Some(comma), _) => {
            let between = &text[member.end..comma];
            splice(text, before.end..comma + 1, between)
        }
        (None, _) => {
            let mut text = splice(text, before.end..member.end, "");
            if let Some(comma) = before.comma {
                text.remove(comma);
            }
            text
        }
    }
}

fn name<'a>(node: &'a Node<'_>) -> Option<&'a str> {
    let property = node.as_object()?.properties.iter().rfind(|p| p.name.as_str() == "name")?;
    Some(property.value.as_string_lit()?.value.as_ref())
}

fn range(node: &impl Ranged) -> Range<usize> {
    node.start()..node.end()
}

fn splice(text: &str, range: Range<usize>, with: &str) -> String {
    [&text[..range.start], with, &text[range.end..]].concat()
}

fn flaw(text: &str, at: usize, what: &str) -> Flaw {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Flaw { line, column, what: what.into() }
}
