//! Conditions and asserts of a unit: read, shown and combined (systemd.unit(5), CONDITIONS AND
//! ASSERTS).
//!
//! Not tested against the host here: the caller does that. **Invariant:** [`combine`] asks in
//! the order of the file and no more often than it must.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt;

use super::value::is_whitespace;
use super::{Condition, ConditionKind};

impl ConditionKind {
    /// Every kind.
    pub const ALL: [ConditionKind; 10] = [
        ConditionKind::PathExists,
        ConditionKind::PathExistsGlob,
        ConditionKind::PathIsDirectory,
        ConditionKind::PathIsSymbolicLink,
        ConditionKind::PathIsMountPoint,
        ConditionKind::PathIsReadWrite,
        ConditionKind::DirectoryNotEmpty,
        ConditionKind::FileNotEmpty,
        ConditionKind::FileIsExecutable,
        ConditionKind::Environment,
    ];

    /// What follows `Condition` or `Assert` in its directive.
    pub fn name(self) -> &'static str {
        match self {
            ConditionKind::PathExists => "PathExists",
            ConditionKind::PathExistsGlob => "PathExistsGlob",
            ConditionKind::PathIsDirectory => "PathIsDirectory",
            ConditionKind::PathIsSymbolicLink => "PathIsSymbolicLink",
            ConditionKind::PathIsMountPoint => "PathIsMountPoint",
            ConditionKind::PathIsReadWrite => "PathIsReadWrite",
            ConditionKind::DirectoryNotEmpty => "DirectoryNotEmpty",
            ConditionKind::FileNotEmpty => "FileNotEmpty",
            ConditionKind::FileIsExecutable => "FileIsExecutable",
            ConditionKind::Environment => "Environment",
        }
    }

    /// Whether its parameter is a path, which must be absolute.
    pub fn is_path(self) -> bool {
        self != ConditionKind::Environment
    }
}

/// Reads one line: a `|`, then a `!`, then the parameter. Its specifiers are not replaced, a
/// path is not checked; the caller resets on the empty text.
pub fn parse_condition(kind: ConditionKind, text: &str) -> Condition {
    let mut parameter = text;
    let mut take = |sign: char| match parameter.strip_prefix(sign) {
        Some(rest) => {
            parameter = rest.trim_start_matches(is_whitespace);
            true
        }
        None => false,
    };
    let trigger = take('|');
    let negate = take('!');
    Condition { kind, parameter: parameter.to_string(), trigger, negate }
}

/// Whether all of `conditions` hold together: each one without `|`, and one of those with `|`
/// if there are any. `holds` tests kind and parameter; a `!` is applied here.
///
/// # Errors
/// The condition that decided: the first false one without `|`, else the first with one.
pub fn combine(
    conditions: &[Condition],
    mut holds: impl FnMut(&Condition) -> bool,
) -> Result<(), &Condition> {
    let mut first_trigger = None;
    let mut triggered = false;
    for condition in conditions {
        if condition.trigger {
            first_trigger = first_trigger.or(Some(condition));
            triggered = triggered || holds(condition) != condition.negate;
        } else if holds(condition) == condition.negate {
            return Err(condition);
        }
    }
    match first_trigger {
        Some(condition) if !triggered => Err(condition),
        Some(_) | None => Ok(()),
    }
}

impl Condition {
    /// Shows it as its directive, `word` being `Condition` or `Assert`.
    pub fn display(&self, word: &'static str) -> impl fmt::Display {
        ConditionDisplay { condition: self, word }
    }
}

struct ConditionDisplay<'a> {
    condition: &'a Condition,
    word: &'static str,
}

impl fmt::Display for ConditionDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { kind, parameter, trigger, negate } = self.condition;
        let trigger = if *trigger { "|" } else { "" };
        let negate = if *negate { "!" } else { "" };
        write!(f, "{}{}={trigger}{negate}{parameter}", self.word, kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        parse_condition(ConditionKind::PathExists, text)
    }

    #[test]
    fn signs() {
        for (text, trigger, negate, parameter) in [
            ("/x", false, false, "/x"),
            ("!/x", false, true, "/x"),
            ("|/x", true, false, "/x"),
            ("|!/x", true, true, "/x"),
            ("| ! /x", true, true, "/x"),
            ("!|/x", false, true, "|/x"), // the order is |!
            ("", false, false, ""),
        ] {
            let parameter = parameter.to_string();
            let kind = ConditionKind::PathExists;
            assert_eq!(condition(text), Condition { kind, parameter, trigger, negate }, "{text}");
        }
        assert_eq!(condition("| !/x").display("Condition").to_string(), "ConditionPathExists=|!/x");
        let environment = parse_condition(ConditionKind::Environment, "A=1");
        assert_eq!(environment.display("Assert").to_string(), "AssertEnvironment=A=1");
        assert!(!environment.kind.is_path());
    }

    /// `/t` holds, `/f` does not.
    #[test]
    fn combined() {
        for (lines, decided) in [
            (&[][..], None),
            (&["/t", "!/f"], None),
            (&["/t", "/f", "!/t"], Some("/f")),
            (&["!/t"], Some("/t")),
            (&["|/f", "|/t"], None),
            (&["|!/f", "|/f"], None),
            (&["|/f", "|!/t"], Some("/f")),
            (&["|/t", "/f"], Some("/f")),
            (&["|/f", "/t"], Some("/f")),
        ] {
            let conditions: Vec<Condition> = lines.iter().map(|line| condition(line)).collect();
            let result = combine(&conditions, |condition| condition.parameter == "/t");
            assert_eq!(result.err().map(|c| c.parameter.as_str()), decided, "{lines:?}");
        }
    }

    #[test]
    fn nothing_is_asked_twice_or_in_vain() {
        let conditions: Vec<Condition> = ["|/t", "|/u", "/f", "/v"].map(condition).into();
        let mut asked = Vec::new();
        let result = combine(&conditions, |condition| {
            asked.push(condition.parameter.clone());
            condition.parameter == "/t"
        });
        assert!(result.is_err());
        assert_eq!(asked, ["/t", "/f"]);
    }
}
