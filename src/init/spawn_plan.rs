//! From what a unit says to what the child does: the [`ExecPlan`] of one process.
//!
//! Not the fork (`sys::exec`) and not a decision (`manager`). Users, environment files and the
//! program's candidates are looked up now, just before the spawn. **Invariant:** a plan is made
//! whole or not at all, and a failure is a sentence that names the directive.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::activation::Activation;
use super::journal::Ends;
use super::sockets::Passed;
use crate::manager::event::{ProcessRole, SpawnRequest};
use crate::manager::state::ServiceResult;
use crate::sys::exec::{Directory, ExecPlan, FailureCode, Grouping, Identity, Rlimit, Stdio};
use crate::sys::identity::Database;
use crate::sys::{Pid, reason};
use crate::unit::command::ExecCommand;
use crate::unit::environment::{Environment, apply_unset};
use crate::unit::load::{environment_file, limits};
use crate::unit::passwd::User;
use crate::unit::process::{ExecError, ExecStage, ExitStatus};
use crate::unit::service::{ExecContext, Limit, Resource, StandardStream};
use crate::unit::stream::captured;
use crate::unit::tree::tree;
use crate::unit::{Unit, UnitName};

/// systemd's own search path (systemd.exec(5), ExecSearchPath=).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every spawn of this rinit has in common.
#[derive(Clone, Debug)]
pub struct Spawner {
    /// rinit's environment without what was meant for rinit alone.
    pub environment: Environment,
    /// Where rinit was started; `None`: it is there still.
    pub directory: Option<CString>,
    /// The launcher's umask.
    pub umask: u32,
    /// rinit is exempt from the OOM killer; its services are not to be.
    pub oom_protected: bool,
    /// The launcher's limit of open files, if rinit raised it for itself.
    pub open_files: Option<(u64, u64)>,
    /// The unit that is the COMMAND of the command line.
    pub command: Option<UnitName>,
    /// COMMAND as it was given, where it is not UTF-8.
    pub words: Vec<OsString>,
    /// A terminal controls us: COMMAND stays in our session.
    pub controlled: bool,
    /// The terminal whose foreground is ours, to be handed to COMMAND.
    pub terminal: Option<RawFd>,
}

/// rinit's environment as services get it: what a supervisor above rinit meant for rinit
/// (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)) is not theirs.
pub fn inheritable(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let ours = |name: &OsStr| {
        name == "NOTIFY_SOCKET"
            || name.as_bytes().starts_with(b"WATCHDOG_")
            || name.as_bytes().starts_with(b"LISTEN_")
    };
    tree(variables.filter(|(name, _)| !ours(name)))
}

/// The commands of a role.
pub fn commands(unit: &Unit, role: ProcessRole) -> &[ExecCommand] {
    let service = &unit.service;
    match role {
        ProcessRole::ExecCondition => &service.exec_condition,
        ProcessRole::ExecStartPre => &service.exec_start_pre,
        ProcessRole::ExecStart => &service.exec_start,
        ProcessRole::ExecStartPost => &service.exec_start_post,
        ProcessRole::ExecReload => &service.exec_reload,
        ProcessRole::ExecStop => &service.exec_stop,
        ProcessRole::ExecStopPost => &service.exec_stop_post,
    }
}

impl Spawner {
    /// The plan for a request; `main` is the pid of its main process. What is `wrong` in its
    /// environment files, and was left out, is added.
    ///
    /// # Errors
    /// Something that the unit names is not there.
    pub fn plan(
        &self,
        request: &SpawnRequest,
        main: Option<Pid>,
        passed: &Passed,
        wrong: &mut Vec<String>,
    ) -> Result<ExecPlan, ExecError> {
        let found = commands(&request.unit, request.role).get(request.index);
        let command = found.ok_or_else(|| {
            let role = request.role.directive();
            failure(ExecStage::Exec, 0, format!("{role}: no command {}", request.index))
        })?;
        self.plan_of(request, command, main, passed, wrong)
    }

