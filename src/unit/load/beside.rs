//! The units beside a file that is checked without its directory: those that it names, and those
//! that they name, as `systemd-analyze verify` looks for them.
//!
//! Not all that lies there: a project's other TOML files are no units. **Invariant:** what nobody
//! names is not read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Build, Draft, Drafts, choose, files};
use crate::unit::Dependency;

/// Adds what `build` makes of the files beside `given` that the drafts name.
pub fn add(drafts: &mut Drafts, given: &[PathBuf], build: &mut Build<'_>) {
    let parents: BTreeSet<&Path> = given.iter().filter_map(|path| path.parent()).collect();
    let place = |path| if path == Path::new("") { Path::new(".") } else { path };
    let listed = parents.into_iter().filter_map(|path| files::list(place(path)).ok());
    let directories: Vec<_> = listed.map(|(directory, _)| directory).collect();
    let (chosen, drop_ins) = choose(&directories, &mut Vec::new());
    let mut seen: BTreeSet<String> = drafts.keys().map(|name| name.stem().to_string()).collect();
    let mut open: Vec<String> = drafts.values().flat_map(named).collect();
    while let Some(stem) = open.pop() {
        if !seen.insert(stem.clone()) {
            continue;
        }
        let source = chosen.get(stem.as_str());
        let built = source.and_then(|source| build(source, drop_ins.get(stem.as_str())));
        if let Some((name, draft)) = built {
            open.extend(named(&draft));
            drafts.insert(name, draft);
        }
    }
}

/// The base names of the files that may define what a unit names.
fn named(draft: &Draft) -> Vec<String> {
    let unit = &draft.unit;
    let lists: [&[Dependency]; 12] = [
        &unit.requires,
        &unit.binds_to,
        &unit.requisite,
        &unit.upholds,
        &unit.on_failure,
        &unit.on_success,
        &unit.sockets,
        &unit.wants,
        &unit.after,
        &unit.before,
        &unit.part_of,
        &unit.conflicts,
    ];
    let slice = unit.service.resources.as_ref().and_then(|resources| resources.slice.as_ref());
    let service = unit.socket.as_ref().and_then(|socket| socket.service.as_ref());
    let names = lists.into_iter().flatten().chain(slice).map(|dependency| &dependency.name);
    names.chain(service).map(|name| name.stem().to_string()).collect()
}
