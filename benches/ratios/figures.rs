//! The figures that are not ratios: memory, start-up, from a hit to the
//! debugger.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use crate::measure::{Job, median, peak_memory, time, watch};
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
    let [ptrace, ebpf] = both(|backend| start_up(programs, backend, plan.start_ups))?;
    println!(
        "| start and end, ms more than the bare command, median of {} | {ptrace:.2} | 5 | {ebpf:.2} | 40 |",
        plan.start_ups
    );
    let [ptrace, ebpf] = both(|backend| hit(programs, backend, plan.hits))?;
    println!(
        "| from the exec of a hit to the start of its debugger, ms, median of {} | {ptrace:.2} | | {ebpf:.2} | |",
        plan.hits
    );
    Ok(())
}

/// What is measured of both sources.
fn both(measure: impl Fn(&str) -> Result<f64>) -> Result<[f64; 2]> {
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

/// In milliseconds: the median difference between neighbours.
fn start_up(programs: &Programs, backend: &str, runs: usize) -> Result<f64> {
    eprintln!("start-up");
    let bare = Job::new(&programs.dir, vec![programs.tiny.clone().into()]);
    let with = bare.watched(backend);
    let mut differences = Vec::new();
    for _ in 0..runs {
        let bare = time(&bare)?.as_secs_f64();
        differences.push((time(&with)?.as_secs_f64() - bare) * 1e3);
    }
    Ok(median(differences))
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
        let stamp = |who: &str| -> Result<i64> {
            let line = text.lines().find_map(|line| line.strip_prefix(who));
            let line = line.ok_or_else(|| format!("{job}: no time of the {who}in {text:?}"))?;
            Ok(line.parse()?)
        };
        let nanoseconds = stamp("debugger ")? - stamp("exec ")?;
        times.push(Duration::from_nanos(u64::try_from(nanoseconds)?).as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
