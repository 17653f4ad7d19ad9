//! The tutorials in `docs/`: every command line of ours in them is one that we take, and some are
//! followed in a real terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::World;
use crate::support::tmux::Tmux;
use tracexec::cli;
use tracexec::cli::settings;
use tracexec::filter::{Filter, SystemNames};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// A fenced block: the line before it, its language, its text.
struct Block {
    before: String,
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(Block {
                before: before.to_string(),
                language: language.to_string(),
                text: text.join("\n") + "\n",
            });
            before = "";
        } else if !line.is_empty() {
            before = line;
        }
    }
    found
}

fn page(name: &str) -> String {
    fs::read_to_string(docs().join(name)).unwrap()
}

/// What is typed in a page.
fn commands(page: &str) -> Vec<String> {
    let consoles = blocks(page).into_iter().filter(|block| block.language == "console");
    consoles
        .flat_map(|block| block.text.lines().map(String::from).collect::<Vec<_>>())
        .filter_map(|line| line.strip_prefix("$ ").map(String::from))
        .collect()
}

/// The words of our own command line in one that a shell would take.
fn own_words(line: &str) -> Option<Vec<String>> {
    let words = shell_words::split(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let own = words.into_iter().skip_while(|word| word != "tracexec");
    let ends = ["|", ">", "&&", "2>&1", "&"];
    let words: Vec<String> = own.take_while(|word| !ends.contains(&word.as_str())).collect();
    (!words.is_empty()).then_some(words)
}

/// Those of them that are text.
fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(docs()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect()
}

#[test]
fn every_command_line_of_ours_is_one_that_we_take() {
    let mut seen = 0;
    for path in pages() {
        let own = commands(&fs::read_to_string(&path).unwrap()).into_iter();
        for words in own.filter_map(|line| own_words(&line)) {
            let matches = cli::command()
                .try_get_matches_from(&words)
                .unwrap_or_else(|error| panic!("{}: {words:?}: {error}", path.display()));
            let Some(debug) = matches.subcommand_matches("debug") else { continue };
            for filter in debug.get_raw("matches").unwrap() {
                let bytes = filter.as_encoded_bytes();
                if let Err(error) = Filter::new(&[bytes], Arc::new(SystemNames)) {
                    panic!("{}: {error}", path.display());
                }
            }
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen}");
}

#[test]
fn every_configuration_in_them_is_right_and_every_link_leads_somewhere() {
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for block in blocks(&text) {
            // Those with a table are cargo's.
            if block.language == "toml" && !block.text.contains("[package]") {
                let file = settings::File { path: &path, text: &block.text, home: None };
                file.parse().unwrap();
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(docs().join(link).exists(), "{}: {link}", path.display());
        }
    }
    let index = page("README.md");
    for path in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name}");
    }
}

/// Writes the files of a tutorial: the blocks after a line with nothing but a name.
fn write_files(world: &World, page: &str) {
    for block in blocks(page) {
        let name = block.before.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:"));
        if let Some(name) = name {
            fs::create_dir_all(world.path(name).parent().unwrap()).unwrap();
            world.file(name, &block.text);
        }
    }
}

/// The page's first command that begins so, with the program under test.
fn command(tmux: &Tmux<'_>, page: &str, beginning: &str) -> String {
    let found = commands(page).into_iter().find(|line| line.starts_with(beginning));
    let line = found.unwrap_or_else(|| panic!("no command {beginning}"));
    line.replacen("tracexec", tmux.tracexec.to_str().unwrap(), 1)
}

#[test]
fn the_tutorial_on_ctest_ends_where_it_says() {
    let (world, page) = (World::new(), page("ctest.md"));
    write_files(&world, &page);
    let tmux = Tmux::start(&world);
    tmux.shell(&command(&tmux, &page, "cmake "));
    let ended = tmux.ended();
    assert!(
        ended.screen.contains("ranges.nested ....................***Failed"),
        "{}",
        ended.screen
    );
    tmux.shell(&command(&tmux, &page, "ctest "));
    let ended = tmux.ended();
    assert!(ended.screen.contains("/build/test_ranges \"nested\""), "{}", ended.screen);
    tmux.shell(&command(&tmux, &page, "tracexec debug "));
    let pane = tmux.other_panes(1).remove(0);
    assert!(tmux.gdb(&pane).contains("Temporary breakpoint 1, gaps ("));
    tmux.type_line(&pane, "watch next");
    for value in ["0", "9", "5"] {
        tmux.type_line(&pane, "continue");
        tmux.shows(&pane, &format!("New value = {value}\n"));
        tmux.gdb(&pane);
    }
    tmux.type_line(&pane, "quit");
    tmux.shows(&pane, "(y or n)");
    tmux.type_line(&pane, "y");
    // The status of ctest is passed on.
    assert_eq!(tmux.ended().code, 8);
    tmux.finish();
}

