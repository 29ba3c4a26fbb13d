//! The control socket beside the loop: who is let in, and what each call does.
//!
//! Not the wire (`control`) and not the decisions (`manager`): what only looks is answered here,
//! what changes something becomes a request. **Invariant:** nobody but root, rinit's own user and
//! the members of `ControlSocketGroup=` has a call read; a flood of clients costs a bounded part
//! of a turn.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use serde_json::{Value, json};

use super::event_loop::{Shell, now};
use super::report::Level;
use super::socket::{self, ControlSocket, Failure, SocketChoice};
use crate::cli::plain;
use crate::control::answer::{self, Asked};
use crate::control::describe;
use crate::control::interface::{self, Call};
use crate::control::protocol::Error;
use crate::control::server::{Caller, Server, turn_away};
use crate::journal::protocol::Request as LogRequest;
use crate::manager::event::{ClientId, Event, Request};
use crate::manager::status::UnitStatus;
use crate::manager::time::Timestamp;
use crate::sys::identity::Database;
use crate::sys::{clock, own_uid, peer};
use crate::unit::load::Loaded;
use crate::unit::{Problem, Unit, UnitName, UnitSet};

/// So many connections are accepted in a turn: fewer than there are places, so that who came
/// first is heard before it can lose its place.
const ACCEPTS_A_TURN: usize = 32;

/// After the descriptors ran out, so long nobody is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Refusals are logged one by one so rarely; those in between are counted.
const REFUSAL_PAUSE: Duration = Duration::from_secs(10);

/// After so many events who listens gets them within the turn.
const BURST: u64 = 128;

/// What of a unit's file `Cat` gives.
const CAT_MAX: u64 = 1 << 20;

/// Where the socket is to be and whose it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ControlConfig {
    /// Where.
    pub socket: SocketChoice,
    /// `ControlSocketGroup=`.
    pub group: Option<String>,
    /// Where there is no place for a socket a bare COMMAND lacks nothing: not worth a warning.
    pub optional: bool,
}

/// The state of the control socket.
#[derive(Debug)]
pub(super) struct Control {
    server: Server,
    socket: Option<ControlSocket>,
    config: ControlConfig,
    group: Option<u32>,
    /// The default socket was opened, or it was found that there is none.
    settled: bool,
    /// Somebody may wait to be accepted.
    knocks: bool,
    accepts_left: usize,
    paused_until: Option<Timestamp>,
    /// When a refusal was last logged, and how many were not.
    refused: Option<Timestamp>,
    refusals: u64,
    /// The job of a caller that does not wait for it.
    not_waiting: Option<(ClientId, Caller)>,
    /// Up to here events were handed on.
    handed_on: u64,
    /// When the units were last read.
    pub(super) loaded_at: SystemTime,
}

impl Control {
    pub(super) fn new(config: ControlConfig, server: Server) -> Control {
        Control {
            server,
            socket: None,
            settled: config.socket == SocketChoice::None,
            config,
            group: None,
            knocks: false,
            accepts_left: 0,
            paused_until: None,
            refused: None,
            refusals: 0,
            not_waiting: None,
            handed_on: 0,
            loaded_at: SystemTime::now(),
        }
    }

    /// Whether there is something to do at once.
    pub(super) fn has_work(&self) -> bool {
        self.server.has_work() || (self.knocks && self.paused_until.is_none())
    }

    /// When somebody may be accepted again.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.paused_until
    }
}

impl Shell {
    /// Opens the socket that somebody named, before anything is started.
    ///
    /// # Errors
    /// The sentence: it cannot be had.
    pub fn open_named_socket(&mut self) -> Result<(), String> {
        let SocketChoice::Path(path) = &self.control.config.socket else { return Ok(()) };
        let path = path.clone();
        self.find_group();
        self.control.settled = true;
        let opened = socket::open_at(&path, self.control.group);
        let socket = opened.map_err(|failure| format!("control socket {}", failure.message()))?;
        self.listen(socket);
        Ok(())
    }

