//! Values that would like to be part of the page.

use tracexec::event::{Part, Vector};
use tracexec::trace::Lost;

use super::story::{Story, file, strings};
use crate::support::World;
use crate::support::browser::Browser;

const NASTY: [&[u8]; 9] = [
    b"</script><script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>",
    b"<!--<script>",
    b"\"]}'`${alert(1)}\\",
    b"\x1b[31mred\x1b]0;title\x07",
    b"\xff\xfe not UTF-8 \xc3",
    "\u{202e}reversed\u{2066}\u{feff}\u{2028}".as_bytes(),
    b"__proto__",
    b"{{events}}{{script}}",
];

#[test]
fn no_value_of_a_traced_process_becomes_part_of_the_page() {
    let world = World::new();
    let browser = Browser::start(&world);
    let mut story = Story::new(&world.path("page.html"), &NASTY);
    let mut parent = story.exec(1, None, &NASTY, |_| {});
    for (at, nasty) in NASTY.iter().enumerate() {
        story.begun(at as u32 + 2, 1);
        parent = story.exec(
            at as u32 + 2,
            Some(tracexec::event::ParentEvent::Spawned(parent)),
            &NASTY,
            |record| {
                let all = Part::of(nasty.to_vec());
                record.filename = all.clone();
                record.comm = all.clone();
                record.prev_comm = all.clone();
                record.cwd = all.clone();
                record.exe = all.clone();
                record.cgroup = all;
                record.interpreters = Part::of(vec![nasty.to_vec()]);
                let env = NASTY.map(|value| [value, b"=", value].concat());
                let env: Vec<&[u8]> = env.iter().map(Vec::as_slice).collect();
                record.env = Part::of(Vector { strings: strings(&env), unread: vec![1] });
                record.fds = Part::of(vec![file(0, nasty)]);
            },
        );
    }
    let page = story.finish(0, Lost::default());
    browser.open(&page);
    for row in 0..=NASTY.len() {
        browser.run(&format!("document.querySelector('#row-{row}').click()"));
        let text = browser.run("return document.documentElement.innerText");
        let dangerous = |c: &char| {
            (c.is_control() && *c != '\n' && *c != '\t')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}' | '\u{feff}' | '\u{fffd}')
        };
        assert_eq!(text.as_str().unwrap().chars().find(dangerous), None);
    }
    let arguments = browser.texts("#argv li");
    let expected = [
        "0</script><script>alert(1)</script>",
        "1<img src=x onerror=alert(1)>",
        "2<!--<script>",
        "3\"]}'`${alert(1)}\\",
        "4\\x1b[31mred\\x1b]0;title\\x07",
        "5\\xff\\xfe not UTF-8 \\xc3",
        "6\\u{202e}reversed\\u{2066}\\u{feff}\\u{2028}",
        "7__proto__",
        "8{{events}}{{script}}",
    ];
    assert_eq!(arguments, expected);
    assert!(browser.texts("#environment li").contains(&"?[not read]".to_string()));
    browser.click("#programs-tab");
    browser.click("#slowest tr:last-child button");
    // A script is the page's own, and no element but those that the page has made is there.
    assert_eq!(browser.run("return document.scripts.length"), 1);
    assert_eq!(
        browser.run("return document.querySelectorAll('img, iframe, object, svg, a').length"),
        0
    );
    assert_eq!(browser.dialogue(), None);
    assert_eq!(browser.console(), Vec::<String>::new());
    the_page_s_policy_lets_no_other_script_run_and_nothing_be_fetched(&world, &browser);
}

fn the_page_s_policy_lets_no_other_script_run_and_nothing_be_fetched(
    world: &World,
    browser: &Browser,
) {
    let page = Story::new(&world.path("page.html"), &[b"true"]).finish(0, Lost::default());
    browser.open(&page);
    let foreign = "const script = document.createElement('script');
        script.textContent = 'document.title = \"foreign\"';
        document.head.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">');
        fetch('data:,x').then(() => done('fetched'), () => done(document.title));";
    assert_eq!(browser.run_async(foreign), "true – tracexec");
    let refused = browser.console();
    assert!(refused.iter().any(|line| line.contains("script-src 'sha256-")), "{refused:?}");
    let text = std::fs::read_to_string(page).unwrap();
    for place in ["http:", "https:", "//cdn", "src=\"", "@import", "url("] {
        assert!(!text.contains(place), "{place}");
    }
}
