//! Tables for `spawn_plan`.

use std::sync::Arc;

use super::*;
use crate::manager::event::{InvocationId, Monitor, ProcessId};
use crate::unit::process::Signal;
use crate::unit::service::{EnvironmentFile, WorkingDirectory};

fn spawner() -> Spawner {
    let inherited = [
        ("PATH", "/opt/bin:relative::/usr/bin/"),
        ("KEPT", "1"),
        ("NOTIFY_SOCKET", "/run/n"),
        ("WATCHDOG_USEC", "1"),
        ("LISTEN_FDS", "1"),
        ("LISTENER", "kept"),
    ];
    let inherited = inherited.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Spawner {
        environment: inheritable(inherited),
        directory: Some(c"/app".into()),
        words: Vec::new(),
        umask: 0o027,
        oom_protected: false,
        open_files: None,
        command: Some(UnitName::parse("main.service").unwrap()),
        controlled: true,
        terminal: Some(0),
    }
}

fn request(name: &str, change: impl FnOnce(&mut Unit)) -> SpawnRequest {
    let mut unit = Unit::new(UnitName::parse(name).unwrap());
    let argv = vec!["server".to_owned(), "--port".to_owned()];
    unit.service.exec_start = vec![ExecCommand::from_argv(argv).unwrap()].into();
    change(&mut unit);
    SpawnRequest {
        process: ProcessId(1),
        unit: Arc::new(unit),
        role: ProcessRole::ExecStart,
        index: 0,
        invocation: InvocationId(0xab),
        main: None,
        result: None,
        monitor: None,
    }
}

fn variables(plan: &ExecPlan) -> Vec<&str> {
    plan.envp.iter().map(|entry| entry.to_str().unwrap()).collect()
}

const INVOCATION: &str = "INVOCATION_ID=000000000000000000000000000000ab";

#[test]
fn the_environment_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    std::fs::write(&file, "B=file\nC=file\nexport D=file\n").unwrap();
    let mut request = request("web.service", |unit| {
        let exec = &mut unit.service.exec;
        exec.environment = ["KEPT", "B", "D"].map(|name| (name.into(), "unit".into())).to_vec();
        exec.environment_files = vec![
            EnvironmentFile { path: "/nope/*.env".into(), optional: true },
            EnvironmentFile { path: file.to_str().unwrap().into(), optional: false },
        ];
        exec.unset_environment = vec!["D".into(), "PATH".into()];
    });
    let mut wrong = Vec::new();
    let plan = spawner().plan(&request, Some(77), &Passed::default(), &mut wrong).unwrap();
    let told = format!("{}:3: `export`", file.display());
    assert!(wrong.len() == 1 && wrong.iter().all(|it| it.starts_with(&told)), "{wrong:?}");
    let expected = ["B=file", "C=file", INVOCATION, "KEPT=unit", "LISTENER=kept", "MAINPID=77"];
    assert_eq!(variables(&plan), expected);
    assert_eq!(plan.argv, [c"server".into(), CString::from(c"--port")]);

    let killed = ExitStatus::Killed { signal: Signal::KILL, core_dumped: true };
    request.result = Some((ServiceResult::CoreDump, Some(killed)));
    request.monitor = Some(Monitor {
        unit: UnitName::parse("db.service").unwrap(),
        invocation: InvocationId(1),
        result: ServiceResult::ExitCode,
        exit: Some(ExitStatus::Exited(3)),
    });
    let plan = spawner().plan(&request, None, &Passed::default(), &mut Vec::new()).unwrap();
    for entry in [
        "SERVICE_RESULT=core-dump",
        "EXIT_CODE=dumped",
        "EXIT_STATUS=KILL",
        "MONITOR_SERVICE_RESULT=exit-code",
        "MONITOR_EXIT_CODE=exited",
        "MONITOR_EXIT_STATUS=3",
        "MONITOR_UNIT=db.service",
        "MONITOR_INVOCATION_ID=00000000000000000000000000000001",
    ] {
        assert!(variables(&plan).contains(&entry), "{entry}");
    }
}

