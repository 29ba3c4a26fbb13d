//! rinitctl's verbs and options: the one definition behind parsing, `--help`, completions and man
//! pages.
//!
//! Not what they do (a module each), and not how a mistake in them is told (`usage`). The
//! words are systemctl's where it has them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::unit::instances::excess;
use crate::unit::timespan::parse_timespan;

const EXIT_STATUS: &str = "\
Exit status:
  0   done, or what was asked is so
  1   failed
  3   the unit is not active (status, is-active)
  4   there is no such unit
  5   the time was over
  6   there is no rinit to talk to
  64  wrong usage
  71  standard output could not be written
  78  the units on disk have errors (check, daemon-reload, apply)
With several units the highest of theirs.";

/// Looks at a running rinit and its units, and changes what runs.
#[derive(Parser, Clone, PartialEq, Debug)]
#[command(
    name = "rinitctl",
    version,
    after_help = EXIT_STATUS,
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    next_line_help = false
)]
pub struct Arguments {
    /// Options that every verb has.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb has.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// rinit's control socket (RINIT_SOCKET; else it is looked for)
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// No colours, no dots, no lines of trees, no progress: for scripts and screen readers
    #[arg(long, global = true)]
    pub plain: bool,
    /// Show long lines whole: status and list-units cut them where the terminal ends
    #[arg(short = 'l', long, global = true)]
    pub full: bool,
    /// How long to wait: 5s, 2min, infinity (jobs, wait, events, logs,
    /// daemon-reload and apply: for ever; else 25s)
    #[arg(long, global = true, value_name = "TIME", value_parser = timeout)]
    pub timeout: Option<Timeout>,
}

/// `--timeout`: `None` is infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout(pub Option<Duration>);

fn timeout(text: &str) -> Result<Timeout, String> {
    parse_timespan(text).map(Timeout).map_err(|error| error.to_string())
}

/// Units that a verb is about.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Units {
    /// A unit; .service is implied, * and ? stand for any characters
    #[arg(value_name = "UNIT", required = true)]
    pub units: Vec<String>,
}

/// What `start`, `stop`, `restart` and `reload` take.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// The units.
    #[command(flatten)]
    pub units: Units,
    /// Do not wait until it is done
    #[arg(long)]
    pub no_block: bool,
}

/// `scale`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Scale {
    /// A unit and how many instances of it there are to be: up to 4096; 0 is none
    #[arg(value_name = "UNIT=N", required = true, value_parser = number)]
    pub numbers: Vec<(String, u32)>,
    /// Do not wait until it is done
    #[arg(long)]
    pub no_block: bool,
}

fn number(text: &str) -> Result<(String, u32), String> {
    let (unit, number) = text.split_once('=').ok_or("a unit and a number are needed: web=4")?;
    let number = number.parse().map_err(|_| format!("{number} is no number of instances"))?;
    if let Some(excess) = excess(number) {
        return Err(excess);
    }
    if unit.is_empty() { Err("no unit is named".to_owned()) } else { Ok((unit.to_owned(), number)) }
}

