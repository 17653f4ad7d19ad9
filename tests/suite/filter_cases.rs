//! The filter language by examples: what an expression answers, how it is printed, and what is
//! said about a mistake.

use std::sync::Arc;

use crate::filter_support::{FewNames, Given, compiler};
use tracexec::event::{Keep, Reading, Strings};
use tracexec::filter::{Answer, Expr, Filter};

fn filter<B: AsRef<[u8]>>(expressions: &[B]) -> Filter {
    Filter::new(expressions, Arc::new(FewNames)).unwrap_or_else(|error| panic!("{error}"))
}

fn answer(expression: &str, facts: &mut Given) -> Answer {
    filter(&[expression]).judge(facts).answer
}

fn all_are(expected: Answer, expressions: &[&str]) {
    for expression in expressions {
        assert_eq!(answer(expression, &mut compiler()), expected, "{expression}");
    }
}

#[test]
fn these_match_the_compiler() {
    all_are(
        Answer::Yes,
        &[
            "argv~O2",
            "argv='cc1plus -O2 main file.cc'",
            "argv=='cc1plus -O2 main file.cc'",
            "argv contains 'plus -O'",
            "argv contains O2",
            "argv contains ''",
            "argv startswith cc1",
            "argv endswith .cc",
            "argv glob cc1*.cc",
            "argv~^cc1plus.*cc$",
            "argv~(?i)CC1PLUS",
            "argv~(foo|O2)",
            "(argv~O2)",
            "argv~xyz||argv~O2",
            "argv~O2&&comm=cc1plus",
            "argv[0]=cc1plus",
            "argv[-1]='main file.cc'",
            "argv[*]=-O2",
            "argv[*] in (x, -O2)",
            "argv[2]",
            "argv[-3]",
            "!argv[3]",
            "not argv[-4]",
            "argv[3]!=x",
            "argc=3 and argc<4 and argc>=3 and argc in (1, 3)",
            "filename=lib/cc1plus",
            "basename=cc1plus",
            "exe glob '/usr/*plus'",
            "exe = /usr/lib/cc1plus",
            "not interpreter",
            "interpreter!~python",
            "comm not in (bash, make)",
            "prev.comm=g++",
            "cwd startswith /home/eve",
            "fd[0]=/dev/null",
            "fd[1].type=pipe and fd[2].type in (file, tty)",
            "fd[*]~pipe",
            "fd[*].type=char",
            "fd[*]",
            "not fd[3]",
            "env[CI]",
            "env['CI']=1",
            "env[EMPTY]=''",
            "env[UNSET]!=1",
            "env[UNSET] not contains x",
            "uid=1000 and gid=100",
            "user=eve and group=users and user in (root, eve)",
            "user~^e and user glob 'e*' and group not contains wheel",
            "pid=42 and ppid=41 and depth=2 and depth>1",
            "parent and parent.comm=make",
            "parent.depth=1 and parent.argc=2",
            "parent.argv[1]=-j2",
            "ancestor.comm=bash and ancestor.comm=make",
            "ancestor.interpreter",
            "parent.interpreter!=/bin/bash",
            "ancestor.user=root",
            "ancestor.argv[*]~\\.sh$",
            "not (comm=bash or comm=make)",
            "comm=bash or comm=make or not not comm=cc1plus",
            "comm=bash and comm=make or comm=cc1plus",
        ],
    );
}

#[test]
fn these_do_not_match_the_compiler() {
    all_are(
        Answer::No,
        &[
            "argv=cc1plus",
            "argv[0] contains 1p and argv[5]~.",
            "argv contains plus-O",
            "argv glob cc1",
            "argv!~O2",
            "interpreter~.",
            "env[UNSET]",
            "env[EMPTY]=1",
            "fd[9].type!=pipe and fd[9]",
            "user!=eve",
            "ancestor.comm!=bash",
            "ancestor.pid=42",
            "ancestor.depth>1",
            "comm=cc1plus and (comm=bash or comm=make)",
            "not comm in (cc1plus)",
        ],
    );
}

#[test]
fn command_itself_has_no_parent() {
    let mut facts = compiler();
    facts.ancestors = Reading::Known(Vec::new());
    assert_eq!(answer("parent", &mut facts), Answer::No);
    assert_eq!(answer("parent.comm=make", &mut facts), Answer::No);
    assert_eq!(answer("parent.comm!=make", &mut facts), Answer::Yes);
}

