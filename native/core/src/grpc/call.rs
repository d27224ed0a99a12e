//! One call's state, and the statuses that its bytes alone decide.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::encoding::{self, Encoding};
use super::malformed::Malformed;
use super::message;
use super::status::{Origin, Status, code};
use super::{MORE_THAN_ONE, Role};
use crate::http2::{self, Headers, View};

/// Of what a peer sent, in the message that refuses it.
const MOST_QUOTED: usize = 100;

/// One call. The driver and its owner read the public fields; only this module writes them.
pub struct Call {
    /// Client: response headers. Server: request headers. Empty for a Trailers-Only answer.
    pub head: Option<Headers>,
    /// Server: `/package.Service/Method`.
    pub path: String,
    pub inbox: VecDeque<Bytes>,
    pub half_closed: bool,
    pub finished: Option<Status>,
    /// Everything given to `send` fits the peer's window.
    pub all_sent: bool,
    /// The peer takes nothing more, whatever there is still to read of it: it reset the stream, was lost, or (client)
    /// has ended its answer.
    pub cut: bool,
    pub deadline: Option<Instant>,
    /// Server: the response's head is on its way.
    pub head_sent: bool,
    /// The owner let go while the last bytes still wait for the peer's window.
    pub(super) forgotten: bool,
    /// It is one of the connection's tally.
    pub(super) counted: bool,
    /// Server: its handler said OK.
    pub(super) answered_ok: bool,
    /// Server: how many bytes behind the answer do not matter.
    pub(super) passed_over: usize,
    /// Client: exactly one message answers it.
    pub(super) unary: bool,
    pub(super) wanted: usize,
    /// Client: what waits unread at the end was looked at, once: it may be a million messages.
    looked_ahead: bool,
    /// What the peer's compressed messages are compressed with.
    pub(super) encoding: Encoding,
    pub(super) limit: usize,
    pub(super) trailers_only: Option<Headers>,
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
            cut: false,
            deadline: None,
            head_sent: false,
            forgotten: false,
            counted: false,
            answered_ok: false,
            passed_over: 0,
            unary: false,
            wanted: 0,
            looked_ahead: false,
            encoding: Encoding::Identity,
            limit,
            trailers_only: None,
        }
    }

    /// Nothing given to `send` waits for room any more.
    pub fn sent(&self) -> bool {
        self.all_sent || self.cut
    }

    /// Server: from now on a field of the head holds these values, as if the client had sent them.
    pub fn replace(&mut self, name: &str, values: &[impl AsRef<[u8]>]) {
        let Some(head) = &mut self.head else { return };
        head.replace(name, values);
        if name == ":path" {
            self.path = path_of(head);
        }
    }

    /// A message to hand out, or the certainty that none will come.
    pub fn message_ready(&self) -> bool {
        !self.inbox.is_empty() || self.over()
    }

    /// Nothing more will come.
    pub fn over(&self) -> bool {
        self.half_closed || self.finished.is_some()
    }

    /// Server: the client understands answers that are compressed like this. It does, too, how it compresses itself.
    pub fn takes(&self, encoding: Encoding) -> bool {
        let accepted = self.head.as_ref().and_then(|head| head.get("grpc-accept-encoding"));
        let mut names = accepted.unwrap_or_default().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        encoding == self.encoding || names.any(|name| name == encoding.name().as_bytes())
    }

    pub(super) fn reads(&self) -> bool {
        self.finished.is_none() && !self.half_closed && self.inbox.len() < self.wanted
    }

    /// What an owner waits to see change.
    pub(super) fn progress(&self) -> (bool, usize, bool, bool) {
        (self.head.is_some(), self.inbox.len(), self.half_closed, self.sent())
    }

    /// Takes what arrived, as far as it is wanted. Err: the call ends with this status, and the peer is to be told so.
    pub(super) fn read(&mut self, role: Role, view: &mut View, peer: &str, now: Instant) -> Result<(), Status> {
        if role == Role::Server {
            if let Some(broken) = &view.broken {
                self.finished = Some(self.broken_off(broken, peer, now));
                return Ok(());
            }
        } else if self.head.is_none() {
            if let Some(head) = view.head.take() {
                self.read_head(head)?;
            }
        }
        self.fill(&mut view.body).map_err(|malformed| refusal(&malformed))?;
        if self.unary && self.inbox.len() == MORE_THAN_ONE {
            return Err(Status::new(code::UNIMPLEMENTED, "a unary call was answered by more than one message"));
        }
        if view.ended && self.reads() && !view.body.is_empty() {
            return Err(Status::new(code::INTERNAL, "the peer ended the stream inside a message"));
        }
        if view.ended {
            if self.reads() || (role == Role::Client && self.unread(&view.body) == Some(view.body.len())) {
                self.finish_reading(role, view.trailers.take());
            }
        } else if let Some(broken) = &view.broken {
            // Whole messages that came before can still be read.
            let over = self.reads() || message::is_partial(&view.body);
            if let Some(whole) = if over { Some(0) } else { self.unread(&view.body) } {
                view.body.truncate(whole);
                self.finished = Some(self.broken_off(broken, peer, now));
            }
        }
        Ok(())
    }

    /// Client: how much of the body, to which nothing is added any more, is messages that nobody has asked for and that
    /// decide nothing about how the call ends. None: one of them does, and the end is known when it is read.
    fn unread(&mut self, body: &[u8]) -> Option<usize> {
        if std::mem::replace(&mut self.looked_ahead, true) {
            return None; // as the first time
        }
        message::readable(body, self.limit, self.encoding != Encoding::Identity)
    }

    /// Client: the next of the messages that waited unread when the end came. One that cannot be read is the end, then.
    pub(super) fn read_on(&mut self, body: &mut BytesMut) -> Option<Bytes> {
        match self.cut(body) {
            Ok(message) => message,
            Err(malformed) => {
                body.clear();
                self.finished = Some(refusal(&malformed));
                None
            }
        }
    }

    /// Client: the response's head, or the whole of a Trailers-Only response. Its end comes with it, or, from peers that are
    /// not so exact, behind it; should messages come instead, nobody has asked for them.
    fn read_head(&mut self, head: Headers) -> Result<(), Status> {
        if head.contains("grpc-status") {
            self.trailers_only = Some(head);
            self.head = Some(Headers::new());
            return Ok(());
        }
        if let Some(status) = not_grpc(&head) {
            self.head = Some(Headers::new());
            return Err(status);
        }
        let encoding = encoding_of(&head);
        self.head = Some(head);
        self.encoding = encoding.map_err(|problem| Status::new(code::INTERNAL, problem))?;
        Ok(())
    }

    fn finish_reading(&mut self, role: Role, trailers: Option<Headers>) {
        if role == Role::Server {
            self.half_closed = true;
            return;
        }
        let trailers = self.trailers_only.take().or(trailers);
        let status = trailers.and_then(Status::from_trailers);
        self.finished = Some(status.unwrap_or_else(|| {
            Status::new(code::UNKNOWN, "the server ended the call without a grpc-status").by(Origin::Peer)
        }));
    }

    /// How the call ended that the peer reset. Both ends know the deadline, and the peer may be the first to act on it.
    fn broken_off(&self, broken: &http2::Broken, peer: &str, now: Instant) -> Status {
        let passed = self.deadline.is_some_and(|deadline| deadline <= now);
        if passed && broken.code == Some(http2::code::CANCEL) {
            return Status::deadline_exceeded();
        }
        Status::from_broken(broken, peer)
    }

    /// Cuts messages out of what arrived, as many as are wanted: only what is asked for is decompressed.
    fn fill(&mut self, body: &mut BytesMut) -> Result<(), Malformed> {
        while self.inbox.len() < self.wanted {
            let Some(message) = self.cut(body)? else { break };
            self.inbox.push_back(message);
        }
        Ok(())
    }

    fn cut(&self, body: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        let Some(message) = message::cut(body, self.limit)? else { return Ok(None) };
        let compressed = message.compressed;
        Ok(Some(if compressed { self.encoding.decompress(&message.payload, self.limit)? } else { message.payload }))
    }
}

