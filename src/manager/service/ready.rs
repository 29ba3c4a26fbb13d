//! What a start still waits for, and where the main process of a `Type=forking` service is.
//!
//! Not what is heard (`notify`) and not the probing (`health`). **Invariant:** a service leaves
//! `start` for the better in one place, [`Service::came`], once everything that was declared has
//! come.

use std::time::Duration;

use super::super::event::{Action, Fact, ProcessId, ProcessRole};
use super::super::out::Out;
use super::super::state::{ServiceResult, SubState};
use super::super::time::Timestamp;
use super::{Live, Service};
use crate::unit::process::ExitStatus;
use crate::unit::service::{Service as Settings, ServiceType};

/// How long until a `PIDFile=` that is not there yet is looked for again.
const FIND_AGAIN: Duration = Duration::from_millis(200);

/// One thing that a start may wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// The process itself: its fork, its exec, or the daemon that `Type=forking` leaves.
    Process,
    /// `READY=1`.
    Notice,
    /// A newline on `NotificationFd=`.
    Line,
    /// `SuccessThreshold=` good probes in a row.
    Health,
    /// `ReadyOn = "accept"`.
    Accept,
    /// A line with `ReadyLogPattern=`.
    Pattern,
}

impl Source {
    const ALL: [Source; 6] = [
        Source::Process,
        Source::Notice,
        Source::Line,
        Source::Health,
        Source::Accept,
        Source::Pattern,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// What has not come if this has not.
    fn words(self) -> &'static str {
        match self {
            Source::Process => "its main process",
            Source::Notice => "READY=1",
            Source::Line => "a newline on NotificationFd=",
            Source::Health => "a good probe of [Health]",
            Source::Accept => "its wait for connections (ReadyOn=accept)",
            Source::Pattern => "a line with its ReadyLogPattern=",
        }
    }
}

/// What a start still waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Awaited(u8);

impl Awaited {
    /// Everything that these settings declare. A oneshot is ready when its last command has
    /// ended, whatever else it says.
    pub fn of(service: &Settings) -> Awaited {
        let probed = service.health.as_ref().is_some_and(|health| health.check.is_some());
        let notifies = matches!(service.kind, ServiceType::Notify | ServiceType::NotifyReload);
        let mut awaited = Awaited(Source::Process.bit());
        if service.kind == ServiceType::Oneshot {
            return awaited;
        }
        for (declared, source) in [
            (notifies, Source::Notice),
            (service.notification_fd.is_some(), Source::Line),
            (probed, Source::Health),
            (service.ready_on_accept, Source::Accept),
            (service.ready_log_pattern.is_some(), Source::Pattern),
        ] {
            if declared {
                awaited.0 |= source.bit();
            }
        }
        awaited
    }

    pub fn has(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }

    /// The process has said or shown nothing yet that it was to say or show.
    fn is_more_than_process(self) -> bool {
        self.0 & !Source::Process.bit() != 0
    }

    /// What is missing, in words.
    fn words(self) -> String {
        let missing = Source::ALL.into_iter().filter(|source| self.has(*source));
        missing.map(Source::words).collect::<Vec<_>>().join(" and ")
    }
}

/// The search for the main process that a `Type=forking` start leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Search {
    /// None.
    #[default]
    Over,
    /// The answer to [`Action::FindMain`] is on its way.
    Asked,
    /// As `Asked`, after a main process that ended so: it may have handed over to another.
    HandOver(ServiceResult, ExitStatus),
    /// `PIDFile=` was not there: it is looked for again.
    Again(Timestamp),
    /// `PIDFile=` was not there: it is looked for again after ExecStartPost=.
    Later,
    /// There is no main process: the service lasts until it has no process left.
    Mainless,
}

impl Search {
    /// When it goes on by itself.
    pub fn again_at(self) -> Option<Timestamp> {
        match self {
            Search::Again(at) => Some(at),
            Search::Over
            | Search::Asked
            | Search::HandOver(..)
            | Search::Later
            | Search::Mainless => None,
        }
    }
}

