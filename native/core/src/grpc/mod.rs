//! gRPC over one HTTP/2 connection, sans I/O: calls, messages, status, deadlines.
//!
//! A call's life, as seen from here:
//! - the head (client: the response's metadata; server: the request),
//! - messages, pulled from HTTP/2 only while fewer are ready than `wanted` (so an unread stream closes its window),
//! - the end: `half_closed` (server: the client sent its last message) and `finished` (client: the status;
//!   server: the client cancelled, its deadline passed, or the connection was lost).
//!
//! `advance` moves everything that can move and notes the keys of calls that changed; the driver wakes their owners.

pub mod call;
pub mod encoding;
pub mod message;
pub mod status;
pub mod timeout;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use crate::http2::{self, Incoming, Key, RequestHead, Settings};
pub use call::Call;
use call::{encoding_of, not_grpc, refusal};
use status::{Status, code};

pub const ANY_NUMBER: usize = usize::MAX;
/// A unary call reads its message and looks behind it; what a peer sends beyond that is not kept.
const MORE_THAN_ONE: usize = 2;
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

pub struct Connection {
    http2: http2::Connection,
    role: Role,
    peer: String,
    calls: HashMap<Key, Call>,
    deadlines: BinaryHeap<Reverse<(Instant, Key)>>,
    max_message: usize,
    accepted: Vec<Key>,
    changed: Vec<Key>,
    ready: Vec<Key>,
    arrived: Vec<(Key, RequestHead)>,
}

impl Connection {
    fn new(http2: http2::Connection, role: Role, max_message: usize, peer: String) -> Self {
        Self {
            http2,
            role,
            peer,
            calls: HashMap::new(),
            deadlines: BinaryHeap::new(),
            max_message,
            accepted: Vec::new(),
            changed: Vec::new(),
            ready: Vec::new(),
            arrived: Vec::new(),
        }
    }

    /// ``peer`` names the other side in messages.
    pub fn client(settings: &Settings, max_message: usize, peer: String) -> Self {
        Self::new(http2::Connection::client(settings), Role::Client, max_message, peer)
    }

    pub fn server(settings: &Settings, max_message: usize) -> Self {
        Self::new(http2::Connection::server(settings), Role::Server, max_message, String::new())
    }

    // ---- bytes and progress

    pub fn feed(&mut self, bytes: &[u8]) {
        self.http2.feed(bytes);
    }

