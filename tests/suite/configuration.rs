//! Defaults of the user's own: the file, the environment, what takes precedence, and whose they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::user::User;
use crate::support::{Outcome, TRACEXEC, World, finish};

/// Writes the world's own configuration file.
fn configure(world: &World, text: &str) -> PathBuf {
    fs::create_dir_all(world.path("config/tracexec")).unwrap();
    world.file("config/tracexec/config.toml", text)
}

/// `tracexec config` with these variables and options.
fn config(world: &World, variables: &[(&str, &str)], options: &[&str]) -> Outcome {
    let mut command = world.tracexec([&["config"], options].concat());
    command.envs(variables.iter().copied());
    finish(world.start(command))
}

/// Its line for a key.
#[track_caller]
fn line(outcome: &Outcome, key: &str) -> String {
    let text = outcome.out();
    let found = text.lines().find(|line| line.trim_start_matches("# ").starts_with(key));
    let line = found.unwrap_or_else(|| panic!("no {key} in {text}{}", outcome.stderr));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let world = World::new();
    let none = config(&world, &[], &[]);
    assert_eq!(line(&none, "in"), "in = \"auto\" # built in");
    let path = configure(&world, "# mine\nin = \"here\"\nsessions = 3\n");
    let path = path.display();
    let file = config(&world, &[], &[]);
    assert_eq!(line(&file, "in"), format!("in = \"here\" # {path}:2"));
    assert_eq!(line(&file, "sessions"), format!("sessions = 3 # {path}:3"));
    let environment = config(&world, &[("TRACEXEC_IN", "tmux")], &[]);
    assert_eq!(line(&environment, "in"), "in = \"tmux\" # TRACEXEC_IN");
    assert_eq!(line(&environment, "sessions"), format!("sessions = 3 # {path}:3"));
    let typed = config(&world, &[("TRACEXEC_IN", "tmux")], &["--in", "background"]);
    assert_eq!(line(&typed, "in"), "in = \"background\" # command line");
    let without = config(&world, &[], &["--no-config"]);
    assert_eq!(line(&without, "in"), "in = \"auto\" # built in");
    let other = world.file("other.toml", "in = 'tmux-window'");
    let named = config(&world, &[], &["--config", other.to_str().unwrap()]);
    assert_eq!(line(&named, "in"), format!("in = \"tmux-window\" # {}:1", other.display()));
    assert_eq!(line(&named, "sessions"), line(&none, "sessions"));
}