impl Service {
    /// One of the things that the start waits for has come.
    pub(super) fn came(&mut self, out: &mut Out, source: Source) {
        if self.state != SubState::Start || !self.awaited.has(source) {
            return;
        }
        self.awaited.0 &= !source.bit();
        if self.awaited.0 == 0 {
            self.last_word = None;
            self.list_done(out, ProcessRole::ExecStart);
        }
    }

    /// A newline came on `NotificationFd=`.
    pub fn on_said_ready(&mut self, out: &mut Out, process: ProcessId) {
        if self.live(process).is_some_and(|live| live.role == ProcessRole::ExecStart) {
            self.came(out, Source::Line);
        }
    }

    /// A line had the `ReadyLogPattern=`.
    pub fn on_matched(&mut self, out: &mut Out, process: ProcessId) {
        if self.live(process).is_some_and(|live| live.role == ProcessRole::ExecStart) {
            self.came(out, Source::Pattern);
        }
    }

    /// The main process ended with success. If it was to say more before, that is a failure.
    pub(super) fn ended_unready(&mut self, out: &mut Out, exit: ExitStatus) {
        if self.awaited.is_more_than_process() {
            let reason = format!("its main process ended ({exit}) before {}", self.awaited.words());
            self.broke_protocol(out, reason, Some(exit));
        }
    }

    fn broke_protocol(&mut self, out: &mut Out, reason: String, exit: Option<ExitStatus>) {
        out.record(Fact::Protocol { unit: self.unit.name.clone(), reason });
        self.note(ServiceResult::Protocol, exit);
    }

    /// What a start, or a reload, has waited for in vain.
    pub(super) fn missing(&self) -> String {
        match (self.awaited_words(), &self.last_word) {
            (words, Some(last)) if !words.is_empty() => {
                format!("{words}; the last word was: {last}")
            }
            (words, _) => words,
        }
    }

    /// Nobody is left of whom what is missing could come.
    fn left_nobody(&self) -> String {
        let words = self.awaited_words();
        let have = if words.contains(" and ") { "have" } else { "has" };
        let why = self.last_word.as_ref().map_or_else(String::new, |last| format!(" ({last})"));
        format!("no process is left, and {words} {have} not come{why}")
    }

    fn awaited_words(&self) -> String {
        match self.state {
            SubState::Start => self.awaited.words(),
            SubState::StartPost if matches!(self.search, Search::Again(_)) => {
                Source::Process.words().to_string()
            }
            SubState::Reload if self.control.is_none() => Source::Notice.words().to_string(),
            SubState::Dead
            | SubState::Condition
            | SubState::StartPre
            | SubState::StartPost
            | SubState::Listening
            | SubState::Running
            | SubState::Exited
            | SubState::Reload
            | SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill
            | SubState::AutoRestart
            | SubState::Failed => String::new(),
        }
    }

    /// `Type=forking`: the first process is gone.
    pub(super) fn first_ended(&mut self, out: &mut Out, result: ServiceResult, exit: ExitStatus) {
        if self.state != SubState::Start {
            self.process_gone(out);
        } else if result == ServiceResult::Success {
            self.find_main(out);
        } else {
            self.note(result, Some(exit));
            self.signal(out, SubState::StopSigterm);
        }
    }

    /// Asks for the daemon, unless it said `MAINPID=` itself.
    fn find_main(&mut self, out: &mut Out) {
        if self.main.is_some() {
            self.came(out, Source::Process);
            return;
        }
        self.search = Search::Asked;
        out.act(Action::FindMain { unit: self.unit.clone() });
    }

    /// It is the time to look for `PIDFile=` again.
    pub(super) fn find_again(&mut self, out: &mut Out) {
        if matches!(self.search, Search::Again(at) if at <= out.now) {
            self.find_main(out);
        }
    }

    /// ExecStartPost= is done: it may have been what writes `PIDFile=`.
    pub(super) fn start_posted(&mut self, out: &mut Out) {
        if self.search == Search::Later && self.main.is_none() {
            self.find_main(out);
        } else {
            self.up(out);
        }
    }

