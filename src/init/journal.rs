//! rinit's side of the journal: the pipes of captured streams, and the process that relays them.
//!
//! Not the relaying (`crate::journal`), and no byte of a log is read here. rinit holds the read
//! end of every pipe until the journal says that it is empty and nobody can write to it any more.
//! The journal process is a child of ours that belongs to no unit: its end is nobody's event, and
//! it is started again, sooner or later. It is the last to go. **Invariant:** what a service has
//! written is in its pipe or has been written to our output, whatever befalls the journal.

mod letter;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::event_loop::{JOURNAL, Shell, now};
use super::report::Level;
use crate::journal::protocol::{self, Extras, LogFile, Rate, Request, Source, Stream, Word};
use crate::journal::{ARGUMENT, CHANNEL_FD, KEPT, REST_FD, format_argument};
use crate::manager::event::{Event, Fact, ProcessId};
use crate::manager::state::SubState;
use crate::manager::time::Timestamp;
use crate::sys::channel::{Channel, Received};
use crate::sys::exec::{
    self, Descriptor, Directory, ExecPlan, ExecState, FailureCode, Grouping, Identity, Starting,
    Stdio,
};
use crate::sys::reap::{self, Peeked};
use crate::sys::{self, Pid, capture, errno_of, kill, reason};
use crate::unit::process::{ExitStatus, Signal};
use crate::unit::{Unit, UnitName};

/// How long after its end it is started again: at once where it was up for [`RESET`], else later
/// and later.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(5);
const RESET: Duration = Duration::from_secs(10);

/// At the end it gets this much time, if the budget of the stop has it, to write what is left.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// `LogRateLimitIntervalSec=` where nothing is said.
const RATE_INTERVAL: Duration = Duration::from_secs(30);
/// `LogMaxFileSize=` and `LogMaxFiles=`, as kubelet has it for the logs of a container.
const LOG_MAX_FILE_SIZE: u64 = 10 << 20;
const LOG_MAX_FILES: u32 = 5;

/// So long after it was told of streams it is told of the next: those of a boot go together, and
/// none goes that is silent and over by then.
const TELL_INTERVAL: Duration = Duration::from_millis(5);

/// So many orders may wait for it to take them.
const ORDERS_MAX: usize = 256;

/// So many clients may wait for the journal to take them over.
const SHOWN_MAX: usize = 32;

/// It is started so often for that.
const LAST_STARTS: usize = 3;
/// While it does not take our orders at the end, they are offered again so often.
const OFFER: Duration = Duration::from_millis(10);

/// The write ends that a process to be gets as its streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// As standard output.
    pub output: Option<RawFd>,
    /// As standard error.
    pub error: Option<RawFd>,
}

/// The pipes of a process to be.
#[derive(Debug, Default)]
pub(super) struct Capture {
    output: Option<(OwnedFd, OwnedFd)>,
    error: Option<(OwnedFd, OwnedFd)>,
}

impl Capture {
    /// Pipes for those of its streams that are captured.
    ///
    /// # Errors
    /// No descriptors are left.
    pub(super) fn new(output: bool, error: bool) -> io::Result<Capture> {
        let pipe = |wanted: bool| wanted.then(capture::pipe).transpose();
        Ok(Capture { output: pipe(output)?, error: pipe(error)? })
    }

    pub(super) fn ends(&self) -> Ends {
        let end = |pipe: &Option<(OwnedFd, OwnedFd)>| pipe.as_ref().map(|(_, end)| end.as_raw_fd());
        Ends { output: end(&self.output), error: end(&self.error) }
    }

    /// The process runs as somebody else, who may open its streams by name as well.
    pub(super) fn give_to(&self, uid: u32) {
        for (_, write) in self.output.iter().chain(&self.error) {
            capture::give_to(write.as_fd(), uid);
        }
    }
}

/// A stream whose read end we hold.
#[derive(Debug)]
struct Held {
    pipe: OwnedFd,
    source: Source,
    /// With the main process that a line with `ReadyLogPattern=` makes ready.
    extras: Option<Box<(Extras, Option<ProcessId>)>>,
}

/// What the journal is to be told, beside of streams and names.
#[derive(Debug)]
enum Queued {
    Failed(UnitName),
    Show(Box<(Request, OwnedFd)>),
}

