//! The one table of directives: a row gives section, name, type, default, support and doc.
//!
//! From it come the parser of every spelling, `rinitctl help DIRECTIVE` and the README's
//! table. Not the values' syntax: `value`, `command` and their neighbours read texts.
//! **Invariant:** what is not in this table is not a directive.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt::Write as _;

pub mod context;
pub mod draft;
mod exec;
mod health;
mod later;
mod manager;
mod readiness;
mod resources;
mod service;
mod socket;
mod unit;
mod workers;

pub use context::Context;
pub use draft::{Check, Draft, ManagerSection, UnitDefaults};

use super::raw::Item;
use super::value;

/// A section of a unit's file, or of `rinit.toml`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // they are the sections' names
pub enum Section {
    Unit,
    Service,
    Install,
    Manager,
    Socket,
    Timer,
    Path,
    Health,
    Slice,
}

impl Section {
    /// Every section.
    pub const ALL: [Section; 9] = [
        Section::Unit,
        Section::Service,
        Section::Install,
        Section::Manager,
        Section::Socket,
        Section::Timer,
        Section::Path,
        Section::Health,
        Section::Slice,
    ];

    /// The word between the brackets.
    pub fn name(self) -> &'static str {
        match self {
            Section::Unit => "Unit",
            Section::Service => "Service",
            Section::Install => "Install",
            Section::Manager => "Manager",
            Section::Socket => "Socket",
            Section::Timer => "Timer",
            Section::Path => "Path",
            Section::Health => "Health",
            Section::Slice => "Slice",
        }
    }

    /// The section with this name.
    pub fn parse(name: &str) -> Option<Section> {
        Section::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Whether this version reads it at all.
    pub fn supported(self) -> bool {
        match self {
            Section::Unit
            | Section::Service
            | Section::Install
            | Section::Manager
            | Section::Socket
            | Section::Health
            | Section::Slice => true,
            Section::Timer | Section::Path => false,
        }
    }
}

/// The type of a directive's value: one word for a table, and what an error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true`, `"yes"`, …
    Boolean,
    /// `"5min 20s"`, or a number of seconds.
    TimeSpan,
    /// A time span, where 0 too means no limit.
    Timeout,
    /// A whole number in this range.
    Integer(i64, i64),
    /// An octal mode.
    Mode,
    /// Any text.
    Text,
    /// Texts; `""` resets.
    Texts,
    /// An absolute path.
    Path,
    /// Paths; `""` resets.
    Paths,
    /// Names of units.
    Units,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Command lines; `""` resets.
    Commands,
    /// `NAME=value` pairs; `""` resets.
    Variables,
    /// A user's or group's name or number.
    Identity,
    /// A signal.
    Signal,
    /// Exit codes and signals; `""` resets.
    ExitStatuses,
    /// A limit: `soft:hard`, `infinity`.
    Limit,
    /// Where a standard stream leads.
    Stream,
    /// A condition: `|` and `!` first; `""` resets.
    Condition,
    /// Bytes, `"512M"`, or a share of the memory.
    Size,
    /// Addresses of sockets; `""` resets.
    Addresses,
    /// A path or a URL.
    Url,
    /// `127.0.0.1:5432`.
    HostPort,
    /// A number of instances, or `auto`.
    Instances,
    /// A table of `RollingUpdate=`.
    Rolling,
    /// Signals; `""` is none.
    Signals,
}

impl Kind {
    /// One word or two for a table.
    pub fn word(self) -> String {
        match self {
            Kind::Boolean => "boolean".into(),
            Kind::TimeSpan => "time span".into(),
            Kind::Timeout => "time span (0: infinity)".into(),
            Kind::Integer(low, high) if high >= i64::from(i32::MAX) => {
                format!("integer from {low}")
            }
            Kind::Integer(low, high) => format!("integer, {low} to {high}"),
            Kind::Mode => "octal mode".into(),
            Kind::Text => "text".into(),
            Kind::Texts => "list of texts".into(),
            Kind::Path => "path".into(),
            Kind::Paths => "list of paths".into(),
            Kind::Units => "unit names".into(),
            Kind::Choice(words) => words.join(" \\| "),
            Kind::Commands => "commands".into(),
            Kind::Variables => "variables".into(),
            Kind::Identity => "name or number".into(),
            Kind::Signal => "signal".into(),
            Kind::ExitStatuses => "exit codes and signals".into(),
            Kind::Limit => "limit".into(),
            Kind::Stream => "stream".into(),
            Kind::Condition => "condition".into(),
            Kind::Size => "size".into(),
            Kind::Addresses => "addresses".into(),
            Kind::Url => "path or URL".into(),
            Kind::HostPort => "address and port".into(),
            Kind::Instances => "integer from 1 \\| auto".into(),
            Kind::Rolling => "table".into(),
            Kind::Signals => "signals".into(),
        }
    }

