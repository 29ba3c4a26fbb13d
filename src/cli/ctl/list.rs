//! `list-units`: every unit on a line.
//!
//! Unlike systemctl it leaves nothing out: in a container all units are somebody's own.

use serde_json::Value;

use super::args::List;
use super::connect::Session;
use super::failure::Failure;
use super::screen::{Look, Screen, Tint};
use super::table::{self, Cell};
use super::{DONE, names};

/// The keys of a unit, which are also the columns (`systemctl list-units -o json`).
const KEYS: [&str; 5] = ["unit", "load", "active", "sub", "description"];

/// The verb.
pub fn list_units(
    arguments: &List,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut units = names::list(session)?;
    units.retain(|unit| wanted(unit, arguments));
    if json {
        screen.json(&Value::Array(units));
    } else {
        let text = render(&units, !arguments.no_legend, screen.look);
        screen.out(&text);
    }
    Ok(DONE)
}

/// A text of a unit.
pub fn text<'a>(unit: &'a Value, key: &str) -> &'a str {
    unit.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn wanted(unit: &Value, arguments: &List) -> bool {
    let patterns = arguments.patterns.iter().map(|pattern| names::full(pattern));
    let named = patterns.map(|pattern| names::matches(&pattern, text(unit, "unit")));
    let states = ["load", "active", "sub"].map(|key| text(unit, key));
    let in_state = arguments.state.is_empty()
        || arguments.state.iter().any(|state| states.contains(&state.as_str()));
    (arguments.patterns.is_empty() || named.into_iter().any(|named| named))
        && in_state
        && (!arguments.failed || text(unit, "active") == "failed")
}

fn render(units: &[Value], legend: bool, look: Look) -> String {
    let mut rows = Vec::new();
    if legend {
        let mut row: Vec<Cell> =
            KEYS.iter().map(|key| Cell::tinted(Tint::Strong, &key.to_uppercase())).collect();
        if !look.plain {
            row.insert(0, Cell::new(" "));
        }
        rows.push(row);
    }
    rows.extend(units.iter().map(|unit| row(unit, look)));
    let table = table::render(&rows, look);
    let mut text: String = table.lines().map(|line| look.fitted(line) + "\n").collect();
    if legend {
        text += &format!("\n{} loaded units listed.\n", units.len());
    }
    text
}

fn row(unit: &Value, look: Look) -> Vec<Cell> {
    let tint = Tint::of_active(text(unit, "active"));
    let bad = tint == Tint::Bad;
    let cell = |key: &&str| match *key {
        "active" | "sub" => Cell::tinted(tint, text(unit, key)),
        "unit" if bad => Cell::tinted(tint, text(unit, key)),
        key => Cell::new(text(unit, key)),
    };
    let mut row: Vec<Cell> = KEYS.iter().map(cell).collect();
    if !look.plain {
        let dot = match (bad, look.unicode) {
            (true, true) => "●",
            (true, false) => "*",
            (false, _) => " ",
        };
        row.insert(0, Cell::tinted(tint, dot));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn units() -> Vec<Value> {
        let unit = |name: &str, active: &str, sub: &str, description: &str| {
            json!({"unit": name, "load": "loaded", "active": active, "sub": sub,
                   "description": description})
        };
        vec![
            unit("10-migrate.service", "inactive", "dead", "Database schema"),
            unit("queue.service", "activating", "auto-restart", ""),
            unit("report.service", "failed", "failed", "Reports\nand more"),
            unit("web.service", "active", "running", "The web server"),
        ]
    }

    fn check(look: Look, expected: Expect) {
        expected.assert_eq(&render(&units(), true, look));
    }

    #[test]
    fn as_systemctl_has_it() {
        check(
            Look::default(),
            expect![[r#"
                  UNIT               LOAD   ACTIVE     SUB          DESCRIPTION
                  10-migrate.service loaded inactive   dead         Database schema
                  queue.service      loaded activating auto-restart
                * report.service     loaded failed     failed       Reports�and more
                  web.service        loaded active     running      The web server

                4 loaded units listed.
            "#]],
        );
        check(
            Look { plain: true, ..Look::default() },
            expect![[r#"
                UNIT               LOAD   ACTIVE     SUB          DESCRIPTION
                10-migrate.service loaded inactive   dead         Database schema
                queue.service      loaded activating auto-restart
                report.service     loaded failed     failed       Reports�and more
                web.service        loaded active     running      The web server

                4 loaded units listed.
            "#]],
        );
        let fancy =
            render(&units(), false, Look { unicode: true, colour: true, ..Look::default() });
        assert!(fancy.contains("\x1b[1;31m●\x1b[0m"), "{fancy}");
        assert!(!fancy.contains("listed"));
    }

    #[test]
    fn which_are_wanted() {
        let names = |arguments: &List| -> Vec<String> {
            let units = units();
            let wanted = units.iter().filter(|unit| wanted(unit, arguments));
            wanted.map(|unit| text(unit, "unit").replace(".service", "")).collect()
        };
        let list = |patterns: &[&str], state: &[&str], failed| List {
            patterns: patterns.iter().map(|text| (*text).to_owned()).collect(),
            state: state.iter().map(|text| (*text).to_owned()).collect(),
            failed,
            ..List::default()
        };
        assert_eq!(names(&list(&[], &[], false)).len(), 4);
        assert_eq!(names(&list(&["web", "q*"], &[], false)), ["queue", "web"]);
        assert_eq!(names(&list(&[], &["running", "failed"], false)), ["report", "web"]);
        assert_eq!(names(&list(&[], &[], true)), ["report"]);
        assert!(names(&list(&["web"], &[], true)).is_empty());
    }
}
