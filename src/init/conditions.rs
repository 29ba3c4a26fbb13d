//! What `Condition*=` and `Assert*=` find on this host (systemd.unit(5)).
//!
//! Not how several combine (`unit::condition`). **Invariant:** what cannot be looked at does not
//! hold.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::manager::event::CheckOutcome;
use crate::unit::condition::combine;
use crate::unit::environment::Environment;
use crate::unit::load::glob;
use crate::unit::{Condition, ConditionKind, Unit};

/// Conditions first, then assertions, as systemd asks them.
pub fn check(unit: &Unit, environment: &Environment) -> CheckOutcome {
    let holds = |condition: &Condition| holds(condition, environment);
    if let Err(failed) = combine(&unit.conditions, holds) {
        let condition = failed.display("Condition").to_string();
        return CheckOutcome::ConditionFailed { condition };
    }
    match combine(&unit.asserts, holds) {
        Ok(()) => CheckOutcome::Met,
        Err(failed) => {
            CheckOutcome::AssertFailed { assertion: failed.display("Assert").to_string() }
        }
    }
}

fn holds(condition: &Condition, environment: &Environment) -> bool {
    let parameter = condition.parameter.as_str();
    let path = Path::new(parameter);
    match condition.kind {
        ConditionKind::PathExists => fs::metadata(path).is_ok(),
        ConditionKind::PathExistsGlob => glob::exists(parameter),
        ConditionKind::PathIsDirectory => fs::metadata(path).is_ok_and(|meta| meta.is_dir()),
        ConditionKind::PathIsSymbolicLink => {
            fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
        }
        ConditionKind::PathIsMountPoint => is_mount_point(path),
        ConditionKind::PathIsReadWrite => is_writable_mount(path),
        ConditionKind::DirectoryNotEmpty => holds_something(path),
        ConditionKind::FileNotEmpty => {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.size() > 0)
        }
        ConditionKind::FileIsExecutable => fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0),
        ConditionKind::Environment => match parameter.split_once('=') {
            Some((name, value)) => {
                environment.get(std::ffi::OsStr::new(name)).is_some_and(|found| found == value)
            }
            None => environment.contains_key(std::ffi::OsStr::new(parameter)),
        },
    }
}

/// The directory holds more than hidden and backup files (systemd's `dir_is_empty`).
fn holds_something(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    let mut names = entries.flatten().map(|entry| entry.file_name());
    names.any(|name| !is_hidden_or_backup(name.as_bytes()))
}

/// Suffixes of what package managers and editors leave behind, as systemd lists them.
const BACKUPS: [&[u8]; 17] = [
    b"rpmnew",
    b"rpmsave",
    b"rpmorig",
    b"dpkg-old",
    b"dpkg-new",
    b"dpkg-tmp",
    b"dpkg-dist",
    b"dpkg-bak",
    b"dpkg-backup",
    b"dpkg-remove",
    b"ucf-new",
    b"ucf-old",
    b"ucf-dist",
    b"swp",
    b"bak",
    b"old",
    b"new",
];

fn is_hidden_or_backup(name: &[u8]) -> bool {
    let own: [&[u8]; 3] = [b"lost+found", b"aquota.user", b"aquota.group"];
    let suffix = name.iter().rposition(|byte| *byte == b'.').and_then(|dot| name.get(dot + 1..));
    name.starts_with(b".")
        || name.ends_with(b"~")
        || own.contains(&name)
        || suffix.is_some_and(|suffix| BACKUPS.contains(&suffix))
}

