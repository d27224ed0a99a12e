//! What the peer sent, moved on to the calls it belongs to.

use bytes::Bytes;

use super::call::{encoding_of, path_of, quoted};
use super::status::{self, Status, code};
use super::{CONTENT_TYPE, Call, Connection, MORE_THAN_ONE, Role, encoding, message, timeout};
use crate::http2::{self, Headers, Key};

/// How much of the body of what is no gRPC is passed over, so that its sender can end it and read the answer.
const REST_OF_PAGE: usize = 16 * 1024;
/// What our handlers read: protobuf, or bytes of their own that gRPC does not name.
const CODECS: &str = "application/grpc, application/grpc+proto";

impl Connection {
    pub(super) fn accept(&mut self, key: Key, head: Headers) {
        if head.get(":method").unwrap_or_default() != b"POST" {
            let plain = [("content-type", "text/plain"), ("allow", "POST")].into_iter().collect();
            return self.turn_away(key, 405, &plain, b"this port speaks gRPC: :method POST\n");
        }
        let content_type = head.get("content-type").unwrap_or_default();
        let Some(codec) = codec(content_type) else {
            let plain = [("content-type", "text/plain")].into_iter().collect();
            return self.turn_away(key, 415, &plain, b"this port speaks gRPC: content-type application/grpc\n");
        };
        if !codec.is_empty() && !codec.eq_ignore_ascii_case(b"proto") {
            let said = quoted(content_type);
            return self.refuse_unseen(key, &format!("content-type {said} is not supported; supported: {CODECS}"));
        }
        let mut call = Call::new(self.max_message);
        match encoding_of(&head) {
            Ok(encoding) => call.encoding = encoding,
            Err(problem) => return self.refuse_unseen(key, &problem),
        }
        call.path = path_of(&head);
        call.deadline =
            head.get("grpc-timeout").and_then(timeout::decode).and_then(|timeout| self.now.checked_add(timeout));
        call.head = Some(head);
        // A unary request is whole without being asked for.
        call.wanted = MORE_THAN_ONE;
        self.tally.started += 1;
        call.counted = true;
        self.calls.insert(key, call);
        self.watch_deadline(key);
        self.accepted.push(key);
        self.progress(key);
    }

    /// Answers a call that nobody here could read.
    fn refuse_unseen(&mut self, key: Key, problem: &str) {
        let mut trailers = Headers::new();
        trailers.push("content-type", CONTENT_TYPE);
        trailers.push("grpc-accept-encoding", encoding::ACCEPTED);
        status::write(code::UNIMPLEMENTED, problem, &mut trailers);
        self.turn_away(key, 200, &trailers, b"");
    }

    /// Answers a request that no handler sees.
    fn turn_away(&mut self, key: Key, status: u16, headers: &Headers, body: &'static [u8]) {
        self.http2.respond(key, status, headers, body.is_empty());
        if !body.is_empty() {
            self.http2.send(key, &[], Bytes::from_static(body), true);
        }
        let mut call = Call::new(self.max_message);
        call.forgotten = true;
        call.passed_over = REST_OF_PAGE;
        self.calls.insert(key, call);
        self.wind_up(key);
    }

    pub(super) fn progress(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.forgotten {
            return self.wind_up(key);
        }
        if call.finished.is_some() {
            return;
        }
        let Some(view) = self.http2.view(key) else { return };
        let (before, had) = (call.progress(), call.inbox.len());
        let read = call.read(self.role, view, &self.peer, self.now);
        call.all_sent = !view.unsent;
        self.tally.messages_received += (call.inbox.len() - had) as u64;
        call.cut = view.broken.is_some() || (self.role == Role::Client && view.ended);
        let unread = !view.body.is_empty();
        match read {
            Err(status) => call.finished = Some(refuse(&mut self.http2, self.role, key, call, status)),
            Ok(()) if call.reads() => {
                let missing = message::missing(&view.body);
                self.http2.release(key, missing);
            }
            Ok(()) => self.http2.taken(key),
        }
        if before != call.progress() || call.finished.is_some() {
            self.changed.push(key);
        }
        // What a server refuses it has still to answer, and what came before the end a client can still read.
        if call.finished.is_some() && if self.role == Role::Client { !unread } else { call.cut } {
            self.http2.forget(key);
        }
    }

    /// Server: the handler is through. A client that reads the answer ends the stream by itself; resetting it at once
    /// would race with the answer (grpcio's asyncio client then reports an error of its own). One that goes on sending
    /// is reset.
    pub(super) fn wind_up(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(view) = self.http2.view(key) else { return self.remove(key) };
        call.all_sent = !view.unsent;
        call.half_closed |= view.ended;
        if view.broken.is_some() || (call.half_closed && call.all_sent) {
            return self.remove(key);
        }
        if !view.body.is_empty() {
            let length = view.body.len();
            view.body.clear();
            if call.all_sent && length > call.passed_over {
                self.http2.reset(key, http2::code::NO_ERROR);
                return self.remove(key);
            }
            call.passed_over = call.passed_over.saturating_sub(length);
            self.http2.release(key, 0);
        }
    }
}

/// What the messages are written in, by `application/grpc[+codec][;parameters]`; empty where it is not said. None: it is
/// no gRPC (gRPC-Web is another protocol).
fn codec(content_type: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = content_type.split_at_checked(CONTENT_TYPE.len())?;
    if !kind.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()) {
        return None;
    }
    let named = rest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if named.is_empty() { Some(named) } else { named.strip_prefix(b"+") }
}

/// Ends a call over something that cannot be read: a server still answers with the status, behind what its handler has
/// said so far; a client tells the peer.
fn refuse(http2: &mut http2::Connection, role: Role, key: Key, call: &mut Call, status: Status) -> Status {
    if role == Role::Client {
        http2.reset(key, http2::code::CANCEL);
        return status;
    }
    let mut trailers = Headers::new();
    status::write(status.code, &status.message, &mut trailers);
    if std::mem::replace(&mut call.head_sent, true) {
        http2.send_trailers(key, trailers);
    } else {
        trailers.push("content-type", CONTENT_TYPE);
        http2.respond(key, 200, &trailers, true);
    }
    call.passed_over = REST_OF_PAGE;
    status
}
