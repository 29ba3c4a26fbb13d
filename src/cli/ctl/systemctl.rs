//! The name `systemctl`: what scripts and packages in images call, answered by rinit.
//!
//! Not rinitctl's own verbs, which do the work: this reads systemctl's words and gives back
//! systemctl's exit statuses (systemctl(1): 3 not active, 4 no such unit to look at, 5 none to
//! start or stop, else 1). What only systemd can do is said and done nothing about.
//! **Invariant:** a command line that systemctl takes and that means something here is taken.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use super::args::{Job, Kill, List, Options, Units, Whom};
use super::connect::Session;
use super::failure::Failure;
use super::properties::Properties;
use super::screen::Screen;
use super::{
    DONE, FAILED, NO_SUCH_UNIT, NOT_ACTIVE, jobs, list, names, reload, show, states, status,
};
use crate::unit::environment::Environment;

/// "No such unit" of what changes something (LSB: program is not installed).
const NOT_INSTALLED: u8 = 5;

/// systemctl's command line, as far as it means something here.
#[derive(Parser, Clone, PartialEq, Debug)]
#[command(name = "systemctl", version, disable_help_subcommand = true)]
pub struct Systemctl {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Options before or after the verb. Those about systemd's own surroundings have no effect.
#[derive(Args, Clone, PartialEq, Debug)]
struct Common {
    /// Print no words about the state
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Do not wait until it is done
    #[arg(long, global = true)]
    no_block: bool,
    /// With enable and disable: start or stop as well
    #[arg(long, global = true)]
    now: bool,
    /// No heading and no count
    #[arg(long, global = true)]
    no_legend: bool,
    /// All units: what is done in any case
    #[arg(short, long, global = true)]
    all: bool,
    /// Only units that have failed
    #[arg(long, global = true)]
    failed: bool,
    /// Only units in these states
    #[arg(long, global = true, value_delimiter = ',')]
    state: Vec<String>,
    /// Only these properties
    #[arg(short, long, global = true, value_delimiter = ',')]
    property: Vec<String>,
    /// Only the values
    #[arg(long, global = true)]
    value: bool,
    /// How many recent events to show
    #[arg(short = 'n', long, global = true, default_value_t = 10)]
    lines: usize,
    /// The signal, by name or number
    #[arg(short, long, global = true, default_value = "SIGTERM")]
    signal: String,
    /// Which processes
    #[arg(long, global = true, alias = "kill-who", value_enum, default_value_t = Whom::All)]
    kill_whom: Whom,
    /// Print JSON with json or json-pretty
    #[arg(short, long, global = true)]
    output: Option<String>,
    #[arg(short = 't', long = "type", global = true, hide = true)]
    kind: Vec<String>,
    #[arg(long, global = true, hide = true)]
    no_pager: bool,
    #[arg(short = 'l', long, global = true, hide = true)]
    full: bool,
    #[arg(long, global = true, hide = true)]
    plain: bool,
    #[arg(short, long, global = true, hide = true)]
    force: bool,
    #[arg(long, global = true, hide = true)]
    system: bool,
    #[arg(long, global = true, hide = true)]
    no_ask_password: bool,
    #[arg(long, global = true, hide = true)]
    no_wall: bool,
    #[arg(long, global = true, hide = true)]
    no_reload: bool,
}

/// One of systemctl's verbs.
#[derive(Subcommand, Clone, PartialEq, Debug)]
enum Verb {
    /// Start units
    Start(Units),
    /// Stop units
    Stop(Units),
    /// Stop units and start them again
    Restart(Units),
    /// Tell units to read their configuration again
    Reload(Units),
    /// Restart those that run
    #[command(alias = "condrestart")]
    TryRestart(Units),
    /// Reload what can, restart the others
    #[command(alias = "force-reload")]
    ReloadOrRestart(Units),
    /// Of those that run: reload what can, restart the others
    TryReloadOrRestart(Units),
    /// Print the state of units; 0 if one is active, else 3
    IsActive(Units),
    /// Print whether boot starts units; 0 if it does, else 1
    IsEnabled(Units),
    /// Print the state of units; 0 if one has failed, else 1
    IsFailed(Units),
    /// Print the state of the whole; 0 if it is running, else 1
    IsSystemRunning,
    /// Nothing: what lies in a units directory is started
    Enable(Units),
    /// Nothing: a unit's Enabled= says whether boot starts it
    Disable(Units),
    /// Nothing: a unit's Enabled= says whether boot starts it
    Reenable(Units),
    /// Nothing: a unit's Enabled= says whether boot starts it
    Preset(Units),
    /// Nothing: a unit's Enabled= says whether boot starts it
    Mask(Units),
    /// Nothing: a unit's Enabled= says whether boot starts it
    Unmask(Units),
    /// Read the units on disk again
    #[command(alias = "daemon-reexec")]
    DaemonReload,
    /// Show how units are, or how all is
    Status {
        /// A unit; none: the whole
        units: Vec<String>,
    },
    /// Show properties of units
    Show(Units),
    /// Show the definition of units
    Cat(Units),
    /// List the units
    ListUnits {
        /// Only units with such a name
        patterns: Vec<String>,
    },
    /// Send a signal to processes of units
    Kill(Units),
    /// Forget failures and counted starts
    ResetFailed {
        /// A unit; none: all
        units: Vec<String>,
    },
    /// Stop everything and exit
    #[command(alias = "halt", alias = "reboot", alias = "exit")]
    Poweroff,
}

/// Whether this program was called by that name.
pub fn is_name(argument: &OsStr) -> bool {
    Path::new(argument).file_name().is_some_and(|name| name == "systemctl")
}

/// What was asked, done: text for both streams, and the exit status.
pub fn run(arguments: Vec<OsString>, environment: &Environment, screen: &mut Screen<'_>) -> u8 {
    let asked = match Systemctl::try_parse_from(arguments) {
        Ok(asked) => asked,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            screen.out(&error.render().to_string());
            return DONE;
        }
        Err(error) => {
            screen.err(&error.render().to_string());
            return FAILED;
        }
    };
    if asked.common.full {
        screen.look.columns = None;
    }
    let opened = Session::open(&Options::default(), environment);
    let done = opened.and_then(|mut session| with_rinit(&asked, &mut session, screen));
    screen.clear_progress();
    done.unwrap_or_else(|failure| {
        screen.err(&failure.line());
        status_of(asked.verb.as_ref(), failure.code)
    })
}

