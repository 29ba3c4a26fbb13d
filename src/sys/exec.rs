//! Starting a process, the parent's half: everything is made ready before its birth.
//!
//! Not the child's half (`child`), not its birth (`launch`), and not where the values come from
//! (`init::spawn_plan`).
//! **Invariant:** all memory that the child needs is allocated here, and the parent never waits
//! for it: the report comes over a close-on-exec pipe that the loop watches.

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use super::launch::Launch;
use super::{Pid, cvt, reason};
use crate::unit::process::{ExecError, ExecStage};

/// Where one of the child's standard streams leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stdio {
    /// Where rinit's own leads.
    Inherit,
    /// Opened by the child itself: opening a FIFO may wait.
    Open {
        /// What.
        path: CString,
        /// The flags of open(2).
        flags: libc::c_int,
        /// A terminal that is to become the child's own (`TIOCSCTTY`).
        terminal: bool,
    },
    /// The same open file as standard output.
    AsOutput,
    /// The same open file as this descriptor of rinit's, as for `StandardInput=socket`.
    /// It must stay open until [`spawn`] has returned.
    Descriptor(RawFd),
}

/// A descriptor of rinit's that the program gets beside its three streams (sd_listen_fds(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Its number here, whatever that is; it must stay open until [`spawn`] has returned.
    pub source: RawFd,
    /// Its number there, without close-on-exec: 3 or more, and no other's.
    pub target: RawFd,
}

/// In which session and process group the child lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grouping {
    /// A session of its own: it has no terminal.
    Session,
    /// A process group of its own in our session, as a shell's job has; it gets the foreground
    /// of the terminal on this descriptor.
    Group {
        /// Our own terminal, if we had its foreground.
        terminal: Option<RawFd>,
    },
}

/// The child's directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Directory {
    /// Where rinit was started, entered as rinit: it need not be readable for the child's user.
    /// `None`: rinit is there still.
    Inherited(Option<CString>),
    /// As declared, entered as the child's user.
    Declared {
        /// The path.
        path: CString,
        /// `/` will do if it is not there.
        optional: bool,
    },
}

/// Whom the child becomes; `None` is as rinit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// setgroups(2).
    pub groups: Option<Vec<u32>>,
    /// setresgid(2).
    pub gid: Option<u32>,
    /// setresuid(2).
    pub uid: Option<u32>,
}

/// One resource limit; `u64::MAX` is infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// As in `LimitNOFILE=`.
    pub name: &'static str,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// What a child that never became the program exits with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureCode {
    /// 200 to 245 by stage (systemd.exec(5)).
    Stage,
    /// 127 for what is not found, 126 for all else, as a shell has it.
    Shell,
}

/// Everything about a process to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecPlan {
    /// The program as written, for messages.
    pub program: String,
    /// The paths to try, in order.
    pub candidates: Vec<CString>,
    /// The arguments, `argv[0]` first.
    pub argv: Vec<CString>,
    /// The environment, `NAME=value`.
    pub envp: Vec<CString>,
    /// Names of variables whose value is the child's own pid (`LISTEN_PID`, `WATCHDOG_PID`):
    /// nobody knows it before the child is born. They win over the same names in `envp`.
    pub pid_variables: Vec<CString>,
    /// What the program gets beside its three streams, in any order.
    pub descriptors: Vec<Descriptor>,
    /// The `cgroup.procs` of the control groups to enter, before anything else.
    pub cgroups: Vec<CString>,
    /// Session and group.
    pub grouping: Grouping,
    /// Standard input, output and error.
    pub stdio: [Stdio; 3],
    /// The file mode creation mask.
    pub umask: u32,
    /// The limits to set; what is over the hard limit is clamped where there is no privilege.
    pub limits: Vec<Rlimit>,
    /// setpriority(2).
    pub nice: Option<i32>,
    /// The text for /proc/self/oom_score_adj, and whether failing to write it is an error.
    pub oom_score_adjust: Option<(CString, bool)>,
    /// Whom it becomes.
    pub identity: Identity,
    /// Where it starts.
    pub directory: Directory,
    /// SIGPIPE stays ignored (`IgnoreSIGPIPE=`).
    pub ignore_sigpipe: bool,
    /// The kernel may merge its equal pages (prctl(2), PR_SET_MEMORY_MERGE).
    pub merges_memory: bool,
    /// What a failure before exec exits with.
    pub failure_code: FailureCode,
}