#[test]
fn what_is_not_utf8_passes_through() {
    let mut facts = compiler();
    facts.argv = Reading::Known([&b"caf\xe9"[..]].iter().collect());
    for expression in [&b"argv=caf\xe9"[..], b"argv~^caf.$", b"argv~[\xe9]", b"argv glob 'caf?'"] {
        let filter = filter(&[expression]);
        assert_eq!(filter.judge(&mut facts).answer, Answer::Yes);
        let again = Expr::parse(&filter.expressions()[0].to_bytes()).unwrap();
        assert_eq!(again, filter.expressions()[0]);
    }
}

#[test]
fn an_empty_command_line_is_an_empty_text() {
    let mut facts = compiler();
    facts.argv = Reading::Known(Strings::default());
    assert_eq!(answer("argv='' and argc=0 and argv contains ''", &mut facts), Answer::Yes);
    assert_eq!(answer("argv[0] or argv[*] or argv[-1]", &mut facts), Answer::No);
}

#[test]
fn an_unread_fact_is_unknown_until_another_decides() {
    let mut facts = compiler();
    facts.comm = Reading::Unknown;
    for (expression, expected) in [
        ("comm=bash", Answer::Unknown),
        ("comm!=bash", Answer::Unknown),
        ("comm=bash and depth=2", Answer::Unknown),
        ("comm=bash and depth=3", Answer::No),
        ("comm=bash and ppid=1", Answer::No),
        ("comm=bash or ppid=41", Answer::Yes),
        ("comm=bash or ppid=1", Answer::Unknown),
        ("not (comm=bash or ppid=41)", Answer::No),
    ] {
        assert_eq!(answer(expression, &mut facts), expected, "{expression}");
    }
}

#[test]
fn an_ancestor_that_is_not_known_leaves_the_others_to_decide() {
    let mut facts = compiler();
    if let Reading::Known(images) = &mut facts.ancestors {
        Arc::make_mut(&mut images[0]).comm = Reading::Unknown;
    }
    assert_eq!(answer("ancestor.comm=bash", &mut facts), Answer::Yes);
    assert_eq!(answer("ancestor.comm!=bash", &mut facts), Answer::No);
    assert_eq!(answer("ancestor.comm=init", &mut facts), Answer::Unknown);
}

#[test]
fn the_cheapest_facts_are_read_first_and_no_more_than_needed() {
    for (expression, asked) in [
        ("fd[*]~x and uid=0 and comm=x and depth=7", &["depth"][..]),
        ("fd[*]~x and (uid=0 or comm=x) and argv~cc", &["argv", "comm", "uid"]),
        ("fd[0]~null or filename=lib/cc1plus", &["filename"]),
        ("comm=cc1plus and exe=/bin/sh and cwd=/", &["comm", "exe"]),
    ] {
        let mut facts = compiler();
        filter(&[expression]).judge(&mut facts);
        assert_eq!(facts.asked, asked, "{expression}");
    }
}

#[test]
fn no_expression_matches_everything_and_of_several_one_is_enough() {
    let none: [&str; 0] = [];
    let judgement = filter(&none).judge(&mut compiler());
    assert_eq!((judgement.answer, judgement.closeness), (Answer::Yes, 1.0));
    assert_eq!(filter(&none).because(&mut compiler()), "");
    let two = filter(&["comm=bash", "basename = 'cc1plus'"]);
    assert_eq!(two.judge(&mut compiler()).answer, Answer::Yes);
    assert_eq!(two.because(&mut compiler()), "basename=cc1plus");
}

#[test]
fn because_names_the_tests_that_decided() {
    for (expression, because) in [
        ("comm=bash or argv ~ O2", "argv~O2"),
        ("fd[1].type=pipe and argv contains 'n f'", "fd[1].type=pipe and argv contains 'n f'"),
        ("(comm=bash or uid=1000) and not env[X]", "uid=1000 and not env[X]"),
        ("not (comm=bash or argv~zz)", "comm!=bash and argv!~zz"),
        ("not (comm=cc1plus and argc<3)", "not argc<3"),
        ("not not comm not in (a, 'b c')", "comm not in (a, 'b c')"),
        ("comm=bash", ""),
    ] {
        assert_eq!(filter(&[expression]).because(&mut compiler()), because, "{expression}");
    }
}

