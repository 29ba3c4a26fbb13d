//! A terminal: keys are typed, the screen is read.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use super::DEADLINE;

/// The outer side of a pseudo-terminal.
#[derive(Debug)]
pub struct Terminal {
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    searched: usize,
}

impl Terminal {
    /// A terminal, and the side of it that a program gets.
    pub fn open() -> (Terminal, OwnedFd) {
        let pair = nix::pty::openpty(None, None).unwrap();
        for fd in [&pair.master, &pair.slave] {
            let flag = nix::fcntl::FdFlag::FD_CLOEXEC;
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(flag)).unwrap();
        }
        let keys = File::from(pair.master);
        let mut output = keys.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        (Terminal { keys, screen, seen: String::new(), searched: 0 }, pair.slave)
    }

    /// Types; `"\x03"` is Ctrl-C.
    pub fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text appears after what was waited for before.
    pub fn wait_text(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen[self.searched..].find(text) {
                self.searched += at + text.len();
                return;
            }
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no {text:?} on the screen ({error}):\n{}", self.seen),
            }
        }
    }

    /// Everything until the last holder of the terminal is gone.
    pub fn read_to_end(&mut self) -> String {
        loop {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => return self.seen.clone(),
                Err(RecvTimeoutError::Timeout) => panic!("the terminal stays open:\n{}", self.seen),
            }
        }
    }
}
