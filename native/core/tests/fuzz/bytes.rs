//! Bytes that mean anything or nothing: no panic, and memory in proportion to the windows.

use std::sync::Arc;

use proxyless_core::http2::{Connection, Headers, Settings, Template};

use super::endpoint::Endpoint;
use super::frames::Client;
use super::fuzz;
use super::random::Random;
use super::wire;

const MOST_STREAMS: u32 = 50;
const WINDOW: u32 = 64 * 1024;

#[test]
fn a_server_survives_any_bytes() {
    fuzz("server_bytes", |random| {
        let mut client = Client::new();
        let mut said = Client::greeting(random);
        for _ in 0..random.below(60) {
            said.extend(match random.below(10) {
                0 => client.slip(random).1,
                1..=3 => anything(random),
                _ => client.proper(random),
            });
        }
        survive(random, Connection::server(&settings(), std::time::Instant::now()), &said);
    });
}

#[test]
fn a_client_survives_any_bytes() {
    fuzz("client_bytes", |random| {
        let mut client = Connection::client(&settings(), std::time::Instant::now());
        let fixed = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x")];
        let template = Arc::new(Template::new(fixed.into_iter().collect()));
        for _ in 0..random.below(20) {
            let key = Endpoint::open(&mut client, &template, &Headers::new());
            let length = random.size(100_000);
            Endpoint::send(&mut client, key, vec![0; length], random.once_in(2));
        }
        let mut said = wire::frame(wire::SETTINGS, 0, 0, &[]);
        for _ in 0..random.below(60) {
            said.extend(if random.once_in(3) { anything(random) } else { answer(random) });
        }
        survive(random, client, &said);
    });
}

fn settings() -> Settings {
    Settings { max_concurrent_streams: MOST_STREAMS, stream_window: WINDOW, ..Settings::default() }
}

fn survive(random: &mut Random, mut connection: Connection, said: &[u8]) {
    let mut said = said.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(said.len());
        said[at] = random.number() as u8;
    }
    let mut rest = &said[..];
    let mut keys = vec![1, 3];
    while !rest.is_empty() {
        let most = if random.once_in(2) { rest.len() } else { 30 };
        let (piece, others) = rest.split_at(random.size(most).min(rest.len()));
        rest = others;
        Endpoint::feed(&mut connection, piece);
        let mut accepted = Vec::new();
        connection.advance(&mut accepted, &mut keys);
        keys.extend(accepted.iter().map(|(key, _)| *key));
        keys.dedup();
        let unread: usize = keys.iter().map(|key| connection.view(*key).map_or(0, |view| view.body.len())).sum();
        assert!(unread <= (MOST_STREAMS * WINDOW) as usize * 2);
        if let Some(&key) = keys.get(random.below(keys.len())) {
            act(random, &mut connection, key);
        }
        assert!(Endpoint::output(&mut connection).len() < 4 << 20);
        connection.assert_sound();
    }
}

fn act(random: &mut Random, connection: &mut Connection, key: u32) {
    let some: Headers = [("x", "y")].into_iter().collect();
    let (end, length) = (random.once_in(2), random.size(100_000));
    match random.below(9) {
        0 => connection.respond(key, 200, &some, end),
        1 | 2 => Endpoint::send(connection, key, vec![1; length], end),
        3 => connection.send_trailers(key, some),
        4 => connection.reset(key, 8),
        5 => connection.forget(key),
        6 if random.once_in(20) => connection.shut_down(),
        7 => {
            if let Some(view) = connection.view(key) {
                view.body.clear();
            }
        }
        _ => connection.release(key, length),
    }
}

fn answer(random: &mut Random) -> Vec<u8> {
    let stream = 1 + 2 * random.below(20) as u32;
    let end = u8::from(random.once_in(3));
    let status = *random.pick(&["200", "100", "404", "xyz"]);
    let head = wire::block(&[(":status", status), ("x", "y")]);
    let length = random.size(2000);
    match random.below(6) {
        0 | 1 => wire::frame(wire::HEADERS, wire::END_HEADERS | end, stream, &head),
        2 => wire::frame(wire::HEADERS, wire::END_HEADERS | 1, stream, &wire::block(&[("grpc-status", "0")])),
        3 => wire::frame(wire::WINDOW_UPDATE, 0, stream * u32::from(end), &(length as u32).to_be_bytes()),
        _ => wire::frame(wire::DATA, end, stream, &vec![0; length]),
    }
}

/// A frame of which nothing need be right.
fn anything(random: &mut Random) -> Vec<u8> {
    let length = random.size(300);
    let payload = random.bytes(length);
    let stream = if random.once_in(8) { random.number() as u32 } else { random.below(30) as u32 };
    let mut raw = wire::frame(random.below(11) as u8, random.number() as u8, stream, &payload);
    if random.once_in(20) {
        raw[2] = random.number() as u8;
    }
    raw
}
