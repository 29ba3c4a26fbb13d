//! Tables over whole sets of units: the order that comes out, and every problem drawn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use expect_test::{Expect, expect};

use super::directive::{ManagerSection, UnitDefaults};
use super::problem::{Problem, SourceFile};
use super::specifier::HostFacts;
use super::{Dependency, StartedBy, UnitName, UnitSet, build, command_unit, toml, verify};
use crate::cli::diagnostics::{Style, render};
use crate::cli::plain;

/// Reads units given as `name: text`, without any file or host.
pub(super) fn read(files: &[(&str, &str)], command: Option<&[&str]>) -> (UnitSet, Vec<Problem>) {
    let host = HostFacts::default();
    let defaults = UnitDefaults::default();
    let mut problems = Vec::new();
    let mut drafts = BTreeMap::new();
    for (stem, text) in files {
        let path = PathBuf::from(format!("{stem}.toml"));
        let file = Arc::new(SourceFile { path, text: (*text).to_string() });
        let (raw, found) = toml::read(&file);
        problems.extend(found);
        let files = [raw];
        let name = build::unit_name(stem, &files).unwrap();
        let draft = build::build(name.clone(), &files, &defaults, &host, &mut problems);
        drafts.insert(name, draft);
    }
    if let Some(properties) = command {
        let properties: Vec<String> = properties.iter().map(ToString::to_string).collect();
        let argv = vec!["./app".to_string(), "-x".to_string()];
        let draft =
            command_unit::command_unit(argv, &properties, &defaults, &host, &mut problems).unwrap();
        drafts.insert(draft.unit.name.clone(), draft);
    }
    let units = verify::verify(drafts, &mut problems);
    (units, problems)
}

pub(super) fn drawn(problems: &[Problem]) -> String {
    let text = render(problems, "nothing was started", Style { colour: false, notes: true });
    assert_eq!(plain::render(problems, "nothing was started", true), text);
    text
}

pub(super) fn check_problems(files: &[(&str, &str)], expect: Expect) {
    let (_, problems) = read(files, None);
    expect.assert_eq(&drawn(&problems));
}

fn list(word: &str, dependencies: &[Dependency]) -> String {
    if dependencies.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = dependencies.iter().map(|d| d.name.stem()).collect();
    format!(" {word}={}", names.join(","))
}

/// One line a unit: what it waits for and needs.
fn order(units: &UnitSet) -> String {
    let line = |unit: &Arc<super::Unit>| {
        format!(
            "{}{}{}{}{}{}\n",
            unit.name.stem(),
            if unit.step { " step" } else { "" },
            if unit.started_by == StartedBy::Demand { " demand" } else { "" },
            list("after", &unit.after),
            list("requires", &unit.requires),
            list("wants", &unit.wants),
        )
    };
    units.units.values().map(line).collect()
}

pub(super) fn check_order(files: &[(&str, &str)], expect: Expect) {
    let (units, problems) = read(files, None);
    assert_eq!(drawn(&problems), "");
    expect.assert_eq(&order(&units));
}

const STEP: &str = "[Service]\nType = 'oneshot'\nExecStart = 'true'\n";
const SERVICE: &str = "[Service]\nExecStart = 'sleep 9'\n";

fn unit(lines: &str, rest: &str) -> String {
    format!("[Unit]\n{lines}\n{rest}")
}

