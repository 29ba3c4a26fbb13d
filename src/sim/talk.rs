//! What the processes of the simulated world say of themselves, and what their probes find.
//!
//! Part of the world: not what is right (`readiness`). **Invariant:** a process that is gone
//! says nothing more; strangers may speak at any time.

use std::time::Duration;

use super::choices::{Choices, Label};
use super::world::{MS, World};
use crate::manager::event::{Event, Notice, NoticeState, ProbeKind, ProbeOutcome, ProcessId};
use crate::manager::event::{ProcessRole, Watchdog};
use crate::unit::Unit;
use crate::unit::health::{Health, HealthCheck, OnUnhealthy};
use crate::unit::process::Signal;
use crate::unit::service::{NotifyAccess, Service, ServiceType};

/// Readiness, health and watchdog of a unit; most have none.
pub(super) fn dress(choices: &mut Choices, service: &mut Service) {
    if service.kind == ServiceType::Oneshot {
        return;
    }
    match choices.pick(Label::Talk, 12) {
        6 | 7 => service.kind = ServiceType::Notify,
        8 => service.kind = ServiceType::NotifyReload,
        9 => {
            service.kind = ServiceType::Forking;
            let pid_file = choices.rare(Label::Talk, 2);
            service.pid_file = pid_file.then(|| String::from("/run/x.pid"));
        }
        10 => service.notification_fd = Some(5),
        11 => service.ready_on_accept = true,
        _ => (),
    }
    let notifies = matches!(service.kind, ServiceType::Notify | ServiceType::NotifyReload);
    if notifies || choices.rare(Label::Talk, 12) {
        use NotifyAccess::{All, Exec, Main};
        service.notify_access = choices.of(Label::Access, &[Main, Main, Exec, All]);
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        service.watchdog = choices.of(Label::Watchdog, &[None, None, ms(1000), ms(10_000), ms(0)]);
    }
    if choices.pick(Label::Health, 6) == 5 {
        service.health = Some(Box::new(health(choices)));
    }
}

fn health(choices: &mut Choices) -> Health {
    let ms = Duration::from_millis;
    let check = (!choices.rare(Label::Health, 6)).then(|| HealthCheck::HttpPath(String::from("/")));
    let stall = check.is_none() || choices.rare(Label::Health, 4);
    Health {
        check,
        start_period: ms(choices.of(Label::Health, &[0, 0, 1000])),
        retries: choices.of(Label::Health, &[3, 1, 2]),
        success_threshold: choices.of(Label::Health, &[1, 1, 2]),
        on_unhealthy: choices
            .of(Label::Health, &[OnUnhealthy::Restart, OnUnhealthy::Restart, OnUnhealthy::None]),
        stall: if stall { ms(2000) } else { Duration::ZERO },
        ..Health::default()
    }
}

impl World {
    fn tell(&mut self, after: u64, unit: &Unit, process: Option<ProcessId>, notice: Notice) {
        let event = Event::Notified { unit: unit.name.clone(), process, notice };
        self.pending.push((self.now.saturating_add(after), event));
    }

    /// A main process became the program: what it will say, if it lives so long.
    pub(super) fn talk(&mut self, choices: &mut Choices, unit: &Unit, main: ProcessId) {
        let service = &unit.service;
        let after = choices.of(Label::NoticeDelay, &[0, MS, 300 * MS, 4000 * MS, 100_000 * MS]);
        if service.notification_fd.is_some() && !choices.rare(Label::Notice, 6) {
            self.pending.push((self.now + after, Event::SaidReady { process: main }));
        }
        if service.notify_access == NotifyAccess::None {
            if choices.rare(Label::Notice, 8) {
                self.tell(after, unit, Some(main), ready()); // nobody listens
            }
            return;
        }
        let drawn = choices.pick(Label::Notice, 14);
        match drawn {
            6 => return, // never
            7 => self.tell(after / 2, unit, None, ready()),
            8 => {
                let by = Duration::from_secs(choices.of(Label::Notice, &[2, 200]));
                let more = Notice { extend_timeout: Some(by), ..Notice::default() };
                self.tell(after / 2, unit, Some(main), more);
            }
            9 => {
                self.tell(after / 2, unit, Some(main), state(NoticeState::Reloading(None)));
                self.tell(after / 2, unit, Some(main), state(NoticeState::Stopping));
            }
            10 => {
                let status = Some(String::from("half"));
                self.tell(after / 2, unit, None, Notice { status, ..Notice::default() });
            }
            11 => self.new_main(choices, unit, main, after / 2),
            12 => self.dies_at(main, self.now + after),
            _ => (),
        }
        self.tell(after, unit, Some(main), ready());
        self.say_later(choices, unit, main, after);
    }

    /// What it says once it is ready.
    fn say_later(&mut self, choices: &mut Choices, unit: &Unit, main: ProcessId, ready_after: u64) {
        let after = ready_after + choices.of(Label::NoticeDelay, &[MS, 300 * MS, 4000 * MS]);
        match choices.pick(Label::Notice, 12) {
            7 => self.tell(after, unit, Some(main), state(NoticeState::Reloading(None))),
            8 => {
                self.tell(after, unit, Some(main), state(NoticeState::Reloading(None)));
                self.tell(after + 50 * MS, unit, Some(main), ready());
            }
            9 => {
                self.tell(after, unit, Some(main), state(NoticeState::Stopping));
                if choices.rare(Label::Notice, 2) {
                    self.dies_at(main, self.now + after + 700 * MS);
                }
            }
            10 => {
                let trigger = Some(Watchdog::Trigger);
                let notice = Notice { watchdog: trigger, ..Notice::default() };
                self.tell(after, unit, Some(main), notice);
            }
            11 => {
                let period = Some(Duration::from_secs(3));
                let notice = Notice { watchdog_period: period, ..Notice::default() };
                self.tell(after, unit, Some(main), notice);
            }
            _ => (),
        }
        if unit.service.watchdog.is_some() && !choices.rare(Label::Ping, 4) {
            self.ping(unit, main, ready_after);
        }
    }

