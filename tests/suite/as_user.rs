//! As whom debuggers run that we start and nobody types to.

use std::fs;

use crate::support::{World, eventually, finish, processes_with, status_of};

/// gdb can be made to run code by what it looks at.
#[test]
fn a_debugger_that_nobody_types_to_runs_as_the_user_of_the_process() {
    let user = crate::support::user::User::new();
    let world = World::new();
    let program = world.fixture("dies", &[]);
    user.give(world.dir.path());
    let line = format!("{} null; {} exit", program.display(), program.display());
    let common = ["-u", &user.name, "debug", "-m", "basename=dies", "--on", "crash,fail"];
    for options in [
        &["--save", "backtrace", "--to"][..],
        &["--debugger", "gdb-backtrace", "--in", "background"],
    ] {
        let mut args = [&common[..], options].concat();
        let to = world.path("saved").display().to_string();
        if options.contains(&"--to") {
            args.push(&to);
        }
        let mut running =
            world.start(world.tracexec([&args[..], &["--", "sh", "-c", &line]].concat()));
        let mut seen = Vec::new();
        eventually("the end", || {
            for pid in processes_with("/usr/bin/gdb") {
                // Not another test's.
                let is_ours = status_of(pid, "PPid") == Some(running.pid().to_string());
                let uids = status_of(pid, "Uid").filter(|_| is_ours).unwrap_or_default();
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                if comm == "gdb\n" && !uids.is_empty() {
                    seen.push(uids);
                }
            }
            running.child().try_wait().unwrap()
        });
        let outcome = finish(running);
        assert!(!seen.is_empty(), "{}", outcome.stderr);
        let uid = user.uid.to_string();
        let is_user = |uids: &String| uids.split_whitespace().all(|each| each == uid);
        assert!(seen.iter().all(is_user), "{seen:?}");
        if options.contains(&"--to") {
            let folders = fs::read_dir(world.path("saved")).unwrap().flatten();
            let texts: Vec<String> = folders
                .map(|hit| fs::read_to_string(hit.path().join("backtrace.txt")).unwrap())
                .collect();
            assert_eq!(texts.len(), 2, "{}", outcome.stderr);
            assert!(texts.iter().all(|text| text.contains("happen () at")), "{texts:?}");
        } else {
            assert!(outcome.stderr.matches("happen () at").count() >= 2, "{}", outcome.stderr);
        }
    }
}