    /// Opens the default socket: after what boot could start at once was started.
    fn open_default_socket(&mut self) {
        if std::mem::replace(&mut self.control.settled, true) {
            return;
        }
        self.find_group();
        match socket::open_default(self.control.group) {
            Ok(socket) => self.listen(socket),
            Err(failure) => {
                let (level, why, fix) = match &failure {
                    Failure::Busy(why) => (Level::Warn, why.clone(), "--socket none"),
                    Failure::Unusable(why) => {
                        let optional = self.control.config.optional;
                        let level = if optional { Level::Info } else { Level::Warn };
                        let why = format!("no place for it: {why}");
                        (level, why, "a writable /run or /tmp (--tmpfs /tmp)")
                    }
                };
                let text = format!(
                    "no control socket: {why}; rinitctl cannot reach this rinit: give --socket PATH, \
                     or {fix}"
                );
                self.report.message(level, text);
                self.report.forget();
            }
        }
    }

    fn find_group(&mut self) {
        let Some(name) = &self.control.config.group else { return };
        let found = Database::read().map(|database| database.group(name));
        match found {
            Ok(Some(group)) => self.control.group = Some(group),
            Ok(None) | Err(_) => {
                let why = match found {
                    Err(error) => error.to_string(),
                    Ok(_) => "there is no such group".to_owned(),
                };
                let text = format!("ControlSocketGroup={name}: {why}; only the owner may connect");
                self.report.message(Level::Warn, text);
            }
        }
    }

    fn listen(&mut self, socket: ControlSocket) {
        let mut source = SourceFd(&socket.listener.as_raw_fd());
        let registry = self.poll.registry();
        if let Err(error) =
            registry.register(&mut source, super::event_loop::CONTROL, Interest::READABLE)
        {
            self.report.message(Level::Warn, format!("no control socket: epoll: {error}"));
            return;
        }
        let text = format!("control socket {}", socket.path.display());
        self.report.message(Level::Debug, text);
        self.control.knocks = true;
        self.control.socket = Some(socket);
    }

    /// What the poll says about the listening socket or a client.
    pub(super) fn control_ready(&mut self, event: &mio::event::Event) {
        if event.token() == super::event_loop::CONTROL {
            self.control.knocks = true;
        } else {
            self.control.server.on_ready(event);
        }
    }

    /// Whether a token is a client's.
    pub(super) fn is_client(token: Token) -> bool {
        token.0 >= super::event_loop::FIRST_CLIENT
    }

    /// Before waiting: everything that clients are to get is on its way.
    pub(super) fn tend_control(&mut self) {
        if !self.control.settled && self.inbox.is_empty() {
            self.open_default_socket();
        }
        self.control.accepts_left = ACCEPTS_A_TURN;
        self.control.server.begin_turn();
        if self.control.paused_until.is_some_and(|until| until <= now()) {
            self.control.paused_until = None;
        }
        self.serve_listeners();
        self.control.server.flush(now());
        let notes = self.control.server.take_notes();
        for note in notes {
            self.report.message(Level::Warn, note);
        }
    }

    /// Hands on what happened.
    fn serve_listeners(&mut self) {
        if !self.control.server.is_empty()
            && let Some(recent) = self.report.recent()
        {
            self.control.server.pump(recent);
            self.control.handed_on = recent.next();
        }
    }

    /// Hands on what happened while it is a lot, so that a burst outruns nobody who reads.
    fn keep_up(&mut self) {
        let next = self.report.recent().map_or(0, crate::control::events::Ring::next);
        if next.saturating_sub(self.control.handed_on) > BURST && !self.control.server.is_empty() {
            self.serve_listeners();
            self.control.server.flush(now());
        }
    }

    /// At the end: who waits is told, and everybody gets what there is room for.
    pub(super) fn close_control(&mut self) {
        self.serve_listeners();
        self.control.server.end_all();
        self.control.server.flush(now());
        self.control.socket = None; // removes it
    }

