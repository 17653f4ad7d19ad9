//! The tools, across the tables.

use crate::Programs;
use crate::measure::{Job, check, words};
use crate::rows::Row;

/// A tool, and the job under it; `None` where it is not to be run.
pub struct Column {
    pub name: &'static str,
    pub job: fn(&Row) -> Option<Job>,
    /// The tables in which it stands.
    pub tables: &'static [usize],
    /// Why it is empty.
    pub trouble: Option<String>,
    /// What it has said of its own, if that makes its times worth less.
    pub remark: Option<String>,
    pub times: Vec<Vec<f64>>,
}

const PTRACE: [&str; 4] = ["--backend", "ptrace", "--seccomp-bpf", "on"];
const EBPF: [&str; 2] = ["--backend", "ebpf"];
const NOWHERE: &str = "/dev/null";

pub fn columns(rows: usize) -> Vec<Column> {
    let column = |name, job, tables| Column {
        name,
        job,
        tables,
        trouble: None,
        remark: None,
        times: vec![Vec::new(); rows],
    };
    vec![
        column("tracexec, ptrace", |row| Some(row.job.watched("ptrace")), &[0]),
        column("bare ptrace follower", |row| (!row.long).then(|| row.follower.clone()), &[0]),
        column("log -o /dev/null, ptrace", |row| Some(log(row, &PTRACE, NOWHERE)), &[3]),
        column("log -o FILE, ptrace", |row| Some(log(row, &PTRACE, "log.txt")), &[3]),
        column("collect, ptrace", |row| Some(row.job.collected(&PTRACE, "out.jsonl")), &[3]),
        column("strace", |row| under_strace(row, &[]), &[0, 3]),
        column("strace --seccomp-bpf", |row| under_strace(row, &["--seccomp-bpf"]), &[0, 3]),
        column("tracexec, eBPF", |row| Some(row.job.watched("ebpf")), &[1]),
        column("eBPF, stops some", |row| Some(row.job.watched_for(row.some, &EBPF)), &[1]),
        column(
            "eBPF, --system",
            |row| {
                let options = [&EBPF[..], &["--system", "--once"]].concat();
                Some(row.job.watched_for(crate::measure::NEVER, &options))
            },
            &[1],
        ),
        column("log -o /dev/null, eBPF", |row| Some(log(row, &EBPF, NOWHERE)), &[4]),
        column("log -o FILE, eBPF", |row| Some(log(row, &EBPF, "log.txt")), &[4]),
        column("collect, eBPF", |row| Some(row.job.collected(&EBPF, "out.jsonl")), &[4]),
        column("--on crash", |row| Some(row.job.looked_after("crash")), &[2]),
        column("--on fail", |row| Some(row.job.looked_after("fail")), &[2]),
        column(
            "--on fail=calls",
            |row| (!row.long).then(|| row.job.looked_after("fail=calls")),
            &[2],
        ),
    ]
}

/// A line for each exec, failing ones too.
fn log(row: &Row, options: &[&str], output: &str) -> Job {
    row.job.under_tracer("log", &[options, &["-o", output]].concat())
}

fn under_strace(row: &Row, options: &[&str]) -> Option<Job> {
    let job = row.smaller.as_ref().map_or(&row.job, |(job, _)| job);
    (!row.long).then(|| strace(job, options))
}

fn strace(job: &Job, options: &[&str]) -> Job {
    let all = [&["strace", "-f", "-qq", "-o", NOWHERE][..], options, &["-e", "trace=execve"]];
    job.under(words(&all.concat()))
}

/// Finds the tools that cannot be run here.
pub fn try_out(columns: &mut [Column], programs: &Programs) {
    let tiny = Job::new(&programs.dir, vec![programs.tiny.clone().into_os_string()]);
    let mut try_one = |name: &str, job: Job, silent: bool| {
        let trouble = match check(&job) {
            Err(error) => Some(error.to_string()),
            // strace only warns when it cannot have seccomp, and goes on without.
            Ok(()) => Some(job.said()).filter(|said| silent && !said.trim().is_empty()),
        };
        for column in columns.iter_mut().filter(|column| column.name.contains(name)) {
            if column.trouble.is_none() {
                column.trouble.clone_from(&trouble);
            }
        }
    };
    try_one("strace", strace(&tiny, &[]), true);
    try_one("strace --seccomp-bpf", strace(&tiny, &["--seccomp-bpf"]), true);
    try_one("eBPF", tiny.watched("ebpf"), false);
}
