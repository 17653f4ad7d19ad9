//! What is tested of the whole program, in one binary that is linked once. Where a test runs over one source,
//! it is ptrace here; `tests/suite_ebpf` runs the same files over eBPF.

#![allow(clippy::disallowed_methods, reason = "tests show their own paths")]

#[macro_use]
mod both;
mod filter_support;
mod support;

mod as_user;
mod auto;
mod blocked;
mod cli;
mod cmdline;
mod collect;
mod collect_properties;
mod compile_commands;
mod compile_elsewhere;
mod compile_merged;
mod compile_options;
mod completion;
mod configuration;
mod containers;
mod cores;
mod death;
mod debuggers;
mod doctor;
mod editors;
mod elevate;
mod execs;
mod exhausted;
mod filter_cases;
mod filter_cgroups;
mod filter_moments;
mod filter_properties;
mod forms;
mod gdb;
#[cfg(feature = "ebpf")]
mod guardian;
mod hits_json;
mod jobcontrol;
mod kept;
mod letting_go;
mod listen;
mod log;
mod manual;
mod moments;
mod namespaces;
mod not_begun;
mod page;
mod parked;
mod perfetto;
mod places;
mod privileges;
mod recorder;
mod recording;
mod remember;
mod saving;
mod seized;
mod sources;
mod streams;
mod surroundings;
mod tracer;
mod tracer_agreement;
mod tutorials;
mod vscode;
mod vscode_properties;
mod windows;
mod wrap;
mod wrap_profilers;
mod yama;
