//! Why a message cannot be read.

use super::encoding::Encoding;

#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Flagged as compressed, though the call's head names no encoding.
    NotEncoded,
    Undecodable(Encoding),
    TooLarge {
        length: usize,
        limit: usize,
    },
    Flags(u8),
}
