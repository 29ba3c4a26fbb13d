//! What a service says of itself over `NOTIFY_SOCKET`: its watchdog, its reload, its main process.
//!
//! Not the socket and not the credentials (`init`). sd_notify(3) and systemd's
//! `service_notify_message` name the rules. **Invariant:** who may not speak (`NotifyAccess=`)
//! changes nothing.

use std::time::Duration;

use super::super::event::{Action, Fact, Notice, NoticeState, ProcessId, ProcessRole, Watchdog};
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::super::time::Timestamp;
use super::Service;
use super::ready::{Search, Source};
use crate::unit::process::Signal;
use crate::unit::service::{NotifyAccess, ServiceType};

/// What a service has said and what is kept of it until its next start.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// `STATUS=`.
    pub status: Option<String>,
    /// `ERRNO=`.
    pub errno: Option<i32>,
    /// `WATCHDOG_USEC=`; zero: none.
    watchdog: Option<Duration>,
}

/// The part of a reload that the service tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Reloading {
    /// There is none: an ExecReload= at most.
    #[default]
    Untold,
    /// It said `RELOADING=1` on its own; `READY=1` ends it.
    ByItself,
    /// `ReloadSignal=` was sent then: `RELOADING=1` of a later time, then `READY=1` end it.
    Asked(Timestamp),
    /// The first of the two has come.
    Begun,
    /// Both have come, and ExecReload= still runs.
    Finished,
}

impl Service {
    /// A process of the unit said something.
    pub fn on_notified(&mut self, out: &mut Out, process: Option<ProcessId>, notice: Notice) {
        let idle = matches!(self.state, SubState::Dead | SubState::Failed | SubState::AutoRestart);
        if idle || self.checking || !self.listens_to(process) {
            return;
        }
        if let Some(main) = notice.main {
            self.main_is(out, main);
        }
        self.keep(out, notice.status, notice.errno);
        match notice.state {
            Some(NoticeState::Ready) => self.said_ready(out),
            Some(NoticeState::Reloading(at)) => self.said_reloading(out, at),
            Some(NoticeState::Stopping) => self.said_stopping(out),
            None => (),
        }
        if let Some(by) = notice.extend_timeout {
            self.extend(out, by);
        }
        match notice.watchdog {
            Some(Watchdog::Ping) => self.feed_watchdog(out),
            Some(Watchdog::Trigger) => self.watchdog_over(out, true),
            None => (),
        }
        if let Some(period) = notice.watchdog_period {
            self.said.get_or_insert_default().watchdog = Some(period);
            self.feed_watchdog(out);
        }
    }

    fn listens_to(&self, process: Option<ProcessId>) -> bool {
        let is = |live: Option<super::Live>| live.is_some_and(|it| process == Some(it.process));
        match self.unit.service.notify_access {
            NotifyAccess::None => false,
            NotifyAccess::Main => is(self.main),
            NotifyAccess::Exec => is(self.main) || is(self.control),
            NotifyAccess::All => true,
        }
    }

    /// `MAINPID=`: another process is the main one from now on.
    fn main_is(&mut self, out: &mut Out, process: ProcessId) {
        let accepts = matches!(
            self.state,
            SubState::Start | SubState::StartPost | SubState::Running | SubState::Reload
        );
        if !accepts || self.live(process).is_some() || out.processes.contains_key(&process) {
            return;
        }
        let searched = matches!(self.search, Search::Asked | Search::Again(_));
        self.take_main(out, process);
        if searched {
            self.found(out);
        }
    }

    fn keep(&mut self, out: &mut Out, status: Option<String>, errno: Option<i32>) {
        if let Some(errno) = errno {
            self.said.get_or_insert_default().errno = Some(errno);
        }
        let Some(status) = status else { return };
        let said = self.said.get_or_insert_default();
        if said.status.as_ref() != Some(&status) {
            said.status = Some(status.clone()).filter(|status| !status.is_empty());
            out.record(Fact::Status { unit: self.unit.name.clone(), status });
        }
    }

    fn said_ready(&mut self, out: &mut Out) {
        match self.state {
            SubState::Start => self.came(out, Source::Notice),
            SubState::Reload => {
                match self.reloading {
                    Reloading::ByItself | Reloading::Begun => {
                        self.reloading = Reloading::Finished;
                    }
                    Reloading::Untold | Reloading::Asked(_) | Reloading::Finished => return,
                }
                if self.control.is_none() && self.retry.is_none() {
                    self.reloaded(out);
                }
            }
            SubState::Dead
            | SubState::Condition
            | SubState::StartPre
            | SubState::StartPost
            | SubState::Listening
            | SubState::Running
            | SubState::Exited
            | SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill
            | SubState::AutoRestart
            | SubState::Failed => (),
        }
    }

