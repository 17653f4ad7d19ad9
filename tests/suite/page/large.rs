//! 50,000 programs in one page.

use tracexec::event::{ParentEvent, Reading};
use tracexec::trace::Lost;

use super::story::Story;
use crate::support::World;
use crate::support::browser::Browser;

const PROGRAMS: u32 = 50_000;

#[test]
fn a_page_of_50_000_programs_opens_and_scrolls_to_its_end() {
    let world = World::new();
    let mut story = Story::new(&world.path("page.html"), &[b"make", b"-j8"]);
    let make = story.exec(1, None, &[b"make"], |_| {});
    // A recipe's shell, a driver, a compiler; the last one is the only one of its kind.
    for pid in (2..=PROGRAMS).step_by(3) {
        story.begun(pid, 1);
        let sh =
            story.exec(pid, Some(ParentEvent::Spawned(make)), &[b"sh", b"-c", b"cc -O2"], |_| {});
        story.begun(pid + 1, pid);
        let cc = story.exec(pid + 1, Some(ParentEvent::Spawned(sh)), &[b"cc", b"-O2"], |_| {});
        let last = pid + 3 > PROGRAMS;
        let source = format!("src/module-{}/source-{pid}.c", pid % 97);
        let name: &[u8] = if last { b"last" } else { b"cc1" };
        story.begun(pid + 2, pid + 1);
        story.exec(
            pid + 2,
            Some(ParentEvent::Spawned(cc)),
            &[name, b"-quiet", source.as_bytes()],
            |record| {
                record.depth = Reading::Known(3);
            },
        );
        story.now += 3000;
        story.ended(pid + 2, 0);
        story.ended(pid + 1, 0);
        story.ended(pid, if pid % 1000 == 2 { 256 } else { 0 });
    }
    story.ended(1, 0);
    let page = story.finish(0, Lost::default());
    eprintln!("the page has {} bytes", std::fs::metadata(&page).unwrap().len());
    let browser = Browser::start(&world);
    let before = std::time::Instant::now();
    browser.open(&page);
    eprintln!("it was there after {:?}", before.elapsed());
    assert_eq!(browser.run("return document.querySelector('#scroller').ariaRowCount"), "50002");
    eprintln!("frames of scrolling, in ms: {}", scroll(&browser, 300, 1500));
    eprintln!("frames of zooming, in ms: {}", zoom(&browser));
    browser.run("document.querySelector('#scroller').scrollTop = 1e9");
    let last = "requestAnimationFrame(() => requestAnimationFrame(() => done(document.querySelector('#row-50001 .program')?.textContent)))";
    assert_eq!(browser.run_async(last), "last");
    // However many there are, there are elements for those that can be seen only.
    let elements = browser.run("return document.querySelectorAll('.row').length").as_u64().unwrap();
    assert!(elements < 60, "{elements}");
    browser.press("n");
    assert_eq!(browser.text("#failures"), "1 of 17");
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// Scrolls by so many pixels a frame and tells how long frames took; how many are slow depends on the machine, and
/// is for people to look at.
fn scroll(browser: &Browser, frames: u32, pixels: u32) -> String {
    measure(browser, frames, &format!("document.querySelector('#scroller').scrollTop += {pixels}"))
}

/// The same while the wheel turns over the axis.
fn zoom(browser: &Browser) -> String {
    let wheel = "document.querySelector('#axis').dispatchEvent(new WheelEvent('wheel', {deltaY: at < 75 ? -20 : 20, cancelable: true, clientX: 700}))";
    measure(browser, 150, wheel)
}

fn measure(browser: &Browser, frames: u32, step: &str) -> String {
    let script = format!(
        "const took = []; let before, at = 0;
         const frame = now => {{
             if (before !== undefined) took.push(now - before);
             before = now;
             if (at++ >= {frames}) {{
                 took.sort((a, b) => a - b);
                 return done(`median ${{took[took.length >> 1].toFixed(1)}}, 99% ${{took[Math.floor(took.length * 0.99)].toFixed(1)}}, worst ${{took.at(-1).toFixed(1)}}`);
             }}
             {step};
             requestAnimationFrame(frame);
         }};
         requestAnimationFrame(frame);"
    );
    browser.run_async(&script).as_str().unwrap().into()
}
