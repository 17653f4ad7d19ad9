//! `tracexec doctor`: what works on this machine, why the rest does not, and what to do about it.
//!
//! [`facts`] gathers and tries, [`system`] and [`tools`] say what that means, [`table`] shows it. Only
//! the first touches the machine, so that the others can be tested with any machine's facts.

mod facts;
mod system;
mod table;
mod tools;

use crate::text::report::{Color, Style, Trouble};
use facts::{Facts, Tools};

/// How well something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It works, or is in nobody's way.
    Ok,
    /// It keeps a part of what there is from working.
    Limited,
    /// It does not work, or is not there.
    Missing,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        }
    }

    fn style(self) -> Style {
        match self {
            State::Ok => Style::Good,
            State::Limited => Style::Warning,
            State::Missing => Style::Error,
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    check: String,
    state: State,
    found: String,
    hint: Option<String>,
}

impl Finding {
    fn new(check: &str, state: State, found: impl Into<String>) -> Finding {
        Finding { check: check.into(), state, found: found.into(), hint: None }
    }

    fn ok(check: &str, found: impl Into<String>) -> Finding {
        Finding::new(check, State::Ok, found)
    }

    fn limited(check: &str, found: impl Into<String>) -> Finding {
        Finding::new(check, State::Limited, found)
    }

    fn missing(check: &str, found: impl Into<String>) -> Finding {
        Finding::new(check, State::Missing, found)
    }

    fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }
}

/// Rows that belong together.
struct Group {
    title: &'static str,
    findings: Vec<Finding>,
}

/// What it all comes to.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    works: bool,
    sentence: String,
}

/// The table, and the status to exit with.
pub struct Diagnosis {
    pub text: String,
    pub status: u8,
}

/// `tracexec debug` cannot work here. An error of our own is another status.
const CANNOT_WORK: u8 = 1;

/// Looks at the machine; `settings` says what is wrong with the user's own. For a process of one thread.
pub fn run(color: Color, settings: Option<Trouble>) -> Diagnosis {
    let (facts, tools) = (Facts::gather(), Tools::gather(settings));
    let groups = [
        Group { title: "tracing", findings: system::tracing(&facts) },
        Group { title: "eBPF (--backend ebpf, --system)", findings: system::ebpf(&facts) },
        Group { title: "debuggers (--debugger)", findings: tools::debuggers(&tools) },
        Group { title: "places (--in), beside auto", findings: tools::places(&tools) },
    ];
    let verdict = verdict(&facts, &tools);
    let stdout = std::io::stdout();
    let text = table::render(&groups, &verdict, table::width(&stdout), color.wanted(&stdout));
    Diagnosis { text, status: if verdict.works { 0 } else { CANNOT_WORK } }
}

/// Whether `tracexec debug` can work, and with what.
fn verdict(facts: &Facts, tools: &Tools) -> Verdict {
    let loads = system::ebpf_loads(facts);
    let mut obstacles = Vec::new();
    if let Some(found) = &facts.namespaces {
        obstacles.push(found.cause.as_str());
    }
    if facts.ptrace.is_err() {
        // Whatever finds a match and stops it, a debugger attaches to it by ptrace.
        obstacles.push(match loads {
            true => "eBPF would find the matches, but no debugger may attach to them",
            false => "no child can be traced",
        });
    }
    if tools.broken.is_some() {
        obstacles.push("a template cannot be read");
    }
    if tools.settings.is_some() {
        obstacles.push("a setting is wrong");
    }
    let debugger = tools::preferred(tools);
    if debugger.is_none() {
        obstacles.push("no debugger is installed");
    }
    let Some(debugger) = debugger.filter(|_| obstacles.is_empty()) else {
        let sentence = format!("`tracexec debug` cannot work here: {}", obstacles.join("; "));
        return Verdict { works: false, sentence };
    };
    let source = if loads { "eBPF" } else { "ptrace" };
    let place = match (&tools.auto, debugger.interactive) {
        (_, false) => "`--in auto` takes background".to_string(),
        (Ok(place), true) if tools::is_unreachable(tools, place) => {
            format!("`--in auto` takes {place}, which is out of reach, so say another --in, or --hold")
        }
        (Ok(place), true) => format!("`--in auto` takes {place}"),
        (Err(_), true) => "`--in auto` finds no terminal, so say --hold, or --in background with a debugger that needs \
                         nobody".into(),
    };
    let sentence = format!(
        "`tracexec debug` can work here: `--backend auto` takes {source}, `--debugger {}` is there, {place}",
        debugger.name
    );
    Verdict { works: true, sentence }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::facts::Ebpf;
    use super::*;
    use crate::source::ptrace::Untraceable;

    fn judged(change: impl FnOnce(&mut Facts, &mut Tools)) -> Verdict {
        let (mut facts, mut tools) = (Facts::of_a_good_machine(), Tools::of_a_good_machine());
        change(&mut facts, &mut tools);
        verdict(&facts, &tools)
    }

    #[test]
    fn where_all_is_well_the_choices_of_auto_are_told() {
        let verdict = judged(|_, _| ());
        assert!(verdict.works);
        for part in ["takes eBPF", "--debugger gdb`", "takes tmux"] {
            assert!(verdict.sentence.contains(part), "{}", verdict.sentence);
        }
    }

    #[test]
    fn without_ebpf_it_works_by_ptrace() {
        let verdict = judged(|facts, _| facts.ebpf = Ebpf::NotBuilt);
        assert!(verdict.works && verdict.sentence.contains("takes ptrace"), "{verdict:?}");
    }

    #[test]
    fn where_nothing_may_be_traced_ebpf_does_not_help() {
        let refuse = |facts: &mut Facts| {
            facts.ptrace = Err(Untraceable::NoChild(io::Error::from_raw_os_error(libc::EAGAIN)));
        };
        let verdict = judged(|facts, _| refuse(facts));
        assert!(!verdict.works && verdict.sentence.contains("no debugger may attach"));
        let verdict = judged(|facts, _| {
            refuse(facts);
            facts.ebpf = Ebpf::NotBuilt;
        });
        assert!(!verdict.works && verdict.sentence.contains("no child can be traced"));
    }

    #[test]
    fn each_thing_that_is_in_the_way_is_named() {
        let verdict = judged(|facts, tools| {
            facts.namespaces = Some(crate::machine::diagnose::Diagnosis {
                cause: "/proc is not mounted".into(),
                hint: "mount it".into(),
            });
            tools.broken = Some(crate::text::report::Trouble::new("bad.toml"));
            tools.settings = Some(crate::text::report::Trouble::new("config.toml:1"));
            tools.debuggers.clear();
        });
        assert!(!verdict.works);
        for part in ["/proc", "a template", "a setting", "no debugger"] {
            assert!(verdict.sentence.contains(part), "{}", verdict.sentence);
        }
    }

    #[test]
    fn a_place_that_auto_takes_in_vain_is_told() {
        let verdict = judged(|_, tools| {
            let tmux = tools.places.iter_mut().find(|place| place.name == "tmux").unwrap();
            let gone = io::Error::from_raw_os_error(libc::ECONNREFUSED);
            tmux.server = Some(("/tmp/tmux-0/default".into(), Err(gone)));
        });
        assert!(verdict.works && verdict.sentence.contains("out of reach"), "{verdict:?}");
    }

    #[test]
    fn without_a_terminal_it_works_and_the_way_is_told() {
        let verdict = judged(|_, tools| {
            tools.auto = Err(crate::text::report::Trouble::new("there is no terminal"));
        });
        assert!(verdict.works && verdict.sentence.contains("--in background"), "{verdict:?}");
    }
}
