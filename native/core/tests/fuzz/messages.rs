//! gRPC's messages in any form, cut anywhere, into a call of ours: each one that is whole comes out as it went in, what is
//! wrong ends the call with the status that it should, and no more is kept than was asked for.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proxyless_core::grpc::status::code;
use proxyless_core::grpc::{ANY_NUMBER, Connection};
use proxyless_core::http2::{self, Headers, Outbox, Settings, Template};

use super::fuzz;
use super::random::Random;
use super::wire::{self, DATA, END_HEADERS, END_STREAM, Frame, HEADERS};

const LIMIT: usize = 4000;
const MOST_WANTED: usize = 3;

/// A body, and what has to come of it.
struct Body {
    encoding: &'static str,
    bytes: Vec<u8>,
    messages: Vec<Vec<u8>>,
    /// What the first message that is wrong ends the call with.
    status: Option<i32>,
}

fn compress(encoding: &str, payload: &[u8]) -> Vec<u8> {
    let done = match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(payload).and_then(|()| encoder.finish())
        }
        _ => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(payload).and_then(|()| encoder.finish())
        }
    };
    done.expect("compressed")
}

impl Body {
    fn new(random: &mut Random) -> Self {
        let encoding = *random.pick(&["identity", "gzip", "deflate"]);
        let mut body = Self { encoding, bytes: Vec::new(), messages: Vec::new(), status: None };
        for _ in 0..random.below(8) {
            if random.once_in(12) {
                body.slip(random);
                break;
            }
            let length = random.size(LIMIT);
            let payload = if random.once_in(2) { vec![7; length] } else { random.bytes(length) };
            let compressed = if encoding == "identity" { Vec::new() } else { compress(encoding, &payload) };
            if !compressed.is_empty() && compressed.len() <= LIMIT && random.once_in(2) {
                body.add(1, compressed.len(), &compressed);
            } else {
                body.add(0, length, &payload);
            }
            body.messages.push(payload);
        }
        body
    }

    fn add(&mut self, flags: u8, length: usize, payload: &[u8]) {
        self.bytes.push(flags);
        self.bytes.extend((length as u32).to_be_bytes());
        self.bytes.extend(payload);
    }

    /// Ends with something that is no message.
    fn slip(&mut self, random: &mut Random) {
        let plain = self.encoding == "identity";
        self.status = Some(match random.below(6) {
            0 => {
                self.add(2 + random.below(254) as u8, 0, &[]);
                code::INTERNAL
            }
            1 => {
                self.add(0, LIMIT + 1 + random.size(1 << 30), &[]);
                code::RESOURCE_EXHAUSTED
            }
            2 => {
                self.add(1, 9, b"not that.");
                code::INTERNAL
            }
            3 if !plain => {
                let bomb = compress(self.encoding, &vec![0; LIMIT + 1 + random.size(1 << 20)]);
                self.add(1, bomb.len(), &bomb);
                code::RESOURCE_EXHAUSTED
            }
            4 if !plain => {
                let whole = compress(self.encoding, &[5; 300]);
                let cut = random.below(whole.len());
                self.add(1, cut, &whole[..cut]);
                code::INTERNAL
            }
            _ => {
                self.add(0, 100, &[0; 99]); // the end comes too early
                self.bytes.truncate(self.bytes.len() - random.below(103));
                code::INTERNAL
            }
        });
    }

    /// As DATA frames of any size.
    fn frames(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let most = if random.once_in(2) { rest.len() } else { 50 };
            let (piece, others) = rest.split_at((1 + random.size(most)).min(rest.len()));
            rest = others;
            out.push(wire::frame(DATA, 0, 1, piece));
        }
        out
    }

    /// Feeds it to a call, whose owner asks for messages now and then; returns all that came.
    fn pass(&self, random: &mut Random, call: &mut Connection, end: &[u8]) -> Vec<Bytes> {
        let mut came = Vec::new();
        let mut frames = self.frames(random);
        frames.push(end.to_vec());
        for frame in frames {
            let (early, late) = frame.split_at(random.below(frame.len() + 1));
            for piece in [early, late] {
                call.feed(piece, Instant::now());
                call.advance();
            }
            call.want(1, random.below(MOST_WANTED + 1));
            assert!(call.call(1).is_some_and(|call| call.inbox.len() <= MOST_WANTED), "more than was asked for");
            came.extend(std::iter::from_fn(|| call.take_message(1)).take(random.below(4)));
        }
        call.want(1, ANY_NUMBER);
        came.extend(std::iter::from_fn(|| call.take_message(1)));
        came
    }
}

fn caller() -> Connection {
    let mut client = Connection::client(&Settings::default(), LIMIT, String::new(), Instant::now());
    let template = Arc::new(Template::new(wire::REQUEST.into_iter().collect()));
    assert_eq!(client.start(template, Headers::new(), None, None), 1);
    client.feed(&wire::frame(wire::SETTINGS, 0, 0, &[]), Instant::now());
    client
}

fn output(connection: &mut Connection) -> Vec<u8> {
    let mut outbox = Outbox::default();
    connection.take_output(&mut outbox);
    let mut out = Vec::new();
    outbox.write_to(&mut out);
    out
}

fn head(fields: &[(&str, &str)], encoding: &str) -> Vec<u8> {
    let grpc = [("content-type", "application/grpc"), ("grpc-encoding", encoding)];
    wire::frame(HEADERS, END_HEADERS, 1, &wire::block(&[fields, &grpc[..]].concat()))
}

#[test]
fn requests_in_any_pieces() {
    fuzz("requests", |random| {
        let body = Body::new(random);
        let mut server = Connection::server(&Settings::default(), LIMIT, Instant::now());
        let settings = wire::frame(wire::SETTINGS, 0, 0, &[]);
        server.feed(&[wire::PREFACE, &settings, &head(&wire::REQUEST, body.encoding)].concat(), Instant::now());
        server.advance();
        assert_eq!(server.take_accepted(), [1]);
        let came = body.pass(random, &mut server, &wire::frame(DATA, END_STREAM, 1, &[]));
        assert_eq!(came, body.messages);
        assert_eq!(server.ended(), None);
        let call = server.call(1).expect("there");
        assert_eq!(call.finished.as_ref().map(|status| status.code), body.status);
        assert_eq!(call.half_closed, body.status.is_none());
        // The client is told the same.
        let mut client = caller();
        client.feed(&output(&mut server), Instant::now());
        client.advance();
        client.want(1, ANY_NUMBER);
        let told = client.call(1).and_then(|call| call.finished.clone());
        assert_eq!(told.map(|status| status.code), body.status);
    });
}

#[test]
fn answers_in_any_pieces() {
    fuzz("answers", |random| {
        let body = Body::new(random);
        let mut client = caller();
        output(&mut client);
        client.feed(&head(&[(":status", "200")], body.encoding), Instant::now());
        client.advance();
        let trailers = wire::block(&[("grpc-status", "0")]);
        let came = body.pass(random, &mut client, &wire::frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        assert_eq!(came, body.messages);
        assert_eq!(client.ended(), None);
        let finished = client.call(1).and_then(|call| call.finished.as_ref()).map(|status| status.code);
        assert_eq!(finished, Some(body.status.unwrap_or(code::OK)));
        // The stream is let go of: the server may have more to say, or to hear, that nobody wants.
        let said = wire::parse(&output(&mut client));
        let resets: Vec<u32> = said.iter().filter(|frame| frame.kind == wire::RST_STREAM).map(Frame::code).collect();
        assert_eq!(resets, [if body.status.is_some() { http2::code::CANCEL } else { http2::code::NO_ERROR }]);
    });
}