    /// The plan for a command that is run as the request says.
    ///
    /// # Errors
    /// As [`Spawner::plan`].
    pub fn plan_of(
        &self,
        request: &SpawnRequest,
        command: &ExecCommand,
        main: Option<Pid>,
        passed: &Passed,
        wrong: &mut Vec<String>,
    ) -> Result<ExecPlan, ExecError> {
        let unit = &request.unit;
        let exec = &unit.service.exec;
        let account = account(exec)?;
        let is_main = request.role == ProcessRole::ExecStart;
        let activation = Activation::new(passed, exec, is_main)?;
        let mut environment = self.environment(request, account.as_ref(), main, wrong)?;
        activation.announce(&mut environment);
        if let Some(remote) = passed.remote.as_ref().filter(|_| is_main) {
            environment.insert("REMOTE_ADDR".into(), remote.address.as_str().into());
            environment.insert("REMOTE_PORT".into(), remote.port.to_string().into());
        }
        let mut pid_variables = activation.pid_variables();
        if let Some(period) = unit.service.watchdog.filter(|_| is_main) {
            environment.insert("WATCHDOG_USEC".into(), period.as_micros().to_string().into());
            pid_variables.push(c"WATCHDOG_PID".into());
        }
        let is_commands = self.command.as_ref() == Some(&unit.name);
        let is_command = is_commands && request.role == ProcessRole::ExecStart;
        let privileged = command.full_privileges || command.no_setuid;
        let identity =
            if privileged { Identity::default() } else { identity(exec, account.as_ref())? };
        let given = self.given(command).filter(|_| is_command);
        let program =
            given.and_then(<[_]>::first).map_or(command.program.as_ref(), OsString::as_os_str);
        let argv = given.map_or_else(|| command.argv(&environment), <[_]>::to_vec);
        Ok(ExecPlan {
            program: command.program.clone(),
            candidates: candidates(program, is_command, exec, &environment)?,
            argv: c_strings(argv)?,
            envp: c_strings(environment.iter().map(|(name, value)| assignment(name, value)))?,
            pid_variables,
            descriptors: activation.descriptors,
            cgroups: Vec::new(), // they come with the leaf
            grouping: self.grouping(is_command),
            stdio: stdio(exec, is_commands, activation.stream, passed.captured)?,
            umask: exec.umask.unwrap_or(self.umask),
            limits: self.limits(exec),
            nice: exec.nice,
            oom_score_adjust: self.oom_score_adjust(exec)?,
            identity,
            directory: self.directory(exec, account.as_ref())?,
            ignore_sigpipe: exec.ignore_sigpipe,
            merges_memory: false,
            failure_code: if is_command { FailureCode::Shell } else { FailureCode::Stage },
        })
    }

    /// The words of COMMAND that this command stands for, if it cannot say them itself.
    fn given(&self, command: &ExecCommand) -> Option<&[OsString]> {
        let text = std::iter::once(&command.program).chain(&command.arguments).map(String::as_str);
        let is_it = self.words.iter().map(|word| word.to_string_lossy()).eq(text);
        is_it.then_some(&self.words)
    }

    fn limits(&self, exec: &ExecContext) -> Vec<Rlimit> {
        let own = self.open_files.filter(|_| !exec.limits.contains_key(&Resource::Nofile));
        let own = own
            .map(|(soft, hard)| (Resource::Nofile, Limit { soft: Some(soft), hard: Some(hard) }));
        let declared = exec.limits.iter().map(|(resource, limit)| (*resource, *limit));
        declared.chain(own).map(|(resource, limit)| rlimit(resource, limit)).collect()
    }

    /// Which streams of a process of this unit go to the journal: output, error.
    pub fn captured(&self, unit: &Unit) -> (bool, bool) {
        captured(&unit.service.exec, self.command.as_ref() == Some(&unit.name))
    }

    fn grouping(&self, is_command: bool) -> Grouping {
        if is_command && self.controlled {
            Grouping::Group { terminal: self.terminal }
        } else {
            Grouping::Session
        }
    }

