//! Commands that send: requests, responses, messages, trailers.

use std::sync::Arc;

use bytes::Bytes;

use super::Connection;
use super::schedule::MARK;
use super::stream::{Outgoing, Receiving, Request, Sending, Stream};
use crate::http2::frame::code;
use crate::http2::{Broken, Headers, Key, Template};

/// Messages up to this size go straight to the output if nothing of their stream waits before them.
const SMALL: usize = 16 * 1024;

impl Connection {
    /// Client: a new request. It waits here while the peer's limit of concurrent streams is reached.
    pub fn open(&mut self, template: Arc<Template>, extra: Headers) -> Key {
        let key = self.next;
        self.next = self.next.saturating_add(2);
        let window = i64::from(self.peer.initial_window);
        let mut stream = Stream::new(Sending::Waiting, Receiving::Head, window, self.local_window);
        if !self.usable() {
            let reason = self.ended.as_deref().unwrap_or("the connection is closing").to_owned();
            stream.view.broken = Some(Broken { code: None, unprocessed: true, reason });
            self.note(key);
        } else if template.headers.list_size() + extra.list_size() > self.peer.max_header_list_size as usize {
            let limit = self.peer.max_header_list_size;
            let reason = format!("the call's headers are larger than the peer takes ({limit} bytes)");
            stream.view.broken = Some(Broken { code: Some(code::ENHANCE_YOUR_CALM), unprocessed: false, reason });
            self.note(key);
        } else {
            stream.request = Some(Box::new(Request { template, extra }));
            self.waiting.push_back(key);
        }
        self.streams.insert(key, stream);
        self.open_waiting();
        key
    }

    /// Sends the requests for which the peer's limit has room.
    pub(super) fn open_waiting(&mut self) {
        while self.open < self.peer.max_concurrent_streams {
            let Some(key) = self.waiting.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(&key) else { continue };
            let Some(request) = stream.request.take() else { continue };
            stream.sending = Sending::Open;
            self.open += 1;
            self.counters.opened += 1;
            let (encoder, max_frame) = (&mut self.encoder, self.peer.max_frame_size as usize);
            self.output.headers(key, false, max_frame, |out| {
                encoder.encode(Some(&request.template), &request.extra, out);
            });
            self.line_up(key);
        }
    }

    /// Server: the response's head, or with `end` all of it.
    pub fn respond(&mut self, key: Key, status: u16, headers: &Headers, end: bool) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.sending != Sending::Open || stream.view.broken.is_some() {
            return;
        }
        if !std::mem::replace(&mut stream.answered, true) {
            self.budgets.resets.earn();
        }
        self.strikes.forgive();
        let (encoder, max_frame) = (&mut self.encoder, self.peer.max_frame_size as usize);
        self.output.headers(key, end, max_frame, |out| encoder.encode_response(status, headers, out));
        if end {
            self.sent_end(key);
        }
    }

    /// The peer takes header lists of that size (`Headers::list_size`).
    pub fn fits(&self, list_size: usize) -> bool {
        list_size <= self.peer.max_header_list_size as usize
    }

    /// Sends `prefix` and `data`, one behind the other. The view says `unsent` until the peer's window has taken them.
    pub fn send(&mut self, key: Key, prefix: &[u8], data: Bytes, end: bool) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.sending == Sending::Ended || stream.view.broken.is_some() {
            return;
        }
        let length = prefix.len() + data.len();
        let max_frame = self.peer.max_frame_size as usize;
        let direct = stream.queue.is_empty()
            && stream.sending == Sending::Open
            && length <= SMALL.min(max_frame)
            && length as i64 <= stream.send_window.min(self.send_window).max(0)
            && self.output.len() < MARK;
        if direct {
            stream.send_window -= length as i64;
            self.send_window -= length as i64;
            self.output.data(key, prefix, &data, end, max_frame);
            self.strikes.forgive();
            if end {
                self.sent_end(key);
            }
            return;
        }
        stream.queue.push_back(Outgoing::Data { prefix: Bytes::copy_from_slice(prefix), data, end });
        stream.view.unsent = true;
        self.line_up(key);
    }

    /// Server: the regular end of a response.
    pub fn send_trailers(&mut self, key: Key, trailers: Headers) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.sending != Sending::Open || stream.view.broken.is_some() {
            return;
        }
        if stream.queue.is_empty() {
            return self.send_trailers_now(key, &trailers);
        }
        stream.queue.push_back(Outgoing::Trailers(trailers));
        self.line_up(key);
    }

    pub(super) fn send_trailers_now(&mut self, key: Key, trailers: &Headers) {
        let (encoder, max_frame) = (&mut self.encoder, self.peer.max_frame_size as usize);
        self.output.headers(key, true, max_frame, |out| encoder.encode(None, trailers, out));
        self.strikes.forgive();
        self.sent_end(key);
    }

    /// Our side of the stream ended regularly.
    pub(super) fn sent_end(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let was_open = stream.open();
        stream.sending = Sending::Ended;
        stream.queue.clear(); // nothing can follow
        stream.view.unsent = false;
        if was_open && !stream.open() {
            self.closed_one();
        }
    }
}
