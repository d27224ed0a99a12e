//! A peer's fault, and how far it reaches (RFC 9113, section 5.4).

use crate::http2::Key;

#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ends the connection with GOAWAY.
    Connection { code: u32, reason: &'static str },
    /// Ends one stream with RST_STREAM.
    Stream { key: Key, code: u32, reason: &'static str },
}

impl Fault {
    pub fn connection(code: u32, reason: &'static str) -> Self {
        Self::Connection { code, reason }
    }

    pub fn stream(key: Key, code: u32, reason: &'static str) -> Self {
        Self::Stream { key, code, reason }
    }
}