#[test]
fn where_a_bare_name_is_searched() {
    let searched = |change: fn(&mut Unit)| {
        let plan = spawner()
            .plan(&request("web.service", change), None, &Passed::default(), &mut Vec::new())
            .unwrap();
        plan.candidates.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(searched(|_| ()), ["/opt/bin/server", "/usr/bin/server"]);
    let own = |unit: &mut Unit| {
        unit.service.exec.environment = vec![("PATH".into(), "/own".into())];
    };
    assert_eq!(searched(own), ["/own/server"]);
    let search_path =
        |unit: &mut Unit| unit.service.exec.exec_search_path = vec!["/a".into(), "/b".into()];
    assert_eq!(searched(search_path), ["/a/server", "/b/server"]);
    let absolute = |unit: &mut Unit| {
        let command = ExecCommand::from_argv(vec!["/bin/x".into()]).unwrap();
        unit.service.exec_start = vec![command].into();
    };
    assert_eq!(searched(absolute), ["/bin/x"]);
}

#[test]
fn a_unit_and_the_command() {
    let unit = spawner()
        .plan(&request("web.service", |_| ()), None, &Passed::default(), &mut Vec::new())
        .unwrap();
    assert_eq!(unit.grouping, Grouping::Session);
    assert_eq!(unit.stdio[0], open("/dev/null", libc::O_RDONLY).unwrap());
    assert_eq!(unit.stdio[1..], [Stdio::Inherit, Stdio::Inherit]);
    assert_eq!(unit.failure_code, FailureCode::Stage);
    assert_eq!(unit.directory, Directory::Inherited(Some(c"/app".into())));
    assert_eq!((unit.umask, unit.oom_score_adjust), (0o027, None));

    let command = spawner()
        .plan(&request("main.service", |_| ()), None, &Passed::default(), &mut Vec::new())
        .unwrap();
    assert_eq!(command.grouping, Grouping::Group { terminal: Some(0) });
    assert_eq!(command.stdio, [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit]);
    assert_eq!(command.failure_code, FailureCode::Shell);

    let mut protected = spawner();
    protected.oom_protected = true;
    let plan = protected
        .plan(&request("web.service", |_| ()), None, &Passed::default(), &mut Vec::new())
        .unwrap();
    assert_eq!(plan.oom_score_adjust, Some((c"0".into(), false)));
}

#[test]
fn where_the_streams_lead() {
    let streams = |output: Option<StandardStream>, error: Option<StandardStream>| {
        let request = request("web.service", |unit| {
            unit.service.exec.standard_output = output;
            unit.service.exec.standard_error = error;
        });
        let [_, output, error] =
            spawner().plan(&request, None, &Passed::default(), &mut Vec::new()).unwrap().stdio;
        (output, error)
    };
    let append = Some(StandardStream::Append("/log".into()));
    let opened = open("/log", libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND).unwrap();
    assert_eq!(streams(append.clone(), None), (opened.clone(), Stdio::AsOutput));
    assert_eq!(streams(append.clone(), append.clone()), (opened.clone(), Stdio::AsOutput));
    assert_eq!(streams(None, append), (Stdio::Inherit, opened));
    let inherit = Some(StandardStream::Inherit);
    assert_eq!(streams(inherit.clone(), inherit), (Stdio::Inherit, Stdio::AsOutput));
    let captured = |change: fn(&mut ExecContext)| {
        let request = request("web.service", |unit| change(&mut unit.service.exec));
        let (output, error) = spawner().captured(&request.unit);
        let captured = Ends { output: output.then_some(70), error: error.then_some(71) };
        let passed = Passed { captured, ..Passed::default() };
        let [_, output, error] =
            spawner().plan(&request, None, &passed, &mut Vec::new()).unwrap().stdio;
        (output, error)
    };
    let (pipe, other) = (Stdio::Descriptor(70), Stdio::Descriptor(71));
    assert_eq!(captured(|_| ()), (pipe.clone(), other.clone()));
    assert_eq!(
        captured(|exec| exec.standard_error = Some(StandardStream::Inherit)),
        (pipe, Stdio::AsOutput)
    );
    assert_eq!(
        captured(|exec| {
            exec.standard_output = Some(StandardStream::Inherit);
            exec.standard_error = Some(StandardStream::Journal);
        }),
        (Stdio::Inherit, other)
    );
    let inherited = (Stdio::Inherit, Stdio::Inherit);
    assert_eq!(captured(|exec| exec.standard_input = Some(StandardStream::Inherit)), inherited);
    let null = open("/dev/null", libc::O_WRONLY).unwrap();
    assert_eq!(streams(None, Some(StandardStream::Null)), (Stdio::Inherit, null));
}

#[test]
fn users_and_prefixes() {
    let as_user = |change: fn(&mut ExecCommand)| {
        let request = request("web.service", |unit| {
            let exec = &mut unit.service.exec;
            (exec.user, exec.supplementary_groups) = (Some("12345".into()), vec!["7".into()]);
            exec.working_directory = Some(WorkingDirectory { path: "~".into(), optional: true });
            unit.service.exec_start.iter_mut().for_each(change);
        });
        spawner().plan(&request, None, &Passed::default(), &mut Vec::new()).unwrap()
    };
    let plan = as_user(|_| ());
    let groups = Some(vec![7, 12345]);
    assert_eq!(plan.identity, Identity { groups, gid: Some(12345), uid: Some(12345) });
    assert!(variables(&plan).contains(&"USER=12345"));
    assert_eq!(plan.directory, Directory::Declared { path: c"/".into(), optional: true });
    assert_eq!(as_user(|c| c.full_privileges = true).identity, Identity::default());
    assert_eq!(as_user(|c| c.no_setuid = true).identity, Identity::default());
}

#[test]
fn what_is_not_there_is_named() {
    type Change = fn(&mut Unit);
    let cases: [(Change, ExecStage, &str); 5] = [
        (
            |unit| unit.service.exec.user = Some("no-such-user".into()),
            ExecStage::User,
            "User=no-such-user: no such user in /etc/passwd",
        ),
        (
            |unit| unit.service.exec.group = Some("no-such-group".into()),
            ExecStage::Group,
            "Group=no-such-group: no such group in /etc/group",
        ),
        (
            |unit| {
                let file = EnvironmentFile { path: "/nope.env".into(), optional: false };
                unit.service.exec.environment_files = vec![file];
            },
            ExecStage::Exec,
            "EnvironmentFile=/nope.env: No such file or directory",
        ),
        (
            |unit| {
                let file = EnvironmentFile { path: "/dev/zero".into(), optional: false };
                unit.service.exec.environment_files = vec![file];
            },
            ExecStage::Exec,
            "EnvironmentFile=/dev/zero: it is not a regular file",
        ),
        (|unit| unit.service.exec_start.clear(), ExecStage::Exec, "ExecStart: no command 0"),
    ];
    for (change, stage, message) in cases {
        let error = spawner()
            .plan(&request("web.service", change), None, &Passed::default(), &mut Vec::new())
            .unwrap_err();
        assert_eq!((error.stage, error.message.as_str()), (stage, message));
    }
}