    /// The end of the sentence "RestartSec takes …".
    pub fn expects(self) -> String {
        match self {
            Kind::Boolean => "a boolean (true or false)".into(),
            Kind::TimeSpan | Kind::Timeout => "a time span such as \"5s\"".into(),
            Kind::Integer(low, high) if high >= i64::from(i32::MAX) => {
                format!("a whole number from {low}")
            }
            Kind::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Kind::Mode => "an octal mode such as \"0027\"".into(),
            Kind::Text => "a string".into(),
            Kind::Texts => "a string, or an array of strings".into(),
            Kind::Path => "a path such as \"/run/app\"".into(),
            Kind::Paths => "a path, or an array of paths".into(),
            Kind::Units => "names of units such as \"db.service\", or an array of them".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Commands => "a command line, or its words as an array of strings".into(),
            Kind::Variables => "\"NAME=value\", an array of such strings, or a table".into(),
            Kind::Identity => "a name or a number".into(),
            Kind::Signal => "a signal such as \"SIGTERM\"".into(),
            Kind::ExitStatuses => "exit codes and signals such as \"75 SIGTERM\"".into(),
            Kind::Limit => "a limit such as 65536, \"1024:4096\" or \"infinity\"".into(),
            Kind::Stream => "a stream such as \"null\" or \"append:/var/log/app\"".into(),
            Kind::Condition => "a string such as \"!/etc/nologin\", or an array of them".into(),
            Kind::Size => "a size such as \"512M\"".into(),
            Kind::Addresses => {
                "an address such as 8000, \"127.0.0.1:8000\" or \"/run/app.sock\", or an array"
                    .into()
            }
            Kind::Url => "a path such as \"/healthz\", or \"http://127.0.0.1:8000/healthz\"".into(),
            Kind::HostPort => "an address and a port such as \"127.0.0.1:5432\"".into(),
            Kind::Instances => "a whole number from 1, or \"auto\"".into(),
            Kind::Rolling => "a table such as { Parallelism = 1, Order = \"start-first\" }".into(),
            Kind::Signals => "signals such as \"SIGUSR1 SIGUSR2\", or an array of them".into(),
        }
    }
}

/// What this version does with a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// It acts as its manual page says.
    Supported,
    /// It is read and has no effect here; the text says why.
    Accepted(&'static str),
    /// It is refused, so that nobody believes it holds.
    NotYet,
}

