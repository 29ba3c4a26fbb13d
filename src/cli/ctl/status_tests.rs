//! What `status` writes, state by state.

use super::*;
use expect_test::{Expect, expect};

const NOW: Duration = Duration::from_secs(1_795_269_789); // 2026-11-21 14:03:09

fn unit(extra: Value) -> Properties {
    let base = json!({"Id": "web.service", "Description": "The web server", "LoadState": "loaded",
        "FragmentPath": "/etc/rinit/web.toml", "ActiveState": "active", "SubState": "running",
        "Result": "success", "MainPID": 42, "ControlPID": 0, "NRestarts": 0, "ExecMainStatus": 0,
        "ExecMainCode": 0, "StateChangeTimestamp": "2026-11-21T13:58:09.000001Z",
        "RestartNextUSec": 0, "RestartAttempt": 0, "StartLimitBurst": 5,
        "StartLimitIntervalUSec": 10_000_000, "NeedDaemonReload": false, "Job": "", "Step": false});
    let (Value::Object(mut fields), Value::Object(extra)) = (base, extra) else {
        panic!("objects")
    };
    fields.extend(extra);
    Properties(fields)
}

fn check(extra: Value, events: &[Value], expected: Expect) {
    expected.assert_eq(&render(&unit(extra), &[], events, NOW, Look::default()));
}

#[test]
fn running() {
    let event = json!({"time": "2026-11-21T13:58:09.000001Z", "level": "info",
        "unit": "web.service", "message": "started, pid 42"});
    check(
        json!({"NRestarts": 2, "NeedDaemonReload": true, "Job": "stop", "ControlPID": 43}),
        &[event],
        expect![[r#"
            * web.service - The web server
                 Loaded: loaded (/etc/rinit/web.toml)
                 Active: active (running) since Sat 2026-11-21 13:58:09 UTC; 4min 59s ago
                    Job: stop under way
               Main PID: 42
            Control PID: 43
               Restarts: 2
                Warning: its definition on disk has changed: rinitctl apply, or daemon-reload

            Nov 21 13:58:09 started, pid 42
        "#]],
    );
}

#[test]
fn between_two_starts() {
    check(
        json!({"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code",
            "MainPID": 0, "ExecMainCode": 1, "ExecMainStatus": 3, "NRestarts": 2,
            "RestartAttempt": 3, "RestartNextUSec": 3_700_000, "Description": "web.service"}),
        &[],
        expect![[r#"
            * web.service
                 Loaded: loaded (/etc/rinit/web.toml)
                 Active: activating (auto-restart) (Result: exit-code) since Sat 2026-11-21 13:58:09 UTC; 4min 59s ago
                   Next: restarting in 4s, 3rd of 5
               Main PID: none (code=exited, status=3)
               Restarts: 2
        "#]],
    );
}

#[test]
fn failed() {
    check(
        json!({"ActiveState": "failed", "SubState": "failed", "Result": "signal", "MainPID": 0,
            "ExecMainCode": 2, "ExecMainStatus": 9, "Step": true, "StateChangeTimestamp": ""}),
        &[],
        expect![[r#"
            x web.service - The web server
                 Loaded: loaded (/etc/rinit/web.toml; step)
                 Active: failed (Result: signal)
               Main PID: none (code=killed, status=KILL)
        "#]],
    );
}

#[test]
fn what_is_next() {
    let next = |attempt: u64, burst: u64, interval: u64| {
        next(&unit(json!({"SubState": "auto-restart", "RestartNextUSec": 30_000_000,
            "RestartAttempt": attempt, "StartLimitBurst": burst,
            "StartLimitIntervalUSec": interval})))
    };
    assert_eq!(next(1, 5, 1), "restarting in 30s, 1st of 5");
    assert_eq!(next(2, 5, 1), "restarting in 30s, 2nd of 5");
    assert_eq!(next(12, 5, 1), "restarting in 30s, 12th in a row, without end");
    assert_eq!(next(3, 5, 0), "restarting in 30s, 3rd in a row, without end");
    assert_eq!(next(0, 5, 1), "restarting in 30s");
    let fancy = Look { unicode: true, colour: true, ..Look::default() };
    let text = render(&unit(json!({})), &[], &[], NOW, fancy);
    assert!(text.starts_with("\x1b[1;32m●\x1b[0m web.service"), "{text}");
}

#[test]
fn of_all() {
    let unit = |name: &str, active: &str| json!({"unit": name, "active": active});
    let units =
        [unit("a.service", "active"), unit("b.service", "failed"), unit("c.service", "active")];
    expect![[r#"
        * rinit
              State: degraded
              Units: 3 loaded
             active: a.service
                     c.service
             failed: b.service
    "#]]
    .assert_eq(&render_whole("degraded", &units, Look::default()));
}
