//! What `bench.worker` agrees with its parent, for programs in Rust: arguments, seconds in by line, one line of JSON out.

use std::collections::HashMap;
use std::time::Instant;

/// Messages of one server stream, as `bench.loads` has them.
pub const STREAM_MESSAGES: usize = 1_000;

/// Of `ROLE --NAME VALUE ...`.
pub struct Asked {
    pub role: String,
    values: HashMap<String, String>,
}

impl Asked {
    pub fn from_command_line() -> Self {
        let mut words = std::env::args().skip(1);
        let role = words.next().expect("server or client");
        let mut values = HashMap::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            values.insert(name, value);
        }
        Self { role, values }
    }

    pub fn word(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("{name} is missing"))
    }

    pub fn number(&self, name: &str) -> usize {
        self.word(name).parse().unwrap_or_else(|_| panic!("{name} is a number"))
    }
}

/// What a client answers after a round.
pub fn answer(calls: usize, since: Instant, times: &mut [f64]) {
    times.sort_unstable_by(f64::total_cmp);
    let p50 = times.get(times.len() / 2).map_or("null".into(), f64::to_string);
    println!(r#"{{"calls": {calls}, "seconds": {}, "p50": {p50}}}"#, since.elapsed().as_secs_f64());
}
