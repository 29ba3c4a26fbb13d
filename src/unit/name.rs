//! Names of units: validated once, cheap to copy, ordered by bytes.
//!
//! Not a path and not a file name: `10-migrate.toml` is the unit `10-migrate.service`.
//! **Invariant:** a `UnitName` always has a known suffix and only the characters that
//! systemd.unit(5) allows.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The longest name of a unit, suffix included (systemd.unit(5): `UNIT_NAME_MAX`).
pub const UNIT_NAME_MAX: usize = 255;

/// What sets a mark apart; no name that somebody wrote has it.
const MARK: char = '+';

/// What a unit is, told by its suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum UnitKind {
    /// A process or several (`.service`).
    Service,
    /// A listening socket (`.socket`).
    Socket,
    /// A point in time (`.timer`).
    Timer,
    /// A path that is watched (`.path`).
    Path,
    /// A point of synchronisation (`.target`).
    Target,
    /// A group with common limits (`.slice`).
    Slice,
    /// A mount point (`.mount`): known as a name only, nothing mounts here.
    Mount,
    /// A device (`.device`): known as a name only.
    Device,
}

impl UnitKind {
    /// Every kind, in the order of their suffixes' meaning above.
    pub const ALL: [UnitKind; 8] = [
        UnitKind::Service,
        UnitKind::Socket,
        UnitKind::Timer,
        UnitKind::Path,
        UnitKind::Target,
        UnitKind::Slice,
        UnitKind::Mount,
        UnitKind::Device,
    ];

    /// The suffix with its dot, as in `.service`.
    pub fn suffix(self) -> &'static str {
        match self {
            UnitKind::Service => ".service",
            UnitKind::Socket => ".socket",
            UnitKind::Timer => ".timer",
            UnitKind::Path => ".path",
            UnitKind::Target => ".target",
            UnitKind::Slice => ".slice",
            UnitKind::Mount => ".mount",
            UnitKind::Device => ".device",
        }
    }
}

/// Why a text is no name of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameError {
    /// Nothing before the suffix, or nothing at all.
    Empty,
    /// More than [`UNIT_NAME_MAX`] bytes.
    TooLong,
    /// A character outside `[A-Za-z0-9:_.\-]` and `@`.
    Character(char),
    /// No suffix, or one that is no kind of unit.
    Suffix,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "the name is empty"),
            NameError::TooLong => write!(f, "the name is longer than {UNIT_NAME_MAX} bytes"),
            NameError::Character(c) => write!(f, "{c:?} cannot stand in a unit's name"),
            NameError::Suffix => write!(f, "the name has no suffix such as .service"),
        }
    }
}

/// The name of a unit, such as `web.service` or `worker@3.service` (systemd.unit(5)).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnitName(Arc<str>);

/// By bytes. Every event looks units up by name: most comparisons end in the first eight bytes,
/// and those are one number.
impl Ord for UnitName {
    fn cmp(&self, other: &UnitName) -> Ordering {
        let (ours, others) = (self.0.as_bytes(), other.0.as_bytes());
        let head = |name: &[u8]| name.first_chunk::<8>().map(|head| u64::from_be_bytes(*head));
        match (head(ours), head(others)) {
            (Some(a), Some(b)) if a != b => a.cmp(&b),
            (Some(_) | None, Some(_) | None) => ours.cmp(others),
        }
    }
}