#[test]
fn the_tutorial_on_rustc_ends_where_it_says() {
    let (world, page) = (World::new(), page("cargo-rustc.md"));
    write_files(&world, &page);
    let tmux = Tmux::start(&world);
    // The terminal's HOME is the world, where rustup has nothing.
    let home = |name: &str, folder: &str| {
        let set = std::env::var(name).ok();
        set.or_else(|| Some(format!("{}/{folder}", std::env::var("HOME").ok()?))).unwrap()
    };
    tmux.shell(&format!(
        "export CARGO_TERM_COLOR=never CARGO_NET_OFFLINE=true CARGO_HOME={} RUSTUP_HOME={}; \
         unset CARGO_TARGET_DIR RUSTUP_TOOLCHAIN; cargo build",
        home("CARGO_HOME", ".cargo"),
        home("RUSTUP_HOME", ".rustup"),
    ));
    let ended = tmux.ended();
    assert!(ended.screen.contains("proc-macro derive panicked"), "{}", ended.screen);
    tmux.shell(&command(&tmux, &page, "tracexec debug --list "));
    assert!(tmux.ended().screen.contains("\ncrate-name shapes\n"));
    tmux.shell(&command(&tmux, &page, "tracexec debug -m "));
    let pane = tmux.other_panes(1).remove(0);
    tmux.shows(&pane, "hit Breakpoint 1, fields::count");
    tmux.gdb(&pane);
    tmux.type_line(&pane, "continue");
    tmux.gdb(&pane);
    tmux.type_line(&pane, "print tokens.length");
    tmux.shows(&pane, "$1 = 4\n");
    tmux.type_line(&pane, "quit");
    tmux.shows(&pane, "(y or n)");
    tmux.type_line(&pane, "y");
    // The build fails as without us.
    assert_eq!(tmux.ended().code, 101);
    tmux.finish();
}

#[cfg(feature = "ebpf")]
#[test]
fn the_tutorial_on_a_container_ends_where_it_says() {
    // bwrap --unshare-all makes a user namespace, too.
    if !crate::support::ebpf::available() || !crate::support::user::namespaces() {
        return;
    }
    let (world, page) = (World::new(), page("container.md"));
    write_files(&world, &page);
    let tmux = Tmux::start(&world);
    tmux.shell(&command(&tmux, &page, "mkdir "));
    let ended = tmux.ended();
    assert!(
        ended.screen.contains("worker ended with 1\n"),
        "bubblewrap is needed: {}",
        ended.screen
    );
    // The tests run as root.
    let line = command(&tmux, &page, "sudo tracexec debug --system --once ");
    tmux.shell(line.trim_start_matches("sudo "));
    // The session needs a moment to begin.
    let pane = crate::support::eventually("a pane", || {
        let mut start = std::process::Command::new("sh");
        start.arg("start.sh");
        world.prepare(&mut start);
        start.current_dir(world.dir.path()).stdout(std::process::Stdio::null());
        let mut container = start.spawn().unwrap();
        crate::support::eventually("a pane, or the container's end", || {
            let pane = tmux.others().pop();
            pane.map(Some).or_else(|| container.try_wait().unwrap().map(|_| None))
        })
    });
    tmux.shows(&pane, "Temporary breakpoint 1, work (");
    tmux.gdb(&pane);
    tmux.type_line(&pane, "print *job");
    tmux.shows(&pane, "\"/etc/worker.conf\"}");
    tmux.type_line(&pane, "quit");
    tmux.shows(&pane, "(y or n)");
    tmux.type_line(&pane, "y");
    assert_eq!(tmux.ended().code, 0);
    tmux.finish();
}