/// systemctl's exit status for one of ours.
fn status_of(verb: Option<&Verb>, code: u8) -> u8 {
    let looks =
        matches!(verb, None | Some(Verb::Status { .. } | Verb::Show(_) | Verb::IsActive(_)));
    let acts =
        matches!(verb, Some(Verb::Start(_) | Verb::Stop(_) | Verb::Restart(_) | Verb::Reload(_)));
    match code {
        DONE | FAILED | NOT_ACTIVE => code,
        NO_SUCH_UNIT if looks => NO_SUCH_UNIT,
        NO_SUCH_UNIT if acts => NOT_INSTALLED,
        _ => FAILED,
    }
}

fn with_rinit(
    asked: &Systemctl,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let common = &asked.common;
    let json = common.output.as_deref().is_some_and(|format| format.starts_with("json"));
    let Some(verb) = &asked.verb else {
        return list_units(common, &[], json, session, screen);
    };
    let job = |kind, units: Vec<String>, session: &mut Session, screen: &mut Screen<'_>| {
        if units.is_empty() {
            return Ok(DONE);
        }
        let job = Job { units: Units { units }, no_block: common.no_block };
        jobs::run(kind, &job, json, session, screen).map(|code| status_of(Some(verb), code))
    };
    match verb {
        Verb::Start(units) => job(jobs::Kind::Start, units.units.clone(), session, screen),
        Verb::Stop(units) => job(jobs::Kind::Stop, units.units.clone(), session, screen),
        Verb::Restart(units) => job(jobs::Kind::Restart, units.units.clone(), session, screen),
        Verb::Reload(units) => job(jobs::Kind::Reload, units.units.clone(), session, screen),
        Verb::TryRestart(units) => {
            let running = running(&units.units, session)?;
            job(jobs::Kind::Restart, running, session, screen)
        }
        Verb::ReloadOrRestart(units) => {
            let (reload, restart) = by_reload(names::resolve(session, &units.units)?, session)?;
            let reloaded = job(jobs::Kind::Reload, reload, session, screen)?;
            Ok(reloaded.max(job(jobs::Kind::Restart, restart, session, screen)?))
        }
        Verb::TryReloadOrRestart(units) => {
            let (reload, restart) = by_reload(running(&units.units, session)?, session)?;
            let reloaded = job(jobs::Kind::Reload, reload, session, screen)?;
            Ok(reloaded.max(job(jobs::Kind::Restart, restart, session, screen)?))
        }
        Verb::Enable(units) | Verb::Reenable(units) => {
            noted("enables", screen);
            let units = if common.now { units.units.clone() } else { Vec::new() };
            job(jobs::Kind::Start, units, session, screen)
        }
        Verb::Disable(units) | Verb::Mask(units) => {
            noted("disables", screen);
            let units = if common.now { units.units.clone() } else { Vec::new() };
            job(jobs::Kind::Stop, units, session, screen)
        }
        Verb::Preset(_) | Verb::Unmask(_) => {
            noted("enables", screen);
            Ok(DONE)
        }
        Verb::IsActive(units) => states::is_active(&units.units, common.quiet, session, screen),
        Verb::IsFailed(units) => states::is_failed(&units.units, common.quiet, session, screen),
        Verb::IsEnabled(units) => is_enabled(&units.units, common.quiet, session, screen),
        Verb::IsSystemRunning => states::is_system_running(common.quiet, session, screen),
        Verb::DaemonReload => reload::daemon_reload(json, session, screen),
        Verb::Status { units } => status::status(units, common.lines, json, session, screen),
        Verb::Show(units) => {
            let wanted = show::Wanted { properties: &common.property, value: common.value, json };
            show::show(&units.units, &wanted, session, screen)
        }
        Verb::Cat(units) => show::cat(&units.units, json, session, screen),
        Verb::ListUnits { patterns } => list_units(common, patterns, json, session, screen),
        Verb::Kill(units) => {
            let (units, signal) = (units.clone(), common.signal.clone());
            let kill = Kill { units, signal, kill_whom: common.kill_whom };
            states::kill(&kill, session, screen)
        }
        Verb::ResetFailed { units } => states::reset_failed(units, session, screen),
        Verb::Poweroff => states::shutdown(session),
    }
}

