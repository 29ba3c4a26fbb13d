//! Every random decision of a simulated run, drawn from a seed or read back from a script.
//!
//! Not the decisions' meaning: `units`, `world` and `run` know that. **Invariant:** the same
//! seed, and the script recorded from it, give the same run; a decision that a script does not
//! hold is 0, which is always the plainest case, so that a shorter script is a simpler run.

use std::collections::VecDeque;
use std::fmt;

macro_rules! labels {
    ($($label:ident = $text:literal,)*) => {
        /// What is decided. A script lists the values of each label apart, so that it stays
        /// valid when a new decision is added to the simulation.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Label { $($label,)* }

        impl Label {
            const ALL: &'static [(Label, &'static str)] = &[$((Label::$label, $text),)*];
        }
    };
}

labels! {
    Units = "units",
    Command = "command",
    Steps = "steps",
    Plain = "plain",
    Temper = "temper",
    Demand = "demand",
    Kind = "type",
    Remain = "remain",
    Lists = "lists",
    Commands = "commands",
    Dash = "dash",
    Restart = "restart",
    RestartSec = "restart-sec",
    RestartSteps = "restart-steps",
    RestartMax = "restart-max",
    RestartReset = "restart-reset",
    Statuses = "statuses",
    TimeoutStart = "timeout-start",
    TimeoutStop = "timeout-stop",
    TimeoutMode = "timeout-mode",
    RuntimeMax = "runtime-max",
    KillMode = "kill-mode",
    KillSignal = "kill-signal",
    KillFlags = "kill-flags",
    FailureAction = "failure-action",
    SuccessAction = "success-action",
    LimitAction = "limit-action",
    LimitInterval = "limit-interval",
    LimitBurst = "limit-burst",
    JobTimeout = "job-timeout",
    Condition = "condition",
    Link = "link",
    Handler = "handler",
    Budget = "budget",
    Drain = "drain",
    StopSignal = "stop-signal",
    Seed = "seed",
    Storm = "storm",
    Step = "step",
    Order = "order",
    Fate = "fate",
    Life = "life",
    Code = "code",
    Stage = "stage",
    Reaction = "reaction",
    ReactionDelay = "reaction-delay",
    KillDelay = "kill-delay",
    Stray = "stray",
    ExecDelay = "exec-delay",
    EmptyDelay = "empty-delay",
    Check = "check",
    CheckDelay = "check-delay",
    Request = "request",
    RequestUnit = "request-unit",
    Signal = "signal",
    Stale = "stale",
    Talk = "talk",
    Access = "access",
    Watchdog = "watchdog",
    Health = "health",
    Notice = "notice",
    NoticeDelay = "notice-delay",
    Ping = "ping",
    Daemon = "daemon",
    Probe = "probe",
    ProbeDelay = "probe-delay",
    Socket = "socket",
    Listen = "listen",
    Queue = "queue",
    Connect = "connect",
    Instances = "instances",
    RollOrder = "roll-order",
    Parallelism = "parallelism",
    Monitor = "monitor",
    RollFailure = "roll-failure",
    Steered = "steered",
    Wish = "wish",
    WishUnit = "wish-unit",
    WishCount = "wish-count",
    Version = "version",
    Mood = "mood",
}

/// The recorded decisions, by label.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Script {
    values: Vec<Vec<u8>>,
}

