//! A rinit that runs: waiting for what it says, sending it signals, seeing its end.
//!
//! **Invariant:** a wait takes the first match that no wait has taken yet, so that the order in
//! which a test waits for independent things does not matter, and a second wait for the same
//! thing finds the second one. A wait that meets the deadline fails with the whole log.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use tempfile::TempDir;

use super::payload::Report;
use super::processes::{self, Process};
use super::{DEADLINE, Event, event};

/// One thing that reached the test.
#[derive(Debug)]
enum Item {
    Event(Event),
    /// stderr that is no event.
    Stderr(String),
    Stdout(String),
    Report(String),
    End,
}

#[derive(Debug)]
struct Entry {
    item: Item,
    taken: bool,
}

/// A started rinit. Dropped, it dies, with all that it started.
#[derive(Debug)]
pub struct Running {
    /// rinit's pid as seen from here.
    pub pid: i32,
    launcher: Child,
    stdin: Option<ChildStdin>,
    items: Receiver<Item>,
    log: Vec<Entry>,
    open_streams: usize,
    /// rinit's stdout, if nobody reads it.
    unread: Option<PipeReader>,
    status: Option<i32>,
    directory: Option<TempDir>,
    marker: String,
    namespace: Option<PathBuf>,
}

impl Running {
    #[track_caller]
    pub(super) fn new(
        mut launcher: Child,
        report: PipeReader,
        unread: Option<PipeReader>,
        directory: TempDir,
        marker: String,
    ) -> Running {
        let (sender, items) = channel();
        let mut open_streams = 1;
        read_lines(report, sender.clone(), Item::Report);
        if let Some(stdout) = launcher.stdout.take() {
            open_streams += 1;
            read_lines(stdout, sender.clone(), |line| Item::Stdout(event::bare(line)));
        }
        if let Some(stderr) = launcher.stderr.take() {
            open_streams += 1;
            read_lines(stderr, sender, |line| match Event::parse(&line) {
                Some(event) => Item::Event(event),
                None => Item::Stderr(event::bare(line)),
            });
        }
        let stdin = launcher.stdin.take();
        let mut running = Running {
            pid: 0,
            launcher,
            stdin,
            items,
            log: Vec::new(),
            open_streams,
            unread,
            status: None,
            directory: Some(directory),
            marker: format!("RINIT_TEST={marker}"),
            namespace: None,
        };
        let line = running.take("rinit's pid", |item| match item {
            Item::Report(line) => line.strip_prefix("pid ").map(str::to_string),
            _ => None,
        });
        running.pid = line.parse().unwrap();
        running.namespace = processes::namespace_of(running.pid);
        running
    }

    /// Waits for an event; gives it.
    #[track_caller]
    pub fn wait_event(&mut self, what: &str, mut matches: impl FnMut(&Event) -> bool) -> Event {
        self.take(what, |item| match item {
            Item::Event(event) if matches(event) => Some(event.clone()),
            _ => None,
        })
    }

    /// Waits until a unit enters a sub-state.
    #[track_caller]
    pub fn wait_state(&mut self, unit: &str, to: &str) -> Event {
        self.wait_event(&format!("{unit} to be {to}"), |event| event.is_state(unit, to))
    }

    #[track_caller]
    pub fn wait_start(&mut self, unit: &str, role: &str) -> Event {
        self.wait_event(&format!("{role} of {unit} to start"), |event| event.is_start(unit, role))
    }

    #[track_caller]
    pub fn wait_restart(&mut self, unit: &str) -> Event {
        self.wait_event(&format!("a restart of {unit}"), |event| event.is("restart", unit))
    }

    /// Waits for a message that contains the text.
    #[track_caller]
    pub fn wait_message(&mut self, text: &str) -> Event {
        self.wait_event(&format!("a message with {text:?}"), |e| e.text("message").contains(text))
    }

    /// Waits for a line that a service prints.
    #[track_caller]
    pub fn wait_line(&mut self, line: &str) {
        self.take(&format!("the line {line:?}"), |item| match item {
            Item::Stdout(text) if text == line => Some(()),
            _ => None,
        });
    }

    /// Waits for a line that begins so; the whole line.
    #[track_caller]
    pub fn wait_line_with(&mut self, beginning: &str) -> String {
        self.take(&format!("a line {beginning:?}…"), |item| match item {
            Item::Stdout(text) if text.starts_with(beginning) => Some(text.clone()),
            _ => None,
        })
    }

