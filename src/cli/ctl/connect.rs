//! Finding rinit: which sockets are tried, in which order, and which are trusted.
//!
//! Not the wire (`control::client`). **Invariant:** a socket in a directory that anybody may
//! write to is used only if the directory above it is 0700 and its owner's: else another user
//! could answer in rinit's name. A failure names every socket that was tried.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::NOT_THERE;
use super::args::Options;
use super::failure::Failure;
use crate::control::client::{Client, INTERFACE};
use crate::unit::environment::Environment;

/// How long a plain question may take (sd-bus waits as long).
const ANSWER: Duration = Duration::from_secs(25);

/// A socket that may be rinit's.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Candidate {
    path: PathBuf,
    /// Whose directory it must be in.
    owner: Option<u32>,
}

/// A rinit that was found.
#[derive(Debug)]
pub struct Session {
    path: PathBuf,
    client: Client,
    timeout: Option<Option<Duration>>,
    /// Jobs and waits are measured from here.
    started: Instant,
}

impl Session {
    /// Looks for rinit.
    ///
    /// # Errors
    /// Status 6, with every socket that was tried.
    pub fn open(options: &Options, environment: &Environment) -> Result<Session, Failure> {
        let uid = fs::metadata("/proc/self").map_or(0, |entry| entry.uid());
        let first = fs::metadata("/proc/1").map_or(uid, |entry| entry.uid());
        let candidates = candidates(options, environment, uid, first)?;
        let timeout = options.timeout.map(|timeout| timeout.0);
        let mut tried = Vec::new();
        for candidate in candidates {
            match connect(&candidate, timeout.flatten().unwrap_or(ANSWER)) {
                Ok(client) => {
                    let path = candidate.path;
                    return Ok(Session { path, client, timeout, started: Instant::now() });
                }
                Err(why) => tried.push(format!("  {}: {why}", candidate.path.display())),
            }
        }
        let tried = tried.join("\n");
        Err(Failure::new(
            NOT_THERE,
            format!("no rinit answers; these sockets were tried:\n{tried}"),
        ))
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// What rinit says, or status 5 or 6.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, Failure> {
        let limit = self.timeout.unwrap_or(Some(ANSWER));
        let deadline = limit.map(|limit| Instant::now() + limit);
        self.client.call(method, parameters, deadline).map_err(Failure::of_call)
    }

    /// Asks for something that takes as long as it takes, or `--timeout`.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub fn call_long(&mut self, method: &str, parameters: &Value) -> Result<Value, Failure> {
        let deadline = self.deadline();
        self.client.call(method, parameters, deadline).map_err(Failure::of_call)
    }

    /// When what may take long is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.timeout.flatten().map(|timeout| self.started + timeout)
    }

    /// `--timeout`, if there is one that ends.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.flatten()
    }

    /// The connection itself, for streams.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Another connection instead of the one that has ended.
    ///
    /// # Errors
    /// As [`Session::another`].
    pub fn reconnect(&mut self) -> Result<(), Failure> {
        self.client = self.another()?;
        Ok(())
    }

    /// One more connection to the same rinit.
    ///
    /// # Errors
    /// Status 6: it has ended in the meantime, or takes no more clients.
    pub fn another(&self) -> Result<Client, Failure> {
        Client::connect(&self.path, ANSWER)
            .map_err(|error| Failure::new(NOT_THERE, format!("{}: {error}", self.path.display())))
    }
}

fn connect(candidate: &Candidate, limit: Duration) -> Result<Client, String> {
    if let (Some(owner), Some(directory)) = (candidate.owner, candidate.path.parent()) {
        trusted(directory, owner)?;
    }
    Client::connect(&candidate.path, limit).map_err(|error| why(&error))
}

fn why(error: &io::Error) -> String {
    const WORDS: [(io::ErrorKind, &str); 4] = [
        (io::ErrorKind::NotFound, "No such file or directory"),
        (io::ErrorKind::ConnectionRefused, "nobody listens there any more: it was left behind"),
        (io::ErrorKind::PermissionDenied, "Permission denied: be root or rinit's own user"),
        (io::ErrorKind::WouldBlock, "it is there and does not answer"),
    ];
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}

