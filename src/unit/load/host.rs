//! What the host says: facts for `%` specifiers, and whether the programs, users and files
//! that units name are there.
//!
//! Only a first look: everything is looked at again at each start. **Invariant:** what may
//! still come to be (after a step, behind a condition) is a warning, never an error.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::environment_file;
use super::limits::{self, Refused};
use crate::unit::command::ExecCommand;
use crate::unit::environment::{Environment, parse_environment_file};
use crate::unit::graph::Graph;
use crate::unit::health::HealthCheck;
use crate::unit::passwd;
use crate::unit::problem::Problem;
use crate::unit::service::ExecContext;
use crate::unit::specifier::HostFacts;
use crate::unit::tree::tree;
use crate::unit::verify::Places;
use crate::unit::{Severity, StartedBy, Unit, UnitName, UnitSet};
use crate::unit::{connections, instances};

/// Where a bare name is looked for without any PATH (systemd's own default).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Reads what specifiers tell about this host and rinit's own user.
pub fn host_facts(environment: &Environment) -> HostFacts {
    let mut facts = HostFacts::default();
    if let Ok(name) = nix::unistd::gethostname() {
        facts.hostname = name.to_string_lossy().into_owned();
    }
    let line = |path: &str| {
        fs::read_to_string(path).ok().map(|text| text.trim().to_string()).filter(|t| !t.is_empty())
    };
    facts.machine_id = line("/etc/machine-id");
    facts.boot_id = line("/proc/sys/kernel/random/boot_id").map(|id| id.replace('-', ""));
    facts.kernel_release = line("/proc/sys/kernel/osrelease").unwrap_or_default();
    facts.architecture = architecture().to_string();
    facts.pretty_hostname = variables("/etc/machine-info").remove("PRETTY_HOSTNAME");
    facts.os_release = variables("/etc/os-release");
    if facts.os_release.is_empty() {
        facts.os_release = variables("/usr/lib/os-release");
    }
    own_user(&mut facts, environment);
    let temporary = ["TMPDIR", "TEMP", "TMP"].iter().find_map(|name| {
        let path = environment.get(OsStr::new(name))?.to_str()?;
        path.starts_with('/').then(|| path.to_string())
    });
    if let Some(path) = temporary {
        facts.tmp.clone_from(&path);
        facts.var_tmp = path;
    }
    facts
}

fn own_user(facts: &mut HostFacts, environment: &Environment) {
    facts.uid = nix::unistd::geteuid().as_raw();
    facts.gid = nix::unistd::getegid().as_raw();
    let users = passwd::users(&text("/etc/passwd"));
    let groups = passwd::groups(&text("/etc/group"));
    let home = environment.get(OsStr::new("HOME")).and_then(|home| home.to_str());
    match users.into_iter().find(|user| user.uid == facts.uid) {
        Some(user) => {
            facts.user_name = user.name;
            facts.home = user.home;
            facts.shell = user.shell;
        }
        None if facts.uid == 0 => (), // an image without /etc/passwd: the defaults are root's
        None => {
            facts.user_name = facts.uid.to_string();
            facts.home = home.unwrap_or("/").to_string();
        }
    }
    match groups.into_iter().find(|group| group.gid == facts.gid) {
        Some(group) => facts.group_name = group.name,
        None if facts.gid == 0 => (),
        None => facts.group_name = facts.gid.to_string(),
    }
}

/// systemd's name of the processor this was built for (`%a`).
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(path: &str) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A file of `NAME=value` lines, such as os-release(5).
fn variables(path: &str) -> BTreeMap<String, String> {
    let (assignments, _) = parse_environment_file(&fs::read(path).unwrap_or_default());
    let pair = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    tree(assignments.into_iter().filter_map(pair))
}

/// The sockets with `Accept=yes`, by the template whose instances serve their connections.
fn accepting_sockets(units: &UnitSet) -> BTreeMap<&UnitName, &Unit> {
    let by_template = units.units.values().filter_map(|unit| {
        let socket = unit.socket.as_ref().filter(|socket| socket.accept)?;
        Some((socket.service.as_ref()?, &**unit))
    });
    tree(by_template)
}

