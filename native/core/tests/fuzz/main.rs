//! Random input and random conversations. `FUZZ_SECONDS` (default 3) bounds each test; a failure prints its seed, which
//! then belongs into `seeds.txt` with a word on what it found. `FUZZ_SEED=n` runs that one only.

mod by_h2;
mod bytes;
mod endpoint;
mod frames;
mod hpack;
mod messages;
mod parity;
mod random;
mod responses;
mod settings;
mod talk;
mod twins;
#[path = "../wire/mod.rs"]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use random::Random;

/// Runs `check` on the seeds that are kept for `test`, then on new ones until the time is over.
fn fuzz(test: &str, check: impl Fn(&mut Random)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let until = Instant::now() + Duration::from_secs(seconds);
    let one = |seed: u64| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&mut Random::new(seed)))) {
            eprintln!("{test}: FUZZ_SEED={seed} fails");
            resume_unwind(panic);
        }
    };
    if let Some(seed) = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()) {
        return one(seed);
    }
    for line in include_str!("seeds.txt").lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some(test) {
            one(words.next().and_then(|seed| seed.parse().ok()).expect("a seed is a number"));
        }
    }
    let mut seeds =
        Random::new(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64));
    let mut rounds = 0;
    while Instant::now() < until {
        one(seeds.number());
        rounds += 1;
    }
    eprintln!("{test}: {rounds} rounds");
}
