//! gRPC over HTTP/2, as a link carries it.

use std::time::Instant;

use bytes::BytesMut;
use proxyless_core::grpc::ended::Ended;
use proxyless_core::grpc::status::Status;
use proxyless_core::grpc::{Call, Connection, Tally};
use proxyless_core::http2::{Counters, Key, Outbox, Settings};

use crate::protocol::{Outcome, Protocol};

impl Outcome for Ended {
    fn without_message(&self) -> Self {
        self.without_message()
    }
}

impl Protocol for Connection {
    type Key = Key;
    type Call = Call;
    type Outcome = Ended;

    fn blank(now: Instant) -> Self {
        Self::client(&Settings::default(), 0, String::new(), now)
    }

    fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.feed(bytes, now);
    }

    fn feed_eof(&mut self) {
        self.feed_eof();
    }

    fn landing(&mut self) -> Option<(&mut BytesMut, usize)> {
        self.landing()
    }

    fn landed(&mut self, length: usize, now: Instant) {
        self.landed(length, now);
    }

    fn advance(&mut self) {
        self.advance();
    }

    fn take_output(&mut self, out: &mut Outbox) {
        self.take_output(out);
    }

    fn waiting_output(&self) -> usize {
        self.waiting_output()
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        self.next_deadline(now)
    }

    fn expire(&mut self, now: Instant) {
        self.expire(now);
    }

    fn usable(&self) -> bool {
        self.usable()
    }

    fn ended(&self) -> Option<&str> {
        self.ended()
    }

    fn room(&self) -> u32 {
        self.room()
    }

    fn turnover(&self) -> u64 {
        self.turnover()
    }

    fn shut_down(&mut self) {
        self.shut_down();
    }

    fn part(&mut self) {
        self.part();
    }

    fn end_all(&mut self, status: &Status) {
        self.end_all(status);
    }

    fn tally(&self) -> Tally {
        self.tally()
    }

    fn counters(&self) -> Counters {
        self.counters()
    }

    fn growth(&self) -> usize {
        self.growth()
    }

    fn take_changed(&mut self) -> Vec<Key> {
        self.take_changed()
    }

    fn take_accepted(&mut self) -> Vec<Key> {
        self.take_accepted()
    }

    fn call(&self, key: Key) -> Option<&Call> {
        self.call(key)
    }

    fn finished(call: &Call) -> bool {
        call.finished.is_some()
    }

    fn outcome(&self, key: Key) -> Ended {
        self.outcome(key)
    }

    fn take_outcome(&mut self, key: Key) -> Ended {
        self.take_outcome(key)
    }
}
