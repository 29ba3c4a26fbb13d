//! What a process can tell: signals, exit statuses, the stage at which an exec failed.
//!
//! Not processes themselves: no pid is known here. Shared by `sys`, which sees these things
//! happen, and `manager`, which decides about them.

use std::fmt;

/// A signal by its Linux number, 1 to 64 (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// First and last real-time signal as a program with glibc sees them (signal(7)): 32 and 33
/// are the threading library's own.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Linux's numbers on x86, arm and riscv (signal(7)); the three with a second name have it below.
const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Second names of signals that have one.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

impl Signal {
    #![allow(missing_docs)] // the constants are signal(7)'s names
    pub const HUP: Signal = Signal(1);
    pub const INT: Signal = Signal(2);
    pub const QUIT: Signal = Signal(3);
    pub const ABRT: Signal = Signal(6);
    pub const KILL: Signal = Signal(9);
    pub const USR1: Signal = Signal(10);
    pub const SEGV: Signal = Signal(11);
    pub const USR2: Signal = Signal(12);
    pub const PIPE: Signal = Signal(13);
    pub const TERM: Signal = Signal(15);
    pub const CHLD: Signal = Signal(17);
    pub const CONT: Signal = Signal(18);
    pub const STOP: Signal = Signal(19);
    pub const TSTP: Signal = Signal(20);
    pub const TTIN: Signal = Signal(21);
    pub const TTOU: Signal = Signal(22);
    pub const WINCH: Signal = Signal(28);
    pub const PWR: Signal = Signal(30);
    /// `RTMIN+3`: "stop" to an init, by systemd's convention, which Podman and LXC follow.
    pub const RTMIN_3: Signal = Signal(RTMIN + 3);
    /// Signals of terminals and of bookkeeping: to an init they are about itself, and mean
    /// nothing to it.
    pub const BOOKKEEPING: [Signal; 7] = [
        Signal::CHLD,
        Signal::CONT,
        Signal::PIPE,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::STOP,
    ];

    /// What a process does to itself: SIGILL, TRAP, ABRT, BUS, FPE, SEGV, SYS.
    pub const FAULTS: [Signal; 7] =
        [Signal(4), Signal(5), Signal::ABRT, Signal(7), Signal(8), Signal::SEGV, Signal(31)];

    /// The signal with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Signal> {
        (1..=RTMAX).contains(&number).then_some(Signal(number))
    }

    /// Reads `SIGTERM`, `TERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
    pub fn parse(text: &str) -> Option<Signal> {
        if let Ok(number) = text.parse::<i32>() {
            return Signal::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = NAMES.iter().chain(ALIASES.iter()).find(|(n, _)| *n == name);
        known.map(|(_, number)| Signal(*number)).or_else(|| parse_real_time(name))
    }

    /// The kernel's number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The name without `SIG`, as `EXIT_STATUS` of systemd.exec(5) has it.
    pub fn name(self) -> String {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => (*name).to_string(),
            None if self.0 == RTMIN => "RTMIN".to_string(),
            None if self.0 > RTMIN => format!("RTMIN+{}", self.0 - RTMIN),
            None => self.0.to_string(),
        }
    }
}

fn parse_real_time(name: &str) -> Option<Signal> {
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<i32>().ok().filter(|n| (0..=RTMAX).contains(n)),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(rest, '+')?
    } else {
        RTMAX - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{}", self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a process ended (wait(2)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ExitStatus {
    /// It called `_exit` with this status, 0 to 255.
    Exited(u8),
    /// A signal ended it.
    Killed {
        /// The signal.
        signal: Signal,
        /// The kernel wrote a core dump.
        core_dumped: bool,
    },
}

impl ExitStatus {
    /// What a shell's `$?` would be: the code, or 128 plus the signal.
    pub fn shell_code(self) -> u8 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Killed { signal, .. } => u8::try_from(128 + signal.number()).unwrap_or(255),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exited with status {code}"),
            ExitStatus::Killed { signal, core_dumped: false } => write!(f, "killed by {signal}"),
            ExitStatus::Killed { signal, core_dumped: true } => {
                write!(f, "killed by {signal} (core dumped)")
            }
        }
    }
}

