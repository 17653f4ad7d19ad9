//! What is so on this machine: all that the doctor reads and tries.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::launcher::catalog::{self, Catalog, Entry};
use crate::launcher::place::Place as Chosen;
use crate::launcher::template::Debugger as Template;
use crate::launcher::terminal::Terminal;
use crate::linux::sys::perf;
use crate::machine::diagnose::{self, Diagnosis, TRACEFS};
use crate::machine::procfs::{self, Status};
use crate::source::ptrace::{self, Untraceable};
use crate::text::report::Trouble;

/// The system.
#[derive(Debug)]
pub struct Facts {
    /// The kernel's release, as uname(2) has it.
    pub release: String,
    pub ptrace: Result<(), Untraceable>,
    pub ptrace_scope: Option<u8>,
    pub own: Status,
    /// The name of the process that traces us.
    pub tracer: Option<Vec<u8>>,
    pub ebpf: Ebpf,
    /// Whether our capabilities are those of a user namespace below the first.
    pub user_namespace: bool,
    pub btf: bool,
    pub tracefs: Tracefs,
    /// What stands in /sys/kernel/security/lockdown.
    pub lockdown: Option<String>,
    pub perf_event_paranoid: Option<i32>,
    /// By which error a breakpoint of our own was refused, if it was.
    pub breakpoint: Option<i32>,
    /// What becomes of a core that the kernel writes.
    pub core_pattern: Option<String>,
    /// Whether our pid namespace is the first.
    pub first_pid_namespace: bool,
    /// What about our namespaces is in the way.
    pub namespaces: Option<Diagnosis>,
}

