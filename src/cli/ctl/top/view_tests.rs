//! Whole screens, at the sizes that people have.

use super::*;
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::jobs::Kind;
use crate::cli::ctl::properties::Properties;
use crate::cli::ctl::top::model::{Job, News};
use expect_test::{Expect, expect};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

const NOW: Duration = Duration::from_secs(1_795_269_789); // 2026-11-21 14:03:09
const FANCY: Look = Look {
    colour: true,
    colour_on_stderr: true,
    unicode: true,
    progress: true,
    plain: false,
    columns: None,
};

fn unit(name: &str, state: (&str, &str), extra: Value) -> Properties {
    let none = u64::MAX;
    let (active, sub) = state;
    let base = json!({"Id": format!("{name}.service"), "Description": format!("{name}.service"),
        "ActiveState": active, "SubState": sub, "Result": "success", "MainPID": 0, "NRestarts": 0,
        "StateChangeTimestamp": "2026-11-21T13:58:09.000001Z", "ActiveEnterTimestamp": "",
        "MemoryCurrent": none, "MemoryMax": none, "MemoryHigh": none, "MemoryEnforced": "",
        "Health": "", "InstanceOf": "", "Instances": [], "Job": "", "StatusText": ""});
    let mut unit = Properties::of_reply(json!({ "properties": base }));
    let Value::Object(extra) = extra else { panic!("an object") };
    unit.0.extend(extra);
    unit
}

/// A container in which one thing of each kind is so.
fn units() -> Vec<Properties> {
    let (up, dead) = (("active", "running"), ("inactive", "dead"));
    let web = |n: u64, megabytes: u64, extra: Value| {
        let mut unit = unit(
            &format!("web@{n}"),
            up,
            json!({"InstanceOf": "web.service", "MainPID": 40 + n, "Health": "healthy",
                "MemoryCurrent": megabytes << 20, "MemoryMax": 512 << 20,
                "MemoryEnforced": "cgroup"}),
        );
        let Value::Object(extra) = extra else { panic!("an object") };
        unit.0.extend(extra);
        unit
    };
    vec![
        unit("10-migrate", dead, json!({"Description": "Database schema"})),
        unit(
            "db",
            up,
            json!({"Description": "The database", "MainPID": 12, "MemoryCurrent": 230_700_000,
                "ActiveEnterTimestamp": "2026-11-19T12:03:09.000001Z", "Health": "healthy"}),
        ),
        unit(
            "report",
            ("failed", "failed"),
            json!({"Description": "Monthly report", "Result": "exit-code", "MemoryMax": 64 << 20}),
        ),
        unit(
            "sync",
            ("activating", "auto-restart"),
            json!({"Result": "exit-code", "NRestarts": 12, "RestartAttempt": 3,
                "RestartNextUSec": 3_700_000, "StartLimitBurst": 5,
                "StartLimitIntervalUSec": 10_000_000}),
        ),
        unit(
            "web",
            up,
            json!({"Description": "The web server", "Instances": ["web@1.service",
                "web@2.service", "web@3.service"], "InstancesWanted": 3, "InstancesReady": 3,
                "MemoryCurrent": 920_u64 << 20, "MemoryMax": 512 << 20, "MemoryEnforced": "cgroup",
                "Rolling": true, "RollDone": 1, "RollTotal": 3, "RollCurrent": ["web@2.service"],
                "NRestarts": 1}),
        ),
        web(1, 12, json!({"ActiveEnterTimestamp": "2026-11-21T14:02:58.000001Z"})),
        web(2, 400, json!({"Job": "stop", "StatusText": "draining"})),
        web(3, 508, json!({"NRestarts": 1, "Health": "unhealthy"})),
    ]
}

fn event(second: u32, level: &str, unit: &str, message: &str) -> News {
    let time = format!("2026-11-21T14:03:{second:02}.000000Z");
    News::Event(json!({"time": time, "level": level, "event": "message", "unit": unit,
        "message": message}))
}

