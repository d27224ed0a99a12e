//! Memory that a peer makes us hold for next to nothing: by HPACK a byte stands for a field of four thousand. What live
//! header lists hold beyond the bytes that they came as is charged to their connection until they are let go of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lists that grow by less are those of ordinary calls, and cost nothing to charge.
const ORDINARY: usize = 1024;
/// All lists of a connection: a thousand calls, each with twice what the table can hold.
const MOST_OF_ONE: usize = 8 * 1024 * 1024;
/// All connections of a server, or of a channel.
const MOST_OF_ALL: usize = 64 * 1024 * 1024;

/// How much is held, in bytes; what is cloned of it is the same count.
#[derive(Clone, Debug, Default)]
pub struct Growth(Arc<AtomicUsize>);

impl Growth {
    fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection's, as part of all.
#[derive(Debug)]
pub(super) struct Share {
    own: Growth,
    all: Growth,
}

impl Share {
    pub fn of(all: &Growth) -> Self {
        Self { own: Growth::default(), all: all.clone() }
    }

    pub fn of_all(&self) -> usize {
        self.all.held()
    }

    /// For a list that grew by so much. One list of a connection has room whatever the other connections hold.
    pub fn charge(&self, amount: usize) -> Result<Option<Box<Charge>>, Full> {
        if amount < ORDINARY {
            return Ok(None);
        }
        let own = self.own.held();
        let fits = own + amount <= MOST_OF_ONE && self.all.held() + amount <= MOST_OF_ALL;
        if own > 0 && !fits {
            return Err(Full);
        }
        let counts = [self.own.clone(), self.all.clone()];
        counts.iter().for_each(|count| _ = count.0.fetch_add(amount, Ordering::Relaxed));
        Ok(Some(Box::new(Charge { counts, amount })))
    }
}

/// More is held than a peer may make us hold.
#[derive(Debug)]
pub(super) struct Full;

/// Counts as long as the list is there that has it.
#[derive(Debug)]
pub(super) struct Charge {
    counts: [Growth; 2],
    amount: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.counts.iter().for_each(|count| _ = count.0.fetch_sub(self.amount, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: usize = 64 * 1024;

    fn filled(share: &Share) -> Vec<Option<Box<Charge>>> {
        std::iter::from_fn(|| share.charge(LIST).ok()).collect()
    }

    #[test]
    fn a_connection_holds_its_share_until_its_lists_are_gone() {
        let all = Growth::default();
        let share = Share::of(&all);
        let mut charges = filled(&share);
        assert_eq!(charges.len(), MOST_OF_ONE / LIST);
        charges.pop();
        assert!(share.charge(LIST).is_ok());
        drop(charges);
        assert_eq!((share.own.held(), all.held()), (0, 0));
    }

    #[test]
    fn whoever_holds_nothing_has_room_for_one_list_and_ordinary_ones_are_free() {
        let all = Growth::default();
        let greedy: Vec<_> = (0..100).map(|_| Share::of(&all)).collect();
        let charges: Vec<_> = greedy.iter().map(filled).collect();
        assert!(all.held() <= MOST_OF_ALL + greedy.len() * LIST);
        let honest = Share::of(&all);
        let first = honest.charge(LIST);
        assert!(first.is_ok() && honest.charge(LIST).is_err() && honest.charge(ORDINARY - 1).is_ok());
        drop(charges);
        assert!(honest.charge(LIST).is_ok());
    }
}
