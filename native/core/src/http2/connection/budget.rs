//! How much of what costs a peer nothing it may do: a burst, and a little every second (the shape of the limits that
//! followed CVE-2019-9512, -9515, -9518, CVE-2023-44487 and CVE-2025-8671).

use std::time::{Duration, Instant};

use crate::http2::Pings;

/// With no call in progress, gRPC allows a ping in two hours (grpc/doc/keepalive.md).
const WITHOUT_CALLS: Duration = Duration::from_secs(2 * 60 * 60);

/// What costs a peer a byte may be a field of thousands to us. Ten thousand calls a
/// second whose metadata lies in the table, 8 KiB each, stay below; copying that much takes 1 or 2 % of a core.
const MOST_GROWTH: u32 = 128 * 1024 * 1024;

pub struct Budget {
    burst: u32,
    per_second: u32,
    spent: u32,
    since: Option<Instant>,
}

impl Budget {
    pub fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, spent: 0, since: None }
    }

    /// False: more than that is abuse.
    #[must_use]
    pub fn spend(&mut self, now: Instant) -> bool {
        self.spend_many(now, 1)
    }

    #[must_use]
    pub fn spend_many(&mut self, now: Instant, amount: usize) -> bool {
        let since = *self.since.get_or_insert(now);
        let seconds = now.saturating_duration_since(since).as_secs();
        if seconds > 0 {
            let earned = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(self.per_second);
            self.spent = self.spent.saturating_sub(earned);
            self.since = Some(now);
        }
        self.spent = self.spent.saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
        self.spent <= self.burst
    }

    /// The peer did something useful.
    pub fn earn(&mut self) {
        self.spent = self.spent.saturating_sub(1);
    }
}

/// All of a connection's.
pub struct Budgets {
    /// Streams that ended before anything was answered: reset by the peer, or by us over what it sent.
    pub resets: Budget,
    pub pings: Budget,
    pub settings: Budget,
    /// DATA without data.
    pub empty: Budget,
    /// In bytes: what header blocks became beyond the bytes that they are.
    pub growth: Budget,
    /// What a server may say without answering: interim responses, and that it is going away.
    pub preludes: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            resets: Budget::new(1000, 100),
            pings: Budget::new(200, 20),
            settings: Budget::new(100, 10),
            empty: Budget::new(1000, 100),
            growth: Budget::new(MOST_GROWTH, MOST_GROWTH),
            preludes: Budget::new(1000, 100),
        }
    }
}

/// The server's count of pings that came too early.
#[derive(Default)]
pub struct Strikes {
    last: Option<Instant>,
    count: u32,
}

impl Strikes {
    /// Something was sent to the peer, which it may want to answer by measuring.
    pub fn forgive(&mut self) {
        *self = Self::default();
    }

    /// A ping came. Returns whether it came too early, and whether that was once too often.
    pub fn ping(&mut self, now: Instant, calls: bool, policy: &Pings) -> (bool, bool) {
        let interval = if calls || policy.without_calls { policy.min_interval } else { WITHOUT_CALLS };
        let early = self.last.replace(now).is_some_and(|last| now.saturating_duration_since(last) < interval);
        self.count += u32::from(early);
        (early, self.count > policy.strikes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_little_every_second() {
        let mut budget = Budget::new(10, 2);
        let start = Instant::now();
        assert!((0..10).all(|_| budget.spend(start)));
        assert!(!budget.spend(start));
        assert!(budget.spend(start + Duration::from_secs(1)));
        budget.earn();
        assert!(budget.spend(start + Duration::from_secs(1)));
    }

    #[test]
    fn pings_are_counted_until_something_is_sent() {
        let (policy, start) = (Pings::default(), Instant::now());
        let mut strikes = Strikes::default();
        assert_eq!(strikes.ping(start, true, &policy), (false, false));
        assert_eq!(strikes.ping(start, true, &policy), (true, false));
        assert_eq!(strikes.ping(start, true, &policy), (true, false));
        assert_eq!(strikes.ping(start, true, &policy), (true, true));
        strikes.forgive();
        assert_eq!(strikes.ping(start, true, &policy), (false, false));
        assert_eq!(strikes.ping(start + policy.min_interval, true, &policy), (false, false));
        assert_eq!(strikes.ping(start + policy.min_interval * 2, false, &policy), (true, false));
    }
}
