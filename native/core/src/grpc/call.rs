//! One call's state, and the statuses that its bytes alone decide.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::encoding::{self, Encoding};
use super::message::{Assembler, Malformed};
use super::status::{Status, code};
use crate::http2::ResponseHead;

/// One call. The driver and its owner read the public fields; only this module writes them.
pub struct Call {
    /// Client: response headers. Server: request headers. Empty for a Trailers-Only answer.
    pub head: Option<HeaderMap>,
    /// Server: `/package.Service/Method`.
    pub path: String,
    pub inbox: VecDeque<Bytes>,
    pub half_closed: bool,
    pub finished: Option<Status>,
    /// Everything given to `send` fits the peer's window.
    pub all_sent: bool,
    pub deadline: Option<Instant>,
    /// Server: the response's head is on its way.
    pub(super) head_sent: bool,
    /// The owner let go while the last bytes still wait for the peer's window.
    pub(super) forgotten: bool,
    /// Client: exactly one message answers it.
    pub(super) unary: bool,
    pub(super) wanted: usize,
    /// What the peer's compressed messages are compressed with.
    pub(super) encoding: Encoding,
    pub(super) limit: usize,
    pub(super) assembler: Assembler,
    pub(super) trailers_only: Option<HeaderMap>,
}

impl Call {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            head: None,
            path: String::new(),
            inbox: VecDeque::new(),
            half_closed: false,
            finished: None,
            all_sent: true,
            deadline: None,
            head_sent: false,
            forgotten: false,
            unary: false,
            wanted: 0,
            encoding: Encoding::Identity,
            limit,
            assembler: Assembler::new(limit),
            trailers_only: None,
        }
    }

    /// A message to hand out, or the certainty that none will come.
    pub fn message_ready(&self) -> bool {
        !self.inbox.is_empty() || self.half_closed || self.finished.is_some()
    }

    /// Server: the client understands answers that are compressed like this. It does, too, how it compresses itself.
    pub fn takes(&self, encoding: Encoding) -> bool {
        let accepted = self.head.as_ref().and_then(|head| head.get("grpc-accept-encoding"));
        let accepted = accepted.map(HeaderValue::as_bytes).unwrap_or_default();
        let mut names = accepted.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        encoding == self.encoding || names.any(|name| name == encoding.name().as_bytes())
    }

    pub(super) fn reads(&self) -> bool {
        self.finished.is_none() && !self.half_closed && self.inbox.len() < self.wanted
    }

    /// Moves cut messages to the inbox, as many as are wanted: only what is asked for is decompressed.
    pub(super) fn fill(&mut self) -> Result<(), Malformed> {
        while self.inbox.len() < self.wanted {
            let Some(message) = self.assembler.pop() else { break };
            self.inbox.push_back(if message.compressed {
                self.encoding.decompress(&message.payload, self.limit)?
            } else {
                message.payload
            });
        }
        Ok(())
    }
}

/// An answer that is no gRPC: a proxy's page, say. Its body means nothing to us.
pub(super) fn not_grpc(head: &ResponseHead) -> Option<Status> {
    if head.status != 200 {
        return Some(Status::from_http(head.status));
    }
    let content_type = head.headers.get("content-type").map(HeaderValue::as_bytes).unwrap_or_default();
    (!content_type.starts_with(b"application/grpc")).then(|| {
        let said = String::from_utf8_lossy(content_type);
        Status::new(
            code::UNKNOWN,
            format!("the server answered HTTP status 200 with content-type {said:?}, which is no gRPC"),
        )
    })
}

/// What the head says its messages are compressed with; the error names what is not understood.
pub(super) fn encoding_of(head: &HeaderMap) -> Result<Encoding, String> {
    match head.get("grpc-encoding") {
        None => Ok(Encoding::Identity),
        Some(name) => Encoding::from_name(name.as_bytes())
            .ok_or_else(|| format!("grpc-encoding {name:?} is not supported; supported: {}", encoding::ACCEPTED)),
    }
}

pub(super) fn refusal(malformed: &Malformed) -> Status {
    match malformed {
        Malformed::TooLarge { length, limit } => {
            Status::new(code::RESOURCE_EXHAUSTED, format!("Received message larger than max ({length} vs. {limit})"))
        }
        Malformed::NotEncoded => {
            Status::new(code::INTERNAL, "a message is flagged as compressed, though the call names no grpc-encoding")
        }
        Malformed::Undecodable(encoding) => {
            Status::new(code::INTERNAL, format!("a message is not what its grpc-encoding says: {}", encoding.name()))
        }
        Malformed::Flags(flags) => Status::new(code::INTERNAL, format!("a message has unknown flags {flags:#04x}")),
    }
}