/// An answer that is no gRPC: a proxy's page, say. Its body means nothing to us.
fn not_grpc(head: &Headers) -> Option<Status> {
    let status = head.get(":status").unwrap_or_default();
    if status != b"200" {
        let status = status.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')); // HTTP/2 has checked it
        return Some(Status::from_http(status));
    }
    let content_type = head.get("content-type").unwrap_or_default();
    (!content_type.starts_with(b"application/grpc")).then(|| {
        let said = quoted(content_type);
        Status::new(
            code::UNKNOWN,
            format!("the server answered HTTP status 200 with content-type {said}, which is no gRPC"),
        )
        .by(Origin::Peer)
    })
}

/// What the head says its messages are compressed with; the error names what is not understood.
pub(super) fn encoding_of(head: &Headers) -> Result<Encoding, String> {
    match head.get("grpc-encoding") {
        None => Ok(Encoding::Identity),
        Some(name) => Encoding::from_name(name).ok_or_else(|| {
            let name = quoted(name);
            format!("grpc-encoding {name} is not supported; supported: {}", encoding::ACCEPTED)
        }),
    }
}

/// What the peer sent, for a message that names it: a few bytes of HPACK are thousands, and would be sent back as more.
pub(super) fn quoted(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(MOST_QUOTED)]);
    format!("{text:?}{}", if value.len() > MOST_QUOTED { "..." } else { "" })
}

/// What HTTP calls the path, gRPC the method: all of it, so that nothing but its name calls a method.
pub(super) fn path_of(head: &Headers) -> String {
    String::from_utf8_lossy(head.get(":path").unwrap_or_default()).into_owned()
}

fn refusal(malformed: &Malformed) -> Status {
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