/// How a value gets into what is built.
#[derive(Clone, Copy, Debug)]
pub enum Setter {
    /// It is part of a unit.
    Unit(fn(&mut Draft, &Item, &mut Context<'_>)),
    /// It is part of `[Manager]`.
    Manager(fn(&mut ManagerSection, &Item, &mut Context<'_>)),
    /// It has no effect.
    Nothing,
}

/// One row.
#[derive(Clone, Copy)]
pub struct Directive {
    /// Its section.
    pub section: Section,
    /// Its name, as systemd spells it.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What holds when it is not given; empty: nothing.
    pub default: &'static str,
    /// One line; for rinit's own directives it says why they exist.
    pub doc: &'static str,
    /// What this version does with it.
    pub support: Support,
    /// How its value is taken.
    pub set: Setter,
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {}", self.section.name(), self.name)
    }
}

/// A row that acts.
const fn row(
    section: Section,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Draft, &Item, &mut Context<'_>),
) -> Directive {
    let support = Support::Supported;
    Directive { section, name, kind, default, doc, support, set: Setter::Unit(set) }
}

/// A row that is read and has no effect.
const fn accepted(
    section: Section,
    name: &'static str,
    kind: Kind,
    doc: &'static str,
    note: &'static str,
) -> Directive {
    let support = Support::Accepted(note);
    Directive { section, name, kind, default: "", doc, support, set: Setter::Nothing }
}

/// A row that is refused.
const fn not_yet(
    section: Section,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Directive {
    let support = Support::NotYet;
    Directive { section, name, kind, default, doc, support, set: Setter::Nothing }
}

/// The table, in parts of one subject each.
const TABLE: [&[Directive]; 12] = [
    unit::ROWS,
    service::ROWS,
    readiness::ROWS,
    workers::ROWS,
    exec::ROWS,
    resources::SHARED,
    resources::ROWS,
    resources::SLICE,
    socket::ROWS,
    health::ROWS,
    manager::ROWS,
    later::ROWS,
];

/// Every row, in the order in which a person reads about them.
pub fn all() -> impl Iterator<Item = &'static Directive> {
    TABLE.into_iter().flatten()
}

/// The row with this section and name.
pub fn find(section: Section, name: &str) -> Option<&'static Directive> {
    all().find(|directive| directive.section == section && directive.name == name)
}

/// The sections that have a directive of this name.
pub fn sections_of(name: &str) -> Vec<Section> {
    all().filter(|directive| directive.name == name).map(|directive| directive.section).collect()
}

/// What somebody who wrote `name` in `section` may have meant.
pub fn suggest(section: Section, name: &str) -> Option<String> {
    let names: Vec<&str> = all().filter(|row| row.section == section).map(|row| row.name).collect();
    if let Some(same) = names.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return Some((*same).to_string());
    }
    value::suggest(name, names.into_iter()).map(ToString::to_string)
}

/// The README's table of directives: one row each, support as a word.
pub fn readme_table() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        let rows: Vec<&Directive> = all().filter(|row| row.section == section).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n#### [{}]\n", section.name());
        let _ = writeln!(text, "| directive | value | default | what it does | here |");
        let _ = writeln!(text, "|---|---|---|---|---|");
        for row in rows {
            let here = match row.support {
                Support::Supported => "yes",
                Support::Accepted(note) => note,
                Support::NotYet => "not yet: an error",
            };
            let word = row.kind.word();
            let Directive { name, default, doc, .. } = row;
            let _ = writeln!(text, "| `{name}` | {word} | {default} | {doc} | {here} |");
        }
    }
    text
}

/// What `rinitctl help NAME` prints; `None` if there is no such directive.
pub fn help(name: &str) -> Option<String> {
    let wanted = name.trim_end_matches('=');
    let (section, wanted) = match wanted.split_once('.') {
        Some((section, rest)) => (Some(Section::parse(section)?), rest),
        None => (None, wanted),
    };
    let mut text = String::new();
    let named = |row: &&Directive| row.name.eq_ignore_ascii_case(wanted);
    for row in all().filter(named).filter(|row| section.is_none_or(|s| s == row.section)) {
        let _ = writeln!(text, "[{}] {}=", row.section.name(), row.name);
        let _ = writeln!(text, "  {}", row.doc);
        let _ = writeln!(text, "  takes:   {}", row.kind.expects());
        if !row.default.is_empty() {
            let _ = writeln!(text, "  default: {}", row.default);
        }
        match row.support {
            Support::Supported => (),
            Support::Accepted(note) => {
                let _ = writeln!(text, "  here:    accepted, no effect: {note}");
            }
            Support::NotYet => {
                let _ = writeln!(text, "  here:    not supported by this version, an error");
            }
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole_and_alone() {
        let mut seen = std::collections::BTreeSet::new();
        for row in all() {
            assert!(seen.insert((row.section, row.name)), "{row:?} stands twice");
            assert!(!row.doc.is_empty() && !row.doc.ends_with('.'), "{row:?}");
            assert!(!row.doc.contains(['\n', '|']), "{row:?}: a table cell");
            let nothing = matches!(row.set, Setter::Nothing);
            assert_eq!(nothing, row.support != Support::Supported, "{row:?}");
            if let Setter::Manager(_) = row.set {
                assert_eq!(row.section, Section::Manager);
            }
        }
        assert!(seen.len() > 150);
    }

    #[test]
    fn help_and_suggestions() {
        assert!(help("restartsec").unwrap().starts_with("[Service] RestartSec="));
        assert!(help("Service.RestartSec=").is_some());
        assert!(help("Unit.RestartSec").is_none());
        assert_eq!(suggest(Section::Service, "RestartSecs").as_deref(), Some("RestartSec"));
        assert_eq!(suggest(Section::Service, "restartsec").as_deref(), Some("RestartSec"));
        assert_eq!(suggest(Section::Service, "Completely"), None);
        assert!(readme_table().contains("| `Restart` |"));
    }
}
