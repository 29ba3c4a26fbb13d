//! `NotificationFd=`: a newline on a descriptor means ready, as s6, dinit and nitro have it.
//!
//! Not what ready means (`manager`). **Invariant:** nothing but a newline is looked for, and a
//! process's newline is heard before its death.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Token};

use super::event_loop::{FIRST_READY, Shell};
use super::perform::temporary;
use crate::manager::event::{Event, ProcessId, ProcessRole, SpawnError, SpawnRequest};
use crate::sys::exec::{Descriptor, ExecPlan};
use crate::unit::process::{ExecError, ExecStage};

/// So much is read from one pipe in a turn.
const READ_MAX: usize = 4096;

/// The read ends, by main process.
#[derive(Debug, Default)]
pub(super) struct ReadyPipes {
    pipes: BTreeMap<ProcessId, Receiver>,
    /// With news.
    ready: VecDeque<ProcessId>,
}

/// What became of a look at a pipe.
enum Heard {
    Nothing,
    Newline,
    End,
}

impl ReadyPipes {
    /// The pipe of the process with this number has news.
    pub(super) fn knock(&mut self, number: usize) {
        self.ready.push_back(ProcessId(u64::try_from(number).unwrap_or(0)));
    }

    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl Shell {
    /// The pipe of a main process that is to have one; the write end is to live until it is born.
    ///
    /// # Errors
    /// No descriptors are left, or a socket has that number.
    pub(super) fn ready_pipe(
        &mut self,
        request: &SpawnRequest,
        plan: &mut ExecPlan,
    ) -> Result<Option<(Receiver, pipe::Sender)>, SpawnError> {
        let target = request.unit.service.notification_fd;
        let Some(target) = target.filter(|_| request.role == ProcessRole::ExecStart) else {
            return Ok(None);
        };
        if plan.descriptors.iter().any(|descriptor| descriptor.target == target) {
            let text = format!("NotificationFd={target}: that is the number of a socket");
            return Err(SpawnError::Permanent(ExecError {
                stage: ExecStage::Descriptors,
                errno: libc::EEXIST,
                message: text,
            }));
        }
        let (write, read) = pipe::new().map_err(temporary("NotificationFd"))?;
        // The service's end is an ordinary one.
        write.set_nonblocking(false).map_err(temporary("NotificationFd"))?;
        plan.descriptors.push(Descriptor { source: write.as_raw_fd(), target });
        Ok(Some((read, write)))
    }

    /// Watches the pipe of a process that was born.
    pub(super) fn watch_ready(&mut self, process: ProcessId, read: Receiver) {
        let number = usize::try_from(process.0).unwrap_or(usize::MAX);
        let token = Token(FIRST_READY.saturating_add(number));
        let fd = read.as_raw_fd();
        // If epoll does not take it, it is read when the process ends.
        let _ = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
        self.ready_pipes.pipes.insert(process, read);
    }

    /// The next process that wrote its newline.
    pub(super) fn next_ready(&mut self) -> Option<Event> {
        while let Some(process) = self.ready_pipes.ready.pop_front() {
            if self.take_ready(process) {
                if let Some(unit) = self.table.get(process).map(|process| process.unit.clone()) {
                    self.bring_forward(&unit);
                }
                self.inbox.push_back(Event::SaidReady { process });
                return self.inbox.pop_front();
            }
        }
        None
    }

    /// Whether the process has written its newline since it was last asked.
    pub(super) fn take_ready(&mut self, process: ProcessId) -> bool {
        let Some(pipe) = self.ready_pipes.pipes.get_mut(&process) else { return false };
        let is_newline = match listen(pipe) {
            Heard::Nothing => return false,
            Heard::Newline => true,
            Heard::End => false,
        };
        // Not just closed: a child on its way to exec has a copy.
        let fd = pipe.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        self.ready_pipes.pipes.remove(&process);
        is_newline
    }
}

fn listen(pipe: &mut Receiver) -> Heard {
    let mut buffer = [0u8; READ_MAX];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Heard::End,
            Ok(size) if buffer.iter().take(size).any(|byte| *byte == b'\n') => {
                return Heard::Newline;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
            Err(_) => return Heard::End,
        }
    }
}
