//! How much memory the processes of a unit have together, no more exactly than it matters.
//!
//! Not who they are (`members`) and not the files of /proc (`sys::proc_memory`). The sum of what
//! is resident counts a page as often as it is mapped: workers forked from a parent of 200 MB have
//! it once, and the sum says five times. So it only ever acquits; what decides is the proportional
//! share, whose price is a walk over all page tables. **Invariant:** an answer above `near` is the
//! most exact one that may be had here.

use crate::sys::{Pid, proc_memory};

/// What a number of bytes is the sum of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// All that is in memory: at least what it really has.
    Resident,
    /// Without files: still at least what it really has.
    Anonymous,
    /// The proportional share of each page that is no file's.
    Proportional,
    /// As [`Kind::Anonymous`], because the shares of some process may not be read.
    Blind,
}

/// One look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// How much.
    pub bytes: u64,
    /// Of what.
    pub kind: Kind,
}

/// A look at some processes that may be interrupted after each: page tables of gigabytes take long,
/// and others wait. A process that is gone by now has nothing.
#[derive(Debug)]
pub struct Look {
    pids: Vec<Pid>,
    near: u64,
    kind: Kind,
    /// How many were asked for that.
    asked: usize,
    /// What they have, in bytes.
    sum: u64,
}

impl Look {
    /// Nobody was asked yet.
    pub fn new(pids: Vec<Pid>, near: u64) -> Look {
        Look { pids, near, kind: Kind::Resident, asked: 0, sum: 0 }
    }

    /// Asks one after another until it is `enough` for now; the sample once all were asked.
    pub fn go_on(&mut self, mut enough: impl FnMut() -> bool) -> Option<Sample> {
        loop {
            while let Some(pid) = self.pids.get(self.asked).copied() {
                self.sum = self.sum.saturating_add(self.ask(pid));
                self.asked += 1;
                if enough() {
                    return None;
                }
            }
            let dearer = match self.kind {
                Kind::Resident if self.sum > self.near => Kind::Anonymous,
                Kind::Anonymous if self.sum > self.near => Kind::Proportional,
                Kind::Resident | Kind::Anonymous | Kind::Proportional | Kind::Blind => {
                    return Some(Sample { bytes: self.sum, kind: self.kind });
                }
            };
            (self.kind, self.asked, self.sum) = (dearer, 0, 0);
        }
    }

    fn ask(&mut self, pid: Pid) -> u64 {
        match self.kind {
            Kind::Resident => proc_memory::resident(pid),
            Kind::Anonymous => proc_memory::anonymous(pid),
            Kind::Proportional | Kind::Blind => {
                proc_memory::proportional(pid).unwrap_or_else(|| {
                    self.kind = Kind::Blind;
                    proc_memory::anonymous(pid)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::own_pid;

    fn whole(pids: &[Pid], near: u64) -> Sample {
        Look::new(pids.to_vec(), near).go_on(|| false).unwrap()
    }

    #[test]
    fn no_more_exactly_than_it_matters() {
        let hoard = vec![1_u8; 16 << 20];
        let own = [own_pid()];
        assert_eq!(whole(&own, u64::MAX).kind, Kind::Resident);
        let exact = whole(&own, 0);
        assert_eq!(exact.kind, Kind::Proportional);
        assert!(exact.bytes >= 16 << 20 && exact.bytes <= whole(&own, u64::MAX).bytes);
        assert_eq!(whole(&[], 0), Sample { bytes: 0, kind: Kind::Resident });
        drop(hoard);
    }

    /// Two of a time: so many turns, and the same sum as in one.
    #[test]
    fn a_look_in_parts_is_a_whole_look() {
        let hoard = vec![1_u8; 32 << 20];
        for (near, questions) in [(u64::MAX, 1), (0, 3)] {
            let mut look = Look::new(vec![own_pid(); 10], near);
            let (mut turns, mut asked) = (0, 0);
            let sample = loop {
                turns += 1;
                let before = asked;
                let sample = look.go_on(|| {
                    asked += 1;
                    asked == before + 2
                });
                if let Some(sample) = sample {
                    break sample;
                }
            };
            assert_eq!((asked, turns), (10 * questions, 5 * questions + 1));
            let whole = whole(&[own_pid()], near);
            assert_eq!(sample.kind, whole.kind);
            assert!(sample.bytes >= 10 * (32 << 20), "{sample:?}");
        }
        drop(hoard);
    }
}
