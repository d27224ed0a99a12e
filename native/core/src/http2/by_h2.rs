//! The HTTP/2 core filled by the `h2` crate, polled by hand over an in-memory pipe. No runtime.
//!
//! h2 is written as futures. Each is polled once after it is made, so that it registers our waker,
//! and again when that waker fired. A waker runs under h2's own mutex, so it only notes its key.
//! `advance` polls the connection until nothing is noted any more.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response, StatusCode};

use super::pipe::Pipe;
use super::{Broken, Incoming, Key, RequestHead, ResponseHead, Settings};

/// How much DATA framing overhead unread frames may cost before h2 gives the connection up. Its default (half the
/// connection window, at 256 bytes a small frame) ends a connection after some hundred small messages in one read.
const DATA_FRAME_BUDGET: usize = 1 << 30;

/// What fired since the last look. Shared by all wakers of one connection.
struct Woken {
    connection: AtomicBool,
    streams: Mutex<Vec<Key>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.connection.store(true, Ordering::Release);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.connection.store(true, Ordering::Release);
    }
}

struct StreamWaker {
    key: Key,
    woken: Arc<Woken>,
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Ok(mut streams) = self.woken.streams.lock() {
            if streams.last() != Some(&self.key) {
                streams.push(self.key);
            }
        }
    }
}

enum Side {
    Client { requests: Option<client::SendRequest<Bytes>>, connection: Box<client::Connection<Pipe, Bytes>> },
    Handshake(Pin<Box<server::Handshake<Pipe, Bytes>>>),
    Server(Box<server::Connection<Pipe, Bytes>>),
    Closed,
}

enum Outgoing {
    Data(Bytes, bool),
    Trailers(HeaderMap),
}

struct Stream {
    waker: Waker,
    /// Client: the request until h2 takes it.
    request: Option<(Request<()>, bool)>,
    /// Client: the response until it is there.
    response: Option<client::ResponseFuture>,
    /// Server: the means to answer, until the head is sent.
    respond: Option<server::SendResponse<Bytes>>,
    send: Option<SendStream<Bytes>>,
    recv: Option<RecvStream>,
    queue: VecDeque<Outgoing>,
    broken: Option<Broken>,
}

