//! The tables of ratios: workloads down, tools across.

use crate::measure::{Job, check, median, seconds as clock, words};
use crate::project::Build;
use crate::{Plan, Programs, Result};

/// A filter that the kernel cannot decide on every tenth exec of a storm, and that none passes.
const TENTH: &str = "argv[1] endswith 0 and env[TRACEXEC_NEVER]";
/// The same on one of the three execs that a file takes in a build.
const THIRD: &str = "basename=as and env[TRACEXEC_NEVER]";

/// A tool, and the job under it; `None` where it is not to be run.
struct Column {
    name: &'static str,
    job: fn(&Row) -> Option<Job>,
    /// Why it is empty.
    trouble: Option<String>,
    times: Vec<Vec<f64>>,
}

struct Row {
    label: String,
    job: Job,
    /// A smaller one for strace, and what to call it.
    smaller: Option<(Job, String)>,
    before: Option<Job>,
    follower: Job,
    /// The filter of the column that stops some.
    some: &'static str,
    /// Whether it is too long for any but tracexec.
    long: bool,
    /// One for each table.
    targets: [&'static str; 3],
}

impl Row {
    fn strace(&self, options: &[&str]) -> Option<Job> {
        let job = self.smaller.as_ref().map_or(&self.job, |(job, _)| job);
        (!self.long).then(|| strace(job, options))
    }
}

fn strace(job: &Job, options: &[&str]) -> Job {
    let all = [&["strace", "-f", "-qq", "-o", "/dev/null"][..], options, &["-e", "trace=execve"]]
        .concat();
    job.under(words(&all))
}

fn columns(rows: usize) -> Vec<Column> {
    let column = |name, job| Column { name, job, trouble: None, times: vec![Vec::new(); rows] };
    vec![
        column("tracexec, ptrace", |row| Some(row.job.watched("ptrace"))),
        column("bare ptrace follower", |row| (!row.long).then(|| row.follower.clone())),
        column("strace", |row| row.strace(&[])),
        column("strace --seccomp-bpf", |row| row.strace(&["--seccomp-bpf"])),
        column("tracexec, eBPF", |row| Some(row.job.watched("ebpf"))),
        column("eBPF, stops some", |row| {
            Some(row.job.watched_for(row.some, &["--backend", "ebpf"]))
        }),
        column("eBPF, --system", |row| {
            let options = ["--backend", "ebpf", "--system", "--once"];
            Some(row.job.watched_for(crate::measure::NEVER, &options))
        }),
        column("--on crash", |row| Some(row.job.looked_after("crash"))),
        column("--on fail", |row| Some(row.job.looked_after("fail"))),
        column("--on fail=calls", |row| (!row.long).then(|| row.job.looked_after("fail=calls"))),
    ]
}

/// The columns of the first table, and how many of those are strace's.
const FIRST_TABLE: usize = 4;
/// The columns of the first and the second.
const TWO_TABLES: usize = 7;

fn rows(plan: &Plan, programs: &Programs, builds: &[Build]) -> Vec<Row> {
    let few = plan.execs_for_strace;
    let follower = |job: &Job| job.under(vec![programs.follower.clone().into()]);
    let storm = |label: String, job: Job, targets| Row {
        label,
        follower: follower(&job),
        job,
        smaller: None,
        before: None,
        some: TENTH,
        long: false,
        targets,
    };
    let spawns = programs.storm("spawn", plan.execs, &programs.tiny);
    let forks = programs.storm("fork", plan.execs, &programs.dynamic);
    let eighth = programs.storm("spawn", plan.execs / 4, &programs.tiny);
    let mut eight = words(&["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do \"$@\" & done; wait", "sh"]);
    eight.extend(eighth.command.clone());
    let mut rows = vec![
        Row {
            smaller: Some((programs.storm("spawn", few, &programs.tiny), format!("of {few}"))),
            ..storm(
                format!("(a) {} posix_spawns of a static program", plan.execs),
                spawns,
                ["1.35x", "1.05x", "that of tracexec, ptrace"],
            )
        },
        storm(
            format!("(b) {} forks and execs of a dynamic program", plan.execs),
            forks,
            ["", "", ""],
        ),
        Row {
            long: true,
            ..storm(
                format!("8 times {} posix_spawns at once", plan.execs / 4),
                Job::new(&programs.dir, eight),
                ["", "", ""],
            )
        },
    ];
    rows.extend(builds.iter().enumerate().map(|(at, build)| Row {
        label: build.label.clone(),
        follower: follower(&build.make),
        job: build.make.clone(),
        smaller: None,
        before: Some(build.clean.clone()),
        some: THIRD,
        long: at > 0,
        targets: ["1.05x", "1.01x", "that of tracexec, ptrace; of --on fail 1.1x of it"],
    }));
    rows
}

/// The median of the rounds' ratios, and their range: each is of two runs that were neighbours, so a
/// machine that slows down in between does not show.
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

/// Finds the tools that cannot be run here.
fn try_out(columns: &mut [Column], programs: &Programs) {
    let tiny = Job::new(&programs.dir, vec![programs.tiny.clone().into_os_string()]);
    let mut try_one = |name: &str, job: Job, silent: bool| {
        let trouble = match check(&job) {
            Err(error) => Some(error.to_string()),
            // strace only warns when it cannot have seccomp, and goes on without.
            Ok(()) => Some(job.said()).filter(|said| silent && !said.trim().is_empty()),
        };
        for column in columns.iter_mut().filter(|column| column.name.starts_with(name)) {
            if column.trouble.is_none() {
                column.trouble.clone_from(&trouble);
            }
        }
    };
    try_one("strace", strace(&tiny, &[]), true);
    try_one("strace --seccomp-bpf", strace(&tiny, &["--seccomp-bpf"]), true);
    try_one("tracexec, eBPF", tiny.watched("ebpf"), false);
    try_one("eBPF", tiny.watched("ebpf"), false);
}

/// The times of the bare commands, by row: the whole ones, and those that strace is compared with.
struct Bare {
    whole: Vec<Vec<f64>>,
    smaller: Vec<Vec<f64>>,
}

pub fn print(plan: &Plan, programs: &Programs, builds: &[Build]) -> Result<()> {
    let rows = rows(plan, programs, builds);
    let mut columns = columns(rows.len());
    try_out(&mut columns, programs);
    let mut bare =
        Bare { whole: vec![Vec::new(); rows.len()], smaller: vec![Vec::new(); rows.len()] };
    for row in &rows {
        // Files come into the page cache before anything is timed.
        check(&row.smaller.as_ref().map_or(&row.job, |(job, _)| job).clone())?;
    }
    for round in 1..=plan.rounds {
        for (at, row) in rows.iter().enumerate() {
            if row.long && round > 3 {
                continue;
            }
            eprintln!("round {round} of {}: {}", plan.rounds, row.label);
            let seconds = |job: &Job| -> Result<f64> {
                if let Some(before) = &row.before {
                    check(before)?;
                }
                clock(job)
            };
            let whole = seconds(&row.job)?;
            bare.whole[at].push(whole);
            bare.smaller[at].push(row.smaller.as_ref().map_or(Ok(whole), |(job, _)| seconds(job))?);
            for column in columns.iter_mut().filter(|column| column.trouble.is_none()) {
                if let Some(job) = (column.job)(row) {
                    column.times[at].push(seconds(&job)?);
                }
            }
        }
    }
    let tables = [
        (&columns[..FIRST_TABLE], 0),
        (&columns[FIRST_TABLE..TWO_TABLES], 1),
        (&columns[TWO_TABLES..], 2),
    ];
    for (columns, target) in tables {
        print_table(columns, &rows, &bare, target);
        println!();
    }
    explain(plan, &columns);
    Ok(())
}

fn print_table(columns: &[Column], rows: &[Row], bare: &Bare, target: usize) {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    println!("| | bare | {} | target of {} |", names.join(" | "), names[0]);
    println!("|---|---|{}---|", "---|".repeat(names.len()));
    for (at, row) in rows.iter().enumerate() {
        let mut cells = vec![row.label.clone(), format!("{:.3} s", median(bare.whole[at].clone()))];
        for column in columns {
            let smaller = row.smaller.as_ref().filter(|_| column.name.starts_with("strace"));
            cells.push(match smaller {
                _ if column.times[at].is_empty() => "-".to_owned(),
                None => ratio(&column.times[at], &bare.whole[at]),
                Some((_, name)) => {
                    format!("{}, {name}", ratio(&column.times[at], &bare.smaller[at]))
                }
            });
        }
        cells.push(row.targets[target].to_owned());
        println!("| {} |", cells.join(" | "));
    }
}

fn explain(plan: &Plan, columns: &[Column]) {
    println!(
        "Medians of {} interleaved rounds (3 of the long ones): seconds, and ratios to the bare command \
         of the same round (lowest to highest); of the storms without the tools' start and end, which are below. A range that reaches below 1 means a machine too busy to tell.",
        plan.rounds
    );
    println!(
        "tracexec: `debug -m '{}'`, which no exec passes. Stops some: `{TENTH}` in the storms, `{THIRD}` in \
         the builds. Bare ptrace follower: the least that ptrace can do (benches/programs/follower.c). \
         --on: without -m, so that every program is looked after, and nothing comes of it. \
         Both straces: -f -qq -o /dev/null -e trace=execve; row (a), strace: {} spawns, against the bare \
         command with as many.",
        crate::measure::NEVER,
        plan.execs_for_strace
    );
    for column in columns {
        if let Some(trouble) = &column.trouble {
            println!("{} was not run: {}", column.name, trouble.trim());
        }
    }
}
