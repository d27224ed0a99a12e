//! Conversations by the rules, ours with h2's and ours with ours: whatever the order, the portions and the windows, each
//! side gets what the other said.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxyless_core::http2::{self, Headers, Key, Settings, Template};

use super::by_h2;
use super::endpoint::Endpoint;
use super::fuzz;
use super::random::Random;

type Ours = http2::Connection;
type Theirs = by_h2::Connection;

#[test]
fn our_client_with_their_server() {
    fuzz("our_client", talk::<Ours, Theirs>);
}

#[test]
fn their_client_with_our_server() {
    fuzz("our_server", talk::<Theirs, Ours>);
}

#[test]
fn our_client_with_our_server() {
    fuzz("ours", talk::<Ours, Ours>);
}

/// What one side said on a stream, and what it heard.
#[derive(Default)]
struct Side {
    said: usize,
    ended: bool,
    trailers: Option<Vec<(String, Vec<u8>)>>,
    head: Option<Vec<(String, Vec<u8>)>>,
    /// It was the one to reset the stream.
    reset: Option<u32>,
    heard: usize,
    heard_head: Option<Vec<(String, Vec<u8>)>>,
    heard_end: bool,
    heard_trailers: Option<Vec<(String, Vec<u8>)>>,
    broken: Option<(Option<u32>, bool, String)>,
    /// Reads nothing for now.
    stalled: bool,
}

#[derive(Default)]
struct Call {
    client: Side,
    server: Side,
    accepted: bool,
}

/// `:path` carries the call's number from one side to the other: keys of h2's client are its own.
struct Talk<C, S> {
    client: C,
    server: S,
    up: Vec<u8>,
    down: Vec<u8>,
    calls: Vec<Call>,
    by_client_key: BTreeMap<Key, usize>,
    by_server_key: BTreeMap<Key, usize>,
    leaving: bool,
}

/// The byte at that place of a stream: a lost or doubled one shows.
fn letter(call: usize, at: usize, up: bool) -> u8 {
    (call.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8) ^ usize::from(up)) as u8
}

fn text(call: usize, from: usize, length: usize, up: bool) -> Vec<u8> {
    (from..from + length).map(|at| letter(call, at, up)).collect()
}

fn sorted<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    fields.sort();
    fields
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        stream_window: *random.pick(&[100, 1000, 16_384, 65_535, 256 * 1024, 1 << 20]),
        connection_window: *random.pick(&[65_535, 100_000, 1 << 20, 256 << 20]),
        max_frame_size: *random.pick(&[16_384, 20_000, 128 * 1024]),
        max_concurrent_streams: *random.pick(&[1, 2, 10, 1000]),
        ..Settings::default()
    }
}

fn fields(random: &mut Random) -> Headers {
    let mut headers = Headers::new();
    for _ in 0..random.size(12) {
        let name = format!("x-{}", random.below(20));
        let most = if random.once_in(20) { 6000 } else { 40 };
        let length = random.size(most);
        let value: String = match random.below(3) {
            0 => "v".repeat(length),
            1 => (0..length).map(|_| (0x21 + random.below(0x5e) as u8) as char).collect(),
            _ => random.below(4).to_string(),
        };
        headers.push(&name, value);
    }
    headers
}

fn talk<C: Endpoint, S: Endpoint>(random: &mut Random) {
    let mut talk: Talk<C, S> = Talk {
        client: C::client(&settings(random)),
        server: S::server(&settings(random)),
        up: Vec::new(),
        down: Vec::new(),
        calls: Vec::new(),
        by_client_key: BTreeMap::new(),
        by_server_key: BTreeMap::new(),
        leaving: false,
    };
    let leaves = random.once_in(8);
    for _ in 0..random.size(600) {
        talk.step(random, leaves);
        talk.client.assert_sound();
        talk.server.assert_sound();
    }
    talk.finish(random);
    talk.client.assert_sound();
    talk.server.assert_sound();
    talk.compare();
}

impl<C: Endpoint, S: Endpoint> Talk<C, S> {
    fn step(&mut self, random: &mut Random, leaves: bool) {
        match random.below(20) {
            0 => self.open(random),
            1..=4 => self.say(random, true),
            5..=8 => self.say(random, false),
            9 => self.carry_up(random),
            10 => self.carry_down(random),
            11..=14 => self.listen(),
            15 if random.once_in(4) => self.reset(random),
            16 => {
                if let Some(call) = self.any(random) {
                    let side = if random.once_in(2) { &mut call.client } else { &mut call.server };
                    side.stalled = random.once_in(2);
                }
            }
            17 if leaves && random.once_in(50) => {
                self.leaving = true;
                if random.once_in(2) { self.client.shut_down() } else { self.server.shut_down() }
            }
            _ => {
                self.carry_up(random);
                self.carry_down(random);
                self.listen();
            }
        }
    }

