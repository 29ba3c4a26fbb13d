//! `list-dependencies`: what requires what, as a tree, a graph for Graphviz or Mermaid, or JSON.
//!
//! Not the order of starting, unless `--after` or `--before` asks for it. **Invariant:** every
//! unit is unfolded once, so that neither a cycle nor a wide graph makes the text endless.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::Dependencies;
use super::connect::Session;
use super::failure::Failure;
use super::list::text;
use super::screen::{Look, Screen, Tint};
use super::{DONE, names};

/// What `systemctl list-dependencies` follows, and what with `--reverse`.
const FORWARD: [&str; 6] = ["Requires", "Requisite", "Wants", "ConsistsOf", "BindsTo", "Upholds"];
const REVERSE: [&str; 6] =
    ["RequiredBy", "RequisiteOf", "WantedBy", "PartOf", "BoundBy", "UpheldBy"];
/// What a graph shows, and the colours of `systemd-analyze dot`.
const EDGES: [(&str, &str); 7] = [
    ("Requires", "black"),
    ("Requisite", "darkblue"),
    ("BindsTo", "gold"),
    ("Wants", "grey66"),
    ("Upholds", "purple"),
    ("Conflicts", "red"),
    ("After", "green"),
];

/// The names by kind of dependency, of each unit.
type Graph = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The verb.
pub fn list_dependencies(
    arguments: &Dependencies,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let units = names::list(session)?;
    let states: BTreeMap<String, String> = units
        .iter()
        .map(|unit| (text(unit, "unit").to_owned(), text(unit, "active").to_owned()))
        .collect();
    let root = arguments.unit.as_deref().map(names::full);
    let kinds = kinds(arguments);
    let graph = match &root {
        // A person's mistake is an error; what a unit only names may be not there.
        Some(root) => reach(root, kinds, arguments.dot || arguments.mermaid, session)?,
        None => all(&states, session)?,
    };
    let output = if arguments.dot {
        dot(&graph)
    } else if arguments.mermaid {
        mermaid(&graph)
    } else {
        let roots = root.map_or_else(|| roots(&graph, kinds), |root| vec![root]);
        let tree = Tree { graph: &graph, kinds, states: &states, look: screen.look };
        if json { format!("{}\n", tree.json(&roots)) } else { tree.text(&roots) }
    };
    screen.out(&output);
    Ok(DONE)
}

fn kinds(arguments: &Dependencies) -> &'static [&'static str] {
    match (arguments.after, arguments.before, arguments.reverse) {
        (true, _, _) => &["After"],
        (_, true, _) => &["Before"],
        (_, _, true) => &REVERSE,
        (false, false, false) => &FORWARD,
    }
}

fn ask(unit: &str, session: &mut Session) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let reply = session.call("Dependencies", &json!({ "unit": unit }))?;
    let kinds = reply.get("dependencies").and_then(Value::as_object);
    let list = |value: &Value| -> Vec<String> {
        let names = value.as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Ok(kinds.into_iter().flatten().map(|(kind, value)| (kind.clone(), list(value))).collect())
}

/// Every unit that `root` leads to.
fn reach(root: &str, kinds: &[&str], edges: bool, session: &mut Session) -> Result<Graph, Failure> {
    let mut graph = Graph::from([(root.to_owned(), ask(root, session)?)]);
    let mut open = vec![root.to_owned()];
    while let Some(unit) = open.pop() {
        let Some(found) = graph.get(&unit) else { continue };
        let follow = found.iter().filter(|(kind, _)| {
            kinds.contains(&kind.as_str()) || (edges && EDGES.iter().any(|edge| edge.0 == *kind))
        });
        let next: Vec<String> = follow.flat_map(|(_, names)| names.clone()).collect();
        for name in next {
            if !graph.contains_key(&name) {
                graph.insert(name.clone(), ask(&name, session).unwrap_or_default());
                open.push(name);
            }
        }
    }
    Ok(graph)
}

fn all(states: &BTreeMap<String, String>, session: &mut Session) -> Result<Graph, Failure> {
    states.keys().map(|unit| Ok((unit.clone(), ask(unit, session)?))).collect()
}

/// Units that no other leads to; in a graph of cycles alone: all.
fn roots(graph: &Graph, kinds: &[&str]) -> Vec<String> {
    let led_to: BTreeSet<&String> = graph
        .values()
        .flat_map(|found| found.iter().filter(|(kind, _)| kinds.contains(&kind.as_str())))
        .flat_map(|(_, names)| names)
        .collect();
    let free: Vec<String> = graph.keys().filter(|unit| !led_to.contains(unit)).cloned().collect();
    if free.is_empty() { graph.keys().cloned().collect() } else { free }
}

struct Tree<'a> {
    graph: &'a Graph,
    kinds: &'a [&'a str],
    states: &'a BTreeMap<String, String>,
    look: Look,
}