#[test]
fn what_config_prints_is_a_configuration_file_that_says_the_same() {
    let world = World::new();
    configure(&world, "debugger = 'a \"b\" {{pid}}'\nex = ['one \\ two', \"t\\ty\"]\nx = ['f']\n");
    let variables = [("TRACEXEC_ATTACH_TIMEOUT", "2m"), ("TRACEXEC_VERBOSE", "1")];
    let first = config(&world, &variables, &[]).out();
    let copy = world.file("copy.toml", &first);
    let second = config(&world, &[], &["--config", copy.to_str().unwrap()]).out();
    let values = |text: &str| -> Vec<String> {
        text.lines().skip(1).map(|line| line.rsplit_once(" # ").unwrap().0.into()).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(first.contains("attach-timeout = \"2m\"") && first.contains("verbose = 1"), "{first}");
}

#[test]
fn a_session_takes_its_defaults_from_the_file() {
    let world = World::new();
    world.fixture("hello", &[]);
    configure(&world, "debugger = 'gdb-backtrace'\nbreak = 'main'\nsessions = 2\n");
    let outcome = world.debug_sh(
        &["-m", "basename=hello"],
        &format!("cd {}; ./hello; exit 7", world.dir.path().display()),
    );
    assert_eq!(outcome.code(), 7, "{outcome:?}");
    assert!(outcome.stderr.contains(": gdb-backtrace in background"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("main ("), "{}", outcome.stderr);
}

#[test]
fn a_default_gives_way_to_what_was_typed() {
    let world = World::new();
    configure(
        &world,
        "break = 'nowhere'\nex = ['no such command']\ndebugger = 'lldb'\nattach-timeout = '1ms'\nin = 'none'\n",
    );
    // It has no words for --break and --ex, and ends by itself.
    let own = "sh -c 'kill -CONT $0' {{pid}}";
    let outcome = world.debug_sh(
        &[
            "-m",
            "basename=true",
            "--debugger",
            own,
            "--in",
            "background",
            "--attach-timeout",
            "30s",
        ],
        "/bin/true; exit 7",
    );
    assert_eq!(outcome.code(), 7, "{outcome:?}");
    assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
    // Nothing of that counts where no debugger is started.
    let outcome = world.debug_sh(&["-m", "basename=true", "--list"], "/bin/true; exit 7");
    assert_eq!(outcome.code(), 7, "{outcome:?}");
}

/// What is said of a wrong file or variable, and that COMMAND has not run.
#[track_caller]
fn refused(world: &World, variables: &[(&str, &str)]) -> String {
    let mut command = world.tracexec(["debug", "-m", "basename=none", "--", "touch"]);
    command.arg(world.path("ran")).envs(variables.iter().copied());
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125, "{outcome:?}");
    assert!(!world.path("ran").exists());
    outcome.stderr
}

#[test]
fn a_mistake_is_an_error_with_its_line_before_command_starts() {
    let world = World::new();
    let path = configure(&world, "in = 'here'\n\ndebuger = 'gdb'\n");
    let said = refused(&world, &[]);
    assert!(said.contains(&format!("{}:3: there is no key `debuger`", path.display())), "{said}");
    assert!(said.contains("did you mean `debugger`?"), "{said}");
    configure(&world, "when-busy = 'wiat'\n");
    let said = refused(&world, &[]);
    assert!(said.contains(":1: when-busy must be one of \"wait\", \"skip\""), "{said}");
    // What only config can know is told in the same way.
    configure(&world, "\ndebugger = 'gbd'\n");
    let said = refused(&world, &[]);
    assert!(said.contains(":2: debugger gbd: there is no such template"), "{said}");
    configure(&world, "in = 'nowhere'\n");
    let said = refused(&world, &[]);
    assert!(said.contains(":1: in nowhere: there is no such place"), "{said}");
    let said = refused(&world, &[("TRACEXEC_IN", "elsewhere")]);
    assert!(said.contains("TRACEXEC_IN: in elsewhere: there is no such place"), "{said}");
    configure(&world, "");
    let said = refused(&world, &[("TRACEXEC_SESSIONS", "none")]);
    assert!(said.contains("$TRACEXEC_SESSIONS must be a whole number from 1"), "{said}");
    configure(&world, "in = \"\u{1b}[2J\"\n");
    let said = refused(&world, &[]);
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let world = World::new();
    let outcome = world.run(["config", "--config", "/nonexistent.toml"]);
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("--config /nonexistent.toml: "), "{}", outcome.stderr);
    configure(&world, "in = 'here'");
    fs::set_permissions(world.path("config/tracexec"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(world.path("config/tracexec/config.toml")).unwrap();
    fs::create_dir(world.path("config/tracexec/config.toml")).unwrap();
    let outcome = world.run(["config"]);
    assert_eq!(outcome.code(), 125, "{outcome:?}");
    assert!(outcome.stderr.contains("config.toml: Is a directory"), "{}", outcome.stderr);
}

#[test]
fn whatever_the_file_says_what_lets_go_works_and_the_doctor_tells() {
    let world = World::new();
    configure(&world, "nonsense\n");
    assert_eq!(world.run(["ps"]).code(), 0);
    assert_eq!(world.run(["release", "--all"]).code(), 0);
    let outcome = world.run(["doctor"]);
    assert_eq!(outcome.code(), 1, "{outcome:?}");
    let text = outcome.out();
    assert!(text.contains("your settings") && text.contains("config.toml:1: "), "{text}");
    assert!(text.contains("a setting is wrong"), "{text}");
}

/// `tracexec` with a shell's line as COMMAND.
fn traced(world: &World, words: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = world.tracexec(words);
    command.args(["--", "sh", "-c", "/bin/true 5</dev/null; exit 3"]).current_dir(world.dir.path());
    command.envs(variables.iter().copied());
    finish(world.start(command))
}

/// The line that log has for the program `true`.
#[track_caller]
fn logged(world: &World, options: &[&str], variables: &[(&str, &str)]) -> String {
    let outcome = traced(world, &[&["log", "-o-"], options].concat(), variables);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (3, ""), "{options:?}");
    let text = outcome.out();
    let line = text.lines().find(|line| line.contains("/bin/true") && !line.contains("exit 3"));
    line.unwrap_or_else(|| panic!("{text}")).to_string()
}

#[test]
fn log_shows_what_its_table_says_unless_something_else_is_typed() {
    let world = World::new();
    configure(&world, "backend = 'ptrace'\n[log]\nshow-cmdline = true\nshow-comm = false\n");
    let line = |options: &[&str]| logged(&world, options, &[]);
    assert!(line(&[]).contains(" = 0 cmdline: "));
    assert!(!line(&[]).contains("<sh>") && line(&["--show-comm"]).contains("<sh>"));
    let without = line(&["--no-show-cmdline"]);
    assert!(without.contains("[\"/bin/true\"]") && !without.contains("cmdline"), "{without}");
    assert!(!line(&["--no-config"]).contains("cmdline"));
    let variable = [("TRACEXEC_LOG_SHOW_CMDLINE", "false")];
    assert!(!logged(&world, &[], &variable).contains("cmdline"));
    assert!(logged(&world, &["--show-cmdline"], &variable).contains("cmdline"));

    // Whole and difference, in the file and typed.
    configure(&world, "[log]\nshow-env = true\ndiff-fd = false\n");
    let whole = |line: &str| line.contains("PATH=") || line.contains("HOME=");
    let both = line(&[]);
    assert!(whole(&both) && !both.contains("fd["), "{both}");
    assert!(!whole(&line(&["--diff-env"])) && !whole(&line(&["--no-show-env"])));
    assert!(line(&["--diff-fd"]).contains("+5=\"/dev/null\""));
    assert!(line(&["--show-fd"]).contains("5=\"/dev/null\""));

    // Kinds of lines, and the time.
    configure(
        &world,
        "[log]\nshow-all-events = true\nfilter-exclude = ['exec', 'info']\ntimestamp = false\n",
    );
    let all = |options: &[&str]| traced(&world, &[&["log", "-o-"], options].concat(), &[]).out();
    let text = all(&[]);
    assert!(text.contains("has a new child") && !text.contains("/bin/true\" ["), "{text}");
    assert!(!text.contains("follows"), "{text}");
    let text = all(&["--events", "tracee-exit", "--filter-include", "exec"]);
    assert!(text.contains("/bin/true\" [") && !text.contains("has a new child"), "{text}");
    let text = all(&["--inline-timestamp-format", "at=%Y"]);
    assert!(text.lines().all(|line| line.starts_with("at=2")), "{text}");
}

#[test]
fn collect_takes_its_format_from_the_file_and_what_does_not_go_with_it_gives_way() {
    let world = World::new();
    let none = traced(&world, &["collect"], &[]);
    assert_eq!(none.code(), 125);
    assert!(none.stderr.contains("nothing says of which format\n"), "{}", none.stderr);
    configure(&world, "[collect]\nformat = 'json'\nenv = 'diff'\npretty = true\n");
    let written = |options: &[&str]| {
        let outcome = traced(&world, &[&["collect", "-o-"], options].concat(), &[]);
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (3, ""), "{options:?}");
        outcome.out()
    };
    let text = written(&[]);
    assert!(text.starts_with("{\n  \"format\"") && text.contains("\"unset\": ["), "{text}");
    assert!(!written(&["--env", "whole"]).contains("\"unset\": ["));
    assert!(written(&["-F", "json-stream"]).starts_with("{\"event\":\"about\""));
    assert!(written(&["-F", "html"]).starts_with("<!DOCTYPE html>"));
    assert_eq!(traced(&world, &["collect", "-F", "html", "--pretty"], &[]).code(), 125);
    // Both formats have a name of their own.
    assert_eq!(traced(&world, &["collect"], &[("TRACEXEC_COLLECT_FORMAT", "html")]).code(), 3);
    assert!(world.path("tracexec.html").exists() && !world.path("tracexec.json").exists());
}

