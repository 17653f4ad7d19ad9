//! Loads the programs, and says why where the kernel refuses them.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{
    Link, MapCore, MapFlags, OpenObject, PrintLevel, ProgramMut, ProgramType, libbpf_sys,
};

use super::Aim;
use super::layout;
use super::lower::Lowered;

use super::skeleton::types::{limit, test_source};
use super::skeleton::{self, ExecSkel, ExecSkelBuilder, types};
use crate::event::Wanted;
use crate::linux::sys::Pid;
use crate::machine::diagnose::{self, BTF};
use crate::machine::procfs;
use crate::source::guardian::{Guardian, KernelSide};
use crate::text::report::{Color, Report, Trouble};

/// The kernel's function by which it can wait for memory, by its names as the kernel lists them.
const TASK_WORK: [&[u8]; 2] =
    [b"\0bpf_task_work_schedule_signal_impl\0", b"\0bpf_task_work_schedule_signal\0"];
/// Of the ring buffer where execs are recorded, in bytes. It is mapped twice into our memory. With half of it a loop of
/// execs with long arguments lost some on a busy machine.
const RECORD_ROOM: u32 = 16 << 20;
/// As many of ours are exempt at a time, where that is not all that comes from us.
const MANY_DEBUGGERS: u32 = 1 << 12;

/// Whether the programs can tell a process's control groups as /proc shows them: from the machine's root,
/// and in one hierarchy.
pub fn shows_cgroups() -> bool {
    let own = fs::read("/proc/self/cgroup").unwrap_or_default();
    procfs::sees_whole_cgroups()
        && own.starts_with(b"0::")
        && own.iter().filter(|&&b| b == b'\n').count() == 1
}

/// Whether the kernel can wait for memory on behalf of a program: Linux 6.18 and later.
fn reads_late() -> bool {
    layout::has_any(&TASK_WORK)
}

/// Whether the kernel has bpf_loop: Linux 5.17 and later.
fn has_bpf_loop() -> bool {
    ProgramType::Tracepoint.is_helper_supported(libbpf_sys::BPF_FUNC_loop).unwrap_or(false)
}

/// The programs, in the kernel.
pub struct Programs<'object> {
    pub skeleton: ExecSkel<'object>,
    links: Vec<Link>,
    aim: Aim,
}