    fn oom_score_adjust(&self, exec: &ExecContext) -> Result<Option<(CString, bool)>, ExecError> {
        match exec.oom_score_adjust {
            Some(score) => Ok(Some((c_string(score.to_string())?, true))),
            None if self.oom_protected => Ok(Some((c_string("0")?, false))),
            None => Ok(None),
        }
    }

    fn directory(
        &self,
        exec: &ExecContext,
        account: Option<&User>,
    ) -> Result<Directory, ExecError> {
        let Some(declared) = &exec.working_directory else {
            return Ok(Directory::Inherited(self.directory.clone()));
        };
        let path = match declared.path.as_str() {
            "~" => match account {
                Some(account) => OsString::from(&account.home),
                None => self.environment.get(OsStr::new("HOME")).cloned().unwrap_or("/".into()),
            },
            path => OsString::from(path),
        };
        Ok(Directory::Declared { path: c_string(path)?, optional: declared.optional })
    }

    /// Later ones win: rinit's, User='s, the activation's, Environment=, EnvironmentFile=; then
    /// UnsetEnvironment= (systemd.exec(5)).
    fn environment(
        &self,
        request: &SpawnRequest,
        account: Option<&User>,
        main: Option<Pid>,
        wrong: &mut Vec<String>,
    ) -> Result<Environment, ExecError> {
        let exec = &request.unit.service.exec;
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: String| {
            environment.insert(name.into(), value.into());
        };
        if let Some(account) = account.filter(|_| exec.user.is_some()) {
            set("USER", account.name.clone());
            set("LOGNAME", account.name.clone());
            set("HOME", account.home.clone());
            if !account.shell.is_empty() {
                set("SHELL", account.shell.clone());
            }
        }
        set("INVOCATION_ID", request.invocation.to_string());
        if let (Some(_), Some(number)) = (&request.unit.instance_of, request.unit.name.instance()) {
            set("RINIT_INSTANCE", number.to_owned());
        }
        if let Some(main) = main {
            set("MAINPID", main.to_string());
        }
        if let Some((result, exit)) = request.result {
            set_result(&mut set, ["SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"], result, exit);
        }
        if let Some(monitor) = &request.monitor {
            let names = ["MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS"];
            set_result(&mut set, names, monitor.result, monitor.exit);
            set("MONITOR_INVOCATION_ID", monitor.invocation.to_string());
            set("MONITOR_UNIT", monitor.unit.to_string());
        }
        for (name, value) in &exec.environment {
            set(name, value.clone());
        }
        for file in &exec.environment_files {
            let contents = environment_file::read(file).map_err(|error| {
                let message = format!("EnvironmentFile={}: {}", file.path, error.why);
                failure(ExecStage::Exec, error.errno, message)
            })?;
            environment.extend(contents.assignments);
            wrong.extend(contents.wrong);
        }
        apply_unset(&mut environment, &exec.unset_environment);
        Ok(environment)
    }
}

/// Sets a variable that no unit can set otherwise.
pub fn tell(plan: &mut ExecPlan, name: &str, value: &str) {
    let prefix = format!("{name}=");
    plan.envp.retain(|entry| !entry.as_bytes().starts_with(prefix.as_bytes()));
    plan.envp.extend(CString::new(prefix + value));
}

fn set_result(
    set: &mut impl FnMut(&str, String),
    [result_name, code_name, status_name]: [&str; 3],
    result: ServiceResult,
    exit: Option<ExitStatus>,
) {
    set(result_name, result.as_str().to_owned());
    if let Some(exit) = exit {
        set(code_name, exit_code_word(exit).to_owned());
        set(status_name, exit_status_word(exit));
    }
}

/// `exited`, `killed` or `dumped` (systemd.exec(5), EXIT_CODE).
pub fn exit_code_word(exit: ExitStatus) -> &'static str {
    match exit {
        ExitStatus::Exited(_) => "exited",
        ExitStatus::Killed { core_dumped: false, .. } => "killed",
        ExitStatus::Killed { core_dumped: true, .. } => "dumped",
    }
}

