use super::*;
use crate::event::{Fd, FdKind, FdRecord, Ids, Part, Reading, Response, Strings, Vector};

/// An exec of a program that prints what it was given.
fn record(filename: &[u8], argv: &[&[u8]], env: &[&[u8]], cwd: &[u8]) -> ExecRecord {
    let vector = |strings: &[&[u8]]| {
        Part::of(Vector { strings: strings.iter().collect::<Strings>(), unread: Vec::new() })
    };
    ExecRecord {
        id: 1,
        pid: 100,
        tid: 100,
        parent: Reading::Known(1),
        depth: Reading::Known(0),
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
        argv: vector(argv),
        passed: Part::default(),
        responses: Vec::new(),
        env: vector(env),
        cwd: Part::of(cwd.to_vec()),
        exe: Part::of(filename.to_vec()),
        interpreters: Part::default(),
        cgroup: Part::default(),
        fds: Part::default(),
        pid_namespace: Reading::Unknown,
        mount_namespace: Reading::Unknown,
        faults: Faults::empty(),
    }
}

fn baseline(env: &[&str], cwd: &str) -> Baseline {
    Baseline { env: env.iter().collect(), cwd: cwd.into(), fds: Vec::new() }
}

fn file(number: u32, target: &str, flags: i32) -> FdRecord {
    FdRecord {
        fd: Fd { number, target: target.into(), kind: FdKind::File },
        flags: flags as u32,
        close_on_exec: false,
        position: 0,
        mount_id: 1,
        inode: 7,
        file_system: Vec::new(),
        faults: Faults::empty(),
    }
}

#[test]
fn what_is_as_in_the_shell_is_not_said() {
    let env: [&[u8]; 3] = [b"A=1", b"B=2", b"_=x"];
    let of = record(b"/bin/ls", &[b"/bin/ls", b"-l", b"a b"], &env, b"/src");
    let here = baseline(&["A=1", "B=2", "_=y"], "/src");
    let line = command_line(&of, Some(&here), Redirect::None);
    assert_eq!(line.text, "env _=x /bin/ls -l 'a b'");
    assert_eq!(line.lacking, Vec::<String>::new());
}

#[test]
fn what_is_not_as_in_the_shell_is_said() {
    let env: [&[u8]; 4] = [b"C=a b", b"LONG=1234567890", b"PWD=/tmp", b"SHLVL=2"];
    let of = record(b"/bin/ls", &[b"ls"], &env, b"/tmp");
    let here = baseline(&["A=1", "C=2", "LONG=1234567890", "PWD=/src", "SHLVL=1"], "/src");
    let line = command_line(&of, Some(&here), Redirect::None);
    let bash = r#"bash --norc -pc 'exec -a "$0" -- "$@"' ls /bin/ls"#;
    assert_eq!(line.text, format!("env -u A -u _ -C /tmp C='a b' PWD=/tmp SHLVL=2 {bash}"));
}

#[test]
fn without_a_shell_to_start_from_all_is_said() {
    let of = record(b"/bin/ls", &[b"/bin/ls"], &[b"-x=1", b"A="], b"/src");
    let line = command_line(&of, None, Redirect::None);
    assert_eq!(line.text, "env -i -C /src -- -x=1 A= /bin/ls");
}

#[test]
fn what_stands_before_the_program_has_no_more_options() {
    const LONG: &[u8] = b"LONG=1234567890";
    let here = baseline(&["LONG=1234567890"], "/");
    let line = |file: &[u8], name: &[u8], env: &[&[u8]]| {
        command_line(&record(file, &[name, b"x"], env, b"/"), Some(&here), Redirect::None).text
    };
    let odd = b"-Ssh -c id>/x";
    assert_eq!(line(odd, odd, &[LONG]), "env -u _ -- '-Ssh -c id>/x' x");
    assert_eq!(line(odd, odd, &[LONG, b"_=x"]), "env -- _=x '-Ssh -c id>/x' x");
    assert_eq!(line(b"-S/=", b"-S/=", &[LONG]), "env -u _ nice -n 0 -- -S/= x");
    let bash = r#"env -u _ bash --norc -pc '(unset PWD SHLVL; exec -a "$0" -- "$@")'"#;
    assert_eq!(line(b"-c/x", b"-l", &[LONG]), format!("{bash} -l -c/x x"));
    assert_eq!(line(b"-c", b"", &[LONG]), format!("{bash} '' ./-c x"));
    assert_eq!(line(b"~/x", b"", &[LONG]), format!("{bash} '' './~/x' x"));
}

