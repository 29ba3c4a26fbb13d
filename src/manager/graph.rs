//! Who waits for whom, and who goes down with whom: the units' dependencies read backwards.
//!
//! Not a check (`unit::verify` made sure there is no cycle) and not a decision (`job`).

use std::collections::{BTreeMap, BTreeSet};

use crate::unit::tree::tree;
use crate::unit::{Dependency, Unit, UnitName, UnitSet};

type Edges = BTreeMap<UnitName, Vec<UnitName>>;

/// The reverse of every dependency that is followed at run time.
#[derive(Debug, Default)]
pub(super) struct Graph {
    followers: Edges,
    required_by: Edges,
    requisite_of: Edges,
    bound_by: Edges,
    parts: Edges,
    upheld_by: Edges,
    conflicts: Edges,
    order: Vec<UnitName>,
}

impl Graph {
    pub fn new(units: &UnitSet) -> Graph {
        let mut graph = Graph::default();
        for unit in units.units.values() {
            let me = &unit.name;
            reverse(&mut graph.followers, me, &unit.after, units);
            reverse(&mut graph.required_by, me, &unit.requires, units);
            reverse(&mut graph.requisite_of, me, &unit.requisite, units);
            reverse(&mut graph.bound_by, me, &unit.binds_to, units);
            reverse(&mut graph.parts, me, &unit.part_of, units);
            reverse(&mut graph.upheld_by, me, &unit.upholds, units);
            reverse(&mut graph.conflicts, me, &unit.conflicts, units);
            for other in &unit.conflicts {
                graph.conflicts.entry(me.clone()).or_default().push(other.name.clone());
            }
        }
        graph.order = graph.topological(units);
        graph
    }

    /// The units that are ordered `After=` this one.
    pub fn followers(&self, unit: &UnitName) -> &[UnitName] {
        of(&self.followers, unit)
    }

    /// The units that this one's failed start fails.
    pub fn fail_with(&self, unit: &UnitName) -> impl Iterator<Item = &UnitName> {
        let edges = [&self.required_by, &self.requisite_of, &self.bound_by];
        edges.into_iter().flat_map(move |edges| of(edges, unit))
    }

    /// The units that an explicit stop or restart of this one takes along, and by which of their
    /// directives: those that need it, unless that is `over`, and those that say so themselves.
    pub fn stop_with(
        &self,
        unit: &UnitName,
        over: bool,
    ) -> impl Iterator<Item = (&UnitName, &'static str)> {
        let needing = [(&self.required_by, "Requires"), (&self.requisite_of, "Requisite")];
        let needing = needing.into_iter().filter(move |_| !over);
        let edges = needing.chain([(&self.bound_by, "BindsTo"), (&self.parts, "PartOf")]);
        edges.flat_map(move |(edges, by)| of(edges, unit).iter().map(move |other| (other, by)))
    }

    /// The units that may not be up without this one.
    pub fn bound_by(&self, unit: &UnitName) -> &[UnitName] {
        of(&self.bound_by, unit)
    }

    /// The units that want this one up whenever they are.
    pub fn upheld_by(&self, unit: &UnitName) -> &[UnitName] {
        of(&self.upheld_by, unit)
    }

    /// The units that may not be up together with this one, whoever says so.
    pub fn conflicts(&self, unit: &UnitName) -> &[UnitName] {
        of(&self.conflicts, unit)
    }

    /// For each of `units`: how many layers of them must stop after it, one behind the other.
    pub fn layers_below(
        &self,
        all: &UnitSet,
        units: &BTreeSet<UnitName>,
    ) -> BTreeMap<UnitName, u32> {
        let mut below: BTreeMap<UnitName, u32> = BTreeMap::new();
        for name in self.order.iter().filter(|name| units.contains(name)) {
            let earlier = all.get(name).into_iter().flat_map(|unit| &unit.after);
            let deepest = earlier.filter_map(|dep| below.get(&dep.name)).max();
            below.insert(name.clone(), deepest.map_or(0, |layers| layers + 1));
        }
        below
    }

    /// Every unit behind all that it is ordered after (Kahn's algorithm).
    fn topological(&self, units: &UnitSet) -> Vec<UnitName> {
        let exists = |dep: &&Dependency| units.units.contains_key(&dep.name);
        let count = |unit: &Unit| unit.after.iter().filter(exists).count();
        let mut missing: BTreeMap<&UnitName, usize> =
            tree(units.units.values().map(|unit| (&unit.name, count(unit))));
        let mut free: Vec<&UnitName> =
            missing.iter().filter(|(_, n)| **n == 0).map(|(name, _)| *name).collect();
        let mut order = Vec::with_capacity(missing.len());
        while let Some(name) = free.pop() {
            order.push(name.clone());
            for follower in of(&self.followers, name) {
                let Some(n) = missing.get_mut(follower) else { continue };
                *n = n.saturating_sub(1);
                if *n == 0 {
                    free.push(follower);
                }
            }
        }
        order
    }
}

fn reverse(edges: &mut Edges, me: &UnitName, to: &[Dependency], units: &UnitSet) {
    for dependency in to.iter().filter(|dep| units.units.contains_key(&dep.name)) {
        edges.entry(dependency.name.clone()).or_default().push(me.clone());
    }
}

fn of<'a>(edges: &'a Edges, unit: &UnitName) -> &'a [UnitName] {
    edges.get(unit).map_or(&[], Vec::as_slice)
}