#[test]
fn a_near_miss_tells_how_near_and_which_test_failed() {
    for (expression, closeness, failed) in [
        ("comm=cc1plux", 6.0 / 7.0, "comm=cc1plux"),
        ("argc=3 and pid=42 and uid=0 and gid=100", 0.5, "uid=0"),
        ("argc=3 and comm=cc1plux", (1.0 + 6.0 / 7.0) / 2.0, "comm=cc1plux"),
        ("comm=zzz or basename=cc1plu", 6.0 / 7.0, "basename=cc1plu"),
        ("not (comm=cc1plus or argv~zz)", 0.5, "comm!=cc1plus"),
        ("argv contains minfile", 5.0 / 7.0, "argv contains minfile"),
    ] {
        let filter = filter(&[expression]);
        let judgement = filter.judge(&mut compiler());
        assert_eq!(judgement.answer, Answer::No, "{expression}");
        assert!((judgement.closeness - closeness).abs() < 1e-6, "{expression}: {judgement:?}");
        assert_eq!(filter.failed_test(&judgement).as_deref(), Some(failed), "{expression}");
    }
}

#[test]
fn only_what_is_named_of_ancestors_is_kept() {
    let nothing = Keep::default();
    let lineage = Keep { lineage: true, ..nothing };
    for (expression, keep) in [
        ("comm=a and env[X] and ppid=1", nothing),
        ("prev.comm=a", Keep { prev_comm: true, ..nothing }),
        ("depth<3", lineage),
        ("parent", lineage),
        ("parent.pid=1", lineage),
        ("ancestor.user=eve", Keep { ids: true, ..lineage }),
        (
            "parent.argc=1 or not (ancestor.basename~x and parent.interpreter)",
            Keep { argv: true, filename: true, interpreter: true, ..lineage },
        ),
        (
            "ancestor.comm~a && parent.exe~b && parent.cwd~c",
            Keep { comm: true, exe: true, cwd: true, ..lineage },
        ),
    ] {
        assert_eq!(filter(&[expression]).keep(), keep, "{expression}");
    }
}

#[test]
fn an_expression_is_printed_in_its_canonical_form() {
    for (written, printed) in [
        ("argv ~ x&&!comm==y", "argv~x and not comm=y"),
        ("((argv~x) or (comm=y and pid=1))", "argv~x or comm=y and pid=1"),
        ("(argv~x or comm=y)and pid=1", "(argv~x or comm=y) and pid=1"),
        ("not(not(parent))", "not not parent"),
        ("argv~\"a b\"", "argv~'a b'"),
        ("argv~'it\\'s'", "argv~\"it's\""),
        ("argv=')'", "argv=')'"),
        ("comm in(a,'b,c')", "comm in (a, 'b,c')"),
        ("comm != a,b", "comm!=a,b"),
        ("argv[007]=x", "argv[7]=x"),
        ("env['A']='and'", "env[A]='and'"),
        ("env['A B']", "env['A B']"),
        ("fd[*].type != pipe", "fd[*].type!=pipe"),
        ("argv=(\\ ", "argv=(\\ "),
    ] {
        assert_eq!(Expr::parse(written.as_bytes()).unwrap().to_string(), printed, "{written}");
    }
}

#[test]
fn a_filter_can_be_asked_in_another_thread() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Filter>();
}

/// The message, the marked part of the expression, and the hint.
fn mistake(expression: &str) -> (String, String, String) {
    let error = match Filter::new(&[expression], Arc::new(FewNames)) {
        Ok(_) => panic!("{expression} is no mistake"),
        Err(error) => error,
    };
    let marked = String::from_utf8_lossy(&error.expression()[error.span()]).into_owned();
    (error.message().to_string(), marked, error.hint().unwrap_or_default().to_string())
}

#[test]
fn an_error_marks_the_place_and_gives_a_hint() {
    let shown =
        |expression: &str| Filter::new(&[expression], Arc::new(FewNames)).unwrap_err().to_string();
    assert_eq!(
        shown("argv~foo bar"),
        "expected `and` or `or`\n  argv~foo bar\n           ^^^\n\
         hint: a regular expression with spaces? quote it"
    );
    assert_eq!(
        shown("cc1plus"),
        "`cc1plus` is no field, and no operator follows it\n  cc1plus\n  ^^^^^^^\n\
         hint: for the program of that name write `basename=cc1plus`"
    );
    assert_eq!(
        shown("pid=1 or agrv~x"),
        "`agrv` is no field\n  pid=1 or agrv~x\n           ^^^^\nhint: did you mean `argv`?"
    );
    assert_eq!(
        shown("pid=\x1b[2J\u{7}é\u{202e}"),
        "expected a number\n  pid=\\x1b[2J\\x07é\\u{202e}\n      ^^^^^^^^^^^^^^^^^^^^"
    );
    assert_eq!(
        shown("argv~"),
        "expected a value after `~`\n  argv~\n       ^\nhint: write '' for the empty value"
    );
}

