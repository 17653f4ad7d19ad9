//! The page of a real build.

use std::process::Command;

use crate::support::browser::Browser;
use crate::support::{World, ebpf, finish};

const MAKEFILE: &str = "\
prog: main.o parser.o
	gcc -o $@ $^
%.o: %.c
	gcc -O1 -c -o $@ $<
check: prog
	-./prog
	-env no-such-program
";

fn collect(world: &World, words: &[&str]) -> crate::support::Outcome {
    let mut command: Command = world.tracexec(["collect", "--backend", "ebpf", "--format", "html"]);
    command.args(["--"]).args(words).current_dir(world.dir.path());
    finish(world.start(command))
}

#[test]
fn a_build_s_page_opens_and_shows_the_build() {
    if !ebpf::available() {
        return;
    }
    let world = World::new();
    world.file("Makefile", MAKEFILE);
    world.file("main.c", "int parse(void); int main(void) { return parse(); }\n");
    world.file("parser.c", "int parse(void) { return 3; }\n");
    let outcome = collect(&world, &["make", "-j2", "check"]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let browser = Browser::start(&world);
    browser.open(&world.path("tracexec.html"));
    assert_eq!(browser.text("#command"), "make -j2 check");
    let programs = browser.texts("#rows .program");
    for (program, count) in
        [("make", 1), ("gcc", 3), ("cc1", 2), ("as", 2), ("collect2", 1), ("ld", 1), ("prog", 1)]
    {
        assert_eq!(
            programs.iter().filter(|name| *name == program).count(),
            count,
            "{program} in {programs:?}"
        );
    }
    browser.click("#failure-next");
    assert_eq!(browser.text("#details h2 + p"), "exit status 3");
    assert_eq!(browser.text("[aria-selected=true] .program"), "prog");
    browser.click("#failure-next");
    assert!(browser.text("#details h2 + p").starts_with("exec failed with ENOENT: "));
    assert_eq!(browser.console(), Vec::<String>::new());
    a_command_that_ends_badly_still_gets_its_page_and_its_status(&world, &browser);
}

fn a_command_that_ends_badly_still_gets_its_page_and_its_status(world: &World, browser: &Browser) {
    let outcome = collect(world, &["sh", "-c", "true; kill -9 $$"]);
    assert_eq!(outcome.code(), 137, "{}", outcome.stderr);
    browser.open(&world.path("tracexec.html"));
    assert!(browser.text("#summary").starts_with("killed by SIGKILL"));
}
