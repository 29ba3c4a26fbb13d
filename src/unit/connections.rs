//! `Accept=yes`: the template that a connection is an instance of, and what such an instance is.
//!
//! Not when there is one (`manager::connections`) and not the accepting (`init::sockets`).
//! `echo@.toml` may have the `[Socket]` itself: it is `echo.socket` then, as if it stood in a file
//! of its own, which is how systemd.socket(5) has it. **Invariant:** in the units that come out no
//! template has a socket, and a socket with `Accept=yes` names the template that it is for.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use super::directive::Draft;
use super::instances;
use super::name::UNIT_NAME_MAX;
use super::problem::{Problem, Span};
use super::service::{ExitStatusSet, Restart, ServiceType};
use super::socket::ListenKind;
use super::{StartedBy, Unit, UnitKind, UnitName};

/// The longest `%i` of a connection: its number and two IPv6 addresses with their ports.
const INSTANCE_MAX: usize = 20 + 2 * (1 + 39 + 1 + 5);

/// The service of one connection: the template with `instance` in it. It orders nothing and needs
/// nothing, for its socket does that; it is not started again, for its connection is gone.
/// `None`: that is no name for a unit.
pub fn connection(template: &Unit, socket: &UnitName, instance: &str) -> Option<Unit> {
    let name = UnitName::service(&format!("{}@{instance}", template.name.prefix())).ok()?;
    let mut made = instances::filled(template, name, instance);
    instances::stand_alone(&mut made);
    made.settings.connection_of = Some(socket.clone());
    made.service.settings.restart = Restart::No;
    made.service.settings.remain_after_exit = false;
    made.service.settings.descriptor_store_max = 0;
    made.service.settings.restart_force_exit_status = ExitStatusSet::default();
    Some(made)
}

/// Makes of each template's own `[Socket]` the `.socket` unit of its name.
pub fn split(drafts: &mut BTreeMap<UnitName, Draft>, problems: &mut Vec<Problem>) {
    let has = |draft: &&Draft| draft.unit.name.is_template() && draft.unit.socket.is_some();
    let names: Vec<UnitName> =
        drafts.values().filter(has).map(|draft| draft.unit.name.clone()).collect();
    for name in names {
        let socket = format!("{}{}", name.prefix(), UnitKind::Socket.suffix());
        let (Some(template), Ok(socket)) = (drafts.get_mut(&name), UnitName::parse(&socket)) else {
            continue;
        };
        let made = take_socket(template, socket.clone(), problems);
        let span = template.span("[Socket]");
        match drafts.get(&socket) {
            None => drop(drafts.insert(socket, made)),
            Some(other) => {
                let message = format!("[Socket] of {name} is {socket}, and there is one already");
                let problem = Problem::error(span, message).hint("keep one of the two");
                let place = other.unit.file.clone().map(|file| Span { file, range: 0..0 });
                problems.push(match place {
                    Some(place) => problem.related(place, format!("{socket} is here")),
                    None => problem,
                });
            }
        }
    }
}

/// What the template says about order and start is its socket's: an instance has neither.
fn take_socket(template: &mut Draft, name: UnitName, problems: &mut Vec<Problem>) -> Draft {
    let mut made = Draft::new(name, &super::directive::UnitDefaults::default());
    let unit = &mut template.unit;
    made.unit.file = unit.file.clone();
    made.unit.description = format!("Socket of {}", unit.name);
    made.unit.requires = std::mem::take(&mut unit.requires);
    made.unit.wants = std::mem::take(&mut unit.wants);
    made.unit.after = std::mem::take(&mut unit.after);
    made.unit.settings = std::mem::take(&mut unit.settings);
    // These are asked for each connection.
    unit.settings.conditions = std::mem::take(&mut made.unit.settings.conditions);
    unit.settings.asserts = std::mem::take(&mut made.unit.settings.asserts);
    unit.settings.instance_description = made.unit.settings.instance_description.take();
    made.failure_action = template.failure_action;
    made.listens = std::mem::take(&mut template.listens);
    made.seen.clone_from(&template.seen);
    (made.enabled, made.left_out) = (template.enabled, template.left_out);
    if made.unit.socket.as_ref().is_some_and(|socket| !socket.accept) {
        let name = &template.unit.name;
        let message = format!("{name} is a template, which nothing starts, and has a [Socket]");
        let hint = "Accept = true starts an instance for each connection; for a number of them \
                    that share the socket take the @ out of the name and say Instances = N";
        problems.push(Problem::error(template.span("[Socket]"), message).hint(hint));
        made.socket().accept = true; // one error is enough
    }
    made
}

