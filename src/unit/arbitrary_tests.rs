//! Arbitrary bytes and arbitrary units through reading, building, verifying and drawing:
//! whatever comes in, a value and a list of problems come out.
//!
//! `RINIT_CASES` says how many (default 2,000).

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::directive::{self, UnitDefaults};
use super::problem::{Problem, SourceFile};
use super::specifier::HostFacts;
use super::{UnitName, build, command_unit, compact, instances, toml, verify};
use crate::cli::diagnostics::{Style, render};
use crate::cli::plain;

fn cases() -> u32 {
    let wanted = std::env::var("RINIT_CASES").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(2_000)
}

fn through(texts: &[String]) -> Vec<Problem> {
    let host = HostFacts::default();
    let mut problems = Vec::new();
    let mut drafts = BTreeMap::new();
    for (n, text) in texts.iter().enumerate() {
        let path = format!("u{n}.toml").into();
        let (raw, found) = toml::read(&Arc::new(SourceFile { path, text: text.clone() }));
        problems.extend(found);
        let files = std::slice::from_ref(&raw);
        let name = build::unit_name(&format!("u{n}"), files).unwrap();
        let defaults = UnitDefaults::default();
        let draft = build::build(name.clone(), files, &defaults, &host, &mut problems);
        if draft.unit.service.instances.is_some() {
            let third = instances::instance(&draft.unit, 3);
            let shown = format!("{third:?}");
            // An array of words is taken as it is, and so is what it holds.
            assert!(text.contains(instances::MARK) || !shown.contains("fdd0"), "{shown}");
        }
        build::build_manager(&raw, &host, &mut problems);
        drafts.insert(name, draft);
    }
    let units = verify::verify(drafts, &mut problems);
    assert_eq!(compact::compact(&units).units.len(), units.units.len());
    for problem in &problems {
        let spans = problem.span.iter().chain(problem.related.iter().map(|(span, _)| span));
        for span in spans {
            assert!(span.range.start <= span.range.end, "{problem:?}");
            assert!(span.range.end <= span.file.text.len(), "{problem:?}");
        }
    }
    let text = render(&problems, "x", Style { colour: true, notes: true });
    assert_eq!(text.is_empty(), problems.is_empty());
    assert_eq!(plain::render(&problems, "x", true).is_empty(), problems.is_empty());
    problems
}

/// Texts that match; the pattern is read once, not for each text.
fn regex(pattern: &str) -> proptest::string::RegexGeneratorStrategy<String> {
    proptest::string::string_regex(pattern).unwrap()
}

/// A line that looks like one of a unit, with any directive and any value.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = directive::all().map(|row| row.name).collect();
    let value = prop_oneof![
        regex("[ -~]{0,20}").prop_map(|text| format!("{text:?}")),
        regex("\\PC{0,8}").prop_map(|text| format!("'''{text}'''")),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        Just("[]".to_string()),
        regex("'((0\\.0\\.0\\.0|127\\.0\\.0\\.1|\\[::\\]):)?[0-2]{1,2}'"),
        regex("'(http://127\\.0\\.0\\.1:8%i)?/[a-z%]{0,3}'"),
        regex("'(Parallelism=[0-9] )?Order=(start|stop)-first'"),
        Just("[['a', '%i'], ['b c']]".to_string()),
        regex("(u[0-4]\\.(service|socket) ?){0,3}").prop_map(|names| format!("'{names}'")),
        regex("\\[('[a-z%$\"\\\\]{0,5}',? ?){0,3}\\]"),
        regex("\\{ *[A-Z]{1,3} *= *'[a-z%]{0,5}' *\\}"),
        regex("[^\n]{0,10}"),
    ];
    let header = prop_oneof![
        Just("[Unit]".to_string()),
        Just("[Service]".to_string()),
        Just("[Install]".to_string()),
        Just("[Socket]".to_string()),
        Just("[Health]".to_string()),
        Just("[Manager]".to_string()),
    ];
    let entry = (proptest::sample::select(names), value)
        .prop_map(|(name, value)| format!("{name} = {value}"));
    prop_oneof![1 => header, 6 => entry]
}

