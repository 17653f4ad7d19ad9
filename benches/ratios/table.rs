//! The table of ratios: workloads down, tools across.

use crate::measure::{Job, NEVER, check, median, time, words};
use crate::project::Build;
use crate::{Plan, Programs, Result};

/// What strace can do here.
struct Strace {
    name: &'static str,
    options: &'static [&'static str],
    /// Why its column is empty.
    trouble: Option<String>,
}

impl Strace {
    fn new(name: &'static str, options: &'static [&'static str], programs: &Programs) -> Self {
        let mut strace = Self { name, options, trouble: None };
        let probe =
            strace.job(&Job::new(&programs.dir, vec![programs.tiny.clone().into_os_string()]));
        strace.trouble = match check(&probe) {
            Err(error) => Some(error.to_string()),
            // It only warns when it cannot have seccomp, and goes on without.
            Ok(()) => Some(probe.said()).filter(|said| !said.trim().is_empty()),
        };
        strace
    }

    fn job(&self, job: &Job) -> Job {
        let mut wrapper = words(&["strace", "-f", "-qq", "-o", "/dev/null"]);
        wrapper.extend(words(self.options));
        wrapper.extend(words(&["-e", "trace=execve"]));
        job.under(wrapper)
    }
}

struct Row {
    label: String,
    job: Job,
    /// The same under the least that a follower can be.
    followed: Job,
    /// A smaller one for strace, and what to call it.
    smaller: Option<(Job, String)>,
    before: Option<Job>,
    target: &'static str,
}

/// The times of one row, in seconds, one entry a round.
#[derive(Default)]
struct Times {
    bare: Vec<f64>,
    tracexec: Vec<f64>,
    follower: Vec<f64>,
    /// What strace is compared with: `bare`, or the smaller one.
    bare_for_strace: Vec<f64>,
    straces: [Vec<f64>; 2],
}

impl Row {
    fn round(&self, straces: &[Strace; 2], times: &mut Times) -> Result<()> {
        let seconds = |job: &Job| -> Result<f64> {
            if let Some(before) = &self.before {
                check(before)?;
            }
            Ok(time(job)?.as_secs_f64())
        };
        let bare = seconds(&self.job)?;
        times.bare.push(bare);
        times.tracexec.push(seconds(&self.job.watched())?);
        times.follower.push(seconds(&self.followed)?);

        if straces.iter().all(|strace| strace.trouble.is_some()) {
            return Ok(());
        }
        let smaller = if let Some((job, _)) = &self.smaller {
            times.bare_for_strace.push(seconds(job)?);
            job
        } else {
            times.bare_for_strace.push(bare);
            &self.job
        };
        for (strace, times) in straces.iter().zip(&mut times.straces) {
            if strace.trouble.is_none() {
                times.push(seconds(&strace.job(smaller))?);
            }
        }
        Ok(())
    }

    fn print(&self, straces: &[Strace; 2], times: &Times) {
        let mut cells = vec![
            self.label.clone(),
            format!("{:.3} s", median(times.bare.clone())),
            ratio(&times.tracexec, &times.bare),
            ratio(&times.follower, &times.bare),
        ];
        for (strace, with) in straces.iter().zip(&times.straces) {
            cells.push(match (&strace.trouble, &self.smaller) {
                (Some(_), _) => "not run".to_owned(),
                (None, None) => ratio(with, &times.bare_for_strace),
                (None, Some((_, name))) => {
                    format!("{}, {name}", ratio(with, &times.bare_for_strace))
                }
            });
        }
        cells.push(self.target.to_owned());
        println!("| {} |", cells.join(" | "));
    }
}

/// The median of the rounds' ratios, and their range: each is of two runs that
/// were neighbours, so a machine that slows down in between does not show.
fn ratio(with: &[f64], bare: &[f64]) -> String {
    let mut ratios: Vec<f64> = with.iter().zip(bare).map(|(w, b)| w / b).collect();
    ratios.sort_by(f64::total_cmp);
    match (ratios.first(), ratios.last()) {
        (Some(low), Some(high)) => {
            let (low, high) = (*low, *high);
            format!("{:.2}x ({low:.2} to {high:.2})", median(ratios))
        }
        _ => "not run".to_owned(),
    }
}

fn rows(plan: &Plan, programs: &Programs, build: &Build) -> Vec<Row> {
    let few = plan.execs_for_strace;
    let spawns = programs.storm("spawn", plan.execs, &programs.tiny);
    let forks = programs.storm("fork", plan.execs, &programs.dynamic);
    let followed = |job: &Job| job.under(vec![programs.follower.clone().into()]);
    vec![
        Row {
            label: format!("(a) {} posix_spawns of a static program", plan.execs),
            followed: followed(&spawns),
            job: spawns,
            smaller: Some((programs.storm("spawn", few, &programs.tiny), format!("of {few}"))),
            before: None,
            target: "1.35x",
        },
        Row {
            label: format!("(b) {} forks and execs of a dynamic program", plan.execs),
            followed: followed(&forks),
            job: forks,
            smaller: None,
            before: None,
            target: "",
        },
        Row {
            label: build.label.clone(),
            followed: followed(&build.make),
            job: build.make.clone(),
            smaller: None,
            before: Some(build.clean.clone()),
            target: "1.05x",
        },
    ]
}

pub fn print(plan: &Plan, programs: &Programs, build: &Build) -> Result<()> {
    let straces = [
        Strace::new("strace", &[], programs),
        Strace::new("strace --seccomp-bpf", &["--seccomp-bpf"], programs),
    ];
    let rows = rows(plan, programs, build);
    let mut times: Vec<Times> = rows.iter().map(|_| Times::default()).collect();
    // Files come into the page cache before anything is timed.
    for row in &rows {
        check(&row.smaller.as_ref().map_or(&row.job, |(job, _)| job).clone())?;
    }
    for round in 1..=plan.rounds {
        for (row, times) in rows.iter().zip(&mut times) {
            eprintln!("round {round} of {}: {}", plan.rounds, row.label);
            row.round(&straces, times)?;
        }
    }

    let [first, second] = &straces;
    println!(
        "| workload | bare | tracexec debug -m '{NEVER}' | bare follower | {} | {} | target of tracexec |",
        first.name, second.name
    );
    println!("|---|---|---|---|---|---|---|");
    for (row, times) in rows.iter().zip(&times) {
        row.print(&straces, times);
    }
    println!();
    println!(
        "Medians of {} interleaved rounds: seconds, and ratios to the bare command of the same \
         round (lowest to highest). A range that reaches below 1 means a machine too busy to tell.",
        plan.rounds
    );
    println!(
        "Bare follower: the least that ptrace can do (benches/programs/follower.c), no filter."
    );
    println!(
        "Both straces: strace -f -qq -o /dev/null -e trace=execve. Row (a), strace: {} spawns, \
         against the bare command with as many.",
        plan.execs_for_strace
    );
    for strace in &straces {
        if let Some(trouble) = &strace.trouble {
            println!("{} was not run: {}", strace.name, trouble.trim());
        }
    }
    Ok(())
}
