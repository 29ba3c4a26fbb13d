//! What `Describe` returns of one unit: values by systemd's property names.
//!
//! Not how they are shown. **Invariant:** a property that this rinit does not send is empty, 0
//! or false: an older or newer one can still be asked.

use serde_json::{Map, Value, json};

use super::connect::Session;
use super::failure::Failure;

/// One unit's properties.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Properties(pub Map<String, Value>);

impl Properties {
    /// Asks for them.
    ///
    /// # Errors
    /// What the call fails with; an unknown unit: status 4.
    pub fn of(session: &mut Session, unit: &str) -> Result<Properties, Failure> {
        session.call("Describe", &json!({ "unit": unit })).map(Properties::of_reply)
    }

    /// Takes them out of the reply of `Describe`.
    pub fn of_reply(mut reply: Value) -> Properties {
        match reply.get_mut("properties").map(Value::take) {
            Some(Value::Object(properties)) => Properties(properties),
            _ => Properties::default(),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number.
    pub fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A list of names.
    pub fn names(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A truth.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}