/// The journal process.
#[derive(Debug)]
struct Process {
    pid: Pid,
    since: Timestamp,
    channel: Channel,
    /// It has not said yet that it runs.
    starting: Option<Starting>,
    /// Failures that it was told of meanwhile: if it never runs, its successor is told.
    failed: Vec<UnitName>,
    /// The poll says when there is room in the channel.
    waits_for_room: bool,
}

/// What the journal says that is not for [`Journal`] alone.
#[derive(Debug, Default)]
struct Heard {
    /// As they are told.
    failures: Vec<String>,
    /// Main processes whose line came.
    ready: Vec<ProcessId>,
}

/// Everything about it.
#[derive(Debug)]
pub(super) struct Journal {
    is_json: bool,
    process: Option<Process>,
    /// What a process leaves to its successor, such as the rest of a line that went out in part.
    kept: Vec<File>,
    streams: BTreeMap<u64, Held>,
    /// How many there were.
    count: u64,
    /// So many of them the process has been told of.
    told: u64,
    /// When it was told of some.
    told_at: Option<Timestamp>,
    /// Of units that it knows.
    renames: VecDeque<(UnitName, UnitName)>,
    orders: VecDeque<Queued>,
    /// When it is started again.
    restart_at: Option<Timestamp>,
    delay: Duration,
    /// It has been told that it cannot be started.
    is_stuck: bool,
    knocks: bool,
}

impl Journal {
    /// Not started: that is for the first stream.
    pub(super) fn new(is_json: bool) -> Journal {
        Journal {
            is_json,
            process: None,
            kept: Vec::new(),
            streams: BTreeMap::new(),
            count: 0,
            told: 0,
            told_at: None,
            renames: VecDeque::new(),
            orders: VecDeque::new(),
            restart_at: None,
            delay: Duration::ZERO,
            is_stuck: false,
            knocks: false,
        }
    }

    /// The poll says that its channel has news.
    pub(super) fn knock(&mut self) {
        self.knocks = true;
    }