/// Loads and attaches; the programs do nothing yet. `tracer`: the thread that follows what may be held later,
/// or 0.
pub fn load<'object>(
    object: &'object mut MaybeUninit<OpenObject>,
    lowered: &Lowered,
    system: bool,
    aim: Aim,
    tracer: Pid,
) -> Result<Programs<'object>, Trouble> {
    // What it says, the verifier's log for one, is for our developers; the errors come back to us.
    let silent = std::env::var_os("TRACEXEC_BPF_LOG").is_none();
    libbpf_rs::set_print(Some((
        PrintLevel::Warn,
        if silent {
            |_, _| {}
        } else {
            |_, text| Report::new(Color::Never, 0).pass_on(text.into_bytes())
        },
    )));
    let refused = |step: &'static str| move |error: libbpf_rs::Error| refusal(step, &error);
    let namespace = fs::metadata("/proc/self/ns/pid")
        .map_err(|error| Trouble::new(format!("cannot read /proc/self/ns/pid: {error}")))?
        .ino();
    if system && namespace != crate::machine::procfs::FIRST_PID_NAMESPACE {
        return Err(Trouble::new("--system: this is a pid namespace of its own, from which the rest of the system is not seen")
            .hint("run tracexec outside the container"));
    }
    let mut builder = ExecSkelBuilder::default();
    let layout = layout::in_memory();
    if let Some(layout) = &layout {
        let path = format!("/proc/self/fd/{}", layout.as_raw_fd());
        builder.object_builder_mut().btf_custom_path(path).map_err(refused("open"))?;
    }
    let late = aim.calls() && reads_late();
    skeleton::OBJECT.set(match late {
        true => skeleton::LATE,
        false if has_bpf_loop() => skeleton::PLAIN,
        false => skeleton::OLD,
    });
    let mut open = builder.open(object).map_err(refused("open"))?;
    if let Some(data) = open.maps.rodata_data.as_deref_mut() {
        data.test_count = lowered.tests.len() as u32;
        data.tests[..lowered.tests.len()].copy_from_slice(&lowered.tests);
        data.step_count = lowered.steps.len() as u32;
        data.steps[..lowered.steps.len()].copy_from_slice(&lowered.steps);
        data.wants_argv = lowered.wants_argv.into();
        data.wants_argc = lowered
            .has_test(|test| test.source == test_source::SOURCE_ARGC || test.index < 0)
            .into();
        data.wants_elements =
            lowered.has_test(|test| test.source == test_source::SOURCE_ARG).into();
        data.kin_wants_argv = lowered.kin_wants_argv.into();
        data.parent_tests = lowered.parent_tests;
        data.ancestor_tests = lowered.ancestor_tests;
        data.negated_tests = lowered.negated_tests;
        data.whole_system = system.into();
        data.tells_tree = lowered.keep.lineage.into();
        data.tells_argv = (lowered.keep.lineage && lowered.keep.argv).into();
        data.own_namespace = namespace as u32;
        data.own_boot_offset = procfs::boot_offset();
        data.own_tracer = tracer;
        let wanted = aim.wanted().unwrap_or(Wanted::FOR_FILTER);
        data.records_env = (lowered.asks.env || wanted.env).into();
        data.records_fds = (lowered.asks.fds || wanted.fds).into();
        data.records_cgroup = ((lowered.asks.cgroup || wanted.cgroup) && shows_cgroups()).into();
        data.records_cwd = 1;
        data.tells_lives = wanted.lives.into();
        data.records_calls = aim.calls().into();
        data.own_root_inode = fs::metadata("/").map_or(0, |root| root.ino());
        data.own_root_mount = procfs::own_root_mount().unwrap_or(0);
        if aim.records() {
            data.event_room = RECORD_ROOM.into();
        }
    }
    if aim.records() {
        open.maps.events.set_max_entries(RECORD_ROOM).map_err(refused("size"))?;
    }
    let progs = &mut open.progs;
    progs.handle_rename.set_autoload(lowered.keep.prev_comm);
    progs.handle_exec.set_autoload(aim == Aim::Stop);
    progs.record_exec.set_autoload(aim.records());
    progs.handle_enter.set_autoload(aim.calls());
    progs.handle_return.set_autoload(aim.calls() && !late);
    progs.handle_return_late.set_autoload(late);
    open.maps.late_calls.set_autocreate(late).map_err(refused("size"))?;
    // Room that nobody needs takes time to be made.
    for (map, needed) in
        [(&mut open.maps.names, lowered.keep.prev_comm), (&mut open.maps.calls, aim.calls())]
    {
        if !needed {
            map.set_max_entries(1).map_err(refused("size"))?;
        }
    }
    if !system {
        open.maps.exempt.set_max_entries(MANY_DEBUGGERS).map_err(refused("size"))?;
    }
    let cpus = libbpf_rs::num_possible_cpus().map_err(refused("count the processors for"))?;
    open.maps.scratches.set_max_entries(cpus as u32).map_err(refused("size"))?;
    let slots = limit::SLOTS.0 * cpus as u32;
    open.maps.stopped.set_max_entries(slots).map_err(refused("size"))?;
    let skeleton = open.load().map_err(refused("load"))?;
    let mut words = vec![0u8; size_of::<types::tables>()];
    for (bytes, word) in words.chunks_exact_mut(2).zip(&lowered.tables) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    skeleton
        .maps
        .automata
        .update(&0u32.to_ne_bytes(), &words, MapFlags::ANY)
        .map_err(refused("hand the filter to"))?;
    if system {
        let pid = std::process::id() as Pid;
        skeleton
            .maps
            .exempt
            .update(&pid.to_ne_bytes(), &[1], MapFlags::ANY)
            .map_err(refused("set up"))?;
    }
    let rename = lowered.keep.prev_comm.then_some(&skeleton.progs.handle_rename);
    let programs = &skeleton.progs;
    let on_return = if late { &programs.handle_return_late } else { &programs.handle_return };
    let calls = [on_return, &programs.handle_enter];
    let links = always(&skeleton, aim)
        .into_iter()
        .chain(rename)
        .chain(calls.into_iter().filter(|_| aim.calls()))
        .map(|program| program.attach())
        .collect::<Result<Vec<Link>, _>>()
        .map_err(refused("attach"))?;
    Ok(Programs { skeleton, links, aim })
}

