//! rinitctl against a running rinit: what its exit status says, what it waits for, and every
//! example of `docs/rinitctl.md`, replayed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use regex_lite::Regex;
use serde_json::Value;

use crate::harness::pty::Terminal;
use crate::harness::{Rinit, Running};
use crate::require;

const RINITCTL: &str = env!("CARGO_BIN_EXE_rinitctl");

/// A rinit with a socket in its own directory.
fn rinit() -> Rinit {
    Rinit::subreaper().options(&["--socket", "@dir@/socket"])
}

fn rinitctl(rinit: &Running, arguments: &[&str]) -> Command {
    let mut command = Command::new(RINITCTL);
    command.arg("--socket").arg(rinit.path("socket")).args(arguments);
    command.env_remove("RINIT_SOCKET").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit status, then both streams.
#[track_caller]
fn ask(rinit: &Running, arguments: &[&str]) -> (i32, String, String) {
    let output = rinitctl(rinit, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Fails unless the exit status is this, and the two streams hold these words.
#[track_caller]
fn check(rinit: &Running, arguments: &[&str], code: i32, out: &str, err: &str) {
    let (found, stdout, stderr) = ask(rinit, arguments);
    let told = format!("{arguments:?}: {found}\n{stdout}\n{stderr}");
    assert!(found == code && stdout.contains(out) && stderr.contains(err), "{told}");
}

#[test]
fn exit_statuses() {
    let setup = rinit().service("web", "wait", "ExecReload = \"@probe@ ok\"");
    let setup = setup.service("idle", "wait", "[Install]\nEnabled = false");
    let setup = setup.unit(
        "bad",
        "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 4\"\n",
    );
    let setup = setup.unit("late", "[Unit]\nRequires = \"bad.service\"\nAfter = \"bad.service\"\n[Service]\n\
        ExecStart = \"@probe@ wait\"\nExecStartPre = \"@probe@ exit 7\"\n[Install]\nEnabled = false\n");
    let setup = setup.service(
        "deaf",
        "ignore TERM say deaf wait",
        "TimeoutStopSec = \"1h\"\nFailureAction = \"none\"",
    );
    let mut rinit = setup.start();
    rinit.wait_state("bad", "failed");
    rinit.wait_line("deaf");
    for (arguments, code, out, err) in [
        (&["is-active", "web"][..], 0, "active\n", ""),
        (&["is-active", "web", "idle"], 0, "active\ninactive\n", ""),
        (&["is-active", "idle"], 3, "inactive\n", ""),
        (&["is-active", "-q", "nosuch"], 4, "", "Unit nosuch.service could not be found"),
        (&["is-failed", "bad"], 0, "failed\n", ""),
        (&["is-failed", "web"], 1, "active\n", ""),
        (&["is-system-running"], 1, "degraded\n", ""),
        (&["status", "web"], 0, "active (running)", ""),
        (&["status", "idle"], 3, "inactive (dead)", ""),
        (&["status", "wbe", "web"], 4, "web.service", "did you mean web.service?"),
        (&["show", "w*", "-p", "Id,MainPID"], 0, "Id=web.service\nMainPID=", ""),
        (&["show", "web", "-p", "MainPid"], 64, "", "did you mean MainPID?"),
        (&["show", "x*"], 4, "", "no unit matches x*"),
        (&["start", "web"], 0, "", ""),
        (&["start", "nosuch"], 4, "", "Failed to start nosuch.service"),
        (&["start", "bad"], 0, "", ""),
        (&["start", "late"], 1, "", "Job for late.service failed"),
        (&["start", "late"], 1, "", "\n  ExecStartPre exited with status 7"),
        (&["reload", "web"], 0, "", ""),
        (&["reload", "deaf"], 1, "", "ExecReload="),
        (&["kill", "web", "-s", "TREM"], 64, "", "did you mean TERM?"),
        (&["kill", "deaf", "-s", "0x9"], 64, "", "is no signal"),
        (&["wait", "web", "--timeout", "1min"], 0, "", ""),
        (&["wait", "late"], 1, "", "late.service failed"),
        (&["wait", "idle", "--timeout", "50ms"], 5, "", "idle.service is inactive, not active"),
        // What is remembered of an earlier run does not count.
        (&["start", "idle"], 0, "", ""),
        (&["stop", "idle"], 0, "", ""),
        (&["wait", "idle", "--timeout", "50ms"], 5, "", "idle.service is inactive, not active"),
        (&["stop", "deaf", "--timeout", "50ms"], 5, "", "still stopping after 50ms"),
        (&["kill", "deaf", "-s", "KILL"], 0, "", ""),
        (&["wait", "deaf", "--for", "failed"], 0, "", ""),
        (&["reset-failed"], 0, "", ""),
        (&["is-failed", "deaf"], 1, "inactive\n", ""),
    ] {
        check(&rinit, arguments, code, out, err);
    }
    rinit.terminate();
}

/// A disk that is full is told, a reader that has gone is not.
#[test]
fn what_cannot_be_written_is_told() {
    let mut rinit = rinit().service("web", "say up wait", "").start();
    rinit.wait_line("up");
    for arguments in [
        &["list-units"][..],
        &["status"],
        &["is-active", "web"],
        &["list-units", "--json"],
        &["events"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = rinitctl(&rinit, arguments).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let expected = "rinitctl: standard output: No space left on device\n";
        assert_eq!((output.status.code(), told.as_str()), (Some(71), expected), "{arguments:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = rinitctl(&rinit, arguments).stdout(writer).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.as_str()), (Some(0), ""), "{arguments:?}");
    }
    rinit.terminate();
}

#[test]
fn nobody_there_and_nobody_who_answers() {
    let mut rinit = rinit().service("web", "say up wait", "").start();
    rinit.wait_line("up");
    check(&rinit, &["--socket", "/no/such/socket", "status"], 64, "", "--socket");
    rinit.signal(libc::SIGSTOP);
    check(&rinit, &["list-units", "--timeout", "50ms"], 5, "", "did not answer in time");
    rinit.signal(libc::SIGCONT);
    check(&rinit, &["list-units"], 0, "web.service", "");
    let socket = rinit.path("socket");
    let gone = Command::new(RINITCTL).args(["status", "--socket", "/no/such/socket"]).output();
    let gone = gone.unwrap();
    assert_eq!(gone.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("/no/such/socket: No such file"));
    check(&rinit, &["shutdown"], 0, "", "");
    rinit.wait().assert_code(0);
    let gone = Command::new(RINITCTL).arg("status").env("RINIT_SOCKET", &socket).output().unwrap();
    assert_eq!(gone.status.code(), Some(6), "{socket:?}");
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

/// A stream has what was and what comes, and ends well when rinit does.
#[test]
fn events_follow() {
    let mut rinit = rinit().service("web", "say up wait", "").service("db", "wait", "").start();
    rinit.wait_line("up");
    let mut child = rinitctl(&rinit, &["events", "-f", "-u", "web", "--json"]).spawn().unwrap();
    let mut events = lines(&mut child).map(|line| serde_json::from_str::<Value>(&line).unwrap());
    assert!(events.any(|event| event["event"] == "start" && event["pid"].is_number()));
    check(&rinit, &["stop", "web", "db"], 0, "", "");
    let end = events.find(|event| event["event"] == "state" && event["to"] == "dead").unwrap();
    assert_eq!(end["unit"], "web.service");
    check(&rinit, &["shutdown"], 0, "", "");
    assert!(events.all(|event| event["unit"] == "web.service"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rinit.wait().assert_code(0);
}

/// A wait that begins before the change ends by it, whatever else happens meanwhile.
#[test]
fn waiting_for_what_comes() {
    let setup = rinit().service("web", "say up wait", "").service(
        "job",
        "wait",
        "[Install]\nEnabled = false",
    );
    let mut rinit = setup.start();
    rinit.wait_line("up");
    let arguments = ["wait", "job", "--timeout", "1min"];
    let mut waiting = rinitctl(&rinit, &arguments).spawn().unwrap();
    check(&rinit, &["restart", "web"], 0, "", "");
    check(&rinit, &["start", "job"], 0, "", "");
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    let mut waiting =
        rinitctl(&rinit, &["wait", "web", "job", "--for", "inactive"]).spawn().unwrap();
    check(&rinit, &["stop", "web", "job"], 0, "", "");
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    rinit.terminate();
}

#[test]
fn more_units_than_connections() {
    let names: Vec<String> = (0..40).map(|n| format!("u{n:02}")).collect();
    let mut setup = rinit();
    for name in &names {
        setup = setup.service(name, "wait", "");
    }
    let mut rinit = setup.start();
    rinit.wait_message("boot done");
    let (code, out, err) = ask(&rinit, &["stop", "u*", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let results: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(results.len(), 40);
    assert!(results.iter().all(|one| one["result"] == "done"), "{out}");
    let (_, out, _) = ask(&rinit, &["list-units", "--state=inactive", "--no-legend", "--plain"]);
    assert_eq!(out.lines().count(), 40);
    rinit.terminate();
}

/// The container of the examples.
fn examples() -> Rinit {
    let unit = |description: &str, unit: &str, service: &str| {
        let unit = unit.replace("; ", "\n");
        format!("[Unit]\nDescription = \"{description}\"\n{unit}\n[Service]\n{service}\n")
            .replace("\n\n", "\n")
    };
    let wait = "ExecStart = \"@probe@ wait\"";
    let step = "Type = \"oneshot\"\nExecStart = \"@probe@ ok\"";
    let web = format!("{wait}\nExecReload = \"@probe@ ok\"\nRestart = \"always\"");
    let sync = "ExecStart = \"@probe@ exit 3\"\nRestart = \"always\"\nRestartSec = \"1h\"";
    let worker = format!("{wait}\nInstances = 2\nRollingUpdate = {{ MonitorSec = 0 }}");
    let backup = format!("{wait}\n[Install]\nEnabled = false");
    rinit()
        .unit("10-migrate", &unit("Database schema", "", step))
        .unit("20-assets", &unit("Static files", "", step))
        .unit("backup", &unit("Nightly backup", "", &backup))
        .unit("cache", &unit("The cache", "", wait))
        .unit("db", &unit("The database", "", wait))
        .unit(
            "mailer",
            &unit(
                "Outgoing mail",
                "Requires = \"worker.service\"; After = \"worker.service\"",
                wait,
            ),
        )
        .unit(
            "metrics",
            &unit(
                "Metrics of the web server",
                "Wants = \"web.service\"; After = \"web.service\"",
                wait,
            ),
        )
        .unit(
            "proxy",
            &unit("Reverse proxy", "Requires = \"web.service\"; After = \"web.service\"", wait),
        )
        .unit(
            "report",
            &unit(
                "Monthly report",
                "FailureAction = \"none\"",
                "ExecStart = \"@probe@ say 'counting' say 'no template: monthly.txt' exit 4\"",
            ),
        )
        .unit("sync", &unit("Synchronisation", "", sync))
        .unit(
            "web",
            &unit(
                "The web server",
                "Requires = \"db.service\"; Wants = \"cache.service\"; \
            After = [\"db.service\", \"cache.service\"]",
                &web,
            ),
        )
        .unit(
            "worker",
            &unit("Background jobs", "BindsTo = \"db.service\"; After = \"db.service\"", &worker),
        )
}

/// What differs from run to run becomes what the page shows.
fn normalised(text: &str, rinit: &Running) -> String {
    let units = rinit.path("units");
    let mut text = text.replace(units.to_str().unwrap(), "/etc/rinit");
    text = text.replace(rinit.path("socket").to_str().unwrap(), "/run/rinit/io.rinit.Manager");
    text = text.replace(crate::harness::probe(), "/usr/bin/app");
    for (pattern, with) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "2026-01-31T12:00:00.000000Z"),
        (
            r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; [0-9a-z ]+ ago",
            "Sat 2026-01-31 12:00:00 UTC; 5min ago",
        ),
        (r"(pid \d+), for [0-9a-z ]+", "$1, for 5min"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "2026-01-31 12:00:00.000"),
        (r"(?m)^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d", "Jan 31 12:00:00"),
        (r"\bpid \d+", "pid 42"),
        (r#"("pid":|PID: |PID=|PID":)[1-9]\d*"#, "${1}42"),
        (r#"(?m)^\d{2,}$"#, "42"),
        (r#"("[a-zA-Z_]*(?:usec|Monotonic|NextUSec)":)\d+"#, "${1}1000000"),
        (r#"[0-9a-f]{32}"#, "0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        (r"after (?:less than )?[0-9.]+(ms|s)", "after 20ms"),
        (r"([@+])[0-9.]+(us|ms|s)\b", "${1}20ms"),
        (r"(restarts|restarting) in [0-9a-z. ]+?(,| \()", "$1 in 1h$2"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    text
}

/// One command of the page as a shell runs it; its output, and its exit status unless that is 0.
fn example(line: &str, rinit: &Running) -> String {
    let units = rinit.path("units");
    let line = line.replace("/etc/rinit", units.to_str().unwrap());
    let directory = Path::new(RINITCTL).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1; {line}")]).env("PATH", path).env_remove("RINIT_UNITS");
    shell.env("RINIT_SOCKET", rinit.path("socket")).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let mut text = normalised(&String::from_utf8_lossy(&output.stdout), rinit);
    if let Some(code) = output.status.code().filter(|code| *code != 0) {
        text += &format!("$ echo $?\n{code}\n");
    }
    text
}

/// `UPDATE_EXPECT=1` records them again.
#[test]
fn examples_are_as_recorded() {
    require!("sh");
    let page = expect_test::expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rinitctl.md")];
    let recorded = page.data();
    let mut rinit = examples().start();
    rinit.wait_message("boot done");
    rinit.wait_state("report", "failed");
    rinit.wait_line("no template: monthly.txt");
    rinit.wait_state("sync", "auto-restart");
    for unit in ["web", "worker@1", "worker@2", "db", "cache", "mailer", "metrics", "proxy"] {
        rinit.wait_start(unit, "ExecStart");
    }
    let (mut replayed, mut inside, mut commands) = (String::new(), false, 0);
    for line in recorded.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, "$ echo $?") => continue,
            (true, line) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    commands += 1;
                    replayed += &format!("{line}\n{}", example(command, &rinit));
                }
                continue;
            }
            (false, _) => (),
        }
        replayed += line;
        replayed.push('\n');
    }
    assert!(commands > 20, "the page has lost its examples");
    page.assert_eq(&replayed);
    rinit.wait().assert_code(0); // the last example is its end
}

/// On a terminal: colours, symbols, and a line of progress that is gone in the end.
#[test]
fn on_a_terminal() {
    let setup = rinit().service("web", "ignore TERM say up wait", "TimeoutStopSec = \"1h\"");
    let mut rinit = setup.start();
    rinit.wait_line("up");
    let on_terminal = |rinit: &Running, arguments: &[&str]| {
        let (terminal, inner) = Terminal::open();
        let mut command = rinitctl(rinit, arguments);
        command.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("LC_ALL").env("LANG", "C");
        command.stdout(inner.try_clone().unwrap()).stderr(inner);
        (terminal, command.spawn().unwrap())
    };
    let (mut terminal, mut child) = on_terminal(&rinit, &["status", "web"]);
    terminal.wait_text("\x1b[1;32m●\x1b[0m web.service");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (mut terminal, mut child) = on_terminal(&rinit, &["status", "web", "--plain"]);
    terminal.wait_text("web.service");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!terminal.read_to_end().contains('\x1b'));
    let (mut terminal, mut child) = on_terminal(&rinit, &["stop", "web"]);
    terminal.wait_text(" stopping web.service (");
    check(&rinit, &["kill", "web", "-s", "KILL"], 0, "", "");
    child.wait().unwrap();
    let screen = terminal.read_to_end();
    assert!(screen.contains("\r\x1b[K") && !screen.ends_with(')'), "{screen:?}");
    rinit.terminate();
}

/// `scale`, and what `status`, `show` and `list-units` make of instances; a roll tells how it goes.
#[test]
fn instances_are_scaled_shown_and_rolled() {
    let web = "[Service]\nInstances = 2\nExecStart = \"@probe@ wait\"\n\
               RollingUpdate = { MonitorSec = 0 }\n";
    let setup = rinit().unit("web", web).service("plain", "wait", "");
    let mut rinit = setup.start();
    rinit.wait_state("web", "running");
    for (arguments, code, out, err) in [
        (&["status", "web"][..], 0, "Instances: 2 wanted, 2 ready\n", ""),
        (&["scale", "web=3"], 0, "", ""),
        (&["is-active", "web@3"], 0, "active\n", ""),
        (&["list-units", "web*", "--no-legend", "--plain"], 0, "web@3.service loaded active", ""),
        (&["status", "web"], 0, "|- web@2.service  running  pid ", ""),
        (&["status", "web"], 0, "`- web@3.service  running  pid ", ""),
        (&["show", "web", "-p", "InstancesWanted,InstancesReady"], 0, "InstancesReady=3", ""),
        (&["show", "web@2", "-p", "InstanceOf", "--value"], 0, "web.service\n", ""),
        (&["restart", "web"], 0, "web.service: 3 of 3 instances replaced\n", ""),
        (&["scale", "web=1"], 0, "", ""),
        (&["status", "web"], 0, "Instances: 1 wanted, 1 ready\n", ""),
        (&["scale", "web=1", "--json"], 0, "\"result\":\"done\"", ""),
        (&["scale", "plain=2"], 1, "", "plain.service has no Instances="),
        (&["scale", "wbe=2"], 4, "", "did you mean web.service?"),
        (&["scale", "web"], 64, "", "web=4"),
        (&["scale", "web=many"], 64, "", "many is no number of instances"),
        (&["scale", "web=4097"], 64, "", "4097 instances are too many: 4096 at most"),
    ] {
        check(&rinit, arguments, code, out, err);
    }
    rinit.terminate().assert_code(0);
}

/// What a service says of itself, and what its probes say of it.
#[test]
fn words_and_health_are_shown() {
    require!("systemd-notify");
    let shell = "systemd-notify --ready --status='Half way' && exec sleep infinity";
    let unit = format!(
        "[Service]\nType = \"notify\"\nNotifyAccess = \"all\"\nWatchdogSec = \"1h\"\n\
         ExecStart = [[\"/bin/sh\", \"-c\", \"{shell}\"]]\n[Health]\nExec = \"@probe@ ok\"\n"
    );
    let mut rinit = rinit().unit("web", &unit).start();
    rinit.wait_state("web", "running");
    check(&rinit, &["status", "web"], 0, "     Status: \"Half way\"\n", "");
    check(&rinit, &["status", "web"], 0, "     Health: healthy\n", "");
    let names = "Type,NotifyAccess,StatusText,Health,WatchdogUSec,NFileDescriptorStore";
    let expected = "Type=notify\nNotifyAccess=all\nStatusText=Half way\nHealth=healthy\n\
                    WatchdogUSec=1h\nNFileDescriptorStore=0\n";
    check(&rinit, &["show", "web", "-p", names], 0, expected, "");
    rinit.terminate().assert_code(0);
}
