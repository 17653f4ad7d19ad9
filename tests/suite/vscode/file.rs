//! The file itself: what is left as it is, who owns it, and what remains of dead sessions.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Stdio;

use super::Workspace;
use crate::support::user::User;
use crate::support::{World, eventually, feed, finish, is_gone, pid_in, processes_with, state};

const MINE: &str = "// Mine.\r\n{\r\n\t\"version\": \"0.2.0\",\r\n\t\"configurations\": [\r\n\t\t{\"name\": \"x\", \
                    \"type\": \"lldb-dap\", /* c */ \"request\": \"launch\"}, // last\r\n\t],\r\n}";

#[test]
fn several_hits_have_entries_of_their_own_and_leave_none() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    // An argument that cannot be written: there is no entry that would stay.
    let script = format!("{0} '${{x}}' & {0} '${{y}}' & wait", hello.display());
    workspace.write(MINE);
    let options = ["--in", "vscode", "-m", "basename=hello", "--sessions", "2"];
    let mut session = world.start(workspace.tracexec(&options, &["sh", "-c", &script]));
    let first = pid_in(&session.stderr_line("waits for the editor"));
    let second = pid_in(&session.stderr_line("waits for the editor"));
    session.stderr_line("\"tracexec: attach (2)\"");
    let text = workspace.text().unwrap();
    assert!(text.contains("\"tracexec: attach to all\""), "{text}");
    // The file's own type is taken.
    let entry = workspace.configuration("tracexec: attach");
    assert_eq!((&entry["type"], &entry["pid"]), (&"lldb-dap".into(), &first.into()));
    assert!(text.replace("\r\n", "").find('\n').is_none(), "a bare line feed in {text:?}");
    world.run(["release", &first.to_string()]);
    eventually("one entry", || {
        let text = workspace.text()?;
        (!text.contains("attach to all") && text.contains(&second.to_string())).then_some(())
    });
    world.run(["release", &second.to_string()]);
    assert_eq!(finish(session).code(), 0);
    assert_eq!(workspace.text().unwrap(), MINE);
}

#[test]
fn a_file_and_a_folder_that_were_made_go_when_they_are_of_no_use() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        let workspace = Workspace::new(&world);
        let command = [hello.to_str().unwrap(), "${x}"];
        let (session, pid) = workspace.hit(&["-m", "basename=hello"], &command);
        assert!(workspace.path().exists());
        session.signal(signal);
        let outcome = finish(session);
        eventually("the process's end", || is_gone(pid).then_some(()));
        assert_eq!(outcome.code(), 128 + signal, "{}", outcome.stderr);
        assert!(!workspace.folder.join(".vscode").exists());
    }
}

#[test]
fn what_a_killed_session_has_left_is_taken_out_by_the_next() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    workspace.write(MINE);
    let command = [hello.to_str().unwrap(), "${x}"];
    let (session, pid) = workspace.hit(&["-m", "basename=hello"], &command);
    // Another session's, alive, is left alone.
    let (other, held) = workspace.hit(&["-m", "basename=hello"], &command);
    assert_eq!(workspace.configuration("tracexec: attach (2)")["pid"], held);
    session.signal(libc::SIGKILL);
    eventually("the process's end", || is_gone(pid).then_some(()));
    assert!(workspace.text().unwrap().contains(&format!("\"pid\": {pid}")));
    let idle = workspace.tracexec(&["--in", "vscode", "-m", "basename=nothing"], &["true"]);
    assert_eq!(finish(world.start(idle)).code(), 0);
    let names: Vec<String> = workspace.configurations().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["x", "tracexec: attach (2)"]);
    world.run(["release", &held.to_string()]);
    assert_eq!(finish(other).code(), 3);
    assert_eq!(workspace.text().unwrap(), MINE);
}

