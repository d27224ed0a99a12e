//! What keeps a connection alive, or ends it in time: keepalive pings, idleness, age. Knows points in time only.
//!
//! Rules: gRFC A8 and grpc/doc/keepalive.md (pings), gRFC A9 (idleness and age of a server's connections).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// What the timers of one connection are; none by default.
#[derive(Clone, Debug, Default)]
pub struct ConnectionPolicy {
    pub keepalive: Option<Keepalive>,
    /// After so long without a call the peer is told to go away.
    pub max_idle: Option<Duration>,
    /// So old (± 10 %, so that the clients of a server do not all leave at once), the peer is told to go away.
    pub max_age: Option<Duration>,
    /// So much later what still goes on is ended.
    pub grace: Option<Duration>,
}

/// A ping after `time` without a word from the peer; without an answer within `timeout` the connection is lost.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub time: Duration,
    pub timeout: Duration,
    /// Also while no call is in progress.
    pub without_calls: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Ping,
    /// The peer did not answer.
    Dead,
    /// No new calls.
    Leave,
    /// The grace is over.
    End,
}

/// The timers of a connection in use.
pub struct ConnectionTimers {
    policy: ConnectionPolicy,
    /// Like `max_idle`, while others could do the connection's work.
    pub spare: Option<Duration>,
    leaves_at: Option<Instant>,
    heard: Instant,
    pinged: Option<Instant>,
    idle_since: Option<Instant>,
    busy_at: Instant,
    left: Option<Instant>,
    ended: bool,
}

impl ConnectionTimers {
    pub fn new(policy: ConnectionPolicy, now: Instant) -> Self {
        let leaves_at = policy.max_age.and_then(|age| now.checked_add(age.mul_f64(0.9 + 0.2 * chance())));
        Self {
            policy,
            spare: None,
            leaves_at,
            heard: now,
            pinged: None,
            idle_since: Some(now),
            busy_at: now,
            left: None,
            ended: false,
        }
    }

    /// The peer said something, whatever it was.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// Whether calls are in progress; before `next` and `due`.
    pub fn calls(&mut self, any: bool, now: Instant) {
        if any {
            (self.idle_since, self.busy_at) = (None, now);
        } else if self.idle_since.is_none() {
            self.idle_since = Some(now);
        }
    }

    /// When `due` has something to say if nothing happens, or when to look whether calls are still in progress: nobody
    /// tells when the last one ends.
    pub fn next(&self) -> Option<Instant> {
        let look = self.max_idle().filter(|_| self.idle_since.is_none() && self.left.is_none());
        let look_at = look.and_then(|most| self.busy_at.checked_add(most));
        [self.ping_at(), self.leave_at(), self.end_at(), look_at].into_iter().flatten().min()
    }

    fn max_idle(&self) -> Option<Duration> {
        [self.policy.max_idle, self.spare].into_iter().flatten().min()
    }

    fn ping_at(&self) -> Option<Instant> {
        let keepalive = self.policy.keepalive.filter(|_| !self.ended)?;
        match self.pinged {
            Some(pinged) => pinged.checked_add(keepalive.timeout),
            None if self.idle_since.is_none() || keepalive.without_calls => self.heard.checked_add(keepalive.time),
            None => None,
        }
    }

    fn leave_at(&self) -> Option<Instant> {
        if self.left.is_some() {
            return None;
        }
        let idle = self.idle_since.zip(self.max_idle()).and_then(|(since, most)| since.checked_add(most));
        [idle, self.leaves_at].into_iter().flatten().min()
    }

    fn end_at(&self) -> Option<Instant> {
        let left = self.left.filter(|_| !self.ended)?;
        left.checked_add(self.policy.grace?)
    }

    /// What is to be done now, one thing after the other.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if passed(self.end_at()) {
            self.ended = true;
            return Some(Due::End);
        }
        if passed(self.ping_at()) {
            return Some(if self.pinged.is_some() {
                self.ended = true;
                Due::Dead
            } else {
                self.pinged = Some(now);
                Due::Ping
            });
        }
        passed(self.leave_at()).then(|| {
            self.left = Some(now);
            Due::Leave
        })
    }
}

