//! Tests that a file has once and runs with each of its debuggers, `GDB` and `LLDB`.

macro_rules! with_both {
    ($($test:ident),* $(,)?) => {
        mod gdb {
            $(#[test] fn $test() { super::$test(&super::GDB); })*
        }
        mod lldb {
            $(#[test] fn $test() { super::$test(&super::LLDB); })*
        }
    };
}