    fn any(&mut self, random: &mut Random) -> Option<&mut Call> {
        let at = random.below(self.calls.len());
        self.calls.get_mut(at)
    }

    fn open(&mut self, random: &mut Random) {
        if self.calls.len() >= 60 {
            return;
        }
        let number = self.calls.len();
        let path = format!("/call/{number}");
        let fixed =
            [(":method", "POST"), (":scheme", "http"), (":path", &path), (":authority", "a"), ("te", "trailers")];
        let template = Arc::new(Template::new(fixed.into_iter().collect()));
        let extra = fields(random);
        let head = sorted(template.headers.fields().chain(extra.fields()));
        let key = self.client.open(&template, &extra);
        self.by_client_key.insert(key, number);
        let mut call = Call::default();
        call.client.head = Some(head);
        self.calls.push(call);
    }

    fn say(&mut self, random: &mut Random, up: bool) {
        let keys = if up { &self.by_client_key } else { &self.by_server_key };
        let Some((&key, &number)) = keys.iter().nth(random.below(keys.len())) else { return };
        let call = &mut self.calls[number];
        let side = if up { &mut call.client } else { &mut call.server };
        if side.ended || side.reset.is_some() {
            return;
        }
        if !up && side.head.is_none() {
            let headers = fields(random);
            side.head = Some(sorted(headers.fields()));
            side.ended = random.once_in(10);
            return self.server.respond(key, 200, &headers, side.ended);
        }
        if !up && random.once_in(4) {
            let trailers = fields(random);
            side.trailers = Some(sorted(trailers.fields()));
            side.ended = true;
            return self.server.send_trailers(key, &trailers);
        }
        let most = if random.once_in(10) { 300_000 } else { 3000 };
        let length = random.size(most);
        side.ended = random.once_in(5);
        let data = text(number, side.said, length, up);
        side.said += length;
        if up { self.client.send(key, data, side.ended) } else { self.server.send(key, data, side.ended) }
    }

    fn reset(&mut self, random: &mut Random) {
        let up = random.once_in(2);
        let keys = if up { &self.by_client_key } else { &self.by_server_key };
        let Some((&key, &number)) = keys.iter().nth(random.below(keys.len())) else { return };
        let call = &mut self.calls[number];
        let code = *random.pick(&[0x2, 0x7, 0x8, 0xb]);
        let side = if up { &mut call.client } else { &mut call.server };
        if side.reset.is_none() {
            side.reset = Some(code);
            if up { self.client.reset(key, code) } else { self.server.reset(key, code) }
        }
    }

    // ---- the wire

    fn carry_up(&mut self, random: &mut Random) {
        self.up.append(&mut self.client.output());
        let length = if random.once_in(3) { self.up.len() } else { random.size(self.up.len()) };
        let piece: Vec<u8> = self.up.drain(..length).collect();
        self.server.feed(&piece);
    }

    fn carry_down(&mut self, random: &mut Random) {
        self.down.append(&mut self.server.output());
        let length = if random.once_in(3) { self.down.len() } else { random.size(self.down.len()) };
        let piece: Vec<u8> = self.down.drain(..length).collect();
        self.client.feed(&piece);
    }

    // ---- reading

    fn listen(&mut self) {
        assert!(self.client.advance().is_empty());
        for (key, head) in self.server.advance() {
            let path = String::from_utf8(head.get(":path").expect("a path").to_vec()).expect("text");
            let number: usize = path.strip_prefix("/call/").and_then(|number| number.parse().ok()).expect("ours");
            let call = &mut self.calls[number];
            assert!(!std::mem::replace(&mut call.accepted, true), "accepted twice");
            call.server.heard_head = Some(sorted(head.fields()));
            self.by_server_key.insert(key, number);
        }
        for (&key, &number) in &self.by_client_key {
            hear(&mut self.client, key, number, &mut self.calls[number].client, false);
        }
        for (&key, &number) in &self.by_server_key {
            hear(&mut self.server, key, number, &mut self.calls[number].server, true);
        }
    }

