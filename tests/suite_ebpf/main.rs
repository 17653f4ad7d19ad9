//! What is tested of the eBPF source, and the tests of `tests/suite` that run over either.

#![cfg(feature = "ebpf")]
#![allow(clippy::disallowed_methods, reason = "tests show their own paths")]

#[macro_use]
#[path = "../suite/both.rs"]
mod both;
#[path = "../suite/filter_support/mod.rs"]
#[allow(dead_code, reason = "the tests of the evaluator use the rest")]
mod filter_support;
#[path = "../suite/filter_properties/generate.rs"]
#[allow(dead_code, reason = "the property test of the evaluator uses the rest")]
mod generate;
#[path = "../suite/support/mod.rs"]
mod support;

mod death;
mod exempt;
mod filter;
mod kernels;
mod kin;
mod lost;
mod moments_traced;
mod programs;
mod record;
mod start;
mod storm;
mod system;

#[path = "../suite/as_user.rs"]
mod as_user;
#[path = "../suite/cli.rs"]
mod cli;
#[path = "../suite/containers.rs"]
mod containers;
#[path = "../suite/death.rs"]
mod death_over_ebpf;
#[path = "../suite/debuggers.rs"]
mod debuggers;
#[path = "../suite/execs.rs"]
mod execs;
#[path = "../suite/exhausted.rs"]
mod exhausted;
#[path = "../suite/gdb.rs"]
mod gdb;
#[path = "../suite/guardian.rs"]
mod guardian;
#[path = "../suite/letting_go.rs"]
mod letting_go;
#[path = "../suite/moments/mod.rs"]
mod moments;
#[path = "../suite/namespaces.rs"]
mod namespaces;
#[path = "../suite/parked.rs"]
mod parked;
#[path = "../suite/saving.rs"]
mod saving;
#[path = "../suite/surroundings.rs"]
mod surroundings;
#[path = "../suite/tracer.rs"]
mod tracer;
#[path = "../suite/wrap.rs"]
mod wrap;
