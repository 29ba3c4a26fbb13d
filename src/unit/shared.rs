//! A value that many units hold in common: one copy, made its own only by whoever changes it.
//!
//! Not shared state: a change is never seen by another holder. A thousand units differ in few
//! settings, and PID 1 pays for memory for as long as the container lives.
//! **Invariant:** two values are equal when what they hold is, wherever it is kept.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A `T` behind one pointer, to be read and written as if it stood in place.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared(Arc::new(value))
    }
}

impl<'a, T> IntoIterator for &'a Shared<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (&*self.0).into_iter()
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// So many different values are remembered: looking stays cheap if all of 10,000 units differ.
const REMEMBERED: usize = 16;

/// Finds equal values, so that they are kept once.
#[derive(Debug)]
pub struct Pool<T> {
    recent: Vec<Shared<T>>,
    oldest: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool { recent: Vec::new(), oldest: 0 }
    }
}

impl<T: Clone + PartialEq> Pool<T> {
    /// What is equal to `value` among those seen last, or else a copy of it: exact in size,
    /// and sharing nothing with `value`.
    pub fn copy(&mut self, value: &T) -> Shared<T> {
        if let Some(found) = self.recent.iter().find(|kept| ***kept == *value) {
            return found.clone();
        }
        let new = Shared::from(value.clone());
        match self.recent.get_mut(self.oldest) {
            Some(slot) => *slot = new.clone(),
            None => self.recent.push(new.clone()),
        }
        self.oldest = (self.oldest + 1) % REMEMBERED;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_nobody_elses() {
        let one = Shared::from(vec![1]);
        let mut two = one.clone();
        assert!(std::ptr::eq(&*one, &*two));
        two.push(2);
        assert_eq!((one.as_slice(), two.as_slice()), (&[1][..], &[1, 2][..]));
        assert_ne!(one, two);
        assert_eq!(one, Shared::from(vec![1]));
    }

    #[test]
    fn equal_values_are_kept_once_and_apart_from_the_original() {
        let mut pool: Pool<String> = Pool::default();
        let original = Shared::from("a".to_string());
        let first = pool.copy(&original);
        assert!(!std::ptr::eq(&*first, &*original));
        assert!(std::ptr::eq(&*first, &*pool.copy(&"a".to_string())));
        for n in 0..100 {
            assert_eq!(*pool.copy(&n.to_string()), n.to_string());
        }
        assert_eq!(pool.recent.len(), REMEMBERED);
        assert!(std::ptr::eq(&*pool.copy(&"99".to_string()), &*pool.copy(&"99".to_string())));
        assert!(!std::ptr::eq(&*first, &*pool.copy(&"a".to_string())), "forgotten by now");
    }
}
