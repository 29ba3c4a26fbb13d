//! rinit from its first line of main to the loop: read the command line, load, refuse or run.
//!
//! Not the loop (`init`). **Invariant:** whatever is wrong is said before anything is started,
//! and the exit status says of which kind it was.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::diagnostics::{self, Style};
use super::rinit::{self, Invocation, Options, USAGE};
use crate::init::{self, ControlConfig, LogConfig, SocketChoice, report};
use crate::manager::event::ManagerConfig;
use crate::sys::{early, seed};
use crate::unit::UnitName;
use crate::unit::command_unit;
use crate::unit::directive::ManagerSection;
use crate::unit::environment::Environment;
use crate::unit::load::{LoadRequest, host_facts, load};
use crate::unit::problem::Problem;
use crate::unit::specifier::HostFacts;

/// The exit status for wrong units (sysexits(3), EX_CONFIG).
const CONFIGURATION: u8 = 78;

/// The total time of a stop: below the 10 s after which Docker kills.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(9);

/// All of rinit.
pub fn main() -> ExitCode {
    let inherited = early::at_start_of_main();
    let variable = |name: &str| std::env::var(name).ok();
    let options = match rinit::parse(std::env::args_os().skip(1), variable) {
        Ok(Invocation::Run(options)) => options,
        Ok(Invocation::Print(text)) => {
            let printed = io::stdout().write_all(text.as_bytes());
            return ExitCode::from(if printed.is_ok() { 0 } else { init::SYSTEM });
        }
        Err(message) => {
            say(&format!("rinit: {message}\n"));
            return ExitCode::from(USAGE);
        }
    };
    let loaded = load(&request(&options, inherited.directory.as_deref()));
    let failed = loaded.has_errors();
    show(&loaded.problems, &options, failed);
    if failed {
        return ExitCode::from(CONFIGURATION);
    }
    if options.check {
        let text = format!("{} units: may be started\n", loaded.units.units.len());
        let printed = io::stdout().write_all(text.as_bytes());
        return ExitCode::from(if printed.is_ok() { 0 } else { init::SYSTEM });
    }
    let config = config(&options, &loaded.manager);
    let environment = environment(&loaded.manager);
    let log = options.log();
    let control = control(&options, &loaded.manager, inherited.directory.as_deref());
    let start = inherited.directory.clone();
    let reload = Box::new(move || load(&request(&options, start.as_deref())));
    let reload = init::Reload(reload);
    let code = init::run(inherited, environment, loaded.units, config, log, control, reload);
    // Not by returning: giving back the memory of a thousand units is the kernel's to do at once.
    std::process::exit(i32::from(code))
}

fn request(options: &Options, start: Option<&Path>) -> LoadRequest {
    let environment: Environment = std::env::vars_os().collect();
    // Relative to where rinit was started, which is no longer where it is.
    let absolute = |path: &PathBuf| match start {
        Some(directory) => directory.join(path),
        None => path.clone(),
    };
    let has_command = !options.command.is_empty();
    let bare = has_command
        && options.properties.is_empty()
        && options.default_directory
        && !Path::new(rinit::DEFAULT_DIRECTORY).exists();
    // A bare COMMAND has no specifier that would ask for them; its start is what people time.
    let host = if bare { HostFacts::default() } else { host_facts(&environment) };
    LoadRequest {
        directories: options.directories.iter().map(absolute).collect(),
        default_directory_may_be_absent: options.default_directory && has_command,
        names: options.names.clone(),
        command: has_command.then(|| (options.command.clone(), options.properties.clone())),
        inherited_environment: environment,
        host,
    }
}

/// Command line, environment, `rinit.toml`, default: in this order.
fn config(options: &Options, section: &ManagerSection) -> ManagerConfig {
    let has_command = !options.command.is_empty();
    let timeout = options.shutdown_timeout.or(section.shutdown_timeout);
    ManagerConfig {
        shutdown_timeout: timeout.unwrap_or(SHUTDOWN_TIMEOUT),
        drain: section.drain.unwrap_or(Duration::ZERO),
        stop_signal: options.stop_signal.or(section.stop_signal),
        command: has_command.then(|| UnitName::parse(command_unit::NAME).ok()).flatten(),
        seed: seed(),
    }
}

/// Where the control socket is to be.
fn control(options: &Options, section: &ManagerSection, start: Option<&Path>) -> ControlConfig {
    let named = section.control_socket.as_deref().map(SocketChoice::read);
    let socket = match options.socket.clone().or(named).unwrap_or_default() {
        SocketChoice::Path(path) => {
            SocketChoice::Path(start.map_or(path.clone(), |start| start.join(path)))
        }
        choice @ (SocketChoice::None | SocketChoice::Default) => choice,
    };
    let optional = !options.command.is_empty() && options.default_directory;
    ControlConfig { socket, group: section.control_socket_group.clone(), optional }
}

/// What units inherit: DefaultEnvironment=, and over it the environment that rinit got.
fn environment(section: &ManagerSection) -> Environment {
    let defaults = section.environment.iter();
    let mut environment: Environment =
        defaults.map(|(name, value)| (name.into(), value.into())).collect();
    environment.extend(std::env::vars_os());
    environment
}

/// Problems: drawn for a person, or a line each for a program.
fn show(problems: &[Problem], options: &Options, failed: bool) {
    let LogConfig { level, format } = options.log();
    match format {
        report::Format::Text => {
            let outcome = match (failed, options.check) {
                (true, false) => "nothing was started, exit status 78",
                (true, true) => "rinit would start nothing",
                (false, _) => "",
            };
            let no_color = std::env::var_os("NO_COLOR");
            let mut style = Style::for_stream(&io::stderr(), no_color.as_deref());
            style.notes = options.check || level >= report::Level::Info;
            let quiet = !failed && level < report::Level::Warn;
            if !quiet {
                say(&diagnostics::render(problems, outcome, style));
            }
        }
        report::Format::Json => {
            let mut reporter = report::Reporter::new(level, format, None);
            for problem in problems {
                reporter.problem(problem);
            }
            reporter.flush();
        }
    }
}

/// Before the loop there is nothing that a slow reader could hold up.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