pub struct Connection {
    pipe: Pipe,
    side: Side,
    woken: Arc<Woken>,
    waker: Waker,
    streams: HashMap<Key, Stream>,
    /// Client requests that the peer's concurrency limit holds back.
    opening: VecDeque<Key>,
    /// The last request that h2 has taken; it may be held back, too.
    last_opened: Option<Key>,
    /// h2 was asked for room while it held a request back.
    crowded: bool,
    next_key: Key,
    going_away: bool,
    ended: Option<String>,
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
            last_opened: None,
            crowded: false,
            next_key: 1,
            going_away: false,
            ended: None,
        }
    }

    pub fn client(settings: &Settings) -> Self {
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

    pub fn server(settings: &Settings) -> Self {
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

    pub fn feed(&mut self, bytes: &[u8]) {
        self.pipe.feed(bytes);
    }

    pub fn feed_eof(&mut self) {
        self.pipe.feed_eof();
    }

    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        self.pipe.take_output(out);
    }

    /// New streams can be opened: neither closed nor told to go away.
    pub fn usable(&self) -> bool {
        self.ended.is_none() && !self.going_away
    }

    /// Why the connection is over, once it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    // ---- progress

    /// Runs the protocol until nothing moves. `accepted` receives the peer's new requests, `ready` the keys of
    /// streams that may have news (also ones that have none, and the same key more than once).
    pub fn advance(&mut self, accepted: &mut Vec<(Key, RequestHead)>, ready: &mut Vec<Key>) {
        while self.woken.connection.swap(false, Ordering::AcqRel) {
            self.poll_connection(accepted);
            self.look_at_last_opened();
            self.open_queued();
        }
        if let Ok(mut streams) = self.woken.streams.lock() {
            ready.append(&mut streams);
        }
        if self.ended.is_some() {
            ready.extend(self.streams.keys());
        }
    }

    fn poll_connection(&mut self, accepted: &mut Vec<(Key, RequestHead)>) {
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
                    let room = requests.as_mut().map(|requests| requests.poll_ready(&mut cx));
                    self.going_away |= matches!(room, Some(Poll::Ready(Err(_))));
                    self.crowded |= matches!(room, Some(Poll::Pending));
                }
            },
            Side::Server(connection) => loop {
                match connection.poll_accept(&mut cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        let key = respond.stream_id().as_u32();
                        let (parts, recv) = request.into_parts();
                        let mut stream = Stream::new(key, &self.woken);
                        stream.respond = Some(respond);
                        stream.recv = Some(recv);
                        self.streams.insert(key, stream);
                        accepted.push((key, RequestHead { path: parts.uri, headers: parts.headers }));
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
    pub fn open(&mut self, request: Request<()>, end: bool) -> Key {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        let mut stream = Stream::new(key, &self.woken);
        stream.request = Some((request, end));
        self.streams.insert(key, stream);
        self.opening.push_back(key);
        self.open_queued();
        key
    }

    /// Asking h2 for room while a request waits to be opened takes that request's waker: it is woken here instead.
    fn look_at_last_opened(&mut self) {
        if let (true, Some(key)) = (std::mem::take(&mut self.crowded), self.last_opened) {
            if let Ok(mut streams) = self.woken.streams.lock() {
                streams.push(key);
            }
        }
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
                Poll::Pending => {
                    self.crowded = true;
                    return;
                }
                Poll::Ready(Ok(())) => {
                    self.last_opened = Some(key);
                    let sent = stream.request.take().map(|(request, end)| requests.send_request(request, end));
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
            if let Ok(mut streams) = self.woken.streams.lock() {
                streams.push(key);
            }
            self.opening.pop_front();
        }
    }

    /// Client: the response's head, once.
    pub fn response(&mut self, key: Key) -> Poll<Result<ResponseHead, Broken>> {
        let Some(stream) = self.streams.get_mut(&key) else { return Poll::Pending };
        if let Some(broken) = &stream.broken {
            return Poll::Ready(Err(broken.clone()));
        }
        let Some(response) = &mut stream.response else { return Poll::Pending };
        match Pin::new(response).poll(&mut Context::from_waker(&stream.waker)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(response)) => {
                let (parts, recv) = response.into_parts();
                stream.response = None;
                stream.recv = Some(recv);
                Poll::Ready(Ok(ResponseHead { status: parts.status.as_u16(), headers: parts.headers }))
            }
            Poll::Ready(Err(error)) => {
                self.going_away |= error.is_go_away() || error.is_io();
                Poll::Ready(Err(broken(&error, self.ended.as_deref())))
            }
        }
    }

    /// The next bytes of the body. Their room in the peer's window is given back at once: who calls has asked for them.
    pub fn data(&mut self, key: Key) -> Incoming {
        let Some(stream) = self.streams.get_mut(&key) else { return Incoming::Pending };
        if let Some(broken) = &stream.broken {
            return Incoming::Broken(broken.clone());
        }
        let Some(recv) = &mut stream.recv else { return Incoming::Pending };
        let mut cx = Context::from_waker(&stream.waker);
        let error = match recv.poll_data(&mut cx) {
            Poll::Pending => return Incoming::Pending,
            Poll::Ready(Some(Ok(data))) => {
                // Fails only when more is released than was received.
                let _ = recv.flow_control().release_capacity(data.len());
                return Incoming::Data(data);
            }
            Poll::Ready(Some(Err(error))) => error,
            Poll::Ready(None) => match recv.poll_trailers(&mut cx) {
                Poll::Pending => return Incoming::Pending,
                Poll::Ready(Ok(trailers)) => return Incoming::End(trailers),
                Poll::Ready(Err(error)) => error,
            },
        };
        self.going_away |= error.is_go_away() || error.is_io();
        Incoming::Broken(broken(&error, self.ended.as_deref()))
    }

    /// Server: whether the client took its request back (RST_STREAM), or the connection was lost.
    pub fn reset_by_peer(&mut self, key: Key) -> Option<Broken> {
        let stream = self.streams.get_mut(&key)?;
        let mut cx = Context::from_waker(&stream.waker);
        let polled = match (&mut stream.send, &mut stream.respond) {
            (Some(send), _) => send.poll_reset(&mut cx),
            (None, Some(respond)) => respond.poll_reset(&mut cx),
            (None, None) => return None,
        };
        match polled {
            Poll::Pending => None,
            Poll::Ready(Ok(reason)) => Some(Broken {
                code: Some(reason.into()),
                unprocessed: false,
                reason: format!("the peer reset the stream: {reason}"),
            }),
            Poll::Ready(Err(error)) => Some(broken(&error, self.ended.as_deref())),
        }
    }

    /// Server: the response's head.
    pub fn respond(&mut self, key: Key, status: StatusCode, headers: HeaderMap, end: bool) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let Some(mut respond) = stream.respond.take() else { return };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        match respond.send_response(response, end) {
            Ok(send) => stream.send = Some(send),
            // The stream is gone already; reset_by_peer tells.
            Err(_) => stream.respond = Some(respond),
        }
    }

    /// Queues a message's bytes. `sent` says when the peer's window has taken them.
    pub fn send(&mut self, key: Key, data: Bytes, end: bool) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.queue.push_back(Outgoing::Data(data, end));
            stream.pump();
        }
    }

    pub fn send_trailers(&mut self, key: Key, trailers: HeaderMap) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.queue.push_back(Outgoing::Trailers(trailers));
            stream.pump();
        }
    }

    /// Pushes on what is queued; true once nothing is.
    pub fn sent(&mut self, key: Key) -> bool {
        self.streams.get_mut(&key).is_none_or(|stream| {
            stream.pump();
            stream.queue.is_empty()
        })
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

impl Stream {
    fn new(key: Key, woken: &Arc<Woken>) -> Self {
        Self {
            waker: Waker::from(Arc::new(StreamWaker { key, woken: woken.clone() })),
            request: None,
            response: None,
            respond: None,
            send: None,
            recv: None,
            queue: VecDeque::new(),
            broken: None,
        }
    }

    fn refuse(&mut self, reason: &str) {
        self.broken = Some(Broken { code: None, unprocessed: true, reason: reason.to_owned() });
    }

    /// Hands queued bytes to h2 as far as the peer's window has room: the queue is the only buffer.
    fn pump(&mut self) {
        let Some(send) = &mut self.send else { return };
        let mut cx = Context::from_waker(&self.waker);
        while let Some(next) = self.queue.pop_front() {
            match next {
                Outgoing::Trailers(trailers) => {
                    let _ = send.send_trailers(trailers); // refused only on a dead stream, which reading reports
                }
                Outgoing::Data(mut data, end) => {
                    send.reserve_capacity(data.len());
                    let room = send.capacity();
                    if room >= data.len() {
                        let _ = send.send_data(data, end);
                        continue;
                    }
                    if room > 0 {
                        let _ = send.send_data(data.split_to(room), false);
                    }
                    self.queue.push_front(Outgoing::Data(data, end));
                    if !matches!(send.poll_capacity(&mut cx), Poll::Ready(Some(Ok(_)))) {
                        return; // no room now, or a dead stream, which reading reports
                    }
                }
            }
        }
    }
}

fn broken(error: &h2::Error, ended: Option<&str>) -> Broken {
    let connection_lost = error.is_io() || error.is_go_away();
    let unprocessed = (error.is_go_away() && error.is_remote()) || error.reason() == Some(Reason::REFUSED_STREAM);
    Broken {
        code: if connection_lost { None } else { error.reason().map(u32::from) },
        unprocessed,
        reason: match ended {
            Some(ended) if connection_lost && !unprocessed => ended.to_owned(),
            _ if unprocessed && error.is_go_away() => String::from("the peer is going away and did not take the call"),
            _ => error.to_string(),
        },
    }
}
