//! `tracexec doctor`: what it finds on this machine, for whom, and its status.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Outcome, TRACEXEC, World, finish};

/// A row's state and the lines of what was found and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    state: String,
    text: String,
}

/// The row of a check.
#[track_caller]
fn row(outcome: &Outcome, check: &str) -> Row {
    let table = outcome.out();
    let mut lines = table.lines();
    let first = lines
        .find_map(|line| line.strip_prefix("  ")?.strip_prefix(check)?.strip_prefix("  "))
        .unwrap_or_else(|| panic!("no row {check} in:\n{table}"));
    let (state, text) = first.trim_start().split_once(' ').unwrap();
    let more: Vec<&str> =
        lines.take_while(|line| line.starts_with("     ")).map(str::trim).collect();
    Row { state: state.into(), text: format!("{} {}", text.trim_start(), more.join(" ")) }
}

#[track_caller]
fn summary(outcome: &Outcome) -> String {
    outcome.out().lines().last().unwrap_or_default().to_string()
}

/// `doctor`, started by the words before it, in a session without a terminal.
fn through(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.arg("--wait").args(words);
    command.arg(copy(world)).arg("doctor");
    world.prepare(&mut command);
    command
}

/// The program under test, where everybody can execute it.
fn copy(world: &World) -> PathBuf {
    let program = world.path("tracexec");
    if !program.exists() {
        fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::copy(TRACEXEC, &program).unwrap();
    }
    program
}

const ORDINARY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn for_root_all_works() {
    let world = World::new();
    let outcome = finish(world.start(through(&world, &[])));
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{}", outcome.out());
    for check in ["kernel", "ptrace", "BTF", "tracefs", "gdb", "background"] {
        assert_eq!(row(&outcome, check).state, "ok", "{}", outcome.out());
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(row(&outcome, "kernel").text.contains(release.trim()));
    assert!(row(&outcome, "gdb").text.contains("/gdb"));
    let (state, source) =
        if cfg!(feature = "ebpf") { ("ok", "takes eBPF") } else { ("missing", "takes ptrace") };
    assert_eq!(row(&outcome, "eBPF").state, state, "{}", outcome.out());
    let summary = summary(&outcome);
    assert!(summary.contains("can work here") && summary.contains(source), "{summary}");
}

#[test]
fn an_ordinary_user_has_ptrace_and_is_told_what_ebpf_needs() {
    let world = World::new();
    let outcome = finish(world.start(through(&world, &ORDINARY)));
    assert_eq!(outcome.code(), 0, "{}", outcome.out());
    assert_eq!(row(&outcome, "ptrace").state, "ok", "{}", outcome.out());
    let capabilities = row(&outcome, "capabilities");
    assert_eq!(capabilities.state, "limited");
    assert!(capabilities.text.contains("none of CAP_SYS_PTRACE, CAP_BPF"), "{capabilities:?}");
    assert!(capabilities.text.contains("-> eBPF and other"), "{capabilities:?}");
    let ebpf = row(&outcome, "eBPF");
    assert_eq!(ebpf.state, "missing");
    let why = if cfg!(feature = "ebpf") { "by sudo" } else { "built without eBPF" };
    assert!(ebpf.text.contains(why), "{ebpf:?}");
    assert_eq!(row(&outcome, "tracefs").state, "limited", "{}", outcome.out());
    assert!(summary(&outcome).contains("`--backend auto` takes ptrace"), "{}", outcome.out());
}

#[test]
fn without_programs_each_is_named_and_the_status_is_1() {
    let world = World::new();
    let mut command = Command::new(TRACEXEC);
    world.prepare(&mut command);
    command.arg("doctor").env("PATH", world.path("empty"));
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 1, "{}", outcome.out());
    for (name, program) in [("gdb", "gdb"), ("gdb-backtrace", "gdb"), ("lldb", "lldb")] {
        let found = row(&outcome, name);
        assert_eq!(found.state, "missing");
        assert!(found.text.contains(&format!("{program} is not in PATH")), "{found:?}");
        assert!(found.text.contains(&format!("apt install {program})")), "{found:?}");
    }
    assert!(row(&outcome, "tmux").text.contains("tmux is not installed"), "{}", outcome.out());
    let summary = summary(&outcome);
    assert!(summary.contains("cannot work here: no debugger is installed"), "{summary}");
}

