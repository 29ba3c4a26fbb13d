//! What a unit uses, in `status`: memory, tasks, processor time.
//!
//! Not the measuring. **Invariant:** what is not known is not said.

use std::time::Duration;

use super::properties::Properties;
use crate::unit::resources::format_size;
use crate::unit::timespan::format_timespan;

/// A number that is known, or a limit that is there.
pub fn known(unit: &Properties, name: &str) -> Option<u64> {
    let number = unit.0.get(name)?.as_u64()?;
    (number != u64::MAX).then_some(number)
}

/// `12.3M (max: 64M, peak: 14M, by cgroup)`.
pub fn memory(unit: &Properties) -> String {
    let names = [("MemoryMax", "max"), ("MemoryHigh", "high"), ("MemoryPeak", "peak")];
    // What a service of several uses is the sum; its limits are each one's own.
    let each = if unit.names("Instances").is_empty() { "" } else { " each" };
    let mut notes: Vec<String> = names
        .iter()
        .filter_map(|(name, word)| {
            Some(format!("{word}: {}{each}", format_size(known(unit, name)?)))
        })
        .collect();
    match unit.text("MemoryEnforced") {
        "" => {}
        "none" => notes.push("not enforced".to_owned()),
        rung => notes.push(format!("by {rung}")),
    }
    let notes = notes.join(", ");
    match (known(unit, "MemoryCurrent"), notes.as_str()) {
        (None, "") => String::new(),
        (None, notes) => format!("({notes})"),
        (Some(current), "") => format_size(current),
        (Some(current), notes) => format!("{} ({notes})", format_size(current)),
    }
}

/// The cap of a unit; that of a service of several is each one's own.
pub fn cap(unit: &Properties) -> Option<u64> {
    known(unit, "MemoryMax").filter(|_| unit.names("Instances").is_empty())
}

/// `12.3M/64M`, the short of it.
pub fn against_cap(unit: &Properties) -> String {
    let current = known(unit, "MemoryCurrent").map(format_size);
    match (current, cap(unit).map(format_size)) {
        (None, None) => String::new(),
        (Some(current), None) => current,
        (current, Some(max)) => format!("{}/{max}", current.as_deref().unwrap_or("-")),
    }
}

/// `3 (limit: 10)`.
pub fn tasks(unit: &Properties) -> String {
    let limit = known(unit, "TasksMax").map_or(String::new(), |max| format!(" (limit: {max})"));
    known(unit, "TasksCurrent").map_or(String::new(), |tasks| format!("{tasks}{limit}"))
}

/// `1min 2s`.
pub fn cpu(unit: &Properties) -> String {
    let time = known(unit, "CPUUsageNSec").map(|nanoseconds| nanoseconds / 1_000_000);
    time.map_or(String::new(), |time| format_timespan(Duration::from_millis(time)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn lines() {
        let none = u64::MAX;
        for (value, lines) in [
            (json!({}), ["", "", ""]),
            (
                json!({"MemoryCurrent": 12 << 20, "MemoryMax": 64 << 20, "MemoryHigh": none,
                    "MemoryPeak": 14 << 20, "MemoryEnforced": "cgroup", "TasksCurrent": 3,
                    "TasksMax": 10, "CPUUsageNSec": 62_000_000_000_u64}),
                ["12M (max: 64M, peak: 14M, by cgroup)", "3 (limit: 10)", "1min 2s"],
            ),
            (
                json!({"MemoryCurrent": none, "MemoryMax": 64 << 20, "MemoryPeak": none,
                    "MemoryEnforced": "none", "TasksCurrent": none, "TasksMax": 10,
                    "CPUUsageNSec": none}),
                ["(max: 64M, not enforced)", "", ""],
            ),
            (
                json!({"MemoryCurrent": 70 << 20, "MemoryMax": 64 << 20, "MemoryHigh": none,
                    "MemoryPeak": none, "MemoryEnforced": "cgroup",
                    "Instances": ["web@1.service", "web@2.service"]}),
                ["70M (max: 64M each, by cgroup)", "", ""],
            ),
            (
                json!({"MemoryCurrent": 1 << 20, "MemoryEnforced": "", "TasksCurrent": 1}),
                ["1M", "1", ""],
            ),
        ] {
            let Value::Object(fields) = value else { panic!("an object") };
            let unit = Properties(fields);
            assert_eq!([memory(&unit), tasks(&unit), cpu(&unit)], lines);
        }
    }
}
