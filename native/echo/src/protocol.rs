//! The protocol, as a link carries it.

use std::time::Instant;

use proxyless_core::grpc::Tally;
use proxyless_core::grpc::status::{Status, code};
use proxyless_core::http2::Outbox;
use proxyless_drive::protocol::Protocol;

use crate::{Call, Connection, Ended, Key};

/// So many calls at once.
const MOST: u32 = 1000;

impl Protocol for Connection {
    type Key = Key;
    type Call = Call;
    type Outcome = Ended;

    fn blank(_now: Instant) -> Self {
        Self::new(true)
    }

    fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.read(bytes, now);
    }

    fn feed_eof(&mut self) {
        self.lose("the connection was lost");
    }

    fn advance(&mut self) {}

    fn take_output(&mut self, out: &mut Outbox) {
        self.output.move_to(out);
    }

    fn waiting_output(&self) -> usize {
        self.output.len()
    }

    fn next_deadline(&mut self, _now: Instant) -> Option<Instant> {
        self.next_deadline()
    }

    fn expire(&mut self, now: Instant) {
        self.expire(now);
    }

    fn usable(&self) -> bool {
        !self.goaway && self.ended.is_none()
    }

    fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    fn room(&self) -> u32 {
        if self.usable() { MOST.saturating_sub(u32::try_from(self.calls.len()).unwrap_or(MOST)) } else { 0 }
    }

    fn turnover(&self) -> u64 {
        self.turnover
    }

    fn shut_down(&mut self) {
        self.go_away();
    }

    fn part(&mut self) {
        self.go_away();
        self.lose("the connection was closed");
    }

    fn end_all(&mut self, status: &Status) {
        let open = self.calls.iter().filter(|(_, call)| call.finished.is_none()).map(|(key, _)| *key);
        for key in open.collect::<Vec<_>>() {
            if self.client {
                self.cancel(key, status.clone());
            } else {
                self.fail(key, status);
            }
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn take_changed(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.changed)
    }

    fn take_accepted(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.accepted)
    }

    fn call(&self, key: Key) -> Option<&Call> {
        self.calls.get(&key)
    }

    fn finished(call: &Call) -> bool {
        call.finished.is_some()
    }

    fn outcome(&self, key: Key) -> Ended {
        let status = self.calls.get(&key).and_then(|call| call.finished.clone());
        Ended { status: status.unwrap_or_else(dropped), payload: None }
    }

    fn take_outcome(&mut self, key: Key) -> Ended {
        let call = self.calls.get_mut(&key);
        let (status, payload) = call.map_or((None, None), |call| (call.finished.clone(), call.payload.take()));
        self.forget(key);
        Ended { status: status.unwrap_or_else(dropped), payload }
    }
}

fn dropped() -> Status {
    Status::new(code::CANCELLED, "the call was dropped")
}