#[test]
fn a_value_that_could_be_something_else_has_to_be_quoted() {
    for (expression, marked, hint) in [
        ("comm=and", "and", "quote it: 'and'"),
        ("comm contains in", "in", "quote it: 'in'"),
        ("argv~it's", "it's", "quote it, from the first byte to the last"),
        ("argv~a\"b\"", "a\"b\"", "quote it, from the first byte to the last"),
        ("argv~'a'b", "b", "quotes stand around a whole value"),
        ("argv===x", "=x", "quote it: '=x'"),
        ("argv= ~x", "~x", "quote it: '~x'"),
        ("argv~!x", "!x", "quote it: '!x'"),
        ("argv~&&", "&&", "quote it: '&&'"),
        ("argv~|x", "|x", "quote it: '|x'"),
        ("(argv=<x)", "<x", "quote it: '<x'"),
        ("argc>>1", ">1", "quote it: '>1'"),
        ("comm in (,a)", ",a", "quote it: ',a'"),
        ("comm=a b", "b", "a value with spaces? quote it"),
        ("comm in (a b)", "b", "a value with spaces? quote it"),
        ("argv~a)", ")", "a value with a `)` of its own? quote it"),
        ("argv=~x", "=~", "write `~`; for a value that begins with a `~`, quote it, as in `='~x'`"),
        ("argv~x & argv~y", "&", "write `&&` or `and`"),
        ("argv~x AND argv~y", "AND", "`and` and `or` are written in lower case"),
        ("argv~'x\\'", "'x\\'", "`\\'` is a ' within the value, and does not close it"),
    ] {
        let (_, at, told) = mistake(expression);
        assert_eq!((at.as_str(), told.as_str()), (marked, hint), "{expression}");
    }
}

#[test]
fn a_mistake_in_the_form_is_told_with_its_place() {
    for (expression, message, marked) in [
        ("", "expected a field", ""),
        ("not", "expected a field", ""),
        ("pid=1 and", "expected a field", ""),
        ("pid=1 and or pid=2", "expected a field, and `or` is an operator", "or"),
        ("'a b'", "expected a field", "'"),
        ("()", "expected a field", ")"),
        ("(pid=1", "expected a `)` for this `(`", "("),
        ("pid=1)", "expected no `)`, for no `(` is open", ")"),
        ("(pid=1 pid=2)", "expected `and`, `or` or `)`", "pid"),
        ("argv bash", "expected an operator after `argv`", "bash"),
        ("comm not", "expected `in`, `contains`, `startswith`, `endswith` or `glob`", ""),
        ("comm not =x", "expected `in`, `contains`, `startswith`, `endswith` or `glob`", "="),
        ("comm in a", "expected a `(` after `in`", "a"),
        ("comm in ()", "expected a value after `(`", ")"),
        ("comm in (a,)", "expected a value after `,`", ")"),
        ("comm in (a", "expected a `)` for this `(`", "("),
        ("argv~'x", "expected a closing `'`", "'x"),
        ("argv[0=x", "expected a `]`", "[0=x"),
    ] {
        let (told, at, _) = mistake(expression);
        assert_eq!((told.as_str(), at.as_str()), (message, marked), "{expression}");
    }
}