/// Of these units, those that run or are on their way up.
fn running(words: &[String], session: &mut Session) -> Result<Vec<String>, Failure> {
    let mut running = Vec::new();
    for unit in names::resolve(session, words)? {
        let properties = Properties::of(session, &unit)?;
        if matches!(properties.text("ActiveState"), "active" | "reloading" | "activating") {
            running.push(unit);
        }
    }
    Ok(running)
}

/// Those that can be reloaded now, and the others.
fn by_reload(
    units: Vec<String>,
    session: &mut Session,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let (mut reload, mut restart) = (Vec::new(), Vec::new());
    for unit in units {
        let properties = Properties::of(session, &unit)?;
        let up = properties.text("ActiveState") == "active";
        let list = if up && properties.flag("CanReload") { &mut reload } else { &mut restart };
        list.push(unit);
    }
    Ok((reload, restart))
}

fn list_units(
    common: &Common,
    patterns: &[String],
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let arguments = List {
        patterns: patterns.to_vec(),
        state: common.state.clone(),
        failed: common.failed,
        all: common.all,
        no_legend: common.no_legend,
    };
    list::list_units(&arguments, json, session, screen)
}

fn is_enabled(
    words: &[String],
    quiet: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut code = FAILED;
    for unit in names::resolve(session, words)? {
        let state = match Properties::of(session, &unit) {
            Ok(properties) => properties.text("UnitFileState").to_owned(),
            Err(failure) if failure.code == NO_SUCH_UNIT => "not-found".to_owned(),
            Err(failure) => return Err(failure),
        };
        if state == "enabled" {
            code = DONE;
        }
        if !quiet {
            screen.out(&format!("{state}\n"));
        }
    }
    Ok(code)
}

/// There is nothing to enable: said, so that nobody wonders.
fn noted(word: &str, screen: &mut Screen<'_>) {
    screen.err(&format!(
        "systemctl: this is rinit, so this {word} nothing: a unit in its directory is enabled \
         unless [Install] there says Enabled = false\n"
    ));
}