#[test]
fn a_file_that_is_no_jsonc_is_left_alone_and_the_process_waits() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let broken = "{\n  \"configurations\": [\n    { \"name\": x }\n  ]\n}\n";
    workspace.write(broken);
    let options = ["--in", "vscode", "-m", "basename=hello"];
    let mut session = world.start(workspace.tracexec(&options, &[hello.to_str().unwrap()]));
    let pid = pid_in(&session.stderr_line("waits for the editor"));
    let error = session.stderr_line("warning");
    assert!(error.contains("launch.json:3:15: Unexpected word"), "{error}");
    session.stderr_line("attach with: ");
    eventually("state T", || (state(pid) == Some('T')).then_some(()));
    assert_eq!(workspace.text().unwrap(), broken);
    world.run(["release", &pid.to_string()]);
    assert_eq!(finish(session).code(), 3);
}

#[test]
fn an_entry_that_could_not_be_taken_out_goes_at_the_end() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let script = format!("{} '${{x}}'; read end", hello.display());
    let options = ["--in", "vscode", "-m", "basename=hello"];
    let mut command = workspace.tracexec(&options, &["sh", "-c", &script]);
    command.stdin(Stdio::piped());
    let mut session = world.start(command);
    let pid = pid_in(&session.stderr_line("waits for the editor"));
    session.stderr_line("press F5");
    let text = workspace.text().unwrap();
    // Somebody is in the middle of something.
    workspace.write(format!("{text}]"));
    world.run(["release", &pid.to_string()]);
    session.stderr_line("more than one JSON value");
    workspace.write(&text);
    feed(&mut session, b"\n");
    finish(session);
    assert!(!workspace.folder.join(".vscode").exists(), "{:?}", workspace.text());
}

#[test]
fn a_link_is_followed_and_the_files_mode_stays() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let real = world.file("settings.json", MINE);
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(workspace.folder.join(".vscode")).unwrap();
    symlink(&real, workspace.path()).unwrap();
    let command = [hello.to_str().unwrap(), "a"];
    let (session, pid) = workspace.hit(&["-m", "basename=hello"], &command);
    assert!(fs::symlink_metadata(workspace.path()).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("tracexec: attach"));
    world.run(["release", &pid.to_string()]);
    finish(session);
    assert!(!fs::read_to_string(&real).unwrap().contains("tracexec: attach"));
}

#[test]
fn under_sudo_the_file_is_the_callers_and_no_link_leads_further_than_he_could_go() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let user = User::new();
    let workspace = Workspace::new(&world);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    user.give(&workspace.folder);
    let sudo = |options: &[&str], command: &[&str]| {
        let mut command = workspace.tracexec(options, command);
        command.env("SUDO_UID", user.uid.to_string()).env("SUDO_GID", user.gid.to_string());
        command
    };
    let options = ["--launch-json", "-m", "basename=hello"];
    let outcome = finish(world.start(sudo(&options, &[hello.to_str().unwrap()])));
    assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
    for path in [workspace.path(), workspace.folder.join(".vscode")] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (user.uid, user.gid), "{path:?}");
    }
    let secret = world.file("roots.json", "{}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(workspace.path()).unwrap();
    symlink(&secret, workspace.path()).unwrap();
    let outcome = finish(world.start(sudo(&options, &[hello.to_str().unwrap()])));
    assert!(outcome.stderr.contains("cannot write"), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "{}");
}

#[test]
fn the_folder_is_the_nearest_upwards_or_the_one_that_is_named() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let workspace = Workspace::new(&world);
    let deep = workspace.folder.join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let other = world.path("other");
    fs::create_dir(&other).unwrap();
    let options = ["--launch-json", "-m", "basename=hello"];
    let run = |options: &[&str]| {
        let mut command = workspace.tracexec(options, &[hello.to_str().unwrap()]);
        command.current_dir(&deep);
        finish(world.start(command))
    };
    assert_eq!(run(&options).code(), 3);
    assert!(workspace.path().exists());
    run(&[&options[..], &["--workspace", other.to_str().unwrap()]].concat());
    assert!(other.join(".vscode/launch.json").exists());
    let outcome = run(&["--hold", "--workspace", ".", "-m", "basename=hello"]);
    assert_eq!(outcome.code(), 125);
    assert!(outcome.stderr.contains("add --in vscode"), "{}", outcome.stderr);
    assert!(processes_with(deep.to_str().unwrap()).is_empty());
}
