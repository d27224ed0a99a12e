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
mod commands;
mod compression;
pub mod connection_policy;
pub mod encoding;
pub mod ended;
pub mod malformed;
pub mod message;
mod progress;
pub mod status;
pub mod timeout;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::http2::{self, Counters, Headers, Key, Outbox, Scattered, Settings};
pub use call::Call;
use connection_policy::ConnectionTimers;
pub use connection_policy::{ConnectionPolicy, Keepalive};
use status::Status;

pub const ANY_NUMBER: usize = usize::MAX;
/// A unary call reads its message and looks behind it; what a peer sends beyond that is not kept.
const MORE_THAN_ONE: usize = 2;
pub const CONTENT_TYPE: &str = "application/grpc";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// What a connection has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub started: u64,
    /// Ended with OK.
    pub succeeded: u64,
    pub failed: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
    pub keepalives: u64,
}

impl Tally {
    /// A call that ended.
    fn count(&mut self, call: &Call) {
        let ok = call.finished.as_ref().map_or(call.answered_ok, |status| status.code == status::code::OK);
        match (call.counted, ok) {
            (true, true) => self.succeeded += 1,
            (true, false) => self.failed += 1,
            (false, _) => {}
        }
    }

    pub fn add(&mut self, other: Tally) {
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.messages_sent += other.messages_sent;
        self.messages_received += other.messages_received;
        self.keepalives += other.keepalives;
    }
}

pub struct Connection {
    http2: http2::Connection,
    role: Role,
    peer: String,
    calls: HashMap<Key, Call, Scattered>,
    deadlines: BinaryHeap<Reverse<(Instant, Key)>>,
    max_message: usize,
    accepted: Vec<Key>,
    changed: Vec<Key>,
    ready: Vec<Key>,
    arrived: Vec<(Key, Headers)>,
    tally: Tally,
    /// When something was last fed or looked at: what comes of it happens then.
    now: Instant,
    /// None: no timers.
    timers: Option<Box<ConnectionTimers>>,
}

impl Connection {
    fn new(http2: http2::Connection, role: Role, max_message: usize, peer: String, now: Instant) -> Self {
        Self {
            http2,
            role,
            peer,
            calls: HashMap::default(),
            deadlines: BinaryHeap::new(),
            max_message,
            accepted: Vec::new(),
            changed: Vec::new(),
            ready: Vec::new(),
            arrived: Vec::new(),
            tally: Tally::default(),
            now,
            timers: None,
        }
    }

    /// ``peer`` names the other side in messages.
    pub fn client(settings: &Settings, max_message: usize, peer: String, now: Instant) -> Self {
        Self::new(http2::Connection::client(settings, now), Role::Client, max_message, peer, now)
    }

    pub fn server(settings: &Settings, max_message: usize, now: Instant) -> Self {
        Self::new(http2::Connection::server(settings, now), Role::Server, max_message, String::new(), now)
    }

    // ---- bytes and progress

    /// Pings, and ends in time, as this says.
    pub fn with_policy(mut self, policy: &ConnectionPolicy) -> Self {
        let none = policy.keepalive.is_none() && policy.max_idle.is_none() && policy.max_age.is_none();
        self.timers = (!none).then(|| Box::new(ConnectionTimers::new(policy.clone(), self.now)));
        self
    }

    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if let Some(timers) = &mut self.timers {
            timers.heard(now);
        }
        self.http2.feed(bytes, now);
    }

    pub fn feed_eof(&mut self) {
        self.http2.feed_eof();
    }

    /// Where bytes from the socket may be put right away, if that is known: into this buffer's spare room, so many at the
    /// most. `landed` is due for what was appended.
    pub fn landing(&mut self) -> Option<(&mut BytesMut, usize)> {
        self.http2.landing()
    }

    pub fn landed(&mut self, length: usize, now: Instant) {
        self.now = now;
        if let Some(timers) = &mut self.timers {
            timers.heard(now);
        }
        self.http2.landed(length, now);
    }

    /// Appends what is to be sent, as much as a socket may take at once: ask again until nothing comes.
    pub fn take_output(&mut self, out: &mut Outbox) {
        self.http2.take_output(out);
        if self.http2.moved() {
            self.advance(); // whoever waits for room to send hears of it
        }
    }

    /// What header lists hold beyond the bytes that they came as, on all connections with these settings.
    pub fn growth(&self) -> usize {
        self.http2.growth()
    }

    /// At least so many bytes wait to be taken.
    pub fn waiting_output(&self) -> usize {
        self.http2.waiting_output()
    }

    pub fn usable(&self) -> bool {
        self.http2.usable()
    }

    /// Client: so many more calls go out at once; none once the connection takes no more. What is started beyond that
    /// waits in it.
    pub fn room(&self) -> u32 {
        if self.usable() { self.http2.room() } else { 0 }
    }

    /// Another number than before: `room` may be another one.
    pub fn turnover(&self) -> u64 {
        self.http2.turnover()
    }

    /// Client: one of several connections to the same server, which goes after so long without a call, also where the
    /// one that stays would not. None: it is the one that stays.
    pub fn spare(&mut self, idle: Option<Duration>, now: Instant) {
        if let Some(timers) = &mut self.timers {
            timers.spare = idle;
        } else if idle.is_some() {
            let mut timers = ConnectionTimers::new(ConnectionPolicy::default(), now);
            timers.spare = idle;
            self.timers = Some(Box::new(timers));
        }
    }

    pub fn ended(&self) -> Option<&str> {
        self.http2.ended()
    }

    /// Moves all that can move.
    pub fn advance(&mut self) {
        loop {
            let mut ready = std::mem::take(&mut self.ready);
            self.http2.advance(&mut self.arrived, &mut ready);
            let mut arrived = std::mem::take(&mut self.arrived);
            for (key, head) in arrived.drain(..) {
                self.accept(key, head);
            }
            self.arrived = arrived;
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

    /// Server: the calls that came since the last time; nobody hears of those that are over already.
    pub fn take_accepted(&mut self) -> Vec<Key> {
        let mut accepted = std::mem::take(&mut self.accepted);
        accepted.retain(|key| {
            let alive = self.calls.get(key).is_some_and(|call| call.finished.is_none());
            if !alive {
                self.forget(*key);
            }
            alive
        });
        accepted
    }

    pub fn call(&self, key: Key) -> Option<&Call> {
        self.calls.get(&key)
    }

    pub fn call_mut(&mut self, key: Key) -> Option<&mut Call> {
        self.calls.get_mut(&key)
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

    /// The same without waiting for anybody.
    pub fn part(&mut self) {
        self.http2.part();
    }

    /// Client: the server has answered a call, or still has one to answer: it left, and said that it took this one.
    pub fn served(&self) -> bool {
        self.http2.answered() || self.calls.values().any(|call| call.finished.is_none())
    }

    /// Once the connection is over, calls that their owners have not let go of yet are over, too: who sums up the past
    /// does so only once.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally;
        if self.ended().is_some() {
            self.calls.values().for_each(|call| tally.count(call));
        }
        tally
    }

    /// What happened on the connection that its peer may have done on purpose.
    pub fn counters(&self) -> Counters {
        self.http2.counters()
    }
}
