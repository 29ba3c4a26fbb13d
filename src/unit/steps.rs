//! The implicit order: steps one after another, everything else after the steps.
//!
//! Not the explicit order, which comes first and always wins. **Invariant:** the edges added
//! here never close a cycle, and their number is linear in the number of units: each unit
//! gets one or two, never one for each step.
//!
//! Why no cycle: give the n-th step the rank n and every other unit the rank of the first step
//! that comes after it, less a half. Explicit edges never lead to a lower rank, and an edge
//! added here always comes from a lower one.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::directive::Draft;
use super::graph::Graph;
use super::service::{ExitAction, ServiceType};
use super::{Dependency, StartedBy, Unit, UnitKind, UnitName};

/// Marks the steps and adds the implicit order. `graph` is the explicit one, without a cycle;
/// its nodes are the places in `drafts`, which are sorted by name. `reactions` says which
/// units are named by `OnFailure=` or `OnSuccess=`: they must run while the boot fails, so
/// they wait for no step.
pub fn add_implicit_order(drafts: &mut [Draft], graph: &Graph, reactions: &[bool]) {
    for draft in drafts.iter_mut() {
        draft.unit.step = is_step(&draft.unit);
    }
    let (order, chain) = chain(drafts, graph);
    if chain.is_empty() {
        return;
    }
    let positions = positions(drafts.len(), &chain);
    let ranks = first_step_after(graph, &order, &positions);
    let links = links(drafts, &chain);
    for (node, draft) in drafts.iter_mut().enumerate() {
        let waits = draft.unit.default_dependencies
            && !draft.unit.name.is_template()
            && draft.unit.name.kind() != UnitKind::Socket // open before anything starts
            && !reactions.get(node).copied().unwrap_or(false);
        if !waits {
            continue;
        }
        // A step waits for the chain before itself, anything else for what is not after it.
        let step = positions.get(node).copied().flatten();
        let length = step.or(ranks.get(node).copied().flatten()).unwrap_or(chain.len());
        if let Some(link) = length.checked_sub(1).and_then(|last| links.get(last)) {
            link.apply(&mut draft.unit);
        }
    }
}

/// A oneshot that boot starts with default dependencies; a COMMAND is none.
fn is_step(unit: &Unit) -> bool {
    let command = unit.file.is_none();
    unit.service.kind == ServiceType::Oneshot
        && !command
        && unit.started_by == StartedBy::Boot
        && unit.name.kind() == UnitKind::Service
        && unit.default_dependencies
}

/// A topological order of everything, and the steps in it: in file-name order wherever the
/// explicit order allows it. Other units go first, so that they never hold up a tie.
fn chain(drafts: &[Draft], graph: &Graph) -> (Vec<usize>, Vec<usize>) {
    let step = |node: usize| drafts.get(node).filter(|draft| draft.unit.step);
    let order = graph.order(|node| step(node).map(|draft| file_name(&draft.unit)));
    let chain = order.iter().copied().filter(|node| step(*node).is_some()).collect();
    (order, chain)
}

/// The base name of a unit's file, which orders steps by its bytes.
fn file_name(unit: &Unit) -> Vec<u8> {
    let file = unit.file.as_ref().and_then(|file| file.path.file_name());
    file.map_or_else(|| unit.name.as_str().into(), |name| name.as_encoded_bytes().to_vec())
}

/// For each unit its place in the chain.
fn positions(n: usize, chain: &[usize]) -> Vec<Option<usize>> {
    let mut positions = vec![None; n];
    for (place, node) in chain.iter().enumerate() {
        positions.get_mut(*node).into_iter().for_each(|position| *position = Some(place));
    }
    positions
}

/// For each unit the first step in the chain that comes after it by explicit order, directly
/// or through others.
fn first_step_after(
    graph: &Graph,
    order: &[usize],
    positions: &[Option<usize>],
) -> Vec<Option<usize>> {
    let mut first: Vec<Option<usize>> = vec![None; positions.len()];
    for node in order.iter().rev() {
        let through = |next: &usize| {
            let own = positions.get(*next).copied().flatten();
            let later = first.get(*next).copied().flatten();
            own.into_iter().chain(later).min()
        };
        let found = graph.successors(*node).iter().filter_map(through).min();
        first.get_mut(*node).into_iter().for_each(|slot| *slot = found);
    }
    first
}

/// What a unit that waits for the chain up to some step is given.
struct Link {
    last: UnitName,
    last_is_required: bool,
    required: Option<UnitName>,
}

fn links(drafts: &[Draft], chain: &[usize]) -> Vec<Link> {
    let mut required: Option<UnitName> = None;
    let steps = chain.iter().filter_map(|node| drafts.get(*node));
    let link = |draft: &Draft| {
        let last = draft.unit.name.clone();
        let last_is_required = draft.unit.failure_action != ExitAction::None;
        if last_is_required {
            required = Some(last.clone());
        }
        Link { last, last_is_required, required: required.clone() }
    };
    steps.map(link).collect()
}

impl Link {
    fn apply(&self, unit: &mut Unit) {
        add(&mut unit.after, &self.last);
        if !self.last_is_required {
            add(&mut unit.wants, &self.last);
        }
        if let Some(required) = &self.required {
            // Requires= passes on a failure only together with After= (systemd.unit(5)).
            add(&mut unit.after, required);
            add(&mut unit.requires, required);
        }
    }
}

fn add(list: &mut Vec<Dependency>, name: &UnitName) {
    if !list.iter().any(|known| known.name == *name) {
        list.push(Dependency { name: name.clone(), span: None });
    }
}
