//! One stream of h2's, moved on by hand, and what its futures wake.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request};
use proxyless_core::http2::{Broken, Headers, Key, View};

use super::convert::{headers, response_headers};

/// What fired since the last look. Shared by all wakers of one connection.
pub struct Woken {
    pub connection: AtomicBool,
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
        self.woken.note(self.key);
    }
}

impl Woken {
    pub fn new() -> Self {
        Self { connection: AtomicBool::new(true), streams: Mutex::default() }
    }

    pub fn any(&self) -> bool {
        self.connection.load(Ordering::Acquire) || self.streams.lock().is_ok_and(|streams| !streams.is_empty())
    }

    pub fn take(&self) -> Vec<Key> {
        self.streams.lock().map(|mut streams| std::mem::take(&mut *streams)).unwrap_or_default()
    }

    pub fn note(&self, key: Key) {
        if let Ok(mut streams) = self.streams.lock() {
            if streams.last() != Some(&key) {
                streams.push(key);
            }
        }
    }
}

pub enum Outgoing {
    Data(Bytes, bool),
    Trailers(HeaderMap),
}

pub struct Stream {
    pub view: View,
    waker: Waker,
    /// Client: the request until h2 takes it.
    pub request: Option<Request<()>>,
    /// Client: the response until it is there.
    pub response: Option<client::ResponseFuture>,
    /// Server: the means to answer, until the head is sent.
    pub respond: Option<server::SendResponse<Bytes>>,
    pub send: Option<SendStream<Bytes>>,
    pub recv: Option<RecvStream>,
    pub queue: VecDeque<Outgoing>,
    /// It is the peer's request.
    pub served: bool,
    /// Bytes in the view whose room the peer has not got back.
    pub held: usize,
}

impl Stream {
    pub fn new(key: Key, woken: &Arc<Woken>) -> Self {
        Self {
            view: View::default(),
            waker: Waker::from(Arc::new(StreamWaker { key, woken: woken.clone() })),
            request: None,
            response: None,
            respond: None,
            send: None,
            recv: None,
            queue: VecDeque::new(),
            served: false,
            held: 0,
        }
    }

    /// Moves what h2 has for the stream to its view. True: what broke it ends the connection, too.
    pub fn poll(&mut self, ended: Option<&str>) -> bool {
        self.pump();
        if self.view.broken.is_some() {
            return false;
        }
        match self.poll_parts() {
            Ok(()) => false,
            Err(error) => {
                self.view.broken = Some(broken(&error, ended));
                error.is_go_away() || error.is_io()
            }
        }
    }

    fn poll_parts(&mut self) -> Result<(), h2::Error> {
        let mut cx = Context::from_waker(&self.waker);
        if let Some(response) = &mut self.response {
            let Poll::Ready(response) = Pin::new(response).poll(&mut cx)? else { return Ok(()) };
            let (parts, recv) = response.into_parts();
            self.response = None;
            self.recv = Some(recv);
            self.view.head = Some(response_headers(&parts));
        }
        // A client's stream has one place for a waker that sends, and the limit of streams needs it; reading tells of resets.
        let reset = match (&mut self.send, &mut self.respond) {
            (Some(send), _) if self.served => send.poll_reset(&mut cx),
            (None, Some(respond)) => respond.poll_reset(&mut cx),
            _ => Poll::Pending,
        };
        if let Some(recv) = self.recv.as_mut().filter(|_| !self.view.ended) {
            while let Poll::Ready(data) = recv.poll_data(&mut cx) {
                match data.transpose()? {
                    Some(data) => {
                        self.held += data.len();
                        self.view.body.extend_from_slice(&data);
                    }
                    None => {
                        if let Poll::Ready(trailers) = recv.poll_trailers(&mut cx)? {
                            self.view.trailers = trailers.as_ref().map(|trailers| headers(trailers, Headers::new()));
                            self.view.ended = true;
                        }
                        break;
                    }
                }
            }
        }
        match reset {
            Poll::Ready(reason) => Err(h2::Error::from(reason?)),
            Poll::Pending => Ok(()),
        }
    }

    pub fn refuse(&mut self, reason: &str) {
        self.view.broken = Some(Broken { code: None, unprocessed: true, reason: reason.to_owned() });
    }

    /// Hands queued bytes to h2 as far as the peer's window has room: the queue is the only buffer.
    pub fn pump(&mut self) {
        self.push_on();
        self.view.unsent = !self.queue.is_empty();
    }

    fn push_on(&mut self) {
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
