//! Names of units as a person types them: `web` for `web.service`, `w*` for all that match.
//!
//! Not their validity, which rinit knows. **Invariant:** a word without a pattern is one name,
//! whether there is such a unit or not: rinit then says so, with a suggestion.

use serde_json::{Value, json};

use super::NO_SUCH_UNIT;
use super::connect::Session;
use super::failure::Failure;
use crate::unit::name::UnitKind;

/// The whole name: `.service` is implied.
pub fn full(word: &str) -> String {
    let known = UnitKind::ALL.iter().any(|kind| word.ends_with(kind.suffix()));
    if known || word.ends_with(['*', '?']) { word.to_owned() } else { format!("{word}.service") }
}

/// Whether the word stands for several names.
pub fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?'])
}

/// The names that the words mean, each once, in their order.
///
/// # Errors
/// Status 4 if nothing matches a pattern; what the call fails with.
pub fn resolve(session: &mut Session, words: &[String]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for word in words {
        let found = if is_pattern(word) { matching(session, word)? } else { vec![full(word)] };
        for name in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn matching(session: &mut Session, pattern: &str) -> Result<Vec<String>, Failure> {
    let all = list(session)?;
    let pattern = full(pattern);
    let names = all.iter().filter_map(|unit| unit.get("unit").and_then(Value::as_str));
    let found: Vec<String> =
        names.filter(|name| matches(&pattern, name)).map(str::to_owned).collect();
    if found.is_empty() {
        return Err(Failure::new(NO_SUCH_UNIT, format!("no unit matches {pattern}")));
    }
    Ok(found)
}

/// Every unit, as `List` has it.
///
/// # Errors
/// What the call fails with.
pub fn list(session: &mut Session) -> Result<Vec<Value>, Failure> {
    let mut reply = session.call("List", &json!({}))?;
    match reply.get_mut("units").map(Value::take) {
        Some(Value::Array(units)) => Ok(units),
        _ => Ok(Vec::new()),
    }
}

/// glob(7) with `*` and `?`, which is what shells have taught people to type.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if wanted == byte || *wanted == b'?' => (p, n) = (p + 1, n + 1),
            Some(_) | None => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implied_suffixes() {
        for (word, name) in [
            ("web", "web.service"),
            ("web.service", "web.service"),
            ("web.socket", "web.socket"),
            ("my.app", "my.app.service"),
            ("w*", "w*"),
            ("w*b", "w*b.service"),
        ] {
            assert_eq!(full(word), name);
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, holds) in [
            ("web.service", "web.service", true),
            ("web.service", "web.servic", false),
            ("w*", "web.service", true),
            ("*.service", "web.service", true),
            ("w?b.service", "web.service", true),
            ("w?.service", "web.service", false),
            ("*b*", "web.service", true),
            ("*x*", "web.service", false),
            ("", "x", false),
            ("**", "", true),
            ("a*a*a", "aaaa", true),
            ("a*a*b", "aaaa", false),
        ] {
            assert_eq!(matches(pattern, name), holds, "{pattern} {name}");
        }
    }
}
