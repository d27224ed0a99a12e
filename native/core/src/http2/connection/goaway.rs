//! How connections and streams end: GOAWAY both ways, RST_STREAM both ways, and what is known of streams that are gone.

use super::bandwidth::PROBE;
use super::fault::Fault;
use super::stream::{Receiving, Sending, Stream};
use super::{Closed, Connection, Role};
use crate::http2::frame::{self, code, flag, kind};
use crate::http2::{Broken, Key};

/// How many ended streams are remembered, to tell a late frame from one that has no place.
const REMEMBERED: usize = 1024;
/// Names the ping that goes with a graceful GOAWAY.
const LAST_CALL: u64 = 0x6c61_7374_6361_6c6c;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    No,
    /// Server: new streams are taken until the peer has answered the ping, thus knows.
    Announced,
    /// No stream over this one is taken.
    Final(Key),
}

impl Connection {
    /// Graceful end: no new streams; open ones finish; then the connection is over.
    pub fn shut_down(&mut self) {
        if self.leaving != Leaving::No || self.ended.is_some() {
            return;
        }
        match self.role {
            Role::Client => {
                self.leaving = Leaving::Final(0);
                self.say_goaway(0, code::NO_ERROR, "");
                self.refuse_waiting("the connection is closing");
            }
            // Who has not greeted has no stream on its way that a grace would serve.
            Role::Server if !self.greeted() => {
                self.leaving = Leaving::Final(0);
                self.say_goaway(0, code::NO_ERROR, "");
            }
            Role::Server => {
                self.leaving = Leaving::Announced;
                self.say_goaway(frame::LARGEST_STREAM, code::NO_ERROR, "");
                self.output.frame(kind::PING, 0, 0, &LAST_CALL.to_be_bytes());
            }
        }
        self.end_if_done();
    }

    /// The end, now: what the peer has sent and nobody has read is not processed, and it is told so.
    pub fn part(&mut self) {
        self.shut_down();
        if self.leaving == Leaving::Announced && self.ended.is_none() {
            self.leaving = Leaving::Final(self.last_peer);
            self.say_goaway(self.last_peer, code::NO_ERROR, "");
            self.end_if_done();
        }
    }

    pub(super) fn say_goaway(&mut self, last: Key, code: u32, reason: &str) {
        let payload = [&last.to_be_bytes()[..], &code.to_be_bytes(), reason.as_bytes()].concat();
        self.output.frame(kind::GOAWAY, 0, 0, &payload);
    }

    /// Asks the peer for a sign of life: any byte from it is one.
    pub fn ping(&mut self, opaque: u64) {
        if self.ended.is_none() {
            self.output.frame(kind::PING, 0, 0, &opaque.to_be_bytes());
        }
    }

    pub(super) fn on_pong(&mut self, opaque: u64) {
        if opaque == PROBE {
            self.bandwidth.answered(self.local_window, self.now);
        }
        if opaque == LAST_CALL && self.leaving == Leaving::Announced {
            self.leaving = Leaving::Final(self.last_peer);
            self.say_goaway(self.last_peer, code::NO_ERROR, "");
        }
    }

    pub(super) fn end_if_done(&mut self) {
        if self.open > 0 || self.ended.is_some() {
            return;
        }
        if matches!(self.leaving, Leaving::Final(_)) {
            self.end("closed by this side");
        } else if self.told.is_some() && self.role == Role::Client {
            self.end("the peer is going away");
        }
    }

