//! Cores that we write: gdb, lldb and eu-readelf read them, and show what they show of the process itself.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Running, World, eventually, signal_process, state, status_of};
use tracexec::source::coredump::{self, DumpError, Focus};

/// A program that is stopped in a known function.
struct Stopped {
    world: World,
    program: PathBuf,
    running: Running,
    pid: i32,
}

impl Stopped {
    fn new(flags: &[&str]) -> Stopped {
        let world = World::new();
        let program = world.fixture("deep", flags);
        let mut command = Command::new(&program);
        command.arg("20").stdin(Stdio::null());
        let running = world.start(command);
        let pid = running.pid();
        let stopped = Stopped { world, program, running, pid };
        stopped.wait();
        stopped
    }

    /// Waits until all threads are in state T, traced by nobody.
    fn wait(&self) {
        eventually("four threads in state T", || {
            let tasks: Vec<i32> = fs::read_dir(format!("/proc/{}/task", self.pid))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
                .collect();
            let still = |&tid: &i32| {
                state(tid) == Some('T') && status_of(tid, "TracerPid").as_deref() == Some("0")
            };
            (tasks.len() == 4 && tasks.iter().all(still)).then_some(())
        });
    }

    fn focus(&self) -> Focus {
        Focus { tid: self.pid, signal: None }
    }

    fn dump(&self, name: &str) -> PathBuf {
        let path = self.world.path(name);
        coredump::of_stopped(self.pid, self.focus(), &File::create(&path).unwrap(), &|| true)
            .unwrap();
        path
    }

