//! Who is to be looked at when, by number. What a look at the time costs depends on what is due, not on how many wait.

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Default)]
pub struct Timers {
    by_time: BTreeSet<(Instant, u64)>,
}

impl Timers {
    /// `number` is due at `at`, and no longer at `before`. True: it is the first of all now.
    pub fn set(&mut self, number: u64, before: Option<Instant>, at: Instant) -> bool {
        self.cancel(number, before);
        let first = self.next().is_none_or(|next| at < next);
        self.by_time.insert((at, number));
        first
    }

    pub fn cancel(&mut self, number: u64, at: Option<Instant>) {
        if let Some(at) = at {
            self.by_time.remove(&(at, number));
        }
    }

    /// When the first is due.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out whose time has come, the first ones first, at most so many.
    pub fn take_due(&mut self, now: Instant, most: usize) -> Vec<u64> {
        let mut due = Vec::new();
        while due.len() < most && self.next().is_some_and(|at| at <= now) {
            due.extend(self.by_time.pop_first().map(|(_, number)| number));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_what_is_due_is_taken_however_many_wait() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        for number in 0..10_000 {
            timers.set(number, None, now + SECOND * (1 + number as u32));
        }
        assert_eq!(timers.take_due(now, 100), []);
        assert_eq!(timers.take_due(now + SECOND * 3, 100), [0, 1, 2]);
        assert_eq!(timers.take_due(now + SECOND * 3, 100), []);
        assert_eq!(timers.next(), Some(now + SECOND * 4));
    }

    #[test]
    fn each_has_one_time() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        assert!(timers.set(7, None, now + SECOND * 5));
        assert!(timers.set(7, Some(now + SECOND * 5), now + SECOND));
        assert!(!timers.set(8, None, now + SECOND * 2));
        assert_eq!(timers.take_due(now + SECOND * 9, 100), [7, 8]);
        timers.set(7, None, now + SECOND);
        timers.cancel(7, Some(now + SECOND));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn who_is_due_when_many_are_waits_for_the_next_look() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        for number in 0..5 {
            timers.set(number, None, now);
        }
        assert_eq!(timers.take_due(now, 3), [0, 1, 2]);
        assert_eq!(timers.next(), Some(now));
        assert_eq!(timers.take_due(now, 3), [3, 4]);
    }
}