    pub(super) fn on_goaway(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let (Some(last), Some(code)) = (payload.first_chunk::<4>(), payload.get(4..8)) else {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "a GOAWAY that is too short"));
        };
        self.spend_prelude("too many GOAWAYs")?;
        let last = u32::from_be_bytes(*last) & frame::LARGEST_STREAM;
        let last = self.told.map_or(last, |before| before.min(last));
        self.told = Some(last);
        let code = frame::number(code);
        let said = String::from_utf8_lossy(&payload[8..payload.len().min(8 + 256)]).into_owned();
        let mut reason = String::from("the peer is going away and did not take the call");
        if code != code::NO_ERROR {
            reason = format!("{reason} ({}{}{said})", code::name(code), if said.is_empty() { "" } else { ": " });
        }
        if self.role == Role::Client {
            self.refuse_waiting(&reason);
            let late: Vec<Key> = self
                .streams
                .iter()
                .filter(|(key, stream)| **key > last && stream.open())
                .map(|(key, _)| *key)
                .collect();
            for key in late {
                self.drop_stream(key, Broken { code: None, unprocessed: true, reason: reason.clone() });
            }
        }
        Ok(())
    }

    pub(super) fn spend_prelude(&mut self, reason: &'static str) -> Result<(), Fault> {
        if self.budgets.preludes.spend(self.now) {
            return Ok(());
        }
        Err(Fault::connection(code::ENHANCE_YOUR_CALM, reason))
    }

    fn refuse_waiting(&mut self, reason: &str) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.request = None;
                stream.view.broken = Some(Broken { code: None, unprocessed: true, reason: reason.to_owned() });
                self.note(key);
            }
        }
    }

    // ---- streams

    /// The stream's owner hears that it broke; nothing is sent.
    pub(super) fn drop_stream(&mut self, key: Key, broken: Broken) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let was_open = stream.open();
        let late = stream.late_window();
        stream.view.broken.get_or_insert(broken);
        stream.queue.clear();
        stream.view.unsent = false;
        self.held -= std::mem::take(&mut stream.held);
        if was_open {
            self.expect_late(late);
            self.closed_one();
        }
        self.note(key);
    }

    /// The peer's fault on one stream: reset, and the owner told.
    pub(super) fn break_stream(&mut self, key: Key, code: u32, reason: &'static str) {
        self.counters.malformed += 1;
        self.output.reply(kind::RST_STREAM, 0, key, &code.to_be_bytes());
        let known = self.streams.contains_key(&key);
        match known {
            true => self.drop_stream(key, Broken { code: Some(code), unprocessed: false, reason: reason.to_owned() }),
            false => self.remember(key, Closed::ByUs),
        }
        // A peer may make us reset its streams while its requests are worked on (CVE-2025-8671). A server can do no more
        // to a client than fail its calls, but for frames on streams that are none.
        if (self.role == Role::Server || !known) && !self.budgets.resets.spend(self.now) {
            self.give_up(Fault::connection(code::ENHANCE_YOUR_CALM, "too many streams that break the protocol"));
        }
    }

    pub(super) fn on_reset(&mut self, key: Key, payload: &[u8]) -> Result<(), Fault> {
        if key == 0 || self.idle(key) {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "RST_STREAM without a stream"));
        }
        if payload.len() != 4 {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "RST_STREAM of another length than four"));
        }
        let code = frame::number(payload);
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        if !stream.open() {
            return Ok(());
        }
        stream.reset_by_peer = true;
        let early = !stream.answered;
        self.counters.reset_by_peer += 1;
        let unprocessed = code == code::REFUSED_STREAM;
        let reason = format!("the peer reset the stream: {}", code::name(code));
        self.drop_stream(key, Broken { code: Some(code), unprocessed, reason });
        if self.role == Role::Server && early {
            self.counters.reset_early += 1;
            if !self.budgets.resets.spend(self.now) {
                return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "too many streams reset"));
            }
        }
        Ok(())
    }

    /// Ends the stream at once with RST_STREAM, or unsent if it still waited.
    pub fn reset(&mut self, key: Key, code: u32) {
        let Some(stream) = self.remove(key) else { return };
        if stream.open() {
            self.output.frame(kind::RST_STREAM, 0, key, &code.to_be_bytes());
            self.remember(key, Closed::ByUs);
            self.expect_late(stream.late_window());
            self.closed_one();
        }
    }

    /// Lets go of a stream. One that is still open is reset: with NO_ERROR if one side had ended it.
    pub fn forget(&mut self, key: Key) {
        let Some(stream) = self.streams.get(&key) else { return };
        if stream.open() {
            let over = stream.sending == Sending::Ended || stream.receiving == Receiving::Ended;
            return self.reset(key, if over { code::NO_ERROR } else { code::CANCEL });
        }
        let ended = match stream {
            Stream { reset_by_peer: true, .. } => Closed::ByPeer,
            Stream { view, .. } if view.broken.is_some() => Closed::ByUs,
            _ => Closed::Regularly,
        };
        self.remove(key);
        self.remember(key, ended);
    }

    fn remove(&mut self, key: Key) -> Option<Stream> {
        let stream = self.streams.remove(&key)?;
        self.held -= stream.held;
        self.wide -= stream.wide;
        self.top_up();
        Some(stream)
    }

    /// One stream less counts against the limit.
    pub(super) fn closed_one(&mut self) {
        self.open -= 1;
        self.turnover += 1;
        if !self.waiting.is_empty() {
            self.open_waiting();
        }
    }

    pub(super) fn remember(&mut self, key: Key, ended: Closed) {
        if self.role == Role::Server {
            if self.closed.len() == REMEMBERED {
                self.closed.pop_front();
            }
            self.closed.push_back((key, ended));
        }
    }

    /// Not opened yet by whose turn it is.
    pub(super) fn idle(&self, key: Key) -> bool {
        match self.role {
            Role::Client => key % 2 == 0 || key >= self.next,
            Role::Server => key % 2 == 0 || key > self.last_peer,
        }
    }

    /// A DATA frame (or HEADERS) for a stream that is not kept any more.
    pub(super) fn late(&self, key: Key, frame_kind: u8) -> Result<(), Fault> {
        if self.role == Role::Client {
            return Ok(()); // the server may not know yet that the call was cancelled
        }
        let ended = self.closed.iter().rev().find(|(closed, _)| *closed == key).map(|(_, ended)| *ended);
        match (ended, frame_kind) {
            (Some(Closed::ByUs), _) => Ok(()),
            (Some(Closed::Regularly), kind::HEADERS) => {
                Err(Fault::connection(code::STREAM_CLOSED, "HEADERS on a stream that ended"))
            }
            (None, kind::HEADERS) => Err(Fault::connection(code::PROTOCOL_ERROR, "a stream's number used twice")),
            _ => Err(Fault::stream(key, code::STREAM_CLOSED, "a frame on a stream that ended")),
        }
    }

    pub(super) fn acknowledge_ping(&mut self, payload: &[u8]) {
        self.output.reply(kind::PING, flag::ACK, 0, payload);
    }
}
