//! The control socket as a client sees it: calls, jobs, streams, files, and bad clients.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::varlink::{Varlink, message};
use crate::harness::{Rinit, Running};
use crate::{require, tools};

/// A rinit with a control socket in the test's directory.
fn controlled() -> Rinit {
    Rinit::subreaper().options(&["--socket", "@dir@/control"])
}

/// The socket opens before anything starts, so any event says that it is there.
#[track_caller]
fn client(rinit: &mut Running) -> Varlink {
    Varlink::connect(&rinit.path("control")).unwrap()
}

#[track_caller]
fn start(rinit: Rinit) -> (Running, Varlink) {
    let mut rinit = rinit.start();
    rinit.wait_message("boot done");
    let client = client(&mut rinit);
    (rinit, client)
}

fn unit(name: &str) -> Value {
    json!({ "unit": name })
}

const NO_ACTION: &str = "[Unit]\nFailureAction = \"none\"\n";

#[test]
fn the_service_describes_itself() {
    let (rinit, mut client) = start(controlled().service("web", "wait", ""));
    let info = client.get("org.varlink.service.GetInfo", json!({}));
    assert_eq!(info["interfaces"], json!(["org.varlink.service", "io.rinit.Manager"]));
    for interface in ["org.varlink.service", "io.rinit.Manager"] {
        let asked = json!({ "interface": interface });
        let got = client.get("org.varlink.service.GetInterfaceDescription", asked);
        let text = got["description"].as_str().unwrap();
        assert!(text.contains(&format!("interface {interface}\n")), "{text}");
    }
    rinit.terminate().assert_code(0);
}

