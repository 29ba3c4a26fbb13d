//! From what the manager replied to what the caller gets.
//!
//! **Invariant:** every [`Reply`] has its words here, whatever was asked.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use serde_json::{Value, json};

use super::protocol::Error;
use crate::manager::event::Reply;
use crate::unit::{Problem, Severity, UnitName};

/// What was asked of the manager, as far as the answer depends on it.
#[derive(Clone, PartialEq, Debug)]
pub enum Asked {
    /// Something about this unit.
    Unit(UnitName),
    /// A number of instances of this unit.
    Number(UnitName),
    /// Something about all of them.
    All,
    /// Units that were read again; with what was found in them, as the interface has it.
    Units(Vec<Value>),
}

impl Asked {
    /// The one unit that it is about.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Asked::Unit(unit) | Asked::Number(unit) => Some(unit),
            Asked::All | Asked::Units(_) => None,
        }
    }
}

/// The parameters of the last reply.
///
/// # Errors
/// The manager said no.
pub fn answer(reply: Reply, asked: Asked) -> Result<Value, Error> {
    let unit = asked.unit().map(|unit| unit.as_str().to_owned());
    if reply == Reply::Done && matches!(asked, Asked::Number(_)) {
        return Ok(job("done", "it counts from the next start on", &[]));
    }
    let problems = match asked {
        Asked::Units(problems) => Some(problems),
        Asked::Unit(_) | Asked::Number(_) | Asked::All => None,
    };
    match reply {
        Reply::Job { result, reason, also } => {
            let also: Vec<&str> = also.iter().map(UnitName::as_str).collect();
            Ok(job(result.as_str(), &reason, &also))
        }
        Reply::Plan { changes } => {
            let changes: Vec<Value> = changes
                .iter()
                .map(|change| {
                    json!({
                        "unit": change.unit.as_str(),
                        "action": change.action.as_str(),
                        "reason": change.reason,
                    })
                })
                .collect();
            Ok(json!({ "changes": changes, "problems": problems.unwrap_or_default() }))
        }
        Reply::NoSuchUnit => {
            Err(Error::NoSuchUnit { unit: unit.unwrap_or_default(), suggestion: None })
        }
        Reply::Refused { reason } => Err(Error::Refused { unit, reason }),
        Reply::Done => Ok(problems.map_or_else(|| json!({}), |found| json!({ "problems": found }))),
    }
}

/// A job's reply.
pub fn job(result: &str, reason: &str, also: &[&str]) -> Value {
    json!({ "result": result, "reason": reason, "also": also, "event": null })
}

/// A problem as the interface has it; `text` draws one.
pub fn problem(problem: &Problem, text: impl Fn(&Problem) -> String) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let span = problem.span.as_ref();
    json!({
        "severity": severity,
        "file": span.map(|span| span.file.path.display().to_string()),
        "line": span.map(crate::unit::Span::line),
        "message": problem.message,
        "text": text(problem),
    })
}