/// Whether only `owner` can have made what is in the directory.
fn trusted(directory: &Path, owner: u32) -> Result<(), String> {
    let entry = match fs::symlink_metadata(directory) {
        Ok(entry) => entry,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("No such file or directory".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    };
    let mode = entry.mode() & 0o7777;
    if !entry.is_dir() {
        return Err("not trusted: what should be its directory is none".to_owned());
    }
    if entry.uid() != owner {
        return Err(format!("not trusted: the directory is uid {}'s, not {owner}'s", entry.uid()));
    }
    if mode != 0o700 {
        return Err(format!("not trusted: the directory's mode is {mode:04o}, not 0700"));
    }
    Ok(())
}

/// The sockets to try (design: Control socket); `uid` is ours, `first` that of PID 1.
fn candidates(
    options: &Options,
    environment: &Environment,
    uid: u32,
    first: u32,
) -> Result<Vec<Candidate>, Failure> {
    let variable = |name: &str| {
        environment.get(OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let explicit = options.socket.clone().or_else(|| variable("RINIT_SOCKET"));
    if let Some(path) = explicit {
        if path == Path::new("none") {
            let message = "the control socket is switched off here (RINIT_SOCKET=none); \
                           --socket PATH says where another one is";
            return Err(Failure::new(NOT_THERE, message));
        }
        return Ok(vec![Candidate { path, owner: None }]);
    }
    let mut found =
        vec![Candidate { path: PathBuf::from("/run/rinit").join(INTERFACE), owner: None }];
    let mut owners = vec![uid];
    if first != uid {
        owners.push(first);
    }
    for owner in owners {
        let runtime = match variable("XDG_RUNTIME_DIR") {
            Some(runtime) if owner == uid => Some(runtime),
            // Another user's is where systemd and Podman put it (pam_systemd(8)).
            _ if owner != uid => Some(PathBuf::from(format!("/run/user/{owner}"))),
            _ => None,
        };
        let fallback = PathBuf::from(format!("/tmp/rinit-{owner}"));
        for directory in runtime.map(|path| path.join("rinit")).into_iter().chain([fallback]) {
            found.push(Candidate { path: directory.join(INTERFACE), owner: Some(owner) });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn paths(socket: Option<&str>, environment: &[(&str, &str)], first: u32) -> Vec<String> {
        let options = Options { socket: socket.map(PathBuf::from), ..Options::default() };
        let environment =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        match candidates(&options, &environment, 1000, first) {
            Ok(found) => found.iter().map(|c| c.path.display().to_string()).collect(),
            Err(failure) => vec![failure.message],
        }
    }

    #[test]
    fn where_it_is_looked_for() {
        let runtime = [("XDG_RUNTIME_DIR", "/run/user/1000")];
        assert_eq!(paths(Some("/a"), &[("RINIT_SOCKET", "/b")], 0), ["/a"]);
        assert_eq!(paths(None, &[("RINIT_SOCKET", "/b")], 0), ["/b"]);
        assert!(paths(None, &[("RINIT_SOCKET", "none")], 0)[0].contains("switched off"));
        assert_eq!(
            paths(None, &[("RINIT_SOCKET", "")], 1000),
            ["/run/rinit/io.rinit.Manager", "/tmp/rinit-1000/io.rinit.Manager"]
        );
        assert_eq!(
            paths(None, &runtime, 10001),
            [
                "/run/rinit/io.rinit.Manager",
                "/run/user/1000/rinit/io.rinit.Manager",
                "/tmp/rinit-1000/io.rinit.Manager",
                "/run/user/10001/rinit/io.rinit.Manager",
                "/tmp/rinit-10001/io.rinit.Manager",
            ]
        );
    }

    #[test]
    fn whose_directory_is_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let uid = fs::metadata(directory.path()).unwrap().uid();
        let mode = |mode| {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o700);
        assert_eq!(trusted(directory.path(), uid), Ok(()));
        assert!(trusted(directory.path(), uid + 1).unwrap_err().contains("not trusted"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        assert!(trusted(&link, uid).unwrap_err().contains("is none"));
        mode(0o755);
        assert!(trusted(directory.path(), uid).unwrap_err().contains("0755"));
        assert!(trusted(&directory.path().join("x"), uid).unwrap_err().contains("No such"));
    }

    #[test]
    fn a_failure_names_the_socket() {
        let socket = Some(PathBuf::from("/no/such/socket"));
        let options = Options { socket, ..Options::default() };
        let failure = Session::open(&options, &Environment::new()).unwrap_err();
        assert_eq!(failure.code, 6);
        assert!(failure.message.contains("/no/such/socket: No such file"), "{}", failure.message);
    }
}