#[test]
fn another_debugger_than_gdb_will_do() {
    let world = World::new();
    let programs = world.path("bin");
    fs::create_dir(&programs).unwrap();
    let program = programs.join("lldb");
    fs::write(&program, "").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(TRACEXEC);
    world.prepare(&mut command);
    command.arg("doctor").env("PATH", &programs);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}", outcome.out());
    assert_eq!(row(&outcome, "gdb").state, "missing");
    assert!(row(&outcome, "lldb").text.starts_with(program.to_str().unwrap()));
    assert!(summary(&outcome).contains("`--debugger lldb`"), "{}", outcome.out());
}

#[test]
fn without_a_terminal_the_background_is_left() {
    let world = World::new();
    let outcome = finish(world.start(through(&world, &[])));
    assert_eq!(row(&outcome, "here").state, "missing");
    assert!(row(&outcome, "here").text.contains("no terminal"), "{}", outcome.out());
    assert!(row(&outcome, "tmux").text.contains("$TMUX is not set"), "{}", outcome.out());
    assert!(summary(&outcome).contains("finds no terminal"), "{}", outcome.out());
}

/// `doctor` on a terminal of its own.
fn on_a_terminal(world: &World, set: &[(&str, &str)], options: &str) -> Outcome {
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty cols 90; {TRACEXEC} doctor {options}"), "/dev/null"]);
    world.prepare(&mut command);
    command.env("TERM", "xterm").envs(set.iter().copied());
    finish(world.start(command))
}

#[test]
fn a_terminal_gets_colours_unless_they_are_not_wanted() {
    let world = World::new();
    let coloured = on_a_terminal(&world, &[], "").out();
    assert!(coloured.contains("\x1b[32mok\x1b[0m"), "{coloured:?}");
    for (set, options) in
        [(&[("NO_COLOR", "1")][..], ""), (&[("TERM", "dumb")], ""), (&[], "--color never")]
    {
        let plain = on_a_terminal(&world, set, options).out();
        assert!(plain.contains("  kernel ") && !plain.contains('\x1b'), "{plain:?}");
    }
    let piped = world.run(["doctor"]).out();
    assert!(!piped.contains('\x1b'), "{piped:?}");
    assert!(world.run(["doctor", "--color", "always"]).out().contains("\x1b[32mok\x1b[0m"));
}

#[test]
fn on_a_terminal_the_table_fits_and_the_terminal_is_a_place() {
    let world = World::new();
    let outcome = on_a_terminal(&world, &[("NO_COLOR", "1")], "");
    assert_eq!(outcome.code(), 0, "{}", outcome.out());
    assert!(row(&outcome, "here").text.contains("/dev/tty opens"), "{}", outcome.out());
    let table = outcome.out().replace('\r', "");
    for line in table.lines() {
        assert!(line.chars().count() <= 90, "{line:?}");
    }
    assert!(table.replace('\n', " ").contains("`--in auto` takes here"), "{table}");
}

#[test]
fn a_tmux_is_asked_whether_it_is_there() {
    let world = World::new();
    let socket = world.path("socket,with,commas");
    let doctor = || {
        let mut command = world.tracexec(["doctor"]);
        command.env("TMUX", format!("{},1,0", socket.display())).env("TMUX_PANE", "%0");
        finish(world.start(command))
    };
    let outcome = doctor();
    let tmux = row(&outcome, "tmux");
    assert_eq!(tmux.state, "missing", "{tmux:?}");
    assert!(tmux.text.contains("cannot be reached: No such file"), "{tmux:?}");
    let _listener = UnixListener::bind(&socket).unwrap();
    let outcome = doctor();
    for name in ["tmux", "tmux-window"] {
        let tmux = row(&outcome, name);
        assert_eq!(tmux.state, "ok", "{tmux:?}");
        assert!(tmux.text.contains("socket,with,commas"), "{tmux:?}");
    }
    assert!(summary(&outcome).contains("`--in auto` takes tmux"), "{}", outcome.out());
}

#[test]
fn a_tracer_of_ours_is_named_and_what_it_prevents() {
    let world = World::new();
    let log = world.path("log");
    let strace = ["strace", "-f", "-o", log.to_str().unwrap(), "-e", "trace=none"];
    let outcome = finish(world.start(through(&world, &strace)));
    assert_eq!(outcome.code(), 1, "{}", outcome.out());
    let tracer = row(&outcome, "our tracer");
    assert!(tracer.state == "limited" && tracer.text.contains("(strace)"), "{tracer:?}");
    let ptrace = row(&outcome, "ptrace");
    assert!(ptrace.state == "missing" && ptrace.text.contains("traces it already"), "{ptrace:?}");
    assert!(summary(&outcome).contains("cannot work here"), "{}", outcome.out());
}

