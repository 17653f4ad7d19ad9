//! Yama's ptrace_scope, in a virtual machine with Debian's own kernel: this one may have no Yama, and
//! its setting is nobody's to change.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::World;

#[test]
fn at_each_ptrace_scope_a_debugger_gets_in_or_the_cause_is_named() {
    let world = World::new();
    world.fixture("hello", &[]);
    world.fixture("dies", &[]);
    for (name, flags) in [("hello-static", &["-static"][..]), ("hello-32", &["-m32"])] {
        let plain = world.path("hello");
        let kept = world.path("kept");
        fs::rename(&plain, &kept).unwrap();
        fs::rename(world.fixture("hello", flags), world.path(name)).unwrap();
        fs::rename(&kept, &plain).unwrap();
    }
    fs::copy(crate::support::TRACEXEC, world.path("tracexec")).unwrap();
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    fs::copy(vm.join("yama-check"), world.path("yama-check")).unwrap();
    let output = Command::new(vm.join("boot"))
        .args(["--timeout", "480", "--file"])
        .arg(format!("{}:/opt/t", world.dir.path().display()))
        .args(["--", "sh", "/opt/t/yama-check", "/opt/t"])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{shown}\n{trouble}", output.status);
    assert!(shown.contains("all checks passed"), "{shown}\n{trouble}");
}
