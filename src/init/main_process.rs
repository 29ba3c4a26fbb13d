//! Main processes that rinit did not start as such: `MAINPID=`, `PIDFile=`, `Type=forking`.
//!
//! Not when one is looked for (`manager`). **Invariant:** what is taken was alive at that moment,
//! belongs to the unit (or root says so), and is known by pid and start time from then on; its
//! end is an event exactly once, whoever's child it is.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::event_loop::{FIRST_TAKEN, Shell, ToForget};
use super::processes::{Purpose, own_number};
use super::report::Level;
use crate::manager::event::{Event, ProcessId, ProcessRole};
use crate::sys::pidfd::{self, PidFd};
use crate::sys::proc::{self, Stat};
use crate::sys::{Pid, own_pid};
use crate::unit::process::ExitStatus;
use crate::unit::{Unit, UnitName};

/// A PID file is a number; more than this of it is not read.
const PID_FILE_MAX: u64 = 64;

/// Main processes that are somebody else's children.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    watched: BTreeMap<ProcessId, PidFd>,
    /// They may be dead.
    suspects: Vec<ProcessId>,
}

impl Strangers {
    /// The process behind this token may be dead.
    pub(super) fn suspect(&mut self, number: usize) {
        self.suspects.extend(self.watched.keys().find(|id| own_number(**id) == number));
    }

    pub(super) fn has_work(&self) -> bool {
        !self.suspects.is_empty()
    }
}

impl Shell {
    /// The process `pid`, from now on the main process of a unit.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn take_main(
        &mut self,
        unit: &UnitName,
        pid: Pid,
        by_root: bool,
    ) -> Result<ProcessId, String> {
        if pid <= 1 || pid == own_pid() {
            return Err("that is rinit or PID 1".to_owned());
        }
        let stat = proc::stat(pid).filter(|stat| stat.is_alive() && !stat.is_thread);
        let Some(stat) = stat else { return Err("there is no such process".to_owned()) };
        if let Some(id) = self.table.id_of(pid) {
            return self.known_main(unit, id);
        }
        match self.members.identify(pid, &self.table) {
            Some(owner) if owner == *unit => {}
            _ if by_root => self.members.assign(pid, stat.started, unit),
            Some(owner) => return Err(format!("it belongs to {owner}")),
            None => return Err("it does not belong to the unit".to_owned()),
        }
        let id = self.table.own_id();
        let purpose = Purpose::Taken { started: stat.started };
        self.table.insert(id, pid, unit.clone(), purpose, None);
        if stat.parent != own_pid() {
            self.watch_stranger(id, pid);
        }
        Ok(id)
    }

    fn known_main(&self, unit: &UnitName, id: ProcessId) -> Result<ProcessId, String> {
        let Some(process) = self.table.get(id).filter(|process| !process.exited) else {
            return Err("it is dead".to_owned());
        };
        if process.unit != *unit {
            return Err(format!("it belongs to {}", process.unit));
        }
        match process.purpose {
            Purpose::Role(ProcessRole::ExecStart) | Purpose::Taken { .. } => Ok(id),
            Purpose::Role(_) => Err("it is the control process".to_owned()),
            Purpose::Probe => Err("it is a health check".to_owned()),
        }
    }

    /// Its end is not told to us as a child's is.
    fn watch_stranger(&mut self, id: ProcessId, pid: Pid) {
        let watched = pidfd::open(pid).and_then(|watched| {
            let token = Token(FIRST_TAKEN.saturating_add(own_number(id)));
            let fd = watched.as_raw_fd();
            self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            Ok(watched)
        });
        match watched {
            Ok(watched) => {
                self.strangers.watched.insert(id, watched);
                // It may have died since it was looked at.
                self.strangers.suspects.push(id);
            }
            Err(error) => {
                let text = format!(
                    "the end of main process {pid}, a child of another, cannot be watched: {error}"
                );
                self.report.message(Level::Warn, text);
            }
        }
    }

    /// A main process that is not our child is dead.
    pub(super) fn next_stranger(&mut self) -> Option<Event> {
        while let Some(id) = self.strangers.suspects.pop() {
            let Some(process) = self.table.get_mut(id) else {
                self.strangers.watched.remove(&id); // it became our child and was reaped
                continue;
            };
            let pid = process.pid;
            let Purpose::Taken { started } = process.purpose else { continue };
            let same = proc::stat(pid).filter(|stat| stat.started == started);
            if same.is_some_and(|stat| stat.is_alive()) {
                continue;
            }
            if same.is_some_and(|stat| stat.parent == own_pid()) {
                self.deaths = true; // it is ours by now: we reap it
                continue;
            }
            process.exited = true;
            self.strangers.watched.remove(&id);
            self.cancel_probes(id);
            self.to_forget = Some(ToForget::Stranger(pid));
            // Whose child it was knows how it ended; systemd, too, takes it for a clean end.
            return Some(Event::Exited {
                process: id,
                exit: ExitStatus::Exited(0),
                exec_error: None,
            });
        }
        None
    }

    /// `PIDFile=`, else the guess.
    pub(super) fn find_main(&mut self, unit: &Unit) -> Event {
        let name = &unit.name;
        let main = match &unit.service.pid_file {
            Some(path) => self.main_of_pid_file(name, path),
            None if unit.service.guess_main_pid => self.guess_main(name),
            None => Err("there is no PIDFile=, and GuessMainPID=no".to_owned()),
        };
        Event::FoundMain { unit: name.clone(), main }
    }

    fn main_of_pid_file(&mut self, unit: &UnitName, path: &str) -> Result<ProcessId, String> {
        let (pid, by_root) = read_pid_file(path).map_err(|why| format!("PIDFile={path}: {why}"))?;
        let taken = self.take_main(unit, pid, by_root);
        taken.map_err(|why| format!("PIDFile={path}: process {pid}: {why}"))
    }

    /// The only process that the first one left to us; of several the oldest.
    fn guess_main(&mut self, unit: &UnitName) -> Result<ProcessId, String> {
        let left = self.members.living_of(unit, &self.table);
        let is_left = |stat: &&Stat| stat.parent == own_pid();
        let oldest = left.iter().filter(is_left).min_by_key(|stat| (stat.started, stat.pid));
        let Some(pid) = oldest.map(|stat| stat.pid) else {
            return Err("no process is left that could be the main process".to_owned());
        };
        self.take_main(unit, pid, false)
    }
}