/// What a child was doing between fork and exec when it failed: the first half of every
/// report on the error pipe. The numbers are the wire format between child and parent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum ExecStage {
    /// setsid(2) or setpgid(2).
    Session = 1,
    /// Taking the terminal: `TIOCSCTTY`, tcsetpgrp(3).
    Terminal = 2,
    /// Opening or moving standard input.
    StandardInput = 3,
    /// Opening or moving standard output.
    StandardOutput = 4,
    /// Opening or moving standard error.
    StandardError = 5,
    /// setrlimit(2).
    Limits = 6,
    /// setpriority(2).
    Nice = 7,
    /// Writing `/proc/self/oom_score_adj`.
    OomScoreAdjust = 8,
    /// setgroups(2) or setgid(2).
    Group = 9,
    /// setuid(2).
    User = 10,
    /// chdir(2).
    WorkingDirectory = 11,
    /// execve(2).
    Exec = 12,
    /// Moving the descriptors that the program is given beside its streams.
    Descriptors = 13,
    /// Entering the unit's control group.
    Cgroup = 14,
}

impl ExecStage {
    /// Every stage, in the order in which the child goes through them.
    pub const ALL: [ExecStage; 14] = [
        ExecStage::Cgroup,
        ExecStage::Session,
        ExecStage::Terminal,
        ExecStage::StandardInput,
        ExecStage::StandardOutput,
        ExecStage::StandardError,
        ExecStage::Descriptors,
        ExecStage::Limits,
        ExecStage::Nice,
        ExecStage::OomScoreAdjust,
        ExecStage::Group,
        ExecStage::User,
        ExecStage::WorkingDirectory,
        ExecStage::Exec,
    ];

    /// The stage with this number on the wire.
    pub fn from_number(number: u8) -> Option<ExecStage> {
        ExecStage::ALL.into_iter().find(|stage| *stage as u8 == number)
    }

    /// The exit status that systemd gives such a failure (systemd.exec(5), PROCESS EXIT CODES).
    pub fn exit_code(self) -> u8 {
        match self {
            ExecStage::WorkingDirectory => 200,
            ExecStage::Nice => 201,
            ExecStage::Descriptors => 202,
            ExecStage::Exec => 203,
            ExecStage::Limits => 205,
            ExecStage::OomScoreAdjust => 206,
            ExecStage::StandardInput | ExecStage::Terminal => 208,
            ExecStage::StandardOutput => 209,
            ExecStage::Group => 216,
            ExecStage::User => 217,
            ExecStage::Cgroup => 219,
            ExecStage::Session => 220,
            ExecStage::StandardError => 222,
        }
    }
}

/// A child that never became the program: at which stage, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecError {
    /// The stage.
    pub stage: ExecStage,
    /// The kernel's error number (errno(3)).
    pub errno: i32,
    /// The whole sentence, as in `chdir /app: No such file or directory`.
    pub message: String,
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("15", 15),
            ("RTMIN+3", 37),
            ("SIGRTMIN", 34),
            ("RTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("POLL", 29),
        ] {
            assert_eq!(Signal::parse(text).map(Signal::number), Some(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-1", "RTMIN+31", "RTMIN-1", "RTMAX-31", "TERMINATE"] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_signal_is_read_back_from_its_name() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.name()), Some(signal));
        }
        assert_eq!(Signal::RTMIN_3.to_string(), "SIGRTMIN+3");
    }

    #[test]
    fn stages_cross_the_wire() {
        for stage in ExecStage::ALL {
            assert_eq!(ExecStage::from_number(stage as u8), Some(stage));
            assert!((200..=245).contains(&stage.exit_code()), "{stage:?}");
        }
        assert_eq!(ExecStage::from_number(0), None);
    }

    #[test]
    fn status_as_a_shell_sees_it() {
        assert_eq!(ExitStatus::Exited(3).shell_code(), 3);
        let killed = ExitStatus::Killed { signal: Signal::KILL, core_dumped: false };
        assert_eq!(killed.shell_code(), 137);
    }
}
