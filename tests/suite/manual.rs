//! The man pages and the command line say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use clap::CommandFactory;
use tracexec::cli::Cli;
use tracexec::cli::settings::{self, Folder, KEYS, Key, TABLES, Table};
use tracexec::filter::{Filter, SystemNames};
use tracexec::launcher::catalog::Catalog;

const PAGES: [&str; 10] = [
    "tracexec.1",
    "tracexec-collect.1",
    "tracexec-config.5",
    "tracexec-debug.1",
    "tracexec-doctor.1",
    "tracexec-filter.7",
    "tracexec-log.1",
    "tracexec-report.1",
    "tracexec-rerun.1",
    "tracexec-templates.5",
];

/// A page's source.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name)).unwrap()
}

/// Without the escapes that man pages need.
fn plain(text: &str) -> String {
    let text = text.replace("\\-", "-").replace("\\e", "\\").replace("\\ ", " ");
    ["\\fI", "\\fB", "\\fR"].iter().fold(text, |text, font| text.replace(font, ""))
}

/// The options whose paragraphs a page has, `-x` and `--long`.
fn documented(page: &str) -> BTreeSet<String> {
    let page = plain(page);
    let mut after_tag = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if after_tag {
            let words = line.split(|c: char| c.is_whitespace() || c == '"');
            let options = words.skip(1).map(|word| word.trim_matches(['"', ',', '\\']));
            found.extend(options.filter(|word| word.starts_with('-')).map(String::from));
        }
        after_tag = line == ".TP";
    }
    found
}

/// The options of a subcommand, hidden ones left out.
fn accepted(command: &clap::Command, global: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for arg in command.get_arguments() {
        if arg.is_hide_set() || arg.is_positional() || arg.is_global_set() != global {
            continue;
        }
        found.extend(arg.get_short().map(|short| format!("-{short}")));
        found.extend(arg.get_long().map(|long| format!("--{long}")));
    }
    found
}

#[test]
fn the_pages_have_the_options_of_the_command_line_and_no_others() {
    let cli = Cli::command();
    let debug = cli.find_subcommand("debug").unwrap();
    assert_eq!(documented(&page("tracexec-debug.1")), accepted(debug, false));
    let mut global = accepted(&cli, true);
    global.extend(["-h", "--help", "-V", "--version"].map(String::from));
    // The subcommands' paragraphs begin with their names.
    let mut of_page = documented(&page("tracexec.1"));
    let release = accepted(cli.find_subcommand("release").unwrap(), false);
    of_page.retain(|option| !release.contains(option));
    assert_eq!(of_page, global);
}

#[test]
fn the_page_of_rerun_has_its_options_and_no_others() {
    let cli = tracexec::cli::command();
    let rerun = cli.find_subcommand("rerun").unwrap();
    assert_eq!(documented(&page("tracexec-rerun.1")), accepted(rerun, false));
}

#[test]
fn the_page_of_log_has_its_options_and_no_others() {
    let cli = Cli::command();
    let log = cli.find_subcommand("log").unwrap();
    let mut accepted = accepted(log, false);
    // Its other name.
    accepted.insert("--filter".into());
    let page = page("tracexec-log.1");
    assert_eq!(documented(&page), accepted);
    let values = log.get_arguments().filter(|arg| arg.get_action().takes_values());
    for value in values.flat_map(|arg| arg.get_possible_values()) {
        assert!(plain(&page).contains(value.get_name()), "{}", value.get_name());
    }
    // What is on has a form that switches it off.
    for option in accepted.iter().filter(|option| option.starts_with("--show-")) {
        let no = option.replacen("--", "--no-", 1);
        let words = ["tracexec", "log", &no, "--", "true"];
        let taken = Cli::command().try_get_matches_from(words).is_ok();
        assert!(taken || option == "--show-all-events", "{no}");
    }
}

#[test]
fn the_pages_of_collect_and_report_have_their_options_and_the_values_of_those() {
    let cli = Cli::command();
    for name in ["collect", "report"] {
        let page = page(&format!("tracexec-{name}.1"));
        let command = cli.find_subcommand(name).unwrap();
        assert_eq!(documented(&page), accepted(command, false), "{name}");
        let takes_value = |arg: &&clap::Arg| arg.get_action().takes_values();
        for arg in command.get_arguments().filter(takes_value) {
            for value in arg.get_possible_values() {
                assert!(plain(&page).contains(value.get_name()), "{name}: {}", value.get_name());
            }
        }
    }
}

#[test]
fn every_subcommand_and_shell_is_described() {
    let text = plain(&page("tracexec.1"));
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        assert!(text.contains(command.get_name()), "{}", command.get_name());
    }
    let cli = Cli::command();
    let completions = cli.find_subcommand("generate-completions").unwrap();
    for shell in completions.get_positionals().next().unwrap().get_possible_values() {
        assert!(text.contains(shell.get_name()), "{}", shell.get_name());
    }
}