    fn ping(&mut self, unit: &Unit, main: ProcessId, after: u64) {
        let period = unit.service.watchdog.unwrap_or_default().max(Duration::from_secs(1));
        let half = period.as_nanos() as u64 / 2;
        let notice = Notice { watchdog: Some(Watchdog::Ping), ..Notice::default() };
        self.tell(after + half, unit, Some(main), notice);
    }

    /// A message has been heard; a ping may be followed by the next.
    pub(super) fn spoke(&mut self, choices: &mut Choices, event: &Event) {
        let Event::Notified { unit, process: Some(main), notice } = event else { return };
        if notice.watchdog == Some(Watchdog::Ping) && !choices.rare(Label::Ping, 8) {
            if let Some(unit) = self.units.iter().find(|it| it.name == *unit).cloned() {
                self.ping(&unit, *main, 0);
            }
        }
    }

    /// Whether whoever says this still lives.
    pub(super) fn can_say(&self, event: &Event) -> bool {
        match event {
            Event::Notified { process, notice, .. } => {
                let named = [*process, notice.main];
                named.into_iter().flatten().all(|process| self.is_there(process))
            }
            Event::SaidReady { process } | Event::Matched { process } => self.is_there(*process),
            _ => true,
        }
    }

    /// Its end has not been told.
    pub(super) fn is_there(&self, process: ProcessId) -> bool {
        self.processes.iter().any(|one| one.id == Some(process))
    }

    /// A child of its own becomes the main process.
    fn new_main(&mut self, choices: &mut Choices, unit: &Unit, main: ProcessId, after: u64) {
        let id = self.new_id();
        let index = self.units.iter().position(|it| it.name == unit.name).unwrap_or(0);
        let life = choices.of(Label::NoticeDelay, &[u64::MAX, 5000 * MS, 300 * MS]);
        self.child(choices, index, Some(id), self.now.saturating_add(life));
        self.tell(after, unit, Some(main), Notice { main: Some(id), ..Notice::default() });
        if choices.rare(Label::Notice, 2) {
            self.dies_at(main, self.now + after + MS);
        }
        self.tell(after + 10 * MS, unit, Some(id), ready());
    }

    /// The first process of a `Type=forking` service has ended well: it left a daemon, or two.
    pub(super) fn left_daemon(&mut self, choices: &mut Choices, unit: usize) {
        for _ in 0..choices.of(Label::Daemon, &[1, 1, 1, 2, 0]) {
            let life = choices.of(Label::Daemon, &[u64::MAX, u64::MAX, 300 * MS, 5000 * MS]);
            self.child(choices, unit, None, self.now.saturating_add(life));
        }
    }

    /// The answer to FindMain.
    pub(super) fn find_main(&mut self, choices: &mut Choices, unit: &Unit) {
        let index = self.units.iter().position(|it| it.name == unit.name);
        let late = choices.rare(Label::Daemon, 3);
        let id = self.new_id();
        let nobody = |one: &&mut super::world::Process| one.unit == index && one.id.is_none();
        let found = self.processes.iter_mut().find(nobody).filter(|_| !late);
        let main = match found {
            Some(one) => {
                (one.id, one.role) = (Some(id), ProcessRole::ExecStart);
                Ok(id)
            }
            None => Err(String::from("there is none")),
        };
        self.answer_now(Event::FoundMain { unit: unit.name.clone(), main });
    }

    /// ReloadSignal= of `Type=notify-reload`.
    pub(super) fn asked_to_reload(
        &mut self,
        choices: &mut Choices,
        process: ProcessId,
        signal: Signal,
    ) {
        let of = self.processes.iter().find(|one| one.id == Some(process));
        let Some(unit) = of.and_then(|one| one.unit).map(|unit| self.units[unit].clone()) else {
            return;
        };
        if unit.service.kind != ServiceType::NotifyReload || signal != Signal::HUP {
            return;
        }
        let (now, early) = (self.timestamp(), crate::manager::time::Timestamp::ZERO);
        let begin = match choices.pick(Label::Notice, 8) {
            5 => Some(early),
            6 => None,
            7 => return,
            _ => Some(now),
        };
        let after = choices.of(Label::NoticeDelay, &[0, MS, 300 * MS]);
        self.tell(after, &unit, Some(process), state(NoticeState::Reloading(begin)));
        self.tell(after + MS, &unit, Some(process), ready());
    }

    /// The answer to a probe, if there is one.
    pub(super) fn probe(&mut self, choices: &mut Choices, process: ProcessId, kind: ProbeKind) {
        let drawn = choices.pick(Label::Probe, 16);
        let after = choices.of(Label::ProbeDelay, &[0, MS, MS, 400 * MS, 2900 * MS]);
        let bad = || ProbeOutcome::Bad(String::from("connection refused"));
        let (after, outcome) = match drawn {
            0..=9 => (after, ProbeOutcome::Good),
            10..=13 => (after, bad()),
            14 => (6000 * MS, ProbeOutcome::Good),
            _ => return, // lost
        };
        self.pending.push((self.now + after, Event::Probed { process, kind, outcome }));
    }
}

fn state(state: NoticeState) -> Notice {
    Notice { state: Some(state), ..Notice::default() }
}

fn ready() -> Notice {
    state(NoticeState::Ready)
}