/// From 0 to 1; spreads load, no secret.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pinging(without_calls: bool) -> ConnectionPolicy {
        let keepalive = Keepalive { time: SECOND * 10, timeout: SECOND * 2, without_calls };
        ConnectionPolicy { keepalive: Some(keepalive), ..ConnectionPolicy::default() }
    }

    #[test]
    fn a_quiet_peer_is_pinged_and_given_up() {
        let start = Instant::now();
        let mut timers = ConnectionTimers::new(pinging(false), start);
        timers.calls(true, start);
        assert_eq!(timers.next(), Some(start + SECOND * 10));
        assert_eq!(timers.due(start + SECOND * 9), None);
        assert_eq!(timers.due(start + SECOND * 10), Some(Due::Ping));
        assert_eq!(timers.next(), Some(start + SECOND * 12));
        assert_eq!(timers.due(start + SECOND * 12), Some(Due::Dead));
        assert_eq!(timers.due(start + SECOND * 99), None);
    }

    #[test]
    fn any_word_will_do() {
        let start = Instant::now();
        let mut timers = ConnectionTimers::new(pinging(false), start);
        timers.calls(true, start);
        assert_eq!(timers.due(start + SECOND * 10), Some(Due::Ping));
        timers.heard(start + SECOND * 11);
        assert_eq!(timers.due(start + SECOND * 12), None);
        assert_eq!(timers.next(), Some(start + SECOND * 21));
    }

    #[test]
    fn without_calls_it_pings_only_if_it_may() {
        let start = Instant::now();
        assert_eq!(ConnectionTimers::new(pinging(false), start).next(), None);
        assert_eq!(ConnectionTimers::new(pinging(true), start).next(), Some(start + SECOND * 10));
    }

    #[test]
    fn idleness_is_counted_from_the_last_call() {
        let start = Instant::now();
        let mut timers = ConnectionTimers::new(
            ConnectionPolicy { max_idle: Some(SECOND * 5), ..ConnectionPolicy::default() },
            start,
        );
        timers.calls(true, start + SECOND);
        assert_eq!(timers.next(), Some(start + SECOND * 6), "to look whether it is still busy");
        assert_eq!(timers.due(start + SECOND * 6), None);
        timers.calls(false, start + SECOND * 7);
        timers.calls(false, start + SECOND * 8);
        assert_eq!(timers.next(), Some(start + SECOND * 12));
        assert_eq!(timers.due(start + SECOND * 12), Some(Due::Leave));
        assert_eq!(timers.due(start + SECOND * 99), None);
    }

    #[test]
    fn a_spare_connection_is_idle_sooner() {
        let start = Instant::now();
        let mut timers = ConnectionTimers::new(
            ConnectionPolicy { max_idle: Some(SECOND * 50), ..ConnectionPolicy::default() },
            start,
        );
        timers.spare = Some(SECOND * 5);
        assert_eq!(timers.next(), Some(start + SECOND * 5));
        timers.spare = None;
        assert_eq!(timers.next(), Some(start + SECOND * 50));
        timers.spare = Some(SECOND * 99);
        assert_eq!(timers.next(), Some(start + SECOND * 50));
    }

    #[test]
    fn age_comes_with_some_chance_and_a_grace() {
        let start = Instant::now();
        let policy =
            ConnectionPolicy { max_age: Some(SECOND * 100), grace: Some(SECOND * 5), ..ConnectionPolicy::default() };
        let mut timers = ConnectionTimers::new(policy, start);
        let leaves = timers.next().unwrap();
        assert!((SECOND * 90..=SECOND * 110).contains(&(leaves - start)));
        assert_eq!(timers.due(leaves), Some(Due::Leave));
        assert_eq!(timers.next(), Some(leaves + SECOND * 5));
        assert_eq!(timers.due(leaves + SECOND * 5), Some(Due::End));
        assert_eq!(timers.next(), None);
    }
}
