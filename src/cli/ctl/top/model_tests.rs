//! What is selected, followed, asked for and told, whatever comes when.

use super::*;
use serde_json::json;

fn unit(name: &str, service: &str) -> Properties {
    let name = format!("{name}.service");
    let fields = json!({"Id": name, "InstanceOf": service, "ActiveState": "active"});
    Properties::of_reply(json!({ "properties": fields }))
}

fn units(names: &[(&str, &str)]) -> News {
    let units = names.iter().map(|(name, service)| unit(name, service));
    News::Units("running".to_owned(), units.collect())
}

const WEB: [(&str, &str); 5] =
    [("db", ""), ("web", ""), ("web@1", "web.service"), ("web@2", "web.service"), ("worker", "")];

fn model() -> Model {
    let mut model = Model::default();
    model.take(units(&WEB));
    model
}

fn tree(model: &Model) -> String {
    let rows = model.rows();
    let mark = |row: &Row<'_>| match row.branch {
        Branch::None => "",
        Branch::More => "+",
        Branch::Last => "-",
    };
    let words: Vec<String> = rows
        .iter()
        .map(|row| format!("{}{}", mark(row), row.name().replace(".service", "")))
        .collect();
    words.join(" ")
}

#[test]
fn instances_are_below_their_service() {
    let mut model = Model::default();
    // By name an instance of another unit may stand between.
    model.take(units(&[
        ("web", ""),
        ("web-admin", ""),
        ("web@1", "web.service"),
        ("web@2", "web.service"),
        ("x@1", "gone.service"),
    ]));
    assert_eq!(tree(&model), "web +web@1 -web@2 web-admin x@1");
    for (filter, shown) in [
        ("web@2", "web -web@2"),
        ("admin", "web-admin"),
        ("web", "web +web@1 -web@2 web-admin"),
        ("zzz", ""),
    ] {
        model.filter = filter.to_owned();
        assert_eq!(tree(&model), shown, "{filter}");
    }
}

#[test]
fn the_selection_stays_with_its_unit() {
    let mut model = model();
    assert_eq!(model.selected, "db.service");
    for (by, selected) in [
        (1, "web"),
        (2, "web@2"),
        (isize::MAX, "worker"),
        (1, "worker"),
        (isize::MIN, "db"),
        (-1, "db"),
        (3, "web@2"),
    ] {
        model.select(by);
        assert_eq!(model.selected, format!("{selected}.service"));
    }
    model.take(units(&[("a", ""), ("web", ""), ("web@2", "web.service"), ("worker", "")]));
    assert_eq!(model.selected, "web@2.service", "others came and went");
    model.take(units(&[("a", ""), ("web", ""), ("worker", "")]));
    assert_eq!(model.selected, "worker.service", "it went: the one that is there now");
    model.take(units(&[]));
    assert_eq!((model.selected.as_str(), model.followed()), ("", None));
    model.follow = true;
    assert_eq!(model.followed(), None);
    model.take(units(&WEB));
    assert_eq!(model.followed(), Some("db.service"));
}

fn restart() -> Job {
    Job { kind: Kind::Restart, unit: "web.service".to_owned() }
}

fn note(model: &Model) -> (Tint, &str) {
    model.note.as_ref().map_or((Tint::None, ""), |(tint, text)| (*tint, text.as_str()))
}

/// The answer only says that the job is queued; its end is an event, which may come earlier.
#[test]
fn the_end_of_a_job_is_told_once() {
    let event = |unit: &str, job: &str, result: &str, reason: &str| {
        News::Event(json!({"event": "job", "unit": unit, "job": job, "result": result,
            "reason": reason, "level": "info", "message": "x"}))
    };
    let queued = || News::Asked(restart(), Ok(json!({"result": "queued", "reason": ""})));
    let mut model = model();
    model.ask(&restart());
    assert_eq!(note(&model), (Tint::Busy, "restart web.service: asked"));
    model.take(queued());
    model.take(event("db.service", "restart", "done", ""));
    model.take(event("web.service", "stop", "done", ""));
    assert_eq!(note(&model).1, "restart web.service: asked", "these are others' ends");
    model.take(event("web.service", "restart", "failed", "exit-code"));
    assert_eq!(note(&model), (Tint::Bad, "restart web.service: failed: exit-code"));
    model.note = None;
    model.take(event("web.service", "restart", "done", ""));
    assert_eq!(note(&model).1, "", "that is somebody else's");

    model.ask(&restart());
    model.take(event("web.service", "restart", "done", ""));
    model.take(queued());
    assert_eq!(note(&model), (Tint::Good, "restart web.service: done"));
    model.ask(&restart());
    model.take(News::Asked(restart(), Ok(json!({"result": "done", "reason": ""}))));
    assert_eq!(note(&model), (Tint::Good, "restart web.service: done"));
}

#[test]
fn what_is_refused_is_told() {
    let mut model = model();
    for (message, told) in [
        ("web.service is masked", "restart: web.service is masked"),
        ("rinit is stopping", "restart web.service: rinit is stopping"),
    ] {
        model.ask(&restart());
        model.take(News::Asked(restart(), Err(Failure::new(1, message))));
        assert_eq!(note(&model), (Tint::Bad, told));
    }
}

#[test]
fn silence_ends_with_an_answer_and_all_ends_with_rinit() {
    let mut model = model();
    model.take(News::Silent(Duration::from_secs(4)));
    assert_eq!(model.silent, Some(Duration::from_secs(4)));
    model.take(units(&WEB));
    assert_eq!((model.silent, model.end.clone()), (None, None));
    model.take(News::Failed(Failure::new(6, "it has ended")));
    assert_eq!(model.end, Some(End::Failed(Failure::new(6, "it has ended"))));
    model.take(News::Signal(15));
    assert_eq!(model.end, Some(End::Signal(15)));
}
