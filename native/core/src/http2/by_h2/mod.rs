//! The HTTP/2 core filled by the `h2` crate, polled by hand over an in-memory pipe. No runtime.
//!
//! h2 is written as futures. Each is polled once after it is made, so that it registers our waker,
//! and again when that waker fired. A waker runs under h2's own mutex, so it only notes its key.
//! `advance` polls the connection until nothing is noted any more.

mod convert;
mod pipe;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use h2::{Reason, client, server};
use http::{Response, StatusCode};

use super::{Counters, Headers, Key, Outbox, Settings, Template, View};
use convert::{map, request, request_headers};
use pipe::Pipe;
use stream::{Outgoing, Stream, Woken};

/// How much DATA framing overhead unread frames may cost before h2 gives the connection up. Its default (half the
/// connection window, at 256 bytes a small frame) ends a connection after some hundred small messages in one read.
const DATA_FRAME_BUDGET: usize = 1 << 30;

enum Side {
    Client { requests: Option<client::SendRequest<Bytes>>, connection: Box<client::Connection<Pipe, Bytes>> },
    Handshake(Pin<Box<server::Handshake<Pipe, Bytes>>>),
    Server(Box<server::Connection<Pipe, Bytes>>),
    Closed,
}

pub struct Connection {
    pipe: Pipe,
    side: Side,
    woken: Arc<Woken>,
    waker: Waker,
    streams: HashMap<Key, Stream>,
    /// Client requests that the peer's concurrency limit holds back.
    opening: VecDeque<Key>,
    next_key: Key,
    /// The request that h2 took last. Asking h2 for room for the next takes the place of this one's waker.
    latest: Key,
    going_away: bool,
    ended: Option<String>,
    pings: Option<h2::PingPong>,
}

impl Connection {
    fn new(pipe: Pipe, side: Side) -> Self {
        let woken = Arc::new(Woken { connection: AtomicBool::new(true), streams: Mutex::default() });
        Self {
            pipe,
            side,
            waker: Waker::from(woken.clone()),
            woken,
            streams: HashMap::new(),
            opening: VecDeque::new(),
            next_key: 1,
            latest: 0,
            going_away: false,
            ended: None,
            pings: None,
        }
    }