/// How the eBPF programs fare.
#[derive(Debug)]
#[allow(
    dead_code,
    reason = "with the feature `ebpf`, NotBuilt is for the tests; without it, the others are"
)]
pub enum Ebpf {
    NotBuilt,
    Loads,
    /// Something that it needs is not there, and what to do.
    Lacks(String, &'static str),
    Refused(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracefs {
    /// Whether the kernel has a folder to mount it on.
    pub folder: bool,
    pub mounted: Option<&'static str>,
    /// Whether the tracepoint of exec can be read.
    pub readable: bool,
}

/// A line that the kernel shows in a file.
fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

impl Facts {
    /// For a process of one thread.
    pub fn gather() -> Facts {
        let own = Status::own().unwrap_or_default();
        Facts {
            // First, since it forks.
            ptrace: ptrace::probe(),
            release: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            ptrace_scope: diagnose::ptrace_scope(),
            own,
            tracer: (own.tracer != 0).then(|| procfs::comm(own.tracer).unwrap_or_default()),
            ebpf: Ebpf::probe(),
            user_namespace: line("/proc/self/uid_map").is_some_and(|map| !maps_everything(&map)),
            btf: Path::new(diagnose::BTF).exists(),
            tracefs: Tracefs::find(),
            lockdown: line("/sys/kernel/security/lockdown"),
            perf_event_paranoid: line("/proc/sys/kernel/perf_event_paranoid")
                .and_then(|value| value.parse().ok()),
            breakpoint: perf::probe().err().and_then(|error| error.raw_os_error()),
            core_pattern: line("/proc/sys/kernel/core_pattern"),
            first_pid_namespace: fs::metadata("/proc/self/ns/pid")
                .is_ok_and(|namespace| namespace.ino() == procfs::FIRST_PID_NAMESPACE),
            namespaces: diagnose::namespaces(),
        }
    }
}

/// Whether a uid_map is that of the first user namespace.
fn maps_everything(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

impl Ebpf {
    #[cfg(feature = "ebpf")]
    fn probe() -> Ebpf {
        use crate::source::ebpf::{Unusable, probe};
        match probe() {
            Ok(()) => Ebpf::Loads,
            Err(Unusable::Lacks(what, hint)) => Ebpf::Lacks(what, hint),
            Err(Unusable::Refused(why)) => Ebpf::Refused(why),
        }
    }

    #[cfg(not(feature = "ebpf"))]
    fn probe() -> Ebpf {
        Ebpf::NotBuilt
    }
}

impl Tracefs {
    fn find() -> Tracefs {
        let mounts = line("/proc/self/mountinfo").unwrap_or_default();
        Tracefs {
            folder: Path::new(TRACEFS[0]).is_dir(),
            mounted: TRACEFS.into_iter().find(|path| is_tracefs(&mounts, path)),
            readable: diagnose::finds_tracepoints(),
        }
    }
}

/// Whether a tracefs is mounted at `path`, see proc_pid_mountinfo(5).
fn is_tracefs(mountinfo: &str, path: &str) -> bool {
    mountinfo.lines().any(|mount| {
        let Some((mount, file_system)) = mount.split_once(" - ") else { return false };
        mount.split(' ').nth(4) == Some(path) && file_system.starts_with("tracefs ")
    })
}

/// The debuggers and places.
#[derive(Debug)]
pub struct Tools {
    /// Why the user's own templates could not be read. The rest then tells of the built-in ones.
    pub broken: Option<Trouble>,
    /// What is wrong with the configuration file or a variable `TRACEXEC_...`.
    pub settings: Option<Trouble>,
    pub debuggers: Vec<Debugger>,
    pub places: Vec<Place>,
    /// Which place `--in auto` takes for an interactive debugger.
    pub auto: Result<String, Trouble>,
}

#[derive(Debug, Clone)]
pub struct Debugger {
    pub name: String,
    pub description: String,
    /// Where the template is from.
    pub origin: String,
    pub interactive: bool,
    pub program: Option<PathBuf>,
    pub missing: Vec<String>,
}

#[derive(Debug)]
pub struct Place {
    pub name: String,
    /// The programs that it needs and that are there.
    pub programs: Vec<PathBuf>,
    pub shares_terminal: bool,
    /// Whether it needs no terminal at all.
    pub background: bool,
    /// Why it cannot be chosen.
    pub usable: Result<(), Trouble>,
    /// The server that it speaks to, and whether it can be reached.
    pub server: Option<(PathBuf, io::Result<()>)>,
    /// Whose it is, if it is another user's.
    pub foreign: Option<u32>,
}

impl Tools {
    pub fn gather(settings: Option<Trouble>) -> Tools {
        let (catalog, broken) = match Catalog::load() {
            Ok(catalog) => (Ok(catalog), None),
            Err(trouble) => (Catalog::with(None), Some(trouble)),
        };
        let catalog = match catalog {
            Ok(catalog) => catalog,
            Err(trouble) => {
                let auto = Err(Trouble::new(trouble.what.clone()));
                let (debuggers, places) = (Vec::new(), Vec::new());
                return Tools { broken: Some(trouble), settings, debuggers, places, auto };
            }
        };
        Tools {
            broken,
            settings,
            debuggers: catalog.debuggers.iter().map(Debugger::look).collect(),
            places: catalog.terminals.iter().map(|entry| Place::look(entry, &catalog)).collect(),
            auto: Chosen::choose("auto", true, &catalog).map(|place| place.terminal.name),
        }
    }
}

impl Debugger {
    fn look(Entry { template, origin, .. }: &Entry<Template>) -> Debugger {
        let found = catalog::Programs::of(template);
        Debugger {
            name: template.name.clone(),
            description: template.description.clone(),
            origin: origin.clone(),
            interactive: template.interactive,
            program: found.program.or(found.first),
            missing: found.missing,
        }
    }
}

impl Place {
    fn look(Entry { template, .. }: &Entry<Terminal>, catalog: &Catalog) -> Place {
        let chosen = Chosen::choose(&template.name, true, catalog);
        let server = chosen.as_ref().ok().and_then(Chosen::server);
        Place {
            name: template.name.clone(),
            programs: template.needs.iter().filter_map(|name| which::which(name).ok()).collect(),
            shares_terminal: template.shares_terminal,
            background: template.attached,
            server,
            foreign: chosen.as_ref().ok().and_then(|place| place.foreign),
            usable: chosen.map(drop),
        }
    }
}

#[cfg(test)]
impl Facts {
    /// A machine on which all works, for root.
    pub fn of_a_good_machine() -> Facts {
        Facts {
            release: "6.12.9-amd64".into(),
            ptrace: Ok(()),
            ptrace_scope: Some(0),
            own: Status { effective_capabilities: u64::MAX, ..Status::default() },
            tracer: None,
            ebpf: Ebpf::Loads,
            user_namespace: false,
            btf: true,
            tracefs: Tracefs { folder: true, mounted: Some(TRACEFS[0]), readable: true },
            lockdown: Some("[none] integrity confidentiality".into()),
            perf_event_paranoid: Some(2),
            breakpoint: None,
            core_pattern: Some("core".into()),
            first_pid_namespace: true,
            namespaces: None,
        }
    }

    /// The same machine for an ordinary user.
    pub fn of_an_ordinary_user() -> Facts {
        let own = Status { uid: 1000, effective_capabilities: 0, ..Status::default() };
        let ebpf = Ebpf::Lacks("eBPF needs root".into(), "run it by sudo");
        let good = Facts::of_a_good_machine();
        let tracefs = Tracefs { readable: false, ..good.tracefs };
        Facts { own, ebpf, tracefs, ..good }
    }
}

#[cfg(test)]
impl Tools {
    /// gdb is there, and we are in tmux.
    pub fn of_a_good_machine() -> Tools {
        let debugger = |name: &str, interactive| Debugger {
            name: name.into(),
            description: "a debugger".into(),
            origin: catalog::BUILT_IN_ORIGIN.into(),
            interactive,
            program: Some("/usr/bin/gdb".into()),
            missing: Vec::new(),
        };
        let place = |name: &str| Place {
            name: name.into(),
            programs: Vec::new(),
            shares_terminal: false,
            background: false,
            usable: Ok(()),
            server: None,
            foreign: None,
        };
        let server = Some((PathBuf::from("/tmp/tmux-1000/default"), Ok(())));
        let tmux = Place { server, programs: vec!["/usr/bin/tmux".into()], ..place("tmux") };
        let background = Place { background: true, ..place("background") };
        let here = Place { shares_terminal: true, ..place("here") };
        Tools {
            broken: None,
            settings: None,
            debuggers: vec![debugger("gdb", true), debugger("gdb-backtrace", false)],
            places: vec![background, here, tmux],
            auto: Ok("tmux".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracefs_is_found_where_libbpf_looks_for_it() {
        let mounts = "21 1 0:20 / /sys rw - sysfs sysfs rw\n\
            36 21 0:12 / /sys/kernel/tracing rw,relatime shared:9 - tracefs tracefs rw\n\
            40 1 0:13 / /mnt/sys/kernel/debug/tracing rw - tracefs tracefs rw\n";
        assert_eq!(TRACEFS.map(|path| is_tracefs(mounts, path)), [true, false]);
        assert!(!is_tracefs("36 21 0:12 / /sys/kernel/tracing rw - tmpfs x rw", TRACEFS[0]));
    }

    #[test]
    fn only_the_first_user_namespace_maps_every_id() {
        assert!(maps_everything("         0          0 4294967295"));
        assert!(!maps_everything("         0       1000          1"));
    }
}