#[test]
fn a_way_to_see_failures_gives_way_to_a_source_that_needs_none() {
    let world = World::new();
    let path = configure(&world, "backend = 'ebpf'\n[log]\nseccomp-bpf = 'on'\n");
    // One of the two is typed, and takes the place of the other.
    for typed in [&["--seccomp-bpf", "on"], &["--backend", "ptrace"]] {
        let outcome = traced(&world, &[&["log", "-v"], &typed[..]].concat(), &[]);
        assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("by a seccomp filter"), "{typed:?}: {}", outcome.stderr);
    }
    let mut other = Command::new("sleep");
    other.arg("1000");
    let other = world.start(other);
    let follow = ["log", "-p", &other.pid().to_string()];
    let outcome = traced(&world, &follow, &[("TRACEXEC_BACKEND", "ptrace")]);
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    // A mistake is one for log as well, before COMMAND runs.
    configure(&world, "\n[log]\nshow-cmdlin = true\n");
    let mut command = world.tracexec(["log", "--", "touch"]);
    command.arg(world.path("ran"));
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 125);
    let said = format!("{}:3: there is no key `show-cmdlin` in [log]", path.display());
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("did you mean `show-cmdline`?"), "{}", outcome.stderr);
    assert!(!world.path("ran").exists());
}

