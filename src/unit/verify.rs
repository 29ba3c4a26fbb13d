//! Across units: names that are not there, contradictions, cycles; then the implicit order.
//!
//! Not one unit by itself (`build`), and nothing of the host (`load`). **Invariant:** in the
//! [`UnitSet`] that comes out every dependency names a unit of the set, `after` is complete,
//! and it has no cycle unless an error says so.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directive::Draft;
use super::graph::Graph;
use super::problem::{Problem, Span};
use super::service::ExitAction;
use super::tree::tree;
use super::{
    Dependency, StartedBy, Unit, UnitName, UnitSet, UnitSettings, connections, slice, sockets,
    steps, value,
};

/// Targets of systemd that are as good as active in any container: naming one is no mistake.
const WELL_KNOWN: [&str; 32] = [
    "basic.target",
    "bluetooth.target",
    "cryptsetup.target",
    "default.target",
    "final.target",
    "getty.target",
    "graphical.target",
    "initrd.target",
    "local-fs-pre.target",
    "local-fs.target",
    "multi-user.target",
    "network-online.target",
    "network-pre.target",
    "network.target",
    "nss-lookup.target",
    "nss-user-lookup.target",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "remote-fs-pre.target",
    "remote-fs.target",
    "rpcbind.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "time-set.target",
    "time-sync.target",
    "timers.target",
    "umount.target",
    "user.target",
];

/// Checks all units against each other and completes them.
///
/// A draft without a file is the COMMAND: it goes after everything that boot starts.
pub fn verify(drafts: BTreeMap<UnitName, Draft>, problems: &mut Vec<Problem>) -> UnitSet {
    verify_with_places(drafts, problems).0
}

