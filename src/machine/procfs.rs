//! What is read from /proc, see proc(5).

mod credentials;
mod descriptors;
mod fdinfo;
mod mounts;
pub mod view;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, SystemTime};

use crate::event::Namespace;
use crate::event::cgroup::Cgroup;
use crate::linux::files;
use crate::linux::sys::{self, Pid};

pub use credentials::{Credentials, credentials};
pub use descriptors::{fd, fds, given_files, open_files, target};
pub use mounts::FileSystems;

/// The inode of the machine's first pid namespace (PROC_PID_INIT_INO in the kernel).
pub const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A flag of the kernel's in `/proc/PID/stat`, for ps(1) too: forked, but did not exec.
const PF_FORKNOEXEC: u32 = 0x40;

/// `/proc/PID/NAME`.
pub fn path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The most that is read of such a file, in bytes. A process can have its `environ` be all of its memory, see
/// PR_SET_MM in prctl(2).
const LARGEST: u64 = 64 << 20;

/// Opens `/proc/PID/NAME`.
pub fn open(pid: Pid, name: &str) -> io::Result<fs::File> {
    fs::File::open(path(pid, name))
}

/// The whole of `/proc/PID/NAME`, unless it is larger than such a file is.
pub fn read(pid: Pid, name: &str) -> io::Result<Vec<u8>> {
    files::read_all(open(pid, name)?, LARGEST)
}

/// The same of a text.
pub fn read_text(pid: Pid, name: &str) -> io::Result<String> {
    files::text(read(pid, name)?)
}

/// A short file, in as few calls as can be: a size that is asked for tells nothing in /proc.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let mut page = [0; 4096];
    let mut len = file.read(&mut page)?;
    // What has room in one page comes at once.
    if len < page.len() {
        return Ok(page[..len].to_vec());
    }
    let mut text = page.to_vec();
    loop {
        text.resize(2 * len, 0);
        len += file.read(&mut text[len..])?;
        if len < text.len() {
            text.truncate(len);
            return Ok(text);
        }
    }
}

/// The target of the link `/proc/PID/NAME`.
pub fn link(pid: Pid, name: &str) -> io::Result<Vec<u8>> {
    fs::read_link(path(pid, name)).map(|target| target.into_os_string().into_vec())
}

/// What the links in a folder of `/proc/PID` point to.
pub fn links(pid: Pid, folder: &str) -> impl Iterator<Item = Vec<u8>> {
    let entries = fs::read_dir(path(pid, folder)).into_iter().flatten().flatten();
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    entries.filter_map(target).map(|target| target.into_os_string().into_vec())
}

/// Whether a process waits in poll(2) or ppoll(2).
pub fn waits_in_poll(pid: Pid) -> bool {
    let line = read_text(pid, "syscall").unwrap_or_default();
    let number = line.split(' ').next().and_then(|number| number.parse::<i64>().ok());
    number.is_some_and(|number| [libc::SYS_poll, libc::SYS_ppoll].contains(&number))
}

/// Under which part of `/proc/PID` a name is found that means another file to each process, and the rest of it:
/// `/dev/fd/3`, `/proc/self/exe`.
pub fn own(name: &[u8]) -> Option<(&'static str, &[u8])> {
    if let Some(rest) = name.strip_prefix(b"/dev/fd/") {
        return Some(("fd", rest));
    }
    let rest = name.strip_prefix(b"/proc/self/").or(name.strip_prefix(b"/proc/thread-self/"))?;
    // From there upwards it is everybody's /proc again.
    (rest != b".." && !rest.starts_with(b"../")).then_some(("", rest))
}

/// The path by which we reach a file that process `pid` knows by this name. Roots and working directories
/// of other namespaces are reached through /proc.
pub fn as_seen_by(pid: Pid, name: &[u8]) -> PathBuf {
    let (start, rest) = match own(name) {
        Some(own) => own,
        None if name.starts_with(b"/") => ("root", name),
        None => ("cwd", name),
    };
    let skip = rest.iter().take_while(|&&b| b == b'/').count();
    path(pid, start).join(std::ffi::OsStr::from_bytes(&rest[skip..]))
}

