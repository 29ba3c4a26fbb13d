//! An init whose services are all up and that has nothing to do.

use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

use super::{Bench, LIMIT};
use crate::cell::{Cell, Event};
use crate::gap::Gap;
use crate::job::{App, Job, Load};
use crate::process;
use crate::subject::Subject;

/// It has come to rest when it was not woken for so long.
const QUIET: Duration = Duration::from_millis(200);
const LOOKS: usize = 20;

/// Its services are dropped with it.
pub struct Idler {
    _cell: Cell,
    init: Pid,
    supervisors: Vec<Pid>,
}

impl Idler {
    /// Starts so many services, or one command if the subject has no services, and waits until init rests.
    pub fn start(bench: &Bench, subject: Subject, services: usize) -> Result<Self, Gap> {
        let (load, target) = if subject.has_services() {
            (Load::Services(services), services)
        } else {
            (Load::Command, 1)
        };
        let mut cell = Cell::start(&bench.tools, subject, Job { load, app: App::Up, target })?;
        cell.wait(Event::Started, LIMIT)?;
        let init = cell.init()?;
        let supervisors = process::supervisors(init, &bench.tools.payload())?;
        let idler = Self { _cell: cell, init, supervisors };
        idler.settle()?;
        Ok(idler)
    }

    /// Of the init and its helpers, since they began.
    pub fn wakeups(&self) -> Result<u64, Gap> {
        process::switches(&self.supervisors)
    }

    /// Of the init alone.
    pub fn threads(&self) -> Result<u64, Gap> {
        process::threads(self.init)
    }

    /// Private dirty memory of the init and its helpers, in bytes.
    pub fn memory(&self) -> Result<u64, Gap> {
        process::private_dirty(&self.supervisors)
    }

    /// The last app has begun, but init may not have finished with that, and no event tells when it has.
    fn settle(&self) -> Result<(), Gap> {
        let mut before = self.wakeups()?;
        for _ in 0..LOOKS {
            thread::sleep(QUIET);
            let now = self.wakeups()?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }
}