/// Where the directives of each unit were given.
pub type Places = BTreeMap<UnitName, Vec<(&'static str, Span)>>;

/// As [`verify`], and gives back where everything stands.
pub fn verify_with_places(
    mut drafts: BTreeMap<UnitName, Draft>,
    problems: &mut Vec<Problem>,
) -> (UnitSet, Places) {
    connections::split(&mut drafts, problems);
    let slices = slice::take(&mut drafts, problems);
    let mut drafts: Vec<Draft> = drafts.into_values().collect();
    let reactions = who_starts(&mut drafts);
    let index: BTreeMap<UnitName, usize> =
        tree(drafts.iter().enumerate().map(|(at, draft)| (draft.unit.name.clone(), at)));
    for draft in &mut drafts {
        names(&mut draft.unit, &index, problems);
    }
    sockets::give(&mut drafts, &index, problems);
    sockets::check(&mut drafts, &index, problems);
    contradictions(&drafts, &index, problems);
    let mut graph = explicit_order(&mut drafts, &index);
    let cycles = graph.cycles();
    for members in &cycles {
        problems.push(cycle(&drafts, &graph, members));
    }
    if cycles.is_empty() {
        command_last(&mut drafts, &mut graph);
        steps::add_implicit_order(&mut drafts, &graph, &reactions);
    }
    let place = |draft: &mut Draft| (draft.unit.name.clone(), std::mem::take(&mut draft.seen));
    let places = tree(drafts.iter_mut().map(place));
    let mut units = UnitSet::new(drafts.into_iter().map(|draft| Arc::new(draft.unit)));
    units.slices = slices;
    (units, places)
}

/// Settles who starts each unit, and the default of `FailureAction=`, which depends on it.
/// Returns which units are named by `OnFailure=` or `OnSuccess=`.
fn who_starts(drafts: &mut [Draft]) -> Vec<bool> {
    let named = |draft: &Draft| {
        let unit = &draft.unit;
        let lists = unit.on_failure.iter().chain(&unit.on_success);
        lists.map(|dependency| dependency.name.clone()).collect::<Vec<_>>()
    };
    let triggered: BTreeSet<UnitName> = drafts.iter().flat_map(named).collect();
    let settle = |draft: &mut Draft| {
        let unit = &mut draft.unit;
        let reaction = triggered.contains(&unit.name);
        if reaction || !draft.enabled || unit.name.is_template() {
            unit.started_by = StartedBy::Demand;
        }
        let default = match unit.started_by {
            StartedBy::Boot => ExitAction::Exit,
            StartedBy::Demand => ExitAction::None,
        };
        unit.failure_action = draft.failure_action.unwrap_or(default);
        let late = reaction || draft.left_out;
        unit.settings.socket.iter_mut().for_each(|socket| socket.opens_late = late);
        reaction
    };
    drafts.iter_mut().map(settle).collect()
}

/// The lists in which a name must be known, and those in which it should.
fn lists(unit: &mut Unit) -> [(&'static str, bool, &mut Vec<Dependency>); 12] {
    let rare: &mut UnitSettings = &mut unit.settings;
    [
        ("Requires", true, &mut unit.requires),
        ("BindsTo", true, &mut rare.binds_to),
        ("Requisite", true, &mut rare.requisite),
        ("Upholds", true, &mut rare.upholds),
        ("OnFailure", true, &mut rare.on_failure),
        ("OnSuccess", true, &mut rare.on_success),
        ("Sockets", true, &mut rare.sockets),
        ("Wants", false, &mut unit.wants),
        ("After", false, &mut unit.after),
        ("Before", false, &mut rare.before),
        ("PartOf", false, &mut rare.part_of),
        ("Conflicts", false, &mut rare.conflicts),
    ]
}

/// Reports names that are not there and takes them out: from here on every name is known.
fn names(unit: &mut Unit, index: &BTreeMap<UnitName, usize>, problems: &mut Vec<Problem>) {
    let own = unit.name.clone();
    for (list, required, dependencies) in lists(unit) {
        dependencies.retain(|dependency| {
            let name = &dependency.name;
            if *name == own {
                let message = format!("{own} names itself in {list}");
                problems.push(Problem::error(dependency.span.clone(), message));
            } else if name.is_template() {
                let message = format!("{own} names {name} in {list}, which is a template");
                let hint = "a template never runs: name a unit with a file of its own";
                problems.push(Problem::error(dependency.span.clone(), message).hint(hint));
            } else if index.contains_key(name) {
                return true;
            } else if !WELL_KNOWN.contains(&name.as_str()) {
                problems.push(unknown(&own, list, required, dependency, index));
            }
            false
        });
        dedup(dependencies);
    }
}

/// Leaves the first of each name.
fn dedup(list: &mut Vec<Dependency>) {
    if list.len() > 1 {
        let mut seen = BTreeSet::new();
        list.retain(|dependency| seen.insert(dependency.name.clone()));
    }
}

fn unknown(
    own: &UnitName,
    list: &str,
    required: bool,
    dependency: &Dependency,
    index: &BTreeMap<UnitName, usize>,
) -> Problem {
    let name = &dependency.name;
    let span = dependency.span.clone();
    let problem = if required {
        Problem::error(span, format!("{own}: {list} names {name}, and there is no such unit"))
    } else {
        let message = format!("{own}: {list} names {name}, and there is no such unit, ignoring");
        Problem::warning(span, message)
    };
    if let Some(hint) = of_instance(own, name, index) {
        return problem.hint(hint);
    }
    // The suffix is the same on nearly every name, so only what stands before it is compared.
    let alike = index.keys().filter(|known| known.kind() == name.kind() && *known != own);
    match value::suggest(name.stem(), alike.map(UnitName::stem)) {
        Some(near) => problem.hint(format!("did you mean {near}{}?", name.kind().suffix())),
        None => problem,
    }
}

/// Instances are no units that others may name.
fn of_instance(
    own: &UnitName,
    name: &UnitName,
    index: &BTreeMap<UnitName, usize>,
) -> Option<String> {
    name.instance()?;
    let (prefix, suffix) = (name.prefix(), name.kind().suffix());
    let known = |text: String| UnitName::parse(&text).ok().filter(|it| index.contains_key(it));
    let template = known(format!("{prefix}@{suffix}")).map(|it| {
        format!(
            "instances of {it} are made for connections only (Accept=yes): name a unit with a \
             file of its own; started by OnFailure= or OnSuccess=, it has MONITOR_UNIT="
        )
    });
    template.or_else(|| {
        let unit = known(format!("{prefix}{suffix}")).filter(|it| it != own)?;
        Some(format!(
            "did you mean {unit}? Its instances, if it has any, are no units of their own"
        ))
    })
}

/// What cannot be true at once: to need a unit and to stop it, to boot two that stop each other.
fn contradictions(
    drafts: &[Draft],
    index: &BTreeMap<UnitName, usize>,
    problems: &mut Vec<Problem>,
) {
    for draft in drafts {
        let unit = &draft.unit;
        let needs = [
            ("Requires", &*unit.requires),
            ("BindsTo", &unit.binds_to),
            ("Requisite", &unit.requisite),
            ("Upholds", &unit.upholds),
            ("Wants", &*unit.wants),
        ];
        for conflict in &unit.conflicts {
            let other = index.get(&conflict.name).and_then(|at| drafts.get(*at));
            let needed = needs.iter().find_map(|(list, needed)| {
                let found = needed.iter().find(|needed| needed.name == conflict.name);
                found.map(|found| (*list, found.span.clone()))
            });
            let (name, conflicting) = (&unit.name, &conflict.name);
            if let Some((list, span)) = needed {
                let message = format!("{name} has both {list} and Conflicts with {conflicting}");
                let problem = Problem::error(conflict.span.clone(), message);
                problems.push(with_place(problem, span, format!("{list} here")));
            } else if unit.started_by == StartedBy::Boot
                && let Some(other) = other.filter(|draft| draft.unit.started_by == StartedBy::Boot)
            {
                let message =
                    format!("boot starts both {name} and {conflicting}, and they conflict");
                let hint = "[Install] Enabled = false keeps one of them from being started";
                let place = other.unit.file.clone().map(|file| Span { file, range: 0..0 });
                let problem = Problem::error(conflict.span.clone(), message).hint(hint);
                problems.push(with_place(problem, place, format!("{conflicting} is here")));
            }
        }
    }
}

fn with_place(problem: Problem, span: Option<Span>, label: String) -> Problem {
    match span {
        Some(span) => problem.related(span, label),
        None => problem,
    }
}

/// Completes `after` from the others' `Before=`, and makes the graph of it.
fn explicit_order(drafts: &mut [Draft], index: &BTreeMap<UnitName, usize>) -> Graph {
    let mut from_before: Vec<(usize, Dependency)> = Vec::new();
    for draft in drafts.iter() {
        let later = draft.unit.before.iter().filter_map(|before| {
            let dependency =
                Dependency { name: draft.unit.name.clone(), span: before.span.clone() };
            index.get(&before.name).map(|at| (*at, dependency))
        });
        from_before.extend(later);
    }
    for (at, dependency) in from_before {
        drafts.get_mut(at).into_iter().for_each(|draft| draft.unit.after.push(dependency.clone()));
    }
    drafts.iter_mut().for_each(|draft| dedup(&mut draft.unit.after));
    let mut graph = Graph::new(drafts.len());
    for (at, draft) in drafts.iter().enumerate() {
        let earlier = draft.unit.after.iter().filter_map(|after| index.get(&after.name));
        earlier.for_each(|earlier| graph.add(*earlier, at));
    }
    graph
}

/// Puts the COMMAND after all that boot starts, but for what is said to come after it.
fn command_last(drafts: &mut [Draft], graph: &mut Graph) {
    let Some(command) = drafts.iter().position(|draft| draft.unit.file.is_none()) else {
        return;
    };
    let later = graph.reachable(command);
    let boot = |(node, draft): (usize, &Draft)| {
        let before = draft.unit.started_by == StartedBy::Boot && !later.contains(&node);
        (before && node != command).then(|| (node, draft.unit.name.clone()))
    };
    let earlier: Vec<(usize, UnitName)> = drafts.iter().enumerate().filter_map(boot).collect();
    if let Some(draft) = drafts.get_mut(command) {
        for (node, name) in earlier {
            graph.add(node, command);
            draft.unit.after.push(Dependency { name, span: None });
        }
        dedup(&mut draft.unit.after);
    }
}

/// One error that names every member of a cycle, with the line that puts it there.
fn cycle(drafts: &[Draft], graph: &Graph, members: &[usize]) -> Problem {
    let start = members.first().copied().unwrap_or(0);
    let trip = graph.round_trip(start, members);
    let unit = |node: usize| drafts.get(node).map(|draft| &draft.unit);
    let name = |node: usize| unit(node).map_or_else(String::new, |unit| unit.name.to_string());
    let mut message = String::from("units wait for each other: ");
    for node in trip.iter().rev() {
        message += &name(*node);
        message += " after ";
    }
    message += &trip.last().map_or_else(String::new, |node| name(*node));
    let others: Vec<usize> =
        members.iter().copied().filter(|member| !trip.contains(member)).collect();
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|node| name(*node)).collect();
        message += &format!("; the same holds for {}", names.join(", "));
    }
    // Each member waits for one before it: on the trip that is the one before it there.
    let mut places = Vec::new();
    for (at, node) in trip.iter().enumerate() {
        let before = if at == 0 { trip.last() } else { trip.get(at - 1) };
        places.extend(before.and_then(|before| edge(unit(*node)?, unit(*before)?)));
    }
    for node in others {
        let inside = |dependency: &&Dependency| {
            members.iter().any(|member| unit(*member).is_some_and(|u| u.name == dependency.name))
        };
        let found = unit(node).and_then(|unit| unit.after.iter().find(inside).map(|d| (unit, d)));
        if let Some((unit, dependency)) = found {
            let label = format!("{} waits for {}", unit.name, dependency.name);
            places.extend(dependency.span.clone().map(|span| (span, label)));
        }
    }
    let mut places = places.into_iter();
    let first = places.next();
    let (span, label) = first.map_or((None, String::new()), |(span, label)| (Some(span), label));
    let problem = Problem::error(span, message).label(label);
    let problem = problem.hint("take one of these lines away");
    places.fold(problem, |problem, (span, label)| problem.related(span, label))
}

/// The line that puts `unit` after `before`.
fn edge(unit: &Unit, before: &Unit) -> Option<(Span, String)> {
    let found = unit.after.iter().find(|dependency| dependency.name == before.name)?;
    Some((found.span.clone()?, format!("{} waits for {}", unit.name, before.name)))
}
