//! The search: plain text, the filter language, and what is said of errors.

use std::sync::Arc;

use tracexec::filter::{Filter, SystemNames};

use super::story::workshop;
use crate::support::World;
use crate::support::browser::Browser;

/// Types it, and waits for what is said about it.
fn search(browser: &Browser, text: &str) -> String {
    let script = format!(
        "const search = document.querySelector('#search'); search.value = {};
         search.dispatchEvent(new Event('input'));
         const found = document.querySelector('#found');
         setTimeout(() => requestAnimationFrame(() => done(found.textContent)), 150);",
        serde_json::to_string(text).unwrap()
    );
    browser.run_async(&script).as_str().unwrap().into()
}

/// Whether -m takes it.
fn parses(expression: &str) -> bool {
    Filter::of_records(&[expression.as_bytes()], Arc::new(SystemNames)).is_ok()
}

/// The rows that were found, by their place in the tree.
fn found(browser: &Browser) -> Vec<u64> {
    let script = "return [...document.querySelectorAll('.row:not(.around)')].filter(row => row.checkVisibility())
        .map(row => Number(row.id.slice(4))).sort((a, b) => a - b)";
    serde_json::from_value(browser.look(script)).unwrap()
}

#[test]
fn a_search_finds_what_it_says_or_tells_what_is_wrong() {
    let world = World::new();
    let browser = Browser::start(&world);
    browser.open(&workshop(&world.path("page.html")));
    a_filter_finds_what_it_says(&browser);
    an_error_is_shown_at_its_place(&browser);
    assert_eq!(browser.console(), Vec::<String>::new());
}

fn a_filter_finds_what_it_says(browser: &Browser) {
    // 0 make, 1 2 3 cc1, 4 check.sh, 5 unit tests, 6 a lookup of ld that is not searched, 7 ld, 8 make (fork),
    // 9 missing.
    let cases: &[(&str, &[u64])] = &[
        ("basename=cc1", &[1, 2, 3]),
        ("basename=cc1 and argv~parser\\.c", &[2]),
        ("argv~(main|parser)", &[1, 2]),
        ("argv~(?i)PARSER", &[2]),
        ("argv endswith Übung.c", &[3]),
        ("argv[-1]=parser.c or argv[1]='a b'", &[2, 5]),
        ("argv[*]=-quiet", &[1, 2, 3]),
        ("argv[7]", &[]),
        ("argc=2", &[0, 4, 5]),
        ("not basename=cc1 && depth=0", &[0, 4, 7, 9]),
        ("filename glob */c*", &[1, 2, 3, 4]),
        ("basename in (ld, 'unit tests')", &[5, 7]),
        ("basename not in (cc1, ld, make)", &[4, 5, 9]),
        ("interpreter", &[4]),
        ("exe startswith /usr/bin/d", &[4]),
        ("env[CI]=1", &[5]),
        ("env[CI]", &[5]),
        ("env[CI]!=1", &[0, 1, 2, 3, 4, 9]),
        ("env[PATH]", &[0, 1, 2, 3, 4, 9]),
        ("env[LANG]=de", &[5]),
        ("cwd=/src/tests", &[5]),
        ("comm=cc1", &[1, 2, 3]),
        ("prev.comm=sh and uid=1000 and gid in (5, 1000) and pid<103", &[0, 1, 2]),
        ("ppid=100 and depth>0", &[1, 2, 3, 5]),
        ("parent.basename=make and not argv[1]=-quiet", &[4, 5, 7, 9]),
        ("not parent", &[0]),
        ("ancestor.comm!=make and pid>0", &[0]),
        ("fd[3]", &[7]),
        ("fd[*] contains prog", &[7]),
        ("fd[0].type=file and basename=ld", &[7]),
        ("cgroup startswith /user", &[0, 1, 2, 3, 4, 5, 7, 9]),
        ("status=1", &[5]),
        ("status>0", &[0, 5, 8]),
        ("signal=SEGV", &[7]),
        ("signal", &[7]),
        ("errno=EACCES or errno=2", &[9]),
        ("age>100ms", &[0, 3]),
        ("!(basename=cc1 or status) and errno", &[9]),
        ("parser.c", &[2]),
        ("QUIET", &[1, 2, 3]),
        ("-O2 übung", &[3]),
        ("FOO=bar", &[]),
        ("\"quoted", &[]),
    ];
    for (expression, expected) in cases {
        let said = search(browser, expression);
        assert!(said.ends_with(" of 9 rows"), "{expression}: {said}");
        assert_eq!(found(browser), *expected, "{expression}: {said}");
        // It is the language of -m; but only the page knows how programs have ended.
        let later = ["status", "signal", "age>"].iter().any(|field| expression.contains(field));
        assert!(later || said.starts_with("filter") == parses(expression), "{expression}: {said}");
    }
    assert_eq!(search(browser, ""), "");
    assert_eq!(found(browser).len(), 9);
}

fn an_error_is_shown_at_its_place(browser: &Browser) {
    let cases = [
        ("basename=cc1 and", 16, "expected a field"),
        ("basename=cc1 and foo=1", 17, "no field is called foo"),
        ("basname=cc1", 0, "did you mean basename?"),
        ("argv~(", 5, "no regular expression: "),
        ("(argv~a", 0, "not closed"),
        ("argv~a b", 7, "quote a value with spaces"),
        ("argv='a", 5, "this quote is not closed"),
        ("argv in a", 7, "expected ( and a list"),
        ("argv<3", 5, "compares numbers"),
        ("pid=x", 4, "expected a number"),
        ("user=root", 0, "use uid"),
        ("unit=x.service", 0, "use cgroup"),
        ("age>3", 4, "expected a time"),
        ("argv=~a", 5, "quote this value"),
        ("env=1", 0, "env[NAME]"),
        ("argv[x]=1", 5, "expected a number or *"),
    ];
    for (expression, at, message) in cases {
        // What is found stays as it was.
        assert_eq!(search(browser, "basename=ld"), "filter: 1 of 9 rows");
        assert!(!parses(expression) || message.starts_with("use "), "{expression}");
        let said = search(browser, expression);
        let place = said.find('▲').map(|end| said[..end].chars().count());
        assert!(place == Some(at) && said.contains(message), "{expression}: {said}");
        assert!(
            browser.run("return document.querySelector('#search').matches('[aria-invalid]')")
                == true
        );
        assert_eq!(found(browser), [7]);
    }
}
