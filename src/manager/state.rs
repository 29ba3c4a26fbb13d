//! The words for where a service is: sub-states, active states, results.
//!
//! Not the machine (`service`). The words are systemd's (`systemctl show -p SubState`).

use std::fmt;

/// Where a service is, in detail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum SubState {
    /// It does not run.
    Dead,
    /// Its conditions are looked at, or an ExecCondition= runs.
    Condition,
    /// An ExecStartPre= runs.
    StartPre,
    /// The main process was started and the unit is not ready yet.
    Start,
    /// An ExecStartPost= runs.
    StartPost,
    /// A socket waits for its first connection.
    Listening,
    /// The main process runs; of a socket: its service does.
    Running,
    /// It ended well and stays active (RemainAfterExit=).
    Exited,
    /// An ExecReload= runs.
    Reload,
    /// An ExecStop= runs.
    Stop,
    /// KillSignal= was sent.
    StopSigterm,
    /// FinalKillSignal= was sent.
    StopSigkill,
    /// WatchdogSignal= was sent because a timeout is to leave a core dump.
    StopWatchdog,
    /// An ExecStopPost= runs.
    StopPost,
    /// What was left after ExecStopPost= was sent KillSignal=.
    FinalSigterm,
    /// What was left after ExecStopPost= was sent FinalKillSignal=.
    FinalSigkill,
    /// It waits to be started again.
    AutoRestart,
    /// It ended for good, and not well.
    Failed,
}

impl SubState {
    /// Every sub-state.
    pub const ALL: [SubState; 18] = [
        SubState::Dead,
        SubState::Condition,
        SubState::StartPre,
        SubState::Start,
        SubState::StartPost,
        SubState::Listening,
        SubState::Running,
        SubState::Exited,
        SubState::Reload,
        SubState::Stop,
        SubState::StopSigterm,
        SubState::StopSigkill,
        SubState::StopWatchdog,
        SubState::StopPost,
        SubState::FinalSigterm,
        SubState::FinalSigkill,
        SubState::AutoRestart,
        SubState::Failed,
    ];

    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            SubState::Dead => "dead",
            SubState::Condition => "condition",
            SubState::StartPre => "start-pre",
            SubState::Start => "start",
            SubState::StartPost => "start-post",
            SubState::Listening => "listening",
            SubState::Running => "running",
            SubState::Exited => "exited",
            SubState::Reload => "reload",
            SubState::Stop => "stop",
            SubState::StopSigterm => "stop-sigterm",
            SubState::StopSigkill => "stop-sigkill",
            SubState::StopWatchdog => "stop-watchdog",
            SubState::StopPost => "stop-post",
            SubState::FinalSigterm => "final-sigterm",
            SubState::FinalSigkill => "final-sigkill",
            SubState::AutoRestart => "auto-restart",
            SubState::Failed => "failed",
        }
    }

    /// The coarse state that this is a part of (systemd's `state_translation_table`).
    pub fn active_state(self) -> ActiveState {
        match self {
            SubState::Dead => ActiveState::Inactive,
            SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::AutoRestart => ActiveState::Activating,
            SubState::Listening | SubState::Running | SubState::Exited => ActiveState::Active,
            SubState::Reload => ActiveState::Reloading,
            SubState::Stop
            | SubState::StopSigterm
            | SubState::StopSigkill
            | SubState::StopWatchdog
            | SubState::StopPost
            | SubState::FinalSigterm
            | SubState::FinalSigkill => ActiveState::Deactivating,
            SubState::Failed => ActiveState::Failed,
        }
    }
}

impl fmt::Display for SubState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a unit is, in one word that all kinds of units share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ActiveState {
    /// Not running, and nothing is wrong.
    Inactive,
    /// On its way up, or waiting to be started again.
    Activating,
    /// Up.
    Active,
    /// Up, and reading its configuration again.
    Reloading,
    /// On its way down.
    Deactivating,
    /// Not running, and something is wrong.
    Failed,
}

impl ActiveState {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ActiveState::Inactive => "inactive",
            ActiveState::Activating => "activating",
            ActiveState::Active => "active",
            ActiveState::Reloading => "reloading",
            ActiveState::Deactivating => "deactivating",
            ActiveState::Failed => "failed",
        }
    }
}

impl fmt::Display for ActiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a run ended (`SERVICE_RESULT` of systemd.exec(5)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub enum ServiceResult {
    /// Well.
    #[default]
    Success,
    /// With a status that is not clean.
    ExitCode,
    /// By a signal.
    Signal,
    /// By a signal, with a core dump.
    CoreDump,
    /// It took too long to start, stop or run.
    Timeout,
    /// rinit could not do its part: fork failed, a file was missing.
    Resources,
    /// It was started too often.
    StartLimitHit,
    /// ExecCondition= said no.
    ExecCondition,
    /// It did not keep to what its `Type=` promises.
    Protocol,
    /// It did not say `WATCHDOG=1` in time.
    Watchdog,
    /// It was killed for its memory.
    OomKill,
    /// Its probes failed (ours).
    Health,
    /// Connections started it too often, in vain (`TriggerLimit*=` of systemd.socket(5)).
    TriggerLimitHit,
    /// The service of a socket was started too often.
    ServiceStartLimitHit,
}

impl ServiceResult {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceResult::Success => "success",
            ServiceResult::ExitCode => "exit-code",
            ServiceResult::Signal => "signal",
            ServiceResult::CoreDump => "core-dump",
            ServiceResult::Timeout => "timeout",
            ServiceResult::Resources => "resources",
            ServiceResult::StartLimitHit => "start-limit-hit",
            ServiceResult::ExecCondition => "exec-condition",
            ServiceResult::Protocol => "protocol",
            ServiceResult::Watchdog => "watchdog",
            ServiceResult::OomKill => "oom-kill",
            ServiceResult::Health => "health",
            ServiceResult::TriggerLimitHit => "trigger-limit-hit",
            ServiceResult::ServiceStartLimitHit => "service-start-limit-hit",
        }
    }
}

impl fmt::Display for ServiceResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_once() {
        let words: std::collections::BTreeSet<_> =
            SubState::ALL.into_iter().map(SubState::as_str).collect();
        assert_eq!(words.len(), SubState::ALL.len());
    }
}
