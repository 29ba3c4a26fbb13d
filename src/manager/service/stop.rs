//! On the way down: ExecStop=, the signals of a stop, what waits for whom, ExecStopPost=.
//!
//! Not what follows once everything is gone (`end`). systemd.kill(5) names the rules.

use std::time::Duration;

use super::super::event::{Action, ProcessRole};
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::{Service, Waiting};
use crate::unit::process::Signal;
use crate::unit::service::{KillMode, TimeoutFailureMode};

/// How long a unit whose main process is gone may take to be empty before it is asked again.
const LATE: Duration = Duration::from_millis(50);

impl Service {
    /// Somebody wants it down. `restarting`: only to start it again.
    pub fn stop(&mut self, out: &mut Out, restarting: bool) {
        self.may_restart = false;
        self.restarting = restarting;
        match self.state {
            SubState::Dead | SubState::Failed => (),
            SubState::AutoRestart | SubState::Listening => self.enter(out, SubState::Dead, None),
            SubState::Running if self.is_socket() => self.enter(out, SubState::Dead, None),
            SubState::Condition if self.checking => self.enter(out, SubState::Dead, None),
            SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Reload => self.signal(out, SubState::StopSigterm),
            SubState::Running | SubState::Exited => self.exec_stop(out),
            SubState::Stop if self.quiescing => self.exec_stop(out),
            // Already on its way; a budget may have cut the time that it has.
            SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill => self.cut(out),
        }
    }

    /// Applies the limits of the budget to the wait that is under way.
    pub fn cut(&mut self, out: &Out) {
        if self.is_group() {
            return; // it waits for its instances, and they are cut
        }
        let far = Duration::from_secs(u64::MAX / 4);
        let limit = self.limited(out.now, self.state, far);
        if limit < out.now.after(far) {
            self.deadline = Some(self.deadline.map_or(limit, |deadline| deadline.min(limit)));
        }
    }

    /// No more patience: SIGKILL to everything that is left of it, whatever KillMode= says.
    pub fn kill_now(&mut self, out: &mut Out) {
        self.may_restart = false;
        match self.state {
            SubState::Dead | SubState::Failed | SubState::FinalSigkill => (),
            SubState::AutoRestart | SubState::Exited | SubState::Listening => {
                self.enter(out, SubState::Dead, None);
            }
            SubState::Running if self.is_socket() => self.enter(out, SubState::Dead, None),
            SubState::Condition if self.checking => self.enter(out, SubState::Dead, None),
            SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Running
            | SubState::Reload
            | SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm => {
                self.note(ServiceResult::Timeout, None);
                self.killed_late = true;
                self.enter(out, SubState::FinalSigkill, self.unit.service.timeout_stop);
                self.kill_unit(out, Signal::KILL);
                self.waiting = Waiting::ForEmpty;
            }
        }
    }

    /// Begins an orderly stop with ExecStop=, which runs only if the start had succeeded.
    pub(super) fn exec_stop(&mut self, out: &mut Out) {
        if self.started {
            self.run_list(out, ProcessRole::ExecStop);
        } else {
            self.signal(out, SubState::StopSigterm);
        }
    }

    /// Enters one of the states that send a signal, and sends it as KillMode= says.
    pub(super) fn signal(&mut self, out: &mut Out, state: SubState) {
        let service = &self.unit.service;
        let signal = self.signal_of(state);
        let abort = service.timeout_abort.filter(|_| state == SubState::StopWatchdog);
        let timeout = abort.or(service.timeout_stop);
        self.enter(out, state, timeout);
        let killing = matches!(state, SubState::StopSigkill | SubState::FinalSigkill);
        match self.unit.service.kill_mode {
            KillMode::ControlGroup => self.signal_unit(out, signal, killing),
            KillMode::Mixed if killing => self.signal_unit(out, signal, killing),
            KillMode::Mixed | KillMode::Process => self.signal_processes(out, signal, killing),
            KillMode::None => {
                self.waiting = Waiting::ForProcesses;
                self.after_signals(out);
                return;
            }
        }
        self.check_gone(out);
    }

