//! What the owners of calls ask for, and the deadlines that act when they do not.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::connection_policy::Due;
use super::message::Framed;
use super::status::{self, Origin, Status, code};
use super::{ANY_NUMBER, CONTENT_TYPE, Call, Connection, MORE_THAN_ONE, Role};
use crate::http2::{self, Headers, Key, Template};

/// What keepalive pings carry; any answer is a sign of life.
const KEEPALIVE: u64 = 0x6b65_6570_616c_6976;

/// As a header list's size counts them (RFC 9113, section 6.5.2): `:status` with its value, and our `content-type`.
const STATUS_FIELD: usize = 32 + ":status".len() + 3;
const CONTENT_TYPE_FIELD: usize = 32 + "content-type".len() + CONTENT_TYPE.len();
const TOO_LARGE: &str = "the answer's metadata are larger than the client takes (SETTINGS_MAX_HEADER_LIST_SIZE)";

impl Connection {
    /// Client: starts a call. `end`: the message given with it is the only one.
    pub fn start(
        &mut self,
        template: Arc<Template>,
        extra: Headers,
        deadline: Option<Instant>,
        only: Option<Framed>,
    ) -> Key {
        let key = self.http2.open(template, extra);
        let mut call = Call::new(self.max_message);
        call.deadline = deadline;
        if let Some(message) = only {
            call.wanted = MORE_THAN_ONE;
            call.unary = true;
            self.http2.send(key, &message.prefix, message.payload, true);
            self.tally.messages_sent += 1;
        }
        self.tally.started += 1;
        call.counted = true;
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

    /// When `expire` is due if nothing happens.
    pub fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let busy = self.occupied();
        let over = self.http2.ended().is_some();
        let timers = self.timers.as_mut().filter(|_| !over).and_then(|timers| {
            timers.calls(busy, now);
            timers.next()
        });
        [self.next_call_deadline(), self.http2.next_deadline(), timers].into_iter().flatten().min()
    }

    /// Calls are in progress, or the first may be on its way: who has not greeted yet is not idle, only slow.
    fn occupied(&self) -> bool {
        self.http2.busy() || !self.http2.greeted()
    }

    fn next_call_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((deadline, key))) = self.deadlines.peek() {
            if self.calls.get(key).is_some_and(|call| call.finished.is_none()) {
                return Some(*deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    pub fn expire(&mut self, now: Instant) {
        self.now = now;
        self.http2.expire(now);
        self.keep_on(now);
        while self.next_call_deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(Reverse((_, key))) = self.deadlines.pop() {
                match self.role {
                    Role::Client => self.cancel(key, Status::deadline_exceeded()),
                    Role::Server => self.give_up(key, Status::deadline_exceeded()),
                }
            }
        }
    }

    fn keep_on(&mut self, now: Instant) {
        let Some(mut timers) = self.timers.take() else { return };
        timers.calls(self.occupied(), now);
        while let Some(due) = timers.due(now) {
            match due {
                Due::Ping => {
                    self.tally.keepalives += 1;
                    self.http2.ping(KEEPALIVE);
                }
                Due::Dead => self.http2.abandon("the peer did not answer a keepalive ping in time"),
                Due::Leave => self.http2.shut_down(),
                Due::End => {
                    self.end_all(
                        &Status::new(code::UNAVAILABLE, "the connection has reached its age").by(Origin::Channel),
                    );
                    self.http2.abandon("the connection has reached its age, and the grace is over");
                }
            }
        }
        self.timers = Some(timers);
    }

    /// Server: ends the call without its handler. The client is told the status unless messages still wait in its way.
    pub(super) fn give_up(&mut self, key: Key, status: Status) {
        let mut trailers = Headers::new();
        status::write(status.code, &status.message, &mut trailers);
        if self.http2.view(key).is_none_or(|view| !view.unsent) {
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

    /// Sends a message. `all_sent` tells when the window has taken it.
    pub fn send(&mut self, key: Key, message: Framed, end: bool) {
        if self.calls.get(&key).is_some_and(|call| call.finished.is_none()) {
            self.http2.send(key, &message.prefix, message.payload, end);
            self.tally.messages_sent += 1;
            self.note_sent(key);
        }
    }

    /// The same. True: the call goes on, and nothing of it waits for the peer.
    pub fn send_on(&mut self, key: Key, message: Framed, end: bool) -> bool {
        self.send(key, message, end);
        self.calls.get(&key).is_some_and(|call| call.finished.is_none() && call.all_sent && !call.cut)
    }

    /// Client: no more messages.
    pub fn half_close(&mut self, key: Key) {
        self.http2.send(key, &[], Bytes::new(), true);
    }

    fn note_sent(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.all_sent = self.http2.view(key).is_none_or(|view| !view.unsent);
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
        let Some(message) = call.inbox.pop_front() else { return self.take_rest(key) };
        if call.wanted != ANY_NUMBER {
            call.wanted = call.inbox.len(); // one was asked for and one is handed out
        }
        Some(message)
    }

    /// Client: a message that nobody had asked for yet when the end of the call came.
    fn take_rest(&mut self, key: Key) -> Option<Bytes> {
        let call = self.calls.get_mut(&key).filter(|call| self.role == Role::Client && call.finished.is_some())?;
        let view = self.http2.view(key)?;
        let message = call.read_on(&mut view.body);
        self.tally.messages_received += u64::from(message.is_some());
        if message.is_none() {
            self.http2.reset(key, http2::code::CANCEL);
        } else if view.body.is_empty() {
            self.http2.forget(key);
        }
        message
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

    /// Server: the response's head; only the first is sent. One that the client would not take ends the call.
    pub fn respond(&mut self, key: Key, headers: Headers) {
        let Some(call) = self.calls.get_mut(&key).filter(|call| call.finished.is_none() && !call.head_sent) else {
            return;
        };
        if self.http2.fits(headers.list_size() + STATUS_FIELD) {
            call.head_sent = true;
            self.http2.respond(key, 200, &headers, false);
        } else {
            self.give_up(key, Status::new(code::RESOURCE_EXHAUSTED, TOO_LARGE));
        }
    }

    /// Server: the end of the response. Without a head before it: Trailers-Only. Of trailers that the client would not
    /// take it gets to know that.
    pub fn finish(&mut self, key: Key, mut trailers: Headers) {
        let Some(call) = self.calls.get_mut(&key).filter(|call| call.finished.is_none()) else { return };
        let head = if call.head_sent { 0 } else { STATUS_FIELD + CONTENT_TYPE_FIELD };
        if !self.http2.fits(trailers.list_size() + head) {
            trailers = Headers::new();
            status::write(code::RESOURCE_EXHAUSTED, TOO_LARGE, &mut trailers);
        }
        call.answered_ok = trailers.get("grpc-status").is_some_and(|code| code == b"0");
        if std::mem::replace(&mut call.head_sent, true) {
            self.http2.send_trailers(key, trailers);
        } else {
            trailers.push("content-type", CONTENT_TYPE);
            self.http2.respond(key, 200, &trailers, true);
        }
        self.note_sent(key);
    }

    /// The owner lets go of a call. A server's answer is still sent, and the client's end still waited for.
    pub fn forget(&mut self, key: Key) {
        match self.calls.get_mut(&key) {
            None => {}
            Some(_) if self.role == Role::Client => self.remove(key),
            Some(call) => {
                call.forgotten = true;
                self.wind_up(key);
            }
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(call) = self.calls.remove(&key) {
            self.tally.count(&call);
        }
        self.http2.forget(key);
    }
}
