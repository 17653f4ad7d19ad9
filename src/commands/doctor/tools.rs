//! What the facts about debuggers and places mean. Pure.

use super::Finding;
use crate::commands::doctor::facts::Debugger;
use crate::commands::doctor::facts::Place;
use crate::commands::doctor::facts::Tools;
use crate::launcher::catalog::BUILT_IN_ORIGIN;
use crate::text::escape;

/// Programs that Debian has in a package of another name.
const PACKAGES: [(&str, &str); 3] =
    [("dlv", "delve"), ("lldb-server", "lldb"), ("perf", "linux-perf")];

/// A row each; and one for what of the user's own could not be read.
pub fn debuggers(tools: &Tools) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tools.debuggers.iter().map(debugger).collect();
    let yours = [("your templates", &tools.broken), ("your settings", &tools.settings)];
    for (check, trouble) in yours {
        let Some(trouble) = trouble else { continue };
        let hint = trouble.hint.as_deref().unwrap_or("mend the file, or move it away");
        findings.push(
            Finding::missing(check, trouble.what.trim_end())
                .hint(format!("{hint}; until then `debug` will not start")),
        );
    }
    findings
}

fn debugger(debugger: &Debugger) -> Finding {
    let name = &debugger.name;
    let [first, ..] = debugger.missing.as_slice() else {
        let program = debugger.program.as_ref().map(escape::path);
        return Finding::ok(name, program.unwrap_or_else(|| debugger.description.clone()));
    };
    let missing = debugger.missing.join(", ");
    let verb = if debugger.missing.len() == 1 { "is" } else { "are" };
    let found = format!("{missing} {verb} not in PATH ({})", debugger.description);
    Finding::missing(name, found).hint(if debugger.origin == BUILT_IN_ORIGIN {
        let package = PACKAGES.iter().find(|(program, _)| program == first);
        let package = package.map_or(first.as_str(), |(_, package)| *package);
        format!("install it (Debian: apt install {package}), or add its folder to PATH")
    } else {
        format!("install it, add its folder to PATH, or change {}", debugger.origin)
    })
}

/// A row each.
pub fn places(tools: &Tools) -> Vec<Finding> {
    tools.places.iter().map(place).collect()
}

fn place(place: &Place) -> Finding {
    let name = &place.name;
    if let Err(trouble) = &place.usable {
        // The row has the name already.
        let what = trouble.what.strip_prefix(&format!("--in {name}: ")).unwrap_or(&trouble.what);
        let finding = Finding::missing(name, what);
        return match &trouble.hint {
            Some(hint) => finding.hint(hint.as_str()),
            None => finding,
        };
    }
    if let Some((socket, Err(error))) = &place.server {
        let found = format!("its server at {} cannot be reached: {error}", escape::path(socket));
        return Finding::missing(name, found)
            .hint("start tracexec in a pane of a server that runs, or choose another place");
    }
    let mut found: Vec<String> = place.programs.iter().map(escape::path).collect();
    if place.background {
        found.push("needs no terminal".into());
    }
    if place.shares_terminal {
        found.push("/dev/tty opens".into());
    }
    if let Some((socket, Ok(()))) = &place.server {
        found.push(format!("its server is reached at {}", escape::path(socket)));
    }
    if let Some(uid) = place.foreign {
        found.push(format!("it is user {uid}'s, who called sudo"));
    }
    if found.is_empty() {
        found.push("needs nothing that is not there".into());
    }
    Finding::ok(name, found.join(", "))
}

/// Whether a place is chosen in vain: the server that it speaks to has gone.
pub fn is_unreachable(tools: &Tools, name: &str) -> bool {
    let mut named = tools.places.iter().filter(|place| place.name == name);
    named.any(|place| matches!(place.server, Some((_, Err(_)))))
}