/// Looks for everything that units name outside of the units.
pub fn check(
    units: &UnitSet,
    places: &Places,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) {
    let after_step = after_a_step(units);
    let mut host = Host::default();
    let by_template = accepting_sockets(units);
    for (name, unit) in &units.units {
        let connected = by_template.get(name).copied();
        if unit.file.is_none() || (name.is_template() && connected.is_none()) {
            continue; // COMMAND has exit statuses of its own for this
        }
        let certain = unit.started_by == StartedBy::Boot
            && !after_step.contains(name)
            && unit.conditions.is_empty()
            && unit.asserts.is_empty();
        let severity = if certain { Severity::Error } else { Severity::Warning };
        let place = |directive: &str| {
            let seen = places.get(name).into_iter().flatten().rev();
            seen.into_iter().find(|(seen, _)| *seen == directive).map(|(_, span)| span.clone())
        };
        let mut report = |directive: &str, message: String, hint: Option<String>, ignore: bool| {
            let severity = if ignore { Severity::Warning } else { severity };
            let message = format!("{name}: {message}");
            let problem = Problem::error(place(directive), message);
            problems.push(Problem { severity, hint, ..problem });
        };
        // What differs between instances is looked at for the first of them.
        let first = match connected {
            Some(socket) => connections::connection(unit, &socket.name, "0"),
            None => unit.service.instances.map(|_| instances::instance(unit, 1)),
        };
        let unit = first.as_ref().unwrap_or(unit);
        host.programs(unit, environment, &mut report);
        host.identities(unit, &mut report);
        host.privileges(&unit.service.exec, &mut report);
        environment_files(unit, &mut report);
    }
}

/// The units that wait for a step, directly or through others.
fn after_a_step(units: &UnitSet) -> BTreeSet<UnitName> {
    let names: Vec<&UnitName> = units.units.keys().collect();
    let index: BTreeMap<&UnitName, usize> =
        tree(names.iter().enumerate().map(|(at, name)| (*name, at)));
    // One node more, before every step: what comes after it are steps and what waits for them.
    let mut graph = Graph::new(names.len() + 1);
    let mut direct = BTreeSet::new();
    for (at, unit) in units.units.values().enumerate() {
        for earlier in unit.after.iter().filter_map(|after| index.get(&after.name)) {
            graph.add(*earlier, at);
            if names.get(*earlier).and_then(|name| units.get(name)).is_some_and(|u| u.step) {
                direct.insert(at);
            }
        }
    }
    direct.iter().for_each(|node| graph.add(names.len(), *node));
    let waiting = graph.reachable(names.len());
    waiting.iter().filter_map(|node| names.get(*node).map(|name| (*name).clone())).collect()
}

/// What was found out once and holds for all units.
#[derive(Default)]
struct Host {
    found: BTreeMap<(String, String), Result<(), String>>,
    users: Option<Vec<passwd::User>>,
    groups: Option<Vec<passwd::Group>>,
    /// The effective capabilities (`CapEff` of /proc/self/status); where they cannot be seen, all.
    capabilities: Option<u64>,
}

/// capabilities(7): to lower oom_score_adj and raise a hard limit, and to lower the nice value.
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_SYS_NICE: u32 = 23;

type Report<'a> = dyn FnMut(&str, String, Option<String>, bool) + 'a;

