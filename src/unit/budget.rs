//! The arithmetic of memory limits: whether all that units may have fits into what there is.
//!
//! Nothing is read here (`load::container` reads), and nothing is enforced. It counts what boot
//! starts, every instance of it; what a roll needs beside them for a moment is said, not counted.
//! **Invariant:** a sum that fits is never warned of.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::problem::{Problem, Span};
use super::resources::format_size;
use super::rolling::Instances;
use super::verify::Places;
use super::{StartedBy, Unit, UnitSet};

/// What there is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// The tightest memory limit of the container, or what the machine has; bytes.
    pub memory: Option<u64>,
    /// Swap that may be used beside it.
    pub swap: Option<u64>,
    /// It is a container's limit, and not all that the machine has.
    pub limited: bool,
}

/// What one unit may have.
struct Claim<'a> {
    unit: &'a Unit,
    instances: u64,
    each: u64,
}

impl Claim<'_> {
    fn total(&self) -> u64 {
        self.each.saturating_mul(self.instances)
    }

    /// `web: 4 × 1G = 4G`, `db: 512M`.
    fn text(&self) -> String {
        let (name, each) = (self.unit.name.stem(), format_size(self.each));
        match self.instances {
            1 => format!("{name}: {each}"),
            count => format!("{name}: {count} × {each} = {}", format_size(self.total())),
        }
    }
}

/// Whether any unit has a limit, so that it is worth knowing what there is.
pub fn is_needed(units: &UnitSet) -> bool {
    let limited = |unit: &Unit| {
        unit.service.resources.as_deref().is_some_and(|resources| resources.memory_max.is_some())
    };
    units.units.values().any(|unit| limited(unit))
}

/// Warns if the limits of what boot starts add up to more than there is.
pub fn check(units: &UnitSet, places: &Places, room: &Room, problems: &mut Vec<Problem>) {
    let Some(memory) = room.memory else { return };
    let claims: Vec<Claim<'_>> = units.units.values().filter_map(|it| claim(it, room)).collect();
    let total = claims.iter().fold(0, |sum: u64, claim| sum.saturating_add(claim.total()));
    let Some(largest) = claims.iter().max_by_key(|claim| claim.total()) else { return };
    if total <= memory {
        return;
    }
    let mut terms: Vec<String> = claims.iter().map(Claim::text).collect();
    if claims.len() > 1 {
        terms.push(format!("together {}", format_size(total)));
    }
    let place = if room.limited { "container" } else { "machine" };
    let swap = match room.swap.filter(|swap| *swap > 0) {
        Some(swap) => format!(" (and {} of swap)", format_size(swap)),
        None => String::new(),
    };
    let has = format_size(memory);
    let message = format!("{}, but this {place} has {has}{swap}", terms.join(", "));
    let problem = Problem::warning(span(largest.unit, places), message);
    problems.push(problem.hint(hint(largest, memory, total, place)));
}

/// How large the largest may be so that all fit.
fn hint(largest: &Claim<'_>, memory: u64, total: u64, place: &str) -> String {
    let others = total.saturating_sub(largest.total());
    let each = memory.saturating_sub(others) / largest.instances.max(1);
    let consequence = format!("a full {place} is where the kernel chooses whom to kill");
    match each >> 20 {
        0 => format!("lower MemoryMax or Instances: {consequence}"),
        mebibytes => format!(
            "MemoryMax of {} would fit up to {}: {consequence}",
            largest.unit.name.stem(),
            format_size(mebibytes << 20)
        ),
    }
}

fn claim<'a>(unit: &'a Unit, room: &Room) -> Option<Claim<'a>> {
    if unit.started_by != StartedBy::Boot || unit.step {
        return None;
    }
    let each = unit.service.resources.as_deref()?.memory_max?.bytes(room.memory)?;
    let instances = match unit.service.instances {
        Some(Instances::Count(count)) => u64::from(count),
        // `auto` is as many as fit.
        Some(Instances::Auto) => return None,
        None => 1,
    };
    Some(Claim { unit, instances, each })
}

fn span(unit: &Unit, places: &Places) -> Option<Span> {
    let seen = places.get(&unit.name)?;
    let given = |(name, _): &&(&'static str, Span)| matches!(*name, "MemoryMax" | "MemoryLimit");
    seen.iter().rev().find(given).map(|(_, span)| span.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::unit::UnitName;
    use crate::unit::resources::{Amount, Resources};

    fn unit(stem: &str, instances: Option<u32>, max: Amount) -> Arc<Unit> {
        let mut unit = Unit::new(UnitName::service(stem).unwrap());
        unit.service.instances = instances.map(Instances::Count);
        unit.service.resources =
            Some(Box::new(Resources { memory_max: Some(max), ..Resources::default() }));
        Arc::new(unit)
    }

    fn said(units: Vec<Arc<Unit>>, room: Room) -> Vec<String> {
        let mut problems = Vec::new();
        check(&UnitSet::new(units.into_iter()), &Places::new(), &room, &mut problems);
        let text =
            |problem: Problem| format!("{}; {}", problem.message, problem.hint.unwrap_or_default());
        problems.into_iter().map(text).collect()
    }

    const G: u64 = 1 << 30;

    fn room(memory: u64) -> Room {
        Room { memory: Some(memory), swap: None, limited: true }
    }

    #[test]
    fn four_of_one_gigabyte_in_three() {
        let web = || unit("web", Some(4), Amount::Bytes(G));
        assert_eq!(
            said(vec![web()], room(3 * G)),
            [
                "web: 4 × 1G = 4G, but this container has 3G; MemoryMax of web would fit up to 768M: \
              a full container is where the kernel chooses whom to kill"
            ]
        );
        let swap = Room { swap: Some(G), limited: false, ..room(3 * G) };
        assert_eq!(
            said(vec![web(), unit("db", None, Amount::Bytes(G / 2))], swap),
            ["db: 512M, web: 4 × 1G = 4G, together 4.5G, but this machine has 3G (and 1G of \
              swap); MemoryMax of web would fit up to 640M: a full machine is where the kernel \
              chooses whom to kill"]
        );
        assert_eq!(said(vec![web()], room(4 * G)), [""; 0], "it fits exactly");
        assert_eq!(said(vec![web()], Room::default()), [""; 0], "nothing is known");
    }

    #[test]
    fn shares_are_of_what_there_is() {
        let four = |parts| vec![unit("web", Some(4), Amount::Share(parts))];
        assert_eq!(said(four(2500), room(3 * G)), [""; 0]);
        assert_eq!(said(four(2501), room(3 * G)).len(), 1);
    }
}
