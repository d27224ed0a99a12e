//! gRPC status: from trailers, from what HTTP/2 says when there are none, and back to trailers.
//!
//! Rules: grpc/doc/PROTOCOL-HTTP2.md ("Responses", "Errors"), http-grpc-status-mapping.md.

use crate::http2::{Broken, Headers, code as h2_code};

pub mod code {
    pub const OK: i32 = 0;
    pub const CANCELLED: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const INTERNAL: i32 = 13;
    pub const UNAVAILABLE: i32 = 14;
    pub const UNAUTHENTICATED: i32 = 16;
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This side of the call: its owner, its deadline, or what it cannot read.
    Local = 0,
    /// The other side of the call: its status, its answer that is no gRPC, its RST_STREAM.
    Peer = 1,
    /// What all calls of a connection have in common: it was closed or lost.
    Channel = 2,
}

#[derive(Clone, Debug)]
pub struct Status {
    pub code: i32,
    pub message: String,
    pub trailers: Headers,
    /// No application code saw the call: it may be sent again, once, for free (gRFC A6, transparent retry).
    pub unprocessed: bool,
    pub origin: Origin,
}

impl Status {
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), trailers: Headers::new(), unprocessed: false, origin: Origin::Local }
    }

    pub fn by(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// From trailers (or the headers of a Trailers-Only answer). None when they carry no grpc-status.
    pub fn from_trailers(trailers: Headers) -> Option<Self> {
        let raw = trailers.get("grpc-status")?;
        let message = trailers.get("grpc-message").map(percent_decode).unwrap_or_default();
        let status = match std::str::from_utf8(raw).ok().and_then(|text| text.parse::<i32>().ok()) {
            Some(code::OK) => Self::new(code::OK, ""), // a success has no details (grpc/doc/statuscodes.md)
            Some(code @ 1..=16) => Self::new(code, message),
            // dubbo-go answers business errors with 17: unknown to gRPC, so the caller is told the raw code.
            Some(other) => Self::new(code::UNKNOWN, format!("{message} (grpc-status {other})")),
            None => Self::new(code::UNKNOWN, format!("unreadable grpc-status {:?}", String::from_utf8_lossy(raw))),
        };
        Some(Self { trailers, ..status }.by(Origin::Peer))
    }

    /// For an answer without a grpc-status.
    pub fn from_http(status: u16) -> Self {
        let code = match status {
            400 => code::INTERNAL,
            401 => code::UNAUTHENTICATED,
            403 => code::PERMISSION_DENIED,
            404 => code::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => code::UNAVAILABLE,
            _ => code::UNKNOWN,
        };
        Self::new(code, format!("the server answered HTTP status {status} without a grpc-status")).by(Origin::Peer)
    }

    /// ``peer``, where there is one to name, tells whose fault it was.
    pub fn from_broken(broken: &Broken, peer: &str) -> Self {
        let code = match broken.code {
            None | Some(h2_code::REFUSED_STREAM) => code::UNAVAILABLE,
            Some(h2_code::CANCEL) => code::CANCELLED,
            Some(h2_code::ENHANCE_YOUR_CALM) => code::RESOURCE_EXHAUSTED,
            Some(h2_code::INADEQUATE_SECURITY) => code::PERMISSION_DENIED,
            Some(_) => code::INTERNAL,
        };
        let message = if peer.is_empty() { broken.reason.clone() } else { format!("{peer}: {}", broken.reason) };
        let origin = if broken.code.is_some() { Origin::Peer } else { Origin::Channel };
        Self { unprocessed: broken.unprocessed, ..Self::new(code, message) }.by(origin)
    }

    pub fn deadline_exceeded() -> Self {
        Self::new(code::DEADLINE_EXCEEDED, "Deadline Exceeded")
    }
}

/// Adds grpc-status and, where there is one, grpc-message.
pub fn write(code: i32, message: &str, trailers: &mut Headers) {
    if code == code::OK {
        trailers.push("grpc-status", "0");
    } else {
        trailers.push("grpc-status", code.to_string());
    }
    if !message.is_empty() {
        trailers.push("grpc-message", percent_encode(message));
    }
}

fn percent_encode(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for &byte in message.as_bytes() {
        if matches!(byte, 0x20..=0x7e) && byte != b'%' {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Lenient, as the protocol asks: what is no valid escape stays as it is.
fn percent_decode(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let escaped = (raw[at] == b'%')
            .then(|| raw.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(raw[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        for text in ["", "plain", "100% sure", "line\nbreak", "für 日本", "tab\t"] {
            let mut trailers = Headers::new();
            write(5, text, &mut trailers);
            let status = Status::from_trailers(trailers).unwrap();
            assert_eq!((status.code, status.message.as_str()), (5, text));
        }
    }

    #[test]
    fn a_broken_escape_stays_as_it_is() {
        for raw in ["%", "%4", "%zz", "%+1", "a%"] {
            assert_eq!(percent_decode(raw.as_bytes()), raw);
        }
    }

    #[test]
    fn foreign_and_unreadable_codes_become_unknown() {
        let mut trailers = Headers::new();
        trailers.push("grpc-status", "17");
        trailers.push("grpc-message", "biz");
        let status = Status::from_trailers(trailers).unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, "biz (grpc-status 17)"));
        let trailers: Headers = [("grpc-status", "x")].into_iter().collect();
        assert_eq!(Status::from_trailers(trailers).unwrap().code, 2);
    }
}