    /// The daemon of a `Type=forking` service is this one, or there is none.
    pub fn on_found_main(&mut self, out: &mut Out, main: Result<ProcessId, String>) {
        let search = self.search;
        if !matches!(search, Search::Asked | Search::HandOver(..)) {
            return;
        }
        self.search = Search::Over;
        match (search, main) {
            (_, Ok(process)) => {
                self.take_main(out, process);
                self.found(out);
            }
            (Search::HandOver(result, exit), Err(_)) => self.main_is_gone(out, result, exit),
            (_, Err(why)) if self.unit.service.pid_file.is_some() => {
                self.last_word = Some(why.into());
                // What needs a main process to ask cannot wait for ExecStartPost=.
                let writes_it = self.state == SubState::Start
                    && !self.awaited.is_more_than_process()
                    && !self.commands(ProcessRole::ExecStartPost).is_empty();
                if writes_it {
                    self.search = Search::Later;
                    self.came(out, Source::Process);
                } else {
                    self.look_again(out);
                }
            }
            (_, Err(_)) => {
                self.search = Search::Mainless;
                self.watch_empty(out);
                self.came(out, Source::Process);
            }
        }
    }

    /// Waits for `PIDFile=` for as long as there is a process that might write it.
    fn look_again(&mut self, out: &mut Out) {
        self.search = Search::Again(out.now.after(FIND_AGAIN));
        self.watch_empty(out);
    }

    pub(super) fn found(&mut self, out: &mut Out) {
        if self.state == SubState::StartPost {
            self.up(out);
        } else {
            self.came(out, Source::Process);
        }
    }

    /// `process` is the main process from now on; the old one is only one of the unit's.
    pub(super) fn take_main(&mut self, out: &mut Out, process: ProcessId) {
        let ignore_failure = self.main.is_some_and(|main| main.ignore_failure);
        let role = ProcessRole::ExecStart;
        let live = Live { process, role, since: out.now, ignore_failure };
        if let Some(old) = self.main.replace(live) {
            out.processes.remove(&old.process);
        }
        out.processes.insert(process, self.unit.name.clone());
        self.main_exit = None;
        self.search = Search::Over;
        self.main_lives(out);
    }

    /// The main process of a `Type=forking` service ended: by `PIDFile=` another may have taken
    /// its place (systemd re-reads it then, too).
    pub(super) fn hands_over(
        &mut self,
        out: &mut Out,
        result: ServiceResult,
        exit: ExitStatus,
    ) -> bool {
        let service = &self.unit.service;
        let may = service.kind == ServiceType::Forking && service.pid_file.is_some();
        let asks = may && self.state == SubState::Running && self.search == Search::Over;
        if asks {
            self.search = Search::HandOver(result, exit);
            out.act(Action::FindMain { unit: self.unit.clone() });
        }
        asks
    }

    /// Nobody looks for a main process any more.
    pub(super) fn end_search(&mut self) {
        if let Search::HandOver(result, exit) = std::mem::take(&mut self.search) {
            self.note(result, Some(exit));
        }
    }

    /// Whether it is up although it has no main process.
    pub(super) fn is_mainless(&self) -> bool {
        self.search == Search::Mainless
    }

    /// Has the shell say when no process of the unit is left.
    pub(super) fn watch_empty(&self, out: &mut Out) {
        out.act(Action::KillUnit { unit: self.unit.name.clone(), signal: None });
    }

    /// No process of the unit is left, and it is not being stopped.
    pub(super) fn emptied(&mut self, out: &mut Out) {
        let waits = matches!(self.search, Search::Again(_));
        let starts = self.state == SubState::Start && (waits || self.is_mainless());
        if starts || self.state == SubState::StartPost && waits {
            let reason = self.left_nobody();
            self.broke_protocol(out, reason, None);
            self.signal(out, SubState::StopSigterm);
        } else if self.is_mainless() && self.state == SubState::Running {
            self.main_gone(out);
        }
    }
}