    /// When it is to be started again, or told of streams.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.restart_at.or_else(|| self.tell_at())
    }

    /// Streams that it does not know.
    fn untold(&self) -> impl Iterator<Item = (&u64, &Held)> {
        self.streams.range(self.told + 1..)
    }

    /// When it is to be told of streams, of which it does not know some.
    fn tell_at(&self) -> Option<Timestamp> {
        let process = self.process.as_ref().filter(|process| !process.waits_for_room)?;
        self.untold().next()?;
        Some(self.told_at.map_or(process.since, |at| at.after(TELL_INTERVAL)))
    }

    /// Whether there is something to tell it now.
    fn is_due(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.waits_for_room)
            || !self.renames.is_empty()
            || !self.orders.is_empty()
            || self.tell_at().is_some_and(|at| at <= now())
    }

    /// Repacks after a burst, as `ProcessTable::shrink` does.
    pub(super) fn shrink(&mut self) {
        self.streams = std::mem::take(&mut self.streams).into_iter().collect();
    }

    /// Whether this child is the journal process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.process.as_ref().is_some_and(|process| process.pid == pid)
    }

    /// Its pid, while it runs.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// A process was born with these streams.
    pub(super) fn hold(
        &mut self,
        capture: Capture,
        unit: &Unit,
        pid: Pid,
        main: Option<ProcessId>,
    ) {
        let service = &unit.service;
        let rate = Some(service.exec.log_rate_limit_burst).filter(|burst| *burst > 0);
        let interval = service.exec.log_rate_limit_interval.unwrap_or(RATE_INTERVAL);
        let interval_usec = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        let rate = rate.map(|burst| Rate { burst, interval_usec });
        let file = service.exec.log_file.as_ref().map(|path| LogFile {
            path: path.clone(),
            max_size: service.exec.log_max_file_size.unwrap_or(LOG_MAX_FILE_SIZE),
            max_files: service.exec.log_max_files.unwrap_or(LOG_MAX_FILES),
        });
        let pattern = service.ready_log_pattern.clone().filter(|_| main.is_some());
        let extras = Extras { pattern, rate, file };
        let pipes = [(Stream::Stdout, capture.output), (Stream::Stderr, capture.error)];
        for (stream, pipe) in pipes {
            let Some((pipe, _write)) = pipe else { continue };
            let is_instance = unit.instance_of.is_some();
            let source = Source { unit: unit.name.shared(), is_instance, stream, pid };
            self.count += 1;
            let has_extras = extras != Extras::default();
            let extras = has_extras.then(|| Box::new((extras.clone(), main)));
            self.streams.insert(self.count, Held { pipe, source, extras });
        }
    }

    /// A unit has another name from now on.
    pub(super) fn rename(&mut self, from: &UnitName, to: &UnitName) {
        for held in self.streams.values_mut().filter(|held| *held.source.unit == *from.as_str()) {
            held.source.unit = to.shared();
        }
        if self.process.is_some() {
            self.make_room();
            self.renames.push_back((from.clone(), to.clone()));
        }
    }

    /// A unit failed: its last lines are shown.
    fn unit_failed(&mut self, unit: &UnitName) {
        // The process may not be there yet: a unit can fail in the turn in which it was started.
        if self.count > 0 {
            self.make_room();
            self.orders.push_back(Queued::Failed(unit.clone()));
        }
    }

    /// A journal that takes no orders is replaced: its successor needs not to be told the old ones.
    fn make_room(&mut self) {
        if self.renames.len() + self.orders.len() < ORDERS_MAX {
            return;
        }
        self.renames.clear();
        self.orders.retain(|order| matches!(order, Queued::Show(_)));
        if let Some(process) = &self.process {
            kill::child(process.pid, Signal::KILL);
        }
    }

    /// A client wants to see lines: from here on it is the journal's.
    ///
    /// # Errors
    /// Too many wait already.
    pub(super) fn show(
        &mut self,
        request: Request,
        client: impl FnOnce() -> Option<OwnedFd>,
    ) -> Result<(), &'static str> {
        let waiting = self.orders.iter().filter(|order| matches!(order, Queued::Show(..))).count();
        if waiting >= SHOWN_MAX {
            return Err("the journal does not answer; try again");
        }
        if let Some(client) = client() {
            self.orders.push_back(Queued::Show(Box::new((request, client))));
        }
        Ok(())
    }

    /// Starts the process; all that we hold is for it.
    fn start(&mut self, registry: &Registry) -> io::Result<()> {
        while self.kept.len() < KEPT {
            self.kept.push(capture::memory_file(c"rinit-journal")?);
        }
        let (ours, theirs) = Channel::pair()?;
        registry.register(&mut SourceFd(&ours.as_raw_fd()), JOURNAL, Interest::READABLE)?;
        let kept = self.kept.iter().map(AsRawFd::as_raw_fd).zip(REST_FD..);
        let descriptors = std::iter::once((theirs.as_raw_fd(), CHANNEL_FD)).chain(kept);
        let descriptors = descriptors.map(|(source, target)| Descriptor { source, target });
        let (pid, starting) = exec::spawn(plan(self.is_json, descriptors.collect()))?;
        self.process = Some(Process {
            pid,
            since: now(),
            channel: ours,
            starting: Some(starting),
            failed: Vec::new(),
            waits_for_room: false,
        });
        (self.told, self.told_at) = (0, None);
        self.renames.clear();
        Ok(())
    }

    /// Tells the journal what it does not know yet, as far as there is room; whether all is told.
    fn give_orders(&mut self, registry: &Registry) -> bool {
        let is_told = self.tell();
        let Some(process) = &mut self.process else { return is_told };
        if is_told == process.waits_for_room {
            let interest = Interest::READABLE;
            let interest = if is_told { interest } else { interest | Interest::WRITABLE };
            let fd = process.channel.as_raw_fd();
            let _ = registry.reregister(&mut SourceFd(&fd), JOURNAL, interest);
            process.waits_for_room = !is_told;
        }
        is_told
    }

    fn tell(&mut self) -> bool {
        self.drop_silent();
        if self.process.is_some() && self.untold().next().is_some() {
            self.told_at = Some(now());
        }
        while let (Some(process), Some(letter)) = (&self.process, self.letter()) {
            match process.channel.send(&letter.bytes, &letter.with) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_) => return true, // it is gone: its successor is told all
            }
            let told = letter.told;
            self.told = told.streams;
            self.renames.drain(..told.renames);
            for order in self.orders.drain(..told.orders) {
                if let (Queued::Failed(unit), Some(process)) = (order, &mut self.process)
                    && process.starting.is_some()
                {
                    process.failed.push(unit);
                }
            }
        }
        self.process.is_some() || self.orders.is_empty()
    }

    /// Of a process that wrote nothing and is gone the journal need not know.
    fn drop_silent(&mut self) {
        let (ids, pipes): (Vec<u64>, Vec<BorrowedFd<'_>>) =
            self.untold().map(|(id, held)| (*id, held.pipe.as_fd())).unzip();
        let silent = capture::are_over(&pipes);
        for (id, _) in ids.into_iter().zip(silent).filter(|(_, silent)| *silent) {
            self.streams.remove(&id);
        }
    }

    /// What the journal says.
    fn listen(&mut self) -> Heard {
        let mut heard = Heard::default();
        while let Some(process) = &mut self.process {
            match process.channel.receive() {
                Ok(Received::Message(bytes, _)) => {
                    protocol::parts(&bytes)
                        .into_iter()
                        .for_each(|word| self.hear(word, &mut heard));
                }
                Ok(Received::Nothing) => break,
                // It gave up, and dies of this if it does not anyway.
                Ok(Received::End) | Err(_) => {
                    kill::child(process.pid, Signal::KILL);
                    break;
                }
            }
        }
        heard
    }

    fn hear(&mut self, word: Word, heard: &mut Heard) {
        match word {
            Word::Started => {
                if let Some(process) = &mut self.process {
                    process.starting = None;
                    process.failed.clear();
                }
                self.is_stuck = false;
            }
            Word::Closed { id } => drop(self.streams.remove(&id)),
            Word::Failed { why } => {
                let text = "the journal cannot write to rinit's output";
                heard.failures.push(format!("{text}: {why}; lines are lost"));
            }
            Word::FileFailed { unit, why } => heard.failures.push(format!("{unit}: {why}")),
            Word::Matched { id } => {
                let held = self.streams.get_mut(&id);
                if let Some(extras) = held.and_then(|held| held.extras.as_mut()) {
                    extras.0.pattern = None;
                    heard.ready.extend(extras.1.take());
                }
            }
        }
    }

    fn next_delay(&mut self) -> Duration {
        let next = (self.delay * 2).clamp(FIRST_DELAY, MAX_DELAY);
        std::mem::replace(&mut self.delay, next)
    }

    /// Its process is dead; why, if it never came to be.
    fn ended(&mut self, registry: &Registry) -> Option<String> {
        let mut process = self.process.take()?;
        // Not just closed: a child on its way to exec has a copy.
        let _ = registry.deregister(&mut SourceFd(&process.channel.as_raw_fd()));
        self.orders.extend(std::mem::take(&mut process.failed).into_iter().map(Queued::Failed));
        let at = now();
        if at.since(process.since) >= RESET {
            self.delay = Duration::ZERO;
        }
        let delay = self.next_delay();
        self.restart_at = Some(at.after(delay));
        let starting = process.starting.as_mut()?;
        match starting.look() {
            ExecState::Failed(report) => Some(starting.describe(report).message),
            ExecState::Pending | ExecState::Execed => None,
        }
    }

    /// From now on it only relays what it has, and ends.
    pub(super) fn dismiss(&mut self) {
        self.tell();
        if let Some(process) = &self.process {
            process.channel.close();
        }
    }
}

