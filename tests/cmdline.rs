//! A line that is to do an exec again does it, in bash and in zsh, whatever was executed.

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use support::World;
use tracexec::event::{ExecRecord, Faults, Ids, Part, Reading, Strings, Vector};
use tracexec::trace::Baseline;
use tracexec::trace::cmdline::{Redirect, command_line};

const SHELLS: [&[&str]; 2] = [&["bash", "--norc", "-c"], &["zsh", "-f", "-c"]];

/// What tests/fixtures/given.c tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    cwd: Vec<u8>,
    argv: Vec<Vec<u8>>,
    env: BTreeSet<Vec<u8>>,
}

impl Given {
    fn parse(bytes: &[u8]) -> Option<Given> {
        let mut strings = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        let cwd = strings.next()?;
        let mut list = || {
            let count: usize = String::from_utf8(strings.next()?).ok()?.parse().ok()?;
            Some(strings.by_ref().take(count).collect::<Vec<_>>())
        };
        let (argv, env) = (list()?, list()?);
        Some(Given { cwd, argv, env: env.into_iter().collect() })
    }

    fn record(&self, filename: &Path) -> ExecRecord {
        let vector = |strings: Strings| Part::of(Vector { strings, unread: Vec::new() });
        let filename = filename.as_os_str().as_bytes();
        ExecRecord {
            id: 1,
            pid: 100,
            tid: 100,
            parent: Reading::Unknown,
            depth: Reading::Unknown,
            time: 0,
            began: 0,
            result: 0,
            call: None,
            compat: false,
            uid: 0,
            gid: 0,
            ids: Part::of(Ids::default()),
            comm: Part::default(),
            prev_comm: Part::default(),
            filename: Part::of(filename.to_vec()),
            argv: vector(self.argv.iter().collect()),
            env: vector(self.env.iter().collect()),
            cwd: Part::of(self.cwd.clone()),
            exe: Part::of(filename.to_vec()),
            interpreters: Part::default(),
            cgroup: Part::default(),
            fds: Part::default(),
            pid_namespace: Reading::Unknown,
            mount_namespace: Reading::Unknown,
            faults: Faults::empty(),
        }
    }
}

/// Shells in a folder of their own, with a program in it.
struct Place {
    _world: World,
    program: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new() -> Place {
        let world = World::new();
        let program = world.fixture("given", &[]);
        let folder = world.path("a 'folder'\n\u{1b}[2J");
        fs::create_dir(&folder).unwrap();
        // A `=` and a `-` are something to env.
        fs::create_dir(folder.join("-a=b")).unwrap();
        fs::copy(&program, folder.join("-a=b/pro gram")).unwrap();
        Place { program, folder, _world: world }
    }

    /// What the program is given by a line.
    #[track_caller]
    fn run(&self, shell: &[&str], line: &str) -> Given {
        let mut command = Command::new(shell[0]);
        // Not the last command, to which shells do other things.
        command.args(&shell[1..]).arg(format!("{line}\ntrue"));
        command.env_clear().current_dir(&self.folder).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("PWD", &self.folder);
        for (name, value) in [("SAME", "1"), ("OTHER", "2"), ("GONE", "3"), ("-dash", "4")] {
            command.env(name, value);
        }
        command.env("OLDPWD", "/tmp").env("ODD", OsStr::from_bytes(b"\xff\n"));
        let output = command.output().expect("bash and zsh are needed: apt install bash zsh");
        let said = String::from_utf8_lossy(&output.stderr);
        Given::parse(&output.stdout).unwrap_or_else(|| panic!("{shell:?}: {line}\n{said}"))
    }

    /// What a program gets if nothing is said, which is what tracexec would.
    fn baseline(&self, shell: &[&str]) -> Baseline {
        let given = self.run(shell, self.program.to_str().unwrap());
        let last = |entry: &&Vec<u8>| !entry.starts_with(b"_=");
        Baseline { env: given.env.iter().filter(last).collect(), cwd: given.cwd, fds: Vec::new() }
    }

    #[track_caller]
    fn check(&self, shell: &[&str], baseline: Option<&Baseline>, given: &Given, program: &Path) {
        let line = command_line(&given.record(program), baseline, Redirect::None);
        assert_eq!(line.lacking, Vec::<String>::new());
        assert!(!line.text.contains(|c: char| c.is_control()), "{:?}", line.text);
        assert_eq!(self.run(shell, &line.text), *given, "{}", line.text);
    }
}

/// Names of variables: ordinary ones, those that mean something to a shell, and any bytes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &[
        "SAME",
        "OTHER",
        "-dash",
        "-i",
        "--",
        "-u",
        "_",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "IFS",
        "PS1",
        "PS4",
        "PATH",
        "RANDOM",
        "LINENO",
        "SECONDS",
        "BASH",
        "BASH_ENV",
        "ENV",
        "ODD",
        "BASH_FUNC_exec%%",
        "SSH_CLIENT",
        "OPTIND",
        "HISTCMD",
        "UID",
        "GROUPS",
        "POSIXLY_CORRECT",
        "A[0]",
        "LC_ALL",
    ];
    let byte = any::<u8>().prop_filter("ends the name", |byte| ![0, b'='].contains(byte));
    prop_oneof![
        4 => select(KNOWN).prop_map(|name| name.as_bytes().to_vec()),
        1 => vec(byte, 1..4)
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &[
        "",
        "1",
        "2",
        "a b",
        "it's",
        "\u{202e}",
        "x\ny",
        "\u{1b}[2J\u{7}",
        "é",
        "!x\n'!'",
        "$(exit 9)",
        "`x`",
        "=ls",
        "~",
        "*",
        "() { :; }",
        "\\",
        "-i",
        "A=1",
        "#",
        "{a,b}",
        "0",
        "07",
        "12",
    ];
    prop_oneof![
        3 => select(KNOWN).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(1u8.., 0..6)
    ]
}

fn given(folders: Vec<PathBuf>) -> impl Strategy<Value = Given> {
    let cwd = select(folders).prop_map(|folder| folder.as_os_str().as_bytes().to_vec());
    let env = hash_map(name(), text(), 0..8).prop_map(|entries| {
        let entry = |(name, value): (Vec<u8>, Vec<u8>)| [&name[..], b"=", &value].concat();
        entries.into_iter().map(entry).collect()
    });
    (cwd, vec(text(), 1..5), env).prop_map(|(cwd, argv, env)| Given { cwd, argv, env })
}

#[test]
fn any_exec_is_done_again_by_its_line() {
    let place = Place::new();
    let folders = vec![place.folder.clone(), place.folder.join("-a=b"), "/".into()];
    let strange = place.folder.join("-a=b/pro gram");
    let baselines = SHELLS.map(|shell| place.baseline(shell));
    let config =
        ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(given in given(folders), which in 0usize..2, strange_one: bool, named: bool, whole: bool)| {
        let program = if strange_one { &strange } else { &place.program };
        let mut given = given;
        if named {
            given.argv[0] = program.as_os_str().as_bytes().to_vec();
        }
        let baseline = Some(&baselines[which]).filter(|_| !whole);
        place.check(SHELLS[which], baseline, &given, program);
    });
}
