//! Our own frame layer (RFC 9113). The peer's bytes are worked on as they come (`input`, `receive`, `block`), commands
//! take effect at once (`send`); what waits for the peer's window or for its turn lies in its stream's queue until
//! `schedule` moves it to the output. Memory is bounded by the windows, the limits in `Settings`, and `Output`'s mark.

mod bandwidth;
mod block;
mod budget;
mod data;
mod fault;
mod goaway;
mod input;
mod output;
mod peer;
mod receive;
mod schedule;
mod send;
mod stream;
mod validate;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::frame::{self, kind, setting};
use super::growth::Share;
use super::hpack::{Decoder, Encoder};
use super::{Broken, Counters, Headers, Key, Outbox, Scattered, Settings, View};
use bandwidth::Bandwidth;
use budget::{Budgets, Strikes};
use fault::Fault;
use goaway::Leaving;
use input::Input;
use output::Output;
use peer::Peer;
use stream::Stream;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// How a stream ended that is not kept any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// The peer may not know yet: what it still sends is ignored.
    ByUs,
    ByPeer,
    /// Both sides ended it.
    Regularly,
}

pub struct Connection {
    role: Role,
    settings: Settings,
    peer: Peer,
    now: Instant,
    streams: HashMap<Key, Stream, Scattered>,
    decoder: Decoder,
    encoder: Encoder,
    input: Input,
    output: Output,
    /// How much the peer's window lets us send, over all streams.
    send_window: i64,
    /// How much we let the peer send, over all streams.
    recv_window: i64,
    /// How much may still come on streams that are over on this side.
    late_window: i64,
    /// Bytes that arrived and that nobody has asked for yet.
    held: i64,
    /// What streams' windows are beyond the one that all begin with.
    wide: i64,
    /// A stream's window at its start. The peer may count on HTTP/2's until it has acknowledged ours.
    local_window: i64,
    /// How many of our SETTINGS the peer has not acknowledged yet.
    settings_owed: u32,
    /// It has acknowledged the first.
    greeting_acknowledged: bool,
    /// Client: the next request's number.
    next: Key,
    /// Server: the highest number that the peer used.
    last_peer: Key,
    /// Streams that count against the limit of concurrent ones.
    open: u32,
    /// Client: requests that the peer's limit holds back.
    waiting: VecDeque<Key>,
    /// How often a stream ended or the peer moved its limit of them: whoever waits for room sees that it is time to look.
    turnover: u64,
    /// Streams that have something to send and room in their own window.
    line: VecDeque<Key>,
    /// Server: how the last streams ended.
    closed: VecDeque<(Key, Closed)>,
    accepted: Vec<(Key, Headers)>,
    ready: Vec<Key>,
    leaving: Leaving,
    /// Client: a response has come.
    answered: bool,
    /// The last stream that the peer takes, once it has said so.
    told: Option<Key>,
    ended: Option<String>,
    budgets: Budgets,
    growth: Share,
    bandwidth: Bandwidth,
    strikes: Strikes,
    counters: Counters,
}

impl Connection {
    /// Speaks first: the output has the preface and our SETTINGS.
    pub fn client(settings: &Settings, now: Instant) -> Self {
        let mut connection = Self::new(Role::Client, settings, now);
        connection.output.raw(frame::PREFACE);
        connection.greet();
        connection
    }

    pub fn server(settings: &Settings, now: Instant) -> Self {
        let mut connection = Self::new(Role::Server, settings, now);
        connection.greet();
        connection
    }

