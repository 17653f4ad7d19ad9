//! `--on` over eBPF, where it differs: who is traced and who is not, processes of other trees, programs that
//! execute another one, and our own death while a process is taken up. What both sources have in common is in
//! `tests/suite/moments`.

mod death;
mod system;
mod traced;

use crate::support::{Running, World};

/// `tracexec debug --on MOMENTS` with these options, for COMMAND.
fn session(world: &World, on: &str, options: &[&str], command: &[&str]) -> Running {
    let mut args = vec!["debug", "--on", on];
    args.extend_from_slice(options);
    args.push("--");
    args.extend_from_slice(command);
    world.start(world.tracexec(args))
}
