//! Slices: groups of services with common limits (systemd.slice(5)), and which services are in
//! which.
//!
//! A slice has no process and no state, so the manager knows nothing of it; who enforces limits
//! does. As in systemd `a-b.slice` lies inside `a.slice`. **Invariant:** a [`Slice`] of the set
//! was defined by a file; one that is only named has no limits.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::directive::Draft;
use super::problem::Problem;
use super::resources::Resources;
use super::{SourceFile, UnitKind, UnitName, value};

/// One slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Its name.
    pub name: UnitName,
    /// Its main file.
    pub file: Option<Arc<SourceFile>>,
    /// What everything in it may use together.
    pub resources: Resources,
}

/// The slices of a set by name.
pub type Slices = BTreeMap<UnitName, Arc<Slice>>;

/// Takes the slices out of what was read, and looks at who names one.
pub(super) fn take(drafts: &mut BTreeMap<UnitName, Draft>, problems: &mut Vec<Problem>) -> Slices {
    let is_slice = |name: &UnitName| name.kind() == UnitKind::Slice;
    let names: Vec<UnitName> = drafts.keys().filter(|name| is_slice(name)).cloned().collect();
    let mut slices = Slices::new();
    for name in names {
        let Some(draft) = drafts.remove(&name) else { continue };
        let resources = draft.unit.service.settings.resources.as_deref().cloned();
        let (file, resources) = (draft.unit.file, resources.unwrap_or_default());
        slices.insert(name.clone(), Arc::new(Slice { name, file, resources }));
    }
    for draft in drafts.values() {
        in_known_slice(draft, &slices, problems);
    }
    slices
}

/// A name that no file defines is a group without limits: seldom what was meant.
fn in_known_slice(draft: &Draft, slices: &Slices, problems: &mut Vec<Problem>) {
    let resources = draft.unit.service.resources.as_deref();
    let Some(slice) = resources.and_then(|resources| resources.slice.as_ref()) else { return };
    if slices.contains_key(&slice.name) {
        return;
    }
    let message = format!("{} is not defined, so it limits nothing", slice.name);
    let problem = Problem::warning(slice.span.clone(), message);
    let stem = slice.name.stem();
    problems.push(match value::suggest(slice.name.as_str(), slices.keys().map(UnitName::as_str)) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None => problem.hint(format!("a file {stem}.toml with [Slice] MemoryMax = \"2G\" would")),
    });
}

/// The slices that hold this one, the outermost first, it itself last: `a-b.slice` is in
/// `a.slice` (systemd.slice(5)).
pub fn path(name: &UnitName) -> Vec<UnitName> {
    let stem = name.stem();
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    let outer = ends.filter_map(|end| stem.get(..end));
    outer.filter_map(|stem| UnitName::parse(&format!("{stem}.slice")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_slice_is() {
        let names = |text: &str| -> Vec<String> {
            path(&UnitName::parse(text).unwrap()).iter().map(|name| name.to_string()).collect()
        };
        assert_eq!(names("app.slice"), ["app.slice"]);
        assert_eq!(names("app-web-a.slice"), ["app.slice", "app-web.slice", "app-web-a.slice"]);
    }
}
