//! Whatever is traced: what JSON is written of it is read back as it was, and keeps to the schemas.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use tracexec::event::{
    Begun, Ended, ExecCall, ExecRecord, Execution, Faults, Fd, FdKind, FdRecord, Ids, Part,
    Reading, Response, Strings, TraceEvent, Usage, Vector,
};
use tracexec::trace::sinks::json::{Document, EnvForm, Item, Lines, read};
use tracexec::trace::{About, Baseline, End, Family, Lost, Sink};

fn faults() -> impl Strategy<Value = Faults> {
    prop_oneof![
        4 => Just(Faults::empty()),
        1 => any::<u32>().prop_map(Faults::from_bits_truncate),
    ]
}

/// Text, what terminals act on, and what is no UTF-8; no NUL, by which the kernel ends a string.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z/=]{0,6}".prop_map(String::into_bytes),
        any::<String>().prop_map(|text| text.replace('\0', "").into_bytes()),
        vec(1u8..=255, 0..8),
        Just(b"\x1b]0;x\x07\"\\\xe2\x80\xae".to_vec()),
    ]
}

fn part<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Part<T>> {
    (option::weighted(0.8, value), faults()).prop_map(|(value, faults)| Part { value, faults })
}

fn vector() -> impl Strategy<Value = Vector> {
    vec(option::weighted(0.9, bytes()), 0..5).prop_map(|strings| Vector {
        unread: strings.iter().enumerate().filter(|(_, s)| s.is_none()).map(|(at, _)| at).collect(),
        strings: strings.into_iter().map(Option::unwrap_or_default).collect(),
    })
}

fn number() -> impl Strategy<Value = Reading<u32>> {
    prop_oneof![
        any::<u32>().prop_map(Reading::Known),
        Just(Reading::Missing),
        Just(Reading::Unknown)
    ]
}

fn descriptor() -> impl Strategy<Value = FdRecord> {
    let file = (bytes(), select(&FdKind::ALL[..]), any::<u32>(), any::<u32>(), any::<bool>());
    (file, any::<i64>(), any::<u32>(), any::<u64>(), bytes(), faults()).prop_map(
        |(file, position, mount_id, inode, file_system, faults)| {
            let (target, kind, number, flags, close_on_exec) = file;
            let fd = Fd { number, target, kind };
            FdRecord { fd, flags, close_on_exec, position, mount_id, inode, file_system, faults }
        },
    )
}

fn ids() -> impl Strategy<Value = Ids> {
    (any::<[u32; 4]>(), any::<[u32; 4]>(), vec(any::<u32>(), 0..3))
        .prop_map(|(uids, gids, groups)| Ids { uids, gids, groups })
}

fn responses() -> impl Strategy<Value = Vec<Response>> {
    vec((bytes(), bytes()).prop_map(|(name, text)| Response { name, text }), 0..2)
}

/// An exec of no time, no process and no id yet.
fn record() -> impl Strategy<Value = ExecRecord> {
    let numbers = (number(), number(), number(), number(), any::<u64>(), any::<[u32; 3]>());
    let call = option::of((option::of(any::<i32>()), any::<u32>()));
    let how = (select(&[0, 0, 0, -2, -13, -4000][..]), call, any::<bool>(), faults());
    let names = (part(bytes()), part(bytes()), part(bytes()), part(bytes()), part(bytes()));
    let vectors = (part(vector()), part(vector()), part(vec(descriptor(), 0..3)), part(ids()));
    let more = (part(vec(bytes(), 0..3)), part(bytes()), part(vector()), responses());
    (numbers, how, names, vectors, more).prop_map(|(numbers, how, names, vectors, more)| {
        let (parent, depth, pid_namespace, mount_namespace, began, [tid, uid, gid]) = numbers;
        let (result, call, compat, faults) = how;
        let (comm, prev_comm, filename, cwd, exe) = names;
        let (argv, env, fds, ids) = vectors;
        let (interpreters, cgroup, passed, responses) = more;
        let call = call.map(|(at, flags)| ExecCall { at, flags });
        let (id, pid, time) = (0, 0, 0);
        #[rustfmt::skip]
        let record = ExecRecord {
            id, pid, tid: tid.max(1), parent, depth, time, began, result, call, compat, uid, gid, ids, comm,
            prev_comm, filename, argv, passed, responses, env, cwd, exe, interpreters, cgroup, fds, pid_namespace,
            mount_namespace, faults,
        };
        record
    })
}

