//! A terminal: keys are typed, the screen is read.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use nix::pty::Winsize;

use super::DEADLINE;

/// The outer side of a pseudo-terminal.
pub struct Terminal {
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    searched: usize,
    /// What a person sees.
    shown: vt100::Parser,
}

/// Rows and columns, as terminals had them.
const SIZE: (u16, u16) = (24, 80);

impl Terminal {
    /// A terminal, and the side of it that a program gets.
    pub fn open() -> (Terminal, OwnedFd) {
        let (ws_row, ws_col) = SIZE;
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(&size, None).unwrap();
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
        let shown = vt100::Parser::new(ws_row.try_into().unwrap(), ws_col.try_into().unwrap(), 0);
        (Terminal { keys, screen, seen: String::new(), searched: 0, shown }, pair.slave)
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
                Ok(bytes) => self.take(&bytes),
                Err(error) => panic!("no {text:?} on the screen ({error}):\n{}", self.seen),
            }
        }
    }

    /// Waits until a person sees this; what stands on the screen then.
    pub fn wait_screen(&mut self, what: &str, seen: impl Fn(&vt100::Screen) -> bool) -> String {
        while !seen(self.shown.screen()) {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.take(&bytes),
                Err(error) => {
                    let shown = self.shown.screen().contents();
                    panic!("never {what} on the screen ({error}):\n{shown}");
                }
            }
        }
        self.shown.screen().contents()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.seen.push_str(&String::from_utf8_lossy(bytes));
        self.shown.process(bytes);
    }

    /// Everything until the last holder of the terminal is gone.
    pub fn read_to_end(&mut self) -> String {
        loop {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Disconnected) => return self.seen.clone(),
                Err(RecvTimeoutError::Timeout) => panic!("the terminal stays open:\n{}", self.seen),
            }
        }
    }
}
