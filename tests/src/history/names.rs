//! Ids as small numbers: a history names each of them many times.

use std::collections::HashMap;
use std::hash::Hash;

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $name(pub u32);

            impl From<usize> for $name {
                fn from(index: usize) -> Self {
                    Self(index as u32)
                }
            }

            impl $name {
                pub const fn index(self) -> usize {
                    self.0 as usize
                }
            }
        )*
    };
}

number!(
    /// Of [`super::History::users`].
    UserIx,
    /// Of [`super::History::sends`].
    SendIx,
    /// Of [`super::History::contents`].
    ContentIx,
    /// Of [`super::History::clients`].
    ClientIx
);

/// Gives the values of one kind their numbers. Only the numbers are needed once
/// everything is read.
#[derive(Debug)]
pub(super) struct Names<T> {
    numbers: HashMap<T, u32>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> Names<T> {
    /// The number, and whether it is new: then it is the next one.
    pub fn number(&mut self, value: T) -> (usize, bool) {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(value).or_insert(next);
        (number as usize, number == next)
    }
}
