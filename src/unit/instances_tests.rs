//! Instances made from whole units, and the arithmetic of `Instances=auto`.

use std::path::PathBuf;
use std::sync::Arc;

use super::directive::UnitDefaults;
use super::health::HealthCheck;
use super::instances::*;
use super::problem::{Problem, SourceFile};
use super::rolling::Instances;
use super::specifier::HostFacts;
use super::{StartedBy, Unit, build, toml};

fn read(text: &str) -> (Unit, Vec<Problem>) {
    let file = Arc::new(SourceFile { path: PathBuf::from("web.toml"), text: text.to_string() });
    let (raw, mut problems) = toml::read(&file);
    let files = [raw];
    let name = build::unit_name("web", &files).unwrap();
    let defaults = UnitDefaults::default();
    let draft = build::build(name, &files, &defaults, &HostFacts::default(), &mut problems);
    (draft.unit, problems)
}

const MARKED: &str = r#"
[Unit]
Description = "worker %i of %p"
After = "db.service"
ConditionPathExists = "/x"
FailureAction = "exit"
[Service]
ExecStart = "/srv/%i/app --port 800%i --name %n %%i"
ExecStop = "/stop %N"
Instances = 3
User = "w%i"
WorkingDirectory = "-/srv/%i"
Environment = { PORT = "800%i", PLAIN = "1" }
EnvironmentFile = "/etc/app-%i.env"
StandardOutput = "append:/log/%i"
PIDFile = "web-%i.pid"
UnsetEnvironment = "X%i"
[Health]
Http = "http://127.0.0.1:800%i/healthz?%i"
"#;

#[test]
fn every_text_gets_the_number() {
    let (unit, problems) = read(MARKED);
    assert_eq!(problems, []);
    assert_eq!(unit.description, "worker * of web");
    let two = instance(&unit, 2);
    assert!(!format!("{two:?}").contains(MARK) && !format!("{two:?}").contains("fdd0"), "{two:?}");
    assert!(format!("{unit:?}").contains("fdd0"));
    assert_eq!(two.name.as_str(), "web@2.service");
    assert_eq!(two.description, "worker 2 of web");
    let start = &two.service.exec_start[0];
    assert_eq!(start.program, "/srv/2/app");
    assert_eq!(start.arguments, ["--port", "8002", "--name", "web@2.service", "%i"]);
    assert_eq!(two.service.exec_stop[0].arguments, ["web@2"]);
    assert_eq!(two.service.exec.user.as_deref(), Some("w2"));
    assert_eq!(two.service.exec.environment[0], ("PORT".to_string(), "8002".to_string()));
    assert_eq!(two.service.pid_file.as_deref(), Some("/run/web-2.pid"));
    let health = two.service.health.as_ref().unwrap();
    let (host, path) = ("127.0.0.1".to_string(), "/healthz?2".to_string());
    assert_eq!(health.check, Some(HealthCheck::HttpUrl { host, port: 8002, path }));
}

#[test]
fn each_instance_waits_for_its_own_line() {
    let text = "[Service]\nExecStart = '/srv/app'\nInstances = 2\nReadyLogPattern = 'on :800%i$'\n";
    let (unit, problems) = read(text);
    assert_eq!(problems, []);
    assert_eq!(instance(&unit, 2).service.ready_log_pattern.as_deref(), Some("on :8002$"));
}

#[test]
fn an_instance_needs_nothing_and_decides_nothing() {
    let (unit, _) = read(MARKED);
    assert_eq!((unit.after.len(), unit.conditions.len()), (1, 1));
    let one = instance(&unit, 1);
    assert_eq!((one.after.len(), one.requires.len(), one.wants.len()), (0, 0, 0));
    assert_eq!((one.conditions.len(), one.asserts.len()), (0, 0));
    assert_eq!(one.failure_action, super::service::ExitAction::None);
    assert_eq!(one.started_by, StartedBy::Demand);
    assert_eq!(one.instance_of, Some(unit.name.clone()));
    assert_eq!((one.service.instances, one.is_on_demand()), (None, false));
}

#[test]
fn what_is_the_same_for_all_is_kept_once() {
    let (unit, problems) = read("[Service]\nExecStart = 'app %p'\nInstances = 2\nNice = 3\n");
    assert_eq!(problems, []);
    let two = instance(&unit, 2);
    assert!(std::ptr::eq(&*unit.service.exec_start, &*two.service.exec_start));
    assert!(std::ptr::eq(&*unit.service.exec, &*two.service.exec));
    let (unit, _) = read("[Service]\nExecStart = 'app %i'\nInstances = 2\nNice = 3\n");
    let two = instance(&unit, 2);
    assert!(!std::ptr::eq(&*unit.service.exec_start, &*two.service.exec_start));
    assert!(std::ptr::eq(&*unit.service.exec, &*two.service.exec));
}

#[test]
fn auto_is_the_least_of_what_there_is() {
    let quota = |quota| Some(CpuQuota { quota, period: 100_000 });
    let gib = 1 << 30;
    for (quota, affinity, memory, each, count, text) in [
        (
            quota(150_000),
            4,
            None,
            None,
            2,
            "auto: min(2 CPUs by cpu.max 150%, 4 CPUs by affinity) = 2",
        ),
        (None, 4, None, None, 4, "auto: 4 CPUs by affinity = 4"),
        (None, 1, None, Some(gib), 1, "auto: 1 CPU by affinity = 1"),
        (
            quota(10_000),
            160,
            None,
            None,
            1,
            "auto: min(1 CPU by cpu.max 10%, 160 CPUs by affinity) = 1",
        ),
        (
            None,
            8,
            Some(2 * gib),
            Some(gib / 2),
            3,
            "auto: min(8 CPUs by affinity, 3 by memory, (2048M - 64M) / 512M) = 3",
        ),
        (
            None,
            8,
            Some(gib / 16),
            Some(gib),
            1,
            "auto: min(8 CPUs by affinity, 0 by memory, (64M - 64M) / 1024M) = 1, for there is \
             always one",
        ),
        (None, 0, None, None, 1, "auto: 1 CPU by affinity = 1"),
    ] {
        let capacity = Capacity { quota, affinity, memory };
        assert_eq!(resolve(Instances::Auto, &capacity, each), (count, text.to_string()));
    }
    let capacity = Capacity { quota: None, affinity: 1, memory: None };
    assert_eq!(resolve(Instances::Count(7), &capacity, None), (7, "Instances=7".to_string()));
}

#[test]
fn what_the_kernel_says() {
    let quota = |quota, period| Some(CpuQuota { quota, period });
    assert_eq!(parse_cpu_max("150000 100000\n"), quota(150_000, 100_000));
    for text in ["max 100000\n", "", "1", "0 100000", "5 0", "x y"] {
        assert_eq!(parse_cpu_max(text), None, "{text}");
    }
    assert_eq!(parse_cfs_quota("50000\n", "100000\n"), quota(50_000, 100_000));
    assert_eq!(parse_cfs_quota("-1\n", "100000\n"), None);
    assert_eq!(parse_memory_max("536870912\n"), Some(512 << 20));
    for text in ["max\n", "9223372036854771712\n", "", "x"] {
        assert_eq!(parse_memory_max(text), None, "{text}");
    }
}
