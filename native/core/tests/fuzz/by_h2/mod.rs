//! The oracle: HTTP/2 by the `h2` crate, polled by hand over an in-memory pipe. No runtime.
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
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::{Reason, client, server};
use http::{Response, StatusCode};
use proxyless_core::http2::{Headers, Key, Settings, Template, View};

use super::endpoint::Endpoint;
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
}

impl Connection {
    fn new(pipe: Pipe, side: Side) -> Self {
        let woken = Arc::new(Woken::new());
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
}

impl Endpoint for Connection {
    fn client(settings: &Settings) -> Self {
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

    fn server(settings: &Settings) -> Self {
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

    fn feed(&mut self, bytes: &[u8]) {
        self.pipe.feed(bytes);
    }

    fn feed_eof(&mut self) {
        self.pipe.feed_eof();
    }

    fn output(&mut self) -> Vec<u8> {
        self.pipe.take_output()
    }

    fn advance(&mut self) -> Vec<(Key, Headers)> {
        let mut accepted = Vec::new();
        loop {
            while self.woken.connection.swap(false, Ordering::AcqRel) {
                self.poll_connection(&mut accepted);
                self.poll_stream(self.latest);
                self.open_queued();
            }
            let mut woken = self.woken.take();
            if self.ended.is_some() {
                woken.extend(self.streams.keys());
            }
            for key in woken {
                self.poll_stream(key);
            }
            if !self.woken.any() {
                return accepted;
            }
        }
    }

    fn open(&mut self, template: &Arc<Template>, extra: &Headers) -> Key {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(2);
        let mut stream = Stream::new(key, &self.woken);
        stream.request = request(&template.headers, extra);
        self.streams.insert(key, stream);
        self.opening.push_back(key);
        self.open_queued();
        key
    }

    fn view(&mut self, key: Key) -> Option<&mut View> {
        self.poll_stream(key); // h2 does not wake who it did not tell to wait
        self.streams.get_mut(&key).map(|stream| &mut stream.view)
    }

    fn release(&mut self, key: Key, _: usize) {
        if let Some(stream) = self.streams.get_mut(&key) {
            let held = std::mem::take(&mut stream.held);
            if let Some(recv) = &mut stream.recv {
                // Fails only when more is released than was received.
                let _ = recv.flow_control().release_capacity(held);
            }
        }
    }

    fn respond(&mut self, key: Key, status: u16, headers: &Headers, end: bool) {
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

    fn send(&mut self, key: Key, data: Vec<u8>, end: bool) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.queue.push_back(Outgoing::Data(Bytes::from(data), end));
            stream.pump();
        }
    }

    fn send_trailers(&mut self, key: Key, trailers: &Headers) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.queue.push_back(Outgoing::Trailers(map(trailers.fields())));
            stream.pump();
        }
    }

    fn reset(&mut self, key: Key, code: u32) {
        if let Some(mut stream) = self.streams.remove(&key) {
            let reason = Reason::from(code);
            if let Some(send) = &mut stream.send {
                send.send_reset(reason);
            } else if let Some(respond) = &mut stream.respond {
                respond.send_reset(reason);
            }
        }
    }

    fn shut_down(&mut self) {
        self.going_away = true;
        match &mut self.side {
            Side::Client { requests, .. } => *requests = None,
            Side::Server(connection) => connection.graceful_shutdown(),
            Side::Handshake(_) | Side::Closed => self.end("closed by this side"),
        }
        self.woken.connection.store(true, Ordering::Release);
    }

    fn usable(&self) -> bool {
        self.ended.is_none() && !self.going_away
    }

    fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }
}
