//! The figures that are not ratios: memory, start-up, from a hit to the
//! debugger.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use crate::measure::{Job, check, median, peak_memory, watch};
use crate::{Plan, Programs, Result};

pub fn print(plan: &Plan, programs: &Programs) -> Result<()> {
    println!("| | ptrace | target | eBPF | target |");
    println!("|---|---|---|---|---|");
    for execs in plan.execs_for_memory {
        let [ptrace, ebpf] = both(|backend| {
            memory(&programs.storm("spawn", execs, &programs.tiny).watched(backend))
        })?;
        println!("| peak memory over {execs} execs, MB | {ptrace:.1} | 8 | {ebpf:.1} | 30 |");
    }
    for events in plan.events_for_memory {
        let [ptrace, ebpf] = both(|backend| collected_memory(programs, backend, events))?;
        println!(
            "| peak memory of collect -F json-stream over {events} events, MB | {ptrace:.1} | flat | {ebpf:.1} | flat |"
        );
    }
    let runs = plan.start_ups;
    let [(start, end), (start_ebpf, end_ebpf)] =
        both(|backend| start_and_end(programs, backend, runs))?;
    println!(
        "| to the start of COMMAND, ms more than bare, median of {runs} | {start:.2} | 5 with the next | {start_ebpf:.2} | 40 |"
    );
    println!(
        "| from its end to ours, ms more than bare, median of {runs} | {end:.2} | | {end_ebpf:.2} | 0 |"
    );
    let [ptrace, ebpf] = both(|backend| hit(programs, backend, plan.hits))?;
    println!(
        "| from the exec of a hit to the start of its debugger, ms, median of {} | {ptrace:.2} | | {ebpf:.2} | |",
        plan.hits
    );
    Ok(())
}

/// What is measured of both sources.
fn both<T>(measure: impl Fn(&str) -> Result<T>) -> Result<[T; 2]> {
    Ok([measure("ptrace")?, measure("ebpf")?])
}

/// In megabytes, where each program is an event when its process begins, one when it is executed, and one when
/// it ends.
fn collected_memory(programs: &Programs, backend: &str, events: u32) -> Result<f64> {
    let storm = programs.storm("spawn", events.div_ceil(3), &programs.tiny);
    let failing_too: &[&str] = if backend == "ptrace" { &["--seccomp-bpf", "on"] } else { &[] };
    let options = [&["--backend", backend], failing_too].concat();
    memory(&storm.collected(&options, "/dev/null"))
}

/// In megabytes. The peak is read until the end, and lasts: at most the last
/// two milliseconds go unseen.
fn memory(job: &Job) -> Result<f64> {
    eprintln!("memory of {job}");
    let mut peak = None;
    watch(job, Duration::from_secs(900), |pid| {
        // A zombie has none left; the last one read stands.
        peak = peak_memory(pid).or(peak);
    })?;
    let kilobytes = peak.ok_or_else(|| format!("{job}: ended before its memory was read"))?;
    Ok(f64::from(u32::try_from(kilobytes)?) / 1024.0)
}

/// In milliseconds, the median differences between neighbours: until COMMAND runs, and from then on (COMMAND
/// does next to nothing) until all is over.
fn start_and_end(programs: &Programs, backend: &str, runs: usize) -> Result<(f64, f64)> {
    eprintln!("start and end");
    let log = programs.dir.join("stamps.txt");
    let command: [OsString; 3] =
        [programs.stamped_exec.clone().into(), log.clone().into(), programs.tiny.clone().into()];
    let bare = Job::new(&programs.dir, command.into());
    let with = bare.watched(backend);
    let parts = |job: &Job| -> Result<(f64, f64)> {
        fs::write(&log, "")?;
        let before = monotonic()?;
        check(job)?;
        let after = monotonic()?;
        let begun = stamp(&fs::read_to_string(&log)?, "exec ", job)?;
        let milliseconds =
            |from: i64, to: i64| Duration::from_nanos(to.abs_diff(from)).as_secs_f64() * 1e3;
        Ok((milliseconds(before, begun), milliseconds(begun, after)))
    };
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (bare, with) = (parts(&bare)?, parts(&with)?);
        starts.push(with.0 - bare.0);
        ends.push(with.1 - bare.1);
    }
    Ok((median(starts), median(ends)))
}

/// The clock of the stamps, in nanoseconds.
fn monotonic() -> Result<i64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

/// When WHO has left its line in a log of stamps.
fn stamp(log: &str, who: &str, job: &Job) -> Result<i64> {
    let line = log.lines().find_map(|line| line.strip_prefix(who));
    let line = line.ok_or_else(|| format!("{job}: no time of the {who}in {log:?}"))?;
    Ok(line.parse()?)
}

/// In milliseconds. The program before the exec and the stand-in for a debugger
/// each append a line with the monotonic clock to one file.
fn hit(programs: &Programs, backend: &str, runs: usize) -> Result<f64> {
    eprintln!("from a hit to its debugger");
    let log = programs.dir.join("stamps.txt");
    // In single quotes: the temporary directory is the user's choice.
    let debugger = format!("'{}' '{}' {{{{pid}}}}", programs.stamp.display(), log.display());
    let command: [OsString; 3] =
        [programs.stamped_exec.clone().into(), log.clone().into(), programs.tiny.clone().into()];
    let job = Job::new(&programs.dir, command.into())
        .watched_for("basename=tiny", &["--backend", backend, "--debugger", &debugger]);

    let mut times = Vec::new();
    for _ in 0..runs {
        fs::write(&log, "")?;
        watch(&job, Duration::from_secs(30), |_| {})?;
        let text = fs::read_to_string(&log)?;
        let nanoseconds = stamp(&text, "debugger ", &job)? - stamp(&text, "exec ", &job)?;
        times.push(Duration::from_nanos(u64::try_from(nanoseconds)?).as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
