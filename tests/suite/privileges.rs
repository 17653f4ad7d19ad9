//! Programs under `log` gain the privileges that they gain without it, where the one who traces may trace them.

use std::process::Command;

use crate::support::user::User;
use crate::support::{World, finish, status_of};

/// A program with a file capability, for everybody.
fn capable(world: &World) -> String {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(world.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = world.path("capable");
    let path = path.to_str().unwrap();
    let made = |command: &str, words: &[&str]| {
        let status = Command::new(command).args(words).status();
        assert!(status.expect(command).success(), "{command} {words:?}");
    };
    made("install", &["-m", "755", "/bin/grep", path]);
    // See CAP_NET_RAW in linux/capability.h. setcap is needed: apt install libcap2-bin
    made("/usr/sbin/setcap", &["cap_net_raw+ep", path]);
    path.into()
}

/// What COMMAND prints, in lines, and what is said of it.
#[track_caller]
fn printed(
    world: &World,
    prefix: &[&str],
    options: &[&str],
    script: &str,
) -> (Vec<String>, String) {
    let mut words: Vec<&str> = [prefix, &[crate::support::TRACEXEC, "log"]].concat();
    words.extend(options);
    words.extend(["--backend", "ptrace", "--", "sh", "-c", script]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    world.prepare(&mut command);
    let outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 7, "{}{}", outcome.out(), outcome.stderr);
    (outcome.out().lines().map(str::to_string).collect(), outcome.stderr)
}

const OF_SHELL: &str = "grep NoNewPrivs /proc/$$/status";

/// Root may put a filter on what it traces without taking anything from it.
#[test]
fn set_user_id_programs_and_file_capabilities_work_for_root_and_the_user_of_its_choice() {
    let world = World::new();
    let capable = capable(&world);
    let mut user = User::new();
    user.may_sudo();
    let uid = user.uid.to_string();
    for options in
        [&[][..], &["--seccomp-bpf", "on"], &["--seccomp-bpf", "off"], &["--successful-only"]]
    {
        let filtered = matches!(options, [] | [_, "on"]);
        let says = |said: &str| {
            assert_eq!(said.contains("by a seccomp filter"), filtered, "{options:?}: {said}");
            assert!(!said.contains("warning"), "{options:?}: {said}");
        };
        let options = [options, &["-v"]].concat();
        let script = format!(
            "{OF_SHELL}; su -s /bin/sh -c 'id -u; {OF_SHELL}' {0}; sudo -n -u {0} id -u; exit 7",
            user.name
        );
        let (lines, said) = printed(&world, &[], &options, &script);
        assert_eq!(lines, ["NoNewPrivs:\t0", &uid, "NoNewPrivs:\t0", &uid], "{said}");
        says(&said);

        let options = [&options[..], &["-u", &user.name]].concat();
        let script =
            format!("{OF_SHELL}; id -u; sudo -n id -u; {capable} CapEff /proc/self/status; exit 7");
        let (lines, said) = printed(&world, &[], &options, &script);
        let raw = format!("CapEff:\t{:016x}", 1 << 13);
        assert_eq!(lines, ["NoNewPrivs:\t0", &uid, "0", &raw], "{said}");
        says(&said);
    }
}

/// In a container that has CAP_SYS_PTRACE and not CAP_SYS_ADMIN.
#[test]
fn root_without_cap_sys_admin_keeps_set_user_id_programs_and_is_told_the_cost() {
    let world = World::new();
    let container = ["setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon"];
    let script = format!("{OF_SHELL}; sudo -n -u nobody id -u; exit 7");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid.to_string();
    let warns = |options: &[&str]| {
        let (lines, said) = printed(&world, &container, options, &script);
        assert_eq!(lines, ["NoNewPrivs:\t0", &nobody], "{said}");
        said.contains("warning")
    };
    assert!(warns(&[]));
    assert!(!warns(&["--seccomp-bpf", "off"]));
    assert!(!warns(&["--successful-only"]));
    let script = format!("{OF_SHELL}; exit 7");
    let (lines, said) = printed(&world, &container, &["--seccomp-bpf", "on"], &script);
    assert_eq!(lines, ["NoNewPrivs:\t1"]);
    assert!(!said.contains("warning"), "{said}");
}

/// Its tracer takes them anyhow.
#[test]
fn an_ordinary_user_has_the_filter_with_no_new_privs() {
    let world = World::new();
    let user = User::new();
    let to = ["setpriv", "--reuid", &user.name, "--regid", &user.name, "--clear-groups"];
    let (lines, said) = printed(&world, &to, &["-v"], &format!("{OF_SHELL}; exit 7"));
    assert_eq!(lines, ["NoNewPrivs:\t1"]);
    assert!(said.contains("by a seccomp filter") && !said.contains("warning"), "{said}");
    // Nobody else has it.
    assert_eq!(status_of(std::process::id() as i32, "NoNewPrivs").unwrap(), "0");
}