#[test]
fn a_mistake_in_a_field_is_told_with_what_could_be_meant() {
    for (expression, message, hint) in [
        ("com=x", "`com` is no field", "did you mean `comm`?"),
        ("parent.cmm=x", "`parent.cmm` is no field", "did you mean `parent.comm`?"),
        (
            "interpretr",
            "`interpretr` is no field, and no operator follows it",
            "did you mean `interpreter`? The program is `basename=interpretr`",
        ),
        (
            "/bin/sh and pid=1",
            "`/bin/sh` is no field, and no operator follows it",
            "for the program of that name write `exe=/bin/sh`",
        ),
        (
            "./a.out",
            "`./a.out` is no field, and no operator follows it",
            "for the program of that name write `filename=./a.out`",
        ),
        (
            "ancestor",
            "expected a field of the ancestors, as in `ancestor.comm`",
            "`parent` alone asks whether there is any",
        ),
        ("prev.exe=/x", "of what was before the exec there is only `prev.comm`", ""),
        ("fd=x", "expected `[` after `fd`", "write `fd[0]` or `fd[*]`"),
        ("env=x", "expected `[` after `env`", "write `env[NAME]`"),
        ("comm[1]=x", "`comm` takes no brackets", ""),
        (
            "argv[x]=x",
            "expected a number or `*` in `argv[...]`",
            "`argv[0]` is the first, `argv[-1]` the last, `argv[*]` any of them",
        ),
        ("fd[-1]=x", "expected a descriptor's number or `*` in `fd[...]`", ""),
        ("argv[0].type=pipe", "only `fd[...]` has a `.type`", ""),
        (
            "fd[0].kind=pipe",
            "expected an operator, found `.kind`",
            "what can follow the brackets is `.type`",
        ),
        (
            "env[A=B]",
            "can never match: the name of a variable has no `=`",
            "the value is compared after the brackets: `env[NAME]=value`",
        ),
        (
            "comm",
            "expected an operator: `comm` is always there",
            "compare it with something: `comm~...`",
        ),
        ("signal=SEGV", "`signal` is not available here: it comes only with --on crash", ""),
        ("errno=2", "`errno` is not available here: it comes only in log, collect and report", ""),
    ] {
        let (told, _, helped) = mistake(expression);
        assert_eq!((told.as_str(), helped.as_str()), (message, hint), "{expression}");
    }
    for expression in ["parent.env[A]=1", "ancestor.fd[0]=x", "parent.ppid=1", "parent.ns.pid=1"] {
        let (told, _, helped) = mistake(expression);
        assert!(told.ends_with("is not kept of ancestors"), "{expression}: {told}");
        assert!(helped.starts_with("of ancestors there are argv, "), "{expression}: {helped}");
    }
}

#[test]
fn a_test_that_makes_no_sense_is_a_mistake() {
    for (expression, message, marked) in [
        (
            "comm=a234567890123456",
            "can never match: `comm` is cut to 15 bytes, and this has 16",
            "a234567890123456",
        ),
        (
            "comm in (a, b234567890123456)",
            "can never match: `comm` is cut to 15 bytes, and this has 16",
            "b234567890123456",
        ),
        ("exe=gcc", "can never match: `exe` is an absolute path", "gcc"),
        ("cwd!=src", "can never match: `cwd` is an absolute path", "src"),
        ("cwd glob src/*", "can never match: `cwd` is an absolute path", "src/*"),
        ("basename=bin/sh", "can never match: `basename` has no `/`", "bin/sh"),
        ("argc<0", "can never match: no number is < 0", "0"),
        ("uid=4294967296", "can never match: the number does not fit into 32 bits", "4294967296"),
        ("comm<b", "`<` is for numbers, and `comm` is a text", "<"),
        ("uid~1", "`~` is for texts, and `uid` is a number", "~"),
        ("uid not contains 1", "`contains` is for texts, and `uid` is a number", "not contains"),
        ("uid=root", "expected a number", "root"),
        ("pid=-1", "expected a number", "-1"),
        ("user=mallory", "expected the name of a user, and there is no `mallory`", "mallory"),
        ("group in (users, 100)", "expected the name of a group, and there is no `100`", "100"),
        (
            "fd[0].type=fifo",
            "expected one of file, dir, pipe, socket, tty, char, block, anon",
            "fifo",
        ),
        ("fd[0].type~p", "`~` is not for `fd[0].type`", "~"),
        ("parent=1", "`parent` has no value: it exists or it does not", "="),
        ("argv~(a", "expected a regular expression: unclosed group", "(a"),
        (
            "argv~a{1000}{1000}",
            "expected a regular expression: it takes more than 10485760 bytes of memory",
            "a{1000}{1000}",
        ),
        ("argv glob [a", "expected a glob: a `[` is not closed: write `\\[` for itself", "[a"),
    ] {
        let (told, at, _) = mistake(expression);
        assert_eq!((told.as_str(), at.as_str()), (message, marked), "{expression}");
    }
    assert_eq!(mistake("user=1000").2, "for the id write `uid=1000`");
    assert_eq!(mistake("uid=root").2, "the name is in `user`");
    assert_eq!(mistake("cwd=src").2, "`cwd endswith /src`");
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth| format!("{}pid=1{}", "(".repeat(depth), ")".repeat(depth));
    filter(&[nested(200)]);
    assert_eq!(mistake(&nested(201)).0, "nested more than 200 deep");
    assert_eq!(mistake(&"(".repeat(1_000_000)).0, "nested more than 200 deep");
    assert_eq!(mistake(&"not ".repeat(1_000_000)).0, "nested more than 200 deep");
    filter(&[vec!["(pid=1)"; 1000].join(" and ")]);
}
