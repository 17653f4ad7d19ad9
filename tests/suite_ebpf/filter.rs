//! The kernel's answers against those of userspace: random expressions over random programs.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use crate::filter_support::{FewNames, Given, compiler};
use crate::generate::Choices;
use crate::support::{LIMIT, World, ebpf};
use tracexec::event::{Facts, Reading, Strings};
use tracexec::filter::{Answer, Check, Expr, Field, Filter, Index, Of, Op, Test, What};
use tracexec::linux::sys::Inherited;
use tracexec::source::ebpf::{Aim, EbpfSource, Watched};
use tracexec::source::launch::Command;
use tracexec::source::{ExitStatus, Judge, Source, SourceEvent, Stop};

const SEED: u64 = 0x7261_6365;
const EXPRESSIONS: u64 = 60;
const EXECS: usize = 30;
/// Of a longer argv the kernel sees a part.
const SHORT: usize = 200_000;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

const PROGRAMS: [&[u8]; 8] =
    [b"a", b"b", b"ab", b"a b", b"A", b"a\nb", b"a\xffb", b"a-name-of-more-than-15-bytes-b"];

const PATTERNS: [&str; 14] = [
    r"\ba\b",
    "é+",
    "(?i)É|x",
    "^a b$",
    "a b a",
    "x{3,}",
    r"\n",
    r"(?-u:\xff)",
    "^$|^a$",
    "(a|b)*A",
    "/",
    "a$|^b",
    r"[^\x00-\x7f]",
    "",
];

/// Makes a test one that the kernel ought to decide.
fn restrict(test: &mut Test, random: &mut Random, dir: &Path) {
    test.field.of = Of::Process;
    let index = [0, 1, 2, -1, -2, 5].map(|at| What::Arg(Index::At(at)));
    let what = &mut test.field.what;
    match &mut test.check {
        Check::Exists => *what = random.of(&index),
        Check::Compare { op: Op::Less | Op::AtMost | Op::More | Op::AtLeast, .. } => {
            *what = random.of(&NUMBERS);
        }
        _ if matches!(what, What::Argc | What::Uid | What::Gid | What::Depth) => {}
        _ if matches!(what, What::Pid | What::Ppid) => *what = random.of(&NUMBERS),
        _ if matches!(what, What::Argv | What::Filename | What::Basename | What::Comm) => {}
        _ if matches!(what, What::Exe | What::Arg(_)) => {}
        _ => {
            let any = What::Arg(Index::Any);
            let texts = [What::Argv, What::Filename, What::Basename, What::Comm, any];
            *what = if random.below(2) == 0 { random.of(&texts) } else { random.of(&index) };
        }
    }
    match &mut test.check {
        Check::Compare { op: Op::Match, value, .. } if random.below(2) == 0 => {
            *value = random.of(&PATTERNS).into();
        }
        Check::Compare { op: Op::Equal, value, .. } if *what == What::Exe => {
            *value = path(dir, random.of(&PROGRAMS));
        }
        Check::In { values, .. } if *what == What::Exe => {
            values.push(path(dir, random.of(&PROGRAMS)));
        }
        _ => {}
    }
}

const NUMBERS: [What; 4] = [What::Argc, What::Uid, What::Gid, What::Depth];

fn each_test(expr: &mut Expr, act: &mut dyn FnMut(&mut Test)) {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter_mut().for_each(|expr| each_test(expr, act)),
        Expr::Not(expr) => each_test(expr, act),
        Expr::Test(test) => act(test),
    }
}

fn expression(random: &mut Random, dir: &Path) -> (Expr, Filter) {
    loop {
        let mut expr = crate::generate::sensible(&mut Choices(&random.bytes(150)));
        each_test(&mut expr, &mut |test| restrict(test, random, dir));
        // Some make no sense on the field that they are asked of by now.
        if let Ok(filter) = Filter::new(&[expr.to_bytes()], Arc::new(FewNames)) {
            return (expr, filter);
        }
    }
}

fn path(dir: &Path, name: &[u8]) -> Vec<u8> {
    [dir.to_str().unwrap().as_bytes(), b"/", name].concat()
}

/// A program to be executed, and what is true of it then.
struct Planned {
    entry: Vec<u8>,
    facts: Given,
    argv_len: usize,
}

