//! The app's directory: what its processes are told to do at import, and what they noted there.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory that is $APP_STATE.
pub struct App {
    room: PathBuf,
}

/// A process that came so far; its pid as it sees it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub pid: i32,
    pub version: String,
}

impl App {
    pub fn new(room: &Path) -> Self {
        Self { room: room.to_owned() }
    }

    /// Puts another version on the disk: every process that starts from here on does this. Whole or
    /// not at all, for one may just be reading.
    pub fn behave(&self, behaviour: &str) -> Result<(), String> {
        let (new, file) = (self.room.join("behaviour.new"), self.room.join("behaviour"));
        let write = || fs::write(&new, behaviour).and_then(|()| fs::rename(&new, &file));
        write().map_err(|error| format!("{}: {error}", file.display()))
    }

    /// How many processes have begun to import the app.
    pub fn imports(&self) -> usize {
        self.notes("imports").len()
    }

    /// The processes that have come up.
    pub fn started(&self) -> Vec<Note> {
        self.notes("started")
    }

    fn notes(&self, name: &str) -> Vec<Note> {
        let text = fs::read_to_string(self.room.join(name)).unwrap_or_default();
        let note = |line: &str| {
            let (pid, version) = line.split_once(' ')?;
            Some(Note { pid: pid.parse().ok()?, version: version.to_owned() })
        };
        text.lines().filter_map(note).collect()
    }
}
