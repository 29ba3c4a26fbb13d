//! Which pid is which [`ProcessId`]: the processes that rinit forked and has not reaped.
//!
//! Not their descendants (`members`). **Invariant:** an entry leaves in the call that reaps its
//! pid, so every pid in here is a child of ours, alive or a zombie, and never a stranger's.

use std::collections::{BTreeMap, BTreeSet};

use crate::manager::event::ProcessId;
use crate::sys::Pid;
use crate::sys::exec::Starting;
use crate::unit::UnitName;
use crate::unit::process::ExecError;

/// One forked process.
#[derive(Debug)]
pub struct Process {
    /// Its pid.
    pub pid: Pid,
    /// Whose it is.
    pub unit: UnitName,
    /// It is a zombie: its death is being handled.
    pub exited: bool,
    /// It has not become the program yet, as far as we know.
    pub starting: Option<Starting>,
    /// The poll has its pipe.
    pub watched: bool,
    /// It never became the program.
    pub exec_error: Option<Box<ExecError>>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct ProcessTable {
    by_id: BTreeMap<ProcessId, Process>,
    by_pid: BTreeMap<Pid, ProcessId>,
    of_unit: BTreeSet<(UnitName, ProcessId)>,
}

impl ProcessTable {
    /// Takes a new child in.
    pub fn insert(&mut self, id: ProcessId, pid: Pid, unit: UnitName, starting: Starting) {
        self.by_pid.insert(pid, id);
        self.of_unit.insert((unit.clone(), id));
        let (starting, exec_error) = (Some(starting), None);
        let process = Process { pid, unit, exited: false, starting, watched: false, exec_error };
        self.by_id.insert(id, process);
    }

    /// Forgets a child; call it where it is reaped and nowhere else.
    pub fn remove(&mut self, pid: Pid) -> Option<Process> {
        let id = self.by_pid.remove(&pid)?;
        let process = self.by_id.remove(&id)?;
        self.of_unit.remove(&(process.unit.clone(), id));
        Some(process)
    }

    /// Repacks after a burst: grown in order a tree is half empty, built at once it is full.
    pub fn shrink(&mut self) {
        self.by_id = std::mem::take(&mut self.by_id).into_iter().collect();
        self.by_pid = std::mem::take(&mut self.by_pid).into_iter().collect();
        self.of_unit = std::mem::take(&mut self.of_unit).into_iter().collect();
    }

    /// The process with this id.
    pub fn get(&self, id: ProcessId) -> Option<&Process> {
        self.by_id.get(&id)
    }

    /// The process with this id, to change it.
    pub fn get_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.by_id.get_mut(&id)
    }

    /// The id of a child, if we forked it.
    pub fn id_of(&self, pid: Pid) -> Option<ProcessId> {
        self.by_pid.get(&pid).copied()
    }

    /// The unit of a child, if we forked it.
    pub fn unit_of(&self, pid: Pid) -> Option<&UnitName> {
        Some(&self.by_id.get(self.by_pid.get(&pid)?)?.unit)
    }

    /// The children of a unit, zombies included.
    pub fn of_unit(&self, unit: &UnitName) -> impl Iterator<Item = &Process> {
        let all = (unit.clone(), ProcessId(0))..=(unit.clone(), ProcessId(u64::MAX));
        self.of_unit.range(all).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Whether a child of the unit lives.
    pub fn lives(&self, unit: &UnitName) -> bool {
        self.of_unit(unit).any(|process| !process.exited)
    }

    /// Those that have not said yet whether exec worked.
    pub fn starting(&self) -> impl Iterator<Item = ProcessId> {
        let starting = self.by_id.iter().filter(|(_, process)| process.starting.is_some());
        starting.map(|(id, _)| *id)
    }

    /// Every child.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.by_id.values()
    }
}