impl Tree<'_> {
    /// What a unit leads to, each once, by name.
    fn children(&self, unit: &str) -> BTreeSet<&str> {
        let found = self.graph.get(unit).into_iter().flatten();
        let found = found.filter(|(kind, _)| self.kinds.contains(&kind.as_str()));
        found.flat_map(|(_, names)| names).map(String::as_str).collect()
    }

    fn state(&self, unit: &str) -> &str {
        self.states.get(unit).map_or("", String::as_str)
    }

    fn text(&self, roots: &[String]) -> String {
        let (mut text, mut unfolded) = (String::new(), BTreeSet::new());
        for root in roots {
            self.line(&mut text, "", root, "");
            unfolded.insert(root.clone());
            self.below(&mut text, root, "", &mut unfolded);
        }
        text
    }

    fn below(&self, text: &mut String, unit: &str, indent: &str, unfolded: &mut BTreeSet<String>) {
        let (branch, last, through) =
            if self.look.unicode { ("├─", "└─", "│ ") } else { ("|-", "`-", "| ") };
        let children = self.children(unit);
        for (at, child) in children.iter().enumerate() {
            let is_last = at + 1 == children.len();
            let arm = match (self.look.plain, is_last) {
                (true, _) => "  ",
                (false, true) => last,
                (false, false) => branch,
            };
            let again = !unfolded.insert((*child).to_owned()) && !self.children(child).is_empty();
            self.line(
                text,
                &format!("{indent}{arm}"),
                child,
                if again { " (see above)" } else { "" },
            );
            if !again {
                let next = if is_last || self.look.plain { "  " } else { through };
                self.below(text, child, &format!("{indent}{next}"), unfolded);
            }
        }
    }

    fn line(&self, text: &mut String, arms: &str, unit: &str, note: &str) {
        let state = self.state(unit);
        let dot = match (self.look.plain, self.look.unicode, state) {
            (true, _, _) => "",
            (false, true, "active" | "reloading" | "activating" | "deactivating") => "● ",
            (false, true, "failed") => "× ",
            (false, true, _) => "○ ",
            (false, false, "active" | "reloading" | "activating" | "deactivating") => "* ",
            (false, false, "failed") => "x ",
            (false, false, _) => "  ",
        };
        let dot = self.look.paint(Tint::of_active(state), dot);
        let _ = writeln!(text, "{dot}{arms}{unit}{note}");
    }

    fn json(&self, roots: &[String]) -> Value {
        let mut unfolded = BTreeSet::new();
        let trees = roots.iter().map(|root| self.node(root, &mut unfolded)).collect();
        super::show::one_or_many(trees)
    }

    fn node(&self, unit: &str, unfolded: &mut BTreeSet<String>) -> Value {
        if !unfolded.insert(unit.to_owned()) {
            return json!({ "unit": unit, "active": self.state(unit), "again": true });
        }
        let children = self.children(unit);
        let children: Vec<Value> =
            children.iter().map(|child| self.node(child, unfolded)).collect();
        json!({ "unit": unit, "active": self.state(unit), "dependencies": children })
    }
}

/// Every edge: from, to, kind, colour.
fn edges(graph: &Graph) -> impl Iterator<Item = (&str, &str, &'static str, &'static str)> {
    graph.iter().flat_map(|(unit, found)| {
        EDGES.iter().flat_map(move |(kind, colour)| {
            let names = found.get(*kind).into_iter().flatten();
            names.map(move |name| (unit.as_str(), name.as_str(), *kind, *colour))
        })
    })
}

/// For `dot(1)`, in the colours of `systemd-analyze dot`.
fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph rinit {\n\trankdir=LR;\n");
    for unit in graph.keys() {
        let _ = writeln!(text, "\t\"{unit}\";");
    }
    for (from, to, kind, colour) in edges(graph) {
        let _ =
            writeln!(text, "\t\"{from}\" -> \"{to}\" [color=\"{colour}\", tooltip=\"{kind}\"];");
    }
    text + "}\n"
}

/// For Mermaid: identifiers of its own, because it takes no dots in them.
fn mermaid(graph: &Graph) -> String {
    let mut units: BTreeSet<&str> = graph.keys().map(String::as_str).collect();
    units.extend(edges(graph).flat_map(|(from, to, _, _)| [from, to]));
    let ids: BTreeMap<&str, usize> =
        units.iter().enumerate().map(|(id, unit)| (*unit, id)).collect();
    let mut text = String::from("flowchart LR\n");
    for (unit, id) in &ids {
        let _ = writeln!(text, "    u{id}[\"{unit}\"]");
    }
    for (from, to, kind, _) in edges(graph) {
        if let (Some(from), Some(to)) = (ids.get(from), ids.get(to)) {
            let arrow = if kind == "After" { "-.->" } else { "-->" };
            let _ = writeln!(text, "    u{from} {arrow}|{kind}| u{to}");
        }
    }
    text
}

#[cfg(test)]
#[path = "dependencies_tests.rs"]
mod tests;