/// What a child says when it fails: eight bytes on the pipe, written in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// At which stage.
    pub stage: ExecStage,
    /// Which limit or candidate, counted from 0.
    pub index: u16,
    /// The kernel's error number.
    pub errno: i32,
}

impl Report {
    pub(super) fn to_bytes(self) -> [u8; 8] {
        let [i0, i1] = self.index.to_ne_bytes();
        let [e0, e1, e2, e3] = self.errno.to_ne_bytes();
        [self.stage as u8, 0, i0, i1, e0, e1, e2, e3]
    }

    fn from_bytes(bytes: [u8; 8]) -> Option<Report> {
        let [stage, _, i0, i1, e0, e1, e2, e3] = bytes;
        let stage = ExecStage::from_number(stage)?;
        let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
        Some(Report { stage, index: u16::from_ne_bytes([i0, i1]), errno })
    }

    pub(super) fn exit_code(self, code: FailureCode) -> i32 {
        match code {
            FailureCode::Stage => i32::from(self.stage.exit_code()),
            FailureCode::Shell if self.stage == ExecStage::Exec && self.errno == libc::ENOENT => {
                127
            }
            FailureCode::Shell => 126,
        }
    }
}

/// A child on its way to become a program, and the pipe on which it reports.
#[derive(Debug)]
pub struct Starting {
    launch: Launch,
    pipe: Option<std::fs::File>,
    /// Its end has been read.
    ended: bool,
    report: Option<Report>,
}

/// What is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecState {
    /// Nothing yet.
    Pending,
    /// The pipe closed empty: it is the program now (or was killed before it could say anything).
    Execed,
    /// It failed and exits now.
    Failed(Report),
}