fn planned(random: &mut Random, dir: &Path) -> Planned {
    let name = random.of(&PROGRAMS);
    let exe = path(dir, name);
    let filename = match random.below(3) {
        0 => exe.clone(),
        1 => [b"./", name].concat(),
        _ => name.to_vec(),
    };
    let [uid, gid] = [0; 2].map(|_| random.of(&[0, 1, 2, 7]));
    let depth = 1 + random.below(3) as u32;
    let mut argv: Vec<Vec<u8>> = (0..random.below(7)).map(|_| argument(random)).collect();
    if random.below(25) == 0 {
        argv.extend((0..3).map(|_| vec![b'x'; 100_000]));
        argv.push(argument(random));
    }
    let numbers = [uid, gid, depth, argv.len() as u32].map(|number| number.to_string());
    let mut entry = Vec::new();
    let strings = [&filename].into_iter().map(Vec::as_slice);
    let strings = strings.chain(numbers.iter().map(String::as_bytes));
    for string in strings.chain(argv.iter().map(Vec::as_slice)) {
        entry.extend_from_slice(string);
        entry.push(0);
    }
    if argv.is_empty() {
        // Linux 5.18 and later give it one.
        argv.push(Vec::new());
    }
    let facts = Given {
        argv: Reading::Known(argv.iter().collect::<Strings>()),
        comm: Reading::Known(name[..name.len().min(15)].to_vec()),
        filename: Reading::Known(filename),
        exe: Reading::Known(exe),
        uid: Reading::Known(uid),
        gid: Reading::Known(gid),
        depth: Reading::Known(depth),
        ..compiler()
    };
    Planned { entry, facts, argv_len: argv.iter().map(|word| word.len() + 1).sum() }
}

fn argument(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 14] = [
        b"a",
        b"b",
        b"",
        b"ab",
        b"a b",
        b"/a",
        b"a/b",
        b"a\xffb",
        b"A",
        b"a\nb",
        "é".as_bytes(),
        b" ",
        b"\xff",
        b"xxx",
    ];
    match random.below(12) {
        0 => [vec![b'x'; random.below(9000)], random.of(&WORDS).to_vec()].concat(),
        1 => random.bytes(6).into_iter().filter(|byte| *byte != 0).collect(),
        _ => random.of(&WORDS).to_vec(),
    }
}

/// Notes what userspace says of each process that the kernel has stopped, and lets it run.
struct Note {
    filter: Arc<Filter>,
    seen: Arc<Mutex<HashMap<i32, Answer>>>,
}

impl Judge for Note {
    fn exec(&mut self, facts: &mut dyn Facts, stop: Stop<'_>) {
        let pid = facts.pid().known().unwrap() as i32;
        self.seen.lock().unwrap().insert(pid, self.filter.judge(facts).answer);
        stop.release();
    }
}

/// Runs the plan under a filter: the pids, in order, and the answers on those that were stopped.
struct Ran {
    pids: Vec<i32>,
    seen: HashMap<i32, Answer>,
    undecided: Vec<&'static str>,
}

fn run(world: &World, filter: &Arc<Filter>, plan: &[Planned]) -> Ran {
    let entries: Vec<&[u8]> = plan.iter().map(|planned| planned.entry.as_slice()).collect();
    let (file, pids) = (world.file("entries", entries.concat()), world.path("pids"));
    let words = [world.path("plan"), file, pids.clone()];
    let command = Command {
        words: words.map(Into::into).into(),
        identity: None,
        inherited: Inherited::note(),
    };
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let judge = Note { filter: Arc::clone(filter), seen: Arc::clone(&seen) };
    let (sender, events) = mpsc::channel();
    let watched = Watched {
        command: Some(command),
        pids: Vec::new(),
        system: false,
        aim: Aim::Stop,
        adopter: None,
    };
    let tell = move |event| drop(sender.send(event));
    ebpf::use_the_programs_guardian();
    let mut started = EbpfSource::start(watched, filter, judge, tell).expect("programs that load");
    loop {
        match events.recv_timeout(LIMIT).expect("the end of the plan") {
            SourceEvent::CommandEnded(status) => {
                assert_eq!(status, ExitStatus(0));
                break;
            }
            SourceEvent::NotStarted(error) => panic!("{error:?}"),
            _ => {}
        }
    }
    started.source.let_go();
    let totals = started.source.totals().unwrap();
    assert_eq!(totals.execs as usize, plan.len() + 1, "execs seen");
    assert_eq!((totals.not_stopped, totals.not_followed, totals.missed), (0, 0, 0));
    let pids = fs::read_to_string(pids).unwrap();
    let seen = seen.lock().unwrap().clone();
    Ran {
        pids: pids.lines().map(|pid| pid.parse().unwrap()).collect(),
        seen,
        undecided: started.undecided,
    }
}