    /// The next request to the manager; what only looks is answered meanwhile.
    pub(super) fn next_request(&mut self) -> Option<Event> {
        self.accept();
        while let Some((caller, call)) = self.control.server.next_call(now()) {
            if let Some(event) = self.serve(caller, call) {
                return Some(event);
            }
        }
        None
    }

    fn accept(&mut self) {
        while self.control.knocks && self.control.accepts_left > 0 {
            let paused = self.control.paused_until.is_some();
            let Some(socket) = self.control.socket.as_ref().filter(|_| !paused) else { return };
            self.control.accepts_left -= 1;
            match socket.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.control.knocks = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.control.paused_until = Some(now().after(ACCEPT_PAUSE));
                    self.note_refusal(&format!("a client cannot be accepted: {error}"));
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream) {
        let who = match peer::of(&stream) {
            Ok(who) => who,
            Err(error) => {
                self.note_refusal(&format!("a client does not say who it is: {error}"));
                return;
            }
        };
        let group = self.control.group;
        let member = |gid| who.gid == gid || peer::has_group(&stream, gid);
        let described = format!("uid {}, pid {}", who.uid, who.pid);
        if who.uid != 0 && who.uid != own_uid() && !group.is_some_and(member) {
            let reason = format!("uid {} may not control this rinit", who.uid);
            turn_away(&stream, &Error::PermissionDenied { reason });
            self.note_refusal(&format!("a client ({described}) was turned away: not its business"));
        } else if !self.control.server.admit(stream, described.clone(), now()) {
            self.note_refusal(&format!("a client ({described}) was turned away: no place is left"));
        }
    }

    /// A line now and then, whatever the flood.
    fn note_refusal(&mut self, text: &str) {
        let at = now();
        if self.control.refused.is_some_and(|last| at.since(last) < REFUSAL_PAUSE) {
            self.control.refusals += 1;
            return;
        }
        self.control.refused = Some(at);
        let more = match std::mem::take(&mut self.control.refusals) {
            0 => String::new(),
            count => format!(" ({count} more since the last such line)"),
        };
        self.report.message(Level::Warn, format!("control socket: {text}{more}"));
    }

    /// Does what is asked, or makes it a request.
    fn serve(&mut self, caller: Caller, call: Call) -> Option<Event> {
        let result = match call {
            Call::GetInfo => Ok(interface::info()),
            Call::GetInterfaceDescription { text } => Ok(json!({ "description": text })),
            Call::List => Ok(json!({
                "units": self.manager.status().map(|status| describe::list_entry(&status)).collect::<Vec<_>>(),
            })),
            Call::SystemState => Ok(json!({ "state": self.manager.system_state().as_str() })),
            Call::Boot => Ok(self.boot_record.reply(&self.all_units())),
            Call::Describe { unit } => self.status_of(&unit).map(|status| self.describe(&status)),
            Call::Cat { unit } => self.status_of(&unit).and_then(|status| cat(&status.unit)),
            Call::Dependencies { unit } => self.status_of(&unit).map(|status| {
                json!({ "dependencies": describe::dependencies(&status.unit, &self.all_units()) })
            }),
            Call::Logs { units, lines, since_usec, follow } => {
                let request = LogRequest { units, lines, since_usec, follow };
                self.show_logs(caller, request);
                return None;
            }
            Call::Events { unit, recent } => {
                self.listen_to_events(caller, unit, recent);
                return None;
            }
            Call::Job { .. }
            | Call::Scale { .. }
            | Call::Kill { .. }
            | Call::ResetFailed { .. }
            | Call::DaemonReload
            | Call::Apply { .. }
            | Call::Shutdown => match self.request(caller, call) {
                Ok(event) => return Some(event),
                Err(error) => Err(error),
            },
        };
        self.control.server.end(caller, result);
        None
    }

    /// The request that a call is.
    fn request(&mut self, caller: Caller, call: Call) -> Result<Event, Error> {
        let (asked, request) = match call {
            Call::Job { kind, unit, wait } => {
                let unit = self.status_of(&unit)?.unit.name.clone();
                let asked = Asked::Unit(unit.clone());
                return self.job(caller, asked, Request::Job { kind, unit }, wait);
            }
            Call::Scale { unit, instances: count, wait } => {
                let unit = self.status_of(&unit)?.unit.name.clone();
                let asked = Asked::Number(unit.clone());
                return self.job(caller, asked, Request::Scale { unit, count }, wait);
            }
            Call::Kill { unit, signal, whom } => {
                let unit = self.status_of(&unit)?.unit.name.clone();
                (Asked::Unit(unit.clone()), Request::Kill { unit, whom, signal })
            }
            Call::ResetFailed { unit: Some(unit) } => {
                let unit = self.status_of(&unit)?.unit.name.clone();
                (Asked::Unit(unit.clone()), Request::ResetFailed { unit: Some(unit) })
            }
            Call::ResetFailed { unit: None } => (Asked::All, Request::ResetFailed { unit: None }),
            Call::DaemonReload => {
                let (units, problems) = self.load_for_client(true)?;
                (Asked::Units(problems), Request::Load { units })
            }
            Call::Apply { dry_run } => {
                let (units, problems) = self.load_for_client(!dry_run)?;
                (Asked::Units(problems), Request::Apply { units, dry_run })
            }
            Call::Shutdown
            | Call::GetInfo
            | Call::GetInterfaceDescription { .. }
            | Call::List
            | Call::SystemState
            | Call::Boot
            | Call::Describe { .. }
            | Call::Cat { .. }
            | Call::Dependencies { .. }
            | Call::Logs { .. }
            | Call::Events { .. } => (Asked::All, Request::Shutdown),
        };
        let client = self.control.server.ask(caller, asked, None, false)?;
        Ok(Event::Request { client, request })
    }

    fn job(
        &mut self,
        caller: Caller,
        asked: Asked,
        request: Request,
        wait: bool,
    ) -> Result<Event, Error> {
        let from = self.report.recent().map(crate::control::events::Ring::next);
        let progress = from.filter(|_| caller.more && wait);
        let client = self.control.server.ask(caller, asked, progress, wait)?;
        if !wait {
            self.control.not_waiting = Some((client, caller));
        }
        Ok(Event::Request { client, request })
    }

    /// After an event was handled: who does not wait for the job that it asked for is told that
    /// it has begun, unless it was refused or done at once.
    pub(super) fn after_event(&mut self) {
        self.keep_up();
        if let Some((client, caller)) = self.control.not_waiting.take()
            && self.control.server.is_waiting(client)
        {
            self.control.server.end(caller, Ok(answer::job("queued", "", &[])));
        }
    }

    /// The manager's reply.
    pub(super) fn reply(&mut self, client: ClientId, reply: crate::manager::event::Reply) {
        self.serve_listeners(); // progress comes before the end
        self.control.server.on_reply(client, reply);
    }

    /// The units on disk, and what is odd about them. If they are to be the units from now on:
    /// with the control groups that they need.
    fn load_for_client(&mut self, for_good: bool) -> Result<(UnitSet, Vec<Value>), Error> {
        let loaded: Loaded = (self.reload.0)();
        let failed = loaded.has_errors();
        let text = |problem: &Problem| plain::render_one(problem);
        let problems = loaded.problems.iter().map(|found| answer::problem(found, text)).collect();
        if failed {
            return Err(Error::InvalidUnits { problems });
        }
        if for_good {
            self.settle_groups_of(&loaded.units)?;
            self.control.loaded_at = SystemTime::now();
        }
        Ok((loaded.units, problems))
    }

    fn settle_groups_of(&mut self, units: &UnitSet) -> Result<(), Error> {
        let all: Vec<_> = units.units.values().cloned().collect();
        let refused = |reason| Error::Refused { unit: None, reason };
        self.settle_groups(&all, &units.slices).map_err(refused)
    }

    fn listen_to_events(&mut self, caller: Caller, unit: Option<String>, recent: bool) {
        // A name that no unit has now may come to have one.
        let unit = unit.map(|text| {
            let error = || interface::no_such_unit(&text, std::iter::empty());
            UnitName::parse(&text).map_err(|_| error())
        });
        let unit = match unit.transpose() {
            Ok(unit) => unit,
            Err(error) => return self.control.server.end(caller, Err(error)),
        };
        let Some(ring) = self.report.recent() else { return };
        let (from, dropped) = if recent { (ring.first(), ring.first()) } else { (ring.next(), 0) };
        self.control.server.listen(caller, unit, from, dropped);
    }

    /// The journal answers, on the caller's connection, which is its from here on.
    fn show_logs(&mut self, caller: Caller, mut request: LogRequest) {
        for unit in &mut request.units {
            match self.status_of(unit) {
                Ok(status) => *unit = status.unit.name.to_string(),
                Err(error) => return self.control.server.end(caller, Err(error)),
            }
        }
        let server = &mut self.control.server;
        if let Err(reason) = self.journal.show(request, || server.release(caller, now())) {
            let error = Error::Refused { unit: None, reason: reason.to_owned() };
            self.control.server.end(caller, Err(error));
        }
    }

    fn status_of(&self, text: &str) -> Result<UnitStatus, Error> {
        let name = UnitName::parse(text).ok();
        let status = name.and_then(|name| self.manager.unit_status(&name));
        status.ok_or_else(|| {
            let all = self.all_units();
            interface::no_such_unit(text, describe::names(&all))
        })
    }

    fn all_units(&self) -> Vec<Arc<Unit>> {
        self.manager.status().map(|status| status.unit).collect()
    }

    fn describe(&self, status: &UnitStatus) -> Value {
        let (wall_now, now) = (clock::wall_time(), now());
        let wall = |at: Timestamp| clock::rfc3339(wall_now.saturating_sub(now.since(at)));
        let pid = |process| self.table.get(process).map(|process| process.pid);
        let file_changed = self.is_changed(&status.unit);
        let n_stored = self.notify.n_stored(&status.unit.name);
        let all = self.all_units();
        let usage = &self.usage_of(&status.unit, &all);
        let shell = describe::Shell { wall: &wall, pid: &pid, now, file_changed, n_stored, usage };
        json!({ "properties": describe::properties(status, &all, &shell) })
    }

    /// The file was written to after it was read.
    fn is_changed(&self, unit: &Unit) -> bool {
        let Some(file) = &unit.file else { return false };
        let modified = fs::metadata(&file.path).and_then(|found| found.modified());
        modified.map_or(true, |modified| modified > self.control.loaded_at)
    }
}

/// A unit's file as it is now, or what a COMMAND's would be.
fn cat(unit: &Unit) -> Result<Value, Error> {
    let Some(file) = &unit.file else {
        let text = command_as_unit(unit);
        return Ok(json!({ "path": null, "text": text }));
    };
    let refused = |error: std::io::Error| Error::Refused {
        unit: Some(unit.name.to_string()),
        reason: format!("{}: {error}", file.path.display()),
    };
    let found = fs::metadata(&file.path).map_err(refused)?;
    let mut bytes = Vec::new();
    if found.is_file() {
        let opened = fs::File::open(&file.path).map_err(refused)?;
        opened.take(CAT_MAX).read_to_end(&mut bytes).map_err(refused)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(json!({ "path": file.path.display().to_string(), "text": text }))
}

fn command_as_unit(unit: &Unit) -> String {
    let commands = unit.service.exec_start.iter().map(|command| {
        let mut words = vec![command.program.clone()];
        words.extend(command.arguments.iter().cloned());
        json!(words).to_string()
    });
    let commands: Vec<String> = commands.collect();
    format!(
        "# the COMMAND of rinit's command line\n[Service]\nExecStart = {}\n",
        commands.join(" ")
    )
}