#[test]
fn units_are_listed_and_described() {
    let web = "[Unit]\nDescription = \"The web\"\nAfter = \"db.service\"\n\
               [Service]\nExecStart = \"@probe@ wait\"\n";
    let (rinit, mut client) = start(controlled().unit("web", web).service("db", "wait", ""));
    let list = client.get("List", json!({}));
    let expected = json!({
        "unit": "web.service", "load": "loaded", "active": "active", "sub": "running",
        "description": "The web",
    });
    assert_eq!(list["units"][1], expected);
    assert_eq!(list["units"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("SystemState", json!({})), json!({ "state": "running" }));
    let got = client.get("Describe", unit("web.service"));
    let properties = &got["properties"];
    let pid = properties["MainPID"].as_i64().unwrap();
    assert!(rinit.processes().iter().any(|process| i64::from(process.pid) == pid), "{pid}");
    for (name, value) in [
        ("Id", json!("web.service")),
        ("ActiveState", json!("active")),
        ("SubState", json!("running")),
        ("After", json!(["db.service"])),
        ("NRestarts", json!(0)),
        ("NeedDaemonReload", json!(false)),
        ("RestartUSec", json!(100_000)),
    ] {
        assert_eq!(properties[name], value, "{name}");
    }
    let got = client.get("Dependencies", unit("db.service"));
    assert_eq!(got["dependencies"]["Before"], json!(["web.service"]));
    let got = client.get("Cat", unit("web.service"));
    assert!(got["text"].as_str().unwrap().starts_with("[Unit]\nDescription = \"The web\""));
    fs::write(got["path"].as_str().unwrap(), web).unwrap();
    let got = client.get("Describe", unit("web.service"));
    assert_eq!(got["properties"]["NeedDaemonReload"], json!(true));
    rinit.terminate().assert_code(0);
}

#[test]
fn what_cannot_be_done_is_an_error_with_a_name() {
    let (rinit, mut client) = start(controlled().service("web", "wait", ""));
    let no_unit = json!({ "unit": "wbe.service", "suggestion": "web.service" });
    for method in ["Describe", "Cat", "Dependencies", "Start", "Stop", "Restart", "Reload"] {
        let error = client.error(method, unit("wbe.service"));
        assert_eq!(error, ("NoSuchUnit".to_string(), no_unit.clone()), "{method}");
    }
    for (method, parameters, name) in [
        ("io.rinit.Nothing.List", json!({}), "InterfaceNotFound"),
        ("Lost", json!({}), "MethodNotFound"),
        ("Describe", json!({}), "InvalidParameter"),
        ("List", json!({ "x": 1 }), "InvalidParameter"),
        ("Events", json!({}), "ExpectedMore"),
        ("Kill", json!({ "unit": "web.service", "signal": "SIGTRM" }), "NoSuchSignal"),
        ("Reload", unit("web.service"), "Refused"),
        ("ResetFailed", unit("x.service"), "NoSuchUnit"),
    ] {
        assert_eq!(client.error(method, parameters).0, name, "{method}");
    }
    rinit.terminate().assert_code(0);
}

#[test]
fn a_job_is_answered_when_it_has_ended() {
    let rinit = controlled()
        .service("web", "wait", "")
        .unit(
            "app",
            "[Unit]\nRequires = \"web.service\"\nAfter = \"web.service\"\n\
            [Service]\nExecStart = \"@probe@ wait\"\n",
        )
        .unit(
            "bad",
            &format!(
                "{NO_ACTION}[Install]\nEnabled = false\n\
            [Service]\nType = \"oneshot\"\nExecStart = \"@probe@ exit 3\"\n"
            ),
        );
    let (mut rinit, mut client) = start(rinit);
    let stopped = client.get("Stop", unit("web.service"));
    assert_eq!((&stopped["result"], &stopped["also"]), (&json!("done"), &json!(["app.service"])));
    let describe = |client: &mut Varlink, name: &str| {
        client.get("Describe", unit(name))["properties"]["SubState"].clone()
    };
    assert_eq!(describe(&mut client, "app.service"), "dead");
    assert_eq!(client.get("Start", unit("app.service"))["result"], "done");
    assert_eq!(describe(&mut client, "web.service"), "running");
    let failed = client.get("Start", unit("bad.service"));
    assert_eq!(failed["result"], "failed", "{failed}");
    let queued = client.get("Restart", json!({ "unit": "web.service", "wait": false }));
    assert_eq!(queued["result"], "queued");
    rinit.wait_start("web", "ExecStart");
    rinit.terminate().assert_code(0);
}

#[test]
fn with_more_a_job_tells_its_progress() {
    let (rinit, mut client) = start(controlled().service("web", "wait", ""));
    client.send_call("Restart", unit("web.service"), true);
    let mut states = Vec::new();
    let last = loop {
        let (answer, continues) = client.answer().unwrap();
        let parameters = answer.unwrap();
        if !continues {
            break parameters;
        }
        if parameters["event"]["event"] == "state" {
            states.push(parameters["event"]["to"].as_str().unwrap().to_string());
        }
    };
    assert_eq!((&last["result"], &last["event"]), (&json!("done"), &Value::Null));
    assert_eq!(states, ["stop-sigterm", "dead", "condition", "start", "running"]);
    rinit.terminate().assert_code(0);
}

/// Every one of many clients that want contrary things is told one end.
#[test]
fn contrary_jobs_are_all_answered() {
    let web = format!(
        "{NO_ACTION}[Service]\nTimeoutStopSec = \"100ms\"\n\
        ExecStart = \"@probe@ ignore TERM say up wait\"\n"
    );
    let (mut rinit, _client) = start(controlled().unit("web", &web));
    rinit.wait_line("up");
    let mut clients: Vec<Varlink> = (0..12).map(|_| client(&mut rinit)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        let method = ["Restart", "Restart", "Stop", "Start"][at % 4];
        client.send_call(method, unit("web.service"), false);
    }
    let results: Vec<String> = clients
        .iter_mut()
        .map(|client| match client.answer().unwrap().0 {
            Ok(reply) => reply["result"].as_str().unwrap().to_string(),
            Err((name, _)) => name,
        })
        .collect();
    let known = ["done", "canceled", "failed", "Refused"];
    assert!(results.iter().all(|result| known.contains(&result.as_str())), "{results:?}");
    for client in &mut clients {
        client.get("SystemState", json!({})); // and nothing came after the one reply
    }
    rinit.terminate();
}

#[test]
fn who_comes_late_hears_what_was() {
    let (mut rinit, mut late) = start(controlled().service("web", "say up wait", ""));
    rinit.wait_start("web", "ExecStart");
    late.listen(json!({ "unit": "web.service", "recent": true }));
    let first = late.event();
    assert_eq!((&first["event"], &first["from"]), (&json!("state"), &json!("dead")));
    let mut other = client(&mut rinit);
    other.get("Kill", json!({ "unit": "web.service", "signal": "KILL" }));
    let exit = loop {
        let event = late.event();
        assert_eq!(event["unit"], "web.service");
        if event["event"] == "exit" {
            break event;
        }
    };
    assert_eq!((&exit["code"], &exit["status"]), (&json!("killed"), &json!("KILL")));
    // The keys are those of --log-format json, and in the same order.
    let logged = rinit.wait_event("the exit", |event| event.is("exit", "web"));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&exit), keys(&logged.0));
    rinit.wait();
}

