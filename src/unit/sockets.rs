//! Across units: whose sockets a service gets, and what that allows it to say.
//!
//! Not one unit by itself (`rules`). **Invariant:** in the units that come out a `.socket` unit
//! names the service that it is for, unless only `Sockets=` of others name it; `sockets` of a
//! service is complete; and no two sockets want one address.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::directive::Draft;
use super::health::HealthCheck;
use super::problem::{Problem, Span};
use super::service::StandardStream;
use super::socket::{BindIpv6Only, Listen, ListenAddress, ListenKind, Socket};
use super::{Dependency, StartedBy, UnitKind, UnitName, connections, rules, value};

type Index = BTreeMap<UnitName, usize>;

/// Gives every service its sockets, with the order that follows (systemd.socket(5), IMPLICIT
/// DEPENDENCIES): a service comes after its sockets, and wants those that it names itself.
pub fn give(drafts: &mut [Draft], index: &Index, problems: &mut Vec<Problem>) {
    // Which service, which socket, and whether the service asked for it.
    let mut given: Vec<(usize, Dependency, bool)> = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        for dependency in &draft.unit.sockets {
            given.push((at, Dependency { span: None, ..dependency.clone() }, true));
        }
    }
    let mut accepted = Vec::new();
    let named: Vec<UnitName> =
        given.iter().map(|(_, dependency, _)| dependency.name.clone()).collect();
    let accepting = |draft: &Draft| draft.unit.socket.as_ref().is_some_and(|it| it.accept);
    for (at, dependency, _) in &given {
        let socket = index.get(&dependency.name).and_then(|at| drafts.get(*at));
        if let (Some(draft), true) = (drafts.get(*at), socket.is_some_and(accepting)) {
            let (name, socket) = (&draft.unit.name, &dependency.name);
            let message = format!("{name} names {socket} in Sockets, which has Accept=yes");
            let hint = "its connections go to instances of its own; nobody else gets it";
            problems.push(Problem::error(draft.span("Sockets"), message).hint(hint));
        }
    }
    for (at, draft) in drafts.iter_mut().enumerate() {
        if draft.unit.name.kind() != UnitKind::Socket {
            continue;
        }
        if accepting(draft) {
            let template = template_of(draft, index, problems);
            draft.socket().service = template.as_ref().map(|(name, _)| name.clone());
            accepted.extend(template.map(|(_, template)| (at, template)));
            continue;
        }
        let inherited = named.contains(&draft.unit.name);
        if let Some(service) = service_of(draft, inherited, index, problems) {
            let dependency = Dependency { name: draft.unit.name.clone(), span: None };
            given.extend(index.get(&service).map(|at| (*at, dependency, false)));
            draft.socket().service = Some(service);
        }
    }
    for (socket, template) in accepted {
        if let Some(template) = drafts.get_mut(template) {
            connections::check_template(template, problems);
        }
        let needs = drafts.get_mut(template).map(|template| {
            let unit = &mut template.unit;
            let take = |list: &mut Vec<Dependency>| std::mem::take(list);
            [take(&mut unit.requires), take(&mut unit.wants), take(&mut unit.after)]
        });
        if let (Some(draft), Some([requires, wants, after])) = (drafts.get_mut(socket), needs) {
            draft.unit.requires.extend(requires);
            draft.unit.wants.extend(wants);
            draft.unit.after.extend(after);
        }
    }
    for (at, dependency, asked) in given {
        let Some(draft) = drafts.get_mut(at) else { continue };
        let unit = &mut draft.unit;
        if !unit.sockets.iter().any(|known| known.name == dependency.name) {
            unit.sockets.push(dependency.clone());
        }
        let wants = asked.then_some(&mut *unit.wants);
        for list in std::iter::once(&mut *unit.after).chain(wants) {
            if !list.iter().any(|known| known.name == dependency.name) {
                list.push(dependency.clone());
            }
        }
    }
}

/// The template of which each connection is an instance, and where it is.
fn template_of(
    draft: &Draft,
    index: &Index,
    problems: &mut Vec<Problem>,
) -> Option<(UnitName, usize)> {
    let name = &draft.unit.name;
    let template = UnitName::service(&format!("{}@", name.stem())).ok()?;
    if let Some(at) = index.get(&template) {
        return Some((template, *at));
    }
    let message = format!("{name} has Accept=yes, and there is no {template}");
    let hint = format!("write {0}@.toml: each connection is an instance of it", name.stem());
    problems.push(Problem::error(draft.span("Accept"), message).hint(hint));
    None
}

