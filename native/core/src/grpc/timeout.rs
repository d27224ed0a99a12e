//! The grpc-timeout header: at most eight digits and a unit.

use std::time::Duration;

pub fn encode(timeout: Duration) -> String {
    const LIMIT: u128 = 100_000_000;
    let micros = timeout.as_micros().max(1); // a deadline in the past is cut off before it is sent
    for (unit, size) in [("u", 1), ("m", 1_000), ("S", 1_000_000), ("M", 60_000_000)] {
        let amount = micros.div_ceil(size);
        if amount < LIMIT {
            return format!("{amount}{unit}");
        }
    }
    format!("{}H", micros.div_ceil(3_600_000_000).min(LIMIT - 1))
}

pub fn decode(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'n' => Duration::from_nanos(amount),
        b'u' => Duration::from_micros(amount),
        b'm' => Duration::from_millis(amount),
        b'S' => Duration::from_secs(amount),
        b'M' => Duration::from_secs(amount * 60),
        b'H' => Duration::from_secs(amount * 3600),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shorter_and_never_over_eight_digits() {
        for seconds in [1e-7, 1e-6, 0.5, 1.0, 99.9, 100.1, 1e5, 1e9, 1e12] {
            let timeout = Duration::from_secs_f64(seconds);
            let text = encode(timeout);
            assert!(text.len() <= 9, "{text}");
            let back = decode(text.as_bytes()).unwrap();
            let longest = Duration::from_secs(99_999_999 * 3600);
            assert!(back >= timeout.min(longest).saturating_sub(Duration::from_nanos(999)), "{text} for {seconds}");
        }
    }

    #[test]
    fn nonsense_is_no_timeout() {
        for text in ["", "u", "1", "-1u", "123456789u", "1x", "1.5S"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
