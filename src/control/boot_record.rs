//! When each unit of the boot began and was ready: what `rinitctl analyze` explains.
//!
//! Not later starts: it is complete when the boot is done and does not change any more.
//! **Invariant:** a unit is in it once, with the first time of each kind.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::manager::event::Fact;
use crate::manager::state::{ActiveState, SubState};
use crate::manager::time::Timestamp;
use crate::unit::{Unit, UnitName};

/// One unit's times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Times {
    begun: Timestamp,
    /// Ready, or for a step finished.
    ready: Option<Timestamp>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct BootRecord {
    units: BTreeMap<UnitName, Times>,
    /// When it was done, and how long it took.
    done: Option<(Timestamp, Duration)>,
}

impl BootRecord {
    /// Takes in what happened. The clock is read only for what is recorded: facts go on for
    /// ever, a boot does not.
    pub fn fact(&mut self, now: impl FnOnce() -> Timestamp, fact: &Fact) {
        if self.done.is_some() {
            return;
        }
        if let Fact::Booted { took } = fact {
            self.done = Some((now(), *took));
            // Grown in order a tree is half empty, built at once it is full.
            self.units = std::mem::take(&mut self.units).into_iter().collect();
            return;
        }
        let Fact::State { unit, to, .. } = fact else { return };
        if *to == SubState::Condition {
            let times = Times { begun: now(), ready: None };
            self.units.entry(unit.clone()).or_insert(times);
            return;
        }
        let ready = to.active_state() == ActiveState::Active || *to == SubState::Dead;
        if let Some(times) = self.units.get_mut(unit).filter(|_| ready) {
            times.ready = times.ready.or_else(|| Some(now()));
        }
    }

    /// The reply to `Boot`; `all` are the units of now, for what they are ordered after.
    pub fn reply(&self, all: &[Arc<Unit>]) -> Value {
        let Some((done, took)) = self.done else {
            return json!({ "units": [], "done_usec": null });
        };
        let whole = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // The clock is the machine's; the boot began `took` before it was done.
        let usec = |at: Timestamp| whole(took.saturating_sub(done.since(at)));
        let definitions: BTreeMap<&UnitName, &Arc<Unit>> =
            all.iter().map(|unit| (&unit.name, unit)).collect();
        let unit = |(name, times): (&UnitName, &Times)| {
            let definition = definitions.get(name);
            // An instance begins with its service.
            let group = definition.and_then(|unit| unit.instance_of.as_ref());
            let ordered = definitions.get(group.unwrap_or(name));
            let after: Vec<&str> = ordered
                .map(|unit| unit.after.iter().map(|dependency| dependency.name.as_str()).collect())
                .unwrap_or_default();
            json!({
                "unit": name.as_str(),
                "begun_usec": usec(times.begun),
                "ready_usec": times.ready.map(usec),
                "step": definition.is_some_and(|unit| unit.step),
                "instance_of": group.map(UnitName::as_str),
                "after": after,
            })
        };
        let units: Vec<Value> = self.units.iter().map(unit).collect();
        json!({ "units": units, "done_usec": whole(took) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::event::InvocationId;
    use crate::manager::state::ServiceResult;

    #[test]
    fn the_first_times_of_each() {
        let name = |stem: &str| UnitName::service(stem).unwrap();
        let mut record = BootRecord::default();
        let mut at = |ms: u64, stem: &str, from, to| {
            let (invocation, result) = (InvocationId(1), ServiceResult::Success);
            let fact = Fact::State { unit: name(stem), invocation, from, to, result };
            record.fact(|| Timestamp::from_start(Duration::from_millis(1000 + ms)), &fact);
        };
        use SubState as S;
        at(1, "step", S::Dead, S::Condition);
        at(2, "web", S::Dead, S::Condition);
        at(3, "step", S::Condition, S::Start);
        at(4, "step", S::Start, S::AutoRestart);
        at(5, "step", S::AutoRestart, S::Condition);
        at(7, "step", S::StopSigterm, S::Dead);
        at(8, "web", S::Start, S::Running);
        at(9, "web", S::Running, S::StopSigterm);
        at(9, "web", S::StopSigterm, S::Dead);
        at(10, "late", S::Dead, S::Condition);
        assert_eq!(record.reply(&[]), json!({ "units": [], "done_usec": null }));
        let booted = Fact::Booted { took: Duration::from_millis(11) };
        record.fact(|| Timestamp::from_start(Duration::from_millis(1011)), &booted);
        let ready = Fact::State {
            unit: name("late"),
            invocation: InvocationId(1),
            from: S::Start,
            to: S::Running,
            result: ServiceResult::Success,
        };
        record.fact(|| Timestamp::from_start(Duration::from_millis(1012)), &ready);
        let mut web = Unit::new(name("web"));
        web.after.push(crate::unit::Dependency { name: name("step"), span: None });
        let found = record.reply(&[Arc::new(web)]);
        let row = |unit: &str, begun: u64, ready: Option<u64>, after: &[&str]| {
            json!({
                "unit": unit, "begun_usec": begun * 1000,
                "ready_usec": ready.map(|ms| ms * 1000), "step": false,
                "instance_of": null, "after": after,
            })
        };
        let expected = json!({
            "units": [
                row("late.service", 10, None, &[]),
                row("step.service", 1, Some(7), &[]),
                row("web.service", 2, Some(8), &["step.service"]),
            ],
            "done_usec": 11_000,
        });
        assert_eq!(found, expected);
    }
}
