//! The figures that are not ratios: memory, start-up, from a hit to the
//! debugger.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use crate::measure::{Job, median, peak_memory, time, watch, words};
use crate::{Plan, Programs, Result};

pub fn print(plan: &Plan, programs: &Programs) -> Result<()> {
    for execs in plan.execs_for_memory {
        println!(
            "Peak memory of tracexec over {execs} execs: {:.1} MB (target: below 8 MB)",
            memory(programs, execs)?
        );
    }
    println!(
        "Start-up: {:.2} ms more than the bare command, median of {} (target: at most 5 ms)",
        start_up(programs, plan.start_ups)?,
        plan.start_ups
    );
    println!(
        "From the exec of a hit to the start of its debugger: {:.2} ms, median of {}",
        hit(programs, plan.hits)?,
        plan.hits
    );
    Ok(())
}

/// In megabytes. The peak is read until the end, and lasts: at most the last
/// two milliseconds go unseen.
fn memory(programs: &Programs, execs: u32) -> Result<f64> {
    eprintln!("memory over {execs} execs");
    let job = programs.storm("spawn", execs, &programs.tiny).watched();
    let mut peak = None;
    watch(&job, Duration::from_secs(600), |pid| {
        // A zombie has none left; the last one read stands.
        peak = peak_memory(pid).or(peak);
    })?;
    let kilobytes = peak.ok_or_else(|| format!("{job}: ended before its memory was read"))?;
    Ok(f64::from(u32::try_from(kilobytes)?) / 1024.0)
}

/// In milliseconds: the median difference between neighbours.
fn start_up(programs: &Programs, runs: usize) -> Result<f64> {
    eprintln!("start-up");
    let bare = Job::new(&programs.dir, vec![programs.tiny.clone().into()]);
    let with = bare.watched();
    let mut differences = Vec::new();
    for _ in 0..runs {
        let bare = time(&bare)?.as_secs_f64();
        differences.push((time(&with)?.as_secs_f64() - bare) * 1e3);
    }
    Ok(median(differences))
}

/// In milliseconds. The program before the exec and the stand-in for a debugger
/// each append a line with the monotonic clock to one file.
fn hit(programs: &Programs, runs: usize) -> Result<f64> {
    eprintln!("from a hit to its debugger");
    let log = programs.dir.join("stamps.txt");
    // In single quotes: the temporary directory is the user's choice.
    let debugger = format!("'{}' '{}' {{{{pid}}}}", programs.stamp.display(), log.display());
    let command: [OsString; 3] =
        [programs.stamped_exec.clone().into(), log.clone().into(), programs.tiny.clone().into()];
    let job = Job::new(&programs.dir, command.into())
        .under_tracexec("basename=tiny", words(&["--debugger", &debugger, "--in", "background"]));

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