impl Starting {
    /// Looks what is there; never waits. Only the end of the pipe counts: a child that has
    /// reported a failure is not gone yet.
    pub fn look(&mut self) -> ExecState {
        while let Some(pipe) = self.pipe.as_mut().filter(|_| !self.ended) {
            let mut bytes = [0u8; 8];
            match pipe.read(&mut bytes) {
                Ok(8) => self.report = Report::from_bytes(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if super::is_passing(&error) => return ExecState::Pending,
                Ok(_) => {
                    self.launch.is_over();
                    self.ended = true;
                }
                Err(_) => self.ended = true, // what the child was given is lost with it
            }
        }
        self.report.map_or(ExecState::Execed, ExecState::Failed)
    }

    /// Once its end has been read: closes the pipe, and keeps only what a failure is told with.
    pub fn close(&mut self) {
        if self.ended {
            self.pipe = None;
            if self.report.is_none() {
                self.launch.free();
            }
        }
    }

    /// The pipe, until it is closed.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.pipe.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// A report of this child in words.
    pub fn describe(&self, report: Report) -> ExecError {
        let bare = || ExecError {
            stage: report.stage,
            errno: report.errno,
            message: reason(report.errno),
        };
        self.launch.plan().map_or_else(bare, |plan| plan.describe(report))
    }
}

/// Starts a child that goes through the plan.
///
/// # Errors
/// No process or pipe came to be (clone(2), pipe(2)); then nothing has happened.
pub fn spawn(plan: ExecPlan) -> io::Result<(Pid, Starting)> {
    let (read, write) = pipe()?;
    let (pid, launch) = Launch::new(plan, write)?;
    let pipe = Some(std::fs::File::from(read));
    Ok((pid, Starting { launch, pipe, ended: false, report: None }))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors.
    cvt(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    let [read, write] = fds;
    // SAFETY: both were just made and nobody else has them.
    Ok(unsafe { (OwnedFd::from_raw_fd(read), OwnedFd::from_raw_fd(write)) })
}

impl ExecPlan {
    /// A report as a sentence: what was tried, and why it failed.
    pub fn describe(&self, report: Report) -> ExecError {
        let why = reason(report.errno);
        let stream = |stream: &Stdio| match stream {
            Stdio::Open { path, .. } => format!(" {}", path.to_string_lossy()),
            Stdio::Descriptor(source) => format!(" (rinit's descriptor {source})"),
            Stdio::Inherit | Stdio::AsOutput => String::new(),
        };
        let [input, output, error] = &self.stdio;
        let message = match report.stage {
            ExecStage::Cgroup => {
                let path = self.cgroups.get(usize::from(report.index));
                let path = path.map_or(String::new(), |path| path.to_string_lossy().into_owned());
                format!("entering the control group {path}: {why}")
            }
            ExecStage::Session => format!("setsid: {why}"),
            ExecStage::Terminal => format!("terminal{}: {why}", stream(input)),
            ExecStage::StandardInput => format!("standard input{}: {why}", stream(input)),
            ExecStage::StandardOutput => format!("standard output{}: {why}", stream(output)),
            ExecStage::StandardError => format!("standard error{}: {why}", stream(error)),
            ExecStage::Descriptors => match self.descriptors.get(usize::from(report.index)) {
                Some(Descriptor { source, target }) => {
                    format!("descriptor {target} (rinit's {source}): {why}")
                }
                None => format!("descriptors: {why}"),
            },
            ExecStage::Limits => {
                let name = self.limits.get(usize::from(report.index)).map_or("", |l| l.name);
                format!("setrlimit {name}: {why}")
            }
            ExecStage::Nice => format!("nice {}: {why}", self.nice.unwrap_or(0)),
            ExecStage::OomScoreAdjust => format!("/proc/self/oom_score_adj: {why}"),
            ExecStage::Group => format!("setgid {}: {why}", number(self.identity.gid)),
            ExecStage::User => format!("setuid {}: {why}", number(self.identity.uid)),
            ExecStage::WorkingDirectory => {
                format!("chdir {}: {why}", self.start().display())
            }
            ExecStage::Exec => self.describe_exec(report),
        };
        ExecError { stage: report.stage, errno: report.errno, message }
    }

    /// execve(2) says "No such file" for a script's interpreter, too: look which it was.
    fn describe_exec(&self, report: Report) -> String {
        let program = &self.program;
        let tried = self.candidates.get(usize::from(report.index)).map(CString::as_c_str);
        match report.errno {
            libc::ENOENT => match self.candidates.iter().find(|path| self.seen(path).is_file()) {
                Some(path) => {
                    format!("exec {}: {}", path.to_string_lossy(), interpreter(&self.seen(path)))
                }
                None if self.candidates.len() > 1 || !program.contains('/') => {
                    format!("exec {program}: not found in {}", self.searched())
                }
                None => format!("exec {program}: {}", reason(libc::ENOENT)),
            },
            libc::ENOEXEC => format!(
                "exec {}: neither a program for this machine nor a script that begins with #!",
                tried.map_or(program.as_str().into(), CStr::to_string_lossy)
            ),
            errno => {
                let path = tried.map_or(program.as_str().into(), CStr::to_string_lossy);
                format!("exec {path}: {}", reason(errno))
            }
        }
    }

    /// The directory in which the program starts; empty where that is our own.
    fn start(&self) -> &Path {
        match &self.directory {
            Directory::Inherited(Some(path)) | Directory::Declared { path, .. } => path_of(path),
            Directory::Inherited(None) => Path::new(""),
        }
    }

    /// What the program's directory makes of a path that may be relative.
    fn seen(&self, path: &CStr) -> PathBuf {
        self.start().join(path_of(path))
    }

    fn searched(&self) -> String {
        let directories: Vec<String> = self
            .candidates
            .iter()
            .filter_map(|path| Some(path_of(path).parent()?.display().to_string()))
            .collect();
        directories.join(":")
    }
}

fn number(id: Option<u32>) -> String {
    id.map_or_else(String::new, |id| id.to_string())
}

fn path_of(path: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

/// What is missing for a file that is there and still "not found".
fn interpreter(path: &Path) -> String {
    let mut start = [0u8; 256];
    let size = std::fs::File::open(path).and_then(|mut f| f.read(&mut start)).unwrap_or(0);
    let line = start.get(..size).and_then(|text| text.split(|byte| *byte == b'\n').next());
    match line.and_then(|line| line.strip_prefix(b"#!")) {
        Some(rest) => {
            let text = String::from_utf8_lossy(rest);
            let name = text.split_ascii_whitespace().next().unwrap_or("").to_owned();
            let windows = if text.ends_with('\r') { " (the line ends in CR LF)" } else { "" };
            format!("its interpreter {name} was not found{windows}")
        }
        None => "its dynamic loader was not found (made for another libc?)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