#[test]
fn steps_run_in_file_name_order_and_everything_else_after_them() {
    check_order(
        &[("20-b", STEP), ("10-a", STEP), ("web", SERVICE), ("100-c", STEP)],
        expect![[r#"
            10-a step
            100-c step after=10-a requires=10-a
            20-b step after=100-c requires=100-c
            web after=20-b requires=20-b
        "#]],
    );
}

#[test]
fn a_step_that_needs_a_service_goes_after_it() {
    // design: Steps. A `migrate` step After=postgres.service is natural.
    let migrate = unit("After = 'postgres.service'\nRequires = 'postgres.service'", STEP);
    check_order(
        &[("05-wait", STEP), ("10-migrate", &migrate), ("postgres", SERVICE), ("web", SERVICE)],
        expect![[r#"
            05-wait step
            10-migrate step after=postgres,05-wait requires=postgres,05-wait
            postgres after=05-wait requires=05-wait
            web after=10-migrate requires=10-migrate
        "#]],
    );
}

#[test]
fn explicit_order_through_others_wins_too() {
    // 10 waits for cache, which waits for proxy: neither may wait for 10 or for what follows it.
    let first = unit("After = 'cache.service'", STEP);
    let cache = unit("After = 'proxy.service'", SERVICE);
    let early = unit("Before = '10-first.service'", STEP);
    check_order(
        &[
            ("10-first", &first),
            ("20-then", STEP),
            ("90-early", &early),
            ("cache", &cache),
            ("proxy", SERVICE),
            ("web", SERVICE),
        ],
        expect![[r#"
            10-first step after=cache,90-early requires=90-early
            20-then step
            90-early step after=20-then requires=20-then
            cache after=proxy,90-early requires=90-early
            proxy after=90-early requires=90-early
            web after=10-first requires=10-first
        "#]],
    );
}

#[test]
fn an_optional_step_is_wanted_and_the_one_before_it_required() {
    let optional = unit("FailureAction = 'none'", STEP);
    check_order(
        &[("10-a", STEP), ("20-b", &optional), ("30-c", STEP), ("web", SERVICE)],
        expect![[r#"
            10-a step
            20-b step after=10-a requires=10-a
            30-c step after=20-b,10-a requires=10-a wants=20-b
            web after=30-c requires=30-c
        "#]],
    );
    check_order(
        &[("20-b", &optional), ("web", SERVICE)],
        expect![[r#"
            20-b step
            web after=20-b wants=20-b
        "#]],
    );
}

#[test]
fn who_is_no_step_and_who_waits_for_none() {
    let free = unit("DefaultDependencies = false", SERVICE);
    let free_step = unit("DefaultDependencies = false", STEP);
    let off = format!("{STEP}[Install]\nEnabled = false\n");
    let failing = unit("OnFailure = 'alert.service'", STEP);
    check_order(
        &[
            ("10-a", &failing),
            ("alert", SERVICE),
            ("free", &free),
            ("free-step", &free_step),
            ("off", &off),
            ("web@", SERVICE),
        ],
        expect![[r#"
            10-a step
            alert demand
            free-step
            free
            off demand after=10-a requires=10-a
            web@ demand
        "#]],
    );
}

#[test]
fn the_command_comes_after_everything_but_what_follows_it() {
    let sidecar = unit("After = 'main.service'", SERVICE);
    let off = format!("{SERVICE}[Install]\nEnabled = false\n");
    let (units, problems) = read(
        &[("10-a", STEP), ("web", SERVICE), ("sidecar", &sidecar), ("off", &off)],
        Some(&["Restart=on-failure", "Unit.Description=x", "Environment=\"A=b c\" D=%u"]),
    );
    assert_eq!(drawn(&problems), "");
    expect![[r#"
        10-a step
        main after=10-a,web requires=10-a
        off demand after=10-a requires=10-a
        sidecar after=main,10-a requires=10-a
        web after=10-a requires=10-a
    "#]]
    .assert_eq(&order(&units));
    let main = units.get(&UnitName::parse("main.service").unwrap()).unwrap();
    assert_eq!(main.description, "x");
    let environment: Vec<_> = main.service.exec.environment.iter().collect();
    assert_eq!(
        environment,
        [&("A".to_string(), "b c".to_string()), &("D".to_string(), "root".to_string())]
    );
    assert_eq!(main.service.exec_start.first().unwrap().program, "./app");
}

#[test]
fn properties_of_the_command_that_are_wrong() {
    let (_, problems) =
        read(&[], Some(&["Restrt=no", "RestartSec", "Unit.Restart=no", "Nice=99", "User.x=1"]));
    expect![[r#"
        error: "RestartSec" is not a property
         --> -p:1:1
          |
        1 | RestartSec
          | ^^^^^^^^^^
          |
          = help: write -p NAME=VALUE, as in -p Restart=on-failure

        error: unknown property Restrt
         --> -p:1:1
          |
        1 | Restrt=no
          | ^^^^^^
          |
          = help: did you mean Restart?

        error: unknown property User.x
         --> -p:1:1
          |
        1 | User.x=1
          | ^^^^^^
          |
          = help: a property is a directive of [Service], [Unit], [Socket] or [Health]

        error: Nice: 99 is not in the range from -20 to 19
         --> -p:1:6
          |
        1 | Nice=99
          |      ^^
          |
          = help: Nice takes a whole number from -20 to 19

        error: unknown directive Restart in [Unit]
         --> -p:1:6
          |
        1 | Unit.Restart=no
          |      ^^^^^^^
          |
          = help: Restart belongs to [Service]

        5 errors: nothing was started
    "#]]
    .assert_eq(&drawn(&problems));
}

#[test]
fn names_that_are_not_there() {
    let web = unit(
        "Requires = 'databse.service'\nWants = 'networking.target network-online.target'\n\
         After = ['network.target', 'chache.service']\nOnFailure = 'alert.service'\n\
         Conflicts = 'web'\nBefore = 'web@.service'\nPartOf = 'web.servic'\n\
         Requisite = 'web.service'",
        SERVICE,
    );
    check_problems(
        &[("web", &web), ("cache", SERVICE), ("database", SERVICE)],
        expect![[r#"
            error: web.service: Requires names databse.service, and there is no such unit
             --> web.toml:2:13
              |
            2 | Requires = 'databse.service'
              |             ^^^^^^^^^^^^^^^
              |
              = help: did you mean database.service?

            warning: web.service: Wants names networking.target, and there is no such unit, ignoring
             --> web.toml:3:10
              |
            3 | Wants = 'networking.target network-online.target'
              |          ^^^^^^^^^^^^^^^^^

            warning: web.service: After names chache.service, and there is no such unit, ignoring
             --> web.toml:4:29
              |
            4 | After = ['network.target', 'chache.service']
              |                             ^^^^^^^^^^^^^^
              |
              = help: did you mean cache.service?

            error: web.service: OnFailure names alert.service, and there is no such unit
             --> web.toml:5:14
              |
            5 | OnFailure = 'alert.service'
              |              ^^^^^^^^^^^^^

            error: Conflicts: "web" is not the name of a unit: the name has no suffix such as .service
             --> web.toml:6:14
              |
            6 | Conflicts = 'web'
              |              ^^^
              |
              = help: write web.service

            error: web.service names web@.service in Before, which is a template
             --> web.toml:7:11
              |
            7 | Before = 'web@.service'
              |           ^^^^^^^^^^^^
              |
              = help: a template never runs: name a unit with a file of its own

            error: PartOf: "web.servic" is not the name of a unit: the name has no suffix such as .service
             --> web.toml:8:11
              |
            8 | PartOf = 'web.servic'
              |           ^^^^^^^^^^
              |
              = help: did you mean web.service?

            error: web.service names itself in Requisite
             --> web.toml:9:14
              |
            9 | Requisite = 'web.service'
              |              ^^^^^^^^^^^

            6 errors, 2 warnings: nothing was started
        "#]],
    );
}

#[test]
fn instances_are_no_units() {
    let web = unit("OnFailure = 'mail@web.service'\nAfter = 'pool@2.service'", SERVICE);
    let pool = format!("{SERVICE}Instances = 2\n");
    let mail = format!("{SERVICE}[Socket]\nListenStream = 25\nAccept = true\n");
    check_problems(
        &[("web", &web), ("pool", &pool), ("mail@", &mail)],
        expect![[r#"
            error: web.service: OnFailure names mail@web.service, and there is no such unit
             --> web.toml:2:14
              |
            2 | OnFailure = 'mail@web.service'
              |              ^^^^^^^^^^^^^^^^
              |
              = help: instances of mail@.service are made for connections only (Accept=yes): name a unit with a file of its own; started by OnFailure= or OnSuccess=, it has MONITOR_UNIT=

            warning: web.service: After names pool@2.service, and there is no such unit, ignoring
             --> web.toml:3:10
              |
            3 | After = 'pool@2.service'
              |          ^^^^^^^^^^^^^^
              |
              = help: did you mean pool.service? Its instances, if it has any, are no units of their own

            1 error, 1 warning: nothing was started
        "#]],
    );
}

#[test]
fn cycles_name_every_member() {
    let a = unit("After = 'b.service'", SERVICE);
    let b = unit("After = 'c.service'", SERVICE);
    let c = unit("Before = 'b.service'\nAfter = 'a.service'", SERVICE);
    let d = unit("After = 'c.service'\nBefore = 'a.service'", SERVICE);
    check_problems(
        &[("a", &a), ("b", &b), ("c", &c), ("d", &d), ("e", SERVICE)],
        expect![[r#"
        error: units wait for each other: b.service after c.service after a.service after b.service; the same holds for d.service
         --> a.toml:2:10
          |
        2 | After = 'b.service'
          |          ^^^^^^^^^ a.service waits for b.service
          |
         ::: c.toml:3:10
          |
        3 | After = 'a.service'
          |          --------- c.service waits for a.service
          |
         ::: b.toml:2:10
          |
        2 | After = 'c.service'
          |          --------- b.service waits for c.service
          |
         ::: d.toml:2:10
          |
        2 | After = 'c.service'
          |          --------- d.service waits for c.service
          |
          = help: take one of these lines away

        1 error: nothing was started
    "#]],
    );
}

#[test]
fn contradictions() {
    let a = unit("Requires = 'b.service'\nConflicts = 'b.service c.service d.service'", SERVICE);
    let off = format!("{SERVICE}[Install]\nEnabled = false\n");
    check_problems(
        &[("a", &a), ("b", SERVICE), ("c", SERVICE), ("d", &off)],
        expect![[r#"
            error: a.service has both Requires and Conflicts with b.service
             --> a.toml:3:14
              |
            3 | Conflicts = 'b.service c.service d.service'
              |              ^^^^^^^^^
              |
             ::: a.toml:2:13
              |
            2 | Requires = 'b.service'
              |             --------- Requires here

            error: boot starts both a.service and c.service, and they conflict
             --> a.toml:3:24
              |
            3 | Conflicts = 'b.service c.service d.service'
              |                        ^^^^^^^^^
              |
             ::: c.toml:1:1
              |
            1 | [Service]
              | - c.service is here
              |
              = help: [Install] Enabled = false keeps one of them from being started

            2 errors: nothing was started
        "#]],
    );
}

#[test]
fn rules_between_directives() {
    check_problems(
        &[
            ("empty", "[Unit]\nDescription = 'x'\n"),
            (
                "always",
                &format!("{STEP}Restart = 'always'\nRestartForceExitStatus = [1, 'TERM']\n"),
            ),
            ("two", "[Service]\nExecStart = [['a'], ['b']]\n"),
            ("stop", "[Service]\nType = 'simple'\nExecStop = 'true'\n"),
            ("stop-only", "[Service]\nExecStop = 'true'\n"),
            ("fine", "[Service]\nExecStop = 'true'\nRemainAfterExit = 'yes'\n"),
            ("delay", &format!("{SERVICE}RestartSec = 9\nRestartMaxDelaySec = '5s'\n")),
            ("several", "[Service]\nExecStart = ['/bin/a', '/bin/b c']\n"),
        ],
        expect![[r#"
            error: always.service is a oneshot, which cannot be restarted after success
             --> always.toml:4:11
              |
            4 | Restart = 'always'
              |           ^^^^^^^^
              |
              = help: use Restart = "on-failure", or another Type

            error: always.service is a oneshot, which takes no RestartForceExitStatus
             --> always.toml:5:26
              |
            5 | RestartForceExitStatus = [1, 'TERM']
              |                          ^^^^^^^^^^^

            warning: RestartMaxDelaySec is less than RestartSec, so both are the former
             --> delay.toml:4:22
              |
            4 | RestartMaxDelaySec = '5s'
              |                      ^^^^
              |
             ::: delay.toml:3:14
              |
            3 | RestartSec = 9
              |              - RestartSec

            error: empty.service has no ExecStart
             --> empty.toml:1:1
              |
            1 | [Unit]
              | ^
              |
              = help: say what to run: ExecStart = "program argument" under [Service]

            warning: ExecStart: this word of one command looks like a command of its own
             --> several.toml:2:24
              |
            2 | ExecStart = ['/bin/a', '/bin/b c']
              |                        ^^^^^^^^^^
              |
              = help: an array of strings is one argv; write an array of arrays for several commands

            error: stop-only.service has ExecStop but no ExecStart and no RemainAfterExit
             --> stop-only.toml:2:12
              |
            2 | ExecStop = 'true'
              |            ^^^^^^
              |
              = help: with RemainAfterExit = true it is active until it is stopped

            error: stop.service has no ExecStart, which only a oneshot may leave out
             --> stop.toml:2:8
              |
            2 | Type = 'simple'
              |        ^^^^^^^^

            error: two.service has 2 ExecStart commands, and only a oneshot may
             --> two.toml:2:13
              |
            2 | ExecStart = [['a'], ['b']]
              |             ^^^^^^^^^^^^^^
              |
              = help: set Type = "oneshot", or leave one; an array of strings is one command

            6 errors, 2 warnings: nothing was started
        "#]],
    );
}

#[test]
fn wrong_types_forms_and_names() {
    let text = r#"
[Unit]
Description = 5
After = "web"
StartLimitBurst = -1
DefaultDependencies = "maybe"
ConditionPathExists = "relative"
RestartSec = 5
[Service]
ExecStart = "sh -c \"echo \u00e4 'x"
ExecStop = ["sleep", 5]
ExecReload = [["a"], "b"]
RestartSec = true
TimeoutStopSec = "5 parsecs"
Restart = "on-fail"
Type = "dbus"
Nice = 20
KillSignal = "SIGTREM"
MemoryMax = "512M"
User = 1.5
UMask = 22
LimitNOFILE = "many"
Environment = ["A", "B=1"]
WorkingDirectory = "app"
StandardOutput = "nul"
EnvironmentFile = 2026-01-01
SuccessExitStatus = "NOSUCH"
[Servic]
[Timer]
ListenStream = 8000
[Manager]
[Install]
WantedBy = "multi-user.target"
"#;
    check_problems(
        &[("web", text)],
        expect![[r#"
            error: Description takes a string, not an integer
             --> web.toml:3:15
              |
            3 | Description = 5
              |               ^

            error: After: "web" is not the name of a unit: the name has no suffix such as .service
             --> web.toml:4:10
              |
            4 | After = "web"
              |          ^^^
              |
              = help: write web.service

            error: StartLimitBurst: -1 is not in the range from 0 to 4294967295
             --> web.toml:5:19
              |
            5 | StartLimitBurst = -1
              |                   ^^
              |
              = help: StartLimitBurst takes a whole number from 0

            error: DefaultDependencies: "maybe" is no boolean
             --> web.toml:6:23
              |
            6 | DefaultDependencies = "maybe"
              |                       ^^^^^^^
              |
              = help: yes, true, on or 1; no, false, off or 0

            error: ConditionPathExists: "relative" is not an absolute path
             --> web.toml:7:23
              |
            7 | ConditionPathExists = "relative"
              |                       ^^^^^^^^^^
              |
              = help: ConditionPathExists takes a string such as "!/etc/nologin", or an array of them

            error: unknown directive RestartSec in [Unit]
             --> web.toml:8:1
              |
            8 | RestartSec = 5
              | ^^^^^^^^^^
              |
              = help: RestartSec belongs to [Service]

            error: ExecStart: the quote " is never closed
              --> web.toml:10:20
               |
            10 | ExecStart = "sh -c \"echo \u00e4 'x"
               |                    ^^
               |
               = help: close it with ", or write \" for the character itself

            error: ExecStop: a word of a command is a string, not an integer
              --> web.toml:11:22
               |
            11 | ExecStop = ["sleep", 5]
               |                      ^
               |
               = help: ExecStop takes a command line, or its words as an array of strings

            error: ExecReload: an array holds either words or arrays of words, not both
              --> web.toml:12:22
               |
            12 | ExecReload = [["a"], "b"]
               |                      ^^^
               |
               = help: ExecReload takes a command line, or its words as an array of strings

            error: RestartSec takes a time span such as "5s", not a boolean
              --> web.toml:13:14
               |
            13 | RestartSec = true
               |              ^^^^

            error: TimeoutStopSec: "5 parsecs" is no time span: a number must stand before "parsecs"
              --> web.toml:14:21
               |
            14 | TimeoutStopSec = "5 parsecs"
               |                     ^^^^^^^
               |
               = help: numbers with us, ms, s, min, h, d, w, month or y, such as 1min 30s, or infinity

            error: Restart: "on-fail" is not one of its words
              --> web.toml:15:11
               |
            15 | Restart = "on-fail"
               |           ^^^^^^^^^
               |
               = help: did you mean on-failure?

            error: Type: "dbus" is not supported by rinit: there is no bus
              --> web.toml:16:8
               |
            16 | Type = "dbus"
               |        ^^^^^^
               |
               = help: with Type=exec it counts as started once its program runs

            error: Nice: 20 is not in the range from -20 to 19
              --> web.toml:17:8
               |
            17 | Nice = 20
               |        ^^
               |
               = help: Nice takes a whole number from -20 to 19

            error: KillSignal: "SIGTREM" is no signal
              --> web.toml:18:14
               |
            18 | KillSignal = "SIGTREM"
               |              ^^^^^^^^^
               |
               = help: did you mean "SIGTERM"?

            error: User takes a name or a number, not a float
              --> web.toml:20:8
               |
            20 | User = 1.5
               |        ^^^

            error: UMask: 22 is a decimal number, and a mode is octal
              --> web.toml:21:9
               |
            21 | UMask = 22
               |         ^^
               |
               = help: write 0o22 or "022"

            error: LimitNOFILE: "many" is no number from 0 to 18446744073709551615
              --> web.toml:22:15
               |
            22 | LimitNOFILE = "many"
               |               ^^^^^^
               |
               = help: LimitNOFILE takes a limit such as 65536, "1024:4096" or "infinity"

            error: Environment: a variable is written NAME=value
              --> web.toml:23:16
               |
            23 | Environment = ["A", "B=1"]
               |                ^^^
               |
               = help: Environment takes "NAME=value", an array of such strings, or a table

            error: WorkingDirectory: "app" is not an absolute path
              --> web.toml:24:20
               |
            24 | WorkingDirectory = "app"
               |                    ^^^^^
               |
               = help: WorkingDirectory takes a path such as "/run/app"

            error: StandardOutput: "nul" is no standard stream
              --> web.toml:25:18
               |
            25 | StandardOutput = "nul"
               |                  ^^^^^
               |
               = help: did you mean "null"?

            error: EnvironmentFile takes a path, or an array of paths, not a date
              --> web.toml:26:19
               |
            26 | EnvironmentFile = 2026-01-01
               |                   ^^^^^^^^^^

            error: SuccessExitStatus: "NOSUCH" is no exit status and no signal
              --> web.toml:27:22
               |
            27 | SuccessExitStatus = "NOSUCH"
               |                      ^^^^^^
               |
               = help: a number from 0 to 255, a name such as TEMPFAIL, or a signal

            error: unknown section [Servic]
              --> web.toml:28:2
               |
            28 | [Servic]
               |  ^^^^^^
               |
               = help: did you mean [Service]?

            error: [Timer] is not supported by this version of rinit
              --> web.toml:29:2
               |
            29 | [Timer]
               |  ^^^^^
               |
               = help: it is refused so that nobody believes it holds

            error: [Manager] stands in rinit.toml only
              --> web.toml:31:2
               |
            31 | [Manager]
               |  ^^^^^^^
               |
               = help: move it to rinit.toml beside the units

            note: WantedBy has no effect here: an enabled unit starts at boot; say [Install] Enabled = false for one that does not
              --> web.toml:33:1
               |
            33 | WantedBy = "multi-user.target"
               | ^^^^^^^^

            26 errors, 1 note: nothing was started
        "#]],
    );
}

#[test]
fn several_errors_of_syntax_at_once() {
    let text = "stray = 1\n[Service\nExecStart = 'x'\nNice = \nRestart 'no'\n[[Unit]]\n";
    check_problems(
        &[("web", text)],
        expect![[r#"
        error: not valid TOML: unclosed table, expected `]`
         --> web.toml:2:9
          |
        2 | [Service
          |         ^

        error: not valid TOML: key with no value, expected `=`
         --> web.toml:5:9
          |
        5 | Restart 'no'
          |         ^

        2 errors: nothing was started
    "#]],
    );
    check_problems(
        &[("web", "Nice = 1\nService = 5\n[[Unit]]\nx = 1\n[Service]\n")],
        expect![[r#"
            error: not valid TOML: duplicate key
             --> web.toml:5:2
              |
            5 | [Service]
              |  ^^^^^^^

            1 error: nothing was started
        "#]],
    );
    check_problems(
        &[("web", "Nice = 1\nUnit = 5\n[[Install]]\nx = 1\n[Service]\nExecStart='x'\n")],
        expect![[r#"
            error: Nice stands outside a section
             --> web.toml:1:1
              |
            1 | Nice = 1
              | ^^^^
              |
              = help: put it under [Service]

            error: Unit is a section, not a key
             --> web.toml:2:1
              |
            2 | Unit = 5
              | ^^^^
              |
              = help: write [Unit]

            error: [[Install]] is a list of sections; a unit has one
             --> web.toml:3:3
              |
            3 | [[Install]]
              |   ^^^^^^^
              |
              = help: write [Install]

            3 errors: nothing was started
        "#]],
    );
}

#[test]
fn values_of_every_spelling() {
    let text = r#"
[Unit]
StartLimitIntervalSec = 0
[Service]
Type = "oneshot"
ExecStart = ["one", "two"]
Environment = { A = 1, B = "%p", C = true }
SuccessExitStatus = [75, "SIGUSR1"]
TimeoutStopSec = 0
RestartSec = 1.5
UMask = 0o027
Nice = -5
User = 1000
SupplementaryGroups = ["adm", 33]
RestartKillSignal = 2
LimitNOFILE = 65536
StartLimitBurst = 3
FailureAction = "poweroff"
"#;
    let (units, problems) = read(&[("web", text)], None);
    assert_eq!(drawn(&problems), "");
    let unit = units.get(&UnitName::parse("web.service").unwrap()).unwrap();
    expect![[r#"
        (
            [
                ExecCommand {
                    program: "one",
                    argv0: None,
                    arguments: [
                        "two",
                    ],
                    ignore_failure: false,
                    no_expansion: true,
                    full_privileges: false,
                    no_setuid: false,
                },
            ],
            ExecContext {
                user: Some(
                    "1000",
                ),
                group: None,
                supplementary_groups: [
                    "adm",
                    "33",
                ],
                working_directory: None,
                umask: Some(
                    23,
                ),
                environment: [
                    (
                        "A",
                        "1",
                    ),
                    (
                        "B",
                        "web",
                    ),
                    (
                        "C",
                        "true",
                    ),
                ],
                environment_files: [],
                pass_environment: [],
                unset_environment: [],
                exec_search_path: [],
                limits: {
                    Nofile: Limit {
                        soft: Some(
                            65536,
                        ),
                        hard: Some(
                            65536,
                        ),
                    },
                },
                nice: Some(
                    -5,
                ),
                oom_score_adjust: None,
                ignore_sigpipe: false,
                standard_input: None,
                standard_output: None,
                standard_error: None,
                tty_path: None,
                log_rate_limit_interval: None,
                log_rate_limit_burst: 0,
                log_file: None,
                log_max_file_size: None,
                log_max_files: None,
            },
            None,
            None,
            1.5s,
            ExitStatusSet {
                codes: {
                    75,
                },
                signals: {
                    SIGUSR1,
                },
            },
            3,
            Exit,
        )
    "#]]
    .assert_debug_eq(&(
        &unit.service.exec_start,
        &unit.service.exec,
        unit.service.timeout_stop,
        unit.service.timeout_start,
        unit.service.restart_sec,
        &unit.service.success_exit_status,
        unit.start_limit_burst,
        unit.failure_action,
    ));
}

/// Each word gets one error, whatever TOML takes it for, and is read as what it was meant to be.
#[test]
fn words_without_quotes() {
    for word in [
        "nobody",
        "inferno",
        "trueish",
        "falsy",
        "5min",
        "512M",
        "on",
        "+x",
        "1.2.3.4",
        "2020x",
        "2020-01",
        "0700",
        "50%%",
        "~",
        "-1d",
        "a b",
        "@x",
        "/bin/true",
        "on-failure",
        "0o9",
        "1_",
        "127.0.0.1:80",
    ] {
        let text = format!("[Unit]\nDescription = {word} # who\n[Service]\nExecStart = '/a'\n");
        let (units, problems) = read(&[("w", &text)], None);
        let found: Vec<_> = problems.iter().map(|p| (&*p.message, p.hint.as_deref())).collect();
        let message = format!("not valid TOML: {word} has to be quoted");
        let hint = format!("write \"{word}\"");
        assert_eq!(found, [(&*message, Some(&*hint))]);
        let unit = units.get(&UnitName::service("w").unwrap()).unwrap();
        assert_eq!(unit.description, word.replace("%%", "%"));
    }
    check_problems(
        &[(
            "w",
            "[Service]\nUser = nobody\nType = oneshot\nExecStart = [/bin/sh, '-c', a\"b]\n\
             WorkingDirectory = '/unclosed\nNice = 1 2\n",
        )],
        expect![[r#"
            error: not valid TOML: nobody has to be quoted
             --> w.toml:2:8
              |
            2 | User = nobody
              |        ^^^^^^
              |
              = help: write "nobody"

            error: not valid TOML: oneshot has to be quoted
             --> w.toml:3:8
              |
            3 | Type = oneshot
              |        ^^^^^^^
              |
              = help: write "oneshot"

            error: not valid TOML: /bin/sh has to be quoted
             --> w.toml:4:14
              |
            4 | ExecStart = [/bin/sh, '-c', a"b]
              |              ^^^^^^^
              |
              = help: write "/bin/sh"

            error: not valid TOML: a"b has to be quoted
             --> w.toml:4:29
              |
            4 | ExecStart = [/bin/sh, '-c', a"b]
              |                             ^^^
              |
              = help: write 'a"b'

            error: not valid TOML: invalid literal string, expected `'`
             --> w.toml:5:30
              |
            5 | WorkingDirectory = '/unclosed
              |                              ^

            error: Nice: "1 2" is no number from -20 to 19
             --> w.toml:6:8
              |
            6 | Nice = 1 2
              |        ^^^
              |
              = help: Nice takes a whole number from -20 to 19

            error: not valid TOML: 1 2 has to be quoted
             --> w.toml:6:8
              |
            6 | Nice = 1 2
              |        ^^^
              |
              = help: write "1 2"

            7 errors: nothing was started
        "#]],
    );
}

#[test]
fn an_empty_text_resets_a_list() {
    let host = HostFacts::default();
    let mut problems = Vec::new();
    let raw = |path: &str, text: &str| {
        let file = Arc::new(SourceFile { path: path.into(), text: text.to_string() });
        toml::read(&file).0
    };
    let files = [
        raw(
            "w.toml",
            "[Unit]\nAfter='a.service'\nConditionPathExists='/x'\n[Service]\n\
             Environment='A=1'\nExecStart='one'\nSuccessExitStatus=3",
        ),
        raw(
            "w.toml.d/1.toml",
            "[Unit]\nAfter=''\nConditionFileNotEmpty=''\n[Service]\n\
             Environment=''\nExecStart=['', ]\nSuccessExitStatus=''",
        ),
        raw(
            "w.toml.d/2.toml",
            "[Unit]\nAfter='b.service'\n[Service]\nEnvironment=['', 'B=2']\n\
             ExecStart=''",
        ),
        raw("w.toml.d/3.toml", "[Service]\nExecStart='two'"),
    ];
    let name = UnitName::service("w").unwrap();
    let unit =
        build::build(name, &files, &ManagerSection::default().defaults, &host, &mut problems).unit;
    let after: Vec<&str> = unit.after.iter().map(|d| d.name.stem()).collect();
    assert_eq!(after, ["a", "b"], "nothing resets an order");
    assert!(unit.conditions.is_empty());
    assert_eq!(unit.service.exec.environment, [("B".to_string(), "2".to_string())]);
    assert_eq!(unit.service.exec_start.len(), 1);
    assert!(unit.service.success_exit_status.codes.is_empty());
}