/// The programs that every session has; execs are seen last, when the others are there.
fn always<'a, 'object>(skeleton: &'a ExecSkel<'object>, aim: Aim) -> [&'a ProgramMut<'object>; 3] {
    let programs = &skeleton.progs;
    let exec = match aim {
        Aim::Stop => &programs.handle_exec,
        Aim::Record(_) | Aim::RecordCalls(_) => &programs.record_exec,
    };
    [&programs.handle_fork, &programs.handle_exit, exec]
}

impl Programs<'_> {
    /// Starts the process that answers for what they stop.
    pub fn guardian(&self) -> Result<Guardian, Trouble> {
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
        let side = || {
            Ok(KernelSide {
                stopped: copy(self.skeleton.maps.stopped.as_fd())?,
                switch: copy(self.skeleton.maps.bss.as_fd())?,
                links: self
                    .links
                    .iter()
                    .map(|link| copy(link.as_fd()))
                    .collect::<Result<_, _>>()?,
            })
        };
        side().and_then(|side| Guardian::start(Some(side))).map_err(|error: std::io::Error| {
            Trouble::new(format!("cannot start the guardian: {error}"))
        })
    }

    /// Sets them to work, for the tree that begins with this process.
    pub fn enable(&mut self, command: Option<Pid>) {
        if let Some(data) = self.skeleton.maps.bss_data.as_deref_mut() {
            data.root_pid = command.unwrap_or(0);
            data.enabled = 1;
        }
    }

    /// Whether the programs need not wake us: we look by ourselves.
    pub fn looks(&mut self, looks: bool) {
        if let Some(data) = self.skeleton.maps.bss_data.as_deref_mut() {
            data.looks = looks.into();
        }
    }

    pub fn disable(&mut self) {
        if let Some(data) = self.skeleton.maps.bss_data.as_deref_mut() {
            data.enabled = 0;
        }
    }

    pub fn counters(&self) -> types::counters {
        self.skeleton.maps.bss_data.as_deref().map(|data| data.counters).unwrap_or_default()
    }

    /// Events that the kernel has passed over because a program of the same kind was running.
    pub fn missed(&self) -> u64 {
        let missed = |program: &ProgramMut<'_>| recursion_misses(program.as_fd().as_raw_fd());
        always(&self.skeleton, self.aim).into_iter().map(missed).sum()
    }
}

fn recursion_misses(program: i32) -> u64 {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: the kernel writes at most `len` bytes to a structure of that size.
    let failed = unsafe {
        libbpf_sys::bpf_obj_get_info_by_fd(program, (&raw mut info).cast(), &raw mut len)
    };
    if failed == 0 { info.recursion_misses } else { 0 }
}

/// The cause of a refusal, and what to do.
fn refusal(step: &str, error: &libbpf_rs::Error) -> Trouble {
    let trouble = Trouble::new(format!("cannot {step} the eBPF programs: {error}"));
    match missing() {
        Some((what, hint)) => Trouble::new(what).hint(hint),
        None => {
            trouble.hint("`--backend ptrace` does without; `tracexec doctor` shows what is missing")
        }
    }
}

/// What eBPF needs and this machine, or this user, does not have.
pub fn missing() -> Option<(String, &'static str)> {
    if !crate::machine::procfs::Status::own().is_ok_and(|status| status.may_use_bpf()) {
        return Some((
            "eBPF needs root, or the capabilities CAP_BPF and CAP_PERFMON".into(),
            "run it by sudo, with -u \"$USER\" for COMMAND; or `--backend ptrace` does without",
        ));
    }
    if !Path::new(BTF).exists() {
        return Some((
            format!("the kernel has no BTF ({BTF})"),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF, or `--backend ptrace`",
        ));
    }
    if !diagnose::finds_tracepoints() {
        return Some((
            "the kernel's tracepoints cannot be read: tracefs is not mounted, or not for this user"
                .into(),
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ));
    }
    None
}
