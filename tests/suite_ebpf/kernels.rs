//! The eBPF programs on another kernel than this machine's, in a virtual machine: each kernel's verifier
//! is another. `tests/vm/all-kernels` does the same on more of them, and prints the table of KERNELS.md.

use std::path::Path;
use std::process::Command;

const TRACEXEC: &str = env!("CARGO_BIN_EXE_tracexec");

/// The status of `all-kernels` where Debian's package cannot be had.
const UNAVAILABLE: i32 = 3;

#[test]
fn linux_6_1_loads_the_programs_and_stops_what_they_match() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/all-kernels");
    let output = Command::new("timeout")
        .args(["--kill-after=10", "400"])
        .arg(script)
        .args(["--tracexec", TRACEXEC, "bookworm"])
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(UNAVAILABLE) {
        eprintln!("not tested on Linux 6.1: {trouble}");
        assert!(std::env::var_os("TRACEXEC_TEST_ALL").is_none(), "Linux 6.1: {trouble}");
        return;
    }
    assert!(output.status.success(), "{}\n{table}\n{trouble}", output.status);
    assert!(table.contains("| kernel | 6.1."), "{table}\n{trouble}");
}