    fn stop_signal(&self) -> Signal {
        let service = &self.unit.service;
        let restart = service.restart_kill_signal.filter(|_| self.restarting);
        restart.unwrap_or(service.kill_signal)
    }

    fn signal_unit(&mut self, out: &mut Out, signal: Signal, killing: bool) {
        self.waiting = Waiting::ForEmpty;
        self.kill_unit(out, signal);
        if !killing {
            // A stopped process gets a signal only once it is continued.
            self.kill_unit(out, Signal::CONT);
            if self.unit.service.send_sighup {
                self.kill_unit(out, Signal::HUP);
            }
        }
    }

    fn signal_processes(&mut self, out: &mut Out, signal: Signal, killing: bool) {
        self.waiting = Waiting::ForProcesses;
        for live in [self.main, self.control].into_iter().flatten() {
            let process = live.process;
            out.act(Action::KillProcess { process, signal });
            if !killing {
                out.act(Action::KillProcess { process, signal: Signal::CONT });
                if self.unit.service.send_sighup {
                    out.act(Action::KillProcess { process, signal: Signal::HUP });
                }
            }
        }
    }

    fn kill_unit(&self, out: &mut Out, signal: Signal) {
        out.act(Action::KillUnit { unit: self.unit.name.clone(), signal: Some(signal) });
    }

    /// SIGKILL to the control process, which is then forgotten.
    pub(super) fn kill_control(&mut self, out: &mut Out) {
        if let Some(live) = self.control.take() {
            out.act(Action::KillProcess { process: live.process, signal: Signal::KILL });
            out.processes.remove(&live.process);
        }
    }

    /// The main or the control process is gone while signals were out. What it started after
    /// the stop signal (`trap 'sleep 60 & exit' TERM`) never got that one, and would last until
    /// the timeout: if the unit is not empty soon, it is sent once more.
    pub(super) fn process_gone(&mut self, out: &mut Out) {
        let gone = self.main.is_none() && self.control.is_none();
        let signalled = self.state == SubState::StopSigterm && self.waiting == Waiting::ForEmpty;
        if gone && signalled && self.unit.service.kill_mode == KillMode::ControlGroup {
            self.late_at = Some(out.now.after(LATE));
        }
        self.check_gone(out);
    }

    /// Who was born after the stop signal gets it now; once per stop.
    pub(super) fn signal_late(&mut self, out: &mut Out) {
        self.late_at = None;
        self.kill_unit(out, self.stop_signal());
        self.kill_unit(out, Signal::CONT);
    }

    /// No process of the unit is left, says the shell.
    pub fn on_empty(&mut self, out: &mut Out) {
        if self.main.is_some() || self.control.is_some() {
            return; // of an earlier question
        }
        if let Some(role) = self.clearing {
            self.cleared(out, role);
        } else if self.waiting == Waiting::ForEmpty && self.sends_signals() {
            self.waiting = Waiting::ForProcesses;
            self.after_signals(out);
        } else {
            self.emptied(out);
        }
    }

    /// It ends on its own: its end is waited for as that of a stop, but nothing is sent.
    pub(super) fn await_end(&mut self, out: &mut Out) {
        if self.unit.service.kill_mode == KillMode::ControlGroup {
            self.waiting = Waiting::ForEmpty;
            self.watch_empty(out);
        } else {
            self.waiting = Waiting::ForProcesses;
            self.check_gone(out);
        }
    }

    pub(super) fn sends_signals(&self) -> bool {
        matches!(
            self.state,
            SubState::StopSigterm
                | SubState::StopSigkill
                | SubState::StopWatchdog
                | SubState::FinalSigterm
                | SubState::FinalSigkill
        )
    }