/// The service that a `.socket` unit is for.
fn service_of(
    draft: &Draft,
    inherited: bool,
    index: &Index,
    problems: &mut Vec<Problem>,
) -> Option<UnitName> {
    let name = &draft.unit.name;
    let written = draft.unit.socket.as_ref().and_then(|socket| socket.service.clone());
    let span = draft.span("Service");
    let span = span.or_else(|| draft.unit.file.clone().map(|file| Span { file, range: 0..0 }));
    let service = match &written {
        Some(service) => service.clone(),
        None => UnitName::service(name.stem()).ok()?,
    };
    if service.is_template() {
        let message = format!("{name} is for {service}, which is a template");
        let hint = "a template never runs: name one instance, or say Accept = true in the socket \
                    of its name";
        problems.push(Problem::error(span, message).hint(hint));
        return None;
    }
    if index.contains_key(&service) {
        return Some(service);
    }
    if written.is_none() && inherited {
        return None;
    }
    let problem = if written.is_some() {
        Problem::error(span, format!("{name}: Service names {service}, and there is no such unit"))
    } else {
        let message = format!("{name} is for no service: it has no Service, and no other names it");
        Problem::error(span, message)
    };
    let known = index.keys().filter(|known| known.kind() == UnitKind::Service);
    let near = value::suggest(service.stem(), known.map(UnitName::stem));
    problems.push(match near.filter(|_| written.is_some()) {
        Some(near) => problem.hint(format!("did you mean {near}.service?")),
        None => problem
            .hint("say Service = \"NAME.service\", or put [Socket] into the service's own file"),
    });
    None
}

/// What services say about the sockets that they get.
pub fn check(drafts: &mut [Draft], index: &Index, problems: &mut Vec<Problem>) {
    addresses(drafts, problems);
    let accepting = drafts.iter().filter_map(|draft| draft.unit.socket.as_deref());
    let accepting = accepting.filter(|socket| socket.accept);
    let templates: BTreeSet<UnitName> =
        accepting.filter_map(|socket| socket.service.clone()).collect();
    let mut shared = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        beside_instances(draft, index, drafts, problems);
        if draft.unit.name.kind() == UnitKind::Service {
            let connected = templates.contains(&draft.unit.name);
            let sockets = service(draft, connected, index, drafts, problems);
            if probes(draft, &sockets, problems) {
                shared.push(at);
            }
        }
    }
    for at in shared {
        let health = drafts.get_mut(at).map(Draft::health);
        health.into_iter().for_each(|health| health.shared = true);
    }
}

/// A service with `Instances=` owns the names of its instances.
fn beside_instances(draft: &Draft, index: &Index, drafts: &[Draft], problems: &mut Vec<Problem>) {
    let unit = &draft.unit;
    let Some(instance) = unit.name.instance().filter(|_| unit.name.kind() == UnitKind::Service)
    else {
        return;
    };
    let Ok(group) = UnitName::service(unit.name.prefix()) else {
        return;
    };
    let Some(group) = index.get(&group).and_then(|at| drafts.get(*at)) else {
        return;
    };
    if group.unit.service.instances.is_none() {
        return;
    }
    let (name, group_name) = (&unit.name, &group.unit.name);
    let what = if instance.is_empty() { "the template" } else { "the unit" };
    let message = format!("{group_name} has Instances, and there is {what} {name} beside it");
    let problem = Problem::error(group.span("Instances"), message);
    let hint = format!("its instances are {}, …: give one of them another name", {
        group_name.numbered(1)
    });
    let place = unit.file.clone().map(|file| Span { file, range: 0..0 });
    problems.push(match place {
        Some(place) => problem.hint(hint).related(place, format!("{name} is here")),
        None => problem.hint(hint),
    });
}

