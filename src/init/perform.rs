//! Does what the manager decided: one arm for each [`Action`].
//!
//! **Invariant:** performing never fails and never waits; what went wrong is an event.

use super::event_loop::{Shell, now};
use super::journal::Capture;
use super::processes::{Process, Purpose};
use super::report::Level;
use super::sockets::Passed;
use super::{conditions, spawn_plan};
use crate::manager::event::{
    Action, Event, Fact, ProcessId, ProcessRole, SpawnError, SpawnRequest,
};
use crate::sys::exec::{self, ExecPlan};
use crate::sys::{Pid, errno_of, kill, proc, reason};
use crate::unit::UnitName;
use crate::unit::compact::compact;
use crate::unit::counted::counted;
use crate::unit::process::Signal;
use crate::unit::service::StandardStream;

/// What became of an action.
#[derive(Debug)]
pub(super) enum Performed {
    Done,
    /// It had an answer at once.
    Event(Event),
    Exit(u8),
}

impl Shell {
    pub(super) fn perform(&mut self, action: Action) -> Performed {
        match action {
            Action::Check { unit } => {
                let outcome = conditions::check(&unit, &self.spawner.environment);
                return Performed::Event(Event::Checked { unit: unit.name.clone(), outcome });
            }
            Action::Spawn(request) => return Performed::Event(self.spawn(request)),
            Action::KillProcess { process, signal } => self.kill_process(process, signal),
            Action::Forward { process, signal } => self.forward(process, signal),
            Action::KillUnit { unit, signal } => {
                if signal == Some(Signal::KILL) {
                    self.table.sent_sigkill(&unit);
                }
                self.kill_unit(unit, signal);
            }
            Action::Release { unit } => {
                self.members.release(&unit);
                self.watchdog.end(&unit);
                self.release_group(&unit);
                self.release_member(&unit);
                self.sockets.let_go(&unit);
            }
            Action::KillEverything { signal } => {
                self.kill_everything(signal);
                (self.awaits_nothing, self.deaths) = (true, true);
            }
            Action::Reply { client, reply } => {
                self.reply(client, reply);
            }
            Action::Probe { process, unit, kind } => {
                return self.probe(process, &unit, kind).map_or(Performed::Done, Performed::Event);
            }
            Action::FindMain { unit } => return Performed::Event(self.find_main(&unit)),
            Action::Rename { from, to } => self.rename(&from, &to),
            Action::Listen { unit, instances } => {
                return Performed::Event(self.open_sockets(&unit, instances));
            }
            Action::Steer { unit, ready } => self.steer(&unit, &ready),
            Action::Unlisten { unit } => self.unlisten(&unit),
            Action::Await { unit } => {
                if let Some(event) = self.await_connection(unit) {
                    return Performed::Event(event);
                }
            }
            Action::Quiesce { unit } => {
                if let Some(event) = self.quiesce(unit) {
                    return Performed::Event(event);
                }
            }
            Action::Resume { unit } => {
                self.sockets.resume(&unit);
                let lives = self.table.of_unit(&unit).any(|process| !process.exited);
                if let Some(tries) = self.freezer.resume(&unit).filter(|_| lives) {
                    let text = format!(
                        "{unit}: was at work whenever it was looked at ({tries} times); it is told to \
                         stop now, and may close connections that it accepted meanwhile"
                    );
                    self.report.message(Level::Info, text);
                }
            }
            Action::Load => {
                self.upward.reloading(now());
                let loaded = self.load();
                self.upward.reloaded();
                return Performed::Event(loaded);
            }
            Action::Record(fact) => self.record(&fact),
            Action::Exit { code } => return Performed::Exit(code),
        }
        Performed::Done
    }

    /// Reads the units again; what is wrong is said, and then nothing changes.
    fn load(&mut self) -> Event {
        let loaded = (self.reload.0)();
        for problem in &loaded.problems {
            self.report.problem(problem);
        }
        if loaded.has_errors() {
            let text = "reload: the units have errors, so everything stays as it was";
            self.report.message(Level::Error, text);
            return Event::Loaded { units: None };
        }
        let all: Vec<_> = loaded.units.units.values().cloned().collect();
        if let Err(problem) = self.settle_groups(&all, &loaded.units.slices) {
            let text = format!("reload: {problem}; everything stays as it was");
            self.report.message(Level::Error, text);
            return Event::Loaded { units: None };
        }
        self.control.loaded_at = std::time::SystemTime::now();
        let count = counted(loaded.units.units.len(), "unit");
        self.report.message(Level::Info, format!("reload: {count} read again"));
        Event::Loaded { units: Some(compact(&loaded.units)) }
    }

    /// The processes of a unit, and all that is known of them, have another name.
    fn rename(&mut self, from: &UnitName, to: &UnitName) {
        self.table.rename(from, to);
        self.members.rename(from, to);
        self.watchdog.rename(from, to);
        self.notify.rename(from, to);
        self.freezer.rename(from, to);
        self.journal.rename(from, to);
        self.rename_member(from, to);
        self.rename_group(from, to);
    }