    /// Everybody ends what is open and reads on until nothing moves.
    fn finish(&mut self, random: &mut Random) {
        let mut idle = 0; // rounds; h2 moves some things one round late
        for round in 0.. {
            let mut ended = false;
            for (&key, &number) in &self.by_client_key {
                let side = &mut self.calls[number].client;
                if !side.ended && side.reset.is_none() {
                    (side.ended, ended) = (true, true);
                    self.client.send(key, Vec::new(), true);
                }
                side.stalled = false;
            }
            for (&key, &number) in &self.by_server_key {
                let side = &mut self.calls[number].server;
                if !side.ended && side.reset.is_none() {
                    (side.ended, ended) = (true, true);
                    if side.head.is_none() {
                        let headers = fields(random);
                        side.head = Some(sorted(headers.fields()));
                        self.server.respond(key, 200, &headers, true);
                    } else {
                        self.server.send(key, Vec::new(), true);
                    }
                }
                side.stalled = false;
            }
            let (up, down) = (self.client.output(), self.server.output());
            let moved = ended || !up.is_empty() || !down.is_empty() || !self.up.is_empty() || !self.down.is_empty();
            self.up.extend(up);
            self.down.extend(down);
            let down_is_empty = self.down.is_empty();
            self.server.feed(&std::mem::take(&mut self.up));
            self.client.feed(&std::mem::take(&mut self.down));
            if self.server.ended().is_some() && down_is_empty {
                self.client.feed_eof(); // its driver closes the socket
            }
            self.listen();
            idle = if moved { 0 } else { idle + 1 };
            if idle > 3 {
                break;
            }
            assert!(round < 100_000, "it never comes to rest");
        }
    }

    fn compare(&self) {
        for (number, call) in self.calls.iter().enumerate() {
            let (client, server) = (&call.client, &call.server);
            let what =
                || format!("call {number}, client broken: {:?}, server broken: {:?}", client.broken, server.broken);
            if call.accepted {
                assert_eq!(server.heard_head, client.head, "{}", what());
                let said = client.broken.as_ref().is_none_or(|(_, unprocessed, _)| !unprocessed);
                assert!(said || server.reset == Some(0x7), "{}: processed all the same", what());
            } else if client.reset.is_none() {
                // Refused or not taken; or the server was gone before it had greeted.
                assert!(client.broken.as_ref().is_some_and(|broken| broken.1 || self.leaving), "{}", what());
            }
            let peaceful = client.reset.is_none() && server.reset.is_none();
            if peaceful && call.accepted {
                assert_eq!((client.broken.as_ref(), server.broken.as_ref()), (None, None), "{}", what());
                assert_eq!((server.heard, server.heard_end), (client.said, true), "{}: up", what());
                assert_eq!((client.heard, client.heard_end), (server.said, true), "{}: down", what());
                assert_eq!(client.heard_head, server.head, "{}", what());
                assert_eq!(client.heard_trailers, server.trailers, "{}", what());
                assert!(server.heard_trailers.is_none());
            }
            assert!(server.heard <= client.said && client.heard <= server.said, "{}", what());
            if let (Some(code), None, Some((Some(heard), _, _))) = (server.reset, client.reset, &client.broken) {
                assert_eq!(code, *heard, "{}", what());
            }
            if let (Some(code), None, Some((Some(heard), _, _))) = (client.reset, server.reset, &server.broken) {
                assert_eq!(code, *heard, "{}", what());
            }
        }
        if !self.leaving {
            assert_eq!((self.client.ended(), self.server.ended()), (None, None));
        }
    }
}

fn hear(endpoint: &mut impl Endpoint, key: Key, number: usize, side: &mut Side, up: bool) {
    if side.stalled || side.reset.is_some() {
        return;
    }
    let Some(view) = endpoint.view(key) else { return };
    if let Some(head) = view.head.take() {
        assert_eq!(head.get(":status"), Some(&b"200"[..]));
        side.heard_head = Some(sorted(head.fields()));
    }
    let data = view.body.split();
    assert!(data.iter().enumerate().all(|(at, byte)| *byte == letter(number, side.heard + at, up)), "call {number}");
    side.heard += data.len();
    side.heard_end |= view.ended;
    if let Some(trailers) = view.trailers.take() {
        side.heard_trailers = Some(sorted(trailers.fields()));
    }
    if let Some(broken) = view.broken.clone() {
        side.broken.get_or_insert((broken.code, broken.unprocessed, broken.reason));
    }
    if let Some(view) = endpoint.view(key).filter(|_| number % 2 == 0) {
        view.body.reserve(100_000); // as who knows that a large message has begun
    }
    endpoint.release(key, if number % 3 == 0 { 3 * data.len() } else { 0 });
}
