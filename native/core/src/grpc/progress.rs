//! What the peer sent, moved on to the calls it belongs to.

use std::time::Instant;

use bytes::Bytes;

use super::call::encoding_of;
use super::status::{self, Status, code};
use super::{CONTENT_TYPE, Call, Connection, MORE_THAN_ONE, Role, encoding, message, timeout};
use crate::http2::{self, Headers, Key};

/// How much of the body of what is no gRPC is passed over, so that its sender can end it and read the answer.
const REST_OF_PAGE: usize = 16 * 1024;

impl Connection {
    pub(super) fn accept(&mut self, key: Key, head: Headers) {
        if !head.get("content-type").unwrap_or_default().starts_with(b"application/grpc") {
            let plain = [("content-type", "text/plain")].into_iter().collect();
            return self.turn_away(key, 415, &plain, b"this port speaks gRPC: content-type application/grpc\n");
        }
        let mut call = Call::new(self.max_message);
        match encoding_of(&head) {
            Ok(encoding) => call.encoding = encoding,
            Err(problem) => {
                let mut trailers = Headers::new();
                trailers.push("content-type", CONTENT_TYPE);
                trailers.push("grpc-accept-encoding", encoding::ACCEPTED);
                status::write(code::UNIMPLEMENTED, &problem, &mut trailers);
                return self.turn_away(key, 200, &trailers, b"");
            }
        }
        call.path = path_of(&head);
        call.deadline =
            head.get("grpc-timeout").and_then(timeout::decode).and_then(|timeout| Instant::now().checked_add(timeout));
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
        if call.finished.is_some() {
            return;
        }
        if call.forgotten {
            return self.wind_up(key);
        }
        let Some(view) = self.http2.view(key) else { return };
        let (before, had) = (call.progress(), call.inbox.len());
        let read = call.read(self.role, view, &self.peer);
        call.all_sent = !view.unsent;
        self.tally.messages_received += (call.inbox.len() - had) as u64;
        call.cut = view.broken.is_some() || (self.role == Role::Client && view.ended);
        match read {
            Err(status) => call.finished = Some(refuse(&mut self.http2, self.role, key, call, status)),
            Ok(()) if call.reads() => {
                let missing = message::missing(&view.body);
                self.http2.release(key, missing);
            }
            Ok(()) => {}
        }
        if before != call.progress() || call.finished.is_some() {
            self.changed.push(key);
        }
        // What a server refuses it has still to answer.
        if call.finished.is_some() && (self.role == Role::Client || call.cut) {
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

/// What HTTP calls the path, gRPC the method: all of it, so that nothing but its name calls a method.
fn path_of(head: &Headers) -> String {
    String::from_utf8_lossy(head.get(":path").unwrap_or_default()).into_owned()
}

/// Ends a call over something that cannot be read: a server still answers with the status, a client tells the peer.
fn refuse(http2: &mut http2::Connection, role: Role, key: Key, call: &mut Call, status: Status) -> Status {
    if role == Role::Server && !std::mem::replace(&mut call.head_sent, true) {
        let mut trailers = Headers::new();
        trailers.push("content-type", CONTENT_TYPE);
        status::write(status.code, &status.message, &mut trailers);
        http2.respond(key, 200, &trailers, true);
    } else {
        http2.reset(key, http2::code::CANCEL);
    }
    status
}
