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

/// What is a glance on a terminal: a service with instances, one that waits to start again, long
/// lines, colours.
fn on_a_terminal(columns: usize) -> String {
    let look = Look { unicode: true, columns: Some(columns), ..Look::default() };
    let instance = |n: u64| {
        unit(json!({"Id": format!("web@{n}.service"), "Description": "", "MainPID": 40 + n,
            "MemoryCurrent": 12_u64 << 20, "MemoryMax": 64 << 20, "MemoryPeak": 14 << 20,
            "MemoryEnforced": "cgroup", "Health": "healthy", "NRestarts": n}))
    };
    let web = unit(json!({"Instances": ["web@1.service", "web@2.service"], "InstancesWanted": 2,
        "InstancesReady": 2, "MemoryCurrent": 24 << 20, "MemoryMax": 64 << 20,
        "MemoryEnforced": "cgroup",
        "ControlGroup": "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope/rinit/web.service"}));
    let sync = unit(json!({"Id": "sync.service", "ActiveState": "activating",
        "SubState": "auto-restart", "Result": "exit-code", "MainPID": 0, "RestartAttempt": 3,
        "RestartNextUSec": 3_700_000}));
    let failed =
        unit(json!({"Id": "report.service", "ActiveState": "failed", "SubState": "failed",
        "Result": "exit-code", "MainPID": 0}));
    let event = json!({"time": "2026-11-21T13:58:09.000001Z", "level": "warn",
        "unit": "report.service", "message": "not started: /usr/lib/report/bin/report: \
            No such file or directory (os error 2): ExecStart= of /etc/rinit/report.toml"});
    let line = |message| {
        json!({"time": "2026-11-21T13:58:09.000001Z", "unit": "report.service",
        "message": message})
    };
    let written = [
        line(
            "\u{1b}[32mINFO\u{1b}[0m\tcounting the pages of the month, which are many, \
        and then those of the month before it, because somebody might ask for them, 日本, and more of it",
        ),
        line("done"),
    ];
    let tell = |unit, instances: &[Properties], events: &[Value]| {
        render(unit, instances, events, NOW, look)
    };
    let text = tell(&web, &[instance(1), instance(2)], &[])
        + "\n"
        + &tell(&sync, &[], &[])
        + "\n"
        + &tell(&failed, &[], &[event])
        + &render_lines(&written, look);
    for line in text.lines() {
        assert!(width(line) <= columns, "this wraps: {line}");
    }
    text
}

#[test]
fn at_eighty_columns_nothing_wraps() {
    expect![[r#"
        ● web.service - The web server
             Loaded: loaded (/etc/rinit/web.toml)
             Active: active (running) since Sat 2026-11-21 13:58:09 UTC; 4min 59s ago
             Memory: 24M (max: 64M each, by cgroup)
             CGroup: …6789abcdef0123456789abcdef0123456789abcdef.scope/rinit/web.service
          Instances: 2 wanted, 2 ready
          ├─ web@1.service  running  pid 41, for 4min 59s, healthy, memory 12M/64M, 1 r…
          └─ web@2.service  running  pid 42, for 4min 59s, healthy, memory 12M/64M, 2 r…

        ● sync.service - The web server
             Loaded: loaded (/etc/rinit/web.toml)
             Active: activating (auto-restart) (Result: exit-code); 4min 59s ago
               Next: restarting in 4s, 3rd of 5

        × report.service - The web server
             Loaded: loaded (/etc/rinit/web.toml)
             Active: failed (Result: exit-code) since Nov 21 13:58:09; 4min 59s ago

        Nov 21 13:58:09 not started: /usr/lib/report/bin/report: No such file or direct…

        Nov 21 13:58:09 report | INFO   counting the pages of the month, which are many…
        Nov 21 13:58:09 report | done
    "#]]
    .assert_eq(&on_a_terminal(80));
}

#[test]
fn at_two_hundred_columns() {
    expect![[r#"
        ● web.service - The web server
             Loaded: loaded (/etc/rinit/web.toml)
             Active: active (running) since Sat 2026-11-21 13:58:09 UTC; 4min 59s ago
             Memory: 24M (max: 64M each, by cgroup)
             CGroup: /system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope/rinit/web.service
          Instances: 2 wanted, 2 ready
                     ├─ web@1.service  running  pid 41, for 4min 59s, healthy, memory 12M/64M, 1 restart
                     └─ web@2.service  running  pid 42, for 4min 59s, healthy, memory 12M/64M, 2 restarts

        ● sync.service - The web server
             Loaded: loaded (/etc/rinit/web.toml)
             Active: activating (auto-restart) (Result: exit-code) since Sat 2026-11-21 13:58:09 UTC; 4min 59s ago
               Next: restarting in 4s, 3rd of 5

        × report.service - The web server
             Loaded: loaded (/etc/rinit/web.toml)
             Active: failed (Result: exit-code) since Sat 2026-11-21 13:58:09 UTC; 4min 59s ago

        Nov 21 13:58:09 not started: /usr/lib/report/bin/report: No such file or directory (os error 2): ExecStart= of /etc/rinit/report.toml

        Nov 21 13:58:09 report | INFO   counting the pages of the month, which are many, and then those of the month before it, because somebody might ask for them, 日本, and more of it
        Nov 21 13:58:09 report | done
    "#]].assert_eq(&on_a_terminal(200));
}

/// A cut line keeps its colours to itself, and `--full` cuts nothing.
#[test]
fn what_is_cut_and_what_is_not() {
    let line = json!({"time": "2026-11-21T13:58:09.000001Z", "unit": "web.service",
        "message": "\u{1b}[32mgreen to the end of the line\u{1b}[0m"});
    let look = Look { unicode: true, colour: true, columns: Some(33), ..Look::default() };
    let shown = render_lines(std::slice::from_ref(&line), look);
    assert_eq!(shown, "\nNov 21 13:58:09 web | \u{1b}[32mgreen to t…\u{1b}[0m\n");
    let full = render_lines(&[line], Look { columns: None, ..look });
    assert!(full.contains("green to the end of the line\u{1b}[0m"), "{full:?}");
}
