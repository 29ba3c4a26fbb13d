//! What the operator declared: units, read and checked.
//!
//! Not how they run (`manager`). Everything here is pure but [`load`], which reads the files.
//! **Invariant:** reading returns a value and a list of [`Problem`]s; it never fails or panics.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

pub mod address;
pub mod budget;
pub mod build;
pub mod command;
pub mod command_unit;
pub mod compact;
pub mod condition;
pub mod connections;
pub mod counted;
pub mod directive;
pub mod drain;
pub mod environment;
pub mod exit_status;
pub mod graph;
pub mod health;
pub mod instances;
pub mod limit;
#[allow(clippy::disallowed_methods)] // the only file access
pub mod load;
pub mod name;
pub mod notification;
pub mod passwd;
pub mod problem;
pub mod process;
#[cfg(test)]
pub(crate) mod properties;
pub mod raw;
pub mod resources;
pub mod rolling;
pub mod rules;
pub mod service;
pub mod shared;
pub mod slice;
pub mod socket;
pub mod sockets;
pub mod specifier;
pub mod steps;
pub mod stream;
pub mod syntax;
pub mod timespan;
pub mod toml;
pub mod tree;
pub mod value;
pub mod verify;

pub use name::{UnitKind, UnitName};
pub use problem::{Problem, Severity, SourceFile, Span};

use service::{ExitAction, Service};
use shared::Shared;

/// A name in a dependency list, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// The other unit.
    pub name: UnitName,
    /// Where it was written; `None` for what rinit added itself.
    pub span: Option<Span>,
}

/// One `Condition*=` or `Assert*=` line (systemd.unit(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// What is tested.
    pub kind: ConditionKind,
    /// The path or expression.
    pub parameter: String,
    /// A leading `|`: one of these is enough.
    pub trigger: bool,
    /// A leading `!`.
    pub negate: bool,
}

/// What a condition tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // they are systemd.unit(5)'s names
pub enum ConditionKind {
    PathExists,
    PathExistsGlob,
    PathIsDirectory,
    PathIsSymbolicLink,
    PathIsMountPoint,
    PathIsReadWrite,
    DirectoryNotEmpty,
    FileNotEmpty,
    FileIsExecutable,
    Environment,
}

/// How a unit comes to be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartedBy {
    /// By the boot.
    Boot,
    /// By something else: `OnFailure=`, `Enabled = false` and a client, a timer.
    Demand,
}

/// Everything one unit says, after drop-ins, specifiers and defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// Its main file; `None` for the COMMAND of the command line.
    pub file: Option<Arc<SourceFile>>,
    /// Who starts it.
    pub started_by: StartedBy,
    /// It is a pre-start step: a oneshot that boot starts with default dependencies.
    pub step: bool,

    /// `Description=`; empty: the name stands for it.
    pub description: String,
    /// `Requires=`, and the steps that this unit waits for.
    pub requires: Shared<Vec<Dependency>>,
    /// `Wants=`.
    pub wants: Shared<Vec<Dependency>>,
    /// `After=`, the other units' `Before=`, and the implicit order after steps: complete.
    pub after: Shared<Vec<Dependency>>,

    /// What few units say.
    pub settings: Shared<UnitSettings>,
    /// `[Service]`.
    pub service: Service,
}

impl Deref for Unit {
    type Target = UnitSettings;

    fn deref(&self) -> &UnitSettings {
        &self.settings
    }
}

impl DerefMut for Unit {
    fn deref_mut(&mut self) -> &mut UnitSettings {
        &mut self.settings
    }
}

