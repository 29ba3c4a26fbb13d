//! (tests) Units that say what they may use: what is read, what is wrong.

use expect_test::expect;

use super::resources::{Amount, MemoryEnforce, MemoryHighAction, OomPolicy, Resources};
use super::verify_tests::{check_problems, read};
use super::{UnitName, UnitSet};

fn resources(units: &UnitSet, name: &str) -> Resources {
    let unit = units.get(&UnitName::parse(name).unwrap()).unwrap();
    unit.service.resources.as_deref().cloned().unwrap_or_default()
}

#[test]
fn everything_that_can_be_said() {
    let text = r#"
[Service]
ExecStart = "/bin/app"
MemoryMax = "512M"
MemoryHigh = "25%"
MemorySwapMax = "infinity"
MemoryMin = "1M"
MemoryLow = 4096
MemoryEnforce = "cgroup"
MemoryHighAction = "recycle"
MemoryKSM = true
OOMPolicy = "stop"
TasksMax = 100
CPUQuota = "150%"
CPUWeight = 50
IOWeight = 200
Slice = "app.slice"
"#;
    let slice = "[Slice]\nMemoryMax = \"2G\"\nTasksMax = 7";
    let (units, problems) = read(&[("web", text), ("app", slice)], None);
    assert_eq!(problems, []);
    let mut read = resources(&units, "web.service");
    let slice = read.slice.take().unwrap();
    assert_eq!(slice.name.as_str(), "app.slice");
    let expected = Resources {
        memory_max: Some(Amount::Bytes(512 << 20)),
        memory_high: Some(Amount::Share(2500)),
        memory_swap_max: None,
        swaps: true,
        memory_min: Some(Amount::Bytes(1 << 20)),
        memory_low: Some(Amount::Bytes(4096)),
        enforce: MemoryEnforce::Cgroup,
        high_action: MemoryHighAction::Recycle,
        memory_ksm: true,
        oom_policy: OomPolicy::Stop,
        tasks_max: Some(100),
        cpu_quota: Some(std::time::Duration::from_millis(1500)),
        cpu_weight: Some(50),
        io_weight: Some(200),
        slice: None,
    };
    assert_eq!(read, expected);
    let names: Vec<&str> = units.units.keys().map(UnitName::as_str).collect();
    assert_eq!(names, ["web.service"], "a slice is nothing that runs");
    let app = units.slices.get(&slice.name).unwrap();
    assert_eq!(app.resources.memory_max, Some(Amount::Bytes(2 << 30)));
    assert_eq!(app.resources.tasks_max, Some(7));
}

#[test]
fn what_is_wrong() {
    check_problems(
        &[
            (
                "web",
                r#"[Service]
ExecStart = "/bin/app"
MemoryMax = "0"
MemoryHigh = "120%"
MemoryHighAction = "recycle"
MemoryEnforce = "hard"
TasksMax = 0
CPUQuota = "50"
CPUWeight = 0
Slice = "web.service"
"#,
            ),
            (
                "db",
                r#"[Service]
ExecStart = "/bin/db"
MemoryMax = "512M"
MemoryHigh = "1G"
Slice = "ap.slice"

[Slice]
MemoryMax = "1G"
"#,
            ),
            ("app", "[Slice]\nMemoryEnforce = \"none\"\n"),
        ],
        expect![[r#"
            error: unknown directive MemoryEnforce in [Slice]
             --> app.toml:2:1
              |
            2 | MemoryEnforce = "none"
              | ^^^^^^^^^^^^^
              |
              = help: MemoryEnforce belongs to [Service]

            warning: MemoryHigh of db.service is not below its MemoryMax, so it never acts
             --> db.toml:4:14
              |
            4 | MemoryHigh = "1G"
              |              ^^^^
              |
             ::: db.toml:8:13
              |
            8 | MemoryMax = "1G"
              |             ---- MemoryMax

            warning: ap.slice is not defined, so it limits nothing
             --> db.toml:5:10
              |
            5 | Slice = "ap.slice"
              |          ^^^^^^^^
              |
              = help: did you mean app.slice?

            error: [Slice] stands in the file of db.service, which is a service
             --> db.toml:7:2
              |
            7 | [Slice]
              |  ^^^^^
              |
              = help: a slice has a file of its own; Slice = "NAME.slice" puts the service in it

            error: MemoryMax: with a limit of 0 nothing can run
             --> web.toml:3:13
              |
            3 | MemoryMax = "0"
              |             ^^^
              |
              = help: MemoryMax takes a size such as "512M"

            error: MemoryHigh: "120%" is no share of the memory
             --> web.toml:4:14
              |
            4 | MemoryHigh = "120%"
              |              ^^^^^^
              |
              = help: 0% to 100%, with at most two decimals, such as 25% or 12.5%

            error: MemoryHighAction=recycle needs MemoryHigh, which web.service has not
             --> web.toml:5:20
              |
            5 | MemoryHighAction = "recycle"
              |                    ^^^^^^^^^
              |
              = help: say from where on it is to be replaced: MemoryHigh = "400M"

            error: MemoryEnforce: "hard" is not one of its words
             --> web.toml:6:17
              |
            6 | MemoryEnforce = "hard"
              |                 ^^^^^^
              |
              = help: MemoryEnforce takes one of auto, cgroup, watchdog, rlimit, none

            error: TasksMax: 0 is not in the range from 1 to 4294967295
             --> web.toml:7:12
              |
            7 | TasksMax = 0
              |            ^
              |
              = help: how many processes and threads it may have, from 1; or infinity

            error: CPUQuota: "50" is no processor time
             --> web.toml:8:12
              |
            8 | CPUQuota = "50"
              |            ^^^^
              |
              = help: percent of one processor: 20% is a fifth of one, 150% one and a half

            error: CPUWeight: 0 is not in the range from 1 to 10000
             --> web.toml:9:13
              |
            9 | CPUWeight = 0
              |             ^
              |
              = help: CPUWeight takes a whole number from 1 to 10000

            error: Slice: web.service is not a slice
              --> web.toml:10:9
               |
            10 | Slice = "web.service"
               |         ^^^^^^^^^^^^^
               |
               = help: write web.slice

            10 errors, 2 warnings: nothing was started
        "#]],
    );
}
