//! The filter's fields of control groups, units, containers and namespaces, by examples.

use std::sync::Arc;

use crate::filter_support::{CONTAINER, FewNames, Given, compiler};
use tracexec::event::{Keep, Reading};
use tracexec::filter::{Answer, Filter, FilterError};

fn filter(expression: &str) -> Result<Filter, FilterError> {
    Filter::new(&[expression], Arc::new(FewNames))
}

fn answer(expression: &str, facts: &mut Given) -> Answer {
    filter(expression).unwrap_or_else(|error| panic!("{error}")).judge(facts).answer
}

#[test]
fn these_match_the_compiler() {
    for expression in [
        "cgroup=/system.slice/ci.service/docker/5e1f",
        "cgroup startswith /system.slice/ and cgroup contains docker",
        "cgroup glob '/system.slice/*/docker/*' and cgroup",
        "unit=ci.service",
        "unit",
        "unit in (ssh.service, ci.service) and unit!=ssh.service",
        "unit~^ci and unit endswith .service",
        "container",
        "container=5",
        "container=5e1f5e1f5e1f",
        &format!("container={CONTAINER}"),
        "container in (web, 5e1f5)",
        "container startswith 5e",
        "container!=5e1e",
        "ns.pid=4026531836 and ns.mnt!=4026531836",
        "ns.mnt in (1, 4026532001) and ns.mnt>4026531836",
        "parent.unit=runner.service and not parent.container",
        "ancestor.cgroup endswith /runner.service",
        "ancestor.container!=5e1f and not ancestor.container",
    ] {
        assert_eq!(answer(expression, &mut compiler()), Answer::Yes, "{expression}");
    }
}

#[test]
fn these_do_not_match_the_compiler() {
    for expression in [
        "cgroup=/",
        "not cgroup",
        "unit=runner.service",
        "unit!=ci.service",
        "container=e1f5",
        "container!=5e1f",
        &format!("container={CONTAINER}0"),
        "ns.pid=4026532001",
        "ancestor.unit=ci.service",
        "parent.container",
    ] {
        assert_eq!(answer(expression, &mut compiler()), Answer::No, "{expression}");
    }
}

#[test]
fn of_a_container_with_a_name_the_beginning_is_not_enough() {
    let mut facts = compiler();
    if let Reading::Known(cgroup) = &mut facts.cgroup {
        cgroup.container = Reading::Known(b"web-2".to_vec());
    }
    assert_eq!(answer("container=web-2", &mut facts), Answer::Yes);
    assert_eq!(answer("container=web or container in (web-, '2')", &mut facts), Answer::No);
    assert_eq!(answer("container startswith web", &mut facts), Answer::Yes);
    let near = filter("container=web").unwrap().judge(&mut facts);
    assert!(near.closeness < 1.0, "{near:?}");
}

#[test]
fn what_is_in_none_has_no_value() {
    let mut facts = compiler();
    if let Reading::Known(cgroup) = &mut facts.cgroup {
        cgroup.container = Reading::Missing;
        cgroup.unit = Reading::Missing;
    }
    let expression = "not container and container!=5e and unit!=a.service and not unit";
    assert_eq!(answer(expression, &mut facts), Answer::Yes);
    assert_eq!(answer("container or unit~.", &mut facts), Answer::No);
}

#[test]
fn a_container_that_cannot_be_seen_is_neither_there_nor_not() {
    let mut facts = compiler();
    if let Reading::Known(cgroup) = &mut facts.cgroup {
        cgroup.container = Reading::Unknown;
    }
    for expression in ["container", "not container", "container=5e", "container!=5e"] {
        assert_eq!(answer(expression, &mut facts), Answer::Unknown, "{expression}");
    }
    assert_eq!(answer("container and unit=ssh.service", &mut facts), Answer::No);
}

#[test]
fn they_are_read_after_what_is_at_hand_and_before_descriptors() {
    for (expression, asked) in [
        ("fd[*]~x and unit=x.service and comm=x", &["comm"][..]),
        ("fd[*]~x and unit=x.service and comm=cc1plus", &["comm", "cgroup"]),
        ("interpreter and ns.pid=1 and argc=3", &["argv", "namespace"]),
    ] {
        let mut facts = compiler();
        answer(expression, &mut facts);
        assert_eq!(facts.asked, asked, "{expression}");
    }
}

#[test]
fn they_are_kept_of_ancestors_that_are_asked_for() {
    let keep = |expression: &str| filter(expression).unwrap().keep();
    let kept = Keep { lineage: true, cgroup: true, ..Keep::default() };
    assert_eq!(keep("cgroup~x and unit and container and ns.pid=1"), Keep::default());
    for expression in ["parent.cgroup~x", "ancestor.unit", "not parent.container=1"] {
        assert_eq!(keep(expression), kept, "{expression}");
    }
}

#[test]
fn a_mistake_is_told_with_what_could_be_meant() {
    for (expression, message, marked, hint) in [
        (
            "cgroup=a/b",
            "can never match: `cgroup` is an absolute path",
            "a/b",
            "`cgroup endswith /a/b`",
        ),
        (
            "unit=nginx",
            "can never match: the name of a unit says its kind",
            "nginx",
            "`unit=nginx.service`",
        ),
        (
            "unit in (a.scope, b)",
            "can never match: the name of a unit says its kind",
            "b",
            "`unit=b.service`",
        ),
        (
            "unit=app.slice",
            "can never match: a process is in a unit within the slice",
            "app.slice",
            "`cgroup contains /app.slice/`",
        ),
        ("unit!='a b'", "can never match: this is not the name of a unit", "'a b'", ""),
        (
            "container=docker://5e1f",
            "can never match: the id of a container has no `/`",
            "docker://5e1f",
            "the whole path is in `cgroup`",
        ),
        (
            "container=''",
            "can never match: every container has an id",
            "''",
            "for what is in none write `not container`",
        ),
        (
            "ns.pid=pid:[4026531836]",
            "expected a number",
            "pid:[4026531836]",
            "it is the number in the brackets of what `readlink /proc/PID/ns/...` shows",
        ),
        ("ns.net=1", "of the namespaces there are only `ns.pid` and `ns.mnt`", "ns.net", ""),
        ("ns", "of the namespaces there are only `ns.pid` and `ns.mnt`", "ns", ""),
        (
            "ns.pid",
            "expected an operator: `ns.pid` is always there",
            "ns.pid",
            "compare it with something: `ns.pid=...`",
        ),
        (
            "ns.mnt~4",
            "`~` is for texts, and `ns.mnt` is a number",
            "~",
            "the operators for numbers are = != < <= > >= in",
        ),
        ("contaner=a", "`contaner` is no field", "contaner", "did you mean `container`?"),
    ] {
        let error = filter(expression).unwrap_err();
        let at = String::from_utf8_lossy(&error.expression()[error.span()]).into_owned();
        let told = (error.message(), at.as_str(), error.hint().unwrap_or_default());
        assert_eq!(told, (message, marked, hint), "{expression}");
    }
}
