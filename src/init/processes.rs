//! Which pid is which [`ProcessId`]: the processes that rinit forked or took as main processes.
//!
//! Not their descendants (`members`). **Invariant:** the entry of a child leaves in the call that
//! reaps its pid, so it never stands for a stranger. A process that was taken (`MAINPID=`,
//! `PIDFile=`) may be somebody else's child: it is known with its start time and signalled
//! through a pidfd only.

use std::collections::{BTreeMap, BTreeSet};

use crate::manager::event::{ProcessId, ProcessRole};
use crate::sys::Pid;
use crate::sys::exec::Starting;
use crate::unit::UnitName;
use crate::unit::process::ExecError;

/// The shell's own names have this bit: processes that it took, and probes that it runs.
/// The manager counts up from 0 and never gets so far.
const OWN: u64 = 1 << 63;

/// The number in a name of our own.
pub fn own_number(id: ProcessId) -> usize {
    usize::try_from(id.0 & !OWN).unwrap_or(usize::MAX)
}

/// What a process is here for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The manager asked for it, as this of its unit.
    Role(ProcessRole),
    /// It was there already, and is the main process of its unit.
    Taken {
        /// When it started (proc(5)): with the pid, its identity.
        started: u64,
    },
    /// It is an `Exec=` of `[Health]`: its end is the answer, and no event.
    Probe,
}

/// One process.
#[derive(Debug)]
pub struct Process {
    /// Its pid.
    pub pid: Pid,
    /// Whose it is.
    pub unit: UnitName,
    /// What it is here for.
    pub purpose: Purpose,
    /// It is a zombie: its death is being handled.
    pub exited: bool,
    /// It has not become the program yet, as far as we know.
    pub starting: Option<Starting>,
    /// The poll has its pipe.
    pub watched: bool,
    /// For its `oom_score_adj`, once it is the program.
    pub oom_score_adjust: Option<i32>,
    /// We sent it SIGKILL.
    pub sent_sigkill: bool,
    /// It never became the program.
    pub exec_error: Option<Box<ExecError>>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct ProcessTable {
    by_id: BTreeMap<ProcessId, Process>,
    by_pid: BTreeMap<Pid, ProcessId>,
    of_unit: BTreeSet<(UnitName, ProcessId)>,
    /// How many names of our own were given.
    own: u64,
}

impl ProcessTable {
    /// Takes a new child in.
    pub fn insert(
        &mut self,
        id: ProcessId,
        pid: Pid,
        unit: UnitName,
        purpose: Purpose,
        starting: Option<Starting>,
    ) {
        self.by_pid.insert(pid, id);
        self.of_unit.insert((unit.clone(), id));
        let process = Process {
            pid,
            unit,
            purpose,
            exited: false,
            starting,
            watched: false,
            oom_score_adjust: None,
            sent_sigkill: false,
            exec_error: None,
        };
        self.by_id.insert(id, process);
    }

    /// A name that neither the manager nor we have used.
    pub fn own_id(&mut self) -> ProcessId {
        self.own += 1;
        ProcessId(OWN | self.own)
    }

    /// The unit has another name from now on.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName) {
        let all = (from.clone(), ProcessId(0))..=(from.clone(), ProcessId(u64::MAX));
        let ids: Vec<ProcessId> = self.of_unit.range(all).map(|(_, id)| *id).collect();
        for id in ids {
            self.of_unit.remove(&(from.clone(), id));
            self.of_unit.insert((to.clone(), id));
            if let Some(process) = self.by_id.get_mut(&id) {
                process.unit = to.clone();
            }
        }
    }

    /// Forgets a process; call it where it is reaped, or was found dead, and nowhere else.
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

    /// SIGKILL is sent to all children of a unit.
    pub fn sent_sigkill(&mut self, unit: &UnitName) {
        let all = (unit.clone(), ProcessId(0))..=(unit.clone(), ProcessId(u64::MAX));
        for (_, id) in self.of_unit.range(all) {
            if let Some(process) = self.by_id.get_mut(id) {
                process.sent_sigkill = true;
            }
        }
    }

    /// Those of a unit that have not said yet whether exec worked.
    pub fn starting_of(&self, unit: &UnitName) -> Vec<ProcessId> {
        let all = (unit.clone(), ProcessId(0))..=(unit.clone(), ProcessId(u64::MAX));
        let ids = self.of_unit.range(all).map(|(_, id)| *id);
        ids.filter(|id| self.get(*id).is_some_and(|process| process.starting.is_some())).collect()
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

    /// Every one.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.by_id.values()
    }
}
