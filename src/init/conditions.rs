//! What `Condition*=` and `Assert*=` find on this host (systemd.unit(5)).
//!
//! Not how several combine (`unit::condition`). **Invariant:** what cannot be looked at does not
//! hold.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::manager::event::CheckOutcome;
use crate::sys::glob;
use crate::unit::condition::combine;
use crate::unit::environment::Environment;
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
        ConditionKind::PathExistsGlob => !glob::matches(parameter).is_empty(),
        ConditionKind::PathIsDirectory => fs::metadata(path).is_ok_and(|meta| meta.is_dir()),
        ConditionKind::PathIsSymbolicLink => {
            fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
        }
        ConditionKind::PathIsMountPoint => is_mount_point(path),
        ConditionKind::PathIsReadWrite => is_writable_mount(path),
        ConditionKind::DirectoryNotEmpty => {
            fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        }
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
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .ok()
        .and_then(|path| nix::sys::statvfs::statvfs(path.as_c_str()).ok())
        .is_some_and(|info| !info.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::UnitName;
    use crate::unit::condition::parse_condition;

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
