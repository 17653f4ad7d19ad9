//! What is run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::World;

pub struct Scenario {
    pub name: &'static str,
    /// Makes the command, which is run several times.
    pub words: fn(&World) -> Vec<OsString>,
    /// Its exit status.
    pub code: i32,
    /// How many execs there are, at least.
    pub least: usize,
}

fn script(world: &World, name: &str, text: &str) -> OsString {
    let path = world.file(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.into()
}

fn words<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Vec<OsString> {
    words.into_iter().map(Into::into).collect()
}

pub fn a_build_with_make_and_gcc() -> Scenario {
    fn build(world: &World) -> Vec<OsString> {
        for name in ["a", "b", "c"] {
            world.file(&format!("{name}.c"), format!("int {name}(void) {{ return 1; }}\n"));
        }
        world.file(
            "main.c",
            "int a(void), b(void), c(void);\nint main(void) { return a() + b() + c() - 3; }\n",
        );
        world.file(
            "Makefile",
            "OBJECTS = main.o a.o b.o c.o\nprogram: $(OBJECTS)\n\tgcc -o $@ $(OBJECTS)\n\t./$@\n\
             %.o: %.c\n\tgcc -O1 -c -o $@ $<\n",
        );
        words(["make", "-B", "-s"])
    }
    Scenario { name: "make", words: build, code: 0, least: 18 }
}

pub fn a_shell_script_with_pipes_and_subshells() -> Scenario {
    fn shell(world: &World) -> Vec<OsString> {
        script(world, "inner", "#!/bin/sh -e\necho \"$#\" | cat\n");
        let outer = "#! /bin/bash\n(cat /dev/null; true) | (cat | tr a b) | cat\n\
                     x=$(/bin/echo a; /bin/echo b | sort -r)\n./inner \"$x\" $'\\xff\\n' ''\n\
                     cp inner shim; PATH=.:$PATH shim by name; (exec -a 'other name' ./inner x)\n\
                     (exec -a '' ./inner); env -i ./inner ./inner\n\
                     for i in 1 2 3; do /bin/true & done; wait\nexec sh -c 'exit 5' \"it's\"\n";
        words([script(world, "outer", outer)])
    }
    Scenario { name: "shell", words: shell, code: 5, least: 14 }
}

pub fn a_search_that_fails_hundreds_of_times() -> Scenario {
    fn configure(world: &World) -> Vec<OsString> {
        // env(1) asks the kernel for each folder of PATH.
        let text = "#!/bin/sh\nPATH=/no/such:/nor/this:/bin/true/below:/usr/local/bin:/usr/bin:/bin\nn=0\n\
                    while [ $n -lt 60 ]; do env probe_$n --version 2>/dev/null; n=$((n + 1)); done\n\
                    env true && exit 4\n";
        words([script(world, "configure", text)])
    }
    Scenario { name: "configure", words: configure, code: 4, least: 400 }
}

pub fn a_program_that_spawns() -> Scenario {
    fn spawn(world: &World) -> Vec<OsString> {
        let (spawn, hello) = (world.fixture("posix_spawn", &[]), world.fixture("hello", &[]));
        let odd = OsString::from_vec(b"\xff\xfe \"'\\\n\x1b[2J".to_vec());
        vec![spawn.into(), hello.into(), odd, OsString::new(), "-x".into()]
    }
    Scenario { name: "posix_spawn", words: spawn, code: 3, least: 2 }
}

fn digits(world: &World) -> OsString {
    world.fixture("digits", &["-nostdlib", "-static", "-O1"]).into()
}

pub fn every_way_to_make_a_process() -> Scenario {
    fn ways(world: &World) -> Vec<OsString> {
        let ways = world.fixture("ways", &[]);
        vec![ways.into(), "4".into(), "40".into(), digits(world)]
    }
    Scenario { name: "ways", words: ways, code: 0, least: 161 }
}

fn odd(world: &World, flags: &[&str]) -> Vec<OsString> {
    let program = world.fixture("odd_execs", flags);
    let folder = world.path("folder");
    fs::create_dir(&folder).unwrap();
    vec![program.into(), folder.into(), digits(world)]
}

pub fn execs_as_no_ordinary_program_does_them() -> Scenario {
    Scenario { name: "odd", words: |world| odd(world, &[]), code: 3, least: 20 }
}

pub fn execs_of_32_bits_as_no_ordinary_program_does_them() -> Scenario {
    Scenario { name: "odd, 32 bits", words: |world| odd(world, &["-m32"]), code: 3, least: 20 }
}

pub fn a_thread_that_executes() -> Scenario {
    fn thread(world: &World) -> Vec<OsString> {
        let (thread, hello) = (world.fixture("thread_exec", &[]), world.fixture("hello", &[]));
        vec![thread.into(), hello.into(), "of a thread".into()]
    }
    Scenario { name: "thread", words: thread, code: 3, least: 2 }
}

pub fn a_vfork() -> Scenario {
    fn vfork(world: &World) -> Vec<OsString> {
        let (vfork, hello) = (world.fixture("vfork", &[]), world.fixture("hello", &["-m32"]));
        vec![vfork.into(), hello.into(), "of 32 bits".into()]
    }
    Scenario { name: "vfork", words: vfork, code: 3, least: 2 }
}

pub fn a_folder_s_descriptor() -> Scenario {
    fn execveat(world: &World) -> Vec<OsString> {
        let execveat = world.fixture("execveat", &[]);
        let hello = world.fixture("hello", &[]);
        let folder = Path::new(&hello).parent().unwrap();
        vec![execveat.into(), folder.into(), "hello".into(), "by a descriptor".into()]
    }
    Scenario { name: "execveat", words: execveat, code: 3, least: 2 }
}

pub fn no_arguments_at_all() -> Scenario {
    fn none(world: &World) -> Vec<OsString> {
        vec![world.fixture("empty_argv", &[]).into(), world.fixture("hello", &[]).into()]
    }
    Scenario { name: "no arguments", words: none, code: 3, least: 2 }
}

pub fn a_megabyte_of_arguments() -> Scenario {
    fn megabyte(world: &World) -> Vec<OsString> {
        let records = world.fixture("records", &[]);
        let mut all = vec![records.into(), "plain".into(), "/no/such".into()];
        all.extend((0..9).map(|_| OsString::from("x".repeat(100_000))));
        all.extend((0..9_000).map(|n| OsString::from(n.to_string())));
        all
    }
    Scenario { name: "megabyte", words: megabyte, code: 3, least: 2 }
}

fn limits(world: &World, which: &str, flags: &[&str]) -> Vec<OsString> {
    vec![world.fixture("limits", flags).into(), which.into()]
}

pub fn strings_around_the_longest_that_the_kernel_takes() -> Scenario {
    Scenario { name: "strings", words: |world| limits(world, "strings", &[]), code: 3, least: 85 }
}

pub fn strings_of_32_bits_around_the_longest_that_the_kernel_takes() -> Scenario {
    let words = |world: &World| limits(world, "strings", &["-m32"]);
    Scenario { name: "strings, 32 bits", words, code: 3, least: 85 }
}

pub fn file_names_around_the_longest_that_the_kernel_takes() -> Scenario {
    Scenario { name: "names", words: |world| limits(world, "names", &[]), code: 3, least: 7 }
}

pub fn more_arguments_than_are_kept() -> Scenario {
    Scenario { name: "block", words: |world| limits(world, "block", &[]), code: 3, least: 2 }
}
