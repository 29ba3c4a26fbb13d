//! What a signal to rinit means: stop, reload, pass on, or nothing.
//!
//! Not how it arrives (`sys::signals`).

use super::Manager;
use super::event::{Action, Fact, JobKind, ProcessId};
use super::job::{Job, Origin};
use super::state::{ActiveState, SubState};
use crate::unit::UnitName;
use crate::unit::process::Signal;

/// Stop signals of every runtime: Docker and Kubernetes, a terminal, php-fpm's and nginx's
/// images, LXC, Podman's systemd mode.
const STOP: [Signal; 5] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::PWR, Signal::RTMIN_3];

impl Manager {
    pub(super) fn on_signal(&mut self, signal: Signal) {
        if let Some((unit, main)) = self.running_command() {
            self.pass_to_command(signal, unit, main);
        } else if STOP.contains(&signal) || self.config.stop_signal == Some(signal) {
            self.on_stop_signal(signal);
        } else if signal == Signal::HUP && self.shutdown.is_none() {
            self.out.act(Action::Load);
        } else if Signal::BOOKKEEPING.contains(&signal) {
            self.out.record(Fact::SignalIgnored { signal });
        } else {
            self.forward(signal);
        }
    }

    /// The COMMAND of the command line, while its process lives.
    fn running_command(&self) -> Option<(UnitName, ProcessId)> {
        let unit = self.config.command.clone()?;
        let main = self.services.get(&unit)?.main?;
        Some((unit, main.process))
    }

    /// In command mode every signal is the COMMAND's; SIGTERM starts the budget as well.
    fn pass_to_command(&mut self, signal: Signal, unit: UnitName, process: ProcessId) {
        let stopping = self
            .services
            .get(&unit)
            .is_some_and(|service| service.state.active_state() == ActiveState::Deactivating);
        let stops = signal == Signal::TERM || self.config.stop_signal == Some(signal);
        // The stop itself sends KillSignal=, which is SIGTERM: once is enough.
        if !stops || signal != Signal::TERM || stopping {
            self.out.act(Action::KillProcess { process, signal });
        }
        self.out.record(Fact::Forwarded { signal, unit });
        if stops {
            self.on_stop_signal(signal);
        }
    }

    /// The reload of every active service that has one.
    pub(super) fn reload_all(&mut self) {
        let reloadable = self
            .services
            .values()
            .filter(|service| service.state == SubState::Running && service.can_reload());
        let names: Vec<UnitName> = reloadable.map(|service| service.name().clone()).collect();
        if names.is_empty() {
            self.out.record(Fact::SignalIgnored { signal: Signal::HUP });
        }
        for name in
            names.into_iter().filter(|name| self.jobs.get(name).is_none()).collect::<Vec<_>>()
        {
            self.install(&name, Job::new(JobKind::Reload, Origin::Unit));
        }
    }

    /// To every main process that ForwardSignals= says, or that catches it.
    fn forward(&mut self, signal: Signal) {
        let mains: Vec<_> = self
            .services
            .values()
            .filter_map(|service| Some((service.unit.clone(), service.main?.process)))
            .collect();
        if mains.is_empty() {
            self.out.record(Fact::SignalIgnored { signal });
        }
        for (unit, process) in mains {
            let action = match &unit.service.forward_signals {
                Some(listed) if listed.contains(&signal) => Action::KillProcess { process, signal },
                Some(_) => continue,
                None => Action::Forward { process, signal },
            };
            self.out.act(action);
            self.out.record(Fact::Forwarded { signal, unit: unit.name.clone() });
        }
    }
}
