//! What differs between the instances of one service (`Instances=`), and how many there are.
//!
//! Not when they run (`manager`), and nothing is read from the host here. A specifier that
//! depends on the instance (`%i`, `%n`, …) becomes a mark in the service's texts when it is
//! built; [`instance`] puts a number in its place. **Invariant:** an instance has no mark left,
//! and what has none in the service is shared with it.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::address::{parse_http, parse_tcp};
use super::command::ExecCommand;
use super::counted::counted;
use super::health::{Health, HealthCheck};
use super::name::UnitName;
use super::rolling::Instances;
use super::service::{ExecContext, ExitAction, ServiceSettings, StandardStream};
use super::shared::Shared;
use super::{StartedBy, Unit};

/// Stands for the number of the instance: a noncharacter of Unicode, "for internal use".
pub const MARK: char = '\u{FDD0}';

/// More instances than this are a mistake, in `Instances=` as in `scale`.
pub const INSTANCES_MAX: u32 = 4096;

/// What is wrong with a number that `scale` is given.
pub fn excess(count: u32) -> Option<String> {
    let too_many = count > INSTANCES_MAX;
    too_many.then(|| format!("{count} instances are too many: {INSTANCES_MAX} at most"))
}

/// Whether the number of an instance stands in this text.
pub fn is_marked(text: &str) -> bool {
    text.contains(MARK)
}

/// The text for the n-th instance.
pub fn numbered(text: &str, n: u32) -> String {
    text.replace(MARK, &n.to_string())
}

/// The n-th instance of a service: a unit of its own, which needs nothing and orders nothing,
/// since its service does that for all of them.
pub fn instance(unit: &Unit, n: u32) -> Unit {
    let mut made = filled(unit, unit.name.numbered(n), &n.to_string());
    stand_alone(&mut made);
    made.settings.instance_of = Some(unit.name.clone());
    made.settings.conditions.clear();
    made.settings.asserts.clear();
    made
}

/// The unit under another name and with this text in the place of every mark.
pub(super) fn filled(unit: &Unit, name: UnitName, number: &str) -> Unit {
    let mut made = Unit {
        name,
        file: unit.file.clone(),
        started_by: StartedBy::Demand,
        step: false,
        description: unit.description.clone(),
        requires: Shared::default(),
        wants: Shared::default(),
        after: Shared::default(),
        settings: unit.settings.clone(),
        service: unit.service.clone(),
    };
    if let Some(marked) = &unit.instance_description {
        made.description = marked.replace(MARK, number);
    }
    let service = &mut made.service;
    fill(&mut service.exec_start, number, |list, change| commands(list, change));
    fill(&mut service.exec, number, context);
    fill(&mut service.settings, number, settings);
    service.settings.instances = None;
    if let Some(health) = &mut service.settings.health {
        health_check(health, number);
    }
    made
}

/// Takes from an instance what another unit does for all.
pub(super) fn stand_alone(made: &mut Unit) {
    let settings = &mut *made.settings;
    settings.instance_description = None;
    settings.requisite.clear();
    settings.binds_to.clear();
    settings.part_of.clear();
    settings.upholds.clear();
    settings.conflicts.clear();
    settings.before.clear();
    settings.on_failure.clear();
    settings.on_success.clear();
    settings.start_limit_action = ExitAction::None;
    settings.failure_action = ExitAction::None;
    settings.success_action = ExitAction::None;
    settings.job_timeout = None;
}

type Change<'a> = dyn FnMut(&mut String) + 'a;