    fn check_gone(&mut self, out: &mut Out) {
        if self.main.is_some() || self.control.is_some() || !self.sends_signals() {
            return;
        }
        if self.waiting == Waiting::ForEmpty {
            return; // the shell will say so
        }
        if self.unit.service.kill_mode == KillMode::Mixed && self.unit.service.send_sigkill {
            // The rest of the unit does not outlive its main process (systemd.kill(5), mixed).
            self.waiting = Waiting::ForEmpty;
            self.kill_unit(out, self.unit.service.final_kill_signal);
            return;
        }
        self.after_signals(out);
    }

    /// Everybody who was waited for is gone.
    fn after_signals(&mut self, out: &mut Out) {
        if matches!(self.state, SubState::FinalSigterm | SubState::FinalSigkill) {
            self.finish(out);
        } else {
            self.run_list(out, ProcessRole::ExecStopPost);
        }
    }

    /// A wait of the stop was too long: the next harder step.
    pub(super) fn stop_timed_out(&mut self, out: &mut Out, limit: Duration) {
        let service = &self.unit.service;
        let (mode, send_sigkill) = (service.timeout_stop_failure_mode, service.send_sigkill);
        let next = match (self.state, mode) {
            (SubState::Stop, TimeoutFailureMode::Terminate) => Some(SubState::StopSigterm),
            (SubState::Stop, TimeoutFailureMode::Abort) => Some(SubState::StopWatchdog),
            (SubState::Stop, TimeoutFailureMode::Kill) if send_sigkill => {
                Some(SubState::StopSigkill)
            }
            (SubState::Stop, TimeoutFailureMode::Kill) => Some(SubState::StopSigterm),
            (SubState::StopSigterm, TimeoutFailureMode::Abort) => Some(SubState::StopWatchdog),
            (SubState::StopSigterm | SubState::StopWatchdog, _) if send_sigkill => {
                Some(SubState::StopSigkill)
            }
            (SubState::StopPost, _) => Some(SubState::FinalSigterm),
            (SubState::FinalSigterm, _) if send_sigkill => Some(SubState::FinalSigkill),
            (_, _) => None,
        };
        let Some(next) = next else {
            self.abandon(out);
            return;
        };
        let kills = matches!(next, SubState::StopSigkill | SubState::FinalSigkill);
        self.record_timeout(out, limit, Some(self.signal_of(next)), String::new());
        self.note(ServiceResult::Timeout, None);
        self.killed_late |= kills && self.kill_reaches_anything();
        self.signal(out, next);
    }

    /// Whether KillMode= leaves anybody whom SIGKILL would hit.
    fn kill_reaches_anything(&self) -> bool {
        match self.unit.service.kill_mode {
            KillMode::ControlGroup | KillMode::Mixed => true,
            KillMode::Process => self.main.is_some() || self.control.is_some(),
            KillMode::None => false,
        }
    }

    pub(super) fn signal_of(&self, state: SubState) -> Signal {
        match state {
            SubState::StopSigkill | SubState::FinalSigkill => self.unit.service.final_kill_signal,
            SubState::StopWatchdog => self.unit.service.watchdog_signal,
            SubState::Dead
            | SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Listening
            | SubState::Running
            | SubState::Exited
            | SubState::Reload
            | SubState::Stop
            | SubState::StopSigterm
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::AutoRestart
            | SubState::Failed => self.stop_signal(),
        }
    }

    /// Even the last signal did not help, or none may be sent: the unit goes on without the
    /// processes that are left.
    fn abandon(&mut self, out: &mut Out) {
        use super::super::event::Fact;
        self.note(ServiceResult::Timeout, None);
        out.record(Fact::Abandoned { unit: self.unit.name.clone() });
        for live in [self.main.take(), self.control.take()].into_iter().flatten() {
            out.processes.remove(&live.process);
        }
        self.waiting = Waiting::ForProcesses;
        self.after_signals(out);
    }
}