/// Returns its sockets, own ones first; one that is `connected` is passed its connection.
fn service<'a>(
    draft: &'a Draft,
    connected: bool,
    index: &Index,
    drafts: &'a [Draft],
    problems: &mut Vec<Problem>,
) -> Vec<&'a Socket> {
    let unit = &draft.unit;
    let name = &unit.name;
    let others = unit.sockets.iter().filter_map(|dependency| index.get(&dependency.name));
    let others = others.filter_map(|at| drafts.get(*at)).filter_map(|d| d.unit.socket.as_deref());
    let sockets: Vec<&Socket> = unit.socket.as_deref().into_iter().chain(others).collect();
    let count: usize = sockets.iter().map(|socket| socket.listen.len()).sum();
    let count = count + usize::from(connected);
    let exec = &unit.service.exec;
    let streams = [
        ("StandardInput", &exec.standard_input),
        ("StandardOutput", &exec.standard_output),
        ("StandardError", &exec.standard_error),
    ];
    let stream = streams.into_iter().find(|(_, it)| **it == Some(StandardStream::Socket));
    if let Some((directive, _)) = stream.filter(|_| count != 1) {
        let message = format!("{name} has {directive}=socket, and gets {count} sockets");
        let hint = "it takes exactly one: [Socket] with one ListenStream";
        problems.push(Problem::error(draft.span(directive), message).hint(hint));
    }
    if let Some(fd) = unit.service.notification_fd.filter(|_| stream.is_none()) {
        let stored = usize::try_from(unit.service.descriptor_store_max).unwrap_or(usize::MAX);
        let first = count.saturating_add(stored).saturating_add(3);
        if usize::try_from(fd).is_ok_and(|fd| fd < first) {
            let what = "is one of the descriptors that it is passed";
            let message = format!("NotificationFd={fd} of {name} {what}");
            let hint =
                format!("its sockets and what it stores are from 3 on: take {first} or more");
            problems.push(Problem::error(draft.span("NotificationFd"), message).hint(hint));
        }
    }
    if unit.service.ready_on_accept && !sockets.iter().any(|socket| accepts(socket)) {
        let message = format!("ReadyOn of {name} needs a socket that takes connections");
        let hint = "with [Socket] ListenStream = … rinit holds the port for it";
        problems.push(Problem::error(draft.span("ReadyOn"), message).hint(hint));
    }
    sockets
}

fn accepts(socket: &Socket) -> bool {
    socket.listen.iter().any(|listen| match listen.kind {
        ListenKind::Stream | ListenKind::SequentialPacket => true,
        ListenKind::Datagram | ListenKind::Fifo => false,
    })
}

/// Whom a probe reaches: `true` if any instance of several.
fn probes(draft: &Draft, sockets: &[&Socket], problems: &mut Vec<Problem>) -> bool {
    let (unit, name) = (&draft.unit, &draft.unit.name);
    let Some(health) = &unit.service.health else {
        return false;
    };
    let found = sockets.iter().find(|socket| rules::tcp(socket).is_some());
    let shared = match &health.check {
        Some(HealthCheck::HttpPath(path)) => {
            let Some(socket) = found else {
                let message = format!("Http={path} of {name} needs a TCP socket of the service");
                let hint = format!(
                    "add [Socket] ListenStream = 8000, or give a whole URL: \
                     http://127.0.0.1:8000{path}"
                );
                problems.push(Problem::error(draft.span("Http"), message).hint(hint));
                return false;
            };
            !socket.reuse_port
        }
        Some(HealthCheck::HttpUrl { .. } | HealthCheck::Tcp { .. }) => {
            health.instance_check.is_none()
        }
        Some(HealthCheck::Exec(_)) | None => false,
    };
    let shared = shared && unit.service.instances.is_some();
    if shared {
        let span = draft.span("Http").or_else(|| draft.span("Tcp"));
        let message = format!(
            "the health check of {name} reaches any of its instances, so it speaks for the \
             service and no instance is judged by it"
        );
        let hint = "for each by itself: ReusePort = true, Exec =, or a port with %i in a URL";
        problems.push(Problem::note(span, message).hint(hint));
    }
    shared
}

/// One `Listen*=` of some unit.
#[derive(Clone, Copy)]
struct Place<'a> {
    draft: &'a Draft,
    listen: &'a Listen,
    socket: &'a Socket,
    at: usize,
}

