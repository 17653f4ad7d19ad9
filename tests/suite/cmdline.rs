//! A line that is to do an exec again does it, in bash and in zsh, whatever was executed; and no shell executes
//! anything else by it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::log::backends;
use crate::support::{World, finish};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use tracexec::event::{ExecRecord, Faults, Ids, Part, Reading, Strings, Vector};
use tracexec::trace::Baseline;
use tracexec::trace::sinks::cmdline::{Redirect, command_line};

const SHELLS: [&[&str]; 2] = [&["bash", "--norc", "-c"], &["zsh", "-f", "-c"]];

/// Shells that such lines are not for.
const OTHERS: [&[&str]; 2] = [&["dash", "-c"], &["fish", "--no-config", "-c"]];

/// What tests/fixtures/given.c tells.
#[derive(Clone, PartialEq, Eq)]
struct Given {
    exe: Vec<u8>,
    cwd: Vec<u8>,
    argv: Vec<Vec<u8>>,
    env: BTreeSet<Vec<u8>>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |strings: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
            strings.map(|string| tracexec::text::escape::word(string)).collect()
        };
        let (argv, env) = (words(&mut self.argv.iter()), words(&mut self.env.iter()));
        let [exe, cwd] = [&self.exe, &self.cwd].map(|path| tracexec::text::escape::text(path));
        writeln!(f, "{exe:?}: {argv:?} in {cwd:?} with {env:?}")
    }
}

impl Given {
    fn parse(bytes: &[u8]) -> Option<Given> {
        Given::next(&mut bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec))
    }

    fn next(strings: &mut impl Iterator<Item = Vec<u8>>) -> Option<Given> {
        let (exe, cwd) = (strings.next()?, strings.next()?);
        let mut list = || {
            let count: usize = String::from_utf8(strings.next()?).ok()?.parse().ok()?;
            Some(strings.by_ref().take(count).collect::<Vec<_>>())
        };
        let (argv, env) = (list()?, list()?);
        Some(Given { exe, cwd, argv, env: env.into_iter().collect() })
    }

    /// What several were given, one after the other.
    fn all(bytes: &[u8]) -> Vec<Given> {
        let mut strings = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).peekable();
        let mut all = Vec::new();
        while strings.peek().is_some_and(|cwd| !cwd.is_empty()) {
            all.push(Given::next(&mut strings).unwrap());
        }
        all
    }

    /// The exec that gives this, of `filename`.
    fn record(&self, filename: &[u8]) -> ExecRecord {
        let vector = |strings: Strings| Part::of(Vector { strings, unread: Vec::new() });
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
            passed: Part::default(),
            responses: Vec::new(),
            env: vector(self.env.iter().collect()),
            cwd: Part::of(self.cwd.clone()),
            exe: Part::of(self.exe.clone()),
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
    world: World,
    program: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new() -> Place {
        Place::named("a 'folder'\n\u{1b}[2J")
    }

    fn named(folder: &str) -> Place {
        let world = World::new();
        let program = world.fixture("given", &[]);
        let folder = world.path(folder);
        fs::create_dir(&folder).unwrap();
        let place = Place { program, folder, world };
        // A `=` and a `-` are something to env.
        place.put(OsStr::new("-a=b/pro gram"));
        place
    }

    /// What comes of a line that is pasted into a shell.
    fn paste(&self, shell: &[&str], line: &str) -> Output {
        let mut command = Command::new(shell[0]);
        // Not the last command, to which shells do other things.
        command.args(&shell[1..]).arg(format!("{line}\ntrue"));
        command.env_clear().current_dir(&self.folder).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("PWD", &self.folder);
        for (name, value) in [("SAME", "1"), ("OTHER", "2"), ("GONE", "3"), ("-dash", "4")] {
            command.env(name, value);
        }
        command.env("OLDPWD", "/tmp").env("ODD", OsStr::from_bytes(b"\xff\n"));
        command
            .output()
            .expect("bash, dash, fish and zsh are needed: apt install bash dash fish zsh")
    }

    /// What the program is given by a line.
    #[track_caller]
    fn run(&self, shell: &[&str], line: &str) -> Given {
        let output = self.paste(shell, line);
        let said = String::from_utf8_lossy(&output.stderr);
        Given::parse(&output.stdout).unwrap_or_else(|| panic!("{shell:?}: {line}\n{said}"))
    }

    /// What a program gets if nothing is said, which is what tracexec would.
    fn baseline(&self, shell: &[&str]) -> Baseline {
        let given = self.run(shell, self.program.to_str().unwrap());
        let last = |entry: &&Vec<u8>| !entry.starts_with(b"_=");
        Baseline { env: given.env.iter().filter(last).collect(), cwd: given.cwd, fds: Vec::new() }
    }

    /// What a program gets if it is executed in this way.
    fn given(
        &self,
        cwd: &Path,
        argv: Vec<Vec<u8>>,
        env: BTreeSet<Vec<u8>>,
        program: &Path,
    ) -> Given {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        Given { exe: bytes(program), cwd: bytes(cwd), argv, env }
    }

    #[track_caller]
    fn check(&self, shell: &[&str], baseline: Option<&Baseline>, given: &Given) {
        let line = command_line(&given.record(&given.exe), baseline, Redirect::None);
        assert_eq!(line.lacking, Vec::<String>::new());
        assert!(!line.text.contains(|c: char| c.is_control()), "{:?}", line.text);
        assert_eq!(self.run(shell, &line.text), *given, "{}", line.text);
    }

    /// Puts the program where `name` leads from the folder, and gives the place.
    fn put(&self, name: &OsStr) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&self.program, &path).unwrap();
        path
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

