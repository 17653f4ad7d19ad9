//! A match that is parked: stopped, traced by nobody, and not one of its instructions executed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Outcome, Running, World, eventually, finish, pid_in, state, status_of};
use ptrace_do::{ProcessFrame, TracedProcess};

/// A session that holds one process.
struct Parked<'a> {
    world: &'a World,
    session: Running,
    pid: i32,
}

impl<'a> Parked<'a> {
    #[track_caller]
    fn new(world: &'a World, mut command: Command) -> Parked<'a> {
        command.stdin(Stdio::null());
        let mut session = world.start(command);
        let pid = pid_in(&session.stderr_line(": held"));
        Parked { world, session, pid }
    }

    /// Lets it run on; how COMMAND ended.
    #[track_caller]
    fn release(self) -> Outcome {
        let outcome = self.world.run(["release", &self.pid.to_string()]);
        assert_eq!((outcome.code(), outcome.out()), (0, format!("released {}\n", self.pid)));
        finish(self.session)
    }
}

/// Tells tracexec to hold what `filter` finds in this command.
fn hold(world: &World, filter: &str, command: &[&str]) -> Command {
    let mut args = vec!["debug", "--hold", "-m", filter, "--"];
    args.extend(command);
    world.tracexec(args)
}

/// What an ELF file's header says: its class in bits, whether it stands where it was linked, its entry.
fn elf(path: &str) -> (u32, bool, u64) {
    let file = fs::read(path).unwrap();
    assert_eq!(&file[..4], b"\x7fELF", "{path}");
    let bits = if file[4] == 1 { 32 } else { 64 };
    let fixed = u16::from_le_bytes([file[16], file[17]]) == 2;
    (bits, fixed, number(&file[24..], bits))
}

fn number(bytes: &[u8], bits: u32) -> u64 {
    let mut whole = [0; 8];
    let size = bits as usize / 8;
    whole[..size].copy_from_slice(&bytes[..size]);
    u64::from_le_bytes(whole)
}

/// A value of /proc/PID/auxv.
fn auxiliary(pid: i32, bits: u32, key: u64) -> Option<u64> {
    let all = fs::read(format!("/proc/{pid}/auxv")).unwrap();
    let size = bits as usize / 8;
    let mut pairs = all.chunks_exact(size * 2);
    pairs.find(|pair| number(pair, bits) == key).map(|pair| number(&pair[size..], bits))
}

/// Where the first mapping of a process for which `is` holds begins, and its file.
fn mapping(pid: i32, is: impl Fn(u64, &str) -> bool) -> (u64, String) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let found = maps.lines().find_map(|line| {
        let start = u64::from_str_radix(line.split('-').next()?, 16).ok()?;
        let file = line.find(['/', '[']).map_or("", |at| &line[at..]);
        is(start, file).then(|| (start, file.to_string()))
    });
    found.unwrap_or_else(|| panic!("no such mapping:\n{maps}"))
}

/// The first instruction: ld.so's, or the program's own where there is no ld.so.
fn entry(pid: i32) -> u64 {
    const AT_BASE: u64 = 7;
    let exe = format!("/proc/{pid}/exe");
    let name = fs::read_link(&exe).unwrap();
    let (bits, ..) = elf(&exe);
    let (start, image) = match auxiliary(pid, bits, AT_BASE).unwrap_or_default() {
        0 => (mapping(pid, |_, file| Path::new(file) == name).0, exe),
        base => mapping(pid, |start, _| start == base),
    };
    let (_, fixed, entry) = elf(&image);
    if fixed { entry } else { start + entry }
}

/// The stack pointer and the program counter.
fn pointers(pid: i32) -> (u64, u64) {
    let line = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let mut last = line.trim().rsplit(' ').map(|word| {
        u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{line}"))
    });
    let counter = last.next().unwrap();
    (last.next().unwrap(), counter)
}