#[test]
fn units_read_again_change_only_what_changed() {
    let one = "[Service]\nExecStart = \"@probe@ wait\"\n";
    let rinit = controlled().unit("web", one).unit("db", one).unit("old", one);
    let (directory, other) =
        (rinit.units_directory(), rinit.substitute("[Service]\nExecStart = \"@probe@ ok wait\"\n"));
    let (mut rinit, mut client) = start(rinit);
    let pids = |client: &mut Varlink| -> Vec<i64> {
        let list = client.get("List", json!({}));
        let names = list["units"].as_array().unwrap().iter().map(|entry| entry["unit"].clone());
        names
            .map(|name| {
                let got = client.get("Describe", json!({ "unit": name }));
                got["properties"]["MainPID"].as_i64().unwrap()
            })
            .collect()
    };
    let before = pids(&mut client);
    assert_eq!(client.get("Apply", json!({}))["changes"], json!([]));
    assert_eq!(pids(&mut client), before);

    fs::write(directory.join("web.toml"), "[Service]\nExecStart = 'x\n").unwrap();
    for method in ["DaemonReload", "Apply"] {
        let (name, parameters) = client.error(method, json!({}));
        assert_eq!(name, "InvalidUnits");
        let problem = &parameters["problems"][0];
        assert_eq!((&problem["severity"], &problem["line"]), (&json!("error"), &json!(2)));
        assert!(problem["text"].as_str().unwrap().contains("ExecStart = 'x"), "{problem}");
    }
    assert_eq!(pids(&mut client), before);

    fs::write(directory.join("web.toml"), &other).unwrap();
    fs::write(directory.join("new.toml"), &other).unwrap();
    fs::remove_file(directory.join("old.toml")).unwrap();
    assert_eq!(client.get("DaemonReload", json!({}))["problems"], json!([]));
    let planned = client.get("Apply", json!({ "dry_run": true }))["changes"].clone();
    let plan: Vec<(&str, &str)> = planned
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["unit"].as_str().unwrap(), change["action"].as_str().unwrap()))
        .collect();
    assert!(plan.contains(&("web.service", "restart")), "{plan:?}");
    assert!(plan.contains(&("old.service", "stop")), "{plan:?}");
    client.get("Apply", json!({}));
    rinit.wait_state("old", "dead");
    rinit.wait_start("web", "ExecStart");
    let list = client.get("List", json!({}));
    let names: Vec<&str> =
        list["units"].as_array().unwrap().iter().map(|u| u["unit"].as_str().unwrap()).collect();
    assert_eq!(names[0], "db.service");
    let db = client.get("Describe", unit("db.service"));
    assert_eq!(db["properties"]["MainPID"].as_i64(), Some(before[0]), "db was not touched");
    rinit.terminate().assert_code(0);
}

