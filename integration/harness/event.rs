//! One line of `--log-format json`.

use serde_json::Value;

/// What rinit said.
#[derive(Clone, Debug)]
pub struct Event(pub Value);

impl Event {
    /// Reads a line; `None` if a service wrote it.
    pub fn parse(line: &str) -> Option<Event> {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("event")?.is_string().then_some(Event(value))
    }

    /// A key's text, `""` if it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A key's number.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.0.get(key).and_then(Value::as_i64)
    }

    pub fn is(&self, kind: &str, unit: &str) -> bool {
        self.text("event") == kind && self.text("unit") == full_name(unit)
    }

    /// `web` changed to the sub-state `to`.
    pub fn is_state(&self, unit: &str, to: &str) -> bool {
        self.is("state", unit) && self.text("to") == to
    }

    pub fn is_start(&self, unit: &str, role: &str) -> bool {
        self.is("start", unit) && self.text("role") == role
    }

    /// When it happened, in rinit's clock.
    pub fn monotonic_usec(&self) -> i64 {
        self.number("monotonic_usec").unwrap_or_else(|| panic!("no monotonic_usec in {}", self.0))
    }
}

/// What a service wrote, out of the journal's object; any other line as it is.
pub fn bare(line: String) -> String {
    let value: Option<Value> = serde_json::from_str(&line).ok();
    let value = value.filter(|value| value.get("stream").is_some());
    let message = value.as_ref().and_then(|value| value.get("message")?.as_str());
    message.map_or(line.clone(), str::to_string)
}

/// `web` is `web.service`.
pub fn full_name(unit: &str) -> String {
    if unit.contains('.') { unit.to_string() } else { format!("{unit}.service") }
}