fn run<S: Strategy>(strategy: &S, test: impl Fn(S::Value)) {
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(strategy, |value| {
        test(value);
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

#[test]
fn arbitrary_bytes() {
    run(&proptest::collection::vec(any::<u8>(), 0..200), |bytes| {
        through(&[String::from_utf8_lossy(&bytes).into_owned()]);
    });
}

#[test]
fn arbitrary_units() {
    let unit = proptest::collection::vec(line(), 0..12)
        .prop_map(|lines| format!("[Unit]\n[Service]\n{}", lines.join("\n")))
        .prop_map(|text| {
            text.replacen("[Unit]\n", "", usize::from(text.matches("[Unit]").count() > 1))
        });
    run(&proptest::collection::vec(unit, 1..5), |texts| {
        through(&texts);
    });
}

#[test]
fn arbitrary_order_has_a_cycle_or_none_after_the_steps() {
    let edges = proptest::collection::vec((0..8_usize, 0..8_usize, any::<bool>()), 0..14);
    let kinds = proptest::collection::vec(0..4_u8, 8);
    run(&(edges, kinds), |(edges, kinds)| {
        let text = |n: usize| {
            let names = |before: bool| {
                let of = edges.iter().filter(|(a, b, c)| *a == n && a != b && *c == before);
                of.map(|(_, b, _)| format!("u{b}.service")).collect::<Vec<_>>().join(" ")
            };
            let service = match kinds.get(n).copied().unwrap_or(0) {
                0 => "[Service]\n",
                1 => "DefaultDependencies = false\n[Service]\n",
                2 => "FailureAction = 'none'\n[Service]\nType = 'oneshot'\n",
                _ => "[Service]\nType = 'oneshot'\n",
            };
            format!(
                "[Unit]\nAfter = '{}'\nBefore = '{}'\n{service}ExecStart = 'x'\n",
                names(false),
                names(true)
            )
        };
        let texts: Vec<String> = (0..8).map(text).collect();
        order_has_no_cycle(&texts);
    });
}

/// Without an error the order that comes out has no cycle, and steps are one chain.
fn order_has_no_cycle(texts: &[String]) {
    let host = HostFacts::default();
    let (mut problems, mut drafts) = (Vec::new(), BTreeMap::new());
    for (n, text) in texts.iter().enumerate() {
        let path = format!("u{n}.toml").into();
        let (raw, _) = toml::read(&Arc::new(SourceFile { path, text: text.clone() }));
        let name = UnitName::service(&format!("u{n}")).unwrap();
        let defaults = UnitDefaults::default();
        let draft = build::build(name.clone(), &[raw], &defaults, &host, &mut problems);
        drafts.insert(name, draft);
    }
    let units = verify::verify(drafts, &mut problems);
    if !problems.is_empty() {
        return;
    }
    let names: Vec<&UnitName> = units.units.keys().collect();
    let mut graph = super::graph::Graph::new(names.len());
    for (at, unit) in units.units.values().enumerate() {
        for after in &unit.after {
            graph.add(names.binary_search(&&after.name).unwrap(), at);
        }
    }
    assert!(graph.cycles().is_empty(), "{texts:#?}");
    let order = graph.order(|node| node);
    let steps: Vec<usize> =
        order.into_iter().filter(|node| units.get(names[*node]).unwrap().step).collect();
    for pair in steps.windows(2) {
        assert!(graph.successors(pair[0]).contains(&pair[1]), "no chain: {texts:#?}");
    }
}

#[test]
fn arbitrary_properties() {
    run(&proptest::collection::vec(regex("\\PC{0,30}"), 0..4), |properties| {
        let mut problems = Vec::new();
        let (defaults, host) = (UnitDefaults::default(), HostFacts::default());
        let argv = properties.clone();
        command_unit::command_unit(argv, &properties, &defaults, &host, &mut problems);
        render(&problems, "x", Style { colour: false, notes: true });
    });
}