/// Puts the number in; where there is no mark, the value stays shared.
fn fill<T: Clone>(shared: &mut Shared<T>, number: &str, texts: fn(&mut T, &mut Change<'_>)) {
    let mut copy = T::clone(shared);
    let mut changed = false;
    texts(&mut copy, &mut |text| {
        if text.contains(MARK) {
            *text = text.replace(MARK, number);
            changed = true;
        }
    });
    if changed {
        *shared = Shared::from(copy);
    }
}

fn commands(list: &mut [ExecCommand], change: &mut Change<'_>) {
    list.iter_mut().for_each(|one| command(one, change));
}

fn command(command: &mut ExecCommand, change: &mut Change<'_>) {
    let ExecCommand {
        program,
        argv0,
        arguments,
        ignore_failure: _,
        no_expansion: _,
        full_privileges: _,
        no_setuid: _,
    } = command;
    change(program);
    argv0.iter_mut().chain(arguments).for_each(change);
}

fn context(context: &mut ExecContext, change: &mut Change<'_>) {
    let ExecContext {
        user,
        group,
        supplementary_groups,
        working_directory,
        umask: _,
        environment,
        environment_files,
        pass_environment,
        unset_environment,
        exec_search_path,
        limits: _,
        nice: _,
        oom_score_adjust: _,
        ignore_sigpipe: _,
        standard_input,
        standard_output,
        standard_error,
        tty_path,
        log_rate_limit_interval: _,
        log_rate_limit_burst: _,
        log_file,
        log_max_file_size: _,
        log_max_files: _,
    } = context;
    let identities = user.iter_mut().chain(group).chain(supplementary_groups).chain(tty_path);
    log_file.iter_mut().for_each(&mut *change);
    identities.for_each(&mut *change);
    working_directory.iter_mut().for_each(|directory| change(&mut directory.path));
    environment.iter_mut().for_each(|(_, value)| change(value));
    environment_files.iter_mut().for_each(|file| change(&mut file.path));
    let lists = pass_environment.iter_mut().chain(unset_environment).chain(exec_search_path);
    lists.for_each(&mut *change);
    for stream in standard_input.iter_mut().chain(standard_output).chain(standard_error) {
        match stream {
            StandardStream::File(path)
            | StandardStream::Append(path)
            | StandardStream::Truncate(path) => change(path),
            StandardStream::Inherit
            | StandardStream::Journal
            | StandardStream::Null
            | StandardStream::Tty
            | StandardStream::Socket => (),
        }
    }
}

fn settings(settings: &mut ServiceSettings, change: &mut Change<'_>) {
    for list in [
        &mut settings.exec_condition,
        &mut settings.exec_start_pre,
        &mut settings.exec_start_post,
        &mut settings.exec_reload,
        &mut settings.exec_stop,
        &mut settings.exec_stop_post,
    ] {
        commands(list, change);
    }
    settings.pid_file.iter_mut().chain(&mut settings.ready_log_pattern).for_each(&mut *change);
    if let Some(health) = &mut settings.health
        && let Some(HealthCheck::Exec(one)) = &mut health.check
    {
        command(one, change);
    }
}

/// Reads `Http=` or `Tcp=` again, with the number in it.
fn health_check(health: &mut Health, number: &str) {
    let Some(marked) = health.instance_check.take() else {
        return;
    };
    let text = marked.replace(MARK, number);
    let read = match &health.check {
        Some(HealthCheck::Tcp { .. }) => parse_tcp(&text),
        Some(HealthCheck::HttpPath(_) | HealthCheck::HttpUrl { .. } | HealthCheck::Exec(_))
        | None => parse_http(&text),
    };
    // A number too large for a port: the check of the first instance stays, and `build` said so.
    if let Ok(check) = read {
        health.check = Some(check);
    }
}

/// How much processor time cpu.max allows: `quota` of every `period`, microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuQuota {
    /// So much time.
    pub quota: u64,
    /// In so much time; not zero.
    pub period: u64,
}

/// What the container may use, as far as the shell could read it; by default one processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capacity {
    /// The tightest cpu.max on the way up; `None`: there is none, or it cannot be seen.
    pub quota: Option<CpuQuota>,
    /// Processors in the mask of sched_getaffinity(2), which cpuset bounds as well.
    pub affinity: u32,
    /// The tightest memory limit, bytes; `None`: there is none, or it cannot be seen.
    pub memory: Option<u64>,
}

/// What of the memory limit is nobody's instance: rinit, the kernel's part, short commands.
pub const MEMORY_RESERVE: u64 = 64 << 20;

/// How many instances there are to be, and how that came about, in one sentence for the log.
/// `memory_max`: `MemoryMax=` of the service, bytes.
pub fn resolve(
    instances: Instances,
    capacity: &Capacity,
    memory_max: Option<u64>,
) -> (u32, String) {
    let count = match instances {
        Instances::Count(count) => return (count, format!("Instances={count}")),
        Instances::Auto => capacity.affinity.max(1),
    };
    let mut least = count;
    let mut terms = Vec::new();
    if let Some(CpuQuota { quota, period }) = capacity.quota {
        let period = period.max(1);
        let cpus = u32::try_from(quota.div_ceil(period)).unwrap_or(u32::MAX);
        let percent = quota.saturating_mul(100) / period;
        terms.push(format!("{} by cpu.max {percent}%", counted(cpus, "CPU")));
        least = least.min(cpus);
    }
    terms.push(format!("{} by affinity", counted(count, "CPU")));
    if let (Some(limit), Some(each)) = (capacity.memory, memory_max.filter(|max| *max > 0)) {
        let room = limit.saturating_sub(MEMORY_RESERVE) / each;
        let (limit, each) = (mebibytes(limit), mebibytes(each));
        let reserve = mebibytes(MEMORY_RESERVE);
        terms.push(format!("{room} by memory, ({limit} - {reserve}) / {each}"));
        least = least.min(u32::try_from(room).unwrap_or(u32::MAX));
    }
    let result = least.clamp(1, INSTANCES_MAX);
    let mut text = match terms.as_slice() {
        [one] => format!("auto: {one} = {result}"),
        _ => format!("auto: min({}) = {result}", terms.join(", ")),
    };
    if least < 1 {
        text += ", for there is always one";
    }
    (result, text)
}

fn mebibytes(bytes: u64) -> String {
    format!("{}M", bytes >> 20)
}

/// Reads cpu.max of cgroup v2: `150000 100000`; `None` for `max`, or what is no such file.
pub fn parse_cpu_max(text: &str) -> Option<CpuQuota> {
    let mut words = text.split_ascii_whitespace();
    cpu_quota(words.next()?, words.next()?)
}

/// Reads cpu.cfs_quota_us and cpu.cfs_period_us of cgroup v1; a quota of -1 is none.
pub fn parse_cfs_quota(quota: &str, period: &str) -> Option<CpuQuota> {
    cpu_quota(quota.trim(), period.trim())
}

fn cpu_quota(quota: &str, period: &str) -> Option<CpuQuota> {
    let quota = quota.parse().ok().filter(|quota| *quota > 0)?;
    let period = period.parse().ok().filter(|period| *period > 0)?;
    Some(CpuQuota { quota, period })
}

/// Reads memory.max of cgroup v2, or memory.limit_in_bytes of v1, where "no limit" is a number
/// of almost 2⁶³.
pub fn parse_memory_max(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 62)
}
