//! A number and what is counted, for a sentence.
//!
//! Not words whose plural is another one. **Invariant:** one is never plural, all else is.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt::Display;

/// `1 unit`, `2 units`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0_usize, 1, 2].map(|n| counted(n, "unit")), ["0 units", "1 unit", "2 units"]);
    }
}