/// Asserts that a process is stopped before its first instruction, and traced by nobody.
#[track_caller]
fn assert_untouched(pid: i32, arguments: u64) {
    // It is told of when its stop is certain; the process has yet to run into it.
    eventually("state T", || (state(pid) == Some('T')).then_some(()));
    assert_eq!(status_of(pid, "TracerPid").as_deref(), Some("0"));
    let (stack, counter) = pointers(pid);
    assert_eq!(counter, entry(pid), "the program counter of {pid}");
    // The kernel has put argc there; 4 bytes of it are all that a 32-bit program has.
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut word = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut word, stack).unwrap();
    assert_eq!(u64::from(u32::from_le_bytes(word)), arguments, "argc of {pid}");
}

#[test]
fn a_parked_program_of_every_format_is_at_its_first_instruction() {
    for flags in
        [&[][..], &["-no-pie"], &["-static"], &["-static-pie"], &["-m32"], &["-m32", "-static"]]
    {
        let world = World::new();
        let hello = world.fixture("hello", flags);
        // The call that Yama would need is made too: it must leave nothing behind.
        for admit in [false, true] {
            let run = format!("'{}' one; exit $?", hello.display());
            let mut command = hold(&world, "basename=hello", &["sh", "-c", &run]);
            if admit {
                command.env("TRACEXEC_ADMIT", "1");
            }
            let parked = Parked::new(&world, command);
            assert_untouched(parked.pid, 2);
            let outcome = parked.release();
            assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\nhello\n"), "{flags:?}");
        }
    }
}

#[test]
fn whatever_way_it_was_executed_a_parked_program_is_at_its_first_instruction() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let hello = hello.to_str().unwrap();
    for (fixture, words, filter, arguments) in [
        ("thread_exec", &[hello][..], "basename=hello", 1),
        ("vfork", &[hello], "basename=hello", 1),
        ("posix_spawn", &[hello, "one"], "basename=hello", 2),
        ("memfd", &["keep", hello], "basename=40", 1),
        ("memfd", &["close", hello], "basename=40", 1),
    ] {
        let start = world.fixture(fixture, &[]);
        let mut line = vec![start.to_str().unwrap()];
        line.extend(words);
        let parked = Parked::new(&world, hold(&world, filter, &line));
        assert_untouched(parked.pid, arguments);
        let outcome = parked.release();
        assert_eq!(outcome.code(), 3, "{fixture}: {}", outcome.stderr);
    }
}

#[test]
fn a_parked_script_is_at_its_interpreter_s_first_instruction() {
    let world = World::new();
    let source = world.file("source", "#!/bin/sh\necho one\nexit 3\n");
    let script = world.path("script");
    let made = Command::new("install").arg("-m755").arg(source).arg(&script).status().unwrap();
    assert!(made.success());
    let parked = Parked::new(
        &world,
        hold(&world, "basename=script and interpreter", &[script.to_str().unwrap()]),
    );
    assert_untouched(parked.pid, 2);
    let outcome = parked.release();
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "one\n"));
}

/// ptrace-do's view of a parked process: an injector that is not ours. Its calls must all come from
/// one thread.
struct Remote {
    frame: Option<ProcessFrame>,
    counter: usize,
    covered: Vec<u8>,
}

/// `mov eax, NUMBER; syscall; int3`: ptrace-do calls functions, and waits for a trap behind them.
const STUB: usize = 8;

impl Remote {
    /// Attaches, and waits until tracexec has noticed: it then answers for the process no more.
    fn attach(parked: &Parked<'_>) -> Remote {
        let mut frame = TracedProcess::attach(parked.pid).unwrap().next_frame().unwrap();
        eventually("a hit that is attached", || {
            parked.world.run(["ps"]).out().contains(" attached ").then_some(())
        });
        let counter = frame.query_registers().unwrap().program_counter();
        let covered = frame.read_memory(counter, STUB).unwrap();
        Remote { frame: Some(frame), counter, covered }
    }

    fn frame(&mut self) -> &mut ProcessFrame {
        self.frame.as_mut().unwrap()
    }

