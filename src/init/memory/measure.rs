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

/// Looks at these processes; one that is gone by now has nothing.
pub fn measure(pids: &[Pid], near: u64) -> Sample {
    let sum = |of: fn(Pid) -> u64| pids.iter().map(|pid| of(*pid)).fold(0, u64::saturating_add);
    let resident = sum(proc_memory::resident);
    if resident <= near {
        return Sample { bytes: resident, kind: Kind::Resident };
    }
    let anonymous = sum(proc_memory::anonymous);
    if anonymous <= near {
        return Sample { bytes: anonymous, kind: Kind::Anonymous };
    }
    let mut kind = Kind::Proportional;
    let mut bytes = 0_u64;
    for pid in pids {
        let share = proc_memory::proportional(*pid).unwrap_or_else(|| {
            kind = Kind::Blind;
            proc_memory::anonymous(*pid)
        });
        bytes = bytes.saturating_add(share);
    }
    Sample { bytes, kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::own_pid;

    #[test]
    fn no_more_exactly_than_it_matters() {
        let hoard = vec![1_u8; 16 << 20];
        let own = [own_pid()];
        assert_eq!(measure(&own, u64::MAX).kind, Kind::Resident);
        let exact = measure(&own, 0);
        assert_eq!(exact.kind, Kind::Proportional);
        assert!(exact.bytes >= 16 << 20 && exact.bytes <= measure(&own, u64::MAX).bytes);
        assert_eq!(measure(&[], 0), Sample { bytes: 0, kind: Kind::Resident });
        drop(hoard);
    }
}