    pub fn client(settings: &Settings, _: Instant) -> Self {
        let pipe = Pipe::default();
        let mut handshake = Box::pin(
            client::Builder::new()
                .enable_push(false)
                .initial_window_size(settings.stream_window)
                .initial_connection_window_size(settings.connection_window)
                .max_frame_size(settings.max_frame_size)
                .max_header_list_size(settings.max_header_list_size)
                .data_frame_budget(DATA_FRAME_BUDGET)
                .handshake::<Pipe, Bytes>(pipe.clone()),
        );
        // Over a pipe that always takes what is written, a client's handshake (it only writes) is done at once.
        let side = match handshake.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok((requests, connection))) => {
                Side::Client { requests: Some(requests), connection: Box::new(connection) }
            }
            Poll::Ready(Err(_)) | Poll::Pending => Side::Closed,
        };
        Self::new(pipe, side)
    }

    pub fn server(settings: &Settings, _: Instant) -> Self {
        let pipe = Pipe::default();
        let handshake = server::Builder::new()
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_frame_size(settings.max_frame_size)
            .max_header_list_size(settings.max_header_list_size)
            .max_concurrent_streams(settings.max_concurrent_streams)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .handshake::<Pipe, Bytes>(pipe.clone());
        Self::new(pipe, Side::Handshake(Box::pin(handshake)))
    }

    // ---- bytes

    pub fn feed(&mut self, bytes: &[u8], _: Instant) {
        self.pipe.feed(bytes);
    }

    pub fn feed_eof(&mut self) {
        self.pipe.feed_eof();
    }

    /// Asks the peer for a sign of life. h2 has one ping on its way at the most, and chooses what it carries.
    pub fn ping(&mut self, _: u64) {
        if self.pings.is_none() {
            self.pings = match &mut self.side {
                Side::Client { connection, .. } => connection.ping_pong(),
                Side::Server(connection) => connection.ping_pong(),
                Side::Handshake(_) | Side::Closed => None,
            };
        }
        if let Some(pings) = &mut self.pings {
            let _ = pings.poll_pong(&mut Context::from_waker(Waker::noop())); // the last one's answer
            let _ = pings.send_ping(h2::Ping::opaque()); // refused while one is on its way: that one will do
            self.woken.connection.store(true, Ordering::Release);
        }
    }

    /// Ends the connection for a reason of this side's; nothing more is said.
    pub fn abandon(&mut self, reason: &str) {
        self.end(reason);
        self.woken.connection.store(true, Ordering::Release);
    }

    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        self.pipe.take_output(out);
    }

    pub fn take_outbox(&mut self, out: &mut Outbox) {
        self.pipe.take_output(out.small());
    }

    /// Not known before h2 is polled: it is always time to take it.
    pub fn waiting_output(&self) -> usize {
        usize::MAX
    }

    /// h2 has received bytes copied to it.
    pub fn landing(&mut self) -> Option<(&mut BytesMut, usize)> {
        None
    }

    /// Never due.
    pub fn landed(&mut self, _: usize, _: Instant) {}

    /// New streams can be opened: neither closed nor told to go away.
    pub fn usable(&self) -> bool {
        self.ended.is_none() && !self.going_away
    }

    /// Why the connection is over, once it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// h2 has no limits over time.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub fn expire(&mut self, _: Instant) {}

    // ---- progress

    /// Runs the protocol until nothing moves. `accepted` receives the peer's new requests, `ready` the keys of
    /// streams that may have news (also ones that have none, and the same key more than once).
    pub fn advance(&mut self, accepted: &mut Vec<(Key, Headers)>, ready: &mut Vec<Key>) {
        while self.woken.connection.swap(false, Ordering::AcqRel) {
            self.poll_connection(accepted);
            self.poll_stream(self.latest);
            self.open_queued();
        }
        let mut woken = self.woken.streams.lock().map(|mut streams| std::mem::take(&mut *streams)).unwrap_or_default();
        if self.ended.is_some() {
            woken.extend(self.streams.keys());
        }
        for key in woken {
            self.poll_stream(key);
            ready.push(key);
        }
    }

    fn poll_stream(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(&key) {
            self.going_away |= stream.poll(self.ended.as_deref());
        }
    }

    fn poll_connection(&mut self, accepted: &mut Vec<(Key, Headers)>) {
        let mut cx = Context::from_waker(&self.waker);
        if let Side::Handshake(handshake) = &mut self.side {
            match handshake.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(connection)) => self.side = Side::Server(Box::new(connection)),
                Poll::Ready(Err(error)) => return self.end(&error.to_string()),
                Poll::Pending => return,
            }
        }
        match &mut self.side {
            Side::Client { connection, requests } => match Pin::new(connection).poll(&mut cx) {
                Poll::Ready(Ok(())) => self.end("the peer closed the connection"),
                Poll::Ready(Err(error)) => self.end(&error.to_string()),
                // h2 keeps a GOAWAY to itself; asking for room is how it shows before a call is put on the connection.
                Poll::Pending => {
                    let refused = requests.as_mut().map(|requests| requests.poll_ready(&mut cx));
                    self.going_away |= matches!(refused, Some(Poll::Ready(Err(_))));
                }
            },
            Side::Server(connection) => loop {
                match connection.poll_accept(&mut cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        let key = respond.stream_id().as_u32();
                        let (parts, recv) = request.into_parts();
                        let mut stream = Stream::new(key, &self.woken);
                        stream.served = true;
                        stream.respond = Some(respond);
                        stream.recv = Some(recv);
                        self.streams.insert(key, stream);
                        accepted.push((key, request_headers(&parts)));
                        self.woken.note(key);
                    }
                    Poll::Ready(Some(Err(error))) => return self.end(&error.to_string()),
                    Poll::Ready(None) => return self.end("the peer closed the connection"),
                    Poll::Pending => return,
                }
            },
            Side::Handshake(_) | Side::Closed => {}
        }
    }

    fn end(&mut self, reason: &str) {
        self.side = Side::Closed;
        self.ended.get_or_insert_with(|| reason.to_owned());
    }

    /// Something was noted since the last `advance`.
    pub fn moved(&self) -> bool {
        self.woken.connection.load(Ordering::Acquire)
            || self.woken.streams.lock().is_ok_and(|streams| !streams.is_empty())
    }

    // ---- streams

    /// Client: a new request. It waits here while the peer's limit of concurrent streams is reached.
    pub fn open(&mut self, template: Arc<Template>, extra: Headers) -> Key {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(2);
        let mut stream = Stream::new(key, &self.woken);
        stream.request = request(&template.headers, &extra);
        self.streams.insert(key, stream);
        self.opening.push_back(key);
        self.open_queued();
        key
    }

    fn open_queued(&mut self) {
        let mut cx = Context::from_waker(&self.waker);
        while let Some(&key) = self.opening.front() {
            let Some(stream) = self.streams.get_mut(&key) else {
                self.opening.pop_front();
                continue;
            };
            let Side::Client { requests: Some(requests), .. } = &mut self.side else {
                stream.refuse(self.ended.as_deref().unwrap_or("the connection is closing"));
                self.opening.pop_front();
                continue;
            };
            match requests.poll_ready(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {
                    let sent = stream.request.take().map(|request| requests.send_request(request, false));
                    match sent {
                        Some(Ok((response, send))) => {
                            stream.response = Some(response);
                            stream.send = Some(send);
                            stream.pump();
                        }
                        Some(Err(error)) => {
                            self.going_away = true;
                            stream.refuse(&error.to_string());
                        }
                        None => {}
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.going_away = true;
                    stream.refuse(&error.to_string());
                }
            }
            self.woken.note(key);
            self.latest = key;
            self.opening.pop_front();
        }
    }

    /// A stream's state; None once it is forgotten.
    pub fn view(&mut self, key: Key) -> Option<&mut View> {
        self.poll_stream(key); // h2 does not wake who it did not tell to wait
        self.streams.get_mut(&key).map(|stream| &mut stream.view)
    }

    /// The stream's owner has looked at all that arrived and asks for more: the peer gets the room back.
    pub fn release(&mut self, key: Key, _: usize) {
        if let Some(stream) = self.streams.get_mut(&key) {
            let held = std::mem::take(&mut stream.held);
            if let Some(recv) = &mut stream.recv {
                // Fails only when more is released than was received.
                let _ = recv.flow_control().release_capacity(held);
            }
        }
    }

    /// Server: the response's head, or with `end` all of it.
    pub fn respond(&mut self, key: Key, status: u16, headers: &Headers, end: bool) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let Some(mut respond) = stream.respond.take() else { return };
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        *response.headers_mut() = map(headers.fields());
        match respond.send_response(response, end) {
            Ok(send) => stream.send = Some(send),
            // The stream is gone already; its view tells.
            Err(_) => stream.respond = Some(respond),
        }
        self.poll_stream(key);
    }

    pub fn busy(&self) -> bool {
        !self.streams.is_empty()
    }

    /// h2 keeps the peer's limit of streams to itself: what it holds back waits in it.
    pub fn room(&self) -> u32 {
        u32::MAX
    }

    pub fn turnover(&self) -> u64 {
        0
    }

    /// h2 keeps the peer's limit to itself.
    pub fn fits(&self, _: usize) -> bool {
        true
    }

    /// Sends `prefix` and `data`, one behind the other. The view says `unsent` until the peer's window has taken them.
    pub fn send(&mut self, key: Key, prefix: &[u8], data: Bytes, end: bool) {
        if let Some(stream) = self.streams.get_mut(&key) {
            let data = if prefix.is_empty() { data } else { Bytes::from([prefix, &data].concat()) };
            stream.queue.push_back(Outgoing::Data(data, end));
            stream.pump();
        }
    }

    pub fn send_trailers(&mut self, key: Key, trailers: Headers) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.queue.push_back(Outgoing::Trailers(map(trailers.fields())));
            stream.pump();
        }
    }

    /// Ends the stream at once with RST_STREAM, or unsent if it still waited.
    pub fn reset(&mut self, key: Key, code: u32) {
        if let Some(mut stream) = self.streams.remove(&key) {
            let reason = Reason::from(code);
            if let Some(send) = &mut stream.send {
                send.send_reset(reason);
            } else if let Some(respond) = &mut stream.respond {
                respond.send_reset(reason);
            }
        }
    }

    /// Lets go of a stream that ended on both sides. (h2 resets it if it had not.)
    pub fn forget(&mut self, key: Key) {
        self.streams.remove(&key);
    }

    /// Graceful end: no new streams; open ones finish; then the connection is over.
    pub fn shut_down(&mut self) {
        self.going_away = true;
        match &mut self.side {
            Side::Client { requests, .. } => *requests = None,
            Side::Server(connection) => connection.graceful_shutdown(),
            Side::Handshake(_) | Side::Closed => self.end("closed by this side"),
        }
        self.woken.connection.store(true, Ordering::Release);
    }
}