/// `/proc/PID/comm`, without its newline.
pub fn comm(pid: Pid) -> io::Result<Vec<u8>> {
    let mut file = open(pid, "comm")?;
    // It has 16 bytes, those of the kernel's own threads up to 64.
    let mut text = [0; 128];
    let len = file.read(&mut text)?;
    Ok(text[..len].strip_suffix(b"\n").unwrap_or(&text[..len]).to_vec())
}

/// What `/proc/PID/stat` says, as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub state: u8,
    pub ppid: Pid,
    pub pgrp: Pid,
    /// It has executed something since it was forked.
    pub executed: bool,
    /// When it began, in clock ticks since boot: with the pid it names one process for good.
    pub start_time: u64,
}

impl Stat {
    pub fn read(pid: Pid) -> io::Result<Stat> {
        let text = read(pid, "stat")?;
        parse_stat(&text).ok_or_else(|| malformed("stat"))
    }
}

/// A pidfd of the process that began at this time, in nanoseconds since boot; the error is ESRCH if it is no
/// more, whoever has its number by now.
pub fn pidfd_of(pid: Pid, began: u64) -> io::Result<OwnedFd> {
    pidfd_since(pid, sys::to_clock_ticks(began))
}

/// The same with its [`Stat::start_time`].
pub fn pidfd_since(pid: Pid, start_time: u64) -> io::Result<OwnedFd> {
    let pidfd = sys::pidfd_open(pid)?;
    match Stat::read(pid)?.start_time == start_time {
        true => Ok(pidfd),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// The last error that said that no more files can be opened, or 0.
static EXHAUSTED: AtomicI32 = AtomicI32::new(0);

/// Notes an error of reading in /proc, for [`exhausted`].
pub fn note_error(error: &io::Error) {
    if let Some(errno @ (libc::EMFILE | libc::ENFILE)) = error.raw_os_error() {
        EXHAUSTED.store(errno, Ordering::Relaxed);
    }
}

/// The error for which something could not be read so far, if it is that no more files could be opened.
pub fn exhausted() -> Option<i32> {
    Some(EXHAUSTED.load(Ordering::Relaxed)).filter(|&errno| errno != 0)
}

/// Whether an error about a task means that it is no more. Any other error, such as that there are no descriptors
/// left, says nothing about the task.
pub fn says_gone(pid: Pid, error: &io::Error) -> bool {
    note_error(error);
    let exists =
        || !matches!(sys::kill(pid, 0), Err(error) if error.raw_os_error() == Some(libc::ESRCH));
    match error.raw_os_error() {
        Some(libc::ESRCH) => true,
        // Or /proc hides it from us.
        Some(libc::ENOENT) => !exists(),
        _ => false,
    }
}

/// What our time namespace adds to the time since boot, in nanoseconds. It is in all times that we read.
pub fn boot_offset() -> i64 {
    // A kernel without such namespaces has no such file.
    let text = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    parse_boot_offset(&text).unwrap_or_default()
}

fn parse_boot_offset(text: &str) -> Option<i64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("boottime"))?.split_whitespace();
    let mut number = || words.next()?.parse::<i64>().ok();
    number()?.checked_mul(1_000_000_000)?.checked_add(number()?)
}

/// When a process began, by the clock on the wall.
pub fn began(stat: &Stat) -> Option<SystemTime> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // To the second, and rather too early.
    let seconds = stat.start_time / sys::to_clock_ticks(1_000_000_000).max(1);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot) + Duration::from_secs(seconds))
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/{file} is not as proc(5) says"))
}

/// The command name may hold anything, parentheses and newlines too: the last one counts.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let rest = &text[memchr::memrchr(b')', text)? + 1..];
    let rest = std::str::from_utf8(rest).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let ppid = fields.next()?.parse().ok()?;
    let pgrp = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(3)?.parse().ok()?;
    let start_time = fields.nth(12)?.parse().ok()?;
    Some(Stat { state, ppid, pgrp, executed: flags & PF_FORKNOEXEC == 0, start_time })
}

