//! Does what the manager decided: one arm for each [`Action`].
//!
//! **Invariant:** performing never fails and never waits; what went wrong is an event.

use super::conditions;
use super::event_loop::Shell;
use super::report::Level;
use super::sockets::Passed;
use crate::manager::event::{
    Action, Event, Fact, ProcessId, ProcessRole, SpawnError, SpawnRequest,
};
use crate::sys::exec::{self, ExecPlan};
use crate::sys::{errno_of, kill, proc, reason};
use crate::unit::compact::compact;
use crate::unit::process::Signal;

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
                self.members.kill_unit(&self.table, unit, signal);
            }
            Action::Release { unit } => self.members.release(&unit),
            Action::KillEverything { signal } => {
                self.members.kill_everything(&self.table, signal);
                (self.awaits_nothing, self.deaths) = (true, true);
            }
            Action::Reply { client, reply } => {
                self.reply(client, reply);
            }
            // No unit asks for these yet.
            Action::Probe { .. } | Action::FindMain { .. } | Action::Rename { .. } => (),
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
            Action::Quiesce { unit } => self.sockets.quiesce(&unit),
            Action::Resume { unit } => self.sockets.resume(&unit),
            Action::Load => return Performed::Event(self.load()),
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
        self.control.loaded_at = std::time::SystemTime::now();
        let count = loaded.units.units.len();
        self.report.message(Level::Info, format!("reload: {count} units read again"));
        Event::Loaded { units: Some(compact(&loaded.units)) }
    }

    fn spawn(&mut self, request: Box<SpawnRequest>) -> Event {
        let process = request.process;
        let main = request.main.and_then(|main| Some(self.table.get(main)?.pid));
        let passed = match request.role {
            ProcessRole::ExecStart => self.sockets.passed(&request.unit),
            ProcessRole::ExecCondition
            | ProcessRole::ExecStartPre
            | ProcessRole::ExecStartPost
            | ProcessRole::ExecReload
            | ProcessRole::ExecStop
            | ProcessRole::ExecStopPost => Passed::default(),
        };
        let plan = match self.spawner.plan(&request, main, &passed) {
            Ok(plan) => plan,
            Err(error) => {
                return Event::SpawnFailed { process, error: SpawnError::Permanent(error) };
            }
        };
        match self.fork(plan, &request) {
            Ok(()) => Event::Spawned { process },
            Err(error) => {
                let errno = errno_of(&error);
                let message = format!("fork: {}", reason(errno));
                Event::SpawnFailed { process, error: SpawnError::Temporary { errno, message } }
            }
        }
    }

    fn fork(&mut self, plan: ExecPlan, request: &SpawnRequest) -> std::io::Result<()> {
        let (pid, starting) = exec::spawn(plan)?;
        let (id, unit) = (request.process, &request.unit.name);
        self.members.spawned(pid, unit.clone(), request.invocation);
        self.table.insert(id, pid, unit.clone(), starting);
        self.newborn(id);
        Ok(())
    }

    fn kill_process(&mut self, process: ProcessId, signal: Signal) {
        if let Some(process) = self.table.get(process) {
            kill::child(process.pid, signal);
        }
    }

    /// To who catches it. A child on its way to become the program catches nothing of this; one
    /// that already is the program may have its handler before its exec was noticed here.
    fn forward(&mut self, process: ProcessId, signal: Signal) {
        if let Some(process) = self.table.get(process)
            && proc::catches(process.pid, signal)
        {
            kill::child(process.pid, signal);
        }
    }

    fn record(&mut self, fact: &Fact) {
        let table = &self.table;
        self.report.fact(fact, |process| Some(table.get(process)?.pid));
    }
}