/// What two sockets would have to share: one of these of one kind.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Endpoint<'a> {
    Port(ListenKind, u16),
    Path(&'a str),
    Abstract(ListenKind, &'a str),
}

/// Reports two sockets that want one address.
fn addresses(drafts: &[Draft], problems: &mut Vec<Problem>) {
    let mut taken: BTreeMap<Endpoint<'_>, Vec<Place<'_>>> = BTreeMap::new();
    for draft in drafts {
        let Some(socket) = draft.unit.socket.as_deref().filter(|_| opens(draft)) else {
            continue;
        };
        for (at, listen) in socket.listen.iter().enumerate() {
            let endpoint = match &listen.address {
                ListenAddress::Port(port) => Endpoint::Port(listen.kind, *port),
                ListenAddress::Ip(address) => Endpoint::Port(listen.kind, address.port()),
                ListenAddress::Path(path) => Endpoint::Path(path),
                ListenAddress::Abstract(name) => Endpoint::Abstract(listen.kind, name),
            };
            let place = Place { draft, listen, socket, at };
            let others = taken.entry(endpoint).or_default();
            if let Some(first) = others.iter().find(|other| overlap(other, &place)) {
                problems.push(collision(first, &place));
            } else {
                others.push(place);
            }
        }
    }
}

/// Whether its sockets are open together with all others.
fn opens(draft: &Draft) -> bool {
    let unit = &draft.unit;
    !unit.name.is_template() && (unit.started_by == StartedBy::Boot || unit.is_on_demand())
}

/// Whether the kernel would refuse the second (EADDRINUSE). Both are of one endpoint.
fn overlap(a: &Place<'_>, b: &Place<'_>) -> bool {
    if a.socket.reuse_port && b.socket.reuse_port && !std::ptr::eq(a.socket, b.socket) {
        return false;
    }
    let (Some(x), Some(y)) = (ip(a.listen), ip(b.listen)) else {
        return true;
    };
    if x == y {
        return true;
    }
    let wildcard_of = |any: IpAddr, place: &Place<'_>, other: IpAddr| match any {
        IpAddr::V4(any) => any.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(any) => {
            let both = place.socket.bind_ipv6_only != BindIpv6Only::Ipv6Only;
            any.is_unspecified() && (other.is_ipv6() || both)
        }
    };
    wildcard_of(x, a, y) || wildcard_of(y, b, x)
}

fn ip(listen: &Listen) -> Option<IpAddr> {
    match &listen.address {
        ListenAddress::Port(_) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        // IPv4 in IPv6 is the same socket as far as the kernel is concerned (RFC 4291, 2.5.5.2).
        ListenAddress::Ip(address) => Some(address.ip().to_canonical()),
        ListenAddress::Path(_) | ListenAddress::Abstract(_) => None,
    }
}

fn collision(first: &Place<'_>, second: &Place<'_>) -> Problem {
    let (a, b) = (&first.draft.unit.name, &second.draft.unit.name);
    let shown = |place: &Place<'_>| match &place.listen.address {
        ListenAddress::Port(port) => port.to_string(),
        ListenAddress::Ip(address) => address.to_string(),
        ListenAddress::Path(path) => path.clone(),
        ListenAddress::Abstract(name) => format!("@{name}"),
    };
    let message = if a == b {
        format!("{a} listens twice on {}", shown(second))
    } else {
        format!("{b} listens on {}, where {a} does already", shown(second))
    };
    let v6 = |place: &Place<'_>| ip(place.listen).is_some_and(|ip| ip.is_ipv6());
    let inet = ip(first.listen).is_some();
    let hint = if inet && v6(first) != v6(second) {
        "an IPv6 socket takes IPv4 as well: BindIPv6Only = \"ipv6-only\" keeps them apart"
    } else if inet && a != b {
        "with ReusePort = true in both the kernel would spread connections over them"
    } else {
        "take one of them away"
    };
    let span = |place: &Place<'_>| {
        let place_of = place.draft.listens.get(place.at).cloned();
        place_of.or_else(|| place.draft.unit.file.clone().map(|file| Span { file, range: 0..0 }))
    };
    let problem = Problem::error(span(second), message).hint(hint);
    match span(first) {
        Some(place) => problem.related(place, format!("{a} listens here")),
        None => problem,
    }
}
