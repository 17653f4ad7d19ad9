//! The tables of ratios: workloads down, tools across.

use crate::columns::{Column, columns, try_out};
use crate::measure::{Job, check, median, seconds as clock};
use crate::project::Build;
use crate::rows::{Row, TABLES, TENTH, THIRD, rows};
use crate::{Plan, Programs, Result};

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
                    // Who leaves out events has less to do.
                    let said = job.said();
                    let lost = said.lines().find(|line| line.contains("were lost"));
                    column.remark = column.remark.take().or(lost.map(str::to_owned));
                }
            }
        }
    }
    for table in 0..TABLES {
        let columns = columns.iter().filter(|column| column.tables.contains(&table));
        print_table(&columns.collect::<Vec<_>>(), &rows, &bare, table);
        println!();
    }
    explain(plan, &columns);
    Ok(())
}

fn print_table(columns: &[&Column], rows: &[Row], bare: &Bare, table: usize) {
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
        cells.push(row.targets[table].to_owned());
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
        "tracexec: `debug -m '{}'`, which no exec passes. log, collect: failing execs, too, over ptrace with \
         --seccomp-bpf on, as an ordinary user has it; FILE is in the temporary directory, collect is -F json-stream. Stops some: `{TENTH}` in the storms, `{THIRD}` in \
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
        if let Some(remark) = &column.remark {
            println!("{}: {}", column.name, remark.trim());
        }
    }
}
