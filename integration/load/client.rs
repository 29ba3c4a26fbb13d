//! The loop: arrivals at their instants, pauses and deadlines, events of connections.
//!
//! **Invariant:** pauses and time-outs have one length each, so both queues are in the order of their
//! instants; an entry whose connection is gone, or has another request by now, means nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::Shared;
use super::connection::{Connection, Phase, Step};
use super::plan::{Connections, Plan};
use super::tally::Kind;

const WAKER: Token = Token(0);

pub struct Client {
    plan: Plan,
    request: Vec<u8>,
    shared: Arc<Shared>,
    poll: Poll,
    connections: BTreeMap<usize, Connection>,
    next_token: usize,
    /// Those that wait for a request, the longest idle first.
    idle: VecDeque<usize>,
    /// Requests that wait for a connection, by arrival.
    queue: VecDeque<Instant>,
    pauses: VecDeque<(Instant, usize)>,
    /// Deadline, connection, the arrival that it is for.
    deadlines: VecDeque<(Instant, usize, Instant)>,
    next_arrival: Instant,
    arrived: u64,
    stops: bool,
}

impl Client {
    pub fn new(plan: Plan, shared: Arc<Shared>) -> io::Result<(Client, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let client = Client {
            request: plan.request(),
            plan,
            shared,
            poll,
            connections: BTreeMap::new(),
            next_token: 1,
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            pauses: VecDeque::new(),
            deadlines: VecDeque::new(),
            next_arrival: Instant::now(),
            arrived: 0,
            stops: false,
        };
        Ok((client, waker))
    }

