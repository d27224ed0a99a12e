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

/// How much is held; what is cloned of it is the same count.
#[derive(Clone, Debug, Default)]
pub struct Growth(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
    /// So many connections hold them.
    by: AtomicUsize,
}

impl Growth {
    fn held(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Returns how much was held before.
    fn add(&self, amount: usize) -> usize {
        self.0.bytes.fetch_add(amount, Ordering::Relaxed)
    }

    /// Returns how much is still held.
    fn take_back(&self, amount: usize) -> usize {
        self.0.bytes.fetch_sub(amount, Ordering::Relaxed) - amount
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
        if own > 0 && own + amount > self.most(amount) {
            return Err(Full);
        }
        if self.own.add(amount) == 0 {
            self.all.0.by.fetch_add(1, Ordering::Relaxed);
        }
        self.all.add(amount);
        Ok(Some(Box::new(Charge { own: self.own.clone(), all: self.all.clone(), amount })))
    }

    /// What the connection may hold, with so much more. A few that hold all there is must not shut the others out: they
    /// have a fair part of one connection's share.
    fn most(&self, amount: usize) -> usize {
        if self.all.held() + amount <= MOST_OF_ALL {
            return MOST_OF_ONE;
        }
        MOST_OF_ONE / self.all.0.by.load(Ordering::Relaxed).max(1)
    }
}

/// More is held than a peer may make us hold.
#[derive(Debug)]
pub(super) struct Full;

/// Counts as long as the list is there that has it.
#[derive(Debug)]
pub(super) struct Charge {
    own: Growth,
    all: Growth,
    amount: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.all.take_back(self.amount);
        if self.own.take_back(self.amount) == 0 {
            self.all.0.by.fetch_sub(1, Ordering::Relaxed);
        }
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
        assert_eq!((share.own.held(), all.held(), all.0.by.load(Ordering::Relaxed)), (0, 0, 0));
    }

    #[test]
    fn whoever_holds_nothing_has_room_for_one_list_and_ordinary_ones_are_free() {
        let all = Growth::default();
        let greedy: Vec<_> = (0..200).map(|_| Share::of(&all)).collect();
        let charges: Vec<_> = greedy.iter().map(filled).collect();
        let honest = Share::of(&all);
        let first = honest.charge(LIST);
        assert!(first.is_ok() && honest.charge(LIST).is_err() && honest.charge(ORDINARY - 1).is_ok());
        drop(charges);
        assert!(honest.charge(LIST).is_ok());
    }

    #[test]
    fn a_few_that_hold_all_there_is_leave_others_a_fair_part() {
        let all = Growth::default();
        let greedy: Vec<_> = (0..50).map(|_| Share::of(&all)).collect();
        let _charges: Vec<_> = greedy.iter().map(filled).collect();
        assert!(all.held() > MOST_OF_ALL);
        let honest = Share::of(&all);
        let tokens: Vec<_> = std::iter::from_fn(|| honest.charge(2 * ORDINARY).ok()).collect();
        assert_eq!(tokens.len(), MOST_OF_ONE / 51 / (2 * ORDINARY));
    }

    #[test]
    fn thousands_that_take_their_part_one_after_the_other_hold_twice_as_much_and_a_list_each() {
        let all = Growth::default();
        let greedy: Vec<_> = (0..2000).map(|_| Share::of(&all)).collect();
        let charges: Vec<_> = greedy.iter().map(filled).collect();
        assert!(all.held() <= 2 * MOST_OF_ALL + greedy.len() * LIST);
        drop(charges);
        assert_eq!((all.held(), all.0.by.load(Ordering::Relaxed)), (0, 0));
    }
}