    fn new(role: Role, settings: &Settings, now: Instant) -> Self {
        Self {
            role,
            settings: settings.clone(),
            peer: Peer::default(),
            now,
            streams: HashMap::default(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            input: Input::new(role == Role::Server, now),
            output: Output::default(),
            send_window: i64::from(frame::DEFAULT_WINDOW),
            recv_window: i64::from(settings.connection_window.max(frame::DEFAULT_WINDOW)),
            late_window: data::LATE_LENIENCY,
            held: 0,
            wide: 0,
            local_window: i64::from(settings.stream_window.max(frame::DEFAULT_WINDOW)),
            settings_owed: 1,
            greeting_acknowledged: false,
            next: 1,
            last_peer: 0,
            open: 0,
            waiting: VecDeque::new(),
            turnover: 0,
            line: VecDeque::new(),
            closed: VecDeque::new(),
            accepted: Vec::new(),
            ready: Vec::new(),
            leaving: Leaving::No,
            answered: false,
            told: None,
            ended: None,
            budgets: Budgets::default(),
            growth: Share::of(&settings.growth),
            bandwidth: Bandwidth::new(i64::from(settings.widest_stream)),
            strikes: Strikes::default(),
            counters: Counters::default(),
        }
    }

    fn greet(&mut self) {
        let mut entries = vec![
            (setting::INITIAL_WINDOW_SIZE, self.settings.stream_window),
            (setting::MAX_FRAME_SIZE, self.settings.max_frame_size),
            (setting::MAX_HEADER_LIST_SIZE, self.settings.max_header_list_size),
        ];
        match self.role {
            Role::Client => entries.push((setting::ENABLE_PUSH, 0)),
            Role::Server => entries.push((setting::MAX_CONCURRENT_STREAMS, self.settings.max_concurrent_streams)),
        }
        let payload: Vec<u8> = entries
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        self.output.frame(kind::SETTINGS, 0, 0, &payload);
        if let Some(more @ 1..) = self.settings.connection_window.checked_sub(frame::DEFAULT_WINDOW) {
            self.output.frame(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
    }

    // ---- bytes

    /// Works on what the peer sent. `now` is read for limits over time only.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        self.take_in(bytes);
    }

    /// The peer's bytes ended, or ours cannot be sent any more.
    pub fn feed_eof(&mut self) {
        self.end("the peer closed the connection");
    }

    /// Ends the connection for a reason of this side's; nothing more is said.
    pub fn abandon(&mut self, reason: &str) {
        self.end(reason);
    }

    /// Appends what waits to be sent, up to a mark: call again until nothing comes. May make streams ready.
    pub fn take_output(&mut self, out: &mut Outbox) {
        self.fill();
        self.output.take(out);
        self.end_if_done();
    }

    /// How many bytes wait to be taken; more may follow them.
    pub fn waiting_output(&self) -> usize {
        self.output.len()
    }

    /// What header lists hold beyond the bytes that they came as, on all connections with these settings.
    pub fn growth(&self) -> usize {
        self.growth.of_all()
    }

    /// New streams can be opened: neither closed nor told to go away.
    pub fn usable(&self) -> bool {
        self.ended.is_none() && self.told.is_none() && self.leaving == Leaving::No && self.next <= frame::LARGEST_STREAM
    }

    /// Streams are open, or wait to be. One that ended, though nobody has read it yet, is none of them.
    pub fn busy(&self) -> bool {
        self.open > 0 || !self.waiting.is_empty()
    }

    /// Client: so many more requests go out at once; what is opened beyond that waits here.
    pub fn room(&self) -> u32 {
        let taken = self.open.saturating_add(self.waiting.len() as u32);
        self.peer.max_concurrent_streams.saturating_sub(taken)
    }

    /// Another number than before: `room` may be another one.
    pub fn turnover(&self) -> u64 {
        self.turnover
    }

    /// Client: the server has answered a request, whatever it answered.
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// Why the connection is over, once it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When `expire` is due if nothing comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        let since = self.input.waiting_since().filter(|_| self.ended.is_none())?;
        since.checked_add(self.settings.patience)
    }

    pub fn expire(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.give_up(self.input.overdue());
        }
    }

    // ---- progress

    /// `accepted` receives the peer's new requests, `ready` the keys of streams that may have changed (also ones that have
    /// none, and the same key more than once).
    pub fn advance(&mut self, accepted: &mut Vec<(Key, Headers)>, ready: &mut Vec<Key>) {
        self.end_if_done();
        accepted.append(&mut self.accepted);
        ready.append(&mut self.ready);
    }

    /// There is something for `advance`.
    pub fn moved(&self) -> bool {
        !self.ready.is_empty() || !self.accepted.is_empty()
    }

    /// A stream's state; None once it is forgotten.
    pub fn view(&mut self, key: Key) -> Option<&mut View> {
        self.streams.get_mut(&key).map(|stream| &mut stream.view)
    }

    fn note(&mut self, key: Key) {
        if self.ready.last() != Some(&key) {
            self.ready.push(key);
        }
    }

    // ---- ends

    /// The connection is over: every stream hears why.
    fn end(&mut self, reason: &str) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason.to_owned());
        for (key, stream) in &mut self.streams {
            let waiting = stream.sending == stream::Sending::Waiting;
            if stream.view.broken.is_none() && (waiting || stream.open()) {
                stream.view.broken = Some(Broken { code: None, unprocessed: waiting, reason: reason.to_owned() });
            }
            self.ready.push(*key);
        }
        self.open = 0;
        self.waiting.clear();
        self.line.clear();
    }

    /// The peer broke the protocol, or our patience.
    fn give_up(&mut self, fault: Fault) {
        let (code, reason) = match fault {
            Fault::Connection { code, reason } => (code, reason),
            Fault::Stream { key, code, reason } => return self.break_stream(key, code, reason),
        };
        if self.ended.is_some() {
            return;
        }
        self.counters.given_up += 1;
        self.say_goaway(self.last_peer, code, reason);
        self.end(reason);
    }

    /// What counters say is what streams say. For tests.
    #[doc(hidden)]
    pub fn assert_sound(&self) {
        let streams = self.streams.values();
        assert_eq!(
            self.open as usize,
            streams.clone().filter(|stream| stream.open()).count() * usize::from(self.ended.is_none())
        );
        assert_eq!(self.held, streams.clone().map(|stream| stream.held).sum::<i64>());
        assert_eq!(self.wide, streams.clone().map(|stream| stream.wide).sum::<i64>());
        assert!(self.recv_window >= 0 && self.held >= 0);
        for stream in streams {
            assert!(stream.view.broken.is_some() || stream.view.unsent != stream.queue.is_empty());
            assert!(stream.view.body.len() as i64 >= 0 && stream.held >= 0);
        }
    }
}