/// What a `[Unit]` section says that seldom differs from unit to unit; read and written as if it
/// stood in the [`Unit`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitSettings {
    /// `Documentation=`.
    pub documentation: Vec<String>,
    /// `Requisite=`.
    pub requisite: Vec<Dependency>,
    /// `BindsTo=`.
    pub binds_to: Vec<Dependency>,
    /// `PartOf=`.
    pub part_of: Vec<Dependency>,
    /// `Upholds=`.
    pub upholds: Vec<Dependency>,
    /// `Conflicts=`.
    pub conflicts: Vec<Dependency>,
    /// `Before=` as written here; [`Unit::after`] of the others already holds it.
    pub before: Vec<Dependency>,
    /// `OnFailure=`.
    pub on_failure: Vec<Dependency>,
    /// `OnSuccess=`.
    pub on_success: Vec<Dependency>,
    /// `DefaultDependencies=` (yes).
    pub default_dependencies: bool,
    /// `Condition*=`: a false one skips the unit, with success.
    pub conditions: Vec<Condition>,
    /// `Assert*=`: a false one fails the start.
    pub asserts: Vec<Condition>,
    /// `StartLimitIntervalSec=` (10 s); zero: no limit.
    pub start_limit_interval: Duration,
    /// `StartLimitBurst=` (5).
    pub start_limit_burst: u32,
    /// `StartLimitAction=`.
    pub start_limit_action: ExitAction,
    /// `FailureAction=`: rinit's default is exit for what boot starts, else none.
    pub failure_action: ExitAction,
    /// `SuccessAction=`.
    pub success_action: ExitAction,
    /// `FailureActionExitStatus=`.
    pub failure_action_exit_status: Option<u8>,
    /// `SuccessActionExitStatus=`.
    pub success_action_exit_status: Option<u8>,
    /// `JobTimeoutSec=`: how long a start may wait for its turn and run; `None`: for ever.
    pub job_timeout: Option<Duration>,
    /// `[Socket]`: of this service, or what a `.socket` unit is.
    pub socket: Option<Box<socket::Socket>>,
    /// `Sockets=` and the socket units that name this service: their sockets it gets after its
    /// own, in this order. After `verify` it is complete.
    pub sockets: Vec<Dependency>,
    /// It is one of the instances of this service (`Instances=`), made by rinit.
    pub instance_of: Option<UnitName>,
    /// It serves one connection of this socket (`Accept=yes`), made by rinit.
    pub connection_of: Option<UnitName>,
    /// `Description=` if the number of an instance stands in it, as a mark; `description` has a
    /// `*` there. Only `unit::instances` reads it.
    pub instance_description: Option<String>,
}

impl Unit {
    /// A unit with systemd's defaults (rinit's where they differ) that boot starts.
    pub fn new(name: UnitName) -> Unit {
        Unit {
            name,
            file: None,
            started_by: StartedBy::Boot,
            step: false,
            description: String::new(),
            requires: Shared::default(),
            wants: Shared::default(),
            after: Shared::default(),
            settings: Shared::default(),
            service: Service::default(),
        }
    }

    /// rinit made it of another: no file defines it.
    pub fn is_made(&self) -> bool {
        self.instance_of.is_some() || self.connection_of.is_some()
    }

    /// It is started by the first connection: a service with sockets of its own that boot does
    /// not start. Its sockets are open all the same.
    pub fn is_on_demand(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| !socket.opens_late)
            && self.started_by == StartedBy::Demand
            && self.name.kind() == UnitKind::Service
            && !self.name.is_template()
            && self.instance_of.is_none()
    }
}

impl Default for UnitSettings {
    /// systemd's defaults, rinit's where they differ, for a unit that boot starts.
    fn default() -> UnitSettings {
        UnitSettings {
            documentation: Vec::new(),
            requisite: Vec::new(),
            binds_to: Vec::new(),
            part_of: Vec::new(),
            upholds: Vec::new(),
            conflicts: Vec::new(),
            before: Vec::new(),
            on_failure: Vec::new(),
            on_success: Vec::new(),
            default_dependencies: true,
            conditions: Vec::new(),
            asserts: Vec::new(),
            start_limit_interval: Duration::from_secs(10),
            start_limit_burst: 5,
            start_limit_action: ExitAction::None,
            failure_action: ExitAction::Exit,
            success_action: ExitAction::None,
            failure_action_exit_status: None,
            success_action_exit_status: None,
            job_timeout: None,
            socket: None,
            sockets: Vec::new(),
            instance_of: None,
            connection_of: None,
            instance_description: None,
        }
    }
}

/// All units, checked against each other: no cycle, no unknown required name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnitSet {
    /// The units by name.
    pub units: BTreeMap<UnitName, Arc<Unit>>,
    /// The slices that their `Slice=` may name.
    pub slices: slice::Slices,
}

impl UnitSet {
    /// These, in a tree without gaps: it is kept.
    pub fn new(units: impl Iterator<Item = Arc<Unit>>) -> UnitSet {
        // By way of a list, so that all callers share one sort.
        let units: Vec<_> = units.map(|unit| (unit.name.clone(), unit)).collect();
        UnitSet { units: units.into_iter().collect(), slices: slice::Slices::new() }
    }

    /// The unit with this name.
    pub fn get(&self, name: &UnitName) -> Option<&Arc<Unit>> {
        self.units.get(name)
    }

    /// The names that boot starts, in order of name.
    pub fn boot(&self) -> BTreeSet<UnitName> {
        let started = self.units.values().filter(|unit| unit.started_by == StartedBy::Boot);
        started.map(|unit| unit.name.clone()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // RINIT_CASES is read from the environment
mod arbitrary_tests;
#[cfg(test)]
mod drop_in_tests;
#[cfg(test)]
mod instances_tests;
#[cfg(test)]
mod resources_tests;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod verify_tests;
