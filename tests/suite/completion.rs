//! Tab in real shells.

use crate::support::tmux::Tmux;
use crate::support::{TRACEXEC, World};
use std::path::Path;

/// Starts a shell in the first pane, which reads our script and then shows `ready> `.
fn shell<'w>(world: &'w World, command: &str) -> Tmux<'w> {
    let tmux = Tmux::start(world);
    let own = Path::new(TRACEXEC).parent().unwrap().display();
    tmux.type_line(
        &tmux.first,
        &format!("PATH={own}:$PATH HOME={} {command}", world.dir.path().display()),
    );
    tmux.shows(&tmux.first, "\nready>");
    tmux
}

/// Types `line`, then Tab, until it has become `expected`; and throws it away.
#[track_caller]
fn completes(tmux: &Tmux<'_>, line: &str, expected: &str) {
    tmux.ask(&["send-keys", "-t", &tmux.first, "-l", line]);
    tmux.shows(&tmux.first, line);
    tmux.press(&tmux.first, "Tab");
    tmux.shows(&tmux.first, expected);
    tmux.press(&tmux.first, "C-u");
}

/// Types `line`, then Tab twice, until all of these are shown; and throws it away.
#[track_caller]
fn offers(tmux: &Tmux<'_>, line: &str, expected: &[&str]) {
    tmux.ask(&["send-keys", "-t", &tmux.first, "-l", line]);
    tmux.shows(&tmux.first, line);
    tmux.press(&tmux.first, "Tab");
    tmux.press(&tmux.first, "Tab");
    for word in expected {
        tmux.shows(&tmux.first, word);
    }
    tmux.press(&tmux.first, "C-c");
}

/// What each shell is to know, with and without a quote that is open.
#[track_caller]
fn knows_our_words(tmux: &Tmux<'_>) {
    completes(tmux, "tracexec debug -m basen", "debug -m basename");
    completes(tmux, "tracexec debug -m 'basename = cc and interp", "basename = cc and interpreter");
    completes(tmux, "tracexec debug -m 'argv startsw", "'argv startswith");
    completes(tmux, "tracexec debug --debugger gdb-b", "--debugger gdb-backtrace");
    completes(tmux, "tracexec templates show tmux-w", "show tmux-window");
    completes(tmux, "tracexec debug --on-l", "debug --on-launch-failure");
    completes(tmux, "tracexec log --no-re", "log --no-resolve-proc-self-exe");
    offers(tmux, "tracexec log --no-", &["--no-config", "--no-show-cwd", "--no-timestamp"]);
}

#[test]
fn bash_completes_what_only_we_know() {
    let world = World::new();
    let rc = world.file("bashrc", "PS1='ready> '\nsource <(tracexec generate-completions bash)\n");
    knows_our_words(&shell(&world, &format!("bash --rcfile {} -i", rc.display())));
}

#[test]
fn zsh_completes_what_only_we_know() {
    let world = World::new();
    world.file(
        ".zshrc",
        "autoload -U compinit; compinit -u\nsource <(tracexec generate-completions zsh)\nPS1='ready> '\n",
    );
    knows_our_words(&shell(&world, &format!("ZDOTDIR={} zsh -i", world.dir.path().display())));
}

#[test]
fn fish_completes_what_only_we_know() {
    let world = World::new();
    let start =
        "tracexec generate-completions fish | source; function fish_prompt; echo 'ready> '; end";
    let start = world.file("start.fish", start);
    knows_our_words(&shell(&world, &format!("fish -N -C 'source {}'", start.display())));
}
