//! What our layer and h2's have in common, so that either can stand at either end.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proxyless_core::http2::{Connection, Headers, Key, Outbox, Settings, Template, View};

pub trait Endpoint: Sized {
    fn client(settings: &Settings) -> Self;
    fn server(settings: &Settings) -> Self;
    fn feed(&mut self, bytes: &[u8]);
    fn feed_eof(&mut self);
    fn output(&mut self) -> Vec<u8>;
    /// Moves all that can move; returns the peer's new requests.
    fn advance(&mut self) -> Vec<(Key, Headers)>;
    fn open(&mut self, template: &Arc<Template>, extra: &Headers) -> Key;
    fn view(&mut self, key: Key) -> Option<&mut View>;
    fn release(&mut self, key: Key, missing: usize);
    fn respond(&mut self, key: Key, status: u16, headers: &Headers, end: bool);
    fn send(&mut self, key: Key, data: Vec<u8>, end: bool);
    fn send_trailers(&mut self, key: Key, trailers: &Headers);
    fn reset(&mut self, key: Key, code: u32);
    fn shut_down(&mut self);
    /// New streams can be opened.
    fn usable(&self) -> bool;
    fn ended(&self) -> Option<&str>;
    fn assert_sound(&self) {}
}

impl Endpoint for Connection {
    fn client(settings: &Settings) -> Self {
        Self::client(settings, Instant::now())
    }
    fn server(settings: &Settings) -> Self {
        Self::server(settings, Instant::now())
    }
    fn feed(&mut self, mut bytes: &[u8]) {
        // As a driver does: right to their place what has one, the rest as it comes.
        while let Some((body, room)) = self.landing().filter(|_| !bytes.is_empty()) {
            let (landed, rest) = bytes.split_at(room.min(bytes.len()));
            body.extend_from_slice(landed);
            self.landed(landed.len(), Instant::now());
            bytes = rest;
            if bytes.len() % 2 == 0 {
                break;
            }
        }
        self.feed(bytes, Instant::now());
    }
    fn feed_eof(&mut self) {
        self.feed_eof();
    }
    fn output(&mut self) -> Vec<u8> {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        self.take_output(&mut outbox);
        outbox.write_to(&mut out);
        out
    }
    fn advance(&mut self) -> Vec<(Key, Headers)> {
        let mut accepted = Vec::new();
        self.advance(&mut accepted, &mut Vec::new());
        accepted
    }
    fn open(&mut self, template: &Arc<Template>, extra: &Headers) -> Key {
        self.open(template.clone(), extra.clone())
    }
    fn view(&mut self, key: Key) -> Option<&mut View> {
        self.view(key)
    }
    fn release(&mut self, key: Key, missing: usize) {
        self.release(key, missing);
    }
    fn respond(&mut self, key: Key, status: u16, headers: &Headers, end: bool) {
        self.respond(key, status, headers, end);
    }
    fn send(&mut self, key: Key, data: Vec<u8>, end: bool) {
        self.send(key, &[], Bytes::from(data), end);
    }
    fn send_trailers(&mut self, key: Key, trailers: &Headers) {
        self.send_trailers(key, trailers.clone());
    }
    fn reset(&mut self, key: Key, code: u32) {
        self.reset(key, code);
    }
    fn shut_down(&mut self) {
        self.shut_down();
    }
    fn usable(&self) -> bool {
        self.usable()
    }
    fn ended(&self) -> Option<&str> {
        self.ended()
    }
    fn assert_sound(&self) {
        self.assert_sound();
    }
}
