//! The invariants by name, each with the sentence that says what it demands.
//!
//! Not how they are seen to hold: `invariants`, `stopping` and `starting` do that.

use std::fmt;

macro_rules! rules {
    ($($rule:ident: $text:literal,)*) => {
        /// One demand on every run.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Rule { $(#[doc = $text] $rule,)* }

        impl Rule {
            /// What it demands.
            pub(super) fn sentence(self) -> &'static str {
                match self { $(Rule::$rule => $text,)* }
            }
        }
    };
}

rules! {
    Panics: "the manager neither panics nor settles for ever",
    OneMain: "a unit has at most one main process",
    StateChain: "a change of state begins where the one before it ended",
    StateTable: "a unit goes from one state to another only along the allowed pairs",
    AfterWaits: "a unit does not begin to start while one that it is After has a job to end",
    RequiresHolds: "a unit does not start at boot when one that it requires, and is After, failed",
    ConditionHolds: "nothing is spawned for a start whose condition or assertion is false",
    ConflictHolds: "a unit is not spawned while one that it conflicts with has processes",
    BindsToHolds: "a unit does not stay up without the one that it binds to",
    WaitEnds: "a state that waits has a deadline, a live process or an answer to come",
    StopPrompt: "a stop goes on the moment that the last process is gone",
    StopOrder: "a unit's stop begins only when all that are After it are down",
    StopBounded: "with finite timeouts a requested stop ends in bounded time",
    KillInState: "a unit is sent a fatal signal only in a state that ends it",
    NoStartInStop: "nothing is started once the stop of everything has begun",
    DelayFormula: "a restart's delay is within 10 % of the formula for its attempt",
    AttemptCount: "the attempt grows by one, and falls back after RestartResetSec= up",
    DelayKept: "a restart does not come before its delay is over",
    RetryDelay: "a failed fork is tried again only after a delay that is not zero",
    StartLimit: "a window holds StartLimitBurst= starts, and the limit is hit no earlier",
    FailureAction: "a final failure with FailureAction= stops everything, within the budget",
    OneReply: "a request gets exactly one reply",
    Forgotten: "a request is answered when nothing goes on any more",
    Stuck: "no unit waits, and rinit does not stay, when nothing can happen any more",
    Budget: "rinit exits before the budget of a stop is spent",
    BudgetKill: "half a second before the budget ends everything that lives was sent SIGKILL",
    HurryTold: "a second stop signal hurries the stop, and a third kills at once",
    ExitClean: "at the exit no process lives that was not sent SIGKILL",
    ExitCode: "the exit status is the one that a simple reference finds",
    AfterExit: "nothing is done after the exit",
    Livelock: "a timer that does nothing is not due again at once",
    ActionFlood: "one event has a bounded number of actions",
    ReadyFirst: "a unit counts as started only once all that it declared has come",
    ProbeLiving: "only a living main process is asked, while it starts or runs",
    ProbeOnce: "one question of a kind is asked at a time",
    Unhealthy: "bad probes stop a unit, or only mark it, as OnUnhealthy= says",
    WatchdogKept: "a watchdog that is not fed stops a unit, and no other does",
    SocketsFirst: "no main process is spawned before the sockets of its unit are open",
    SocketsClosed: "no socket is open at the exit",
    QuietFirst: "a stop that closes a socket waits for its queue, at most half a second",
    StaleIgnored: "an event about a process that is gone changes nothing",
}

/// A rule that did not hold, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    /// What was seen, in a few words.
    pub(super) seen: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} ({})", self.rule, self.rule.sentence(), self.seen)
    }
}