/// Rules of a `[Socket]` with `Accept=yes`, and its default.
pub fn check(draft: &mut Draft, problems: &mut Vec<Problem>) {
    let limited = draft.span("TriggerLimitBurst").is_some();
    let name = draft.unit.name.clone();
    let Some(socket) = draft.unit.socket.as_deref_mut().filter(|socket| socket.accept) else {
        return no_effect(draft, problems);
    };
    if !limited {
        // systemd's is 200. Nobody who connects is to end a socket, and with it the container:
        // PollLimitBurst= keeps the pace.
        socket.trigger_limit_burst = 0;
    }
    let wrong = socket.listen.iter().position(|listen| match listen.kind {
        ListenKind::Datagram | ListenKind::Fifo => true,
        ListenKind::Stream | ListenKind::SequentialPacket => false,
    });
    let reuse_port = socket.reuse_port;
    if let Some(at) = wrong {
        let message = format!("{name} has Accept=yes, and a socket that has no connections");
        let hint = "ListenDatagram and ListenFIFO go to one service: put them into another file";
        problems.push(Problem::error(draft.listens.get(at).cloned(), message).hint(hint));
    }
    if reuse_port {
        let message = "ReusePort has no effect: with Accept=yes rinit takes the connections itself";
        problems.push(Problem::warning(draft.span("ReusePort"), message));
    }
    if let Some(span) = draft.span("Service").filter(|_| name.kind() == UnitKind::Socket) {
        let template = format!("{}@.service", name.stem());
        let message = format!("{name} has Accept=yes, so it is for {template} and for no other");
        problems.push(Problem::error(Some(span), message).hint("take Service away"));
        draft.socket().service = None;
    }
    if name.kind() == UnitKind::Service && !name.is_template() {
        let stem = name.prefix();
        let message = format!("{name} has Accept=yes: each connection is an instance of it");
        let hint = format!("call the file {stem}@.toml; the instances are {stem}@0-….service");
        problems.push(Problem::error(draft.span("Accept"), message).hint(hint));
        draft.socket().accept = false;
    }
}

fn no_effect(draft: &Draft, problems: &mut Vec<Problem>) {
    let holds = draft.unit.socket.as_ref().is_some_and(|socket| !socket.listen.is_empty());
    for directive in
        ["MaxConnections", "MaxConnectionsPerSource", "PollLimitBurst", "PollLimitIntervalSec"]
    {
        if let Some(span) = draft.span(directive).filter(|_| holds) {
            let message = format!("{directive} has no effect: it is for Accept=yes");
            problems.push(Problem::warning(Some(span), message));
        }
    }
}

/// What a template says about its connections that cannot be. What it needs its socket needs: it
/// is there before the first connection.
pub fn check_template(template: &mut Draft, problems: &mut Vec<Problem>) {
    template.unit.started_by = StartedBy::Demand;
    let name = &template.unit.name;
    let service = &template.unit.service;
    let mut warn = |directive: &str, why: &str| {
        let message = format!("{directive} of {name} has no effect: {why}");
        problems.push(Problem::warning(template.span(directive), message));
    };
    if template.restart.is_some_and(|restart| restart != Restart::No) {
        warn("Restart", "a connection does not come a second time");
    }
    if service.remain_after_exit {
        warn("RemainAfterExit", "a connection is over when who serves it is gone");
    }
    if service.descriptor_store_max > 0 {
        warn("FileDescriptorStoreMax", "no process comes after the one that serves a connection");
    }
    let settings = &template.unit.settings;
    for (directive, list) in [
        ("OnFailure", &settings.on_failure),
        ("OnSuccess", &settings.on_success),
        ("BindsTo", &settings.binds_to),
        ("PartOf", &settings.part_of),
        ("Conflicts", &settings.conflicts),
        ("Upholds", &settings.upholds),
        ("Before", &settings.before),
    ] {
        if !list.is_empty() {
            warn(directive, "it is not asked for each connection; say it in the socket's file");
        }
    }
    let mut refuse = |directive: &str, message: String, hint: &str| {
        problems.push(Problem::error(template.span(directive), message).hint(hint));
    };
    if service.kind == ServiceType::Forking {
        let message = format!("{name} is Type=forking, and gets one connection to serve");
        refuse("Type", message, "let it stay in the foreground: Type = \"exec\"");
    }
    if service.exec_start.len() > 1 {
        let message = format!("{name} has several ExecStart, and one connection to serve");
        refuse("ExecStart", message, "what comes before it is ExecStartPre");
    }
    if name.as_str().len() + INSTANCE_MAX > UNIT_NAME_MAX {
        let most = UNIT_NAME_MAX - INSTANCE_MAX;
        let message = format!("{name} is too long for the name of each connection to follow the @");
        let hint = format!("at most {most} bytes");
        let span = template.unit.file.clone().map(|file| Span { file, range: 0..0 });
        problems.push(Problem::error(span, message).hint(hint));
    }
}
