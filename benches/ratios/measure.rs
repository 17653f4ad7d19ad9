//! Commands, their time and their memory; medians.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// A filter on argv, so that every exec's argv must be read, and that no exec
/// here passes.
pub const NEVER: &str = "argv~^no-such-program$";

/// A command and where to run it.
#[derive(Clone)]
pub struct Job {
    pub dir: PathBuf,
    pub command: Vec<OsString>,
}

impl Job {
    pub fn new(dir: &Path, command: Vec<OsString>) -> Self {
        Self { dir: dir.to_owned(), command }
    }

    /// The same, run by another program.
    pub fn under(&self, mut words: Vec<OsString>) -> Self {
        words.extend(self.command.iter().cloned());
        Self::new(&self.dir, words)
    }

    /// Under tracexec with a filter that nothing passes.
    pub fn watched(&self, backend: &str) -> Self {
        self.watched_for(NEVER, &["--backend", backend])
    }

    /// Under tracexec with this filter and these options.
    pub fn watched_for(&self, filter: &str, options: &[&str]) -> Self {
        // There is no terminal here, and a place must be named.
        self.under_tracexec(filter, words(&[options, &["--in", "background"]].concat()))
    }

    pub fn under_tracexec(&self, filter: &str, options: Vec<OsString>) -> Self {
        let mut wrapper = words(&[env!("CARGO_BIN_EXE_tracexec"), "debug", "-m", filter]);
        wrapper.extend(options);
        wrapper.push("--".into());
        self.under(wrapper)
    }

    /// Under tracexec, which looks for these moments of every program.
    pub fn looked_after(&self, moments: &str) -> Self {
        let tracexec = env!("CARGO_BIN_EXE_tracexec");
        let debugger = ["--debugger", "gdb-backtrace", "--in", "background", "--"];
        let options = [tracexec, "debug", "--backend", "ptrace", "--on", moments];
        self.under(words(&[&options[..], &debugger].concat()))
    }

    /// Under `log` or `collect` with these options.
    pub fn under_tracer(&self, subcommand: &str, options: &[&str]) -> Self {
        let tracexec = env!("CARGO_BIN_EXE_tracexec");
        self.under(words(&[&[tracexec, subcommand], options, &["--"]].concat()))
    }

    /// With everything that is known of it written to this file.
    pub fn collected(&self, options: &[&str], output: &str) -> Self {
        self.under_tracer("collect", &[&["-F", "json-stream", "-o", output], options].concat())
    }

    fn stderr(&self) -> PathBuf {
        self.dir.join("stderr.txt")
    }

    pub fn spawn(&self) -> Result<Child> {
        let (program, args) = self.command.split_first().ok_or("an empty command")?;
        Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            // A make around us would pass its -j and its job server to ours.
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .env_remove("MAKELEVEL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.stderr())?)
            .spawn()
            .map_err(|error| format!("{self}: {error}").into())
    }

    /// An error that names the command and repeats what it said, if it failed.
    pub fn succeeded(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let said = self.said();
        Err(format!("{self}: {status}\n{said}").trim_end().into())
    }

    /// What the last run wrote to its standard error.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(self.stderr()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.command.iter().map(|w| w.to_string_lossy()).collect();
        write!(f, "`{}`", words.join(" "))
    }
}

pub fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Runs it; an error if it fails.
pub fn check(job: &Job) -> Result<()> {
    let status = job.spawn()?.wait()?;
    job.succeeded(status)
}

/// Runs it, from before its start until its end has been waited for.
pub fn time(job: &Job) -> Result<Duration> {
    let start = Instant::now();
    let status = job.spawn()?.wait()?;
    let took = start.elapsed();
    job.succeeded(status)?;
    Ok(took)
}

/// Runs it; in seconds, what the storms in it have taken by their own clocks, the longest of several,
/// or all of it where there is none. So the start and end of a tool are apart.
pub fn seconds(job: &Job) -> Result<f64> {
    let all = time(job)?.as_secs_f64();
    let said = job.said();
    let storms = said
        .lines()
        .filter_map(|line| line.strip_prefix("storm: ")?.strip_suffix(" s")?.parse::<f64>().ok());
    Ok(storms.reduce(f64::max).unwrap_or(all))
}

/// Runs it with a look at it now and then, and gives up on it at LIMIT: for
/// what is not timed from here, and might hang.
pub fn watch(job: &Job, limit: Duration, mut look: impl FnMut(u32)) -> Result<()> {
    let mut child = job.spawn()?;
    let start = Instant::now();
    loop {
        look(child.id());
        if let Some(status) = child.try_wait()? {
            return job.succeeded(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            let said = job.said();
            return Err(format!("{job}: not done after {limit:?}\n{said}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The peak of the resident memory of a running process, in kB. Not the
/// `ru_maxrss` of a wait: that one begins with the parent's, before the exec.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The machine, without which a number says nothing.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unnamed processor", |l| l.trim_matches([' ', '\t', ':']));
    format!(
        "{cpus} processors ({model}), Linux {}, load {} at the end.",
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}