/// What `/proc/PID/status` says, as far as it is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    pub tgid: Pid,
    /// The number by which it knows itself, in its own pid namespace.
    pub ns_pid: Pid,
    pub tracer: Pid,
    pub real_uid: u32,
    /// The effective ids.
    pub uid: u32,
    pub gid: u32,
    /// Signals pending (of the thread or the process), blocked, ignored: bit N-1 is signal N.
    pub pending: u64,
    pub blocked: u64,
    pub ignored: u64,
    /// Signals that have a handler.
    pub caught: u64,
    pub threads: u32,
    pub effective_capabilities: u64,
    pub seccomp: bool,
    pub state: u8,
}

/// Bits of capabilities, see capabilities(7).
pub const CAP_SYS_PTRACE: u64 = 1 << 19;
pub const CAP_SYS_ADMIN: u64 = 1 << 21;
pub const CAP_PERFMON: u64 = 1 << 38;
pub const CAP_BPF: u64 = 1 << 39;

impl Status {
    pub fn read(pid: Pid) -> io::Result<Status> {
        Ok(parse_status(&read(pid, "status")?))
    }

    /// Our own, even where /proc is that of another pid namespace.
    pub fn own() -> io::Result<Status> {
        Ok(parse_status(&fs::read("/proc/self/status")?))
    }

    /// Whether all of these capabilities are in effect.
    pub fn has(&self, capabilities: u64) -> bool {
        self.effective_capabilities & capabilities == capabilities
    }

    /// A pending signal that will end a process which has no handlers yet.
    pub fn fatal_pending(&self) -> Option<i32> {
        let deadly = self.pending & !self.ignored & (!self.blocked | bit(libc::SIGKILL));
        (1..=64).find(|&signal| deadly & bit(signal) != 0 && ends_by_default(signal))
    }

    /// Whether a signal that is delivered now has its default effect.
    pub fn takes_by_default(&self, signal: i32) -> bool {
        (self.caught | self.ignored) & bit(signal) == 0
    }

    /// Whether a signal stays pending until it is let in.
    pub fn blocks(&self, signal: i32) -> bool {
        self.blocked & bit(signal) != 0
    }

    /// Whether nothing can keep it from ending any more.
    pub fn is_killed(&self) -> bool {
        self.pending & bit(libc::SIGKILL) != 0
    }

    /// Whether programs may be loaded and attached to tracepoints, see capabilities(7).
    pub fn may_use_bpf(&self) -> bool {
        self.has(CAP_SYS_ADMIN) || self.has(CAP_BPF | CAP_PERFMON)
    }

    /// Whether it is stopped, or will be as soon as it gets a processor: a SIGSTOP is pending until
    /// then, which on a busy machine can be long.
    pub fn stops(&self) -> bool {
        matches!(self.state, b'T' | b't') || self.pending & bit(libc::SIGSTOP) != 0
    }