#[test]
fn hangup_reads_the_units_again() {
    let rinit = controlled().service("web", "say up wait", "");
    let file = rinit.units_directory().join("web.toml");
    let text = rinit.substitute(
        "[Unit]\nDescription = \"new\"\n[Service]\nExecStart = \"@probe@ say up wait\"\n",
    );
    let (mut rinit, mut client) = start(rinit);
    rinit.wait_line("up"); // it may not be the program yet, and take the signal as its end
    let description = |client: &mut Varlink| {
        client.get("Describe", unit("web.service"))["properties"]["Description"].clone()
    };
    fs::write(&file, "[Service\n").unwrap();
    rinit.signal(libc::SIGHUP);
    rinit.wait_message("reload: the units have errors");
    assert_eq!(description(&mut client), "web.service");
    fs::write(&file, text).unwrap();
    rinit.signal(libc::SIGHUP);
    rinit.wait_message("reload: 1 unit");
    assert_eq!(description(&mut client), "new");
    rinit.terminate().assert_code(0);
}

#[test]
fn shutdown_is_answered_and_ends_everything() {
    let (rinit, mut client) = start(controlled().service("web", "wait", ""));
    assert_eq!(client.get("Shutdown", json!({})), json!({}));
    assert_eq!(client.receive(), None);
    let outcome = rinit.wait();
    outcome.assert_code(0);
    assert!(!outcome.path("control").exists(), "the socket is left behind");
}

#[test]
fn bad_messages_are_answered_or_cut() {
    let (mut rinit, mut owner) = start(controlled().service("web", "wait", ""));
    for (bytes, name) in [
        (&b"nonsense\0"[..], "Refused"),
        (b"\0", "Refused"),
        (b"[]\0", "Refused"),
        (b"{}\0", "InvalidParameter"),
        (b"{\"method\":7}\0", "InvalidParameter"),
        (b"{\"method\":\"\"}\0", "MethodNotFound"),
        (b"\xff\xfe\0", "Refused"),
    ] {
        let mut client = client(&mut rinit);
        client.send(bytes).unwrap();
        let (answer, _) = client.answer().unwrap();
        assert_eq!(answer.unwrap_err().0, name, "{bytes:?}");
    }
    let mut endless = client(&mut rinit);
    // It is closed in the middle of this.
    while endless.send(&[b'x'; 65536]).is_ok() {}
    let (answer, _) = endless.answer().unwrap();
    assert_eq!(answer.unwrap_err().1["reason"], "a message may have 65536 bytes");
    assert_eq!(endless.receive(), None);
    owner.get("List", json!({}));
    rinit.terminate().assert_code(0);
}

#[test]
fn odd_clients_get_what_they_asked_for() {
    let (mut rinit, mut owner) = start(controlled().service("web", "wait", ""));
    // Many calls at once, byte by byte, the last without reading on.
    let mut client = client(&mut rinit);
    let call = message("SystemState", json!({}), false);
    for byte in &call {
        client.send(&[*byte]).unwrap();
    }
    client.send(&call.repeat(100)).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..101 {
        assert_eq!(client.answer().unwrap().0.unwrap()["state"], "running");
    }
    assert_eq!(client.receive(), None);
    // No reply to oneway, not even to nonsense; the next call has its own.
    for method in ["Stop", "Lost"] {
        let call = json!({
            "method": format!("io.rinit.Manager.{method}"),
            "parameters": { "unit": "web.service" },
            "oneway": true,
        });
        owner.send(format!("{call}\0").as_bytes()).unwrap();
    }
    rinit.wait_state("web", "dead");
    assert_eq!(owner.get("SystemState", json!({}))["state"], "running");
    // Who asks and leaves is obeyed.
    let mut gone = self::client(&mut rinit);
    gone.send_call("Start", unit("web.service"), false);
    drop(gone);
    rinit.wait_state("web", "running");
    rinit.terminate().assert_code(0);
}