    fn call(&mut self, number: i64, parameters: &[usize]) -> i64 {
        let mut stub = vec![0xb8];
        stub.extend((number as u32).to_le_bytes());
        stub.extend([0x0f, 0x05, 0xcc]);
        let counter = self.counter;
        self.frame().write_memory(counter, &stub).unwrap();
        // Signals on the way (its own SIGSTOP, our SIGCONT) end a call early, with everything as it was.
        let result = eventually("the call's end", || {
            let frame = self.frame.take().unwrap();
            let (registers, frame) = frame.invoke_remote(counter, 0, parameters).unwrap();
            self.frame = Some(frame);
            (registers.program_counter() == counter + STUB).then(|| registers.return_value() as i64)
        });
        let covered = self.covered.clone();
        self.frame().write_memory(counter, &covered).unwrap();
        result
    }

    fn registers(&mut self) -> String {
        format!("{:#x?}", self.frame().query_registers().unwrap())
    }
}

#[test]
fn another_injector_finds_a_parked_process_as_proc_says_it_is() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let parked = Parked::new(&world, hold(&world, "basename=hello", &[hello.to_str().unwrap()]));
    let pid = parked.pid;
    let expected = |key| status_of(pid, key).unwrap().parse::<i64>().unwrap();
    let mut remote = Remote::attach(&parked);
    assert_eq!(remote.counter as u64, entry(pid));
    let before = remote.registers();
    assert_eq!(remote.call(libc::SYS_getpid, &[]), i64::from(pid));
    assert_eq!(remote.call(libc::SYS_getppid, &[]), expected("PPid"));
    let no_new_privileges = [libc::PR_GET_NO_NEW_PRIVS as usize, 0, 0, 0, 0];
    assert_eq!(remote.call(libc::SYS_prctl, &no_new_privileges), expected("NoNewPrivs"));
    let name = remote.frame().query_registers().unwrap().stack_pointer() - 512;
    remote.frame().write_memory(name, b"renamed\0").unwrap();
    assert_eq!(remote.call(libc::SYS_prctl, &[libc::PR_SET_NAME as usize, name]), 0);
    assert_eq!(status_of(pid, "Name").as_deref(), Some("renamed"));
    assert_eq!(remote.registers(), before);
    drop(remote);
    let outcome = finish(parked.session);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
}

#[test]
fn our_injected_call_answers_as_another_injector_s_does_and_leaves_nothing_behind() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    // Without randomised addresses two runs can be compared; the variables are equally long, so that
    // the stacks are alike.
    let command = ["setarch", "-R", hello.to_str().unwrap()];
    let mut seen = Vec::new();
    for variable in ["TRACEXEC_NOTHING", "TRACEXEC_ADMIT"] {
        let mut command = hold(&world, "basename=hello", &command);
        let room = "TRACEXEC_NOTHING".len() - variable.len();
        command.env(variable, "1".repeat(1 + room));
        let parked = Parked::new(&world, command);
        let mut remote = Remote::attach(&parked);
        let stack = remote.frame().query_registers().unwrap().stack_pointer();
        let (vdso, _) = mapping(parked.pid, |_, name| name == "[vdso]");
        let memory = [
            remote.frame().read_memory(vdso as usize, 64).unwrap(),
            remote.frame().read_memory(stack - 256, 512).unwrap(),
        ];
        let registers = remote.registers();
        let set_ptracer = [libc::PR_SET_PTRACER as usize, usize::MAX, 0, 0, 0];
        let theirs = remote.call(libc::SYS_prctl, &set_ptracer);
        drop(remote);
        let outcome = finish(parked.session);
        assert_eq!(outcome.code(), 3, "{}", outcome.stderr);
        let refused = outcome.stderr.contains("prctl(PR_SET_PTRACER) failed: Invalid argument");
        let made = variable == "TRACEXEC_ADMIT";
        assert_eq!(refused, made && theirs == -i64::from(libc::EINVAL), "{}", outcome.stderr);
        seen.push((registers, memory));
    }
    assert_eq!(seen[0], seen[1]);
}