fn status() -> impl Strategy<Value = i32> {
    prop_oneof![
        (0..256).prop_map(|code| code << 8),
        (1..127, any::<bool>()).prop_map(|(signal, core)| signal | i32::from(core) << 7)
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 3]>().prop_map(|[user, system, peak_memory]| Usage {
        user: Duration::from_nanos(user),
        system: Duration::from_nanos(system),
        peak_memory,
    })
}

fn about() -> impl Strategy<Value = About> {
    // Up to the year 2200, and so that no event is older than 1970.
    let clock = (1_000_000_000u64..7_000_000_000, 0u32..1_000_000_000, 0u64..1 << 50);
    let words = (vec(bytes(), 0..3), bytes(), bytes(), select(&["ptrace", "ebpf"][..]));
    (words, clock, vec(bytes(), 0..5), vec(descriptor(), 0..2)).prop_map(
        |((command, host, cwd, source), (seconds, fraction, boot), env, fds)| About {
            command,
            pids: Vec::new(),
            baseline: Baseline { env: env.iter().collect(), cwd, fds },
            source: source.into(),
            version: "1.2.3".into(),
            host,
            wall: SystemTime::UNIX_EPOCH + Duration::new(seconds, fraction),
            boot,
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    (option::of(status()), 0u64..1 << 52, any::<[u64; 2]>()).prop_map(
        |(status, time, [events, processes])| End {
            status,
            time,
            totals: Lost { events, processes },
        },
    )
}

/// One of few processes does something.
#[derive(Debug, Clone)]
enum Step {
    Begun { parent: u32 },
    Exec(Box<ExecRecord>),
    Ended { status: i32, usage: Option<Usage> },
}

/// A history of few processes, as a tracer without a filter would tell it.
fn history() -> impl Strategy<Value = Vec<TraceEvent>> {
    let step = prop_oneof![
        1 => (1u32..6).prop_map(|parent| Step::Begun { parent }),
        3 => record().prop_map(|record| Step::Exec(Box::new(record))),
        1 => (status(), option::of(usage())).prop_map(|(status, usage)| Step::Ended { status, usage }),
    ];
    vec((1u32..6, step), 0..25).prop_map(|steps| {
        let mut family = Family::default();
        let tell = |(at, (pid, step)): (usize, (u32, Step))| {
            let time = (at as u64 + 1) * 1000;
            match step {
                Step::Begun { parent } => {
                    let begun = Begun { pid, parent, time };
                    family.begun(begun);
                    TraceEvent::Begun(begun)
                }
                Step::Exec(record) => {
                    let record = ExecRecord { id: at as u64 + 1, pid, time, ..*record };
                    let parent = family.executed(&record);
                    TraceEvent::Exec(Box::new(Execution { record, parent, view: None }))
                }
                Step::Ended { status, usage } => {
                    let ended = Ended { pid, time, status, exec: None, usage };
                    TraceEvent::Ended(Ended { exec: family.ended(&ended), ..ended })
                }
            }
        };
        steps.into_iter().enumerate().map(tell).collect()
    })
}

fn written(sink: &mut dyn Sink, about: &About, events: &[TraceEvent], end: &End) {
    sink.begin(about).unwrap();
    for event in events {
        sink.event(event).unwrap();
    }
    sink.finish(end).unwrap();
}

fn items(about: &About, events: &[TraceEvent], end: &End) -> Vec<Item> {
    let events = events.iter().cloned().map(Item::Event);
    let about = Item::About(Box::new(about.clone()));
    [about].into_iter().chain(events).chain([Item::End(*end)]).collect()
}

fn read_all(text: &[u8]) -> (Vec<Item>, bool) {
    let mut all = Vec::new();
    let whole = read(text, &mut |item| {
        all.push(item);
        true
    })
    .unwrap();
    (all, whole)
}

fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

static DOCUMENT: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&load("collect.json")).unwrap());
static LINE: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&load("collect-stream.json")).unwrap());