#[test]
fn the_socket_is_the_owners_alone() {
    require!("root");
    let (mut rinit, mut owner) = start(controlled().service("web", "wait", ""));
    let path = rinit.path("control");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let connect = path.clone();
    let refused = as_user(4242, 4242, &[], move || Varlink::connect(&connect).err());
    assert!(refused.is_some(), "the file keeps strangers out");
    // Even if somebody opens the file to all.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let answer = as_user(4242, 4242, &[], move || {
        let mut client = Varlink::connect(&path).unwrap();
        // The other side may have closed already.
        let _ = client.send(&message("List", json!({}), false));
        let answer = client.answer().unwrap().0;
        assert_eq!(client.receive(), None);
        answer
    });
    let (name, parameters) = answer.unwrap_err();
    assert_eq!(name, "PermissionDenied");
    assert_eq!(parameters["reason"], "uid 4242 may not control this rinit");
    rinit.wait_message("uid 4242");
    owner.get("List", json!({}));
    rinit.terminate().assert_code(0);
}

#[test]
fn a_group_can_be_let_in() {
    require!("root");
    let manager = "[Manager]\nControlSocketGroup = 4343\n";
    let (rinit, _) = start(controlled().unit("rinit", manager).service("web", "wait", ""));
    let path = rinit.path("control");
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, 4343));
    for (gid, groups) in [(4343, &[][..]), (4242, &[7, 4343][..])] {
        let path = path.clone();
        let answer = as_user(4242, gid, groups, move || {
            Varlink::connect(&path).unwrap().call("SystemState", json!({}))
        });
        assert!(answer.is_ok(), "{gid} {groups:?}: {answer:?}");
    }
    rinit.terminate().assert_code(0);
}

/// Does something in a thread that is another user: the raw calls change only the thread.
fn as_user<T: Send + 'static>(
    uid: u32,
    gid: u32,
    groups: &'static [u32],
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = std::thread::spawn(move || {
        // SAFETY: plain numbers, and a list that lives for ever with its length.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()), 0);
            assert_eq!(libc::syscall(libc::SYS_setresgid, gid, gid, gid), 0);
            assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
        }
        act()
    });
    thread.join().unwrap()
}

#[test]
fn a_named_socket_must_be_had() {
    let rinit = controlled().service("web", "wait", "");
    let path = rinit.path("control");
    let _listener = UnixListener::bind(&path).unwrap();
    let outcome = rinit.run();
    outcome.assert_code(71).assert(outcome.n_starts("web") == 0, "nothing was started");
    let why = outcome.events().any(|event| event.text("message").contains("is busy"));
    outcome.assert(why, "it says why");

    let outcome = Rinit::subreaper()
        .service("web", "wait", "")
        .options(&["--socket", "/nowhere/control"])
        .run();
    outcome.assert_code(71);
}

#[test]
fn a_stale_socket_is_replaced() {
    let rinit = controlled().service("web", "wait", "");
    drop(UnixListener::bind(rinit.path("control")).unwrap());
    let (rinit, mut client) = start(rinit);
    client.get("List", json!({}));
    rinit.terminate().assert_code(0);
}

#[test]
fn the_default_place_is_found() {
    let rinit = Rinit::subreaper().service("web", "wait", "").env("RINIT_SOCKET", "");
    let rinit = rinit.env("XDG_RUNTIME_DIR", "@dir@");
    let mut rinit = rinit.start();
    let said = rinit.wait_message("control socket");
    let said = said.text("message");
    // /run/rinit, unless somebody is there already or it cannot be written to.
    assert!(said.contains("io.rinit.Manager"), "{said}");
    rinit.terminate().assert_code(0);
}

