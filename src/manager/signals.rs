//! What a signal to rinit means: stop, reload, pass on, or nothing.
//!
//! Not how it arrives (`sys::signals`).

use super::Manager;
use super::event::{Action, Fact, ProcessId};
use super::job::Origin;
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
        let stopping = self.services.get(&unit).is_some_and(|service| {
            service.state.active_state() == ActiveState::Deactivating && !service.is_quiescing()
        });
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

    /// Every active service that can is reloaded; one with instances and no reload of its own has
    /// them replaced.
    pub(super) fn reload_all(&mut self) {
        let reloadable = self.services.values().filter(|service| {
            let single = service.unit.instance_of.is_none();
            let reloads = service.can_reload() || self.can_roll(service.name());
            service.state == SubState::Running && single && reloads
        });
        let names: Vec<UnitName> = reloadable.map(|service| service.name().clone()).collect();
        if names.is_empty() {
            self.out.record(Fact::SignalIgnored { signal: Signal::HUP });
        }
        for name in names {
            // A roll that is under way begins anew; nothing else is disturbed.
            match self.jobs.get(&name) {
                Some(job) if job.starts() && !job.roll => {
                    self.reload_later.insert(name); // instances that are up have the old program
                }
                Some(job) if !job.roll => {}
                Some(_) | None => {
                    self.install(&name, self.reload_job(&name, Origin::Unit));
                }
            }
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