fn keeps_to(schema: &jsonschema::Validator, text: &[u8]) -> Result<(), TestCaseError> {
    let value: Value = serde_json::from_slice(text).unwrap();
    let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
    prop_assert!(errors.is_empty(), "{errors:?} in {}", String::from_utf8_lossy(text));
    Ok(())
}

/// Whether it can be told as a difference, by which the order of an environment is lost.
fn sorted(items: Vec<Item>) -> Vec<Item> {
    let sort = |item| match item {
        Item::Event(TraceEvent::Exec(mut execution)) => {
            if let Some(env) = &mut execution.record.env.value
                && env.unread.is_empty()
            {
                let mut entries: Vec<&[u8]> = env.strings.iter().collect();
                entries.sort();
                env.strings = entries.into_iter().collect::<Strings>();
            }
            Item::Event(TraceEvent::Exec(execution))
        }
        item => item,
    };
    items.into_iter().map(sort).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_stream_is_read_back_as_it_was(about in about(), events in history(), end in end()) {
        let mut text = Vec::new();
        written(&mut Lines::new(&mut text, EnvForm::Whole), &about, &events, &end);
        let expected = (items(&about, &events, &end), true);
        prop_assert_eq!(read_all(&text), expected);
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            prop_assert!(line.ends_with(b"\n"));
            keeps_to(&LINE, line)?;
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_is_read_up_to_there(
        about in about(), events in history(), end in end(), at in any::<prop::sample::Index>(),
    ) {
        let mut text = Vec::new();
        written(&mut Lines::new(&mut text, EnvForm::Whole), &about, &events, &end);
        let first = memchr::memchr(b'\n', &text).unwrap() + 1;
        let cut = first + at.index(text.len() - first);
        let lines = memchr::memchr_iter(b'\n', &text[..cut]).count();
        let (read, whole) = read_all(&text[..cut]);
        // A last line may lack but its end.
        let got = read.len();
        prop_assert!(got == lines || got == lines + 1 && text[cut] == b'\n', "{got} of {lines}");
        prop_assert_eq!(whole, got == events.len() + 2);
        prop_assert_eq!(&read[..], &items(&about, &events, &end)[..got]);
    }

    #[test]
    fn a_document_is_read_back_as_it_was(
        about in about(), events in history(), end in end(), pretty in any::<bool>(),
    ) {
        let mut text = Vec::new();
        written(&mut Document::new(&mut text, EnvForm::Whole, pretty), &about, &events, &end);
        keeps_to(&DOCUMENT, &text)?;
        prop_assert_eq!(read_all(&text), (items(&about, &events, &end), true));
    }

    #[test]
    fn an_environment_told_as_a_difference_has_the_same_entries(
        about in about(), events in history(), end in end(),
    ) {
        let (mut lines, mut document) = (Vec::new(), Vec::new());
        written(&mut Lines::new(&mut lines, EnvForm::Diff), &about, &events, &end);
        written(&mut Document::new(&mut document, EnvForm::Diff, false), &about, &events, &end);
        keeps_to(&DOCUMENT, &document)?;
        let expected = sorted(items(&about, &events, &end));
        prop_assert_eq!(&sorted(read_all(&lines).0), &expected);
        prop_assert_eq!(&sorted(read_all(&document).0), &expected);
    }
}

#[test]
fn the_schemas_describe_what_both_formats_have_in_the_same_words() {
    let (document, stream) = (load("collect.json"), load("collect-stream.json"));
    let (document, stream) = (&document["$defs"], &stream["$defs"]);
    for (name, definition) in stream.as_object().unwrap() {
        match name.as_str() {
            "ended" => assert_eq!(document[name]["properties"], definition["properties"]),
            "exec" => {
                let mut of_document = document[name]["properties"].as_object().unwrap().clone();
                for of_its_own in ["exit", "became"] {
                    assert!(of_document.remove(of_its_own).is_some());
                }
                assert_eq!(Some(&of_document), definition["properties"].as_object());
            }
            _ => assert_eq!(&document[name], definition, "{name}"),
        }
    }
}