    pub fn feed_eof(&mut self) {
        self.http2.feed_eof();
    }

    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        self.http2.take_output(out);
    }

    pub fn usable(&self) -> bool {
        self.http2.usable()
    }

    pub fn ended(&self) -> Option<&str> {
        self.http2.ended()
    }

    /// Moves all that can move.
    pub fn advance(&mut self) {
        loop {
            let mut ready = std::mem::take(&mut self.ready);
            self.http2.advance(&mut self.arrived, &mut ready);
            for (key, head) in std::mem::take(&mut self.arrived) {
                self.accept(key, head);
            }
            for key in ready.drain(..) {
                self.progress(key);
            }
            self.ready = ready;
            if !self.http2.moved() {
                return;
            }
        }
    }

    /// The calls that changed since the last time; each should be shown to its owner.
    pub fn take_changed(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.changed)
    }

    /// Server: the calls that came since the last time.
    pub fn take_accepted(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.accepted)
    }

    pub fn call(&self, key: Key) -> Option<&Call> {
        self.calls.get(&key)
    }

    pub fn call_mut(&mut self, key: Key) -> Option<&mut Call> {
        self.calls.get_mut(&key)
    }

    fn accept(&mut self, key: Key, head: RequestHead) {
        let content_type = head.headers.get("content-type").map(HeaderValue::as_bytes).unwrap_or_default();
        if !content_type.starts_with(b"application/grpc") {
            self.http2.respond(key, StatusCode::UNSUPPORTED_MEDIA_TYPE, HeaderMap::new(), true);
            self.http2.forget(key);
            return;
        }
        let mut call = Call::new(self.max_message);
        match encoding_of(&head.headers) {
            Ok(encoding) => call.encoding = encoding,
            Err(problem) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-accept-encoding", HeaderValue::from_static(encoding::ACCEPTED));
                status::write(code::UNIMPLEMENTED, &problem, &mut trailers);
                trailers.insert("content-type", CONTENT_TYPE);
                self.http2.respond(key, StatusCode::OK, trailers, true);
                return self.http2.forget(key);
            }
        }
        call.path = head.path.path().to_owned();
        call.deadline = head
            .headers
            .get("grpc-timeout")
            .and_then(|value| timeout::decode(value.as_bytes()))
            .and_then(|timeout| Instant::now().checked_add(timeout));
        call.head = Some(head.headers);
        // A unary request is whole without being asked for.
        call.wanted = MORE_THAN_ONE;
        self.calls.insert(key, call);
        self.watch_deadline(key);
        self.accepted.push(key);
        self.progress(key);
    }

    fn progress(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.finished.is_some() {
            return;
        }
        if call.forgotten {
            return self.wind_up(key);
        }
        let before = (call.head.is_some(), call.inbox.len(), call.half_closed, call.all_sent);
        match self.role {
            Role::Client => {
                if call.head.is_none() {
                    match self.http2.response(key) {
                        Poll::Pending => {}
                        Poll::Ready(Ok(head)) => {
                            if head.headers.contains_key("grpc-status") {
                                call.trailers_only = Some(head.headers);
                                call.head = Some(HeaderMap::new());
                                call.wanted = ANY_NUMBER;
                            } else if let Some(status) = not_grpc(&head) {
                                call.head = Some(HeaderMap::new());
                                call.finished = Some(status);
                                self.http2.reset(key, http2::code::CANCEL);
                            } else {
                                match encoding_of(&head.headers) {
                                    Ok(encoding) => call.encoding = encoding,
                                    Err(problem) => {
                                        call.finished = Some(Status::new(code::INTERNAL, problem));
                                        self.http2.reset(key, http2::code::CANCEL);
                                    }
                                }
                                call.head = Some(head.headers);
                            }
                        }
                        Poll::Ready(Err(broken)) => {
                            call.finished = Some(broken_off(call.deadline, &broken, &self.peer))
                        }
                    }
                }
            }
            Role::Server => {
                if let Some(broken) = self.http2.reset_by_peer(key) {
                    call.finished = Some(broken_off(call.deadline, &broken, &self.peer));
                }
            }
        }
        if let Err(malformed) = call.fill() {
            call.finished = Some(refuse(&mut self.http2, self.role, key, call, refusal(&malformed)));
        }
        while call.reads() {
            match self.http2.data(key) {
                Incoming::Pending => break,
                Incoming::Data(data) => {
                    if let Err(malformed) = call.assembler.push(data).and_then(|()| call.fill()) {
                        call.finished = Some(refuse(&mut self.http2, self.role, key, call, refusal(&malformed)));
                    }
                }
                Incoming::End(_) if !call.assembler.is_empty() => {
                    let status = Status::new(code::INTERNAL, "the peer ended the stream inside a message");
                    call.finished = Some(refuse(&mut self.http2, self.role, key, call, status));
                }
                Incoming::End(trailers) => finish_reading(self.role, call, trailers),
                Incoming::Broken(broken) => call.finished = Some(broken_off(call.deadline, &broken, &self.peer)),
            }
        }
        if call.unary && call.finished.is_none() && call.inbox.len() == MORE_THAN_ONE {
            call.finished =
                Some(Status::new(code::UNIMPLEMENTED, "a unary call was answered by more than one message"));
            self.http2.reset(key, http2::code::CANCEL);
        }
        call.all_sent = self.http2.sent(key);
        let after = (call.head.is_some(), call.inbox.len(), call.half_closed, call.all_sent);
        if before != after || call.finished.is_some() {
            self.changed.push(key);
        }
        if call.finished.is_some() && self.role == Role::Client {
            self.http2.forget(key);
        }
    }

    // ---- commands

    /// Client: starts a call. `end`: the message given with it is the only one.
    pub fn start(&mut self, request: Request<()>, deadline: Option<Instant>, only: Option<Bytes>) -> Key {
        let key = self.http2.open(request, false);
        let mut call = Call::new(self.max_message);
        call.deadline = deadline;
        if let Some(message) = only {
            call.wanted = MORE_THAN_ONE;
            call.unary = true;
            self.http2.send(key, message, true);
        }
        self.calls.insert(key, call);
        key
    }

    /// Lets the deadline be enforced by `expire`, for calls that no thread waits for.
    pub fn watch_deadline(&mut self, key: Key) {
        if let Some(deadline) = self.calls.get(&key).and_then(|call| call.deadline) {
            self.deadlines.push(Reverse((deadline, key)));
        }
        // Most calls end long before their deadline: do not let theirs pile up.
        if self.deadlines.len() > 64 + 2 * self.calls.len() {
            let calls = &self.calls;
            self.deadlines.retain(|Reverse((_, key))| calls.get(key).is_some_and(|call| call.finished.is_none()));
        }
    }

    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((deadline, key))) = self.deadlines.peek() {
            if self.calls.get(key).is_some_and(|call| call.finished.is_none()) {
                return Some(*deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    pub fn expire(&mut self, now: Instant) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(Reverse((_, key))) = self.deadlines.pop() {
                match self.role {
                    Role::Client => self.cancel(key, Status::deadline_exceeded()),
                    Role::Server => self.give_up(key, Status::deadline_exceeded()),
                }
            }
        }
    }

    /// Server: ends the call without its handler. The client is told the status unless messages still wait in its way.
    fn give_up(&mut self, key: Key, status: Status) {
        let mut trailers = HeaderMap::new();
        status::write(status.code, &status.message, &mut trailers);
        if self.http2.sent(key) {
            self.finish(key, trailers);
        } else {
            self.http2.reset(key, http2::code::CANCEL);
        }
        if let Some(call) = self.calls.get_mut(&key) {
            call.finished = Some(status);
            self.changed.push(key);
            if call.forgotten {
                self.remove(key);
            }
        }
    }

    /// Sends a message (already framed). `all_sent` tells when the window has taken it.
    pub fn send(&mut self, key: Key, message: Bytes, end: bool) {
        if self.calls.get(&key).is_some_and(|call| call.finished.is_none()) {
            self.http2.send(key, message, end);
            self.note_sent(key);
        }
    }

    /// Client: no more messages.
    pub fn half_close(&mut self, key: Key) {
        self.http2.send(key, Bytes::new(), true);
    }

    fn note_sent(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.all_sent = self.http2.sent(key);
        }
    }

    /// Reads on until so many messages wait in the inbox.
    pub fn want(&mut self, key: Key, messages: usize) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.wanted = call.wanted.max(messages);
            self.progress(key);
        }
    }

    pub fn take_message(&mut self, key: Key) -> Option<Bytes> {
        let call = self.calls.get_mut(&key)?;
        let message = call.inbox.pop_front()?;
        if call.wanted != ANY_NUMBER {
            call.wanted = call.inbox.len(); // one was asked for and one is handed out
        }
        Some(message)
    }

    /// Client: gives the call up; the server is told with RST_STREAM(CANCEL).
    pub fn cancel(&mut self, key: Key, status: Status) {
        if let Some(call) = self.calls.get_mut(&key) {
            if call.finished.is_none() {
                call.finished = Some(status);
                self.http2.reset(key, http2::code::CANCEL);
                self.changed.push(key);
            }
        }
    }

    /// Server: the response's head; only the first is sent.
    pub fn respond(&mut self, key: Key, headers: HeaderMap) {
        if let Some(call) = self.calls.get_mut(&key) {
            if call.finished.is_none() && !std::mem::replace(&mut call.head_sent, true) {
                self.http2.respond(key, StatusCode::OK, headers, false);
            }
        }
    }

    /// Server: the end of the response. Without a head before it: Trailers-Only.
    pub fn finish(&mut self, key: Key, mut trailers: HeaderMap) {
        let Some(call) = self.calls.get_mut(&key).filter(|call| call.finished.is_none()) else { return };
        if std::mem::replace(&mut call.head_sent, true) {
            self.http2.send_trailers(key, trailers);
        } else {
            trailers.insert("content-type", CONTENT_TYPE);
            self.http2.respond(key, StatusCode::OK, trailers, true);
        }
        self.note_sent(key);
    }

    /// The owner lets go of a call. A server's answer is still sent, and the client's end still waited for.
    pub fn forget(&mut self, key: Key) {
        match self.calls.get_mut(&key) {
            None => {}
            Some(call) if call.finished.is_some() || self.role == Role::Client => self.remove(key),
            Some(call) => {
                call.forgotten = true;
                self.wind_up(key);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        self.calls.remove(&key);
        self.http2.forget(key);
    }

    /// Server: the handler is through. A client that reads the answer ends the stream by itself; resetting it at once
    /// would race with the answer (grpcio's asyncio client then reports an error of its own). One that goes on sending
    /// is reset.
    fn wind_up(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.all_sent = self.http2.sent(key);
        let mut over = self.http2.reset_by_peer(key).is_some();
        while !over && !call.half_closed {
            match self.http2.data(key) {
                Incoming::Pending => break,
                Incoming::Data(_) if call.all_sent => {
                    self.http2.reset(key, http2::code::NO_ERROR);
                    over = true;
                }
                Incoming::Data(_) => {}
                Incoming::End(_) => call.half_closed = true,
                Incoming::Broken(_) => over = true,
            }
        }
        if over || (call.half_closed && call.all_sent) {
            self.remove(key);
        }
    }

    /// Ends every call at once with the same status.
    pub fn end_all(&mut self, status: &Status) {
        let open = self.calls.iter().filter(|(_, call)| call.finished.is_none()).map(|(key, _)| *key);
        for key in open.collect::<Vec<_>>() {
            match self.role {
                Role::Client => self.cancel(key, status.clone()),
                Role::Server => self.give_up(key, status.clone()),
            }
        }
    }

    pub fn shut_down(&mut self) {
        self.http2.shut_down();
    }
}

/// Ends a call over a message that cannot be read: a server still answers with the status, a client tells the peer.
fn refuse(http2: &mut http2::Connection, role: Role, key: Key, call: &mut Call, status: Status) -> Status {
    if role == Role::Server && !std::mem::replace(&mut call.head_sent, true) {
        let mut trailers = HeaderMap::new();
        trailers.insert("content-type", CONTENT_TYPE);
        status::write(status.code, &status.message, &mut trailers);
        http2.respond(key, StatusCode::OK, trailers, true);
    } else {
        http2.reset(key, http2::code::CANCEL);
    }
    status
}

/// How a call ended that the peer reset. Both ends know the deadline, and the peer may be the first to act on it.
fn broken_off(deadline: Option<Instant>, broken: &http2::Broken, peer: &str) -> Status {
    let passed = deadline.is_some_and(|deadline| deadline <= Instant::now());
    if passed && broken.code == Some(http2::code::CANCEL) {
        return Status::deadline_exceeded();
    }
    Status::from_broken(broken, peer)
}

fn finish_reading(role: Role, call: &mut Call, trailers: Option<HeaderMap>) {
    match role {
        Role::Server => call.half_closed = true,
        Role::Client => {
            let trailers = call.trailers_only.take().or(trailers);
            call.finished = Some(
                trailers
                    .as_ref()
                    .and_then(Status::from_trailers)
                    .unwrap_or_else(|| Status::new(code::UNKNOWN, "the server ended the call without a grpc-status")),
            );
        }
    }
}