    pub fn may_trace_anything(&self) -> bool {
        self.has(CAP_SYS_PTRACE)
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Whether a signal's default action ends a process, see signal(7).
fn ends_by_default(signal: i32) -> bool {
    !matches!(
        signal,
        libc::SIGCHLD
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGCONT
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    )
}

fn parse_status(text: &[u8]) -> Status {
    let mut status = Status::default();
    for line in text.split(|&b| b == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let value = String::from_utf8_lossy(&line[colon + 1..]);
        let word = |n: usize| value.split_ascii_whitespace().nth(n).unwrap_or_default();
        let hex = || u64::from_str_radix(word(0), 16).unwrap_or_default();
        match &line[..colon] {
            b"State" => status.state = word(0).bytes().next().unwrap_or_default(),
            b"Tgid" => status.tgid = word(0).parse().unwrap_or_default(),
            b"NSpid" => {
                let last = value.split_ascii_whitespace().next_back();
                status.ns_pid = last.and_then(|pid| pid.parse().ok()).unwrap_or_default();
            }
            b"TracerPid" => status.tracer = word(0).parse().unwrap_or_default(),
            b"Uid" => {
                status.real_uid = word(0).parse().unwrap_or_default();
                status.uid = word(1).parse().unwrap_or_default();
            }
            b"Gid" => status.gid = word(1).parse().unwrap_or_default(),
            b"SigPnd" | b"ShdPnd" => status.pending |= hex(),
            b"SigBlk" => status.blocked = hex(),
            b"SigIgn" => status.ignored = hex(),
            b"SigCgt" => status.caught = hex(),
            b"Threads" => status.threads = word(0).parse().unwrap_or_default(),
            b"CapEff" => status.effective_capabilities = hex(),
            b"Seccomp" => status.seccomp = word(0) == "2",
            _ => {}
        }
    }
    status
}

/// By which of its threads /proc shows a process's memory and files: the first, unless that has ended.
///
/// Where a first thread is killed by another one's exit in a ptrace stop, it may pass its last stop unseen: what
/// was to end the one stop ends the other.
pub fn living(pid: Pid) -> Pid {
    match Stat::read(pid) {
        Ok(stat) if matches!(stat.state, b'Z' | b'X') => {
            threads(pid).ok().and_then(|found| found.first().copied()).unwrap_or(pid)
        }
        _ => pid,
    }
}

/// Whether the first thread of a process has ended and others go on. Nobody can trace that one, and so debuggers, which
/// begin with it, attach to no such process.
pub fn first_thread_ended(pid: Pid) -> bool {
    living(pid) != pid
}

/// The threads of a process that have not ended, see proc(5).
pub fn threads(pid: Pid) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path(pid, "task"))? {
        let Ok(tid) = entry?.file_name().to_string_lossy().parse::<Pid>() else { continue };
        let text = match read(pid, &format!("task/{tid}/stat")) {
            Ok(text) => text,
            Err(error) if says_gone(tid, &error) => continue,
            Err(error) => return Err(error),
        };
        // A leader that has ended stays until the last thread has.
        if parse_stat(&text).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X')) {
            found.push(tid);
        }
    }
    Ok(found)
}

/// A value of an auxiliary vector, as `/proc/PID/auxv` shows it, with words of that size.
pub fn auxiliary(auxv: &[u8], word: usize, key: u64) -> Option<u64> {
    let number = |bytes: &[u8]| {
        let mut whole = [0; 8];
        whole[..word].copy_from_slice(bytes);
        u64::from_le_bytes(whole)
    };
    auxv.chunks_exact(2 * word)
        .find(|pair| number(&pair[..word]) == key)
        .map(|pair| number(&pair[word..]))
}

/// The number of the cgroup namespace that the machine begins with, PROC_CGROUP_INIT_INO.
const FIRST_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;

/// Whether the paths of control groups are shown to us from the machine's root. In a container they
/// mostly begin at the container.
pub fn sees_whole_cgroups() -> bool {
    static SEES: OnceLock<bool> = OnceLock::new();
    *SEES.get_or_init(|| {
        let ours = fs::metadata("/proc/self/ns/cgroup").map(|metadata| metadata.ino());
        // A kernel without such namespaces hides nothing.
        ours.map_or(true, |number| number == FIRST_CGROUP_NAMESPACE)
    })
}

/// The control groups of a process, as they are shown to us.
pub fn cgroup(pid: Pid) -> io::Result<Cgroup> {
    Ok(Cgroup::parse(&read(pid, "cgroup")?, sees_whole_cgroups()))
}

/// The path of a process's control group in the hierarchy of version 2, where there is that.
pub fn unified_cgroup(pid: Pid) -> io::Result<Option<Vec<u8>>> {
    let text = read_small(&path(pid, "cgroup"))?;
    Ok(text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))
        .map(<[u8]>::to_vec))
}

/// The number of a namespace of a process.
pub fn namespace(pid: Pid, which: Namespace) -> io::Result<u32> {
    let (name, file) = match which {
        Namespace::Pid => ("pid", "ns/pid"),
        Namespace::Mnt => ("mnt", "ns/mnt"),
    };
    let link = link(pid, file)?;
    parse_namespace(name, &link).ok_or_else(|| malformed(file))
}

/// `pid:[4026531836]`.
fn parse_namespace(name: &str, link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(name.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Our umask, which cannot be asked for without being set.
pub fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    value.and_then(|value| u32::from_str_radix(value.trim(), 8).ok()).unwrap_or(0o022)
}

/// The number of the mount on which our root directory lies, if that is its root.
pub fn own_root_mount() -> Option<u32> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // A later one covers an earlier one.
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    root.split(' ').next()?.parse().ok()
}

