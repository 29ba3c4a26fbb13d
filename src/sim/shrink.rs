//! A smaller script that still does what the first one did.
//!
//! Not clever: it clears, cuts and lowers the values under each label (delta debugging) for as
//! long as something gets smaller. **Invariant:** what it returns was seen to do it.

use super::choices::Script;

/// At most so many runs.
const TRIES: usize = 4000;

/// Makes `script` smaller while `still` says yes.
pub(super) fn shrink(script: Script, still: impl FnMut(&Script) -> bool) -> Script {
    let mut search = Search { best: script, still, tries: 0 };
    while search.pass() && search.tries < TRIES {}
    search.best
}

struct Search<F> {
    best: Script,
    still: F,
    tries: usize,
}

impl<F: FnMut(&Script) -> bool> Search<F> {
    /// Every label once; whether anything got smaller.
    fn pass(&mut self) -> bool {
        let before = self.best.weight();
        for index in 0..self.best.lists() {
            if !self.best.list(index).is_empty() && !self.attempt(index, Vec::new()) {
                self.cut(index);
                self.lower(index);
            }
        }
        self.best.weight() < before
    }

    fn attempt(&mut self, index: usize, list: Vec<u8>) -> bool {
        let candidate = self.best.with(index, list);
        self.tries += 1;
        let smaller = self.tries < TRIES && candidate.weight() < self.best.weight();
        let accepted = smaller && (self.still)(&candidate);
        if accepted {
            self.best = candidate;
        }
        accepted
    }

    /// Drops stretches, long ones first, then sets them to zero.
    fn cut(&mut self, index: usize) {
        let mut length = self.best.list(index).len();
        while length > 0 {
            let mut at = 0;
            while at < self.best.list(index).len() {
                let list = self.best.list(index);
                let end = (at + length).min(list.len());
                let dropped = [&list[..at], &list[end..]].concat();
                let mut zeroed = list.to_vec();
                zeroed[at..end].fill(0);
                if !self.attempt(index, dropped) {
                    self.attempt(index, zeroed);
                    at += length;
                }
            }
            length /= 2;
        }
    }

    fn lower(&mut self, index: usize) {
        for at in 0..self.best.list(index).len() {
            for step in [2, 1] {
                while let Some(value) = self.best.list(index).get(at).filter(|value| **value > 0) {
                    let mut list = self.best.list(index).to_vec();
                    list[at] = if step == 2 { value / 2 } else { value - 1 };
                    if !self.attempt(index, list) {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn only_what_matters_is_left() {
    let script = Script::parse("units 5\nfate 1 2 3 4 5 6 7 8 9\nlife 3 3 3 3");
    let mut tries = 0;
    let small = shrink(script, |script| {
        tries += 1;
        script.to_string().lines().any(|line| line.starts_with("fate") && line.contains(" 7"))
    });
    assert_eq!(small.to_string(), "fate 7\n", "after {tries} tries");
}