#[test]
fn no_shell_sees_a_value_of_the_file() {
    let world = World::new();
    let owned = world.path("owned");
    configure(
        &world,
        &format!(
            "debugger = 'echo $(touch {0}) ; touch {0} {{{{pid}}}}'\nin = 'background'\n",
            owned.display()
        ),
    );
    let outcome = world.debug_sh(&["-m", "basename=true"], "/bin/true; exit 7");
    assert_eq!(outcome.code(), 7, "{outcome:?}");
    assert!(outcome.stderr.contains("$(touch"), "{}", outcome.stderr);
    assert!(!owned.exists());
}

/// `sudo tracexec ARGUMENTS`, called by the user.
fn by_sudo(world: &World, user: &User, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("sudo");
    command.arg("-n").arg(world.path("tracexec")).args(arguments);
    world.prepare(&mut command);
    command.uid(user.uid).gid(user.gid).current_dir(world.dir.path());
    finish(world.start(command))
}

#[test]
fn under_sudo_the_callers_file_holds_if_nobody_else_can_have_written_it() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    fs::copy(TRACEXEC, world.path("tracexec")).unwrap();
    let path = configure(&world, "in = 'background'\n");
    let template = "config/tracexec/launch-templates/debuggers";
    fs::create_dir_all(world.path(template)).unwrap();
    let template = world.file(
        &format!("{template}/mine.toml"),
        "name = 'mine'\ndescription = 'mine'\ncommand = 'gdb -p {{pid}}'\n",
    );
    user.give(world.dir.path());
    let mode = |path: &PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let from_file = format!("in = \"background\" # {}:1", path.display());
    // The user's own group may write to it: Ubuntu's umask says so.
    mode(&path, 0o664);
    assert_eq!(line(&by_sudo(&world, &user, &["config"]), "in"), from_file);
    assert!(by_sudo(&world, &user, &["templates"]).out().contains("  mine "));
    for (owner, group, bits, why) in [
        (user.uid, user.gid, 0o646, "others may write"),
        (user.uid, 1, 0o664, "others may write"),
        (1, user.gid, 0o644, "it belongs to user 1"),
    ] {
        for (path, arguments) in [(&path, &["config"][..]), (&template, &["templates"][..])] {
            std::os::unix::fs::chown(path, Some(owner), Some(group)).unwrap();
            mode(path, bits);
            let outcome = by_sudo(&world, &user, arguments);
            assert_eq!(outcome.code(), 125, "{outcome:?}");
            assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        }
    }
    let named = ["config", "--config", path.to_str().unwrap()];
    assert_eq!(line(&by_sudo(&world, &user, &named), "in"), from_file);
    std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
    assert_eq!(line(&by_sudo(&world, &user, &["config"]), "in"), from_file);
}

#[test]
fn a_fifo_is_no_configuration_and_no_template() {
    let world = World::new();
    let folder = world.path("config/tracexec/launch-templates/debuggers");
    std::fs::create_dir_all(&folder).unwrap();
    let fifos =
        [world.path("config/tracexec/config.toml"), folder.join("mine.toml"), world.path("typed")];
    for (fifo, args) in fifos.iter().zip([
        vec!["debug", "--list", "--", "true"],
        vec!["--no-config", "debug", "-m", "pid>0", "--debugger", "mine", "--", "true"],
        vec!["--config", fifos[2].to_str().unwrap(), "debug", "--list", "--", "true"],
    ]) {
        nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let outcome = world.run(args);
        assert_eq!(outcome.code(), 125, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("it is a FIFO, not a regular file"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(fifo.to_str().unwrap()), "{}", outcome.stderr);
    }
}