impl Host {
    fn programs(&mut self, unit: &Unit, environment: &Environment, report: &mut Report<'_>) {
        let service = &unit.service;
        let probe = match service.health.as_ref().and_then(|health| health.check.as_ref()) {
            Some(HealthCheck::Exec(command)) => std::slice::from_ref(command),
            Some(
                HealthCheck::HttpPath(_) | HealthCheck::HttpUrl { .. } | HealthCheck::Tcp { .. },
            )
            | None => &[],
        };
        let lists: [(&str, &[ExecCommand]); 8] = [
            ("ExecCondition", &service.exec_condition),
            ("ExecStartPre", &service.exec_start_pre),
            ("ExecStart", &service.exec_start),
            ("ExecStartPost", &service.exec_start_post),
            ("ExecReload", &service.exec_reload),
            ("ExecStop", &service.exec_stop),
            ("ExecStopPost", &service.exec_stop_post),
            ("Exec", probe),
        ];
        if lists.iter().all(|(_, commands)| commands.is_empty()) {
            return;
        }
        let path = search_path(&service.exec, environment);
        // A file of variables may still bring another PATH.
        let open = !service.exec.environment_files.is_empty();
        for (directive, command) in
            lists.iter().flat_map(|(name, list)| list.iter().map(move |command| (*name, command)))
        {
            let program = &command.program;
            let key = (program.clone(), path.clone());
            let found = self.found.entry(key).or_insert_with(|| find_program(program, &path));
            if let Err(message) = found {
                let bare = !program.contains('/');
                let hint = bare.then(|| format!("looked in {path}"));
                report(directive, message.clone(), hint, command.ignore_failure || (bare && open));
            }
        }
    }

    /// What the service runs without, as under systemd where the container withholds it.
    fn privileges(&mut self, exec: &ExecContext, report: &mut Report<'_>) {
        let wants = [
            ("OOMScoreAdjust", exec.oom_score_adjust, CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"),
            ("Nice", exec.nice, CAP_SYS_NICE, "CAP_SYS_NICE"),
        ];
        for (directive, wanted, bit, capability) in wants {
            let Some(value) = wanted.filter(|value| *value < 0) else { continue };
            let held = *self.capabilities.get_or_insert_with(own_capabilities);
            if held & (1 << bit) == 0 {
                let message =
                    format!("{directive}={value} needs {capability}, which rinit does not have");
                let hint = format!("the service runs without it; give the container {capability}");
                report(directive, message, Some(hint), true);
            }
        }
        let refused = exec.limits.iter().filter_map(|(name, limit)| limits::refused(*name, *limit));
        for Refused { directive, wanted, hard } in refused {
            let held = *self.capabilities.get_or_insert_with(own_capabilities);
            if held & (1 << CAP_SYS_RESOURCE) == 0 {
                let message = format!(
                    "{directive}={wanted} is above the hard limit {hard}, which rinit cannot raise \
                     without CAP_SYS_RESOURCE"
                );
                let ulimit = directive.trim_start_matches("Limit").to_lowercase();
                let hint = format!(
                    "the service gets {hard}; start the container with more, as docker run \
                     --ulimit {ulimit}=N does"
                );
                report(directive, message, Some(hint), true);
            }
        }
    }

    fn identities(&mut self, unit: &Unit, report: &mut Report<'_>) {
        let exec = &unit.service.exec;
        let number = |text: &str| passwd::id(text).is_some();
        let socket = unit.socket.as_deref();
        let users = exec.user.iter().map(|user| ("User", user));
        let owners = socket.and_then(|socket| socket.user.as_ref());
        let owners = owners.into_iter().map(|user| ("SocketUser", user));
        for (directive, user) in users.chain(owners).filter(|(_, user)| !number(user)) {
            let users = self.users.get_or_insert_with(|| passwd::users(&text("/etc/passwd")));
            if !users.iter().any(|known| known.name == *user) {
                let names = users.iter().map(|known| known.name.as_str());
                let hint = near(user, names, "/etc/passwd");
                report(directive, format!("there is no user {user}"), Some(hint), false);
            }
        }
        let own = exec.group.iter().map(|group| ("Group", group));
        let more = exec.supplementary_groups.iter().map(|group| ("SupplementaryGroups", group));
        let owners = socket.and_then(|socket| socket.group.as_ref());
        let owners = owners.into_iter().map(|group| ("SocketGroup", group));
        for (directive, group) in own.chain(more).chain(owners).filter(|(_, group)| !number(group))
        {
            let groups = self.groups.get_or_insert_with(|| passwd::groups(&text("/etc/group")));
            if !groups.iter().any(|known| known.name == *group) {
                let names = groups.iter().map(|known| known.name.as_str());
                let hint = near(group, names, "/etc/group");
                report(directive, format!("there is no group {group}"), Some(hint), false);
            }
        }
    }
}

/// The effective capabilities; none of these counts in a user namespace that is not the first
/// (user_namespaces(7)), whose link has this number since Linux 3.8.
fn own_capabilities() -> u64 {
    let namespace = fs::read_link("/proc/self/ns/user").ok();
    if namespace.is_some_and(|namespace| namespace != Path::new("user:[4026531837]")) {
        return 0;
    }
    let status = text("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX)
}

fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>, file: &str) -> String {
    match crate::unit::value::suggest(word, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("{file} does not have it; a number needs no entry there"),
    }
}

fn environment_files(unit: &Unit, report: &mut Report<'_>) {
    for file in &unit.service.exec.environment_files {
        match environment_file::read(file) {
            Ok(contents) => {
                contents.wrong.into_iter().for_each(|wrong| {
                    report("EnvironmentFile", wrong, None, true);
                });
            }
            Err(error) => {
                let path = &file.path;
                let message = format!("cannot read the environment file {path}: {}", error.why);
                let hint = format!("\"-{path}\" allows it to be missing");
                let hint = (error.errno == libc::ENOENT).then_some(hint);
                report("EnvironmentFile", message, hint, false);
            }
        }
    }
}

/// The directories for a bare program name, joined by colons: `ExecSearchPath=`, else the
/// unit's PATH, else the one that rinit got, else systemd's.
pub fn search_path(exec: &ExecContext, environment: &Environment) -> String {
    if !exec.exec_search_path.is_empty() {
        return exec.exec_search_path.join(":");
    }
    let own = exec.environment.iter().find(|(name, _)| name == "PATH");
    let inherited = || environment.get(OsStr::new("PATH")).map(|path| path.to_string_lossy());
    match own {
        Some((_, path)) => path.clone(),
        None => inherited().map_or_else(|| DEFAULT_PATH.to_string(), |path| path.into_owned()),
    }
}

/// Whether a program is there. What cannot be seen is left to the start.
fn find_program(program: &str, path: &str) -> Result<(), String> {
    if program.contains('/') {
        return runnable(Path::new(program));
    }
    let mut blocked = None;
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let full: PathBuf = Path::new(OsStr::from_bytes(directory.as_bytes())).join(program);
        match fs::metadata(&full) {
            Err(_) => (),
            Ok(_) => match runnable(&full) {
                Ok(()) => return Ok(()),
                Err(message) => blocked = blocked.or(Some(message)),
            },
        }
    }
    Err(blocked.unwrap_or_else(|| format!("there is no program {program}")))
}

