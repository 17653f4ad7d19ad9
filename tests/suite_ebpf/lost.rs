//! More is executed than the kernel's buffer has room for.

use crate::support::{World, ebpf};

#[test]
fn lost_records_are_the_reason_that_is_told_to_root() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    // While tracexec does nothing, environments of more than the buffer's 16 MiB come.
    let script = "kill -STOP $PPID
        export A=$(head -c 120000 /dev/zero | tr '\\0' a)
        export B=$A C=$A D=$A
        for i in $(seq 60); do /bin/true; done
        kill -CONT $PPID";
    let filter = "basename=true and env[TRACEXEC_TEST]=1";
    let outcome = world.debug_sh(&["--list", "-v", "-m", filter], script);
    let said = &outcome.stderr;
    assert_eq!(outcome.code(), 0, "{said}");
    assert!(
        said.contains("could not be judged: the kernel's records of them are not whole"),
        "{said}"
    );
    assert!(said.contains("records of what was executed were lost"), "{said}");
    assert!(!said.contains("as root"), "{said}");
}