/// Environments, entry by entry.
fn environment() -> impl Strategy<Value = BTreeSet<Vec<u8>>> {
    hash_map(name(), text(), 0..8).prop_map(|entries| {
        let entry = |(name, value): (Vec<u8>, Vec<u8>)| [&name[..], b"=", &value].concat();
        entries.into_iter().map(entry).collect()
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn any_exec_is_done_again_by_its_line() {
    let place = Place::new();
    let folders = vec![place.folder.clone(), place.folder.join("-a=b"), "/".into()];
    let strange = place.folder.join("-a=b/pro gram");
    let baselines = SHELLS.map(|shell| place.baseline(shell));
    let strategy = (select(folders), vec(text(), 1..5), environment());
    proptest!(config(150), |((cwd, argv, env) in strategy, which in 0usize..2, strange_one: bool, named: bool, whole: bool)| {
        let program = if strange_one { &strange } else { &place.program };
        let mut given = place.given(&cwd, argv, env, program);
        if named {
            given.argv[0] = given.exe.clone();
        }
        let baseline = Some(&baselines[which]).filter(|_| !whole);
        place.check(SHELLS[which], baseline, &given);
    });
}

/// Names of files, seen from the working directory, that mean something to what stands before them in a line.
fn file_name() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "-Ssh -c 'echo>owned'",
        "-Stouch owned",
        "--split-string=touch owned",
        "-i",
        "-u",
        "-C",
        "-",
        "--",
        "-c",
        "-a",
        "-l",
        "-n",
        "-5",
        "--help",
        "--version",
        "A=1",
        "=",
        "-A=1",
        "$(echo>owned)",
        "`echo>owned`",
        ";echo>owned;",
        "'>owned;'",
        "\\",
        "\n",
        "x\n-S",
        "\u{202e}'>owned;'",
        "~",
        "given",
    ];
    let byte = any::<u8>().prop_filter("ends the name", |byte| ![0, b'/'].contains(byte));
    let random = vec(byte, 1..8).prop_filter("a folder", |name| name != b"." && name != b"..");
    let word = prop_oneof![
        3 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => random
    ];
    vec(word, 0..3).prop_map(|words| words.join(&b'/'))
}

#[test]
fn no_name_of_a_file_makes_a_line_execute_anything_else() {
    let place = Place::named("folder");
    let baselines = SHELLS.map(|shell| place.baseline(shell));
    let word = prop_oneof![text(), file_name()];
    let strategy = (file_name(), vec(word, 0..4), environment());
    proptest!(config(120), |((name, argv, env) in strategy, which in 0usize..2, there: bool, named: bool, whole: bool)| {
        fs::remove_dir_all(&place.folder).unwrap();
        fs::create_dir(&place.folder).unwrap();
        let there = there && !name.is_empty();
        let path = match there {
            true => place.put(OsStr::from_bytes(&name)),
            false => place.folder.join(OsStr::from_bytes(&name)),
        };
        let mut given = place.given(&place.folder, argv, env, &path);
        if named || given.argv.is_empty() {
            given.argv.insert(0, name.clone());
        }
        let mut record = given.record(&name);
        record.result = if there { 0 } else { -libc::ENOENT };
        let line = command_line(&record, Some(&baselines[which]).filter(|_| !whole), Redirect::None);
        prop_assert!(line.lacking.iter().all(|what| what == "the file is named by its whole path"));
        let done = Given::parse(&place.paste(SHELLS[which], &line.text).stdout);
        prop_assert_eq!(&done, &Some(given.clone()).filter(|_| there), "{}", &line.text);
        // These do not know all quotes, but what they make of them is no other program.
        for shell in OTHERS {
            let other = Given::parse(&place.paste(shell, &line.text).stdout);
            if line.text.contains("$'") || line.text.contains('\\') {
                prop_assert!(other.is_none_or(|other| there && other.exe == given.exe), "{shell:?}: {}", line.text);
            } else {
                prop_assert_eq!(&other, &done, "{:?}: {}", shell, line.text);
            }
        }
        for entry in fs::read_dir(&place.folder).unwrap() {
            let found = entry.unwrap().path();
            prop_assert!(path.starts_with(&found), "{:?} by {}", found, &line.text);
        }
    });
}

/// Executes the program in many ways; the last one is a script that is run by it.
const WAYS: &str = r#"
cd "$FOLDER"
"$PROGRAM" a "b  c" "it's" $'new\nline\ttab' $'\xff\x01' '' '$(touch owned)' '`x`' '!x' '=ls' '~' '*' -- -x '\' '"'
(exec -a $'other \xff "name"' "$PROGRAM" x)
(exec -a '' "$PROGRAM")
env -- -dash=1 -i=2 -u=3 A= ' b='=c "$PROGRAM" A=1
env -i PATH=/nowhere "$PROGRAM"
env -u HOME $'O\xffD'=$'v\n\e[2J' SSH_CLIENT=x PS1=y BASH_ENV=/none RANDOM=1 bash -c 'exec -a "$0" "$@"' name "$PROGRAM"
'./-a=b/pro gram' relative
(cd ./-a=b && exec -a $'\n' './pro gram')
(cd ./-a=b && exec -a x "$FOLDER/-a=b/pro gram" y)
(cd / && SHLVL=x OLDPWD=/none PWD=/wrong exec "$PROGRAM")
./script x 'y z'
true
"#;

/// What comes before the environment in a line: file name, arguments, directory.
fn before_environment(line: &str) -> &str {
    let line = line.split_once(": ").unwrap().1;
    line.split_once(" env[").unwrap().0
}

/// Runs a script of a shell's under `tracexec log`, which tells of what runs the program, in this
/// environment; what was logged, and what the program was given each time.
#[track_caller]
fn logged(place: &Place, backend: &str, level: &str, words: &[&str]) -> (Vec<String>, Vec<Given>) {
    let options = ["-o", "log", "--show-cmdline", "--show-filename", "--show-argv", "--show-cwd"];
    let mut command = place.world.tracexec(["log", "--backend", backend]);
    command.args(options).args(["--show-env", "--no-show-interpreter", "--no-show-comm"]);
    command.args(["--no-show-fd", "-m", "basename=given", "-m", "basename='pro gram'"]);
    command.args(["-m", "basename=script", "--events", "exec", "--"]).args(words);
    command.env_clear().current_dir(place.world.dir.path());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("SHLVL", level);
    command.env("PWD", place.world.dir.path()).env("OLDPWD", "/tmp").env("SAME", "1");
    command.env("PROGRAM", &place.program).env("FOLDER", &place.folder).env("HOME", "/root");
    // zsh sets it where it is not set.
    command.env("LOGNAME", "root").env("XDG_RUNTIME_DIR", place.world.path("run"));
    let outcome = finish(place.world.start(command));
    assert_eq!(outcome.code(), 0, "{}{}", outcome.out(), outcome.stderr);
    let log = fs::read_to_string(place.world.path("log")).unwrap();
    (log.lines().map(String::from).collect(), Given::all(&outcome.stdout))
}

#[test]
fn the_lines_of_a_run_are_run_again_and_give_the_same_execs() {
    let place = Place::new();
    let script = place.folder.join("script");
    fs::write(&script, format!("#!{}\n", place.program.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let ways = place.world.file("ways", WAYS);
    for backend in backends() {
        let (lines, given) = logged(&place, backend, "2", &["bash", ways.to_str().unwrap()]);
        assert_eq!((lines.len(), given.len()), (11, 11), "{lines:#?}");
        let mut again = String::new();
        for line in &lines {
            let (_, line) = line.split_once(" cmdline: ").unwrap_or_else(|| panic!("{line}"));
            again.push_str(line);
            again.push('\n');
        }
        let again = place.world.file("again", again + "true\n");
        for shell in [["bash", "--norc"], ["zsh", "-f"]] {
            // The shell counts itself.
            let words = [&shell[..], &[again.to_str().unwrap()]].concat();
            let (lines_again, given_again) = logged(&place, backend, "1", &words);
            assert_eq!(given_again, given, "{shell:?}");
            let told = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|line| before_environment(line).to_string()).collect()
            };
            assert_eq!(told(&lines_again), told(&lines), "{shell:?}");
        }
    }
}
