//! Panes and windows beside the one where COMMAND runs.

use std::fs;

use crate::support::tmux::{Tmux, nothing_left};
use crate::support::{World, eventually, finish};

const HELLO: [&str; 2] = ["-m", "basename=hello"];

#[test]
fn auto_opens_a_pane_beside_where_gdb_waits_and_the_status_comes_back() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.debug(&["--in", "auto", HELLO[0], HELLO[1]], "./hello; echo got $?; exit 7");
    let pane = &tmux.other_panes(1)[0];
    tmux.gdb(pane);
    assert_eq!(tmux.windows(), 1);
    assert_eq!(tmux.value(pane, "#{pane_active}"), "1", "gdb gets the keys");
    let screen = tmux.screen(&tmux.first);
    assert!(screen.contains("./hello (basename=hello): gdb in tmux"), "{screen}");
    tmux.type_line(pane, "continue");
    tmux.shows(pane, "exited with code 03");
    tmux.type_line(pane, "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("hello\ngot 3\n"), "{}", ended.screen);
    tmux.other_panes(0);
    tmux.finish();
}

#[test]
fn a_window_of_its_own_and_gdb_quit_in_it() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.debug(&["--in", "tmux-window", HELLO[0], HELLO[1]], "./hello; echo got $?; exit 7");
    let pane = &tmux.other_panes(1)[0];
    tmux.gdb(pane);
    assert_eq!(tmux.windows(), 2);
    assert!(tmux.value(pane, "#{window_name}").starts_with("debug-"));
    assert_eq!(tmux.value(&tmux.first, "#{window_active}"), "1");
    tmux.type_line(pane, "quit");
    tmux.ends_with(pane, "(y or n)");
    tmux.type_line(pane, "y");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("hello\ngot 3\n"), "{}", ended.screen);
    tmux.finish();
}

#[test]
fn where_no_pane_has_room_a_window_opens() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    tmux.ask(&["split-window", "-d", "-t", &tmux.first, "--", "cat"]);
    let cat = tmux.other_panes(1)[0].clone();
    tmux.ask(&["resize-pane", "-t", &tmux.first, "-y", "1"]);
    tmux.debug(&["-v", HELLO[0], HELLO[1]], "./hello; exit 7");
    let pane = tmux.other_panes(2).into_iter().find(|pane| *pane != cat).unwrap();
    tmux.gdb(&pane);
    assert_eq!(tmux.windows(), 2);
    tmux.type_line(&pane, "kill");
    tmux.ends_with(&pane, "(y or n)");
    tmux.type_line(&pane, "y");
    tmux.type_line(&pane, "quit");
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("trying tmux-window"), "{}", ended.screen);
    tmux.ask(&["kill-pane", "-t", &cat]);
    tmux.finish();
}

/// What `tracexec ps` says of the hits: their stages.
fn stages(world: &World) -> Vec<String> {
    let said = world.run(["ps"]).out();
    let stage = |line: &str| line.split_whitespace().nth(1).unwrap().to_string();
    said.lines().skip(1).map(stage).collect()
}

#[test]
fn two_sessions_of_three_matches_while_the_third_waits() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    let script = "for n in 1 2 3; do (./hello; echo $n got $?) & done; wait; exit 7";
    tmux.debug(&["--sessions", "2", "--when-busy", "wait", HELLO[0], HELLO[1]], script);
    let panes = tmux.other_panes(2);
    panes.iter().for_each(|pane| drop(tmux.gdb(pane)));
    let all = eventually("the third match", || {
        let stages = stages(&world);
        (stages.len() == 3).then_some(stages)
    });
    assert_eq!(all.iter().filter(|stage| *stage == "attached").count(), 2, "{all:?}");
    assert!(all.contains(&"waiting".to_string()), "{all:?}");
    assert_eq!(tmux.others().len(), 2);
    tmux.type_line(&panes[0], "continue");
    tmux.shows(&panes[0], "exited with code 03");
    tmux.type_line(&panes[0], "quit");
    let third = eventually("the third pane", || {
        tmux.others().into_iter().find(|pane| !panes.contains(pane))
    });
    for pane in [&panes[1], &third] {
        tmux.gdb(pane);
        tmux.type_line(pane, "continue");
        tmux.shows(pane, "exited with code 03");
        tmux.type_line(pane, "quit");
    }
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    for n in 1..=3 {
        assert!(ended.screen.contains(&format!("\n{n} got 3\n")), "{}", ended.screen);
    }
    tmux.finish();
}

#[test]
fn while_two_sessions_are_busy_a_third_match_is_passed_over() {
    let world = World::new();
    world.fixture("hello", &[]);
    let tmux = Tmux::start(&world);
    let script = "./hello & ./hello & until [ -e go ]; do sleep 0.02; done; \
                  ./hello; echo third $?; wait; exit 7";
    tmux.debug(&["--sessions", "2", "--when-busy", "skip", HELLO[0], HELLO[1]], script);
    let panes = tmux.other_panes(2);
    panes.iter().for_each(|pane| drop(tmux.gdb(pane)));
    fs::write(world.path("go"), "").unwrap();
    tmux.shows(&tmux.first, "third 3");
    assert_eq!(tmux.others().len(), 2);
    for pane in &panes {
        tmux.type_line(pane, "continue");
        tmux.shows(pane, "exited with code 03");
        tmux.type_line(pane, "quit");
    }
    let ended = tmux.ended();
    assert_eq!(ended.code, 7);
    assert!(ended.screen.contains("1 further matches ran on"), "{}", ended.screen);
    tmux.finish();
}

#[test]
fn a_terminal_of_the_users_own_and_its_debugger_have_no_signal_blocked() {
    let world = World::new();
    world.fixture("hello", &[]);
    let templates = world.path("config/tracexec/launch-templates");
    let masked = |name: &str| format!("grep SigBlk /proc/self/status >{name}");
    for (kind, name, command) in [
        (
            "terminals",
            "own",
            format!("sh -c '{}; exec \"$@\"' sh {{{{shim}}}}", masked("terminal")),
        ),
        (
            "debuggers",
            "brief",
            format!("sh -c '{}; exec gdb -q -batch -p $1' sh {{{{pid}}}}", masked("debugger")),
        ),
    ] {
        fs::create_dir_all(templates.join(kind)).unwrap();
        let text = format!("name='{name}'\ndescription='own'\ncommand='''{command}'''\n");
        fs::write(templates.join(kind).join("own.toml"), text).unwrap();
    }
    for place in ["own", "background"] {
        let mut command = world.tracexec(["debug", "--in", place, "--debugger", "brief"]);
        command.args(HELLO).args(["--", "sh", "-c", "./hello; exit 7"]);
        command.current_dir(world.dir.path());
        let outcome = finish(world.start(command));
        assert_eq!((outcome.code(), &*outcome.out()), (7, "hello\n"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&format!("brief in {place}")), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("warning: "), "{}", outcome.stderr);
    }
    for name in ["terminal", "debugger"] {
        let mask = fs::read_to_string(world.path(name)).unwrap();
        assert_eq!(mask.trim(), "SigBlk:\t0000000000000000", "{name}");
    }
    nothing_left(&world);
}
