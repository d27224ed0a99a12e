//! The smallest protocol with numbered calls, for tests: it proves that the drivers carry another one than gRPC.
//!
//! Either side begins with `PREFACE`. Then frames: the payload's length (4 bytes), the call's number (8), a kind (1), the
//! payload. A request's payload begins with its time-out in milliseconds (4 bytes; 0: none).

#![forbid(unsafe_code)]

mod connection;
mod protocol;
#[cfg(test)]
mod tests;

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use proxyless_core::grpc::status::Status;
use proxyless_drive::protocol::Outcome;
use proxyless_tls::detect::{Detected, Spoken, begins_with};

pub use connection::Connection;

pub const PREFACE: &[u8] = b"ECHO/1\r\n";

pub const ECHO: Spoken = Spoken { name: "echo", detect, application: "", alpn: &["echo"] };

fn detect(first: &[u8]) -> Detected {
    begins_with(PREFACE, first)
}

/// A longer payload ends the connection.
pub const LONGEST: usize = 16 * 1024 * 1024;
const HEAD: usize = 13;

const REQUEST: u8 = 0;
const REPLY: u8 = 1;
/// The payload is a status code and its text.
const FAILURE: u8 = 2;
/// The client has given the call up.
const CANCEL: u8 = 3;
/// No new calls.
const GO_AWAY: u8 = 4;

pub type Key = u64;

pub struct Call {
    /// Server: what was asked. Client: the answer.
    pub payload: Option<Bytes>,
    pub deadline: Option<Instant>,
    pub finished: Option<Status>,
}

pub struct Ended {
    pub status: Status,
    pub payload: Option<Bytes>,
}

impl Outcome for Ended {
    fn without_message(&self) -> Self {
        Self { status: self.status.clone(), payload: None }
    }
}

struct Frame {
    key: Key,
    kind: u8,
    payload: Bytes,
}

/// The next frame, once it is whole.
fn cut(input: &mut BytesMut) -> Result<Option<Frame>, String> {
    let Some(mut head) = input.get(..HEAD) else { return Ok(None) };
    let (length, key, kind) = (head.get_u32() as usize, head.get_u64(), head.get_u8());
    if length > LONGEST {
        return Err(format!("a frame of {length} bytes, where {LONGEST} are the most"));
    }
    if input.len() < HEAD + length {
        return Ok(None);
    }
    input.advance(HEAD);
    Ok(Some(Frame { key, kind, payload: input.split_to(length).freeze() }))
}
