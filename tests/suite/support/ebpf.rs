//! What only the tests of the eBPF source need.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Running, World, eventually, finish, state};

/// Whether eBPF may be used here. Where it may not, the reason is printed, which fails a run that is
/// to be complete.
#[track_caller]
pub fn available() -> bool {
    static REFUSED: OnceLock<Option<String>> = OnceLock::new();
    let refused = REFUSED.get_or_init(|| {
        let world = World::new();
        let mut command = Command::new(super::TRACEXEC);
        command.args(["debug", "--backend", "ebpf", "--list", "-m", "argc=99", "--", "true"]);
        world.prepare(&mut command);
        let outcome = finish(world.start(command));
        (outcome.code() != 0).then_some(outcome.stderr)
    });
    let Some(reason) = refused else { return true };
    eprintln!("not tested, since eBPF is refused here: {reason}");
    assert!(std::env::var_os("TRACEXEC_TEST_ALL").is_none(), "eBPF is refused: {reason}");
    false
}

/// For a test that starts a source itself: its guardian is the program's.
pub fn use_the_programs_guardian() {
    let _ = tracexec::source::guardian::PROGRAM.set(super::TRACEXEC.into());
}

/// A group that nobody else has. A filter on it leaves the rest of the machine alone; processes of the
/// test's own are put into it by `CommandExt::gid`.
pub fn own_group() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    1_000_000 + std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Starts a program of a group, in nobody's tree.
#[track_caller]
pub fn outside(world: &World, group: u32, program: &Path, words: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(words).gid(group);
    world.prepare(&mut command);
    world.start(command)
}

/// Starts it again and again until the session, which needs a moment to begin, has it stopped.
#[track_caller]
pub fn stopped(
    session: &mut Running,
    world: &World,
    group: u32,
    program: &Path,
    words: &[&str],
) -> Running {
    eventually("a stopped program", || {
        session.assert_runs();
        let mut running = outside(world, group, program, words);
        let pid = running.pid();
        eventually("a stop, or an end", || match state(pid) {
            Some('T') => Some(true),
            _ => running.child().try_wait().unwrap().map(|_| false),
        })
        .then_some(running)
    })
}

/// The programs that a running tracexec has attached, by what its guardian keeps.
#[track_caller]
pub fn programs_of(tracexec: i32) -> Vec<u32> {
    eventually("a guardian with three programs", || {
        let guardian = guardian_of(tracexec)?;
        let infos = fs::read_dir(format!("/proc/{guardian}/fdinfo")).ok()?.flatten();
        let programs: Vec<u32> = infos
            .filter_map(|info| fs::read_to_string(info.path()).ok())
            .filter(|info| info.contains("link_id:"))
            .filter_map(|info| {
                let line = info.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
                line.trim().parse().ok()
            })
            .collect();
        (programs.len() == 3).then_some(programs)
    })
}

/// The guardian of a tracexec, once there is one.
pub fn guardian_of(tracexec: i32) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{tracexec}/task")).ok()?.flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: String = children.collect();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"guardian")
    })
}

/// Waits until the kernel has these programs no more: nobody has them attached, or pinned.
#[track_caller]
pub fn are_gone(programs: &[u32]) {
    eventually("the programs' end", || programs.iter().all(|id| !exists(*id)).then_some(()));
}

fn exists(program: u32) -> bool {
    // SAFETY: a system call on a number; the descriptor that it gives is ours.
    unsafe {
        let fd = libbpf_sys::bpf_prog_get_fd_by_id(program);
        fd >= 0 && libc::close(fd) == 0
    }
}