/// A COMMAND that finds another rinit at the default place runs without control, and says so.
#[test]
fn a_busy_default_is_one_warning() {
    require!("user namespace");
    let rinit = Rinit::pid1().launch(&["--read-only", "/run"]).env("RINIT_SOCKET", "");
    let rinit = rinit.env("XDG_RUNTIME_DIR", "@dir@").command_probe("wait");
    let directory = rinit.path("rinit");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    let _listener = UnixListener::bind(directory.join("io.rinit.Manager")).unwrap();
    let mut rinit = rinit.start();
    let said = rinit.wait_message("no control socket: ");
    let why = "is busy: another rinit listens there; rinitctl cannot reach this rinit";
    assert!(said.text("message").contains(why), "{}", said.text("message"));
    assert_eq!(said.text("level"), "warn", "which a COMMAND's caller sees");
    rinit.terminate().assert_code(143);
}

/// Without any place for a socket a unit's operator is told what to give; a bare COMMAND is not.
#[test]
fn no_place_for_the_default_is_told_with_what_to_give() {
    require!("user namespace");
    let rinit = || Rinit::pid1().launch(&["--read-only", "/"]).env("RINIT_SOCKET", "");
    for (setup, level, code) in [
        (rinit().service("web", "wait", ""), "warn", 0),
        (rinit().command_probe("wait"), "info", 143),
    ] {
        let mut rinit = setup.start();
        let said = rinit.wait_message("no control socket: no place for it: ");
        let fix = "cannot reach this rinit: give --socket PATH, or a writable /run or /tmp";
        assert!(said.text("message").contains(fix), "{}", said.text("message"));
        assert_eq!(said.text("level"), level);
        rinit.terminate().assert_code(code);
    }
}

#[test]
fn no_socket_if_none_is_wanted() {
    let rinit = Rinit::subreaper().service("web", "wait", "").options(&["--socket", "none"]);
    let mut rinit = rinit.start();
    rinit.wait_start("web", "ExecStart");
    let outcome = rinit.terminate();
    let said = outcome.events().any(|event| event.text("message").contains("control socket"));
    outcome.assert_code(0).assert(!said, "not a word of it");
}

/// The virtualenv that `integration/setup.sh` makes.
fn python() -> Result<PathBuf, String> {
    let python = tools::repository().join("target/varlink-venv/bin/python");
    let works = Command::new(&python).args(["-c", "import varlink"]).output();
    match works {
        Ok(output) if output.status.success() => Ok(python),
        Ok(_) | Err(_) => Err(format!("{} has no varlink package", python.display())),
    }
}

const FOREIGN_CLIENT: &str = r#"
import sys, varlink
with varlink.Client("unix:" + sys.argv[1]) as client:
    interface = client.get_interface("io.rinit.Manager")
    text = interface.get_description()
    print(sorted(client.get_interfaces()) if hasattr(client, "get_interfaces") else "")
    with client.open("io.rinit.Manager") as rinit:
        for entry in rinit.List()["units"]:
            print("unit", entry["unit"], entry["active"], entry["sub"])
        print("pid", rinit.Describe("web.service")["properties"]["MainPID"])
        try:
            rinit.Start("wbe.service")
        except varlink.VarlinkError as error:
            print("error", error.error(), error.parameters()["suggestion"])
        print("stop", rinit.Stop("web.service")["result"])
    with client.open("io.rinit.Manager") as rinit:
        for reply in rinit.Events(unit="web.service", recent=True, _more=True):
            event = reply["event"]
            print("event", event["event"], event.get("to"))
            if event.get("to") == "dead":
                break
"#;

#[test]
fn a_foreign_client_understands() {
    let Some(python) = tools::need(python()) else { return };
    let (mut rinit, _) = start(controlled().service("web", "say up wait", ""));
    rinit.wait_line("up");
    let output =
        Command::new(python).args(["-c", FOREIGN_CLIENT]).arg(rinit.path("control")).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(&output.stderr);
    for line in [
        "unit web.service active running",
        "error io.rinit.Manager.NoSuchUnit web.service",
        "stop done",
        "event state running",
        "event exit None",
        "event state dead",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
    assert!(output.status.success());
    rinit.terminate().assert_code(0);
}
