//! What tracexec costs: `cargo bench --bench ratios [-- --quick]`.
//!
//! Ratios against the bare command, which takes turns with the others, so that
//! the noise of a machine falls on all of them. Nothing is asserted: the
//! targets are printed beside the results.

#![allow(clippy::disallowed_methods, reason = "benchmarks show their own paths")]

#[path = "ratios/columns.rs"]
mod columns;
#[path = "ratios/figures.rs"]
mod figures;
#[path = "ratios/measure.rs"]
mod measure;
#[path = "ratios/project.rs"]
mod project;
#[path = "ratios/rows.rs"]
mod rows;
#[path = "ratios/table.rs"]
mod table;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use measure::{Job, check, words};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much is run.
struct Plan {
    rounds: usize,
    execs: u32,
    /// strace needs several milliseconds for a `posix_spawn`.
    execs_for_strace: u32,
    execs_for_memory: [u32; 2],
    events_for_memory: [u32; 2],
    start_ups: usize,
    hits: usize,
}

impl Plan {
    fn new(quick: bool) -> Result<Self> {
        let mut plan = Self {
            rounds: 5,
            execs: 5_000,
            execs_for_strace: 500,
            execs_for_memory: [5_000, 100_000],
            events_for_memory: [20_000, 1_000_000],
            start_ups: 51,
            hits: 20,
        };
        if quick {
            plan.rounds = 3;
            plan.execs = 1_000;
            plan.execs_for_strace = 200;
            plan.execs_for_memory = [5_000, 20_000];
            plan.events_for_memory = [5_000, 20_000];
        }
        if let Ok(text) = std::env::var("TRACEXEC_BENCH_ROUNDS") {
            plan.rounds = text
                .parse()
                .ok()
                .filter(|&n| n > 0)
                .ok_or_else(|| format!("TRACEXEC_BENCH_ROUNDS={text}: not a number above 0"))?;
        }
        Ok(plan)
    }
}

/// The compiled programs, all in one temporary directory.
struct Programs {
    dir: PathBuf,
    tiny: PathBuf,
    dynamic: PathBuf,
    storm: PathBuf,
    follower: PathBuf,
    stamp: PathBuf,
    stamped_exec: PathBuf,
}

impl Programs {
    fn compile(dir: &Path) -> Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs");
        let compile = |name: &str, flags: &[&str]| -> Result<PathBuf> {
            let output = dir.join(name);
            let mut command = words(&["cc", "-O2", "-o"]);
            command.push(output.clone().into());
            command.extend(words(flags));
            command.push(sources.join(format!("{name}.c")).into());
            check(&Job::new(dir, command))?;
            Ok(output)
        };
        Ok(Self {
            dir: dir.to_owned(),
            tiny: compile("tiny", &["-nostdlib", "-static", "-fno-stack-protector"])?,
            dynamic: compile("dynamic", &[])?,
            storm: compile("storm", &[])?,
            follower: compile("follower", &[])?,
            stamp: compile("stamp", &[])?,
            stamped_exec: compile("stamped_exec", &[])?,
        })
    }

    /// COUNT execs of PROGRAM, one after the other.
    fn storm(&self, how: &str, count: u32, program: &Path) -> Job {
        let mut command = vec![self.storm.clone().into()];
        command.extend(words(&[how, &count.to_string()]));
        command.push(program.into());
        Job::new(&self.dir, command)
    }
}

fn run(quick: bool) -> Result<()> {
    let plan = Plan::new(quick)?;
    let temp = tempfile::Builder::new().prefix("tracexec-bench-").tempdir()?;
    let programs = Programs::compile(temp.path())?;
    let mut builds = vec![project::generate(&temp.path().join("project"), 80, "(c)")?];
    if !quick {
        builds.push(project::generate(&temp.path().join("large"), 280, "(d)")?);
    }

    table::print(&plan, &programs, &builds)?;
    println!();
    figures::print(&plan, &programs)?;
    println!();
    println!("{}", measure::machine());
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` passes --bench; `cargo test --all-targets` runs this binary
    // without it, and must not take minutes.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("ratios: nothing measured; run it with `cargo bench --bench ratios`");
        return ExitCode::SUCCESS;
    }
    match run(args.iter().any(|arg| arg == "--quick")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratios: {error}");
            ExitCode::FAILURE
        }
    }
}
