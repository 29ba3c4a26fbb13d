//! Trees that grow one by one.
//!
//! Not for what is kept: grown so, a tree is half empty. `collect` sorts first and fills each node,
//! and brings a sort of its own, six kilobytes of code, for each type and each caller.
//! **Invariant:** what is built here holds what `collect` would give.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

/// The entries by key; of two with one key the later counts.
pub fn tree<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut tree = BTreeMap::new();
    tree.extend(entries);
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_collect() {
        let entries = [(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd')];
        assert_eq!(tree(entries), entries.into_iter().collect());
    }
}
