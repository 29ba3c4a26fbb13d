//! rinit from its first line of main to the loop: read the command line, load, refuse or run.
//!
//! Not the loop (`init`). **Invariant:** whatever is wrong is said before anything is started,
//! and the exit status says of which kind it was.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plain;
use super::rinit::{self, Invocation, Options, USAGE};
use crate::init::{self, ControlConfig, Doors, Ended, LogConfig, SocketChoice, report};
use crate::journal;
use crate::manager::event::ManagerConfig;
use crate::sys::early::{self, Inherited};
use crate::sys::machine::{Machine, Power};
use crate::sys::memory::{self, Ballast};
use crate::sys::{seed, signals};
use crate::unit::UnitName;
use crate::unit::command_unit;
use crate::unit::compact::compact;
use crate::unit::counted::counted;
use crate::unit::directive::ManagerSection;
use crate::unit::drain::SHUTDOWN_TIMEOUT;
use crate::unit::environment::Environment;
use crate::unit::load::{LoadRequest, Loaded, host_facts, load};
use crate::unit::problem::Problem;
use crate::unit::specifier::HostFacts;
use crate::unit::tree::tree;

/// The exit status for wrong units (sysexits(3), EX_CONFIG).
const CONFIGURATION: u8 = 78;

/// As much stack as the main thread has by default; only what is used takes memory.
const LOAD_STACK: usize = 8 << 20;

/// All of rinit.
pub fn main() -> u8 {
    if let Some(code) = journal::main_if_ours(std::env::args_os().skip(1)) {
        std::process::exit(i32::from(code));
    }
    let mut inherited = early::at_start_of_main();
    let Some(machine) = Machine::ours() else {
        let arguments = std::env::args_os().skip(1).collect();
        // Not by returning: giving back the memory of a thousand units is the kernel's to do at once.
        std::process::exit(i32::from(start(inherited, arguments).code));
    };
    inherited.warnings.extend(machine.set_up());
    let ended = start(inherited, machine.arguments(std::env::args_os().skip(1).collect()));
    let (power, what) = match ended.reboot {
        true => (Power::Reboot, "the machine starts again"),
        false => (Power::Off, "the machine is switched off"),
    };
    say(&format!("rinit: exit status {}: {what}\n", ended.code));
    let error = machine.end(power);
    say(&format!("rinit: reboot(2): {error}\n"));
    ended.code
}

/// From the command line to the end of all units.
fn start(mut inherited: Inherited, arguments: Vec<OsString>) -> Ended {
    let variable = |name: &str| std::env::var(name).ok();
    let options = match rinit::parse(arguments, variable) {
        Ok(Invocation::Run(options)) => options,
        Ok(Invocation::Print(text)) => {
            let printed = io::stdout().write_all(text.as_bytes());
            return Ended::with(if printed.is_ok() { 0 } else { init::SYSTEM });
        }
        Err(message) => {
            say(&format!("rinit: {message}\n"));
            return Ended::with(USAGE);
        }
    };
    memory::prefer_small();
    if options.command.iter().any(|word| word.to_str().is_none()) {
        inherited.words.clone_from(&options.command);
    }
    let asked = request(&options, inherited.directory.as_deref());
    // For a bare COMMAND there is nothing to set apart, and its start is what people time.
    let apart = asked.directories.iter().any(|directory| directory.exists());
    let (loaded, ballast) = match apart {
        true => load_apart(&asked),
        false => (load(&asked), None),
    };
    let failed = loaded.has_errors();
    show(&loaded.problems, &options, failed);
    if failed {
        return Ended::with(CONFIGURATION);
    }
    if options.check {
        let units = counted(loaded.units.units.len(), "unit");
        let text = format!("{units}: may be started\n");
        let printed = io::stdout().write_all(text.as_bytes());
        return Ended::with(if printed.is_ok() { 0 } else { init::SYSTEM });
    }
    let config = config(&options, &loaded.manager);
    let environment = environment(&loaded.manager, asked.inherited_environment);
    let log = options.log();
    let control = control(&options, &loaded.manager, inherited.directory.as_deref());
    let http = options.http.or(loaded.manager.http_listen).flatten();
    let start = inherited.directory.clone();
    let reload = Box::new(move || {
        let (mut loaded, _) = load_apart(&request(&options, start.as_deref()));
        loaded.units = compact(&loaded.units); // as those that run, so that equal ones are equal
        loaded
    });
    let reload = init::Reload(reload);
    let units = compact(&loaded.units);
    if let Some(ballast) = ballast {
        // Here its small pieces would stay in this thread's cache, and each would pin its page.
        on_a_thread(move || drop(loaded));
        memory::give_back(ballast);
    }
    init::run(inherited, environment, units, config, log, Doors { control, http }, reload)
}

/// Loads on a thread that is gone before anything is started. The allocator gives it a heap of
/// its own, which is empty when the units have been copied out of it and then goes back to the
/// kernel whole; between the texts and trees of a thousand files each unit would pin its page.
fn load_apart(request: &LoadRequest) -> (Loaded, Option<Ballast>) {
    let work = || (load(request), Some(Ballast::here()));
    // No room for a thread: the memory is not worth a failure.
    on_a_thread(work).unwrap_or_else(work)
}

/// `None`: there is none to be had; then nothing was done.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(LOAD_STACK).spawn_scoped(scope, work);
        let joined = thread.ok()?.join();
        Some(joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    // glibc unblocks a signal of its own with the first thread.
    signals::set_mask(signals::ALL_BUT_FAULTS);
    done
}

fn request(options: &Options, start: Option<&Path>) -> LoadRequest {
    let environment: Environment = tree(std::env::vars_os());
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
        command: has_command.then(|| (text(&options.command), options.properties.clone())),
        shutdown_timeout: options.shutdown_timeout,
        inherited_environment: environment,
        host,
    }
}

/// COMMAND as a unit has it; what is not UTF-8 is passed on as it is ([`Inherited::words`]).
fn text(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
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
fn environment(section: &ManagerSection, inherited: Environment) -> Environment {
    if section.environment.is_empty() {
        return inherited;
    }
    let defaults = section.environment.iter();
    let mut environment: Environment =
        tree(defaults.map(|(name, value)| (name.into(), value.into())));
    environment.extend(inherited);
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
            let notes = options.check || level >= report::Level::Info;
            let quiet = !failed && level < report::Level::Warn;
            if !quiet {
                say(&plain::render(problems, outcome, notes));
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
