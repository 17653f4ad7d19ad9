//! A test on a text as a table that the kernel walks through, one step a byte.
//!
//! The table is regex-automata's dense DFA, laid out anew: states that decide are absorbing (row 0 is
//! dead, row 1 has accepted), bytes that do the same share a class, and what the end of the input
//! does is a class of its own.

use std::collections::HashMap;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, nfa::thompson};

use crate::filter::Wants;

/// What lies between the parts of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joints {
    /// Nothing: it is one text.
    None,
    /// A NUL byte after each string, which is to count as a space.
    Spaces,
    /// A NUL byte after each string; each is tried by itself.
    Ends,
    /// Slashes; only the last part is tried.
    Slashes,
}

/// A table for the kernel, see `struct filter_test` in bpf/interface.h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automaton {
    /// 256 classes, then the rows. An entry is where the next row begins, counted from the first.
    pub words: Vec<u16>,
    pub stride: u16,
    pub start: u16,
    pub end_class: u16,
}

/// How much memory making one may take, in bytes.
const ROOM: usize = 4 << 20;
/// More states than this cannot fit, since the table's entries are 16 bits.
const MOST_STATES: usize = 1 << 15;

const DEAD: usize = 0;
const ACCEPTED: usize = 1;

impl Automaton {
    /// `None` if there is no table of a size that the kernel's side can hold.
    pub fn new(wants: &Wants<'_>, joints: Joints) -> Option<Automaton> {
        let (pattern, unicode) = pattern(wants)?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .accelerate(false)
                    .dfa_size_limit(Some(ROOM))
                    .determinize_size_limit(Some(ROOM)),
            )
            .syntax(syntax::Config::new().unicode(unicode).utf8(false).dot_matches_new_line(true))
            .thompson(thompson::Config::new().utf8(false))
            .build(&pattern)
            .ok()?;
        let mut states = explore(&dfa)?;
        match joints {
            Joints::None | Joints::Spaces => {}
            Joints::Ends => revive(&mut states, DEAD),
            Joints::Slashes => try_last_only(&mut states),
        }
        lay_out(&states, joints)
    }

    /// What the kernel does with it.
    #[cfg(test)]
    fn accepts(&self, text: &[u8]) -> bool {
        let step =
            |state: u16, class: u16| self.words[256 + usize::from(state) + usize::from(class)];
        let state =
            text.iter().fold(self.start, |state, &byte| step(state, self.words[usize::from(byte)]));
        step(state, self.end_class) == self.stride
    }
}

/// A regular expression that is found in just the texts that are wanted.
fn pattern(wants: &Wants<'_>) -> Option<(String, bool)> {
    let found = match wants {
        Wants::Pattern { text, unicode } => return Some(((*text).to_string(), *unicode)),
        Wants::Equal(values) => {
            let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
            format!("^(?:{})$", values.join("|"))
        }
        Wants::Contains(value) => literal(value),
        Wants::StartsWith(value) => format!("^{}", literal(value)),
        Wants::EndsWith(value) => format!("{}$", literal(value)),
        Wants::Number(_) | Wants::Other => return None,
    };
    Some((found, false))
}

fn literal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// A state: where each byte leads, and whether the input may end here.
struct State {
    next: [usize; 256],
    accepts_at_end: bool,
}

/// The states that can be reached, with DEAD and ACCEPTED in the first two places; the start is third.
fn explore(dfa: &dense::DFA<Vec<u32>>) -> Option<Vec<State>> {
    let start = dfa.start_state(&start::Config::new().anchored(Anchored::No)).ok()?;
    let mut numbers: HashMap<StateID, usize> = HashMap::new();
    let mut queue = vec![start];
    numbers.insert(start, 2);
    let mut states = vec![
        State { next: [DEAD; 256], accepts_at_end: false },
        State { next: [ACCEPTED; 256], accepts_at_end: true },
    ];
    let mut at = 0;
    while at < queue.len() {
        let id = queue[at];
        at += 1;
        let mut next = [DEAD; 256];
        for byte in 0..=255u8 {
            let to = dfa.next_state(id, byte);
            if dfa.is_quit_state(to) {
                return None;
            }
            next[usize::from(byte)] = if dfa.is_match_state(to) {
                ACCEPTED
            } else if dfa.is_dead_state(to) {
                DEAD
            } else {
                *numbers.entry(to).or_insert_with(|| {
                    queue.push(to);
                    queue.len() + 1
                })
            };
        }
        if queue.len() > MOST_STATES {
            return None;
        }
        states.push(State { next, accepts_at_end: dfa.is_match_state(dfa.next_eoi_state(id)) });
    }
    Some(states)
}