/// The number, or the signal's name (systemd.exec(5), EXIT_STATUS).
pub fn exit_status_word(exit: ExitStatus) -> String {
    match exit {
        ExitStatus::Exited(code) => code.to_string(),
        ExitStatus::Killed { signal, .. } => signal.name(),
    }
}

fn account(exec: &ExecContext) -> Result<Option<User>, ExecError> {
    let Some(user) = &exec.user else { return Ok(None) };
    let unknown = || {
        let message = format!("User={user}: no such user in /etc/passwd");
        failure(ExecStage::User, libc::ESRCH, message)
    };
    database(ExecStage::User)?.account(user).map(Some).ok_or_else(unknown)
}

fn database(stage: ExecStage) -> Result<Database, ExecError> {
    Database::read().map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        failure(stage, errno, format!("/etc/passwd, /etc/group: {}", reason(errno)))
    })
}

fn identity(exec: &ExecContext, account: Option<&User>) -> Result<Identity, ExecError> {
    if account.is_none() && exec.group.is_none() && exec.supplementary_groups.is_empty() {
        return Ok(Identity::default());
    }
    let database = database(ExecStage::Group)?;
    let find = |group: &String| {
        database.group(group).ok_or_else(|| {
            let message = format!("Group={group}: no such group in /etc/group");
            failure(ExecStage::Group, libc::ESRCH, message)
        })
    };
    let own = exec.group.as_ref().map(find).transpose()?;
    let gid = own.or(account.map(|account| account.gid));
    let mut groups: Vec<u32> =
        account.map_or_else(Vec::new, |account| database.groups_of(&account.name));
    groups.extend(gid);
    for group in &exec.supplementary_groups {
        groups.push(find(group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { groups: Some(groups), gid, uid: account.map(|account| account.uid) })
}

/// The paths that execve(2) tries: the one path, or the name in each directory that is searched.
/// Only for COMMAND may that be a relative one, as for a shell: systemd ignores them.
fn candidates(
    program: &OsStr,
    is_command: bool,
    exec: &ExecContext,
    environment: &Environment,
) -> Result<Vec<CString>, ExecError> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = match environment.get(OsStr::new("PATH")) {
        _ if !exec.exec_search_path.is_empty() => OsString::from(exec.exec_search_path.join(":")),
        Some(path) => path.clone(),
        None => DEFAULT_PATH.into(),
    };
    let in_directory = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        let slash = if directory.ends_with(b"/") { &b""[..] } else { b"/" };
        c_string(OsString::from_vec([directory, slash, program.as_bytes()].concat()))
    };
    let directories = path.as_bytes().split(|byte| *byte == b':');
    let searched = |directory: &&[u8]| is_command || directory.starts_with(b"/");
    directories.filter(searched).map(in_directory).collect()
}

fn stdio(
    exec: &ExecContext,
    is_commands: bool,
    socket: Option<RawFd>,
    captured: Ends,
) -> Result<[Stdio; 3], ExecError> {
    let terminal = exec.tty_path.as_deref().unwrap_or("/dev/console");
    let input = match &exec.standard_input {
        None if is_commands => Stdio::Inherit,
        None => open("/dev/null", libc::O_RDONLY)?,
        Some(stream) => input_stream(stream, terminal, socket)?,
    };
    // Where input is the socket, `inherit` is the same for output (systemd.exec(5)).
    let inherited = match &input {
        Stdio::Descriptor(socket) => Stdio::Descriptor(*socket),
        Stdio::Inherit | Stdio::Open { .. } | Stdio::AsOutput => Stdio::Inherit,
    };
    let output = match (&exec.standard_output, captured.output) {
        (_, Some(end)) => Stdio::Descriptor(end),
        (None, None) => inherited,
        (Some(stream), None) => output_stream(stream, terminal, inherited, socket)?,
    };
    if let Some(end) = captured.error {
        return Ok([input, output, Stdio::Descriptor(end)]);
    }
    let error = match &exec.standard_error {
        // Output's own file, not rinit's stream: the error goes there, too.
        None if output != Stdio::Inherit => Stdio::AsOutput,
        None => Stdio::Inherit,
        // For a unit "inherit" is where output leads; COMMAND keeps the stream that it was given.
        Some(StandardStream::Inherit) if is_commands => Stdio::Inherit,
        same if *same == exec.standard_output => Stdio::AsOutput, // one offset for both
        Some(stream) => output_stream(stream, terminal, Stdio::AsOutput, socket)?,
    };
    Ok([input, output, error])
}

