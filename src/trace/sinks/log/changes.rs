//! How an exec's environment and descriptors differ from what COMMAND was given.

use std::collections::HashMap;

use crate::event::{FdRecord, Strings, variable};
use crate::trace::Baseline;

/// What was given, so that it is found fast.
pub struct Baselines {
    variables: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// By name, where they are: a name may be there more than once.
    places: HashMap<Vec<u8>, Vec<usize>>,
    pub fds: HashMap<u32, FdRecord>,
}

/// A difference in the environment.
#[derive(Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Added(&'a [u8], Option<&'a [u8]>),
    Changed(&'a [u8], Option<&'a [u8]>),
    Removed(&'a [u8]),
}

impl Baselines {
    pub fn of(baseline: &Baseline) -> Baselines {
        let mut variables = Vec::new();
        let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, entry) in baseline.env.iter().enumerate() {
            let (name, value) = variable(entry);
            variables.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            places.entry(name.to_vec()).or_default().push(at);
        }
        let fds = baseline.fds.iter().map(|fd| (fd.fd.number, fd.clone())).collect();
        Baselines { variables, places, fds }
    }

    /// What differs: first what is there, in its order, then what is not. Of two variables of one name the
    /// first is compared with the first.
    pub fn environment<'a>(&'a self, env: &'a Strings, unread: &[usize]) -> Vec<Change<'a>> {
        let mut seen = vec![false; self.variables.len()];
        let mut changes = Vec::new();
        for (at, entry) in env.iter().enumerate() {
            if unread.contains(&at) {
                continue;
            }
            let (name, value) = variable(entry);
            let places = self.places.get(name).map(Vec::as_slice).unwrap_or_default();
            match places.iter().find(|&&at| !seen[at]) {
                None => changes.push(Change::Added(name, value)),
                Some(&at) => {
                    seen[at] = true;
                    if self.variables[at].1.as_deref() != value {
                        changes.push(Change::Changed(name, value));
                    }
                }
            }
        }
        let gone = seen.iter().zip(&self.variables).filter(|(seen, _)| !**seen);
        changes.extend(gone.map(|(_, (name, _))| Change::Removed(name)));
        changes
    }
}
