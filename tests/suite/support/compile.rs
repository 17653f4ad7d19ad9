//! Programs in other languages than C, from `tests/fixtures/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[track_caller]
fn compile(mut command: Command, needed: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{needed}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles `tests/fixtures/NAME.rs`.
#[track_caller]
pub fn rust(world: &World, name: &str, flags: &[&str]) -> PathBuf {
    let program = world.path(name);
    let mut command = Command::new("rustc");
    command.args(["-g", "-o"]).arg(&program).args(flags).arg(source(&format!("{name}.rs")));
    compile(command, "rustc is needed");
    program
}

/// Compiles `tests/fixtures/NAME.go`.
#[track_caller]
pub fn go(world: &World, name: &str, flags: &[&str]) -> PathBuf {
    let program = world.path(name);
    let mut command = Command::new("go");
    command.args(["build", "-gcflags=-N -l", "-o"]).arg(&program).args(flags);
    command.arg(source(&format!("{name}.go")));
    // Go compiles its library once, and keeps it there.
    command.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go")).env("GOFLAGS", "");
    compile(command, "go is needed: apt install golang-go");
    program
}

/// Makes a program that is installed under another name one of this world: see [`World::prepare`].
#[track_caller]
pub fn call_it(world: &World, name: &str, installed: &str) {
    let _ = std::fs::create_dir(world.path("bin"));
    let path = which::which(installed).unwrap_or_else(|_| panic!("{installed} is needed"));
    std::os::unix::fs::symlink(path, world.path("bin").join(name)).unwrap();
}
