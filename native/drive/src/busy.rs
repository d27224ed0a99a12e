//! Busy-polling: a thread looks again and again for a while before it sleeps, one thread at a time.
//!
//! To sleep and be woken costs some 75 µs in a virtual machine: 40 later, the rest CPU of the core that wakes and of
//! the one that wakes it. So looking for as long, and sleeping then, costs at most twice what is best. Callers that ask
//! for it have it for as long as they ask; others have it for that moment, and only while it pays: when nothing came in
//! time several times in a row, or others took the core meanwhile, ever more occasions are let pass before it is tried
//! again.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_micros(75);
/// Between two looks: others had the core, and may have needed it for what is waited for.
const DISTURBED: Duration = Duration::from_micros(10);
const UNASKED: u64 = u64::MAX;
/// So many moments in vain, one after the other, are no reason to stop: callers come at random.
const FORGIVEN: u32 = 3;
/// In the end one occasion in 2 to that power is tried.
const RAREST: u32 = 8;

pub struct BusyPoll {
    /// Nanoseconds; 0: sleep at once.
    asked: AtomicU64,
    taken: AtomicBool,
    /// Moments in a row that were in vain, and how many occasions are let pass. Both are only estimates.
    vain: AtomicU32,
    passes: AtomicU32,
}

impl Default for BusyPoll {
    fn default() -> Self {
        let (vain, passes) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { asked: AtomicU64::new(UNASKED), taken: AtomicBool::new(false), vain, passes }
    }
}

impl BusyPoll {
    pub fn ask(&self, span: Duration) {
        self.asked.store(u64::try_from(span.as_nanos()).unwrap_or(UNASKED - 1), Ordering::Relaxed);
    }

    /// Looks until something is found; None: `until`, or the time for it, is over, and who waits had better sleep.
    /// `alone`: what the thread waits for is all that goes on, as far as is known; else it looks only if asked to.
    pub fn look<T>(&self, alone: bool, until: Option<Instant>, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let span = self.span(alone);
        if span.is_zero() || self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        let begun = Instant::now();
        let (mut before, mut disturbed) = (begun, false);
        let found = loop {
            let found = look();
            let now = Instant::now();
            disturbed |= now - before > DISTURBED;
            before = now;
            if found.is_some() || now - begun >= span || until.is_some_and(|until| until <= now) {
                break found;
            }
            std::hint::spin_loop();
        };
        self.taken.store(false, Ordering::Relaxed);
        self.learn(found.is_some() && !disturbed);
        found
    }

    fn span(&self, alone: bool) -> Duration {
        match self.asked.load(Ordering::Relaxed) {
            UNASKED if !alone => Duration::ZERO,
            UNASKED => match self.passes.load(Ordering::Relaxed) {
                0 => MOMENT,
                passes => {
                    self.passes.store(passes - 1, Ordering::Relaxed);
                    Duration::ZERO
                }
            },
            nanoseconds => Duration::from_nanos(nanoseconds),
        }
    }

    fn learn(&self, paid: bool) {
        let vain = if paid { 0 } else { (self.vain.load(Ordering::Relaxed) + 1).min(FORGIVEN + RAREST) };
        self.vain.store(vain, Ordering::Relaxed);
        self.passes.store((1 << vain.saturating_sub(FORGIVEN)) - 1, Ordering::Relaxed);
    }
}