#[test]
fn what_cannot_be_done_again_is_told() {
    let mut of = record(b"prog", &[b"prog"], &[b"A=1", b"A=2", b"odd\x1b"], b"/");
    let line = command_line(&of, None, Redirect::None);
    let lacking = [
        "the file is named by its whole path",
        "A is there more than once",
        r"the variable $'odd\x1b' has no `=`",
    ];
    assert_eq!(line.lacking, lacking);
    of = record(b"/proc/self/exe", &[b"x"], &[], b"/");
    of.exe.value = Some(b"/bin/x".to_vec());
    of.argv.faults = Faults::STRING_UNREADABLE;
    of.cwd = Part::default();
    let line = command_line(&of, None, Redirect::None);
    assert!(line.text.ends_with(" x /bin/x"), "{}", line.text);
    let lacking = [
        "the file was named /proc/self/exe",
        "the arguments are not all known: a string could not be read",
        "the working directory is not known",
    ];
    assert_eq!(line.lacking, lacking);
}

#[test]
fn descriptors_become_redirections() {
    let mut of = record(b"/bin/ls", &[b"/bin/ls"], &[b"ABC=1"], b"/");
    let mut later = file(5, "/tmp/o", libc::O_WRONLY);
    later.position = 8;
    of.fds = Part::of(vec![
        file(1, "/tmp/a b", libc::O_WRONLY | libc::O_APPEND),
        file(2, "/tmp/a b", libc::O_WRONLY | libc::O_APPEND),
        file(3, "pipe:[7]", libc::O_RDONLY),
        file(4, "/tmp/rw", libc::O_RDWR),
        later,
        FdRecord { close_on_exec: true, ..file(6, "/x", 0) },
        file(10, "/dev/tty", libc::O_RDWR),
    ]);
    let mut here = baseline(&["ABC=1"], "/");
    here.fds = vec![file(0, "/dev/null", 0), file(10, "/dev/tty", libc::O_RDWR)];
    let line = command_line(&of, Some(&here), Redirect::Stdio);
    assert_eq!(line.text, "env -u _ /bin/ls >>'/tmp/a b' 2>&1 <&-");
    let line = command_line(&of, Some(&here), Redirect::All);
    assert_eq!(line.text, "env -u _ /bin/ls >>'/tmp/a b' 2>&1 4<>/tmp/rw 5>>/tmp/o <&-");
    assert_eq!(line.lacking, ["descriptor 3 is pipe:[7]"]);
}

#[test]
fn a_response_file_is_replaced_by_what_was_in_it() {
    let mut of = record(b"/bin/cc", &[b"/bin/cc", b"@r", b"x"], &[], b"/");
    assert_eq!(command_line(&of, None, Redirect::None).text, "env -i -C / /bin/cc @r x");
    of.responses = vec![Response { name: b"r".to_vec(), text: b"-DX='a b' ;id;".to_vec() }];
    let line = command_line(&of, None, Redirect::None);
    assert_eq!(line.text, "env -i -C / /bin/cc '-DX=a b' ';id;' x");
    assert_eq!(line.lacking, ["the words of response files stand in their places"]);
}

#[test]
fn a_script_is_run_as_it_was_and_not_as_its_interpreter_was() {
    let argv: [&[u8]; 5] = [b"/bin/sh", b"inner", b"-e", b"./s", b"x"];
    let mut of = record(b"./s", &argv, &[], b"/");
    of.interpreters = Part::of(vec![b"inner".to_vec(), b"/bin/sh".to_vec()]);
    assert_eq!(command_line(&of, None, Redirect::None).text, "env -i -C / ./s x");
    // By another name that was passed: bash gives it that, unless it would change the path that the script sees.
    of.passed = Part::of(Vector::of(["python3", "x"]));
    let line = command_line(&of, None, Redirect::None);
    assert_eq!(line.text, "env -i -C / ./s x");
    assert_eq!(line.lacking, ["the script's argv[0] is the file's name"]);
    let mut absolute = of.clone();
    absolute.filename = Part::of(b"/s".to_vec());
    absolute.argv.value = Some(Vector::of(["/bin/sh", "inner", "-e", "/s", "x"]));
    let line = command_line(&absolute, None, Redirect::None);
    assert!(line.text.ends_with(r#"exec -a "$0" -- "$@")' python3 /s x"#), "{}", line.text);
    assert_eq!(line.lacking, Vec::<String>::new());
    of.passed = Part::default();
    // As it was passed.
    of.argv = record(b"./s", &[b"./s", b"./s"], &[], b"/").argv;
    assert_eq!(command_line(&of, None, Redirect::None).text, "env -i -C / ./s ./s");
    // If nobody knows what has run it, whatever that was given is told, and that it may be wrong.
    of.interpreters = Part { value: None, faults: Faults::PATH_UNREADABLE };
    let line = command_line(&of, None, Redirect::None);
    assert_eq!(line.text, "env -i -C / ./s ./s");
    assert!(line.lacking[0].starts_with("whether an interpreter has got it"), "{line:?}");
}
