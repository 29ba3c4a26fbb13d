//! How many instances `Instances = "auto"` is here.
//!
//! Not the arithmetic (`unit::instances`) nor the reading (`unit::load::container`).
//! **Invariant:** after [`settle`] no unit says `auto`.

use std::sync::Arc;

use crate::sys::affinity;
use crate::unit::UnitSet;
use crate::unit::instances::{Capacity, resolve};
use crate::unit::load::Container;
use crate::unit::rolling::Instances;

/// Puts the number in the place of every `auto`; a sentence for each, for the log.
pub fn settle(units: &mut UnitSet) -> Vec<String> {
    let auto = |unit: &Arc<crate::unit::Unit>| unit.service.instances == Some(Instances::Auto);
    if !units.units.values().any(auto) {
        return Vec::new(); // nothing is read for those who do not ask
    }
    let Container { quota, room } = Container::read();
    let capacity = Capacity { quota, affinity: affinity::processors(), memory: room.memory };
    let mut notes = Vec::new();
    for unit in units.units.values_mut().filter(|unit| auto(unit)) {
        let max = unit.service.resources.as_deref().and_then(|resources| resources.memory_max);
        let each = max.and_then(|max| max.bytes(room.memory));
        let (count, arithmetic) = resolve(Instances::Auto, &capacity, each);
        notes.push(format!("{}: Instances={arithmetic}", unit.name));
        Arc::make_mut(unit).service.instances = Some(Instances::Count(count));
    }
    notes
}
