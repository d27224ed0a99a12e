//! HTTP/2, sans I/O: bytes in, what happened on each stream out; commands in, bytes out. Nothing here waits, reads a clock
//! or knows a socket.

mod connection;
mod frame;
mod growth;
mod headers;
mod hpack;
mod keys;
mod outbox;

use std::ops::AddAssign;
use std::time::Duration;

use bytes::BytesMut;

pub use connection::Connection;
pub use frame::code;
pub use growth::Growth;
pub use headers::{Headers, Template};
pub use keys::Scattered;
pub use outbox::Outbox;

/// A stream's number on its connection.
pub type Key = u32;

#[derive(Clone, Debug)]
pub struct Settings {
    /// How many bytes a peer may send ahead on one stream that nobody reads.
    pub stream_window: u32,
    /// Covers all the stalled streams allowed, so that one stalled reader does not slow its neighbours.
    pub connection_window: u32,
    /// As far as a stream's window grows with what the line can carry, while it is read; zero: it does not.
    pub widest_stream: u32,
    pub max_frame_size: u32,
    pub max_header_list_size: u32,
    /// How many streams a client may have open at once; more wait at the client.
    pub max_concurrent_streams: u32,
    /// How long a peer may take from the first byte to its SETTINGS, and from a header block's first frame to its last.
    pub patience: Duration,
    pub pings: Pings,
    /// Of all connections that are given these settings.
    pub growth: Growth,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream_window: 256 * 1024,
            connection_window: 256 * 1024 * 1024,
            widest_stream: 16 * 1024 * 1024,
            max_frame_size: 128 * 1024,
            max_header_list_size: 64 * 1024,
            max_concurrent_streams: 1000,
            patience: Duration::from_secs(20),
            pings: Pings::default(),
            growth: Growth::default(),
        }
    }
}

/// How often a client may ping a server that sends it nothing (gRFC A8, grpc/doc/keepalive.md; the defaults are its).
#[derive(Clone, Debug)]
pub struct Pings {
    pub min_interval: Duration,
    /// With no call in progress, pings count as too many whatever their interval, but for one in two hours.
    pub without_calls: bool,
    /// How many may come too early between two answers; one more is told to calm down.
    pub strikes: u32,
}

impl Default for Pings {
    fn default() -> Self {
        Self { min_interval: Duration::from_secs(300), without_calls: false, strikes: 2 }
    }
}

/// Why a stream ended before its regular end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// RST_STREAM's code; None: the connection itself was lost.
    pub code: Option<u32>,
    /// The peer says (or it is certain) that no application code saw the request: safe to send again.
    pub unprocessed: bool,
    pub reason: String,
}

/// A stream as its owner sees it. What has arrived lies here until it is taken; only `Connection::release` makes room for
/// more.
#[derive(Debug, Default)]
pub struct View {
    /// Client: the response's head, `:status` first.
    pub head: Option<Headers>,
    pub body: BytesMut,
    pub trailers: Option<Headers>,
    /// The peer's regular end: nothing follows what is in `body`.
    pub ended: bool,
    pub broken: Option<Broken>,
    /// Something given to `send` still waits for the peer's window, or for its turn.
    pub unsent: bool,
}

/// What happened on a connection that its peer may have done on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Streams, ours and the peer's.
    pub opened: u64,
    /// Beyond the limit of concurrent streams.
    pub refused: u64,
    pub reset_by_peer: u64,
    /// Of those, before anything was answered.
    pub reset_early: u64,
    /// Streams that broke the protocol, or sent headers beyond the limit.
    pub malformed: u64,
    pub pings: u64,
    /// Pings that came too early.
    pub ping_strikes: u64,
    pub settings: u64,
    /// DATA without data.
    pub empty_frames: u64,
    /// Connections that we ended over what the peer did, or did not do in time.
    pub given_up: u64,
}

impl Counters {
    pub fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("opened", self.opened),
            ("refused", self.refused),
            ("reset_by_peer", self.reset_by_peer),
            ("reset_early", self.reset_early),
            ("malformed", self.malformed),
            ("pings", self.pings),
            ("ping_strikes", self.ping_strikes),
            ("settings", self.settings),
            ("empty_frames", self.empty_frames),
            ("given_up", self.given_up),
        ]
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.refused += other.refused;
        self.reset_by_peer += other.reset_by_peer;
        self.reset_early += other.reset_early;
        self.malformed += other.malformed;
        self.pings += other.pings;
        self.ping_strikes += other.ping_strikes;
        self.settings += other.settings;
        self.empty_frames += other.empty_frames;
        self.given_up += other.given_up;
    }
}