fn model() -> Model {
    let mut model = Model::default();
    model.take(News::Units("degraded".to_owned(), units()));
    model.take(event(1, "warn", "report.service", "ExecStart exited with status 4 after 20ms"));
    model.take(event(3, "error", "report.service", "failed (exit-code)"));
    model.take(event(5, "info", "web@1.service", "started, pid 41"));
    model.take(News::Event(json!({"time": "2026-11-21T14:03:05.000000Z", "level": "info",
        "unit": null, "message": "boot done in 26ms"})));
    for (second, unit, message) in [
        (2, "report.service", "no template: monthly.txt"),
        (6, "web@1.service", "\u{1b}[32mINFO\u{1b}[0m\tlistening on 0.0.0.0:8000"),
        (
            7,
            "db.service",
            "a line that is as long as lines of databases are when they are asked to \
            be so kind and to say what they are doing, and with what, and why, at which point 日本 \
            it becomes longer than any screen is wide, even this one",
        ),
    ] {
        let time = format!("2026-11-21T14:03:{second:02}.000000Z");
        model.take(News::Line(json!({"time": time, "unit": unit, "message": message}), 0));
    }
    model.select(6);
    model
}

fn terminal(model: &Model, width: u16, height: u16, look: Look) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut view = View::new(look);
    terminal.draw(|frame| view.draw(model, NOW, frame)).unwrap();
    terminal
}