#[test]
fn a_pid_namespace_is_noticed_whichever_proc_it_has() {
    let world = World::new();
    let outcome = finish(world.start(through(&world, &["unshare", "-pf", "--mount-proc"])));
    assert_eq!(outcome.code(), 0, "{}", outcome.out());
    let namespace = row(&outcome, "namespaces");
    assert!(namespace.state == "limited" && namespace.text.contains("--system"), "{namespace:?}");
    let outcome = finish(world.start(through(&world, &["unshare", "-pf"])));
    assert_eq!(outcome.code(), 1, "{}", outcome.out());
    let namespace = row(&outcome, "namespaces");
    assert!(namespace.state == "missing" && namespace.text.contains("--mount-proc"));
}

#[test]
fn a_tracefs_that_is_not_mounted_is_told_with_the_command_that_mounts_it() {
    let world = World::new();
    let script = "umount /sys/kernel/tracing; umount /sys/kernel/debug; exec \"$0\" \"$@\"";
    let outcome = finish(world.start(through(&world, &["unshare", "-m", "sh", "-c", script])));
    assert_eq!(outcome.code(), 0, "{}", outcome.out());
    let tracefs = row(&outcome, "tracefs");
    assert_eq!(tracefs.state, "missing", "{tracefs:?}");
    assert!(tracefs.text.contains("-> as root: mount -t tracefs"), "{tracefs:?}");
    assert!(summary(&outcome).contains("takes ptrace"), "{}", outcome.out());
}

#[test]
fn templates_of_the_user_have_rows_and_a_broken_one_is_an_obstacle() {
    let world = World::new();
    let folder = world.path("config/tracexec/launch-templates");
    fs::create_dir_all(folder.join("debuggers")).unwrap();
    fs::create_dir_all(folder.join("terminals")).unwrap();
    let own =
        "name = 'mine\\u001b[2J'\ndescription = 'my own'\ncommand = 'no-such-program {{pid}}'\n"
            .replace('\'', "\"");
    fs::write(folder.join("debuggers/mine.toml"), own).unwrap();
    let place = "name = 'elsewhere'\ndescription = 'x'\nenv = ['NO_SUCH']\ncommand = '{{shim}}'\n";
    fs::write(folder.join("terminals/elsewhere.toml"), place).unwrap();
    let outcome = world.run(["doctor"]);
    assert_eq!(outcome.code(), 0, "{}", outcome.out());
    assert!(!outcome.out().contains('\x1b'), "{:?}", outcome.out());
    let mine = row(&outcome, "mine\\x1b[2J");
    assert_eq!(mine.state, "missing");
    assert!(mine.text.contains("no-such-program") && mine.text.contains("mine.toml"), "{mine:?}");
    assert!(row(&outcome, "elsewhere").text.contains("$NO_SUCH is not set"), "{}", outcome.out());

    fs::write(folder.join("debuggers/bad.toml"), "name = 'bad'\n").unwrap();
    let outcome = world.run(["doctor"]);
    assert_eq!(outcome.code(), 1, "{}", outcome.out());
    let templates = row(&outcome, "your templates");
    assert!(templates.text.contains("bad.toml") && templates.state == "missing", "{templates:?}");
    assert_eq!(row(&outcome, "gdb").state, "ok", "{}", outcome.out());
    assert!(summary(&outcome).contains("a template cannot be read"), "{}", outcome.out());
}

#[test]
fn an_error_of_our_own_has_another_status() {
    let world = World::new();
    for args in [&["doctor", "-C", "/no-such-folder"][..], &["doctor", "--no-such-option"]] {
        let outcome = world.run(args);
        assert_eq!((outcome.code(), outcome.out().as_str()), (125, ""), "{}", outcome.stderr);
    }
}

#[test]
fn a_reader_that_has_gone_changes_nothing() {
    let world = World::new();
    let mut command = Command::new("bash");
    let script = format!("{TRACEXEC} doctor | true; echo ${{PIPESTATUS[0]}}");
    command.args(["-c", &script]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!((outcome.out().as_str(), outcome.stderr.as_str()), ("0\n", ""));
}

#[test]
fn the_version_tells_whether_ebpf_is_built_in() {
    let said = World::new().run(["--version"]).out();
    let sources = if cfg!(feature = "ebpf") { "ptrace, eBPF" } else { "without eBPF" };
    assert_eq!(said, format!("tracexec {} ({sources})\n", env!("CARGO_PKG_VERSION")));
}