/// Another device than its parent, or the root itself; a bind mount within one file system is
/// told by /proc/self/mountinfo.
fn is_mount_point(path: &Path) -> bool {
    let Ok(real) = fs::canonicalize(path) else { return false };
    let Some(parent) = real.parent() else { return true };
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    if device(&real) != device(parent) {
        return true;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.any(|point| Path::new(point) == real)
}

/// The file system is not mounted read-only (statvfs(3), ST_RDONLY).
fn is_writable_mount(path: &Path) -> bool {
    CString::new(path.as_os_str().as_bytes())
        .ok()
        .and_then(|path| nix::sys::statvfs::statvfs(path.as_c_str()).ok())
        .is_some_and(|info| !info.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::unit::UnitName;
    use crate::unit::condition::parse_condition;
    use crate::unit::load::{LoadRequest, load};
    use crate::unit::properties::oracle;

    #[test]
    fn each_kind() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("file"), "text").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::create_dir(at("dir")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        let environment = Environment::from([("MODE".into(), "dev".into())]);
        use ConditionKind::{
            DirectoryNotEmpty, FileIsExecutable, FileNotEmpty, PathExists, PathExistsGlob,
            PathIsDirectory, PathIsMountPoint, PathIsReadWrite, PathIsSymbolicLink,
        };
        for (kind, parameter, expected) in [
            (PathExists, at("file"), true),
            (PathExists, at("link"), false),
            (PathExistsGlob, at("f*"), true),
            (PathExistsGlob, at("x*"), false),
            (PathIsDirectory, at("dir"), true),
            (PathIsDirectory, at("file"), false),
            (PathIsSymbolicLink, at("link"), true),
            (PathIsSymbolicLink, at("file"), false),
            (PathIsMountPoint, "/proc".to_owned(), true),
            (PathIsMountPoint, "/".to_owned(), true),
            (PathIsMountPoint, at("dir"), false),
            (PathIsReadWrite, at("dir"), true),
            (PathIsReadWrite, at("nope"), false),
            (DirectoryNotEmpty, dir.path().to_str().unwrap().to_owned(), true),
            (DirectoryNotEmpty, at("dir"), false),
            (FileNotEmpty, at("file"), true),
            (FileNotEmpty, at("empty"), false),
            (FileIsExecutable, "/bin/sh".to_owned(), true),
            (FileIsExecutable, at("file"), false),
            (ConditionKind::Environment, "MODE".to_owned(), true),
            (ConditionKind::Environment, "MODE=dev".to_owned(), true),
            (ConditionKind::Environment, "MODE=".to_owned(), false),
            (ConditionKind::Environment, "NOPE".to_owned(), false),
        ] {
            let condition = parse_condition(kind, &parameter);
            assert_eq!(holds(&condition, &environment), expected, "{kind:?} {parameter}");
        }
    }

    /// A unit with this condition alone, from its text.
    fn unit_with(directory: &Path, kind: ConditionKind, parameter: &str) -> Arc<Unit> {
        let unit = format!("[Unit]\nCondition{} = '{parameter}'\n", kind.name());
        fs::write(directory.join("c.toml"), unit + "[Service]\nExecStart = '/bin/true'\n").unwrap();
        let directories = vec![directory.to_path_buf()];
        let loaded = load(&LoadRequest { directories, ..LoadRequest::default() });
        assert!(!loaded.has_errors(), "{kind:?} {parameter}: {:?}", loaded.problems);
        loaded.units.get(&UnitName::parse("c.service").unwrap()).unwrap().clone()
    }

    #[test]
    fn conditions_hold_as_systemd_has_them() {
        let (dir, units) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| format!("{}/{name}", dir.path().to_str().unwrap());
        for name in ["f", "full/exe", "full/x", "h.d/.x"] {
            fs::create_dir_all(Path::new(&at(name)).parent().unwrap()).unwrap();
            fs::write(at(name), "text").unwrap();
        }
        std::os::unix::fs::symlink("full", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        use ConditionKind::{
            DirectoryNotEmpty, FileIsExecutable, FileNotEmpty, PathExists, PathExistsGlob,
            PathIsDirectory, PathIsMountPoint, PathIsReadWrite, PathIsSymbolicLink,
        };
        let mut cases = vec![
            (PathExists, at("f/"), true),
            (PathExists, at("./f"), true),
            (PathExists, at("dangling/"), false),
            (PathIsSymbolicLink, at("link/"), true),
            (PathIsSymbolicLink, at("link//."), true),
            (PathIsDirectory, at("f/"), false),
            (PathIsDirectory, at("link/"), true),
            (PathIsMountPoint, "/proc/".to_owned(), true),
            (PathIsReadWrite, at("f/"), true),
            (FileNotEmpty, at("f/"), true),
            (FileIsExecutable, "/bin/sh/".to_owned(), true),
            (DirectoryNotEmpty, at("h.d"), false),
            (DirectoryNotEmpty, at("full/"), true),
            (DirectoryNotEmpty, at("f"), false),
            (PathExistsGlob, at("f/"), true),
            (PathExistsGlob, at("full/{exe,x}"), true),
            (PathExistsGlob, at("full/{nope,x}"), true),
            (PathExistsGlob, at("full/{nope,y}"), false),
            (PathExistsGlob, at("{full,f}/e*"), true),
            (PathExistsGlob, at("full/{exe,x"), false),
            (PathExistsGlob, at("full/{e{x,y}e,z}"), true),
            (PathExistsGlob, at("full/exe{}"), true),
        ];
        let backups = BACKUPS.iter().map(|suffix| format!("a.{}", str::from_utf8(suffix).unwrap()));
        let hidden =
            ["lost+found", "aquota.user", "aquota.group", "a~", ".", ".a"].map(str::to_owned);
        let shown =
            ["a.newer", "new", "a.new.b", "a.orig", "~a", "a.", "aquota"].map(str::to_owned);
        for (names, holds) in
            [(hidden.into_iter().chain(backups).collect::<Vec<_>>(), false), (shown.to_vec(), true)]
        {
            for name in names {
                let directory = at(&format!("holds {name}"));
                fs::create_dir(&directory).unwrap();
                if name != "." {
                    fs::write(format!("{directory}/{name}"), "").unwrap();
                }
                cases.push((DirectoryNotEmpty, directory, holds));
            }
        }
        for (kind, parameter, expected) in cases {
            let ours = check(&unit_with(units.path(), kind, &parameter), &Environment::new());
            assert_eq!(ours == CheckOutcome::Met, expected, "{kind:?} {parameter}");
            let line = format!("Condition{}={parameter}", kind.name());
            let Some(output) = oracle("systemd-analyze", &["condition", &line]) else { return };
            let said = String::from_utf8(output.stderr).unwrap();
            let word = if expected { "succeeded" } else { "failed" };
            assert!(said.contains(&format!("Conditions {word}.")), "{line}: {said}");
        }
    }

    #[test]
    fn the_one_that_decided_is_named() {
        let mut unit = Unit::new(UnitName::parse("a.service").unwrap());
        unit.asserts = vec![parse_condition(ConditionKind::PathExists, "!/")];
        let failed = CheckOutcome::AssertFailed { assertion: "AssertPathExists=!/".to_owned() };
        assert_eq!(check(&unit, &Environment::new()), failed);
        unit.conditions = vec![parse_condition(ConditionKind::PathExists, "/nope")];
        let condition = "ConditionPathExists=/nope".to_owned();
        let skipped = CheckOutcome::ConditionFailed { condition };
        assert_eq!(check(&unit, &Environment::new()), skipped);
    }
}