    /// What a debugger says of the process, or of a core.
    fn shown(&self, debugger: Debugger, core: Option<&Path>) -> String {
        let mut command = Command::new(debugger.program());
        match (debugger, core) {
            (Debugger::Gdb, None) => {
                command.args(["-q", "-batch", "-nx", "-p"]).arg(self.pid.to_string())
            }
            (Debugger::Gdb, Some(core)) => {
                command.args(["-q", "-batch", "-nx"]).arg(&self.program).arg(core)
            }
            (Debugger::Lldb, None) => command.args(["-b", "-x", "-p"]).arg(self.pid.to_string()),
            (Debugger::Lldb, Some(core)) => {
                command.args(["-b", "-x", "-c"]).arg(core).arg(&self.program)
            }
        };
        for line in debugger.commands() {
            command.args([if debugger == Debugger::Gdb { "-ex" } else { "-o" }, line]);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        if debugger == Debugger::Gdb {
            // lldb lets the process run.
            self.wait();
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        let (_, text) = text.split_once("\nMARK").unwrap_or_else(|| panic!("{text}\n{said}"));
        let lines: Vec<&str> = text.lines().filter(|line| !is_different(line)).collect();
        // A core has no names of threads.
        lines.join("\n").replace(" \"deep\"):", "):")
    }
}

/// Asserts that two texts are the same; says where they first differ.
#[track_caller]
fn assert_same(one: &str, other: &str) {
    let first = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert_eq!(first, None);
    assert_eq!(one.lines().count(), other.lines().count(), "{one}\n\n{other}");
}

/// What differs between a process and its core, and ought to.
///
/// Where the processor's extended state is not laid out as Intel's, gdb 13 warns of it in every core, be it the
/// kernel's own, and finds no mask and vector registers there; lldb does.
fn is_different(line: &str) -> bool {
    let is_mask = |name: &str| name.len() == 2 && name.starts_with('k');
    if line.is_empty()
        || line.contains("`.reg-xstate")
        || line.split_whitespace().next().is_some_and(is_mask)
    {
        return true;
    }
    ["MARK", "[Inferior ", "(lldb)", "Process ", "* thread #1", "  thread #"]
        .iter()
        .any(|start| line.starts_with(start))
        || line.contains("detached")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Debugger {
    Gdb,
    Lldb,
}

impl Debugger {
    fn program(self) -> PathBuf {
        let names: &[&str] = match self {
            Debugger::Gdb => &["gdb"],
            Debugger::Lldb => &["lldb", "lldb-19"],
        };
        names.iter().find_map(|name| which::which(name).ok()).expect("apt install gdb lldb-19")
    }

    fn commands(self) -> &'static [&'static str] {
        match self {
            Debugger::Gdb => &[
                "set width 0",
                "echo \\nMARK\\n",
                "info registers",
                "thread apply all -ascending backtrace full",
                "frame function main",
                "p heap",
                "p *point.next",
                "x/2i $pc",
            ],
            Debugger::Lldb => &[
                "script print('\\nMARK')",
                // It does not read the wide ones of a core.
                "register read",
                "register read xmm0 xmm1",
                "script p = lldb.debugger.GetSelectedTarget().GetProcess(); [print(f, *f.GetVariables(True, True, False, True)) for t in sorted(p, key=lambda t: t.GetThreadID()) for f in t]",
                "frame select 25",
                "frame variable",
            ],
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal_process(self.pid, libc::SIGKILL);
    }
}

#[test]
fn gdb_shows_of_a_core_what_it_shows_of_the_process() {
    for flags in [&[][..], &["-m32"], &["-static"]] {
        let stopped = Stopped::new(flags);
        let live = stopped.shown(Debugger::Gdb, None);
        let core = stopped.dump("core");
        stopped.wait();
        for what in [
            "deepest (",
            "text=",
            "\"at the bottom\"",
            "on the heap",
            "name =",
            "level=20",
            "waits (",
        ] {
            assert!(live.contains(what), "{flags:?} {what}: {live}");
        }
        assert_same(&stopped.shown(Debugger::Gdb, Some(&core)), &live);
    }
}

#[test]
fn lldb_shows_of_a_core_what_it_shows_of_the_process() {
    let stopped = Stopped::new(&[]);
    let core = stopped.dump("core");
    let live = stopped.shown(Debugger::Lldb, None);
    for what in ["deepest", "at the bottom", "xmm0", "level = 20", "waits"] {
        assert!(live.contains(what), "{what}: {live}");
    }
    assert_same(&stopped.shown(Debugger::Lldb, Some(&core)), &live);
}

#[test]
fn the_process_is_afterwards_as_it_was_and_ends_as_it_would_have() {
    let stopped = Stopped::new(&[]);
    let proc = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", stopped.pid)).unwrap();
    let seen = || {
        (
            proc("syscall"),
            status_of(stopped.pid, "SigPnd"),
            proc("maps"),
            proc("stat")
                .split_once(' ')
                .map(|(_, rest)| rest.split(' ').take(5).collect::<Vec<_>>().join(" ")),
        )
    };
    let before = seen();
    let first = fs::read(stopped.dump("one")).unwrap();
    stopped.wait();
    assert_eq!(seen(), before);
    let second = fs::read(stopped.dump("two")).unwrap();
    stopped.wait();
    assert_eq!(first.len(), second.len());
    let Stopped { pid, .. } = stopped;
    signal_process(pid, libc::SIGCONT);
    let mut stopped = stopped;
    let status = eventually("its end", || stopped.running.child().try_wait().unwrap());
    assert_eq!(status.code(), Some(3));
}

#[test]
fn eu_readelf_reads_the_notes() {
    for (flags, class) in [(&[][..], "ELF64"), (&["-m32"], "ELF32")] {
        let stopped = Stopped::new(flags);
        let core = stopped.dump("core");
        let read = |option: &str| {
            let output = Command::new("eu-readelf").arg(option).arg(&core).output();
            let output = output.expect("eu-readelf is needed: apt install elfutils");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{said}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let header = read("-h");
        assert!(header.contains(class) && header.contains("CORE (Core file)"), "{header}");
        let notes = read("-n");
        assert_eq!(notes.matches("PRSTATUS").count(), 4, "{notes}");
        for what in ["PRPSINFO", "SIGINFO", "AUXV", "FILE", "FPREGSET", "X86_XSTATE"] {
            assert!(notes.contains(what), "{what}: {notes}");
        }
        let program = stopped.program.display().to_string();
        assert!(notes.contains(&program) && notes.contains("fname: deep"), "{notes}");
        assert!(notes.contains(&format!("pid: {}", stopped.pid)), "{notes}");
    }
}

#[test]
fn what_the_process_does_not_want_in_its_cores_is_not_there() {
    let stopped = Stopped::new(&[]);
    let size = |filter: &str| {
        fs::write(format!("/proc/{}/coredump_filter", stopped.pid), filter).unwrap();
        let path = stopped.dump("core");
        let metadata = fs::metadata(path).unwrap();
        // What threads have mapped and not used is not on the disk.
        assert!(metadata.blocks() * 512 <= metadata.len());
        metadata.len()
    };
    let (nothing, usual, all) = (size("0x0"), size("0x33"), size("0x7f"));
    assert!(nothing < usual && usual < all, "{nothing} {usual} {all}");
}

#[test]
fn a_pending_signal_is_the_one_of_the_core() {
    let stopped = Stopped::new(&[]);
    let tid: i32 = fs::read_dir(format!("/proc/{}/task", stopped.pid))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .max()
        .unwrap();
    // SAFETY: sends a signal to a thread of a child of ours.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, stopped.pid, tid, libc::SIGSEGV) };
    assert_eq!(sent, 0);
    let path = stopped.world.path("core");
    let focus = Focus { tid, signal: None };
    coredump::of_stopped(stopped.pid, focus, &File::create(&path).unwrap(), &|| true).unwrap();
    let output = Command::new("gdb")
        .args(["-q", "-batch", "-nx", "-ex", "bt", "-ex", "p $_siginfo.si_signo"])
        .args([&stopped.program, &path])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("terminated with signal SIGSEGV"), "{text}");
    assert!(text.contains("waits (") && text.contains("$1 = 11"), "{text}");
    // It is still pending.
    let pending = u64::from_str_radix(&status_of(tid, "SigPnd").unwrap(), 16).unwrap();
    assert_eq!(pending, 1 << (libc::SIGSEGV - 1));
}

#[test]
fn a_full_disk_is_an_error_and_the_process_goes_on() {
    let stopped = Stopped::new(&[]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = coredump::of_stopped(stopped.pid, stopped.focus(), &full, &|| true).unwrap_err();
    assert!(matches!(&error, DumpError::Write(why) if why.raw_os_error() == Some(libc::ENOSPC)));
    assert_eq!(error.to_string(), "cannot write it: No space left on device (os error 28)");
    stopped.wait();
    let file = File::create(stopped.world.path("core")).unwrap();
    let error = coredump::of_stopped(stopped.pid, stopped.focus(), &file, &|| false).unwrap_err();
    assert!(matches!(error, DumpError::Cancelled));
    stopped.wait();
    signal_process(stopped.pid, libc::SIGKILL);
    eventually("its end", || (state(stopped.pid) != Some('T')).then_some(()));
    let error = coredump::of_stopped(stopped.pid, stopped.focus(), &file, &|| true).unwrap_err();
    assert!(matches!(error, DumpError::Gone), "{error}");
}

#[test]
fn one_that_is_traced_already_is_an_error() {
    let stopped = Stopped::new(&[]);
    let tid = stopped.pid;
    tracexec::linux::sys::seize(tid, 0).unwrap();
    let file = File::create(stopped.world.path("core")).unwrap();
    let other = std::thread::spawn(move || {
        coredump::of_stopped(tid, Focus { tid, signal: None }, &file, &|| true)
    });
    assert!(matches!(other.join().unwrap(), Err(DumpError::Refused(_))));
}