    /// Waits for a line on stderr that contains the text and is not rinit's own.
    #[track_caller]
    pub fn wait_stderr(&mut self, text: &str) {
        self.take(&format!("{text:?} on stderr"), |item| match item {
            Item::Stderr(line) if line.contains(text) => Some(()),
            _ => None,
        });
    }

    /// Waits for the report of a probe.
    #[track_caller]
    pub fn wait_report(&mut self) -> Report {
        self.take("a report", |item| match item {
            Item::Stdout(text) => Report::parse(text),
            _ => None,
        })
    }

    /// Waits for what the launcher saw under `--trace`.
    #[track_caller]
    pub fn wait_trace(&mut self) -> Vec<i64> {
        let line = self.take("the trace", |item| match item {
            Item::Report(line) => line.strip_prefix("before ").map(str::to_string),
            _ => None,
        });
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for how many system calls `--trace` followed.
    #[track_caller]
    pub fn wait_stops(&mut self) -> usize {
        let line = self.take("the number of stops", |item| match item {
            Item::Report(line) => line.strip_prefix("stops ").map(str::to_string),
            _ => None,
        });
        line.parse().unwrap()
    }

    /// Every line that services have printed so far and that reached the test.
    pub fn stdout_so_far(&self) -> Vec<&str> {
        let lines = self.log.iter().filter_map(|entry| match &entry.item {
            Item::Stdout(line) => Some(line.as_str()),
            _ => None,
        });
        lines.collect()
    }

    #[track_caller]
    fn take<T>(&mut self, what: &str, mut matches: impl FnMut(&Item) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut next = 0;
        loop {
            while let Some(entry) = self.log.get_mut(next) {
                next += 1;
                let found = if entry.taken { None } else { matches(&entry.item) };
                if let Some(found) = found {
                    entry.taken = true;
                    return found;
                }
            }
            if !self.receive(deadline) {
                self.fail(&format!("waited in vain for {what}"));
            }
        }
    }

    /// Takes in one more item; false if there will be none before the deadline.
    fn receive(&mut self, deadline: Instant) -> bool {
        if self.open_streams == 0 {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let item = match self.items.recv_timeout(left) {
            Ok(item) => item,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        };
        match &item {
            Item::End => self.open_streams -= 1,
            Item::Report(line) => {
                let status = line.strip_prefix("status ").and_then(|raw| raw.parse().ok());
                self.status = self.status.or(status);
            }
            Item::Event(_) | Item::Stderr(_) | Item::Stdout(_) => (),
        }
        self.log.push(Entry { item, taken: false });
        true
    }

    /// Fails the test with everything that was heard.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let tree = self.processes();
        let place = Location::caller();
        panic!("{place}: {why}\n{}processes now: {tree:#?}", render(&self.log));
    }

    /// Sends rinit a signal.
    pub fn signal(&self, signal: i32) {
        processes::kill(self.pid, signal);
    }

    /// Writes to the pipe that is rinit's stdin.
    pub fn write_stdin(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// From now on somebody reads the stdout that nobody read.
    pub fn read_stdout(&mut self) -> PipeReader {
        self.unread.take().unwrap()
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Every process that rinit answers for, zombies included; rinit and its journal not.
    pub fn processes(&self) -> Vec<Process> {
        let mut all = self.with_journal();
        all.retain(|process| !process.is_journal());
        all
    }

    /// The journal process, if it runs just now.
    pub fn journal(&self) -> Option<Process> {
        self.with_journal().into_iter().find(|process| process.is_journal() && !process.is_zombie())
    }

    fn with_journal(&self) -> Vec<Process> {
        let outer = processes::namespace_of(std::process::id() as i32);
        match &self.namespace {
            Some(namespace) if Some(namespace) != outer.as_ref() => {
                let mut all = processes::in_namespace(namespace);
                all.retain(|process| process.pid != self.pid);
                all
            }
            _ => processes::descendants(self.pid),
        }
    }

    pub fn zombies(&self) -> Vec<Process> {
        self.processes().into_iter().filter(Process::is_zombie).collect()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().unwrap().path().join(name)
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(self) -> Outcome {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Waits until rinit has ended and nobody holds its streams any more.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        self.stdin = None;
        let deadline = Instant::now() + DEADLINE;
        while self.open_streams > 0 {
            if !self.receive(deadline) {
                self.fail("rinit, or something that it started, does not end");
            }
        }
        let Some(status) = self.status else { self.fail("no status was reported") };
        let survivors = processes::with_environment(&self.marker);
        assert!(survivors.is_empty(), "left behind: {survivors:?}\n{}", render(&self.log));
        Outcome { status, log: std::mem::take(&mut self.log), directory: self.directory.take() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The launcher's end is rinit's end (PDEATHSIG), and with PID 1 its namespace's.
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
        if std::thread::panicking() {
            let left = processes::with_environment(&self.marker);
            left.iter().for_each(|process| processes::kill(process.pid, libc::SIGKILL));
        }
    }
}

fn read_lines(
    stream: impl Read + Send + 'static,
    sender: Sender<Item>,
    make: impl Fn(String) -> Item + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let _ = sender.send(make(String::from_utf8_lossy(&line).into_owned()));
        }
        let _ = sender.send(Item::End);
    });
}

fn render(log: &[Entry]) -> String {
    let lines = log.iter().filter_map(|entry| match &entry.item {
        Item::Event(event) => Some(format!("  rinit  {}\n", event.0)),
        Item::Stderr(line) => Some(format!("  stderr {line}\n")),
        Item::Stdout(line) => Some(format!("  stdout {line}\n")),
        Item::Report(line) => Some(format!("  launch {line}\n")),
        Item::End => None,
    });
    lines.collect()
}

/// A rinit that has ended.
#[derive(Debug)]
pub struct Outcome {
    status: i32,
    log: Vec<Entry>,
    directory: Option<TempDir>,
}

impl Outcome {
    /// The exit status, as a shell would show it were rinit not killed; killed is `-signal`.
    pub fn code(&self) -> i32 {
        if libc::WIFEXITED(self.status) {
            libc::WEXITSTATUS(self.status)
        } else {
            -libc::WTERMSIG(self.status)
        }
    }

    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Outcome {
        assert_eq!(self.code(), code, "rinit's exit status\n{}", render(&self.log));
        self
    }

    #[track_caller]
    pub fn assert(&self, holds: bool, what: &str) -> &Outcome {
        assert!(holds, "{what}\n{}", render(&self.log));
        self
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.log.iter().filter_map(|entry| match &entry.item {
            Item::Event(event) => Some(event),
            _ => None,
        })
    }

    /// Every line that services printed.
    pub fn stdout(&self) -> Vec<&str> {
        let lines = self.log.iter().filter_map(|entry| match &entry.item {
            Item::Stdout(line) => Some(line.as_str()),
            _ => None,
        });
        lines.collect()
    }

    /// What is on stderr and no event: services' own, and all of rinit's without `--log-format`.
    pub fn stderr(&self) -> String {
        let lines = self.log.iter().filter_map(|entry| match &entry.item {
            Item::Stderr(line) => Some(format!("{line}\n")),
            _ => None,
        });
        lines.collect()
    }

    /// Fails unless stderr holds every one of these.
    #[track_caller]
    pub fn assert_stderr(&self, parts: &[&str]) -> &Outcome {
        let stderr = self.stderr();
        for part in parts {
            assert!(stderr.contains(part), "no {part:?} in\n{}", render(&self.log));
        }
        self
    }

    /// The units that had a process of this role started, in order.
    pub fn starts(&self, role: &str) -> Vec<&str> {
        let events = self.events().filter(|e| e.text("event") == "start" && e.text("role") == role);
        events.map(|event| event.text("unit").trim_end_matches(".service")).collect()
    }

    /// How often a unit's main process was started.
    pub fn n_starts(&self, unit: &str) -> usize {
        self.events().filter(|event| event.is_start(unit, "ExecStart")).count()
    }

    /// The units in the order in which their main processes ended.
    pub fn ends(&self) -> Vec<&str> {
        let exits = self.events().filter(|e| e.text("event") == "exit");
        let main = exits.filter(|event| event.text("role") == "ExecStart");
        main.map(|event| event.text("unit").trim_end_matches(".service")).collect()
    }

    /// Fails unless each of these happened, in this order (others may lie between).
    #[track_caller]
    pub fn assert_sequence(&self, steps: &[(&str, &str)]) -> &Outcome {
        let mut events = self.events();
        for (unit, state) in steps {
            let found = events.any(|event| event.is_state(unit, state));
            assert!(found, "no {unit} {state} in its place of {steps:?}\n{}", render(&self.log));
        }
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().unwrap().path().join(name)
    }

    /// The lines of a file that services wrote.
    pub fn lines_of(&self, name: &str) -> Vec<String> {
        read_file_lines(&self.path(name))
    }

    pub fn log(&self) -> String {
        render(&self.log)
    }
}

fn read_file_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}