fn plan(is_json: bool, descriptors: Vec<Descriptor>) -> ExecPlan {
    let arguments = ["rinit", ARGUMENT, format_argument(is_json)];
    ExecPlan {
        program: "rinit".to_owned(),
        candidates: std::iter::once(c"/proc/self/exe".into()).chain(sys::own_path()).collect(),
        argv: arguments.into_iter().filter_map(|word| CString::new(word).ok()).collect(),
        // Nothing by which it could be taken for a process of a unit.
        envp: Vec::new(),
        pid_variables: Vec::new(),
        descriptors,
        cgroups: Vec::new(), // it is where we are
        grouping: Grouping::Session,
        stdio: [Stdio::AsOutput, Stdio::Inherit, Stdio::Inherit],
        umask: 0o027,
        limits: Vec::new(),
        nice: None,
        oom_score_adjust: None,
        identity: Identity::default(),
        directory: Directory::Declared { path: c"/".into(), optional: true },
        ignore_sigpipe: true,
        merges_memory: false,
        failure_code: FailureCode::Stage,
    }
}

impl Shell {
    /// Before waiting: the journal runs, and knows of every stream.
    pub(super) fn tend_journal(&mut self) {
        if std::mem::take(&mut self.journal.knocks) {
            self.hear_journal();
        }
        let idle = self.journal.streams.is_empty() && self.journal.orders.is_empty();
        let wanted = self.journal.process.is_none() && !idle;
        let due = self.journal.restart_at.is_none_or(|at| at <= now());
        if wanted && due && !self.awaits_nothing {
            self.journal.restart_at = None;
            match self.journal.start(self.poll.registry()) {
                Ok(()) => {}
                Err(error) => self.journal_cannot_start(&error),
            }
        } else if !wanted {
            self.journal.restart_at = None;
        }
        if self.journal.is_due() {
            self.journal.give_orders(self.poll.registry());
        }
    }

