//! `analyze`: where the time of the boot went.
//!
//! rinit says when each unit began and was ready (`Boot`); what follows from it is worked out
//! here. Words and marks are systemd-analyze's: `@` is when a unit was ready, `+` how long it took.
//! **Invariant:** a chain goes back in time only, so it ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::Analyze;
use super::connect::Session;
use super::failure::Failure;
use super::screen::Screen;
use super::table::{Cell, render};
use super::{DONE, FAILED, NO_SUCH_UNIT, names, plot};

/// How one unit's start went; microseconds since rinit's start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BootUnit {
    pub name: String,
    pub begun: u64,
    /// `None`: it was not ready when the boot was done.
    pub ready: Option<u64>,
    pub step: bool,
    pub instance_of: Option<String>,
    pub after: Vec<String>,
}

impl BootUnit {
    fn took(&self) -> Option<u64> {
        Some(self.ready?.saturating_sub(self.begun))
    }
}

/// The whole boot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Boot {
    pub units: BTreeMap<String, BootUnit>,
    pub done: u64,
}

impl Boot {
    fn of(reply: &Value) -> Option<Boot> {
        let done = reply.get("done_usec")?.as_u64()?;
        let units = reply.get("units")?.as_array()?.iter().filter_map(|unit| {
            let text = |key: &str| unit.get(key).and_then(Value::as_str).map(str::to_owned);
            let number = |key: &str| unit.get(key).and_then(Value::as_u64);
            let after = unit.get("after").and_then(Value::as_array).into_iter().flatten();
            let name = text("unit")?;
            let unit = BootUnit {
                name: name.clone(),
                begun: number("begun_usec")?,
                ready: number("ready_usec"),
                step: unit.get("step").and_then(Value::as_bool).unwrap_or(false),
                instance_of: text("instance_of"),
                after: after.filter_map(Value::as_str).map(str::to_owned).collect(),
            };
            Some((name, unit))
        });
        Some(Boot { units: units.collect(), done })
    }

    /// What a person calls a start: no service of instances, which begins with its first.
    fn rows(&self) -> impl Iterator<Item = &BootUnit> {
        let groups: Vec<&str> =
            self.units.values().filter_map(|unit| unit.instance_of.as_deref()).collect();
        self.units.values().filter(move |unit| !groups.contains(&unit.name.as_str()))
    }

    /// What took longest first.
    fn blame(&self) -> Vec<&BootUnit> {
        let mut rows: Vec<&BootUnit> = self.rows().filter(|unit| unit.ready.is_some()).collect();
        rows.sort_by(|a, b| b.took().cmp(&a.took()).then(a.name.cmp(&b.name)));
        rows
    }

    /// From a unit back: each time to the one of those it is ordered after that was ready last.
    fn chain<'a>(&'a self, from: &'a BootUnit) -> Vec<&'a BootUnit> {
        let mut chain = vec![from];
        let mut last = from;
        loop {
            let before = last.after.iter().filter_map(|name| self.units.get(name));
            let ready = before.filter(|unit| unit.ready.is_some_and(|ready| ready <= last.begun));
            let ready = ready.filter(|unit| chain.iter().all(|seen| seen.name != unit.name));
            let Some(next) = ready.max_by_key(|unit| (unit.ready, unit.begun)) else {
                return chain;
            };
            chain.push(next);
            last = next;
        }
    }

    /// The one that was ready last.
    fn last(&self) -> Option<&BootUnit> {
        self.rows().filter(|unit| unit.ready.is_some()).max_by_key(|unit| unit.ready)
    }
}

/// `1.204s`, `38ms`, `450us`: three digits are enough.
pub(super) fn span(usec: u64) -> String {
    match usec {
        0..1_000 => format!("{usec}us"),
        1_000..1_000_000 => format!("{}ms", usec / 1_000),
        1_000_000..60_000_000 => {
            format!("{}.{:03}s", usec / 1_000_000, usec / 1_000 % 1_000)
        }
        _ => format!("{}min {}s", usec / 60_000_000, usec / 1_000_000 % 60),
    }
}