/// Gives DEAD or ACCEPTED a row that is not absorbing, so that the next part can begin anew.
fn revive(states: &mut Vec<State>, decided: usize) {
    let own = states.len();
    states.push(State { next: [own; 256], accepts_at_end: decided == ACCEPTED });
    for to in states[2..].iter_mut().flat_map(|state| &mut state.next) {
        if *to == decided {
            *to = own;
        }
    }
}

/// What decides does so until the next slash only, where all begins again.
fn try_last_only(states: &mut Vec<State>) {
    revive(states, DEAD);
    revive(states, ACCEPTED);
    for state in &mut states[2..] {
        state.next[usize::from(b'/')] = 2;
    }
}

fn lay_out(states: &[State], joints: Joints) -> Option<Automaton> {
    // Where a byte leads in each state; a NUL may mean something else.
    let column = |byte: usize| -> Vec<usize> {
        let lead = |(number, state): (usize, &State)| match joints {
            _ if byte != 0 || number < 2 => state.next[byte],
            Joints::None | Joints::Slashes => state.next[0],
            Joints::Spaces => state.next[usize::from(b' ')],
            Joints::Ends if state.accepts_at_end => ACCEPTED,
            Joints::Ends => 2,
        };
        states.iter().enumerate().map(lead).collect()
    };
    let mut classes: HashMap<Vec<usize>, u16> = HashMap::new();
    let mut columns = Vec::new();
    let mut words = Vec::with_capacity(256);
    for byte in 0..256 {
        let column = column(byte);
        let class = *classes.entry(column.clone()).or_insert_with(|| {
            columns.push(column);
            columns.len() as u16 - 1
        });
        words.push(class);
    }
    let end_class = columns.len() as u16;
    columns.push(states.iter().map(|s| if s.accepts_at_end { ACCEPTED } else { DEAD }).collect());
    let stride = columns.len();
    u16::try_from(states.len() * stride).ok()?;
    for number in 0..states.len() {
        words.extend(columns.iter().map(|column| (column[number] * stride) as u16));
    }
    Some(Automaton { words, stride: stride as u16, start: 2 * stride as u16, end_class })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wants: &Wants<'_>, joints: Joints, text: &[u8], expected: bool) {
        let automaton = Automaton::new(wants, joints).unwrap();
        assert_eq!(automaton.accepts(text), expected, "{wants:?} {joints:?} {text:?}");
    }

    #[test]
    fn a_table_accepts_what_the_expression_finds() {
        let pattern = |text| Wants::Pattern { text, unicode: false };
        check(&pattern("a.c"), Joints::None, b"xa\ncx", true);
        check(&pattern("^b"), Joints::None, b"ab", false);
        check(&pattern("b$"), Joints::None, b"ab", true);
        check(&pattern("(?i)FOO|bar"), Joints::None, b"xfOoy", true);
        check(&pattern(r"\bfoo\b"), Joints::None, b"a foo.", true);
        check(&pattern(""), Joints::None, b"", true);
        check(
            &Wants::Pattern { text: "é+", unicode: true },
            Joints::None,
            "caféé".as_bytes(),
            true,
        );
        check(&Wants::Equal(&[b"a.b".to_vec(), b"c".to_vec()]), Joints::None, b"a.b", true);
        check(&Wants::Equal(&[b"a.b".to_vec()]), Joints::None, b"axb", false);
        check(&Wants::EndsWith(b".c"), Joints::None, b"x.c.c", true);
    }

    #[test]
    fn the_strings_of_argv_are_one_text_or_each_its_own() {
        let wants = Wants::Pattern { text: "^b c$", unicode: false };
        check(&wants, Joints::Spaces, b"b\0c", true);
        check(&wants, Joints::Ends, b"b\0c", false);
        check(&wants, Joints::Ends, b"a\0b c\0d", true);
        check(&Wants::Equal(&[b"".to_vec()]), Joints::Ends, b"a\0\0d", true);
        check(&Wants::EndsWith(b"a"), Joints::Ends, b"ba\0c", true);
        check(&Wants::EndsWith(b"a"), Joints::Spaces, b"ba\0c", false);
    }

    #[test]
    fn of_a_path_the_last_part_is_tried() {
        let wants = Wants::Equal(&[b"true".to_vec()]);
        check(&wants, Joints::Slashes, b"/usr/bin/true", true);
        check(&wants, Joints::Slashes, b"true", true);
        check(&wants, Joints::Slashes, b"/true/x", false);
        check(&wants, Joints::Slashes, b"/usr/nottrue", false);
        check(&Wants::Contains(b"u"), Joints::Slashes, b"/usr/bin", false);
        check(&Wants::Pattern { text: "", unicode: false }, Joints::Slashes, b"/usr/", true);
    }

    #[test]
    fn what_would_be_too_large_has_no_table() {
        let wants = Wants::Pattern { text: r"[01]*1[01]{20}", unicode: false };
        assert!(Automaton::new(&wants, Joints::None).is_none());
    }
}