    fn hear_journal(&mut self) {
        let heard = self.journal.listen();
        let failures = heard.failures.into_iter();
        failures.for_each(|text| self.report.message(Level::Error, text));
        self.inbox.extend(heard.ready.into_iter().map(|process| Event::Matched { process }));
    }

    /// Told once; who writes fills its pipe, and waits when that is full.
    fn journal_cannot_start(&mut self, error: &io::Error) {
        let delay = self.journal.next_delay();
        self.journal.restart_at = Some(now().after(delay));
        if !std::mem::replace(&mut self.journal.is_stuck, true) {
            let why = reason(errno_of(error));
            let text = format!(
                "the journal process cannot be started: {why}; services that write much wait \
                 until it can"
            );
            self.report.message(Level::Error, text);
        }
    }

    /// What of all that happens concerns the journal.
    pub(super) fn tell_journal(&mut self, fact: &Fact) {
        let Fact::State { unit, to: SubState::Failed, .. } = fact else { return };
        // A service with instances writes nothing itself: the instance that failed shows its own.
        let status = self.manager.unit_status(unit);
        if status.is_none_or(|status| status.instances.is_none()) {
            self.journal.unit_failed(unit);
        }
    }

    /// The journal process is a zombie.
    pub(super) fn journal_died(&mut self, pid: Pid, exit: ExitStatus) {
        self.hear_journal();
        let text = match self.journal.ended(self.poll.registry()) {
            Some(_) if std::mem::replace(&mut self.journal.is_stuck, true) => return,
            Some(why) => format!(
                "the journal process cannot start: {why}; services that write much wait until it can"
            ),
            None => format!("the journal process {pid} {exit}; it starts again, no line is lost"),
        };
        // At the end everything is sent SIGKILL.
        if !self.awaits_nothing {
            self.report.message(Level::Warn, text);
        }
    }

    /// At the very end: what is still in the pipes is written, as far as somebody reads.
    pub(super) fn finish_journal(&mut self) {
        let budget = self.manager.end_of_stop();
        let end = now().after(LAST_WORDS);
        let end = budget.map_or(end, |budget| budget.min(end));
        self.hear_journal();
        let mut starts = 0;
        while now() < end {
            if self.journal.process.is_none() {
                let wanted = !self.journal.streams.is_empty() && starts < LAST_STARTS;
                starts += 1;
                if !wanted || self.journal.start(self.poll.registry()).is_err() {
                    return;
                }
            }
            if !self.journal.give_orders(self.poll.registry()) {
                self.wait_for_signal(OFFER);
                continue;
            }
            self.journal.dismiss();
            let Some(pid) = self.journal.pid() else { return };
            while now() < end && reap::peek_at(pid) == Peeked::AllAlive {
                self.wait_for_signal(end.since(now()));
            }
            self.hear_journal();
            if let Peeked::Dead(_, exit) = reap::peek_at(pid) {
                self.journal.ended(self.poll.registry());
                reap::reap(pid);
                if exit == ExitStatus::Exited(0) {
                    return;
                }
            }
        }
        if let Some(pid) = self.journal.pid() {
            kill::child(pid, Signal::KILL);
        }
    }
}
