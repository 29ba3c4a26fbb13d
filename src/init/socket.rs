//! The control socket in the file system: where it is, that it is nobody else's, that it goes.
//!
//! Not who is let in (`control`). **Invariant:** no file but a socket on which nobody listens is
//! ever replaced, and no directory is used that another user could change.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::sys::{own_uid, peer};

/// What the socket is called in a directory of ours.
const NAME: &str = "io.rinit.Manager";

/// `--socket`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum SocketChoice {
    /// None at all.
    None,
    /// Where there is a place for it.
    #[default]
    Default,
    /// Here, or it is an error.
    Path(PathBuf),
}

impl SocketChoice {
    /// Reads `none` or a path.
    pub fn read(text: &str) -> SocketChoice {
        match text {
            "none" => SocketChoice::None,
            path => SocketChoice::Path(PathBuf::from(path)),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct ControlSocket {
    /// Non-blocking.
    pub listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
    /// Its device and inode, to tell whether the path is still ours at the end.
    identity: Option<(u64, u64)>,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why there is no socket.
#[derive(Debug)]
pub enum Failure {
    /// Somebody else's rinit listens there.
    Busy(String),
    /// Anything else.
    Unusable(String),
}

impl Failure {
    /// The sentence.
    pub fn message(&self) -> &str {
        match self {
            Failure::Busy(message) | Failure::Unusable(message) => message,
        }
    }
}

/// Opens the socket at a path that somebody asked for.
///
/// # Errors
/// It is busy, or cannot be made.
pub fn open_at(path: &Path, group: Option<u32>) -> Result<ControlSocket, Failure> {
    let failed = |error: io::Error| Failure::Unusable(format!("{}: {error}", path.display()));
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            make_way(path)?;
            UnixListener::bind(path).map_err(failed)?
        }
        bound => bound.map_err(failed)?,
    };
    let socket = ControlSocket { listener, identity: identity(path), path: path.to_path_buf() };
    socket.listener.set_nonblocking(true).map_err(failed)?;
    let mode = match group {
        Some(group) => {
            chown(path, None, Some(group)).map_err(failed)?;
            0o660
        }
        None => 0o600,
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    Ok(socket)
}

/// Opens the socket in the first directory that can be used.
///
/// # Errors
/// It is busy, or there is no such directory: the sentence names all that were tried.
pub fn open_default(group: Option<u32>) -> Result<ControlSocket, Failure> {
    let mut tried = Vec::new();
    for directory in default_directories(own_uid(), std::env::var_os("XDG_RUNTIME_DIR")) {
        match prepare(&directory, group) {
            Ok(()) => match open_at(&directory.join(NAME), group) {
                Err(Failure::Unusable(message)) => tried.push(message),
                done => return done,
            },
            Err(message) => tried.push(message),
        }
    }
    Err(Failure::Unusable(tried.join("; ")))
}

fn default_directories(uid: u32, runtime: Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let runtime = runtime.map(PathBuf::from).filter(|path| path.is_absolute());
    let candidates = [
        Some(PathBuf::from("/run/rinit")),
        runtime.map(|path| path.join("rinit")),
        Some(PathBuf::from(format!("/tmp/rinit-{uid}"))),
    ];
    candidates.into_iter().flatten().collect()
}

/// Makes the directory, or finds that it is ours alone.
fn prepare(directory: &Path, group: Option<u32>) -> Result<(), String> {
    let shown = directory.display();
    let failed = |error: io::Error| format!("{shown}: {error}");
    let made = match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound && directory.starts_with("/run") => {
            // An image from scratch has no /run.
            DirBuilder::new().mode(0o755).create("/run").map_err(failed)?;
            DirBuilder::new().mode(0o700).create(directory)
        }
        made => made,
    };
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    let found = fs::symlink_metadata(directory).map_err(failed)?;
    if !found.is_dir() {
        return Err(format!("{shown} is not a directory"));
    }
    if found.uid() != own_uid() {
        return Err(format!("{shown} belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("{shown} may be changed by others (mode {:o})", found.mode() & 0o7777));
    }
    if let Some(group) = group {
        // Only to pass through it.
        chown(directory, None, Some(group)).map_err(failed)?;
        let mode = found.mode() & 0o7777 | 0o010;
        fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// Removes a socket on which nobody listens.
fn make_way(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let failed = |error: io::Error| Failure::Unusable(format!("{shown}: {error}"));
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.file_type().is_socket() {
        return Err(Failure::Unusable(format!("{shown} is there already, and no socket")));
    }
    if peer::is_listening(path).map_err(failed)? {
        return Err(Failure::Busy(format!("{shown} is busy: another rinit listens there")));
    }
    fs::remove_file(path).map_err(failed)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_busy_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let first = open_at(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(open_at(&path, None), Err(Failure::Busy(_))));
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        let Err(Failure::Unusable(message)) = open_at(&path, None) else { panic!("replaced") };
        assert!(message.contains("no socket"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = open_at(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let second = open_at(&path, None).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn directories_of_others_are_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let ours = directory.path().join("ours");
        prepare(&ours, None).unwrap();
        prepare(&ours, None).unwrap();
        assert_eq!(fs::metadata(&ours).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&ours, Permissions::from_mode(0o770)).unwrap();
        assert!(prepare(&ours, None).unwrap_err().contains("mode 770"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(prepare(&link, None).unwrap_err().contains("not a directory"));
    }

    #[test]
    fn candidates() {
        let paths = |runtime: Option<&str>| default_directories(7, runtime.map(Into::into));
        assert_eq!(paths(None), [PathBuf::from("/run/rinit"), PathBuf::from("/tmp/rinit-7")]);
        assert_eq!(paths(Some("/x")).get(1), Some(&PathBuf::from("/x/rinit")));
        assert_eq!(paths(Some("x")).len(), 2);
    }
}
