//! What the page shows, and how one gets there by mouse and by keys.

use serde_json::{Value, json};

use super::story::workshop;
use crate::support::browser::Browser;
use crate::support::{World, eventually};

/// A browser with the workshop's page.
fn open(world: &World) -> Browser {
    let browser = Browser::start(world);
    browser.open(&workshop(&world.path("page.html")));
    browser
}

/// The programs of the rows in sight, with how they ended.
fn rows(browser: &Browser) -> Vec<String> {
    let rows = "return [...document.querySelectorAll('.row')].filter(row => row.checkVisibility())
        .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
        .map(row => [row.ariaLevel, row.querySelector('.program').textContent, row.querySelector('.exit').textContent].join(' '))";
    let rows = browser.look(rows);
    rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap().into()).collect()
}

/// What stands beside a name in the details.
fn detail(browser: &Browser, name: &str) -> String {
    let script = format!(
        "return [...document.querySelectorAll('#details dt')].find(dt => dt.textContent === {name:?})?.nextSibling.textContent ?? 'null'"
    );
    browser.look(&script).as_str().unwrap().into()
}

#[test]
fn a_page_shows_the_tree_the_failures_and_the_programs() {
    let world = World::new();
    let browser = open(&world);
    the_rows_are_the_tree_and_say_how_each_program_ended(&browser);
    lookups_through_path_are_shown_when_they_are_asked_for(&browser);
    the_lists_of_programs_lead_to_their_runs(&browser);
    assert_eq!(browser.console(), Vec::<String>::new());
}

fn the_rows_are_the_tree_and_say_how_each_program_ended(browser: &Browser) {
    let expected = [
        "1 make 2",
        "2 cc1 0",
        "2 cc1 0",
        "2 cc1 0",
        "2 check.sh → unit tests",
        "3 unit tests 1",
        "2 ld SIGSEGV",
        "2 make (fork) 126",
        "3 missing EACCES",
    ];
    assert_eq!(rows(browser), expected);
    assert_eq!(browser.text("#command"), "make -j2");
    assert!(browser.text("#summary").contains("exit status 2"), "{}", browser.text("#summary"));
    assert_eq!(browser.text("#warning"), "3 events were lost.");
    // A row's bar is where the row is, on the canvas.
    let bars = "const lanes = document.querySelector('#lanes'), {width} = lanes;
        const {data} = lanes.getContext('2d').getImageData(0, 0, width, lanes.height);
        return [0, 1, 2, 3].map(row => {
            const begin = 4 * width * Math.round((row * 22 + 11) * devicePixelRatio);
            let wide = 0;
            for (let x = 0; x < width; x++) wide += data[begin + 4 * x + 3] === 255;
            return Math.round(100 * wide / width);
        })";
    let bars: Vec<u64> = serde_json::from_value(browser.look(bars)).unwrap();
    assert!(bars[0] > 95 && bars[1] > 5 && bars[1] < bars[2] && bars[2] < bars[3], "{bars:?}");
}

#[test]
fn a_row_s_details_are_all_that_is_known_of_it() {
    let world = World::new();
    let browser = open(&world);
    browser.click("#row-5");
    assert_eq!(browser.text("#details h2"), "unit tests");
    assert_eq!(browser.text("#details h2 + p"), "exit status 1");
    let expected = [
        ("pid", "104"),
        ("was", "check.sh, 104"),
        ("parent pid", "100"),
        ("directory", "/src/tests"),
        ("file name", "/usr/bin/unit tests"),
        ("it took", "8.00 ms"),
        ("processor", "1.23 s user, 56.0 ms system"),
        ("peak memory", "7.80 MB"),
        ("other groups", "27, 100"),
    ];
    for (name, value) in expected {
        assert_eq!(detail(&browser, name), value, "{name}");
    }
    assert_eq!(browser.texts("#argv li"), ["0unit tests", "1a b"]);
    let line = browser.text("#command-line");
    let parts = ["env ", " -C /src/tests ", "LANG=de CI=1", "'/usr/bin/unit tests' 'a b'"];
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    browser.click("#copy");
    eventually("a copy", || (browser.text("#copy") == "Copied").then_some(()));
    assert_eq!(browser.texts("#environment li"), ["~LANG=deC", "+CI=1", "−PATH"]);
    assert_eq!(browser.text("#details summary"), "1 variable as given");
    let descriptor =
        "0/dev/nullfile, WRONLY APPEND, position 4096, inode 18446744073709551615, ext4, mount 29";
    assert_eq!(browser.texts("#descriptors li"), [descriptor]);
    // Up the tree by its links, and down again.
    browser.click("#details dd button");
    assert_eq!(browser.text("#details h2"), "check.sh");
    assert_eq!(detail(&browser, "interpreters"), "/bin/sh");
    browser.click("#details dd button");
    assert_eq!(browser.text("#details h2"), "make");
    assert_eq!(browser.texts("#children button").len(), 6);
    browser.click("#children tr:nth-child(5) button");
    assert_eq!(browser.text("#details h2 + p"), "killed by SIGSEGV");
    // What could not be read is shown as that.
    assert!(browser.text("#details").contains("env: a string could not be read"));
}