/// The verb.
pub fn analyze(
    what: &Analyze,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let reply = session.call("Boot", &json!({}))?;
    let Some(boot) = Boot::of(&reply) else {
        return Err(Failure::new(FAILED, "the boot is not done yet: rinitctl is-system-running"));
    };
    if json {
        screen.json(&reply);
        return Ok(DONE);
    }
    match what {
        Analyze::Time => screen.out(&summary(&boot)),
        Analyze::Blame => {
            let cells = |unit: &&BootUnit| {
                let took = unit.took().map_or_else(String::new, span);
                vec![Cell::new(&format!("{took:>12}")), Cell::new(&unit.name)]
            };
            let rows: Vec<Vec<Cell>> = boot.blame().iter().map(cells).collect();
            screen.out(&render(&rows, screen.look));
        }
        Analyze::CriticalChain { unit } => {
            let from = match unit {
                Some(word) => Some(boot.units.get(&names::full(word)).ok_or_else(|| {
                    let message = format!("{} was not started by the boot", names::full(word));
                    Failure::new(NO_SUCH_UNIT, message)
                })?),
                None => boot.last(),
            };
            let chain = from.map(|from| boot.chain(from)).unwrap_or_default();
            let corner = if screen.look.unicode { "└─" } else { "`-" };
            screen.out(&drawn(&chain, corner));
        }
        Analyze::Plot => screen.out(&plot::svg(&boot, &boot.rows().collect::<Vec<_>>())),
        Analyze::Verify(_) => (),
    }
    Ok(DONE)
}

fn summary(boot: &Boot) -> String {
    let steps = boot.rows().filter(|unit| unit.step).count();
    let others = boot.rows().count() - steps;
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let late: Vec<&str> =
        boot.rows().filter(|unit| unit.ready.is_none()).map(|unit| unit.name.as_str()).collect();
    let late = match late.as_slice() {
        [] => String::new(),
        _ => format!("\nnot ready then: {}", late.join(", ")),
    };
    let (steps, others) = (plural(steps, "step"), plural(others, "service"));
    format!("Boot done in {}: {steps}, {others}{late}\n", span(boot.done))
}

/// The last unit first, what it waited for below it.
fn drawn(chain: &[&BootUnit], corner: &str) -> String {
    let mut text = String::new();
    for (depth, unit) in chain.iter().enumerate() {
        let indent = match depth {
            0 => String::new(),
            _ => format!("{}{corner}", "  ".repeat(depth - 1)),
        };
        let ready =
            unit.ready.map_or_else(|| "not ready".to_owned(), |at| format!("@{}", span(at)));
        let took = unit.took().map_or_else(String::new, |took| format!(" +{}", span(took)));
        text.push_str(&format!("{indent}{} {ready}{took}\n", unit.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Boot {
        let row = |name: &str, begun: u64, ready: Option<u64>, after: &[&str]| {
            let step = name.starts_with('1');
            let instance_of = name.starts_with("web@").then_some("web.service");
            json!({
                "unit": name, "begun_usec": begun, "ready_usec": ready, "step": step,
                "instance_of": instance_of, "after": after,
            })
        };
        Boot::of(&json!({
            "done_usec": 2_300_000,
            "units": [
                row("10-a.service", 1_000, Some(1_201_000), &[]),
                row("11-b.service", 1_201_000, Some(1_250_000), &["10-a.service"]),
                row("db.service", 1_250_000, Some(2_000_000), &["10-a.service", "11-b.service"]),
                row("cache.service", 1_250_000, Some(1_250_400), &["10-a.service", "11-b.service"]),
                row("late.service", 1_250_000, None, &["11-b.service"]),
                row("web.service", 2_000_000, Some(2_300_000), &["db.service", "cache.service"]),
                row("web@1.service", 2_000_000, Some(2_300_000), &["db.service", "cache.service"]),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn what_took_longest() {
        let boot = boot();
        let rows: Vec<String> = boot
            .blame()
            .iter()
            .map(|unit| format!("{} {}", span(unit.took().unwrap()), unit.name))
            .collect();
        assert_eq!(
            rows,
            [
                "1.200s 10-a.service",
                "750ms db.service",
                "300ms web@1.service",
                "49ms 11-b.service",
                "400us cache.service"
            ]
        );
    }

    #[test]
    fn the_chain_is_the_way_of_those_that_were_ready_last() {
        let boot = boot();
        assert_eq!(
            drawn(&boot.chain(boot.last().unwrap()), "└─"),
            "web@1.service @2.300s +300ms\n\
             └─db.service @2.000s +750ms\n\
             \u{20}\u{20}└─11-b.service @1.250s +49ms\n\
             \u{20}\u{20}\u{20}\u{20}└─10-a.service @1.201s +1.200s\n"
        );
        assert_eq!(
            summary(&boot),
            "Boot done in 2.300s: 2 steps, 4 services\nnot ready then: late.service\n"
        );
    }
}