    fn spawn(&mut self, request: Box<SpawnRequest>) -> Event {
        let process = request.process;
        let error = match self.try_spawn(&request) {
            Ok(()) => return Event::Spawned { process },
            Err(error) => error,
        };
        if matches!(error, SpawnError::Temporary { .. }) {
            self.sockets.no_room(&request.unit.name);
        }
        Event::SpawnFailed { process, error }
    }

    fn try_spawn(&mut self, request: &SpawnRequest) -> Result<(), SpawnError> {
        let main = request.main.and_then(|main| Some(self.table.get(main)?.pid));
        if request.role == ProcessRole::ExecStart {
            self.take_member(&request.unit);
        }
        let mut passed = self.passed_to(request);
        let (unit, role) = (&request.unit, request.role);
        let (output, error) = self.spawner.captured(unit);
        let capture = Capture::new(output, error).map_err(temporary("a pipe to the journal"))?;
        passed.captured = capture.ends();
        let mut wrong = Vec::new();
        let plan = self.spawner.plan(request, main, &passed, &mut wrong);
        if role == ProcessRole::ExecStart && request.index == 0 {
            let texts =
                wrong.iter().map(|wrong| format!("{}: EnvironmentFile: {wrong}", unit.name));
            texts.for_each(|text| self.report.message(Level::Warn, text));
        }
        let mut plan = plan.map_err(SpawnError::Permanent)?;
        if let Some(uid) = plan.identity.uid {
            capture.give_to(uid);
        }
        plan.cgroups = self.enter_group(&request.unit)?;
        self.restrict(request, &mut plan);
        let address = self.notify_address(unit, role).map_err(temporary("NOTIFY_SOCKET"))?;
        if let Some(address) = address {
            spawn_plan::tell(&mut plan, "NOTIFY_SOCKET", &address);
        }
        let ready = self.ready_pipe(request, &mut plan)?;
        let pid = self.fork(plan, request).map_err(temporary("fork"))?;
        let main = (role == ProcessRole::ExecStart).then_some(request.process);
        if main.is_some() {
            self.sockets.let_go(&unit.name); // with our copy open nobody would see it closed
        }
        self.journal.hold(capture, unit, pid, main);
        if let Some((read, _write)) = ready {
            self.watch_ready(request.process, read);
        }
        Ok(())
    }

    /// The sockets of a unit are its main process's only (sd_listen_fds(3)); after them come the
    /// descriptors that it stored (sd_pid_notify_with_fds(3)).
    fn passed_to(&self, request: &SpawnRequest) -> Passed {
        match request.role {
            ProcessRole::ExecStart => {
                let mut passed = self.sockets.passed(&request.unit);
                let exec = &request.unit.service.exec;
                let streams = [&exec.standard_input, &exec.standard_output, &exec.standard_error];
                // A socket that is a stream is one, and announces nothing.
                if !streams.iter().any(|stream| **stream == Some(StandardStream::Socket)) {
                    passed.sockets.extend(self.notify.stored(&request.unit.name));
                }
                passed
            }
            ProcessRole::ExecCondition
            | ProcessRole::ExecStartPre
            | ProcessRole::ExecStartPost
            | ProcessRole::ExecReload
            | ProcessRole::ExecStop
            | ProcessRole::ExecStopPost => Passed::default(),
        }
    }

    fn fork(&mut self, plan: ExecPlan, request: &SpawnRequest) -> std::io::Result<Pid> {
        let (pid, starting) = exec::spawn(plan)?;
        let (id, unit) = (request.process, &request.unit.name);
        self.members.spawned(pid, unit.clone(), request.invocation);
        let purpose = Purpose::Role(request.role);
        self.table.insert(id, pid, unit.clone(), purpose, Some(starting));
        let score = self.oom_score_adjust(&request.unit);
        if let Some(process) = self.table.get_mut(id) {
            process.oom_score_adjust = score;
        }
        self.newborn(id);
        self.watchdog.begin(now(), &request.unit, &self.memory);
        Ok(pid)
    }

    fn kill_process(&mut self, process: ProcessId, signal: Signal) {
        if let Some(process) = self.table.get_mut(process) {
            process.sent_sigkill |= signal == Signal::KILL;
            send(process, signal);
        }
    }

    /// To who catches it. A child on its way to become the program catches nothing of this; one
    /// that already is the program may have its handler before its exec was noticed here.
    fn forward(&mut self, process: ProcessId, signal: Signal) {
        if let Some(process) = self.table.get(process)
            && proc::catches(process.pid, signal)
        {
            send(process, signal);
        }
    }

    fn record(&mut self, fact: &Fact) {
        self.note_end(fact);
        self.upward.fact(fact);
        self.boot_record.fact(now, fact);
        let table = &self.table;
        self.report.fact(fact, |process| Some(table.get(process)?.pid));
        self.tell_journal(fact);
    }
}

/// Only a child of ours is sure to be who has its pid.
fn send(process: &Process, signal: Signal) {
    match process.purpose {
        Purpose::Taken { started } => kill::stranger(process.pid, started, signal),
        Purpose::Role(_) | Purpose::Probe => kill::child(process.pid, signal),
    }
}

/// An error of the system that may pass.
pub(super) fn temporary(what: &'static str) -> impl Fn(std::io::Error) -> SpawnError {
    move |error| {
        let errno = errno_of(&error);
        SpawnError::Temporary { errno, message: format!("{what}: {}", reason(errno)) }
    }
}