/// The number in a PID file, and whether root wrote it where nobody else can put one.
fn read_pid_file(path: &str) -> Result<(Pid, bool), String> {
    let in_words = |error: std::io::Error| crate::sys::reason(crate::sys::errno_of(&error));
    let meta = std::fs::metadata(path).map_err(in_words)?;
    if !meta.is_file() {
        return Err("not a regular file".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(in_words)?;
    file.take(PID_FILE_MAX).read_to_string(&mut text).map_err(in_words)?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| format!("{:?} is no pid", text.trim()))?;
    Ok((pid, meta.uid() == 0 && is_roots_alone(path)))
}

/// No link is on the way, and nobody but root may write to a directory of it.
fn is_roots_alone(path: &str) -> bool {
    let path = std::path::Path::new(path);
    let plain = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    let roots = |meta: std::fs::Metadata| {
        meta.is_dir() && meta.uid() == 0 && (meta.mode() & 0o022 == 0 || meta.mode() & 0o1000 != 0)
    };
    plain
        && path
            .ancestors()
            .skip(1)
            .filter(|directory| !directory.as_os_str().is_empty())
            .all(|directory| std::fs::symlink_metadata(directory).is_ok_and(roots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_pid_file(path.to_str().unwrap()).map(|(pid, _)| pid)
        };
        assert_eq!(read("77\n"), Ok(77));
        assert_eq!(read(" 77"), Ok(77));
        for text in ["", "\n", "0", "-7", "x", "7 8", "99999999999"] {
            assert!(read(text).is_err(), "{text:?}");
        }
        let missing = read_pid_file("/nonexistent/pid");
        assert_eq!(missing, Err("No such file or directory".to_owned()));
        assert!(read_pid_file("/dev/null").is_err(), "a device is never read");
    }
}
