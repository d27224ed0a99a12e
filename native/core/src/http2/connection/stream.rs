//! One stream's state (RFC 9113, section 5.1), each direction for itself: open, then ended.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::http2::{Headers, Template, View};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Client: the request waits for the peer's limit of streams.
    Waiting,
    Open,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// Client: until the response's final head.
    Head,
    Body,
    Ended,
}

pub struct Request {
    pub template: Arc<Template>,
    pub extra: Headers,
}

pub enum Outgoing {
    Data { prefix: Bytes, data: Bytes, end: bool },
    Trailers(Headers),
}

pub struct Stream {
    pub view: View,
    pub sending: Sending,
    pub receiving: Receiving,
    pub request: Option<Box<Request>>,
    /// What waits for the peer's window, or for its turn.
    pub queue: VecDeque<Outgoing>,
    /// In the schedule's line.
    pub scheduled: bool,
    pub send_window: i64,
    pub recv_window: i64,
    /// Bytes that arrived and that nobody has asked for yet.
    pub held: i64,
    /// How much its window was last made beyond the one that all begin with.
    pub wide: i64,
    /// What is left of content-length.
    pub expected: Option<u64>,
    /// Either side reset it.
    pub reset_by_peer: bool,
    /// Server: something was answered.
    pub answered: bool,
}

impl Stream {
    pub fn new(sending: Sending, receiving: Receiving, send_window: i64, recv_window: i64) -> Self {
        Self {
            view: View::default(),
            sending,
            receiving,
            request: None,
            queue: VecDeque::new(),
            scheduled: false,
            send_window,
            recv_window,
            held: 0,
            wide: 0,
            expected: None,
            reset_by_peer: false,
            answered: false,
        }
    }

    /// How much its peer may have sent, or may still send, that has not come.
    pub fn late_window(&self) -> i64 {
        if self.receiving == Receiving::Ended || self.reset_by_peer { 0 } else { self.recv_window }
    }

    /// On the wire, and not ended both ways: it counts against the limit of concurrent streams.
    pub fn open(&self) -> bool {
        match self.sending {
            Sending::Waiting => false,
            Sending::Open => self.view.broken.is_none(),
            Sending::Ended => self.view.broken.is_none() && self.receiving != Receiving::Ended,
        }
    }
}
