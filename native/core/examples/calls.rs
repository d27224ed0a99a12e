//! What a call costs without sockets and Python: both ends in one thread, joined by their bytes.
//!
//!     cargo run --release --package proxyless-core --example calls

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proxyless_core::grpc::message::Framed;
use proxyless_core::grpc::{ANY_NUMBER, Connection, status};
use proxyless_core::http2::{Headers, Key, Outbox, Settings, Template};

const LIMIT: usize = 16 << 20;

struct Pair {
    client: Connection,
    server: Connection,
    wire: Outbox,
    template: Arc<Template>,
    accepted: Vec<Key>,
}

impl Pair {
    fn new() -> Self {
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/pkg.Service/Method"),
            (":authority", "127.0.0.1:50051"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-python-proxyless/0.1"),
            ("grpc-accept-encoding", "identity, deflate, gzip"),
        ];
        let settings = Settings::default();
        let mut pair = Self {
            client: Connection::client(&settings, LIMIT, String::new(), Instant::now()),
            server: Connection::server(&settings, LIMIT, Instant::now()),
            wire: Outbox::default(),
            template: Arc::new(Template::new(headers.into_iter().collect())),
            accepted: Vec::new(),
        };
        pair.up();
        pair.down();
        pair
    }

    fn up(&mut self) {
        while carry(&mut self.client, &mut self.server, &mut self.wire) {}
    }

    fn down(&mut self) {
        while carry(&mut self.server, &mut self.client, &mut self.wire) {}
    }

    fn start(&mut self, payload: &Bytes) -> Key {
        let mut extra = Headers::new();
        extra.push("grpc-timeout", "4999987u");
        self.client.start(self.template.clone(), extra, None, Some(Framed::plain(payload.clone())))
    }

    /// Answers what came with what it said.
    fn serve(&mut self) {
        self.accepted.extend(self.server.take_accepted());
        for key in std::mem::take(&mut self.accepted) {
            let Some(payload) = self.server.take_message(key) else {
                self.accepted.push(key);
                continue;
            };
            self.server.respond(key, [("content-type", "application/grpc")].into_iter().collect());
            self.server.send(key, Framed::plain(payload), false);
            let mut trailers = Headers::new();
            status::write(0, "", &mut trailers);
            self.server.finish(key, trailers);
            self.server.forget(key);
        }
        self.server.take_changed();
    }

    fn calls(&mut self, together: usize, payload: &Bytes) {
        let keys: Vec<Key> = (0..together).map(|_| self.start(payload)).collect();
        while keys.iter().any(|key| self.client.call(*key).is_some_and(|call| call.finished.is_none())) {
            self.up();
            self.serve();
            self.down();
        }
        self.client.take_changed();
        for key in keys {
            let echoed = self.client.take_message(key).expect("an answer");
            assert_eq!(echoed.len(), payload.len());
            self.client.forget(key);
        }
    }

    fn stream(&mut self, messages: usize) {
        let call = self.client.start(self.template.clone(), Headers::new(), None, None);
        self.client.half_close(call);
        let served = loop {
            self.up();
            match self.server.take_accepted()[..] {
                [served] => break served,
                _ => self.down(),
            }
        };
        self.server.respond(served, [("content-type", "application/grpc")].into_iter().collect());
        self.client.want(call, ANY_NUMBER);
        for nth in 0..messages {
            self.server.send(served, Framed::plain(Bytes::from_static(&[7; 100])), false);
            if nth % 64 == 63 {
                self.down();
                while self.client.take_message(call).is_some() {}
                self.up();
            }
        }
        self.server.finish(served, Headers::new());
        self.server.forget(served);
        self.down();
        self.client.forget(call);
        self.up();
    }
}

/// What one side has to send, from where it lies, as a socket would be given it; false: nothing.
fn carry(from: &mut Connection, to: &mut Connection, wire: &mut Outbox) -> bool {
    from.take_output(wire);
    let moved = !wire.is_empty();
    while !wire.is_empty() {
        let mut piece = [IoSlice::new(&[])];
        wire.slices(&mut piece);
        let length = piece[0].len();
        to.feed(&piece[0], Instant::now());
        to.advance();
        wire.consume(length);
    }
    moved
}

/// The shortest of many, in nanoseconds for one of `each`.
fn best(each: usize, mut run: impl FnMut()) -> f64 {
    let (mut best, until) = (f64::MAX, Instant::now() + Duration::from_secs(2));
    while Instant::now() < until {
        let before = Instant::now();
        run();
        best = best.min(before.elapsed().as_secs_f64() * 1e9 / each as f64);
    }
    best
}

fn main() {
    let mut pair = Pair::new();
    let payload = Bytes::from_static(&[7; 100]);
    println!("{:8.0} ns  a unary call, one at a time", best(100, || (0..100).for_each(|_| pair.calls(1, &payload))));
    println!("{:8.0} ns  a unary call, 64 together", best(640, || (0..10).for_each(|_| pair.calls(64, &payload))));
    println!("{:8.0} ns  a message of a stream", best(6400, || pair.stream(6400)));
    let large = Bytes::from(vec![7; 1 << 20]);
    println!("{:8.0} ns  a unary call of 1 MiB each way", best(4, || (0..4).for_each(|_| pair.calls(1, &large))));
}
