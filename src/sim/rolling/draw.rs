//! A random service with instances, one that it needs, and what may go wrong with them.
//!
//! Not the whole variety of units (`sim::units`): what is drawn here is what rolls depend on.

use std::sync::Arc;
use std::time::Duration;

use super::super::choices::{Choices, Label};
use crate::manager::event::ManagerConfig;
use crate::unit::command::ExecCommand;
use crate::unit::rolling::{Instances, RollingFailure, RollingOrder, RollingUpdate};
use crate::unit::service::{ExitAction, Restart, ServiceType};
use crate::unit::socket::Socket;
use crate::unit::{Dependency, Unit, UnitName, UnitSet};

/// How processes tend to behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    /// Well.
    Sound,
    /// Now and then one ends, or never becomes the program.
    Moody,
    /// The second definition does not work.
    BadVersion,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) db: Unit,
    pub(super) web: Unit,
    pub(super) config: ManagerConfig,
    pub(super) mood: Mood,
}

pub(super) fn name(text: &str) -> UnitName {
    UnitName::service(text).unwrap()
}

impl Plan {
    pub(super) fn count(&self) -> u32 {
        match self.web.service.instances {
            Some(Instances::Count(count)) => count,
            Some(Instances::Auto) | None => 1,
        }
    }

    pub(super) fn start_first(&self) -> bool {
        self.web
            .service
            .rolling_update
            .order
            .map_or(self.steers(), |order| order == RollingOrder::StartFirst)
    }

    pub(super) fn steers(&self) -> bool {
        self.web.socket.is_some()
    }

    /// The units; the version is what `apply` changes.
    pub(super) fn set(&self, version: u8) -> UnitSet {
        let mut web = self.web.clone();
        web.service.exec_start = vec![command(version)].into();
        let units = [self.db.clone(), web].map(|unit| (unit.name.clone(), Arc::new(unit)));
        UnitSet { units: units.into(), ..UnitSet::default() }
    }
}

fn command(version: u8) -> ExecCommand {
    ExecCommand {
        program: version.to_string(),
        argv0: None,
        arguments: Vec::new(),
        ignore_failure: false,
        no_expansion: false,
        full_privileges: false,
        no_setuid: false,
    }
}

/// Which version a unit is.
pub(super) fn version(unit: &Unit) -> u8 {
    unit.service.exec_start.first().and_then(|it| it.program.parse().ok()).unwrap_or(0)
}

pub(super) fn draw(choices: &mut Choices) -> Plan {
    use RollingFailure::{Continue, Pause, Rollback};
    let ms = Duration::from_millis;
    let mut db = Unit::new(name("db"));
    db.service.exec_start = vec![command(0)].into();
    let mut web = Unit::new(name("web"));
    let needed = vec![Dependency { name: db.name.clone(), span: None }];
    web.after = needed.clone().into();
    web.requires = needed.into();
    let service = &mut web.service;
    service.instances = Some(Instances::Count(choices.of(Label::Instances, &[2, 1, 3, 4])));
    service.kind = choices.of(Label::Kind, &[ServiceType::Simple, ServiceType::Exec]);
    service.restart =
        choices.of(Label::Restart, &[Restart::OnFailure, Restart::Always, Restart::No]);
    service.restart_max_delay = Some(ms(choices.of(Label::RestartMax, &[30_000, 2000])));
    service.restart_reset = ms(choices.of(Label::RestartReset, &[10_000, 1000]));
    service.timeout_start = Some(ms(choices.of(Label::TimeoutStart, &[5000, 90_000, 1000])));
    service.timeout_stop = Some(ms(choices.of(Label::TimeoutStop, &[5000, 90_000, 1000])));
    service.runtime_max = choices.of(Label::RuntimeMax, &[None, None, None, Some(ms(20_000))]);
    service.rolling_update = RollingUpdate {
        parallelism: choices.of(Label::Parallelism, &[1, 1, 2]),
        order: choices.of(
            Label::RollOrder,
            &[None, Some(RollingOrder::StartFirst), Some(RollingOrder::StopFirst)],
        ),
        monitor: ms(choices.of(Label::Monitor, &[5000, 1000, 0])),
        failure_action: choices.of(Label::RollFailure, &[Pause, Pause, Rollback, Continue]),
    };
    if choices.rare(Label::Lists, 4) {
        service.exec_reload = vec![command(0)];
    }
    web.start_limit_burst = choices.of(Label::LimitBurst, &[5, 2, 3]);
    if choices.rare(Label::FailureAction, 2) {
        web.failure_action = ExitAction::None;
    }
    if choices.rare(Label::Steered, 2) {
        web.socket = Some(Box::new(Socket { reuse_port: true, ..Socket::default() }));
    }
    let config = ManagerConfig {
        shutdown_timeout: ms(choices.of(Label::Budget, &[9000, 3000])),
        drain: ms(choices.of(Label::Drain, &[0, 0, 1000])),
        stop_signal: None,
        command: None,
        seed: choices.pick(Label::Seed, 256) as u64,
    };
    let moods = [Mood::Sound, Mood::Moody, Mood::Moody, Mood::BadVersion];
    Plan { db, web, config, mood: choices.of(Label::Mood, &moods) }
}