impl PartialOrd for UnitName {
    fn partial_cmp(&self, other: &UnitName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl UnitName {
    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// Says which rule of systemd.unit(5) the text breaks.
    pub fn parse(text: &str) -> Result<UnitName, NameError> {
        if text.len() > UNIT_NAME_MAX {
            return Err(NameError::TooLong);
        }
        if let Some(c) = text.chars().find(|c| !is_name_char(*c)) {
            return Err(NameError::Character(c));
        }
        let kind = kind_of(text).ok_or(if text.is_empty() {
            NameError::Empty
        } else {
            NameError::Suffix
        })?;
        let stem = text.strip_suffix(kind.suffix()).unwrap_or(text);
        if stem.is_empty() || stem.starts_with('@') {
            return Err(NameError::Empty);
        }
        Ok(UnitName(Arc::from(text)))
    }

    /// The name of the service whose file has this base name: `10-migrate` is `10-migrate.service`.
    ///
    /// # Errors
    /// As [`UnitName::parse`].
    pub fn service(stem: &str) -> Result<UnitName, NameError> {
        UnitName::parse(&format!("{stem}.service"))
    }

    /// The same name in memory of its own.
    #[must_use]
    pub fn copied(&self) -> UnitName {
        UnitName(Arc::from(&*self.0))
    }

    /// The whole name, in the memory that this has it in.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The whole name, as `%n`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the n-th instance: `web@2.service` of `web.service`.
    #[must_use]
    pub fn numbered(&self, n: u32) -> UnitName {
        UnitName(Arc::from(format!("{}@{n}{}", self.stem(), self.kind().suffix())))
    }

    /// Whether it is that of an instance of this service, marked or not: `web@2.service` and
    /// `web@2+new.service` of `web.service`.
    pub fn is_numbered_of(&self, service: &UnitName) -> bool {
        let number = self.instance().is_some_and(|number| number.parse::<u32>().is_ok());
        number && self.prefix() == service.stem() && self.kind() == service.kind()
    }

    /// The same name with a mark that no unit's file can have: while one instance is being
    /// replaced by another, two processes share a place, and each needs a name of its own.
    #[must_use]
    pub fn marked(&self, mark: &str) -> UnitName {
        let place = self.unmarked();
        UnitName(Arc::from(format!("{}{MARK}{mark}{}", place.stem(), place.kind().suffix())))
    }

    /// The mark that [`UnitName::marked`] gave it.
    pub fn mark(&self) -> Option<&str> {
        self.stem().split_once(MARK).map(|(_, mark)| mark)
    }

    /// The name without a mark.
    #[must_use]
    pub fn unmarked(&self) -> UnitName {
        match self.stem().split_once(MARK) {
            Some((place, _)) => UnitName(Arc::from(format!("{place}{}", self.kind().suffix()))),
            None => self.clone(),
        }
    }

    /// What its suffix says it is.
    pub fn kind(&self) -> UnitKind {
        kind_of(&self.0).unwrap_or(UnitKind::Service)
    }

    /// The name without its suffix, as `%N`.
    pub fn stem(&self) -> &str {
        self.0.strip_suffix(self.kind().suffix()).unwrap_or(&self.0)
    }

    /// What stands before `@`, else the stem: `%p`.
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// What stands between `@` and the suffix: `%i`. `None` where there is no `@`,
    /// the empty string for a template. A mark is no part of it.
    pub fn instance(&self) -> Option<&str> {
        let (_, instance) = self.stem().split_once('@')?;
        Some(instance.split_once(MARK).map_or(instance, |(instance, _)| instance))
    }

    /// `foo@.service`: a pattern for instances that never runs itself.
    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn kind_of(text: &str) -> Option<UnitKind> {
    UnitKind::ALL.into_iter().find(|kind| text.ends_with(kind.suffix()))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '\\' | '-' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_name() {
        let name = UnitName::parse("worker@3.service").unwrap();
        assert_eq!(name.stem(), "worker@3");
        assert_eq!(name.prefix(), "worker");
        assert_eq!(name.instance(), Some("3"));
        assert_eq!(name.kind(), UnitKind::Service);
        assert!(UnitName::parse("worker@.service").unwrap().is_template());
        assert!(!name.is_template());
        assert_eq!(UnitName::parse("web.service").unwrap().instance(), None);
    }

    #[test]
    fn instances_and_marks() {
        let name = UnitName::parse("web.service").unwrap().numbered(2);
        assert_eq!(name.as_str(), "web@2.service");
        let new = name.marked("new");
        assert_eq!(new.as_str(), "web@2+new.service");
        assert_eq!((new.mark(), new.instance(), new.prefix()), (Some("new"), Some("2"), "web"));
        assert_eq!(new.marked("old1").as_str(), "web@2+old1.service");
        assert_eq!((new.unmarked(), name.mark()), (name.clone(), None));
        let web = UnitName::parse("web.service").unwrap();
        assert!(name.is_numbered_of(&web) && new.is_numbered_of(&web) && !web.is_numbered_of(&web));
        for other in ["web@x.service", "webs@2.service", "web@2.socket", "web@.service"] {
            assert!(!UnitName::parse(other).unwrap().is_numbered_of(&web), "{other}");
        }
        assert!(UnitName::parse(new.as_str()).is_err(), "nobody can write it");
    }

    #[test]
    fn names_are_ordered_by_bytes() {
        let texts = [
            "a.service",
            "a.socket",
            "a0000001.service",
            "a0000001.timer",
            "a0000002.path",
            "a0000002.service",
            "b.path",
            "b.service",
            "ba.path",
            "zz@12.service",
            "zz@2.service",
        ];
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                let (one, other) = (UnitName::parse(a).unwrap(), UnitName::parse(b).unwrap());
                assert_eq!(one.cmp(&other), i.cmp(&j), "{a} {b}");
                assert_eq!(one.cmp(&other), a.as_bytes().cmp(b.as_bytes()), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_is_no_name() {
        for (text, error) in [
            ("", NameError::Empty),
            (".service", NameError::Empty),
            ("@x.service", NameError::Empty),
            ("web", NameError::Suffix),
            ("web.conf", NameError::Suffix),
            ("a b.service", NameError::Character(' ')),
            ("a/b.service", NameError::Character('/')),
        ] {
            assert_eq!(UnitName::parse(text), Err(error), "{text}");
        }
        let long = format!("{}.service", "x".repeat(UNIT_NAME_MAX));
        assert_eq!(UnitName::parse(&long), Err(NameError::TooLong));
    }
}