/// The variables in an environment block.
pub fn variables(block: &[u8]) -> impl Iterator<Item = (OsString, OsString)> {
    let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let entries = block.split(|&byte| byte == 0).map(crate::event::variable);
    entries.filter_map(move |(name, value)| Some((os(name), os(value?))))
}

/// The value of a variable in an environment block.
pub fn variable<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    block.split(|&b| b == 0).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}

/// All that takes bytes apart here.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let _ = (parse_stat(bytes), parse_status(bytes).fatal_pending());
    let _ = (parse_namespace("pid", bytes), variable(bytes, b"A"));
    for word in [4, 8] {
        let _ = auxiliary(bytes, word, 0x4141_4141);
    }
    credentials::fuzz(bytes);
    let kind = crate::event::FdKind::Anon;
    let mut record =
        descriptors::untold(crate::event::Fd { number: 3, target: bytes.to_vec(), kind });
    fdinfo::parse(bytes, &mut record);
    mounts::fuzz(bytes, &mut record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reading;

    #[test]
    fn a_command_name_may_hold_parentheses_and_newlines() {
        for (flags, executed) in [("4194560", true), ("4194368", false)] {
            let mut line = format!("12 (a) b\n) c) T 7 8 9 0 -1 {flags}").into_bytes();
            line.extend(b" 0".repeat(12));
            line.extend_from_slice(b" 777 0\n");
            let stat = parse_stat(&line).unwrap();
            assert_eq!(stat, Stat { state: b'T', ppid: 7, pgrp: 8, executed, start_time: 777 });
        }
    }

    #[test]
    fn our_own_stat_and_status_are_read() {
        let pid = std::process::id() as Pid;
        assert!(Stat::read(pid).unwrap().start_time > 0);
        let status = Status::read(pid).unwrap();
        assert_eq!((status.tgid, status.tracer), (pid, 0));
    }

    #[test]
    fn a_time_namespace_s_offset_may_be_negative() {
        let text = "monotonic           0         0\nboottime          -10       500\n";
        assert_eq!(parse_boot_offset(text), Some(-9_999_999_500));
        assert_eq!(parse_boot_offset(""), None);
    }

    #[test]
    fn a_blocked_or_harmless_pending_signal_is_not_fatal() {
        let pending = bit(libc::SIGCHLD) | bit(libc::SIGTERM);
        let blocked = Status { pending, blocked: bit(libc::SIGTERM), ..Status::default() };
        assert_eq!(blocked.fatal_pending(), None);
        let open = Status { pending, ..Status::default() };
        assert_eq!(open.fatal_pending(), Some(libc::SIGTERM));
    }

    #[test]
    fn a_stop_that_is_yet_to_come_counts_as_one() {
        let running = parse_status(b"State:\tR (running)\nShdPnd:\t0000000000000000\n");
        let stopping = parse_status(b"State:\tR (running)\nShdPnd:\t0000000000040000\n");
        let stopped = parse_status(b"State:\tT (stopped)\nShdPnd:\t0000000000000000\n");
        assert_eq!([running, stopping, stopped].map(|status| status.stops()), [false, true, true]);
    }

    #[test]
    fn our_own_control_group_and_namespaces_are_read() {
        let pid = std::process::id() as Pid;
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        if let Some(path) = path {
            assert_eq!(cgroup(pid).unwrap().path, Reading::Known(path.as_bytes().to_vec()));
        }
        for (which, name) in [(Namespace::Pid, "pid"), (Namespace::Mnt, "mnt")] {
            let number = fs::metadata(format!("/proc/self/ns/{name}")).unwrap().ino();
            assert_eq!(u64::from(namespace(pid, which).unwrap()), number);
        }
        assert_eq!(parse_namespace("pid", b"mnt:[1]"), None);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let block = b"AB=1\0A=2\0A=3\0";
        assert_eq!(variable(block, b"A"), Some(&b"2"[..]));
        assert_eq!(variable(block, b"B"), None);
    }
}
