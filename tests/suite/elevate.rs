//! `--elevate`: tracexec as root by sudo, COMMAND as the user who said it.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::user::User;
use crate::support::{Outcome, TRACEXEC, World, finish};

/// Runs a program as that user, with a variable that sudo drops and one that root must not have. Where tests
/// are built need not be open to others: `./tracexec` is a copy.
fn as_user(world: &World, user: &User, words: &[&str]) -> Outcome {
    let own = world.path("tracexec");
    if !own.exists() {
        std::fs::copy(TRACEXEC, own).unwrap();
        user.give(world.dir.path());
    }
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(world.dir.path()).env_clear();
    command.envs([("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("HOME", "/nowhere/of his")]);
    command.envs([("KEPT", "a b"), ("LD_BIND_NOW", "1")]);
    command.uid(user.uid).gid(user.gid);
    finish(world.start(command))
}

/// Says all that COMMAND is to have of the caller, and nothing of what is ours.
const SCRIPT: &str = "id -u; id -g; id -G; umask; pwd; echo $HOME/$KEPT/$LD_BIND_NOW/$SUDO_UID/$TRACEXEC_ELEVATED; exit 7";

#[test]
fn command_is_the_caller_s_in_all_and_tracexec_is_root_s() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    let script = format!(
        "umask 027; exec ./tracexec debug --elevate --list -m basename=id -- sh -c '{SCRIPT}'"
    );
    let outcome = as_user(&world, &user, &["sh", "-c", &script]);
    let (uid, gid) = (user.uid, user.gid);
    let place = world.dir.path().canonicalize().unwrap();
    let expected =
        format!("{uid}\n{gid}\n{gid}\n0027\n{}\n/nowhere/of his/a b/1//\n", place.display());
    assert_eq!(outcome.out(), expected, "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(7), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("(basename=id)").count(), 3, "{}", outcome.stderr);
}

#[test]
fn files_are_the_caller_s_unless_they_were_another_s() {
    let (mut user, world) = (User::new(), World::new());
    user.may_sudo();
    let owner = |name: &str| {
        let found =
            std::fs::metadata(world.path(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        (found.uid(), found.gid())
    };
    let his = (user.uid, user.gid);
    let run = |elevate: bool, words: &[&str]| {
        let script = "umask 027; exec ./tracexec \"$@\" -- true";
        let mut line = vec!["sh", "-c", script, "sh", words[0]];
        line.extend(elevate.then_some("--elevate"));
        line.extend(&words[1..]);
        let outcome = as_user(&world, &user, &line);
        assert_eq!(outcome.status.code(), Some(0), "{words:?}: {}", outcome.stderr);
    };
    // The copy of tracexec is made first, and the folder given to the user.
    run(true, &["log", "-o", "log"]);
    std::fs::write(world.path("root-s"), "").unwrap();
    std::fs::write(world.path("root-s.json"), "").unwrap();
    run(true, &["log", "-o", "rotated", "--rotate", "10"]);
    run(true, &["collect", "-F", "json", "-o", "json"]);
    run(true, &["collect", "-F", "json", "-o", "json"]);
    run(true, &["collect", "-F", "json-stream", "-o", "stream"]);
    let save = ["debug", "-m", "basename=true", "--save", "repro", "--to", "saved"];
    run(true, &[&save[..], &["--hits-json", "hits"]].concat());
    for name in ["log", "rotated", "rotated.1", "json", "stream", "hits", "saved"] {
        assert_eq!(owner(name), his, "{name}");
    }
    run(false, &["log", "--backend", "ptrace", "-o", "log"]);
    run(true, &["log", "-o", "root-s"]);
    run(true, &["collect", "-F", "json", "-o", "root-s.json"]);
    assert_eq!((owner("root-s"), owner("root-s.json")), ((0, 0), (0, 0)));
    assert_ne!(std::fs::read(world.path("root-s.json")).unwrap(), b"");
}

#[test]
fn root_needs_no_sudo_and_nobody_else_may_say_that_he_was_elevated() {
    let (user, world) = (User::new(), World::new());
    let mut command =
        world.tracexec(["debug", "--elevate", "--list", "-m", "basename=id", "--", "id", "-u"]);
    command.env("PATH", "/usr/bin:/bin");
    let outcome = finish(world.start(command));
    assert_eq!(outcome.out(), "0\n", "{}", outcome.stderr);
    let lie = ["./tracexec", "debug", "--elevated=1,0,0,0", "--list", "-m", "pid>0", "--", "true"];
    let outcome = as_user(&world, &user, &lie);
    assert_eq!(outcome.status.code(), Some(125));
    assert!(outcome.stderr.contains("say --elevate"), "{}", outcome.stderr);
}