#[test]
fn the_values_that_an_option_takes_are_described() {
    let text = plain(&page("tracexec-debug.1"));
    let cli = Cli::command();
    let takes_value = |arg: &&clap::Arg| arg.get_action().takes_values();
    for arg in cli.find_subcommand("debug").unwrap().get_arguments().filter(takes_value) {
        for value in arg.get_possible_values() {
            assert!(text.contains(value.get_name()), "{}", value.get_name());
        }
    }
}

/// The words of the tags of a page's paragraphs.
fn tags(page: &str) -> Vec<Vec<String>> {
    let page = plain(page);
    let lines: Vec<&str> = page.lines().collect();
    let tags = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1]);
    let words = |tag: &str| {
        let words = tag.split([' ', '"', ',']).filter(|word| !word.is_empty()).skip(1);
        words.map(String::from).collect()
    };
    tags.map(words).collect()
}

#[test]
fn the_page_has_each_key_with_its_variable_and_no_others() {
    let page = page("tracexec-config.5");
    let (keys, tables) = page.split_once("\n.SH TABLES\n").unwrap();
    let expected: Vec<Vec<String>> =
        KEYS.iter().map(|key| vec![key.name.to_string(), key.variable()]).collect();
    assert_eq!(tags(keys), expected);
    for table in &TABLES {
        let section = tables.split(&format!("\n.SS [{}]\n", table.name)).nth(1).unwrap();
        let section = section.split("\n.S").next().unwrap();
        let found = tags(&section.replace(".TQ", ".TP")).concat();
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let expected = table.keys.iter().map(|key| key.name.to_string()).collect();
        assert_eq!(sorted(found), sorted(expected), "[{}]", table.name);
    }
}

/// The lines of the sample that are settings when the mark is taken away.
fn sample() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config.toml");
    let text = fs::read_to_string(path).unwrap();
    let settings = text.lines().filter_map(|line| line.strip_prefix('#'));
    settings.filter(|line| !line.starts_with(' ') && !line.is_empty()).map(String::from).collect()
}

#[test]
fn the_sample_has_each_key_and_is_right_without_its_marks() {
    let lines = sample();
    let names: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let of_keys = |keys: &[Key]| keys.iter().map(|key| key.name.into()).collect::<Vec<String>>();
    let of_table =
        |table: &Table| [vec![format!("[{}]", table.name)], of_keys(table.keys)].concat();
    let expected = [of_keys(&KEYS), TABLES.iter().flat_map(of_table).collect()].concat();
    assert_eq!(names, expected);
    let text = lines.join("\n");
    let file = settings::File { path: Path::new("config.toml"), text: &text, home: None };
    assert_eq!(file.parse().unwrap().len(), names.len() - TABLES.len());
}

#[test]
fn the_configurations_of_the_page_are_right() {
    let blocks = examples(&page("tracexec-config.5"));
    let blocks: Vec<&String> = blocks.iter().filter(|block| block.contains(" = ")).collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let text: String = block
            .lines()
            .filter(|line| !line.starts_with('$'))
            .fold(String::new(), |text, line| text + line + "\n");
        let file = settings::File { path: Path::new("the page"), text: &text, home: None };
        if let Err(trouble) = file.parse() {
            panic!("{trouble} in:\n{text}");
        }
    }
}

#[test]
fn the_page_has_each_field_of_the_schema_in_its_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/hits.json");
    let schema: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let blocks = examples(&page("tracexec-debug.1"));
    let line = blocks.iter().find(|block| block.starts_with("{\"version\"")).unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(jsonschema::is_valid(&schema, &value));
    let fields: Vec<&str> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let places: Vec<usize> =
        fields.iter().map(|name| line.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted() && fields.len() == value.as_object().unwrap().len());
    for end in schema["properties"]["end"]["enum"].as_array().unwrap() {
        assert!(
            end.as_str().is_none_or(|end| plain(&page("tracexec-debug.1")).contains(end)),
            "{end}"
        );
    }
}

#[test]
fn every_built_in_template_is_described() {
    let text = plain(&page("tracexec-debug.1"));
    for kind in ["debuggers", "terminals"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("launch-templates").join(kind);
        for file in fs::read_dir(folder).unwrap() {
            let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string();
            assert!(text.contains(&name), "{name}");
        }
    }
}

