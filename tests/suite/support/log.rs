//! What the tests of `log` share.

use super::{Running, World};

/// The sources over which it is tried.
const BACKENDS: &[&str] = if cfg!(feature = "ebpf") { &["ptrace", "ebpf"] } else { &["ptrace"] };

/// Whether a source can be had here.
fn usable(backend: &str) -> bool {
    #[cfg(feature = "ebpf")]
    return backend != "ebpf" || super::ebpf::available();
    #[cfg(not(feature = "ebpf"))]
    return backend != "ebpf";
}

/// Those of them that can be had here.
pub fn backends() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().copied().filter(|backend| usable(backend))
}

/// Starts `tracexec log` in the world's folder, with options, and words after `--`.
#[track_caller]
pub fn start(world: &World, backend: &str, options: &[&str], words: &[&str]) -> Running {
    let mut command = world.tracexec(["log", "--backend", backend]);
    command.args(options).arg("--").args(words);
    command.current_dir(world.dir.path()).env("PWD", world.dir.path());
    world.start(command)
}
