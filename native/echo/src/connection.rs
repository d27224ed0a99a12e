//! One connection's calls.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use proxyless_core::grpc::Tally;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_core::http2::Outbox;

use crate::{CANCEL, Call, FAILURE, Frame, GO_AWAY, Key, PREFACE, REPLY, REQUEST, cut};

pub struct Connection {
    pub(crate) client: bool,
    pub(crate) calls: HashMap<Key, Call>,
    deadlines: BTreeSet<(Instant, Key)>,
    next: Key,
    input: BytesMut,
    /// The peer's preface has come.
    greeted: bool,
    pub(crate) output: Outbox,
    pub(crate) changed: Vec<Key>,
    pub(crate) accepted: Vec<Key>,
    pub(crate) goaway: bool,
    pub(crate) ended: Option<String>,
    pub(crate) turnover: u64,
    pub(crate) tally: Tally,
}

impl Connection {
    pub fn new(client: bool) -> Self {
        let mut output = Outbox::default();
        output.small().extend_from_slice(PREFACE);
        Self {
            client,
            calls: HashMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
            input: BytesMut::new(),
            greeted: false,
            output,
            changed: Vec::new(),
            accepted: Vec::new(),
            goaway: false,
            ended: None,
            turnover: 0,
            tally: Tally::default(),
        }
    }

    // ---- commands

    /// Client: begins a call.
    pub fn start(&mut self, payload: &[u8], deadline: Option<Instant>, now: Instant) -> Key {
        self.next += 1;
        let key = self.next;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now).as_millis());
        let left = left.map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX).max(1));
        self.write(key, REQUEST, &[&left.to_be_bytes(), payload]);
        self.open(key, None, deadline);
        key
    }

    /// Server: answers a call.
    pub fn reply(&mut self, key: Key, payload: &[u8]) {
        if self.end(key, Status::new(code::OK, "")) {
            self.write(key, REPLY, &[payload]);
        }
    }

    /// Server: ends a call without an answer.
    pub fn fail(&mut self, key: Key, status: &Status) {
        if self.end(key, status.clone()) {
            self.write(key, FAILURE, &[&status.code.to_be_bytes(), status.message.as_bytes()]);
        }
    }

    /// Client: gives a call up.
    pub fn cancel(&mut self, key: Key, status: Status) {
        if self.end(key, status) {
            self.write(key, CANCEL, &[]);
        }
    }

    pub fn forget(&mut self, key: Key) {
        self.calls.remove(&key);
        self.turnover += 1;
        self.end_if_through();
    }

    pub(crate) fn go_away(&mut self) {
        if !std::mem::replace(&mut self.goaway, true) && !self.client {
            self.write(0, GO_AWAY, &[]);
        }
        self.end_if_through();
    }

    // ---- what comes

    pub(crate) fn read(&mut self, bytes: &[u8], now: Instant) {
        self.input.extend_from_slice(bytes);
        if !self.greeted {
            let seen = self.input.len().min(PREFACE.len());
            if self.input[..seen] != PREFACE[..seen] {
                return self.lose("the peer speaks another protocol");
            }
            if seen < PREFACE.len() {
                return;
            }
            self.input.advance(seen);
            self.greeted = true;
        }
        while self.ended.is_none() {
            match cut(&mut self.input) {
                Ok(Some(frame)) => self.take(frame, now),
                Ok(None) => return,
                Err(reason) => self.lose(&reason),
            }
        }
    }

    fn take(&mut self, frame: Frame, now: Instant) {
        let Frame { key, kind, mut payload } = frame;
        match (kind, self.client) {
            (REQUEST, false) if payload.len() >= 4 && !self.goaway => {
                let left = payload.get_u32();
                let deadline = (left > 0).then(|| now + Duration::from_millis(left.into()));
                self.open(key, Some(payload), deadline);
                self.accepted.push(key);
            }
            (REQUEST, false) if self.goaway => {}
            (CANCEL, false) => {
                self.end(key, Status::new(code::CANCELLED, "the client gave the call up").by(Origin::Peer));
            }
            (REPLY, true) => {
                if let Some(call) = self.calls.get_mut(&key) {
                    call.payload = Some(payload);
                }
                self.end(key, Status::new(code::OK, "").by(Origin::Peer));
            }
            (FAILURE, true) if payload.len() >= 4 => {
                let code = payload.get_i32();
                let message = String::from_utf8_lossy(&payload).into_owned();
                self.end(key, Status::new(code, message).by(Origin::Peer));
            }
            (GO_AWAY, true) => self.go_away(),
            _ => self.lose("a frame that has no meaning"),
        }
    }

    pub(crate) fn lose(&mut self, reason: &str) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason.to_owned());
        let open: Vec<Key> =
            self.calls.iter().filter(|(_, call)| call.finished.is_none()).map(|(key, _)| *key).collect();
        for key in open {
            self.end(key, Status::new(code::UNAVAILABLE, reason).by(Origin::Channel));
        }
    }

    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, key));
            if self.client {
                self.cancel(key, Status::deadline_exceeded());
            } else {
                self.fail(key, &Status::deadline_exceeded());
            }
        }
    }

    // ---- within

    fn open(&mut self, key: Key, payload: Option<Bytes>, deadline: Option<Instant>) {
        self.calls.insert(key, Call { payload, deadline, finished: None });
        self.deadlines.extend(deadline.map(|deadline| (deadline, key)));
        self.tally.started += 1;
    }

    /// False: it is over already, or was never there.
    fn end(&mut self, key: Key, status: Status) -> bool {
        let Some(call) = self.calls.get_mut(&key).filter(|call| call.finished.is_none()) else { return false };
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, key));
        }
        if status.code == code::OK {
            self.tally.succeeded += 1;
        } else {
            self.tally.failed += 1;
        }
        call.finished = Some(status);
        self.changed.push(key);
        self.end_if_through();
        true
    }

    fn end_if_through(&mut self) {
        if self.goaway && self.ended.is_none() && self.calls.values().all(|call| call.finished.is_some()) {
            self.ended = Some(String::from("all calls are over, and there are no new ones"));
        }
    }

    fn write(&mut self, key: Key, kind: u8, payload: &[&[u8]]) {
        let length = payload.iter().map(|piece| piece.len()).sum::<usize>();
        let out = self.output.small();
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&key.to_be_bytes());
        out.push(kind);
        payload.iter().for_each(|piece| out.extend_from_slice(piece));
    }
}