impl Script {
    /// One `label value…` a line, as [`Script`]'s `Display` writes it.
    ///
    /// # Panics
    /// On an unknown label or a value that is no number: a script is written by this module.
    pub(super) fn parse(text: &str) -> Script {
        let mut script = Script { values: vec![Vec::new(); Label::ALL.len()] };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let (label, _) = Label::ALL.iter().find(|(_, text)| *text == name).expect(name);
            script.values[*label as usize] = words.map(|word| word.parse().expect(word)).collect();
        }
        script
    }

    fn from_record(record: &[(Label, u8)]) -> Script {
        let mut script = Script { values: vec![Vec::new(); Label::ALL.len()] };
        for (label, value) in record {
            script.values[*label as usize].push(*value);
        }
        script.trim();
        script
    }

    /// The decisions, one list a label, for the shrinker.
    pub(super) fn lists(&self) -> usize {
        self.values.len()
    }

    /// The values under one label.
    pub(super) fn list(&self, index: usize) -> &[u8] {
        &self.values[index]
    }

    /// The same script with another list under one label.
    pub(super) fn with(&self, index: usize, list: Vec<u8>) -> Script {
        let mut script = self.clone();
        script.values[index] = list;
        script.trim();
        script
    }

    /// How much it holds: the shrinker makes this smaller.
    pub(super) fn weight(&self) -> (usize, usize) {
        let all = self.values.iter();
        let sum = all.clone().flatten().map(|value| usize::from(*value)).sum();
        (all.map(Vec::len).sum(), sum)
    }

    fn trim(&mut self) {
        for list in &mut self.values {
            let kept = list.iter().rposition(|value| *value != 0).map_or(0, |last| last + 1);
            list.truncate(kept);
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (list, (_, name)) in self.values.iter().zip(Label::ALL) {
            if !list.is_empty() {
                write!(f, "{name}")?;
                list.iter().try_for_each(|value| write!(f, " {value}"))?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Where decisions come from.
enum Source {
    Seed(u64),
    Script(Vec<VecDeque<u8>>),
}

/// Draws decisions and remembers them.
pub(super) struct Choices {
    source: Source,
    record: Vec<(Label, u8)>,
}

impl Choices {
    /// Decisions that this seed gives.
    pub(super) fn from_seed(seed: u64) -> Choices {
        Choices {
            source: Source::Seed(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5ee_d0f_411),
            record: Vec::with_capacity(512),
        }
    }

    /// Decisions as written down.
    pub(super) fn from_script(script: &Script) -> Choices {
        let queues = script.values.iter().map(|list| list.iter().copied().collect()).collect();
        Choices { source: Source::Script(queues), record: Vec::new() }
    }

    /// One of `0..n`; `n` is 1 to 256. 0 is the plainest.
    pub(super) fn pick(&mut self, label: Label, n: usize) -> usize {
        let value = match &mut self.source {
            Source::Seed(state) => ((u64::from(next(state)) * n as u64) >> 32) as usize,
            Source::Script(queues) => {
                let value = queues.get_mut(label as usize).and_then(VecDeque::pop_front);
                usize::from(value.unwrap_or(0)).min(n - 1)
            }
        };
        self.record.push((label, value as u8));
        value
    }

    /// True once in `n` times; false is the plain case.
    pub(super) fn rare(&mut self, label: Label, n: usize) -> bool {
        self.pick(label, n) == n - 1
    }

    /// One of a list whose first entry is the plainest.
    pub(super) fn of<T: Copy>(&mut self, label: Label, list: &[T]) -> T {
        list[self.pick(label, list.len())]
    }

    /// What was decided so far.
    pub(super) fn script(&self) -> Script {
        Script::from_record(&self.record)
    }
}

/// splitmix64's step, the upper half of its output.
fn next(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

#[test]
fn a_script_says_what_the_seed_said() {
    let draw = |choices: &mut Choices| -> Vec<usize> {
        (0..60).map(|i| choices.pick(Label::ALL[i % 5].0, 2 + i)).collect()
    };
    let mut seeded = Choices::from_seed(7);
    let first = draw(&mut seeded);
    let text = seeded.script().to_string();
    assert_eq!(draw(&mut Choices::from_script(&Script::parse(&text))), first, "{text}");
    assert_ne!(draw(&mut Choices::from_seed(8)), first);
    assert!(draw(&mut Choices::from_script(&Script::parse(""))).iter().all(|value| *value == 0));
}