fn failures_are_visited_in_the_order_in_which_they_happened(browser: &Browser) {
    assert_eq!(browser.text("#failures"), "5 failures");
    let mut seen = Vec::new();
    for _ in 0..6 {
        browser.press("n");
        let chosen = browser.text("[aria-selected=true] .program");
        seen.push(format!("{} {chosen}", browser.text("#failures")));
    }
    let expected = [
        "1 of 5 unit tests",
        "2 of 5 ld",
        "3 of 5 missing",
        "4 of 5 make (fork)",
        "5 of 5 make",
        "1 of 5 unit tests",
    ];
    assert_eq!(seen, expected);
    browser.click("#failure-before");
    assert_eq!(browser.text("#failures"), "5 of 5");
}

fn lookups_through_path_are_shown_when_they_are_asked_for(browser: &Browser) {
    assert_eq!(browser.text("#lookups-text"), "1 PATH lookup");
    browser.click("#lookups");
    assert!(rows(browser).contains(&"2 ld ENOENT".into()));
    assert_eq!(browser.text("#failures"), "5 failures");
    browser.click("#lookups");
}

fn the_lists_of_programs_lead_to_their_runs(browser: &Browser) {
    assert_eq!(browser.texts("#slowest tbody tr")[0], "cc13300 ms300 ms");
    assert_eq!(browser.texts("#frequent tbody tr")[0], "cc13300 ms300 ms");
    assert_eq!(browser.texts("#longest tbody tr")[0], "cc1 Übung.c150 ms");
    browser.click("#frequent button");
    assert_eq!(browser.text("#found"), "filter: 3 of 9 rows");
    assert_eq!(rows(browser), ["1 make 2", "2 cc1 0", "2 cc1 0", "2 cc1 0"]);
    browser.click("#longest button");
    assert_eq!(browser.text("#details h2"), "cc1");
}

#[test]
fn keys_and_the_mouse_move_fold_zoom_and_pan() {
    const DOWN: &str = "\u{e015}";
    const LEFT: &str = "\u{e012}";
    const END: &str = "\u{e010}";
    let world = World::new();
    let browser = open(&world);
    failures_are_visited_in_the_order_in_which_they_happened(&browser);
    browser.open(&world.path("page.html"));
    let chosen = || browser.text("[aria-selected=true] .program");
    browser.press(DOWN);
    assert_eq!(chosen(), "make");
    browser.press(LEFT);
    assert_eq!(rows(&browser), ["1 make 2"]);
    browser.press("\u{e014}");
    assert_eq!(rows(&browser).len(), 9);
    browser.press(END);
    assert_eq!(chosen(), "missing");
    browser.press(LEFT);
    assert_eq!(chosen(), "make (fork)");
    // The time that is shown, in microseconds.
    let window = || -> (f64, f64) {
        let script = "const {from, to} = document.querySelector('#strip').dataset; return [from, to].map(Number)";
        serde_json::from_value(browser.look(script)).unwrap()
    };
    let (from, all) = window();
    assert_eq!(from, 0.0);
    browser.press("+");
    let (from, to) = window();
    assert!(from > 0.0 && to < all && (to - from) < all / 1.5, "{from} {to}");
    browser.press("]");
    let (later, _) = window();
    assert!(later > from);
    browser.press("z");
    let (from, to) = window();
    assert!(to - from < all / 10.0, "{from} {to}");
    browser.press("0");
    assert_eq!(window(), (0.0, all));
    // By the wheel, and by dragging over the strip.
    let wheel = json!([{"type": "wheel", "id": "wheel", "actions": [
        {"type": "scroll", "x": 700, "y": 200, "deltaX": 0, "deltaY": -120}]}]);
    browser.actions(wheel);
    let (from, to) = window();
    assert!(to - from < all, "{from} {to}");
    browser.press("0");
    let place = browser.run("const {left, top, width} = document.querySelector('#strip').getBoundingClientRect(); return [left, top, width].map(Math.round)");
    let [left, top, width]: [i64; 3] = serde_json::from_value(place).unwrap();
    let to = |x: i64| json!({"type": "pointerMove", "x": left + x, "y": top + 30});
    let actions: Value = json!([{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
        to(width / 4), {"type": "pointerDown", "button": 0}, to(width / 3), to(width / 2), {"type": "pointerUp", "button": 0}]}]);
    browser.actions(actions);
    let (from, to) = window();
    assert!((from / all - 0.25).abs() < 0.01 && (to / all - 0.5).abs() < 0.01, "{from} {to} {all}");
}
