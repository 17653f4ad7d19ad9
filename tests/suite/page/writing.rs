//! The file itself: whole or not there, and what becomes of it when something goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tracexec::trace::sinks::html::Html;
use tracexec::trace::sinks::output::{Kind, Output};
use tracexec::trace::{End, Lost, Sink};

use super::story::{Story, workshop};
use crate::support::World;
use crate::support::browser::Browser;

#[test]
fn the_page_has_its_name_only_when_it_is_whole() {
    let world = World::new();
    let (page, link) = (world.path("page.html"), world.path("link.html"));
    fs::write(&page, "what was there before").unwrap();
    std::os::unix::fs::symlink(&page, &link).unwrap();
    let mut story = Story::new(&link, &[b"true"]);
    story.exec(7, None, &[b"true"], |_| {});
    assert_eq!(fs::read_to_string(&page).unwrap(), "what was there before");
    story.finish(0, Lost::default());
    assert!(fs::read_to_string(&page).unwrap().ends_with("</html>\n"));
    assert!(link.is_symlink());
    // Nothing is left beside it, and it is a file as any other.
    assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 2);
    let mode = fs::metadata(&page).unwrap().permissions().mode();
    assert_eq!(mode & 0o700, 0o600);
    assert_eq!(mode & 0o044 == 0o044, umask_lets_others_read(&world));
}

fn umask_lets_others_read(world: &World) -> bool {
    let mode = fs::metadata(world.file("other", "")).unwrap().permissions().mode();
    mode & 0o044 == 0o044
}

#[test]
fn what_is_dropped_before_its_end_leaves_nothing() {
    let world = World::new();
    let mut story = Story::new(&world.path("page.html"), &[b"true"]);
    story.exec(7, None, &[b"true"], |_| {});
    drop(story);
    assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_an_error() {
    let mut sink = Html::new(Output::open("/dev/full".as_ref(), Kind::Whole).unwrap());
    let about = tracexec::trace::About {
        command: vec![],
        pids: Vec::new(),
        baseline: Default::default(),
        source: String::new(),
        version: String::new(),
        host: vec![],
        wall: std::time::SystemTime::now(),
        boot: 0,
    };
    let begun = sink.begin(&about);
    let finished = sink.finish(&End::default());
    let error = begun.and(finished).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
}

#[test]
fn a_page_that_was_cut_off_shows_what_it_has_and_says_so() {
    let world = World::new();
    let mut story = Story::new(&world.path("whole.html"), &[b"make"]);
    let make = story.exec(1, None, &[b"make"], |_| {});
    for pid in 2..2000u32 {
        let name = format!("program-{pid}");
        // Something that does not shrink, so that much is there before the end.
        let digest = format!("{:x}", u64::from(pid).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        story.run(pid, (1, make), &[name.as_bytes(), digest.as_bytes()], 10, 0);
    }
    let whole = fs::read(story.finish(0, Lost::default())).unwrap();
    let cut = world.file("cut.html", &whole[..whole.len() - 10_001]);
    let browser = Browser::start(&world);
    browser.open(&cut);
    assert_eq!(browser.text("#warning"), "The trace was cut off: what came later is missing.");
    let rows = browser.run("return Number(document.querySelector('#scroller').ariaRowCount)");
    assert!((100..1999).contains(&rows.as_u64().unwrap()), "{rows}");
    assert_eq!(browser.texts(".row .program")[0], "make");
}

#[test]
fn a_page_can_go_to_a_pipe() {
    let world = World::new();
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    workshop(&fifo);
    assert!(reader.join().unwrap().ends_with("</html>\n"));
}
