//! Trees and graphs of small worlds.

use super::*;
use expect_test::expect;

/// `web` requires `db` and wants `cache`, `api` requires `web`; `db` and `cache` want each other.
fn graph() -> Graph {
    let unit = |name: &str, found: &[(&str, &[&str])]| {
        let names = |names: &[&str]| names.iter().map(|name| format!("{name}.service")).collect();
        let found = found.iter().map(|(kind, list)| ((*kind).to_owned(), names(list))).collect();
        (format!("{name}.service"), found)
    };
    Graph::from([
        unit("api", &[("Requires", &["web", "db"]), ("After", &["web"])]),
        unit("web", &[("Requires", &["db"]), ("Wants", &["cache"]), ("RequiredBy", &["api"])]),
        unit("db", &[("Wants", &["cache"]), ("RequiredBy", &["api", "web"])]),
        unit("cache", &[("Wants", &["db"])]),
    ])
}

fn states() -> BTreeMap<String, String> {
    let state = |name: &str, state: &str| (format!("{name}.service"), state.to_owned());
    BTreeMap::from([state("api", "failed"), state("web", "active"), state("cache", "inactive")])
}

fn tree(look: Look, kinds: &[&str], root: &str) -> String {
    let (graph, states) = (graph(), states());
    let tree = Tree { graph: &graph, kinds, states: &states, look };
    tree.text(&[root.to_owned()])
}

#[test]
fn as_a_tree() {
    expect![[r#"
        x api.service
          |-db.service
          | `-cache.service
          |   `-db.service (see above)
        * `-web.service
            |-cache.service (see above)
            `-db.service (see above)
    "#]]
    .assert_eq(&tree(Look::default(), &FORWARD, "api.service"));
    expect![[r#"
        ○ db.service
        × ├─api.service
        ● └─web.service
        ×   └─api.service
    "#]]
    .assert_eq(&tree(Look { unicode: true, ..Look::default() }, &REVERSE, "db.service"));
    expect![[r#"
        api.service
          web.service
    "#]]
    .assert_eq(&tree(Look { plain: true, ..Look::default() }, &["After"], "api.service"));
}

#[test]
fn what_nothing_leads_to() {
    assert_eq!(roots(&graph(), &FORWARD), ["api.service"]);
    let (mut cycle, states) = (graph(), states());
    cycle.remove("api.service");
    cycle.remove("web.service");
    assert_eq!(roots(&cycle, &FORWARD), ["cache.service", "db.service"]);
    let tree = Tree { graph: &cycle, kinds: &FORWARD, states: &states, look: Look::default() };
    assert_eq!(
        tree.json(&["db.service".to_owned()]),
        json!({"unit": "db.service", "active": "", "dependencies": [
            {"unit": "cache.service", "active": "inactive", "dependencies": [
                {"unit": "db.service", "active": "", "again": true}]}]})
    );
}

#[test]
fn as_graphs() {
    let mut graph = graph();
    graph.retain(|unit, _| unit == "api.service");
    expect![[r#"
        digraph rinit {
        	rankdir=LR;
        	"api.service";
        	"api.service" -> "web.service" [color="black", tooltip="Requires"];
        	"api.service" -> "db.service" [color="black", tooltip="Requires"];
        	"api.service" -> "web.service" [color="green", tooltip="After"];
        }
    "#]]
    .assert_eq(&dot(&graph));
    expect![[r#"
        flowchart LR
            u0["api.service"]
            u1["db.service"]
            u2["web.service"]
            u0 -->|Requires| u2
            u0 -->|Requires| u1
            u0 -.->|After| u2
    "#]]
    .assert_eq(&mermaid(&graph));
}
