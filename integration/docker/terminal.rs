//! A container on a terminal, as a person has it: `docker run -it`, keys typed, the screen read.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use nix::pty::openpty;

use super::client::docker_success;
use super::container::{interactive_command, mount_of, new_name, unit_folder};
use crate::lines::DEADLINE;

pub const CONTROL_C: &str = "\x03";

pub struct Terminal {
    /// The `docker` client. Its own end may be cut off; the container's status is asked for.
    client: Child,
    name: String,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// Everything on the screen since the last wait.
    unread: String,
    everything: String,
}

impl Terminal {
    /// `docker run -it OPTIONS image ARGUMENTS` on a new terminal.
    pub fn run(image: &str, options: &[&str], arguments: &[&str]) -> Self {
        let terminal = openpty(None, None).expect("a terminal");
        let slave = File::from(terminal.slave);
        let side = || Stdio::from(slave.try_clone().expect("duplicate the terminal"));
        let name = new_name();
        let client = interactive_command(&name, image, options, arguments)
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("docker run starts");
        // Kept open here it would never end for the reader.
        drop(slave);
        let keyboard = File::from(terminal.master);
        let screen = read(keyboard.try_clone().expect("duplicate the terminal"));
        let (unread, everything) = (String::new(), String::new());
        Self { client, name, keyboard, screen, unread, everything }
    }

    /// The same with `/etc/rinit` holding these units; returns what `use_it` does with it.
    pub fn with_units<T>(
        image: &str,
        units: &[(&str, &str)],
        use_it: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let folder = unit_folder(units);
        let mount = mount_of(&folder);
        use_it(&mut Self::run(image, &["--volume", &mount], &[]))
    }

    /// Waits until this text has appeared since the last wait.
    pub fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some((_, after)) = self.unread.split_once(text) {
                self.unread = after.to_owned();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.screen.recv_timeout(left) else {
                panic!("no `{text}` on the screen:\n{}", self.everything);
            };
            let shown = String::from_utf8_lossy(&bytes);
            self.unread.push_str(&shown);
            self.everything.push_str(&shown);
        }
    }

    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("type on the terminal");
    }

    /// Waits for the container's end; its exit status.
    pub fn wait(&mut self) -> i32 {
        docker_success(&["wait", &self.name]).parse().expect("docker wait prints a number")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
        if thread::panicking() {
            eprintln!("--- the screen of {}:\n{}\n---", self.name, self.everything);
        }
        let _ = super::client::docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

fn read(mut screen: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // EIO is the end: nobody has the other side open any more.
        while let Ok(count) = screen.read(&mut bytes) {
            let some = bytes.get(..count).filter(|some| !some.is_empty());
            if some.is_none_or(|some| sender.send(some.to_vec()).is_err()) {
                break;
            }
        }
    });
    receiver
}