fn input_stream(
    stream: &StandardStream,
    terminal: &str,
    socket: Option<RawFd>,
) -> Result<Stdio, ExecError> {
    match stream {
        StandardStream::Inherit | StandardStream::Journal => Ok(Stdio::Inherit),
        // What is no main process gets none.
        StandardStream::Socket => match socket {
            Some(socket) => Ok(Stdio::Descriptor(socket)),
            None => open("/dev/null", libc::O_RDONLY),
        },
        StandardStream::Null => open("/dev/null", libc::O_RDONLY),
        StandardStream::Tty => Ok(Stdio::Open {
            path: c_string(terminal)?,
            flags: libc::O_RDWR | libc::O_NOCTTY,
            terminal: true,
        }),
        StandardStream::File(path)
        | StandardStream::Append(path)
        | StandardStream::Truncate(path) => open(path, libc::O_RDONLY),
    }
}

fn output_stream(
    stream: &StandardStream,
    terminal: &str,
    inherited: Stdio,
    socket: Option<RawFd>,
) -> Result<Stdio, ExecError> {
    let create = libc::O_WRONLY | libc::O_CREAT;
    match stream {
        // A captured stream has a pipe, and does not come here.
        StandardStream::Inherit | StandardStream::Journal => Ok(inherited),
        StandardStream::Socket => Ok(socket.map_or(inherited, Stdio::Descriptor)),
        StandardStream::Null => open("/dev/null", libc::O_WRONLY),
        StandardStream::Tty => open(terminal, libc::O_WRONLY),
        StandardStream::File(path) => open(path, create),
        StandardStream::Append(path) => open(path, create | libc::O_APPEND),
        StandardStream::Truncate(path) => open(path, create | libc::O_TRUNC),
    }
}

fn open(path: &str, flags: libc::c_int) -> Result<Stdio, ExecError> {
    Ok(Stdio::Open { path: c_string(path)?, flags: flags | libc::O_NOCTTY, terminal: false })
}

fn rlimit(resource: Resource, limit: Limit) -> Rlimit {
    let (resource, name) = limits::of_kernel(resource);
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX); // RLIM64_INFINITY
    Rlimit { resource: resource as _, name, soft: number(limit.soft), hard: number(limit.hard) }
}

/// With room for the NUL at its end: there is one for each variable of each process.
fn assignment(name: &OsStr, value: &OsStr) -> OsString {
    let mut text = OsString::with_capacity(name.len() + value.len() + 2);
    text.push(name);
    text.push("=");
    text.push(value);
    text
}

fn c_string(text: impl Into<OsString>) -> Result<CString, ExecError> {
    CString::new(text.into().into_vec()).map_err(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).replace('\0', "\\0");
        failure(ExecStage::Exec, libc::EINVAL, format!("{text}: a NUL byte cannot be passed on"))
    })
}

fn c_strings(texts: impl IntoIterator<Item = OsString>) -> Result<Vec<CString>, ExecError> {
    texts.into_iter().map(c_string).collect()
}

fn failure(stage: ExecStage, errno: i32, message: String) -> ExecError {
    ExecError { stage, errno, message }
}

#[cfg(test)]
#[path = "spawn_plan_tests.rs"]
mod tests;