    pub fn run(mut self) {
        let mut events = Events::with_capacity(256);
        if self.plan.rate.is_none() {
            self.saturate();
        }
        while !self.is_done() {
            let timeout =
                self.next_instant().map(|at| at.saturating_duration_since(Instant::now()));
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                break;
            }
            for event in &events {
                if event.token() == WAKER {
                    self.stop();
                } else {
                    self.look(event.token().0);
                }
            }
            self.keep_time();
        }
        self.shared.end();
    }

    /// A closed loop has all its requests on their way all the time.
    fn saturate(&mut self) {
        let Connections::KeepAlive(count) = self.plan.connections else { return };
        for _ in 0..count {
            self.arrive(Instant::now());
        }
    }

    fn stop(&mut self) {
        self.stops |= self.shared.must_stop();
        if self.stops && self.plan.rate.is_none() {
            // Without a rate nobody is owed an answer.
            self.connections.clear();
            self.queue.clear();
        }
    }

    fn may_arrive(&self) -> bool {
        !self.stops && self.plan.requests.is_none_or(|requests| self.arrived < requests)
    }

    fn is_done(&self) -> bool {
        let is_busy = |connection: &Connection| connection.phase != Phase::Idle;
        !self.may_arrive() && self.queue.is_empty() && !self.connections.values().any(is_busy)
    }

    fn next_instant(&self) -> Option<Instant> {
        let arrival = (self.plan.rate.is_some() && self.may_arrive()).then_some(self.next_arrival);
        let pause = self.pauses.front().map(|(at, _)| *at);
        let deadline = self.deadlines.front().map(|(at, ..)| *at);
        let queued = self.queue.front().map(|arrival| *arrival + self.plan.timeout);
        [arrival, pause, deadline, queued].into_iter().flatten().min()
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if let Some(rate) = self.plan.rate {
            while self.may_arrive() && self.next_arrival <= now {
                let late = now.saturating_duration_since(self.next_arrival);
                self.shared.count(|tally| tally.late = tally.late.max(late));
                self.next_arrival += Duration::from_secs(1) / rate;
                self.arrive(now);
            }
        }
        while let Some((_, token)) = self.pauses.pop_front_if(|(at, _)| *at <= now) {
            self.send(token);
        }
        while let Some((_, token, arrival)) = self.deadlines.pop_front_if(|(at, ..)| *at <= now) {
            let is_late = self.connections.get(&token).is_some_and(|connection| {
                connection.phase != Phase::Idle && connection.arrival == arrival
            });
            if is_late {
                self.fail(token, Kind::TimedOut);
            }
        }
        let timeout = self.plan.timeout;
        while let Some(arrival) = self.queue.pop_front_if(|arrival| *arrival + timeout <= now) {
            self.shared.count(|tally| tally.add_failure(Kind::TimedOut, arrival, 0));
        }
    }

    /// One more request: on an idle connection, on a new one, or later.
    fn arrive(&mut self, arrival: Instant) {
        self.arrived += 1;
        self.queue.push_back(arrival);
        self.serve_queue();
    }

    fn serve_queue(&mut self) {
        while let Some(&arrival) = self.queue.front() {
            if let Some(token) = self.idle.pop_front() {
                if self.reuse(token, arrival) {
                    self.queue.pop_front();
                }
            } else if self.may_open() {
                self.queue.pop_front();
                self.open(arrival);
            } else {
                return;
            }
        }
    }

    fn may_open(&self) -> bool {
        match self.plan.connections {
            Connections::Fresh => true,
            Connections::KeepAlive(count) => self.connections.len() < count,
        }
    }

    fn open(&mut self, arrival: Instant) {
        let token = self.next_token;
        self.next_token += 1;
        let registry = self.poll.registry();
        match Connection::open(self.plan.target, registry, Token(token), arrival) {
            Ok(connection) => {
                self.deadlines.push_back((arrival + self.plan.timeout, token, arrival));
                self.connections.insert(token, connection);
            }
            Err(kind) => self.shared.count(|tally| tally.add_failure(kind, arrival, 0)),
        }
    }

    /// False if the server has closed it in the meantime.
    fn reuse(&mut self, token: usize, arrival: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else { return false };
        match connection.send(&self.request, arrival) {
            Step::Nothing => {
                self.deadlines.push_back((arrival + self.plan.timeout, token, arrival));
                true
            }
            Step::Connected | Step::Answered(_) | Step::Failed(_) | Step::IdleClosed => {
                self.forget_idle(token);
                false
            }
        }
    }

    fn look(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match connection.look() {
            Step::Nothing => {}
            Step::Connected if self.plan.pause.is_zero() => self.send(token),
            Step::Connected => self.pauses.push_back((Instant::now() + self.plan.pause, token)),
            Step::Answered(head) => {
                let (arrival, port) = (connection.arrival, connection.port);
                self.shared.count(|tally| tally.add_answer(&head, arrival, port));
                if head.closes || self.plan.connections == Connections::Fresh {
                    self.connections.remove(&token);
                } else {
                    self.idle.push_back(token);
                }
                self.go_on();
            }
            Step::Failed(kind) => self.fail(token, kind),
            Step::IdleClosed => self.forget_idle(token),
        }
    }

    /// The first request on a connection.
    fn send(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let arrival = connection.arrival;
        if let Step::Failed(kind) = connection.send(&self.request, arrival) {
            self.fail(token, kind);
        }
    }

    fn fail(&mut self, token: usize, kind: Kind) {
        if let Some(connection) = self.connections.remove(&token) {
            let (arrival, port) = (connection.arrival, connection.port);
            self.shared.count(|tally| tally.add_failure(kind, arrival, port));
        }
        self.go_on();
    }

    /// A request has ended: its connection may serve the next.
    fn go_on(&mut self) {
        if self.plan.rate.is_none() && self.may_arrive() {
            self.arrive(Instant::now());
        } else {
            self.serve_queue();
        }
    }

    fn forget_idle(&mut self, token: usize) {
        self.connections.remove(&token);
        self.idle.retain(|idle| *idle != token);
        self.shared.count(|tally| tally.idle_closed += 1);
    }
}