fn runnable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(format!("{shown} is not a program")),
        Ok(metadata) if metadata.mode() & 0o111 == 0 => Err(format!("{shown} is not executable")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no program {shown}"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource as Kernel, getrlimit};

    use super::*;
    use crate::unit::service::{Limit, Resource};

    #[test]
    fn limits_that_cannot_be_raised() {
        let (_, hard) = getrlimit(Kernel::RLIMIT_NOFILE).unwrap();
        let said = |limit: Limit, capabilities: u64| {
            let mut exec = ExecContext::default();
            exec.limits.insert(Resource::Nofile, limit);
            let mut said = Vec::new();
            let mut host = Host { capabilities: Some(capabilities), ..Host::default() };
            host.privileges(&exec, &mut |_, message, hint, ignore| {
                assert!(ignore, "only a warning");
                said.push(message + "; " + &hint.unwrap());
            });
            said.concat()
        };
        let both = |number: u64| Limit { soft: Some(number), hard: Some(number) };
        let more = said(both(hard + 1), 0);
        for word in [format!("LimitNOFILE={} is above", hard + 1), "--ulimit nofile=N".into()] {
            assert!(more.contains(&word), "{more}");
        }
        let endless = said(Limit { soft: Some(1), hard: None }, 0);
        assert!(endless.starts_with("LimitNOFILE=1:infinity "), "{endless}");
        assert_eq!(said(both(hard), 0), "");
        assert_eq!(said(both(hard + 1), 1 << CAP_SYS_RESOURCE), "");
    }
}