/// A verb.
#[derive(Subcommand, Clone, PartialEq, Debug)]
pub enum Verb {
    /// Show how units are, or how all is
    Status {
        /// A unit; none: the whole
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
        /// How many recent events, and lines that it wrote, to show
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
        lines: usize,
    },
    /// List the units
    ListUnits(List),
    /// Show properties of units
    Show {
        /// The units.
        #[command(flatten)]
        units: Units,
        /// Only these properties, in this order
        #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
        property: Vec<String>,
        /// Only the values
        #[arg(long)]
        value: bool,
    },
    /// Show the definition of units as rinit has read it
    Cat(Units),
    /// Start units
    Start(Job),
    /// Stop units
    Stop(Job),
    /// Stop units and start them again
    Restart(Job),
    /// Tell units to read their configuration again (ExecReload=)
    Reload(Job),
    /// Have another number of instances of services with Instances=
    Scale(Scale),
    /// Send a signal to processes of units
    Kill(Kill),
    /// Show what happens
    Events(Events),
    /// Show what units have written
    Logs(Logs),
    /// Show all units and what happens, live, with keys to restart, stop and follow
    Top,
    /// Wait until units are in a state
    Wait {
        /// The units.
        #[command(flatten)]
        units: Units,
        /// The state
        #[arg(long = "for", value_name = "STATE", value_enum, default_value_t = Goal::Active)]
        goal: Goal,
    },
    /// Print the state of units; 0 if one is active, else 3
    IsActive {
        /// The units.
        #[command(flatten)]
        units: Units,
        /// Print nothing
        #[arg(short, long)]
        quiet: bool,
    },
    /// Print the state of units; 0 if one has failed, else 1
    IsFailed {
        /// The units.
        #[command(flatten)]
        units: Units,
        /// Print nothing
        #[arg(short, long)]
        quiet: bool,
    },
    /// Print the state of the whole; 0 if it is running, else 1
    IsSystemRunning {
        /// Print nothing
        #[arg(short, long)]
        quiet: bool,
    },
    /// Forget failures and counted starts
    ResetFailed {
        /// A unit; none: all
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
    },
    /// Show what units require, as a tree
    ListDependencies(Dependencies),
    /// Read units as rinit would and say what is wrong: 0 if they may start, else 78
    Check(Check),
    /// Explain where the time of the boot went
    Analyze {
        /// What to show
        #[command(subcommand)]
        what: Option<Analyze>,
    },
    /// Read the units on disk again; an error changes nothing
    DaemonReload,
    /// Read the units again, start the new, stop the removed, restart the changed
    Apply {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Stop everything and exit, as SIGTERM does
    Shutdown,
    /// Explain a directive of units or a verb, or list all directives
    Help {
        /// A directive, as RestartSec, or a verb
        name: Option<String>,
    },
    /// Print a completion script
    Completions {
        /// For this shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print rinitctl's manual page, or write all pages into a directory
    Man {
        /// Where to write the pages, one a verb
        directory: Option<PathBuf>,
    },
}

/// `list-units`.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// Only units with such a name
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Only units in these states: load, active or sub
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub state: Vec<String>,
    /// Only units that have failed
    #[arg(long)]
    pub failed: bool,
    /// All units: what is done in any case
    #[arg(short, long)]
    pub all: bool,
    /// No heading and no count
    #[arg(long)]
    pub no_legend: bool,
}

/// `kill`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Kill {
    /// The units.
    #[command(flatten)]
    pub units: Units,
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGTERM")]
    pub signal: String,
    /// Which processes
    #[arg(long, value_enum, value_name = "WHOM", default_value_t = Whom::All)]
    pub kill_whom: Whom,
}

/// `events`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Events {
    /// Only of this unit
    #[arg(short, long, value_name = "UNIT")]
    pub unit: Option<String>,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Only what comes from now on (with --follow)
    #[arg(long, requires = "follow")]
    pub new: bool,
}

/// `logs`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Logs {
    /// A unit, * and ? stand for any characters; none: all
    #[arg(value_name = "UNIT")]
    pub units: Vec<String>,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines, the last (all that rinit remembers; with --follow 10)
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Only from then on: 10min (ago), or a time as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// `list-dependencies`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Dependencies {
    /// The root; none: all units that nothing requires
    #[arg(value_name = "UNIT")]
    pub unit: Option<String>,
    /// What requires the unit, not what it requires
    #[arg(long)]
    pub reverse: bool,
    /// What the unit is ordered after
    #[arg(long, conflicts_with_all = ["reverse", "before"])]
    pub after: bool,
    /// What the unit is ordered before
    #[arg(long, conflicts_with = "reverse")]
    pub before: bool,
    /// For Graphviz: list-dependencies --dot | dot -Tsvg
    #[arg(long, conflicts_with_all = ["mermaid", "json"])]
    pub dot: bool,
    /// For Mermaid, which Markdown has
    #[arg(long, conflicts_with = "json")]
    pub mermaid: bool,
}

/// `check`.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Check {
    /// The directory of units (repeatable; default: RINIT_UNITS, else /etc/rinit)
    #[arg(long, value_name = "DIR")]
    pub units: Vec<PathBuf>,
    /// A warning counts as an error
    #[arg(long)]
    pub strict: bool,
    /// These files too, in place of DIR's of the same name; a directory is one more DIR. Without
    /// DIR: these, and the units in their directories that they name; a unit that is required and
    /// not there is an error
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What `analyze` shows; the words are systemd-analyze's.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Analyze {
    /// How long the boot took
    Time,
    /// The units by the time that their start took
    Blame,
    /// What the unit that was ready last, or this one, waited for
    CriticalChain {
        /// The unit
        #[arg(value_name = "UNIT")]
        unit: Option<String>,
    },
    /// The boot as bars: an SVG on standard output
    Plot,
    /// As check
    Verify(Check),
}

/// What `wait` waits for.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// It runs, or has ended well and stays active
    Active,
    /// It does not run
    Inactive,
    /// It has failed
    Failed,
}

impl Goal {
    /// The ActiveState.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::Active => "active",
            Goal::Inactive => "inactive",
            Goal::Failed => "failed",
        }
    }
}

/// Which processes `kill` is about (systemctl's `--kill-whom=`).
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    /// The main process
    Main,
    /// The process of ExecReload= and the like
    Control,
    /// All of the unit
    All,
}

impl Whom {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Whom::Main => "main",
            Whom::Control => "control",
            Whom::All => "all",
        }
    }
}

/// Shells that there is a completion script for.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // their names
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}