fn asks_for_exe(expr: &Expr) -> bool {
    let mut found = false;
    each_test(&mut expr.clone(), &mut |test| found |= test.field.what == What::Exe);
    found
}

fn world() -> World {
    let world = World::new();
    world.fixture("plan", &[]);
    let seven = world.fixture("seven", &["-static"]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.path("programs")).unwrap();
    for name in PROGRAMS {
        let name = std::os::unix::ffi::OsStrExt::from_bytes(name);
        fs::hard_link(&seven, world.path("programs").join::<&std::ffi::OsStr>(name)).unwrap();
    }
    world
}

#[test]
fn the_kernel_stops_all_that_userspace_may_want_and_nothing_else_that_it_can_decide() {
    if !ebpf::available() {
        return;
    }
    let seed = std::env::var("TRACEXEC_TEST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let world = world();
    // Relative names are found from here.
    let dir = world.path("programs").canonicalize().unwrap();
    std::env::set_current_dir(&dir).unwrap();
    let (mut stopped, mut exact) = (0, 0);
    for number in 0..EXPRESSIONS {
        let mut random = Random(seed + number);
        let (expr, filter) = expression(&mut random, &dir);
        let filter = Arc::new(filter);
        let mut plan: Vec<Planned> = (0..EXECS).map(|_| planned(&mut random, &dir)).collect();
        let ran = run(&world, &filter, &plan);
        let decided = ran.undecided.is_empty() && !asks_for_exe(&expr);
        exact += usize::from(decided);
        assert_eq!(ran.pids.len(), plan.len());
        for (planned, pid) in plan.iter_mut().zip(&ran.pids) {
            let truth = filter.judge(&mut planned.facts).answer;
            let case = || {
                format!(
                    "TRACEXEC_TEST_SEED={} {expr}: userspace {truth:?}, seen {:?}, undecided {:?}\n{:?}",
                    seed + number,
                    ran.seen.get(pid),
                    ran.undecided,
                    String::from_utf8_lossy(&planned.entry[..planned.entry.len().min(2000)])
                )
            };
            match ran.seen.get(pid) {
                None => assert_eq!(truth, Answer::No, "not stopped: {}", case()),
                Some(seen) => {
                    stopped += 1;
                    assert_eq!(*seen, truth, "read otherwise: {}", case());
                    let for_nothing = decided && planned.argv_len < SHORT && truth == Answer::No;
                    assert!(!for_nothing, "stopped for nothing: {}", case());
                }
            }
        }
    }
    eprintln!("{stopped} of {} stopped; {exact} expressions decided", EXPRESSIONS as usize * EXECS);
    // Otherwise nothing would have been tested.
    assert!(exact as u64 > EXPRESSIONS / 4 && stopped > 100 && stopped < 1500, "{exact} {stopped}");
}

#[test]
fn an_expression_too_large_for_the_kernel_is_decided_in_userspace() {
    if !ebpf::available() {
        return;
    }
    let world = world();
    let dir = world.path("programs").canonicalize().unwrap();
    let test = |value: String| {
        Expr::Test(Test {
            field: Field { of: Of::Process, what: What::Arg(Index::Any) },
            check: Check::Compare { op: Op::Equal, negated: false, value: value.into() },
        })
    };
    let mut random = Random(SEED);
    let mut plan: Vec<Planned> = (0..20).map(|_| planned(&mut random, &dir)).collect();
    for planned in &mut plan {
        // Wherever the test runs.
        let rest = planned.entry.iter().position(|byte| *byte == 0).unwrap();
        let exe = planned.facts.exe.clone().known().unwrap();
        planned.entry.splice(..rest, exe);
    }
    for count in [40, 120] {
        let values = (1..count).map(|at| format!("none {at}")).chain(["a".into()]);
        let expr = Expr::Or(values.map(test).collect());
        let filter = Arc::new(Filter::new(&[expr.to_bytes()], Arc::new(FewNames)).unwrap());
        let ran = run(&world, &filter, &plan);
        assert!(!ran.undecided.is_empty(), "{count}");
        for (planned, pid) in plan.iter_mut().zip(&ran.pids) {
            assert_eq!(
                ran.seen.get(pid),
                Some(&filter.judge(&mut planned.facts).answer),
                "{count}"
            );
        }
    }
}
