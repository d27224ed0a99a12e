//! How many bytes are on their way to us on a connection that is busy with them: its bandwidth times its delay. A window
//! below that makes a sender wait for a round trip, again and again, however fast the line is.
//!
//! Measured as gRPC measures it: a ping leaves, and what arrives until its answer was on the way. When that is most of
//! what was let on the way, and more comes in a second than ever, twice as much is let.

use std::time::{Duration, Instant};

/// Names the ping.
pub const PROBE: u64 = 0x6d65_6173_7572_6521;

/// What one measurement that found nothing new adds to the pause before the next, and how long that is at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After so long without a measurement nothing is known any more.
const FORGOTTEN: Duration = Duration::from_secs(30);

pub struct Bandwidth {
    most: i64,
    /// The most that was ever found on the way. Zero: nothing is known.
    product: i64,
    /// Bytes a second.
    best: f64,
    /// Since when the ping is under way.
    probe: Option<Instant>,
    /// What has come since the ping left; without one, since the last was answered.
    bytes: i64,
    rested: Option<Instant>,
    pause: Duration,
}

impl Bandwidth {
    /// `most`: the product that is sought; zero switches it off.
    pub fn new(most: i64) -> Self {
        Self { most, product: 0, best: 0.0, probe: None, bytes: 0, rested: None, pause: Duration::ZERO }
    }

    pub fn product(&self) -> i64 {
        self.product
    }

    /// So much data came; `window` is what a stream may send unasked. True: it is time for a ping.
    pub fn received(&mut self, bytes: i64, window: i64, now: Instant) -> bool {
        self.bytes += bytes;
        let rests = self.rested.is_some_and(|since| now.saturating_duration_since(since) < self.pause);
        // Small messages are never worth a measurement.
        if self.most <= window || self.probe.is_some() || rests || self.bytes < window / 4 {
            return false;
        }
        if self.rested.is_some_and(|since| now.saturating_duration_since(since) > FORGOTTEN) {
            *self = Self::new(self.most);
        }
        (self.probe, self.bytes) = (Some(now), 0);
        true
    }

    /// The ping's answer came.
    pub fn answered(&mut self, window: i64, now: Instant) {
        let Some(since) = self.probe.take() else { return };
        let rate = self.bytes as f64 / now.saturating_duration_since(since).as_secs_f64().max(1e-6);
        let known = self.product.max(window);
        // Room is given back half a window at a time, so half of it may be all that came meanwhile.
        if self.bytes >= known / 2 && rate > self.best {
            self.product = self.bytes.max(2 * known).min(self.most);
            (self.best, self.pause) = (rate, Duration::ZERO);
        } else {
            self.pause = (self.pause + PAUSE).min(LONGEST_PAUSE);
        }
        (self.rested, self.bytes) = (Some(now), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 256 * 1024;
    const MOST: i64 = 16 * 1024 * 1024;
    const ROUND: Duration = Duration::from_millis(50);

    /// A line that carries `rate` bytes a second, as much as the product lets on the way.
    fn measured(line: &mut Bandwidth, rate: i64, now: &mut Instant) -> i64 {
        for _ in 0..200 {
            while !line.received(WINDOW, WINDOW, *now) {
                *now += ROUND;
            }
            *now += ROUND;
            let carried = (rate / 20).min(line.product().max(WINDOW));
            assert!(!line.received(carried, WINDOW, *now));
            line.answered(WINDOW, *now);
        }
        line.product()
    }

    #[test]
    fn it_comes_to_what_a_line_carries_and_stays_there() {
        let (mut line, mut now) = (Bandwidth::new(MOST), Instant::now());
        let product = measured(&mut line, 40_000_000, &mut now);
        assert!((2_000_000..=2 * 2_000_000 + WINDOW).contains(&product), "{product}");
        assert_eq!(measured(&mut line, 40_000_000, &mut now), product);
        assert!(line.pause == LONGEST_PAUSE, "a steady line is rarely measured");
    }

    #[test]
    fn it_has_an_end() {
        assert_eq!(measured(&mut Bandwidth::new(MOST), i64::MAX / 2, &mut Instant::now()), MOST);
    }

    #[test]
    fn it_is_forgotten_on_a_line_that_was_idle() {
        let (mut line, mut now) = (Bandwidth::new(MOST), Instant::now());
        measured(&mut line, 40_000_000, &mut now);
        now += FORGOTTEN * 2;
        assert!(line.received(WINDOW, WINDOW, now));
        assert_eq!(line.product(), 0);
    }

    #[test]
    fn small_messages_and_a_limit_without_room_make_no_pings() {
        let now = Instant::now();
        assert!(!Bandwidth::new(MOST).received(WINDOW / 4 - 1, WINDOW, now));
        assert!(!Bandwidth::new(0).received(MOST, WINDOW, now));
        Bandwidth::new(MOST).answered(WINDOW, now); // to none
    }
}
