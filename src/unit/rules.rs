//! Rules between the directives of one unit that are about sockets, instances, readiness and
//! health; and what such directives imply.
//!
//! Not across units (`sockets`). **Invariant:** what comes through without an error can be done
//! by the rest of rinit as it is, so nothing is found out at the first start only.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::address::{parse_http, parse_tcp};
use super::directive::Draft;
use super::health::HealthCheck;
use super::instances::numbered;
use super::problem::Problem;
use super::resources::Amount;
use super::rolling::Instances;
use super::service::{NotifyAccess, ServiceType};
use super::socket::{ListenAddress, ListenKind, Socket};
use super::stream::captured;
use super::{UnitKind, connections};

/// Everything about one unit. After an error (`broken`) nothing is said to be missing.
pub fn of_one_unit(draft: &mut Draft, broken: bool, problems: &mut Vec<Problem>) {
    implied(draft);
    health(draft, broken, problems);
    socket(draft, broken, problems);
    connections::check(draft, problems);
    if draft.unit.name.kind() == UnitKind::Service {
        instances(draft, problems);
        oneshot(draft, problems);
        needs_lines(draft, problems);
        memory(draft, problems);
        no_effect(draft, problems);
    }
}

/// What needs notifications takes those of the main process at least (service_add_extras()).
fn implied(draft: &mut Draft) {
    let service = &mut draft.unit.service;
    let notify = matches!(service.kind, ServiceType::Notify | ServiceType::NotifyReload);
    let needed = notify || service.watchdog.is_some() || service.descriptor_store_max > 0;
    if needed && service.notify_access == NotifyAccess::None {
        service.notify_access = NotifyAccess::Main;
    }
}

/// `Http=`, `Tcp=` or `Exec=`: one of them, or `StallSec=` alone.
fn health(draft: &mut Draft, broken: bool, problems: &mut Vec<Problem>) {
    let checks = std::mem::take(&mut draft.checks);
    let section = draft.span("[Health]");
    let unit = &mut draft.unit;
    let name = unit.name.clone();
    let Some(health) = &mut unit.service.health else {
        return;
    };
    if name.kind() != UnitKind::Service {
        let message = format!("{name} has [Health], which is for a service");
        problems.push(Problem::error(section, message).hint("move it to the service's file"));
        return;
    }
    if let [first, second, ..] = checks.as_slice() {
        let message = format!("{name} has both {} and {}", first.directive, second.directive);
        let problem = Problem::error(Some(second.span.clone()), message);
        let problem = problem.related(first.span.clone(), first.directive);
        problems.push(problem.hint("one check says whether it is well: keep one"));
    }
    if let Some(last) = checks.into_iter().next_back() {
        health.check = Some(last.check);
        health.instance_check = last.marked;
    } else if health.stall.is_zero() && !broken {
        let message = format!("[Health] of {name} says nothing to ask");
        let hint = "give Http = \"/healthz\", Tcp =, Exec =, or StallSec =";
        problems.push(Problem::error(section, message).hint(hint));
    }
}

fn socket(draft: &Draft, broken: bool, problems: &mut Vec<Problem>) {
    let unit = &draft.unit;
    let Some(socket) = &unit.socket else {
        return;
    };
    let name = &unit.name;
    if socket.listen.is_empty() && !broken {
        let message = format!("[Socket] of {name} listens nowhere");
        let hint = "say where: ListenStream = 8000, \"127.0.0.1:8000\" or \"/run/app.sock\"";
        problems.push(Problem::error(draft.span("[Socket]"), message).hint(hint));
    }
    if socket.service.is_some() && name.kind() == UnitKind::Service {
        let message = format!("{name} has a [Socket] of its own, which is for itself");
        let hint = "Service= stands in a file that has [Socket] and no [Service]";
        problems.push(Problem::error(draft.span("Service"), message).hint(hint));
    }
    let tcp = tcp(socket).is_some();
    if !tcp && !socket.defer_accept.is_zero() && !socket.listen.is_empty() {
        let message = "DeferAcceptSec has no effect: it is for TCP";
        problems.push(Problem::warning(draft.span("DeferAcceptSec"), message));
    }
    let inet = |address: &ListenAddress| match address {
        ListenAddress::Port(_) | ListenAddress::Ip(_) => true,
        ListenAddress::Path(_) | ListenAddress::Abstract(_) => false,
    };
    let other = socket.listen.iter().position(|listen| !inet(&listen.address));
    if let Some(at) = other.filter(|_| socket.reuse_port) {
        let message = format!("ReusePort of {name} is for ports, not for paths and names");
        let span = draft.span("ReusePort");
        let problem = match unit.service.instances {
            Some(_) => Problem::error(span, message)
                .hint("instances share a socket without it; or put the port into another file"),
            None => Problem::warning(span, message),
        };
        problems.push(match draft.listens.get(at) {
            Some(place) => problem.related(place.clone(), "not a port"),
            None => problem,
        });
    }
}

/// The first TCP address of a socket.
pub fn tcp(socket: &Socket) -> Option<&ListenAddress> {
    let stream = socket.listen.iter().filter(|listen| listen.kind == ListenKind::Stream);
    stream.map(|listen| &listen.address).find(|address| match address {
        ListenAddress::Port(_) | ListenAddress::Ip(_) => true,
        ListenAddress::Path(_) | ListenAddress::Abstract(_) => false,
    })
}

