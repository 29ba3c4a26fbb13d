//! What the end of a unit means: its handlers, its actions, rinit's exit status.
//!
//! Not how everything is then stopped (`phases`). **Invariant:** the first cause of an end wins;
//! during a stop of everything no further action, and no handler, is taken.

use std::collections::BTreeSet;

use super::Manager;
use super::event::StopCause;
use super::job::{Job, Origin};
use super::out::Change;
use super::service::Service;
use super::state::{ServiceResult, SubState};
use super::transaction::Tie;
use crate::unit::UnitName;
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::service::ExitAction;

/// What it means that a unit is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Nobody wanted it: FailureAction= and SuccessAction= are for this.
    ForGood,
    /// Somebody stopped it, or a client's start of it was in vain and that client is told: how it
    /// ended is no failure of the whole. COMMAND is never meant by this: rinit ends as it ends.
    Wished,
    /// The first half of a restart is done.
    ComesBack,
}

impl Manager {
    /// A unit is down for good, as far as it is concerned itself.
    pub(super) fn on_ended(&mut self, change: &Change) {
        let Some(service) = self.services.get(&change.unit) else { return };
        let is_command = self.config.command.as_ref() == Some(&change.unit);
        let code = status_of(service, is_command);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.killed_late |= service.killed_late;
        }
        if service.unit.is_made() {
            return; // its group speaks for it; how one connection ended is nobody's matter
        }
        let end = self.meaning(service, is_command);
        if is_command && service.main_exit.is_some() && end == End::ForGood {
            let definition = &service.unit;
            let given = if change.to == SubState::Failed {
                definition.failure_action_exit_status
            } else {
                let success = service.result == ServiceResult::Success;
                definition.success_action_exit_status.filter(|_| success)
            };
            self.verdict.get_or_insert(given.unwrap_or(code));
        }
        if change.from == SubState::Failed || self.out.stopping {
            return;
        }
        self.stop_bound(&change.unit);
        if change.to == SubState::Failed {
            self.on_failed(&change.unit, code, end);
        } else {
            self.on_dead(&change.unit, code, end);
        }
        self.uphold(&change.unit);
    }

    fn meaning(&self, service: &Service, is_command: bool) -> End {
        let starts = self.jobs.get(service.name()).is_some_and(Job::starts);
        // One that failed before its turn to stop came has failed by itself.
        if service.told_to_stop && starts {
            End::ComesBack
        } else if service.is_wished() && !is_command {
            End::Wished
        } else {
            End::ForGood
        }
    }

    fn stop_bound(&mut self, unit: &UnitName) {
        for other in self.graph.bound_by(unit).to_vec() {
            // One that is only on its way up would come up without it.
            if self.services.get(&other).is_some_and(|service| !service.is_down()) {
                let tie = Tie { leader: unit.clone(), dependency: "BindsTo" };
                self.stop(&other, Origin::Unit, Some(tie));
            }
        }
    }

    fn on_failed(&mut self, unit: &UnitName, code: u8, end: End) {
        let Some(service) = self.services.get(unit) else { return };
        let definition = service.unit.clone();
        let limit_hit = service.result == ServiceResult::StartLimitHit;
        if end != End::ComesBack {
            self.first_failure.get_or_insert(code);
        }
        let told = self.services.get_mut(unit).is_some_and(|service| {
            limit_hit && std::mem::replace(&mut service.limit_told, limit_hit)
        });
        // A handler that requires the unit would be refused with it, for ever.
        let on_failure = if told { &[][..] } else { &definition.on_failure };
        let handlers = self.start_handlers(unit, on_failure);
        let action = match definition.start_limit_action {
            ExitAction::Exit
            | ExitAction::ExitForce
            | ExitAction::Reboot
            | ExitAction::RebootForce
                if limit_hit =>
            {
                definition.start_limit_action
            }
            ExitAction::None
            | ExitAction::Exit
            | ExitAction::ExitForce
            | ExitAction::Reboot
            | ExitAction::RebootForce => definition.failure_action,
        };
        if end == End::ForGood {
            let code = definition.failure_action_exit_status.unwrap_or(code);
            self.take(action, StopCause::Failed(unit.clone()), code, handlers);
        }
    }

    fn on_dead(&mut self, unit: &UnitName, code: u8, end: End) {
        let Some(service) = self.services.get(unit) else { return };
        let definition = service.unit.clone();
        // A start that was skipped, or a restart that was called off, is no success.
        if service.result != ServiceResult::Success || service.verdict.is_some() {
            return;
        }
        let handlers = self.start_handlers(unit, &definition.on_success);
        if end != End::ComesBack {
            let code = definition.success_action_exit_status.unwrap_or(code);
            let cause = StopCause::Succeeded(unit.clone());
            self.take(definition.success_action, cause, code, handlers);
        }
    }

    fn take(
        &mut self,
        action: ExitAction,
        cause: StopCause,
        code: u8,
        handlers: BTreeSet<UnitName>,
    ) {
        let first = self.shutdown.is_none();
        match action {
            ExitAction::None => (),
            ExitAction::Exit | ExitAction::Reboot => self.end_by(cause, code, handlers),
            ExitAction::ExitForce | ExitAction::RebootForce => {
                self.end_by(cause, code, BTreeSet::new());
                self.kill_all();
            }
        }
        self.reboot |= first && matches!(action, ExitAction::Reboot | ExitAction::RebootForce);
    }

    /// Whether a machine of our own is to start again instead of being switched off: an action
    /// says so, or Ctrl-Alt-Del, which is SIGINT to PID 1 (reboot(2), LINUX_REBOOT_CMD_CAD_OFF).
    #[must_use]
    pub fn reboots(&self) -> bool {
        let cause = self.shutdown.as_ref().map(|shutdown| &shutdown.cause);
        self.reboot || cause == Some(&StopCause::Signal(Signal::INT))
    }
}

/// The status that a unit's end gives rinit: the last main process's code, or 128 plus its
/// signal; 1 if that would be 0 although the unit did not end well. COMMAND's own 0 stays: what
/// failed after it is only told of.
fn status_of(service: &Service, is_command: bool) -> u8 {
    let exit = service.main_exit.or(service.failed_exit);
    let code = exit.map_or(0, ExitStatus::shell_code);
    let failed = !matches!(service.result, ServiceResult::Success | ServiceResult::ExecCondition);
    let own = is_command && service.main_exit.is_some() && service.main_ended_well;
    if failed && code == 0 && !own { 1 } else { code }
}