/// The debugger that one would take: the default, the other one, any that is there.
pub fn preferred(tools: &Tools) -> Option<&Debugger> {
    let there = || tools.debuggers.iter().filter(|debugger| debugger.missing.is_empty());
    let named = |name: &str| there().find(|debugger| debugger.name == name);
    named("gdb")
        .or_else(|| named("lldb"))
        .or_else(|| there().find(|debugger| debugger.interactive))
        .or_else(|| there().next())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::State;
    use super::*;
    use crate::text::report::Trouble;

    #[track_caller]
    fn check(finding: &Finding, state: State, found: &str, hint: &str) {
        assert_eq!(finding.state, state, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{finding:?}");
    }

    fn a_place(name: &str, change: impl FnOnce(&mut Place)) -> Finding {
        let mut tools = Tools::of_a_good_machine();
        let place = tools.places.iter_mut().find(|place| place.name == name).unwrap();
        change(place);
        super::place(place)
    }

    #[test]
    fn a_debugger_is_told_with_its_path_or_with_what_to_install() {
        let mut gdb = Tools::of_a_good_machine().debuggers.swap_remove(0);
        check(&debugger(&gdb), State::Ok, "/usr/bin/gdb", "");
        gdb.missing = vec!["lldb-server".into()];
        check(&debugger(&gdb), State::Missing, "lldb-server is not", "apt install lldb)");
        gdb.missing.push("perl".into());
        check(&debugger(&gdb), State::Missing, "lldb-server, perl are not", "apt install");
        gdb.origin = "/home/me/mine.toml".into();
        check(&debugger(&gdb), State::Missing, "lldb-server", "change /home/me/mine.toml");
        (gdb.missing, gdb.program) = (Vec::new(), None);
        check(&debugger(&gdb), State::Ok, "a debugger", "");
    }

    #[test]
    fn a_template_that_cannot_be_read_is_a_row_of_its_own() {
        let mut tools = Tools::of_a_good_machine();
        tools.broken = Some(Trouble::new("bad.toml: no command\n"));
        let rows = debuggers(&tools);
        check(rows.last().unwrap(), State::Missing, "bad.toml: no command", "move it away");
        assert_eq!(rows.len(), tools.debuggers.len() + 1);
    }

    #[test]
    fn a_place_is_told_with_what_it_has() {
        check(&a_place("background", |_| ()), State::Ok, "needs no terminal", "");
        check(&a_place("here", |_| ()), State::Ok, "/dev/tty opens", "");
        let tmux = a_place("tmux", |place| place.foreign = Some(1000));
        check(
            &tmux,
            State::Ok,
            "/usr/bin/tmux, its server is reached at /tmp/tmux-1000/default",
            "",
        );
        check(&tmux, State::Ok, "user 1000's", "");
        let bare = a_place("background", |place| place.background = false);
        check(&bare, State::Ok, "needs nothing", "");
    }

    #[test]
    fn a_place_where_we_are_not_says_why_without_its_name_twice() {
        let finding = a_place("tmux", |place| {
            place.usable = Err(Trouble::new("--in tmux: $TMUX is not set").hint("start it inside"));
        });
        check(&finding, State::Missing, "$TMUX is not set", "start it inside");
        assert!(!finding.found.contains("--in"), "{finding:?}");
    }

    #[test]
    fn a_server_that_has_gone_is_told() {
        let finding = a_place("tmux", |place| {
            let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
            place.server = Some(("/tmp/tmux-0/default".into(), Err(refused)));
        });
        check(
            &finding,
            State::Missing,
            "/tmp/tmux-0/default cannot be reached",
            "server that runs",
        );
    }

    #[test]
    fn gdb_is_preferred_then_lldb_then_whatever_is_there() {
        let mut tools = Tools::of_a_good_machine();
        let name = |tools: &Tools| preferred(tools).map(|debugger| debugger.name.clone());
        assert_eq!(name(&tools).as_deref(), Some("gdb"));
        tools.debuggers[0].missing.push("gdb".into());
        assert_eq!(name(&tools).as_deref(), Some("gdb-backtrace"));
        let lldb = Debugger { name: "lldb".into(), missing: vec![], ..tools.debuggers[0].clone() };
        tools.debuggers.push(lldb);
        assert_eq!(name(&tools).as_deref(), Some("lldb"));
        tools.debuggers.clear();
        assert_eq!(name(&tools), None);
    }
}
