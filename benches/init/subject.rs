//! Who is measured: names and programs. What each is told to do is `configure`.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gap::Gap;
use crate::tools::Tools;

/// An init under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `ideal.c`: the bare system calls.
    Ideal,
    /// This repository's, in its release build.
    Rinit,
    /// The same, with services that write to its own output and not to its journal: what the
    /// peers do, who capture nothing here.
    RinitInherit,
    /// tini, linked dynamically.
    Tini,
    /// tini, linked statically.
    TiniStatic,
    /// dumb-init.
    DumbInit,
    /// s6-svscan and an s6-supervise for each service.
    S6,
    /// runsvdir and a runsv for each service.
    Runit,
    /// supervisord.
    Supervisord,
}

impl Subject {
    /// In the order of the table. The ideal is first: the others are compared with it.
    pub const ALL: [Self; 9] = [
        Self::Ideal,
        Self::Rinit,
        Self::RinitInherit,
        Self::Tini,
        Self::TiniStatic,
        Self::DumbInit,
        Self::S6,
        Self::Runit,
        Self::Supervisord,
    ];

    /// As in the table and for `--subject`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ideal => "ideal",
            Self::Rinit => "rinit",
            Self::RinitInherit => "rinit-inherit",
            Self::Tini => "tini",
            Self::TiniStatic => "tini-static",
            Self::DumbInit => "dumb-init",
            Self::S6 => "s6",
            Self::Runit => "runit",
            Self::Supervisord => "supervisord",
        }
    }

    /// The file that becomes PID 1.
    pub fn program(self, tools: &Tools) -> Result<PathBuf, Gap> {
        match self {
            Self::Ideal => Ok(tools.ideal()),
            Self::Rinit | Self::RinitInherit => Ok(tools.rinit()),
            Self::S6 => find("s6-svscan"),
            Self::Runit => find("runsvdir"),
            Self::Tini | Self::TiniStatic | Self::DumbInit | Self::Supervisord => find(self.name()),
        }
    }

    /// The file of which there is one process a service, for the inits that work so.
    pub fn helper(self) -> Option<Result<PathBuf, Gap>> {
        match self {
            Self::S6 => Some(find("s6-supervise")),
            Self::Runit => Some(find("runsv")),
            Self::Ideal
            | Self::Rinit
            | Self::RinitInherit
            | Self::Tini
            | Self::TiniStatic
            | Self::DumbInit
            | Self::Supervisord => None,
        }
    }

    /// Whether it is told of services (or else of one command).
    pub fn has_services(self) -> bool {
        !matches!(self, Self::Tini | Self::TiniStatic | Self::DumbInit)
    }

    /// Whether it can start a dead service again without a delay.
    pub fn restarts_at_once(self) -> bool {
        matches!(self, Self::Ideal | Self::Rinit | Self::RinitInherit)
    }

    /// The most services that it takes (runit), or that it takes in a reasonable time.
    pub fn most_services(self) -> usize {
        match self {
            Self::Runit => 1000,
            Self::Supervisord => 210,
            Self::Ideal
            | Self::Rinit
            | Self::RinitInherit
            | Self::Tini
            | Self::TiniStatic
            | Self::DumbInit
            | Self::S6 => 4000,
        }
    }

    /// When it has used so much time in one scenario, it gets no further round of it.
    pub fn patience(self) -> Duration {
        let is_peer = !matches!(self, Self::Ideal | Self::Rinit | Self::RinitInherit);
        Duration::from_millis(if is_peer { 1500 } else { 6000 })
    }
}

fn find(name: &str) -> Result<PathBuf, Gap> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let mut candidates = env::split_paths(&path).chain(usual).map(|dir| dir.join(name));
    candidates.find(|file| is_program(file)).ok_or(Gap::NotInstalled)
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
