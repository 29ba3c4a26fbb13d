//! Why a verb did not do what it should: a sentence for a person, a status for a script.
//!
//! **Invariant:** one kind of failure has one exit status, whichever verb meets it.

use serde_json::Value;

use super::{FAILED, NO_SUCH_UNIT, NOT_THERE, TIMED_OUT, USAGE};
use crate::control::client::CallError;

/// A failure.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// The exit status.
    pub code: u8,
    /// The sentence, without `rinitctl:` before and without a newline.
    pub message: String,
}

impl Failure {
    /// A failure with this status.
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// What rinit said, or that it said nothing.
    pub fn of_call(error: CallError) -> Failure {
        match error {
            CallError::Refused(name, parameters) => refused(&name, &parameters),
            CallError::TimedOut => Failure::new(TIMED_OUT, "rinit did not answer in time"),
            CallError::Closed => {
                let message = "rinit closed the connection before it answered: it may have ended";
                Failure::new(NOT_THERE, message)
            }
            CallError::Garbled(_) | CallError::Io(_) => Failure::new(FAILED, error.to_string()),
        }
    }

    /// With what was tried before it: `Failed to stop web.service: …`.
    #[must_use]
    pub fn during(self, what: &str) -> Failure {
        Failure { message: format!("Failed to {what}: {}", self.message), ..self }
    }

    /// The line for standard error.
    pub fn line(&self) -> String {
        format!("rinitctl: {}\n", self.message)
    }
}

fn refused(name: &str, parameters: &Value) -> Failure {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
    let meant = match text("suggestion") {
        "" => String::new(),
        near => format!("; did you mean {near}?"),
    };
    match name {
        "NoSuchUnit" => {
            let unit = text("unit");
            Failure::new(NO_SUCH_UNIT, format!("Unit {unit} could not be found{meant}"))
        }
        "NoSuchSignal" => Failure::new(USAGE, format!("{} is no signal{meant}", text("signal"))),
        "Refused" => Failure::new(FAILED, text("reason")),
        "PermissionDenied" => {
            Failure::new(FAILED, format!("Permission denied: {}", text("reason")))
        }
        "TooSlow" => {
            let dropped = parameters.get("dropped").and_then(Value::as_u64).unwrap_or(0);
            let message = format!(
                "rinit hung up: this program did not read fast enough, {dropped} events were lost"
            );
            Failure::new(FAILED, message)
        }
        "org.varlink.service.MethodNotFound" | "org.varlink.service.MethodNotImplemented" => {
            let method = text("method");
            let message = format!("this rinit does not know {method}: is it older than rinitctl?");
            Failure::new(FAILED, message)
        }
        other => Failure::new(FAILED, format!("rinit says {other} {parameters}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_error_has_its_status() {
        let refused = |name: &str, parameters| CallError::Refused(name.to_owned(), parameters);
        for (error, code, words) in [
            (
                refused("NoSuchUnit", json!({"unit": "wbe.service", "suggestion": "web.service"})),
                4,
                "Unit wbe.service could not be found; did you mean web.service?",
            ),
            (
                refused("NoSuchUnit", json!({"unit": "x.service", "suggestion": null})),
                4,
                "Unit x.service could not be found",
            ),
            (
                refused("Refused", json!({"reason": "web.service has no ExecReload="})),
                1,
                "web.service has no ExecReload=",
            ),
            (
                refused("NoSuchSignal", json!({"signal": "TREM", "suggestion": "TERM"})),
                64,
                "TREM is no signal; did you mean TERM?",
            ),
            (
                refused("PermissionDenied", json!({"reason": "uid 1000"})),
                1,
                "Permission denied: uid 1000",
            ),
            (refused("TooSlow", json!({"dropped": 7})), 1, "7 events were lost"),
            (
                refused("org.varlink.service.MethodNotFound", json!({"method": "X"})),
                1,
                "does not know X",
            ),
            (CallError::TimedOut, 5, "did not answer in time"),
            (CallError::Closed, 6, "closed the connection"),
            (CallError::Garbled("x".to_owned()), 1, "no varlink message: x"),
        ] {
            let failure = Failure::of_call(error);
            assert_eq!(failure.code, code, "{failure:?}");
            assert!(failure.message.contains(words), "{failure:?}");
        }
    }
}