/// What a screen shows, line by line.
fn screen(model: &Model, width: u16, height: u16, look: Look) -> String {
    let terminal = terminal(model, width, height, look);
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content.chunks(usize::from(width.max(1))) {
        let mut skip = 0;
        let mut line = String::new();
        for cell in row {
            if skip == 0 {
                line += cell.symbol();
                skip = fit::width(cell.symbol());
            }
            skip = skip.saturating_sub(1);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn check(model: &Model, (width, height): (u16, u16), look: Look, expected: Expect) {
    let text = screen(model, width, height, look);
    let longest = text.lines().map(fit::width).max();
    assert!(longest <= Some(usize::from(width)), "wider than the screen:\n{text}");
    expected.assert_eq(&text);
}

#[test]
fn eighty_columns() {
    check(
        &model(),
        (80, 24),
        FANCY,
        expect![[r#"
        rinit is degraded: 1 failed, 5 active, 1 activating, 1 inactive     14:03:09 UTC
        UNIT       STATE              PID     SINCE RESTARTS    MEMORY HEALTH
        10-migrate dead                 -  4min 59s        0         - -
        db         running             12 2 days 1h        0      220M healthy
        report     failed (exit-code)   -  4min 59s        0     -/64M -
        sync       auto-restart         -  4min 59s       12         - -
        web        running              -  4min 59s        1      920M -
        ├─ web@1   running             41       10s        0  12M/512M healthy
        ├─ web@2   running             42  4min 59s        0 400M/512M healthy
        └─ web@3   running             43  4min 59s        1 508M/512M unhealthy
        ── all units: events and lines ─────────────────────────────────────────────────
        14:03:01 report: ExecStart exited with status 4 after 20ms
        14:03:02 report | no template: monthly.txt
        14:03:03 report: failed (exit-code)
        14:03:05 web@1: started, pid 41
        14:03:05 rinit: boot done in 26ms
        14:03:06 web@1 | INFO    listening on 0.0.0.0:8000
        14:03:07 db | a line that is as long as lines of databases are when they are as…





        ↑↓ select  r restart  s stop  S start  f follow  / filter  ? help  q quit
    "#]],
    );
}

#[test]
fn two_hundred_columns() {
    check(
        &model(),
        (200, 50),
        FANCY,
        expect![[r#"
            rinit is degraded: 1 failed, 5 active, 1 activating, 1 inactive                                                                                                                             14:03:09 UTC
            UNIT        STATE                      PID      SINCE  RESTARTS     MEMORY            ENFORCED  HEALTH     DESCRIPTION
            10-migrate  inactive (dead)              -   4min 59s         0          -            -         -          Database schema
            db          active (running)            12  2 days 1h         0       220M            -         healthy    The database
            report      failed (exit-code)           -   4min 59s         0      -/64M            -         -          Monthly report
            sync        activating (auto-restart)    -   4min 59s        12          -            -         -          restarting in 4s, 3rd of 5
            web         active (running)             -   4min 59s         1       920M            cgroup    -          1 of 3 replaced, now web@2.service; 3 wanted, 3 ready; The web server
            ├─ web@1    active (running)            41        10s         0   12M/512M  ░░░░░░░░  cgroup    healthy
            ├─ web@2    active (running)            42   4min 59s         0  400M/512M  ██████░░  cgroup    healthy    stop under way; "draining"
            └─ web@3    active (running)            43   4min 59s         1  508M/512M  ████████  cgroup    unhealthy
            ── all units: events and lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
            14:03:01 report: ExecStart exited with status 4 after 20ms
            14:03:02 report | no template: monthly.txt
            14:03:03 report: failed (exit-code)
            14:03:05 web@1: started, pid 41
            14:03:05 rinit: boot done in 26ms
            14:03:06 web@1 | INFO    listening on 0.0.0.0:8000
            14:03:07 db | a line that is as long as lines of databases are when they are asked to be so kind and to say what they are doing, and with what, and why, at which point 日本 it becomes longer than any…































            ↑↓ select  r restart  s stop  S start  l reload  f follow  / filter  ? help  q quit
        "#]],
    );
}

#[test]
fn the_manual_shows_it() {
    let page = include_str!("../../../../docs/rinitctl.md");
    let shown = screen(&model(), 80, 19, FANCY);
    assert!(page.contains(&shown), "docs/rinitctl.md is to show:\n{shown}");
}

#[test]
fn ten_rows_scroll_to_the_selected() {
    check(
        &model(),
        (80, 10),
        FANCY,
        expect![[r#"
        rinit is degraded: 1 failed, 5 active, 1 activating, 1 inactive     14:03:09 UTC
        UNIT       STATE              PID     SINCE RESTARTS    MEMORY HEALTH
        sync       auto-restart         -  4min 59s       12         - -
        web        running              -  4min 59s        1      920M -
        ├─ web@1   running             41       10s        0  12M/512M healthy
        ├─ web@2   running             42  4min 59s        0 400M/512M healthy
        ── all units: events and lines ─────────────────────────────────────────────────
        14:03:06 web@1 | INFO    listening on 0.0.0.0:8000
        14:03:07 db | a line that is as long as lines of databases are when they are as…
        ↑↓ select  r restart  s stop  S start  f follow  / filter  ? help  q quit
    "#]],
    );
}

#[test]
fn forty_columns_in_ascii() {
    check(
        &model(),
        (40, 16),
        Look::default(),
        expect![[r#"
        rinit is degraded: 1 failed, 5 active, 1
        UNIT       STATE                 MEMORY
        10-migrate dead                       -
        db         running                 220M
        report     failed (exit-code)     -/64M
        sync       auto-restart               -
        web        running                 920M
        |- web@1   running             12M/512M
        |- web@2   running            400M/512M
        `- web@3   running            508M/512M
        -- all units: events and lines ---------
        14:03:05 web@1: started, pid 41
        14:03:05 rinit: boot done in 26ms
        14:03:06 web@1 | INFO    listening on 0~
        14:03:07 db | a line that is as long as~
        j/k select  r restart  s stop  ? help  ~
    "#]],
    );
}

#[test]
fn following_one_unit_and_asking() {
    let mut model = model();
    model.follow = true;
    model.select(-2);
    model.mode = Mode::Confirm(Job { kind: Kind::Restart, unit: "web.service".to_owned() });
    check(
        &model,
        (80, 18),
        FANCY,
        expect![[r#"
        rinit is degraded: 1 failed, 5 active, 1 activating, 1 inactive     14:03:09 UTC
        UNIT       STATE              PID     SINCE RESTARTS    MEMORY HEALTH
        10-migrate dead                 -  4min 59s        0         - -
        db         running             12 2 days 1h        0      220M healthy
        report     failed (exit-code)   -  4min 59s        0     -/64M -
        sync       auto-restart         -  4min 59s       12         - -
        web        running              -  4min 59s        1      920M -
        ── web.service: events and lines ───────────────────────────────────────────────
        14:03:05 web@1: started, pid 41
        14:03:06 web@1 | INFO    listening on 0.0.0.0:8000







        restart web.service? y/n
    "#]],
    );
}

#[test]
fn help_a_filter_and_silence() {
    let mut model = model();
    model.mode = Mode::Help;
    check(
        &model,
        (80, 24),
        FANCY,
        expect![[r#"
        rinit is degraded: 1 failed, 5 active, 1 activating, 1 inactive     14:03:09 UTC
        UNIT       STATE              PID     SINCE RESTARTS    MEMORY HEALTH
        10-migrate dead                 -  4min 59s        0         - -
        db         running             12 2 days 1h        0      220M healthy
        report     failed (exit-code)   -  4min 59s        0     -/64M -
        ┌ rinitctl top ────────────────────────────────────────────────────────────────┐
        │ j k ↓ ↑   select a unit (PgDn PgUp Home End)                                 │
        │ r         restart it: asks first                                             │
        │ s         stop it: asks first                                                │
        │ S         start it                                                           │
        │ l         reload it (ExecReload=, or one instance after another)             │
        │ f         follow: only its events and lines; again: those of all             │
        │ /         filter units by name: Enter keeps it, Esc forgets it               │
        │ Esc       forget filter and message                                          │
        │ ?         this help                                                          │
        │ q Ctrl-C  quit; what was asked for goes on                                   │
        │           SINCE is the time in the present state; MEMORY is current/MemoryMax│
        └──────────────────────────────────────────────────────────────────────────────┘





        ↑↓ select  r restart  s stop  S start  f follow  / filter  ? help  q quit
    "#]],
    );
    model.mode = Mode::Filter;
    model.filter = "web@".to_owned();
    model.silent = Some(Duration::from_secs(7));
    model.tail.no_lines = Some("this rinit has no journal".to_owned());
    check(
        &model,
        (100, 14),
        FANCY,
        expect![[r#"
        rinit is degraded: 1 failed, 5 active, 1 activating, 1 inactive  /web@              no answer for 7s
        UNIT     STATE   PID    SINCE RESTARTS    MEMORY HEALTH    DESCRIPTION
        web      running   - 4min 59s        1      920M -         1 of 3 replaced, now web@2.service; 3 wa…
        ├─ web@1 running  41      10s        0  12M/512M healthy
        ├─ web@2 running  42 4min 59s        0 400M/512M healthy   stop under way; "draining"
        └─ web@3 running  43 4min 59s        1 508M/512M unhealthy
        ── all units: events and lines; no lines: this rinit has no journal ────────────────────────────────
        14:03:02 report | no template: monthly.txt
        14:03:03 report: failed (exit-code)
        14:03:05 web@1: started, pid 41
        14:03:05 rinit: boot done in 26ms
        14:03:06 web@1 | INFO    listening on 0.0.0.0:8000
        14:03:07 db | a line that is as long as lines of databases are when they are asked to be so kind an…
        filter: web@_  (Enter keeps it, Esc forgets it)
    "#]],
    );
}

/// Before the first answer, and at sizes that nothing fits into.
#[test]
fn every_size_is_drawn() {
    let mut refused = model();
    let job = Job { kind: Kind::Stop, unit: "web.service".to_owned() };
    refused.take(News::Asked(job, Err(Failure::new(1, "rinit is stopping"))));
    let in_mode = |mode: &Mode| {
        let mut model = model();
        model.mode = mode.clone();
        model
    };
    let mut models = [Mode::Browse, Mode::Help, Mode::Filter].map(|mode| in_mode(&mode)).to_vec();
    models.extend([Model::default(), refused]);
    for width in [0, 1, 4, 13, 34, 120] {
        for height in [0, 1, 2, 4, 7, 9] {
            for model in &models {
                screen(model, width, height, FANCY);
                screen(model, width, height, Look::default());
            }
        }
    }
}

/// The colours are those of `status`; without them there are none.
#[test]
fn colours() {
    let coloured = |look| {
        let terminal = terminal(&model(), 80, 24, look);
        let buffer = terminal.backend().buffer().clone();
        let of = |text: &str, colour| {
            let cells = buffer.content.iter().filter(|cell| cell.fg == colour);
            cells.map(|cell| cell.symbol()).collect::<String>().contains(text)
        };
        [
            of("failed(exit-code)", Color::Red) || of("failed (exit-code)", Color::Red),
            of("running", Color::Green),
            of("auto-restart", Color::Yellow),
            of("508M/512M", Color::Red),
            of("unhealthy", Color::Red),
        ]
    };
    assert_eq!(coloured(FANCY), [true; 5]);
    assert_eq!(coloured(Look { colour: false, ..FANCY }), [false; 5]);
}