#[test]
fn every_check_of_the_doctor_is_described() {
    let world = crate::support::World::new();
    let text = plain(&page("tracexec-doctor.1"));
    let table = world.run(["doctor"]).out();
    // Debuggers and places have the names of their templates.
    let checks: Vec<&str> = table
        .lines()
        .take_while(|line| !line.starts_with("debuggers"))
        .filter_map(|line| line.strip_prefix("  ")?.split("  ").find(|word| !word.is_empty()))
        .filter(|word| !word.trim_start().starts_with("-> "))
        .collect();
    assert!(checks.len() > 10, "{table}");
    for check in checks {
        assert!(text.contains(&format!(".TP\n.B {check}\n")), "{check}");
    }
    for state in ["ok", "limited", "missing"] {
        assert!(text.contains(&format!(".TP\n.B {state}\n")), "{state}");
    }
}

#[test]
fn the_doctor_has_no_options_of_its_own() {
    let cli = Cli::command();
    let doctor = cli.find_subcommand("doctor").unwrap();
    assert_eq!(documented(&page("tracexec-doctor.1")), accepted(doctor, false));
}

#[test]
fn every_page_is_named_where_one_begins_to_read() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let (first, readme) = (plain(&page("tracexec.1")), fs::read_to_string(readme).unwrap());
    for name in PAGES.iter().filter(|name| **name != "tracexec.1") {
        let (topic, section) = name.rsplit_once('.').unwrap();
        assert!(first.contains(&format!(".BR {topic} ({section})")), "{name}");
        assert!(readme.contains(&format!("(man/{name})")), "{name}");
    }
}

/// The examples of a page: what stands between .nf and .fi.
fn examples(page: &str) -> Vec<String> {
    let page = plain(page);
    let blocks = page.split("\n.nf\n").skip(1);
    blocks.map(|block| block.split("\n.fi").next().unwrap().to_string()).collect()
}

#[test]
fn the_filters_of_the_pages_are_right() {
    let mut filters: Vec<String> = Vec::new();
    for block in examples(&page("tracexec-filter.7")) {
        filters.extend(block.lines().map(|line| line.trim().to_string()));
    }
    for name in ["tracexec-debug.1", "tracexec-log.1", "tracexec-report.1", "tracexec.1"] {
        let text = plain(&page(name));
        let quoted = text.split("-m '").skip(1).filter_map(|rest| rest.split('\'').next());
        filters.extend(quoted.map(String::from));
    }
    assert!(filters.len() > 10, "{filters:?}");
    for filter in filters {
        if let Err(error) = Filter::new(&[filter.as_bytes()], Arc::new(SystemNames)) {
            panic!("{filter}: {error}");
        }
    }
}

#[test]
fn every_field_is_described() {
    let text = plain(&page("tracexec-filter.7"));
    for test in [
        "argv=x",
        "argv[N]",
        "argc=1",
        "filename=x",
        "basename=x",
        "exe=/x",
        "interpreter=/x",
        "comm=x",
        "prev.comm=x",
        "cwd=/x",
        "fd[N]",
        "fd[N].type",
        "env[NAME]",
        "uid=0",
        "gid=0",
        "user=root",
        "group=root",
        "pid=1",
        "ppid=1",
        "depth=0",
        "cgroup=/x",
        "unit=x.service",
        "container=x",
        "ns.pid=1",
        "ns.mnt=1",
        "parent",
        "ancestor.comm=x",
    ] {
        let name = test.split('=').next().unwrap().replace("ancestor.comm", "ancestor.");
        assert!(text.contains(&name), "{name}");
        let filter = test.replace("[N]", "[0]");
        assert!(Filter::new(&[filter.as_bytes()], Arc::new(SystemNames)).is_ok(), "{filter}");
    }
    for kind in ["file", "dir", "pipe", "socket", "tty", "char", "block", "anon"] {
        let filter = format!("fd[0].type={kind}");
        assert!(text.contains(kind), "{kind}");
        assert!(Filter::new(&[filter.as_bytes()], Arc::new(SystemNames)).is_ok(), "{kind}");
    }
}

#[test]
fn the_templates_of_the_page_are_right() {
    let blocks = examples(&page("tracexec-templates.5"));
    let templates: Vec<&String> =
        blocks.iter().filter(|block| block.trim_start().starts_with("name =")).collect();
    assert_eq!(templates.len(), 2);
    for text in templates {
        // One may be like another that is built in.
        let folder = tempfile::tempdir().unwrap();
        let user = Folder::of(folder.path().to_owned());
        let kind = if text.contains("{{shim}}") { "terminals" } else { "debuggers" };
        fs::create_dir(folder.path().join(kind)).unwrap();
        fs::write(folder.path().join(kind).join("page.toml"), text).unwrap();
        Catalog::with(Some(&user)).unwrap();
    }
}

#[test]
fn the_pages_are_set_without_a_warning() {
    for name in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
        let output =
            Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8"]).arg(&path).output();
        let output = output.expect("groff is needed: apt install groff");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}
