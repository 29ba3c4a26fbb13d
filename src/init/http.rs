//! HTTP beside the loop: its socket, who is accepted when, and what answers are made from.
//!
//! Not what is said (`control::http`). It only looks, so nothing of it is an event of the manager.
//! **Invariant:** a flood of clients costs a bounded part of a turn; without a client there is no
//! deadline and nothing to do.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;

use super::event_loop::{Shell, now};
use super::figures::Figures;
use super::report::Level;
use crate::control::http::connections::Connections;
use crate::control::http::view::{Own, View};
use crate::control::http::{answer, route};
use crate::control::usage::Usage;
use crate::manager::event::ProcessId;
use crate::manager::readiness::Readiness;
use crate::manager::status::{SystemState, UnitStatus};
use crate::manager::time::Timestamp;
use crate::sys::listen::{self, Listen, ListenAddress};
use crate::sys::socket::{Address, SocketKind};
use crate::sys::{clock, own};

/// So many connections are accepted in a turn: fewer than there are places, so that who came first
/// is heard before it can lose its place.
const ACCEPTS_A_TURN: usize = 32;

/// Once requests took so much of a turn, the rest waits for the next.
const TURN: Duration = Duration::from_millis(5);

/// After the descriptors ran out, so long nobody is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// So many connections the kernel keeps for us.
const BACKLOG: u32 = 512;

/// The state of `--http`.
#[derive(Debug)]
pub(super) struct Http {
    listener: Option<TcpListener>,
    connections: Connections,
    /// Somebody may wait to be accepted.
    knocks: bool,
    paused_until: Option<Timestamp>,
    /// That nobody can be accepted was said.
    told: bool,
    /// So many requests were answered.
    requests: u64,
}

impl Http {
    pub(super) fn new(connections: Connections) -> Http {
        Http {
            listener: None,
            connections,
            knocks: false,
            paused_until: None,
            told: false,
            requests: 0,
        }
    }

    /// Somebody may wait to be accepted.
    pub(super) fn knock(&mut self) {
        self.knocks = self.listener.is_some();
    }

    /// What the poll says about a connection.
    pub(super) fn on_ready(&mut self, event: &mio::event::Event) {
        self.connections.on_ready(event);
    }

    /// Whether nobody is there and nobody knocks.
    fn is_idle(&self) -> bool {
        self.connections.is_empty() && !self.connections.has_work() && !self.knocks
    }

    /// Whether there is something to do at once.
    pub(super) fn has_work(&self) -> bool {
        self.connections.has_work() || (self.knocks && self.paused_until.is_none())
    }

    /// When a connection is late, or somebody may be accepted again.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        [self.connections.next_deadline(), self.paused_until].into_iter().flatten().min()
    }
}

impl Shell {
    /// Opens the socket, before anything is started.
    ///
    /// # Errors
    /// The sentence: it cannot be had.
    pub fn open_http(&mut self, address: Option<SocketAddr>) -> Result<(), String> {
        let Some(address) = address else { return Ok(()) };
        let mut plan = Listen::new(ListenAddress::At(Address::Inet(address)), SocketKind::Stream);
        (plan.nonblocking, plan.backlog) = (true, BACKLOG);
        let opened = listen::open(&plan).map_err(|error| format!("--http: {error}"))?;
        let listener = TcpListener::from(opened.fd);
        let mut source = SourceFd(&listener.as_raw_fd());
        let registered =
            self.poll.registry().register(&mut source, super::event_loop::HTTP, Interest::READABLE);
        registered.map_err(|error| format!("--http: epoll: {error}"))?;
        self.report.message(Level::Info, format!("http: listening on {}", opened.address));
        self.http.listener = Some(listener);
        self.http.knock();
        Ok(())
    }

    /// Before waiting: accepts, reads, answers, writes.
    pub(super) fn tend_http(&mut self) {
        if self.http.is_idle() {
            return;
        }
        let began = now();
        if self.http.paused_until.is_some_and(|until| until <= began) {
            self.http.paused_until = None;
        }
        let date = clock::http_date(clock::wall_time());
        self.answer_http(began, &date);
        // Those who are here are heard before others take their places.
        if !self.http.connections.has_work() {
            self.accept_http();
            self.answer_http(began, &date);
        }
        self.http.connections.flush(now(), &date);
    }

    fn answer_http(&mut self, began: Timestamp, date: &str) {
        while now().since(began) < TURN {
            let next = self.http.connections.next_request(now(), date);
            let Some((connection, request)) = next else { return };
            let found = route(&request).map(|asked| answer(asked, self));
            let found = found.unwrap_or_else(|refusal| refusal);
            self.http.requests += 1;
            let head_only = request.head_only;
            self.http.connections.answer(connection, &found, head_only, now(), date);
        }
    }

    fn accept_http(&mut self) {
        for _ in 0..ACCEPTS_A_TURN {
            let may = self.http.knocks && self.http.paused_until.is_none();
            let Some(listener) = self.http.listener.as_ref().filter(|_| may) else { return };
            let admitted = match listener.accept() {
                Ok((stream, _)) => self.http.connections.admit(stream, now()),
                Err(error) => Err(error),
            };
            match admitted {
                Ok(()) => self.http.told = false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.http.knocks = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.http.paused_until = Some(now().after(ACCEPT_PAUSE));
                    if !std::mem::replace(&mut self.http.told, true) {
                        let text = format!("http: nobody can be accepted just now: {error}");
                        self.report.message(Level::Warn, text);
                    }
                }
            }
        }
    }

    /// At the end: everybody gets what there is room for.
    pub(super) fn close_http(&mut self) {
        self.tend_http();
        self.http.listener = None;
    }
}

impl View for Shell {
    fn readiness(&self) -> Readiness {
        self.manager.readiness()
    }

    fn system_state(&self) -> SystemState {
        self.manager.system_state()
    }

    fn units(&self) -> Vec<UnitStatus> {
        self.manager.status().collect()
    }

    fn pid(&self, process: ProcessId) -> Option<i32> {
        self.table.get(process).map(|process| process.pid)
    }

    fn usage(&self, unit: &UnitStatus) -> Usage {
        if unit.instances.is_some() {
            return Usage::default(); // its instances are summed by who reads it
        }
        self.with_watched(&unit.unit, self.memory.usage(&unit.unit))
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn wall(&self, at: Timestamp) -> Duration {
        clock::wall_time().saturating_sub(now().since(at))
    }

    fn own(&self) -> Own {
        let Figures { started, turns, events, busy, longest, .. } = self.figures;
        Own {
            started,
            turns,
            events,
            busy,
            longest,
            requests: self.http.requests,
            cpu: own::cpu(),
            resident: own::resident(),
            open_fds: own::open_fds(),
            max_fds: own::max_fds(),
        }
    }
}
