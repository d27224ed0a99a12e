//! Chance that can be repeated: FUZZ_SEED takes up a run where it failed.

use std::time::{Duration, Instant};

pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

pub fn fuzz(mut once: impl FnMut(&mut Random)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let until = Instant::now() + Duration::from_secs(seconds);
    let given = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let mut seed = given.unwrap_or(0x9e37_79b9_7f4a_7c15);
    while Instant::now() < until {
        let mut random = Random(seed);
        let told = Told(seed);
        once(&mut random);
        drop(told);
        seed = random.next() | 1;
    }
}

pub fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(at..(at + random.below(8)).min(bytes.len()))),
            _ => bytes.insert(at, random.next() as u8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Says the seed when what follows fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FUZZ_SEED={}", self.0);
        }
    }
}
