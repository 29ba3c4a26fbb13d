//! The file in which the apps of one measurement note their starts and deaths: `slots.h` from this side.
//! It is read as a file, not mapped: the page cache is the same memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::gap::Gap;

const CAPACITY: usize = 4096;
const STARTED: usize = 1;
const TARGET: usize = 2;
const INIT_EXEC: usize = 3;
const INIT_PID: usize = 4;
const INIT_STATUS: usize = 5;
const ORPHANS: usize = 6;
const STARTS: usize = 16;
const DEATHS: usize = STARTS + CAPACITY;

/// How many orphans a flood is.
pub const FLOOD: usize = 10_000;

/// One measurement's notes. Times are CLOCK_MONOTONIC, in nanoseconds.
pub struct Slots(File);

impl Slots {
    /// An empty file `DIR/slots`.
    pub fn create(dir: &Path, target: usize) -> Result<Self, Gap> {
        let open = File::options().read(true).write(true).create_new(true).open(dir.join("slots"));
        let slots = Self(open.map_err(Gap::io("slots"))?);
        slots.0.set_len(8 * (DEATHS + CAPACITY) as u64).map_err(Gap::io("slots"))?;
        slots.write(TARGET, target)?;
        slots.write(ORPHANS, FLOOD)?;
        Ok(slots)
    }

    /// How many apps have started.
    pub fn started(&self) -> Result<u64, Gap> {
        self.read(STARTED)
    }

    /// The instant before the init was exec'ed.
    pub fn init_exec(&self) -> Result<u64, Gap> {
        self.read(INIT_EXEC)
    }

    /// The init's pid out here.
    pub fn init_pid(&self) -> Result<u64, Gap> {
        self.read(INIT_PID)
    }

    /// The init's exit status once it is gone, 128 + n for a signal.
    pub fn init_status(&self) -> Result<u64, Gap> {
        self.read(INIT_STATUS)
    }

    /// When each of the first `count` apps began, in no order.
    pub fn starts(&self, count: usize) -> Result<Vec<u64>, Gap> {
        (STARTS..STARTS + count.min(CAPACITY)).map(|word| self.read(word)).collect()
    }

    /// When each of the first `count` apps died by its own hand.
    pub fn deaths(&self, count: usize) -> Result<Vec<u64>, Gap> {
        (DEATHS..DEATHS + count.min(CAPACITY)).map(|word| self.read(word)).collect()
    }

    fn read(&self, word: usize) -> Result<u64, Gap> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 8 * word as u64).map_err(Gap::io("slots"))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn write(&self, word: usize, value: usize) -> Result<(), Gap> {
        let bytes = (value as u64).to_ne_bytes();
        self.0.write_all_at(&bytes, 8 * word as u64).map_err(Gap::io("slots"))
    }
}
