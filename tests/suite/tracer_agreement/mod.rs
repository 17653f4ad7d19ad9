//! All ways to record execs tell the same, and strace tells it, too: none is missing, and none is invented.

mod dump;
mod event;
mod scenarios;
mod strace;

use std::io::Write;

use crate::support::World;
use dump::{Eyes, prepare};
use event::assert_same;
use scenarios::Scenario;

#[test]
fn the_program_that_watches() {
    dump::be_the_program();
}

/// Where what is compared runs, with this test's own program in it, for everybody.
fn world() -> World {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    std::fs::set_permissions(world.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // Another process writes it, see ETXTBSY.
    let own = std::env::current_exe().unwrap();
    let copy = std::process::Command::new("install").arg(own).arg(world.path("this")).status();
    assert!(copy.unwrap().success());
    world
}

fn can_use_ebpf() -> bool {
    #[cfg(feature = "ebpf")]
    return crate::support::ebpf::available();
    #[cfg(not(feature = "ebpf"))]
    false
}

/// Compares everybody's account of a scenario.
fn compare(scenario: Scenario) {
    let world = world();
    let words = (scenario.words)(&world);
    let name = scenario.name;
    let calls = dump::run(&world, &[], Eyes::Calls, &words);
    assert!(calls.execs.len() >= scenario.least, "{name}: {}", calls.execs.len());
    assert_eq!(calls.status, scenario.code << 8, "{name}");
    let (told, code) = strace::run(&world, &[], &words);
    assert_eq!(code, scenario.code, "{name}");
    assert_same(&format!("{name}: calls, strace"), &calls.execs, &told);

    let seccomp = dump::run(&world, &[], Eyes::Seccomp, &words);
    assert_same(&format!("{name}: seccomp, calls"), &seccomp.execs, &calls.execs);
    let execs = dump::run(&world, &[], Eyes::Execs, &words);
    assert_same(&format!("{name}: execs, calls"), &execs.successes(), &calls.successes());
    let mut all = vec![("seccomp", seccomp), ("execs", execs)];
    if can_use_ebpf() {
        let ebpf = dump::run(&world, &[], Eyes::Ebpf, &words);
        assert_same(&format!("{name}: eBPF, calls"), &ebpf.execs, &calls.execs);
        all.push(("eBPF", ebpf));
    }
    for (eyes, other) in all {
        let lives = (other.status, other.begun, other.ended);
        assert_eq!(lives, (calls.status, calls.begun, calls.ended.clone()), "{name}: {eyes}");
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                compare(scenarios::$name());
            }
        )*
    };
}

scenarios!(
    a_build_with_make_and_gcc,
    a_shell_script_with_pipes_and_subshells,
    a_search_that_fails_hundreds_of_times,
    a_program_that_spawns,
    every_way_to_make_a_process,
    execs_as_no_ordinary_program_does_them,
    execs_of_32_bits_as_no_ordinary_program_does_them,
    a_thread_that_executes,
    a_vfork,
    a_folder_s_descriptor,
    no_arguments_at_all,
    a_megabyte_of_arguments,
    strings_around_the_longest_that_the_kernel_takes,
    strings_of_32_bits_around_the_longest_that_the_kernel_takes,
    file_names_around_the_longest_that_the_kernel_takes,
    more_arguments_than_are_kept,
);

#[test]
fn an_ordinary_user_sees_the_same() {
    let nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"];
    for scenario in [
        scenarios::a_shell_script_with_pipes_and_subshells(),
        scenarios::a_search_that_fails_hundreds_of_times(),
        scenarios::every_way_to_make_a_process(),
    ] {
        let world = world();
        let words = (scenario.words)(&world);
        let name = scenario.name;
        let seccomp = dump::run(&world, &nobody, Eyes::Seccomp, &words);
        assert_eq!(seccomp.status, scenario.code << 8, "{name}");
        let (told, code) = strace::run(&world, &nobody, &words);
        assert_eq!(code, scenario.code, "{name}");
        assert_same(name, &seccomp.execs, &told);
    }
}

#[test]
fn what_runs_already_is_followed_with_its_threads_and_children() {
    for eyes in [Eyes::Calls, Eyes::Execs, Eyes::Ebpf] {
        if eyes == Eyes::Ebpf && !can_use_ebpf() {
            continue;
        }
        let world = world();
        let already = world.fixture("already", &[]);
        let mut command = std::process::Command::new(already);
        command.arg("/bin/true");
        world.prepare(&mut command);
        command.stdin(std::process::Stdio::piped());
        let mut already = world.start(command);
        let mut stdin = already.child().stdin.take().unwrap();
        let mut program = dump::follow(&world, eyes, already.pid());
        let mut say = |line: &str| stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        crate::support::eventually("something that is seen", || {
            program.assert_runs();
            say("early");
            dump::has_seen(&world).then_some(())
        });
        (0..20).for_each(|n| say(&format!("line {n}")));
        drop(stdin);
        assert_eq!(crate::support::finish(already).code(), 3);
        let run = dump::result(&world, program);
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for exec in &run.execs {
            let argv = exec.argv.as_ref().unwrap();
            let [_, Some(who), Some(line)] = argv.as_slice() else { panic!("{argv:?}") };
            if line.starts_with(b"line") {
                seen.push([who.as_slice(), b" ", line].concat());
            }
        }
        let want = |who: &str| -> Vec<Vec<u8>> {
            (0..20).map(|n| format!("{who} line {n}").into_bytes()).collect()
        };
        let mut want: Vec<Vec<u8>> = [want("thread"), want("child")].concat();
        want.sort();
        seen.sort();
        assert_eq!(seen, want, "{eyes:?}");
    }
}