fn instances(draft: &Draft, problems: &mut Vec<Problem>) {
    let (unit, name) = (&draft.unit, &draft.unit.name);
    let Some(instances) = unit.service.instances else {
        if let Some(span) = draft.span("RollingUpdate") {
            let message = format!("RollingUpdate has no effect: {name} has no Instances");
            problems.push(Problem::warning(Some(span), message));
        }
        return;
    };
    let span = draft.span("Instances");
    if name.instance().is_some() {
        let message = format!("{name} has Instances, and is an instance or a template itself");
        let stem = name.prefix();
        let hint = format!("with Instances {stem}.toml is {stem}@1.service, {stem}@2.service, …");
        problems.push(Problem::error(span, message).hint(hint));
        return;
    }
    let last = match instances {
        Instances::Count(count) => count,
        Instances::Auto => 1,
    };
    let Some(health) = &unit.service.health else {
        return;
    };
    if let (Some(text), Some(check)) = (&health.instance_check, &health.check) {
        let text = numbered(text, last);
        let read = match check {
            HealthCheck::Tcp { .. } => parse_tcp(&text),
            HealthCheck::HttpPath(_) | HealthCheck::HttpUrl { .. } | HealthCheck::Exec(_) => {
                parse_http(&text)
            }
        };
        if let Err(error) = read {
            let span = draft.span("Http").or_else(|| draft.span("Tcp"));
            let message = format!("for {}: {}", name.numbered(last), error.message);
            problems.push(Problem::error(span, message));
        }
    }
}

/// A pattern needs lines to look at, and a file lines to keep.
fn needs_lines(draft: &Draft, problems: &mut Vec<Problem>) {
    let service = &draft.unit.service;
    if captured(&service.exec, false) != (false, false) {
        return;
    }
    for (directive, given) in [
        ("ReadyLogPattern", service.ready_log_pattern.is_some()),
        ("LogFile", service.exec.log_file.is_some()),
    ] {
        if given {
            let name = &draft.unit.name;
            let message = format!("{directive} of {name} needs its output, which is not captured");
            let hint = "take StandardOutput = \"journal\"; COMMAND: -p StandardOutput=journal";
            problems.push(Problem::error(draft.span(directive), message).hint(hint));
        }
    }
}

/// What is about a service that stays cannot be had of one that ends.
fn oneshot(draft: &Draft, problems: &mut Vec<Problem>) {
    let service = &draft.unit.service;
    let name = &draft.unit.name;
    if service.kind != ServiceType::Oneshot {
        return;
    }
    let health = service.health.is_some();
    let never = [
        ("Instances", service.instances.is_some(), "has no instances"),
        ("ReadyOn", service.ready_on_accept, "is ready when it has ended"),
        ("ReadyLogPattern", service.ready_log_pattern.is_some(), "is ready when it has ended"),
        ("NotificationFd", service.notification_fd.is_some(), "is ready when it has ended"),
        ("[Health]", health, "has no health"),
    ];
    for (directive, given, why) in never {
        if given {
            let message = format!("{name} is a oneshot, which {why}");
            let span = draft.span(directive).or_else(|| draft.span("Type"));
            problems.push(Problem::error(span, message).hint("use Type = \"exec\""));
        }
    }
    if service.watchdog.is_some() && !service.remain_after_exit {
        let message = format!("WatchdogSec has no effect: {name} is a oneshot");
        problems.push(Problem::warning(draft.span("WatchdogSec"), message));
    }
}

/// Words that are there for nothing.
/// `MemoryHigh=` and `MemoryMax=`, and what needs one of them.
fn memory(draft: &Draft, problems: &mut Vec<Problem>) {
    let name = &draft.unit.name;
    if let Some(span) = draft.span("[Slice]") {
        let message = format!("[Slice] stands in the file of {name}, which is a service");
        let hint = "a slice has a file of its own; Slice = \"NAME.slice\" puts the service in it";
        problems.push(Problem::error(Some(span), message).hint(hint));
    }
    let Some(resources) = draft.unit.service.resources.as_deref() else { return };
    if resources.recycles() && resources.memory_high.is_none() {
        let message = format!("MemoryHighAction=recycle needs MemoryHigh, which {name} has not");
        let hint = "say from where on it is to be replaced: MemoryHigh = \"400M\"";
        problems.push(Problem::error(draft.span("MemoryHighAction"), message).hint(hint));
    }
    let above = match (resources.memory_high, resources.memory_max) {
        (Some(Amount::Bytes(high)), Some(Amount::Bytes(max))) => high >= max,
        (Some(Amount::Share(high)), Some(Amount::Share(max))) => high >= max,
        (_, _) => false,
    };
    if above {
        let message = format!("MemoryHigh of {name} is not below its MemoryMax, so it never acts");
        let problem = Problem::warning(draft.span("MemoryHigh"), message);
        problems.push(match draft.span("MemoryMax") {
            Some(max) => problem.related(max, "MemoryMax"),
            None => problem,
        });
    }
}

fn no_effect(draft: &Draft, problems: &mut Vec<Problem>) {
    let service = &draft.unit.service;
    let mut warn = |directive: &str, holds: bool, why: &str| {
        if let Some(span) = draft.span(directive).filter(|_| holds) {
            let message = format!("{directive} has no effect: {why}");
            problems.push(Problem::warning(Some(span), message));
        }
    };
    let notify_reload = service.kind == ServiceType::NotifyReload;
    warn("ReloadSignal", !notify_reload, "it is for Type=notify-reload");
    let no_file = service.exec.log_file.is_none();
    warn("LogMaxFileSize", no_file, "it is for LogFile=");
    warn("LogMaxFiles", no_file, "it is for LogFile=");
    let forking = service.kind == ServiceType::Forking;
    warn("GuessMainPID", !forking, "it is for Type=forking");
}
