//! Which entries of a launch.json are ours, and their coming and going. Ours are known by their names.

use serde_json::{Value, json};

use super::document::{Document, Flaw, List};
use crate::linux::sys::Pid;

const ATTACH: &str = "tracexec: attach";
const ALL: &str = "tracexec: attach to all";
const LAUNCH: &str = "tracexec: launch";

/// `NAME`, or for a further one `NAME (N)`.
fn numbered(name: &str, number: usize) -> String {
    if number <= 1 { name.to_string() } else { format!("{name} ({number})") }
}

fn is_numbered(name: &str, base: &str) -> bool {
    let Some(rest) = name.strip_prefix(base) else { return false };
    let number = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    rest.is_empty() || number.is_some_and(|n| n.parse::<usize>().is_ok())
}

/// The process that an entry of ours attaches to.
fn pid(entry: &Value) -> Option<Pid> {
    let pid = entry.get("pid").or_else(|| entry.get("processId"));
    // One that connects to a server names no process; its place among the others does.
    let pid = pid.or_else(|| entry.get("presentation")?.get("order"))?;
    match pid {
        Value::String(text) => text.parse().ok(),
        number => number.as_i64()?.try_into().ok(),
    }
}

impl Document {
    /// The entries of ours that attach, by whichever session they were made.
    fn attaching(&self) -> Result<Vec<(String, Option<Pid>)>, Flaw> {
        let entries = self.entries(List::Configurations)?;
        let ours = entries.into_iter().filter(|(name, _)| is_numbered(name, ATTACH));
        Ok(ours.map(|(name, entry)| (name, pid(&entry))).collect())
    }

    /// Puts in an entry that attaches; the name that it got.
    pub fn attach(&mut self, entry: &Value) -> Result<String, Flaw> {
        let there = self.attaching()?;
        let pid = pid(entry);
        let same = there.iter().find(|(_, other)| *other == pid).map(|(name, _)| name.clone());
        let free = |name: &String| there.iter().all(|(other, _)| other != name);
        let name = same
            .or_else(|| (1..).map(|number| numbered(ATTACH, number)).find(free))
            .unwrap_or_default();
        self.set(List::Configurations, &with_name(entry, &name))?;
        self.gather()?;
        Ok(name)
    }

    /// Puts in the entry that runs the program of match `number` again; its name.
    pub fn launch(&mut self, entry: &Value, number: usize) -> Result<String, Flaw> {
        let name = numbered(LAUNCH, number);
        self.keep(List::Configurations, &with_name(entry, &name))?;
        Ok(name)
    }

    /// Takes out the entries that run a match again.
    pub fn forget_launches(&mut self) -> Result<(), Flaw> {
        for (name, _) in self.entries(List::Configurations)? {
            if is_numbered(&name, LAUNCH) {
                self.remove(List::Configurations, &name)?;
            }
        }
        Ok(())
    }

    /// Takes out the entries that attach to a process of which `gone` holds; how many there were.
    pub fn detach(&mut self, gone: &dyn Fn(Option<Pid>) -> bool) -> Result<usize, Flaw> {
        let all = self.attaching()?;
        let stale: Vec<&String> =
            all.iter().filter(|(_, pid)| gone(*pid)).map(|(name, _)| name).collect();
        if stale.is_empty() {
            return Ok(0);
        }
        // What was made for compounds goes before what was made for configurations.
        if all.len() - stale.len() < 2 {
            self.remove(List::Compounds, ALL)?;
        }
        for name in &stale {
            self.remove(List::Configurations, name)?;
        }
        self.gather()?;
        Ok(stale.len())
    }

    /// One compound for all that attach, where there are several.
    fn gather(&mut self) -> Result<(), Flaw> {
        let names: Vec<String> = self.attaching()?.into_iter().map(|(name, _)| name).collect();
        if names.len() < 2 {
            self.remove(List::Compounds, ALL)?;
            return Ok(());
        }
        self.set(List::Compounds, &json!({ "name": ALL, "configurations": names }))
    }
}

fn with_name(entry: &Value, name: &str) -> Value {
    let mut named = json!({ "name": name });
    if let (Value::Object(named), Value::Object(rest)) = (&mut named, entry) {
        named.extend(rest.clone());
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: Pid) -> Value {
        json!({ "type": "lldb-dap", "request": "attach", "pid": pid })
    }

    #[test]
    fn several_have_names_of_their_own_and_a_compound_as_long_as_they_are_several() {
        let before = b"{\r\n\t\"version\": \"0.2.0\", // mine\r\n}";
        let mut document = Document::read(before).unwrap();
        assert_eq!(document.attach(&entry(7)).unwrap(), "tracexec: attach");
        let alone = document.clone();
        assert_eq!(document.attach(&entry(8)).unwrap(), "tracexec: attach (2)");
        assert_eq!(document.attach(&entry(8)).unwrap(), "tracexec: attach (2)");
        let compounds = document.entries(List::Compounds).unwrap();
        assert_eq!(
            compounds[0].1["configurations"],
            json!(["tracexec: attach", "tracexec: attach (2)"])
        );
        let mut other = document.clone();
        assert_eq!(document.detach(&|pid| pid == Some(8)), Ok(1));
        assert_eq!(document, alone);
        assert_eq!(other.detach(&|pid| pid == Some(7)), Ok(1));
        assert_eq!(other.attach(&entry(9)).unwrap(), "tracexec: attach");
        assert_eq!(other.detach(&|_| true), Ok(2));
        assert_eq!(other.bytes(), before);
    }

    #[test]
    fn what_stays_is_set_out_nicely_and_what_goes_leaves_no_trace() {
        let mut document = Document::read(b"{\n  \"configurations\": []\n}").unwrap();
        document.launch(&json!({ "pid": 1 }), 1).unwrap();
        let nice = "{\n  \"configurations\": [\n    {\n      \"name\": \"tracexec: launch\",\n      \
                    \"pid\": 1\n    }\n  ]\n}";
        assert_eq!(String::from_utf8(document.bytes()).unwrap(), nice);
        document.attach(&entry(7)).unwrap();
        document.detach(&|_| true).unwrap();
        assert_eq!(String::from_utf8(document.bytes()).unwrap(), nice);
    }

    #[test]
    fn an_entry_of_somebody_elses_is_not_taken_for_ours() {
        for name in ["tracexec: attach mine", "tracexec: attach (x)", "my tracexec: attach"] {
            assert!(!is_numbered(name, ATTACH), "{name}");
        }
    }
}
