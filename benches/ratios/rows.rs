//! The workloads, down the tables.

use crate::measure::{Job, words};
use crate::project::Build;
use crate::{Plan, Programs};

/// A filter that the kernel cannot decide on every tenth exec of a storm, and that none passes.
pub const TENTH: &str = "argv[1] endswith 0 and env[TRACEXEC_NEVER]";
/// The same on one of the three execs that a file takes in a build.
pub const THIRD: &str = "basename=as and env[TRACEXEC_NEVER]";

/// For how many tables there are targets.
pub const TABLES: usize = 5;

pub struct Row {
    pub label: String,
    pub job: Job,
    /// A smaller one for strace, and what to call it.
    pub smaller: Option<(Job, String)>,
    pub before: Option<Job>,
    pub follower: Job,
    /// The filter of the column that stops some.
    pub some: &'static str,
    /// Whether it is too long for any but tracexec.
    pub long: bool,
    /// One for each table.
    pub targets: [&'static str; TABLES],
}

pub fn rows(plan: &Plan, programs: &Programs, builds: &[Build]) -> Vec<Row> {
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
                ["1.35x", "1.05x", "that of tracexec, ptrace", "1.6x", "1.2x"],
            )
        },
        storm(
            format!("(b) {} forks and execs of a dynamic program", plan.execs),
            forks,
            [""; TABLES],
        ),
        Row {
            long: true,
            ..storm(
                format!("8 times {} posix_spawns at once", plan.execs / 4),
                Job::new(&programs.dir, eight),
                [""; TABLES],
            )
        },
    ];
    let on = "that of tracexec, ptrace; of --on fail 1.1x of it";
    rows.extend(builds.iter().enumerate().map(|(at, build)| Row {
        label: build.label.clone(),
        follower: follower(&build.make),
        job: build.make.clone(),
        smaller: None,
        before: Some(build.clean.clone()),
        some: THIRD,
        long: at > 0,
        targets: ["1.05x", "1.01x", on, "1.08x", "1.02x"],
    }));
    rows
}