    fn said_reloading(&mut self, out: &mut Out, at: Option<Timestamp>) {
        match (self.state, self.reloading) {
            (SubState::Running, _) => {
                self.enter(out, SubState::Reload, self.unit.service.timeout_start);
                self.reloading = Reloading::ByItself;
            }
            // One of before the signal may have been on its way when that was sent.
            (SubState::Reload, Reloading::Asked(since)) if at.is_some_and(|at| at >= since) => {
                self.reloading = Reloading::Begun;
            }
            (_, _) => (),
        }
    }

    /// It ends on its own: as if the signal of a stop had been sent, but for the signal.
    fn said_stopping(&mut self, out: &mut Out) {
        if self.state == SubState::Running {
            self.enter(out, SubState::StopSigterm, self.unit.service.timeout_stop);
            self.await_end(out);
        }
    }

    /// `EXTEND_TIMEOUT_USEC=`: no limit of the present state ends before that.
    fn extend(&mut self, out: &Out, by: Duration) {
        let until = out.now.after(by);
        let limited = self.limited(out.now, self.state, by);
        let longer = |deadline: Option<Timestamp>, until| deadline.map(|at| at.max(until));
        if self.state != SubState::StopSigkill && self.state != SubState::FinalSigkill {
            self.deadline = longer(self.deadline, limited);
        }
        self.runtime_deadline = longer(self.runtime_deadline, until);
        self.watchdog_deadline = longer(self.watchdog_deadline, until);
    }

    /// Whether a reload has anything to do.
    pub fn can_reload(&self) -> bool {
        let service = &self.unit.service;
        service.kind == ServiceType::NotifyReload || !service.exec_reload.is_empty()
    }

    /// Begins a reload; the manager made sure that the service can.
    pub fn reload(&mut self, out: &mut Out) {
        let by_itself = self.state == SubState::Reload && self.reloading == Reloading::ByItself;
        if self.state != SubState::Running && !by_itself {
            return;
        }
        self.verdict = None;
        if self.unit.service.kind == ServiceType::NotifyReload
            && let Some(main) = self.main
        {
            let signal = self.unit.service.reload_signal;
            for signal in [signal, Signal::CONT] {
                out.act(Action::KillProcess { process: main.process, signal });
            }
            self.enter(out, SubState::Reload, self.unit.service.timeout_start);
            self.reloading = Reloading::Asked(out.now);
        }
        if !self.unit.service.exec_reload.is_empty() {
            self.run_list(out, ProcessRole::ExecReload);
        }
    }

    /// Every ExecReload= has ended well: what the service itself has to say may still be missing.
    pub(super) fn reload_commands_done(&mut self, out: &mut Out) {
        match self.reloading {
            Reloading::Untold | Reloading::Finished => self.reloaded(out),
            Reloading::ByItself | Reloading::Asked(_) | Reloading::Begun => {
                self.arm(out, self.unit.service.timeout_start);
            }
        }
    }

    /// How often it must say `WATCHDOG=1` now.
    fn watchdog_period(&self) -> Option<Duration> {
        let said = self.said.as_ref().and_then(|said| said.watchdog);
        said.or(self.unit.service.watchdog).filter(|period| !period.is_zero())
    }

    /// Begins to expect `WATCHDOG=1`: it is ready.
    pub(super) fn begin_watchdog(&mut self, out: &Out) {
        self.watchdog_deadline = self.watchdog_period().map(|period| out.now.after(period));
    }

    /// It said `WATCHDOG=1`, or how often it will.
    fn feed_watchdog(&mut self, out: &Out) {
        if matches!(self.state, SubState::StartPost | SubState::Running | SubState::Reload) {
            self.begin_watchdog(out);
        }
    }

    /// `WATCHDOG=1` did not come in time, or the service wants it to be taken so.
    pub(super) fn watchdog_over(&mut self, out: &mut Out, triggered: bool) {
        self.watchdog_deadline = None;
        let lives = matches!(
            self.state,
            SubState::Start | SubState::StartPost | SubState::Running | SubState::Reload
        );
        if !lives {
            return;
        }
        out.record(Fact::Watchdog {
            unit: self.unit.name.clone(),
            period: self.watchdog_period().filter(|_| !triggered),
            signal: self.signal_of(SubState::StopWatchdog),
        });
        self.note(ServiceResult::Watchdog, None);
        self.signal(out, SubState::StopWatchdog);
    }

    /// `STATUS=` of this run, or of the last one.
    pub fn status_text(&self) -> Option<&str> {
        self.said.as_ref().and_then(|said| said.status.as_deref())
    }

    /// `ERRNO=` of this run, or of the last one.
    pub fn status_errno(&self) -> Option<i32> {
        self.said.as_ref().and_then(|said| said.errno)
    }
}
