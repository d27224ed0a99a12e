//! Clients that mean no good: each is stopped by its own limit, told why, counted, and costs little memory meanwhile.

mod wire;

use std::time::{Duration, Instant};

use bytes::Bytes;
use proxyless_core::http2::{Connection, Headers, Key, Outbox, Pings, Settings, code};
use wire::*;

struct Server {
    core: Connection,
    now: Instant,
    accepted: Vec<Key>,
}

impl Server {
    fn with(settings: Settings) -> Self {
        let now = Instant::now();
        let mut server = Self { core: Connection::server(&settings, now), now, accepted: Vec::new() };
        server.say(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        server.hear();
        server
    }

    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn say(&mut self, bytes: &[u8]) {
        self.core.feed(bytes, self.now);
        let (mut accepted, mut ready) = (Vec::new(), Vec::new());
        self.core.advance(&mut accepted, &mut ready);
        self.accepted.extend(accepted.iter().map(|(key, _)| *key));
        self.core.assert_sound();
    }

    /// What the server has to say, by frames.
    fn hear(&mut self) -> Vec<Frame> {
        parse(&self.raw())
    }

    fn raw(&mut self) -> Vec<u8> {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        self.core.take_output(&mut outbox);
        outbox.write_to(&mut out);
        out
    }

    /// Says it again and again until the server gives up; returns how often, and the code it gave.
    fn wear_out(&mut self, mut more: impl FnMut(u32) -> Vec<u8>) -> (u32, u32) {
        for round in 0..100_000 {
            let bytes = more(round);
            self.say(&bytes);
            if let Some(goaway) = self.hear().iter().find(|frame| frame.kind == GOAWAY) {
                assert!(self.core.ended().is_some());
                return (round, goaway.code());
            }
        }
        panic!("nothing stops it");
    }

    fn answer(&mut self, key: Key) {
        self.core.respond(key, 200, &Headers::new(), true);
        self.core.forget(key);
    }
}

fn request(stream: Key, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(&REQUEST))
}

fn reset(stream: Key) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes())
}

// ---- resets

#[test]
fn rapid_resets_are_stopped() {
    // CVE-2023-44487
    let mut server = Server::new();
    let (rounds, code) = server.wear_out(|round| [request(2 * round + 1, 0), reset(2 * round + 1)].concat());
    assert_eq!(code, code::ENHANCE_YOUR_CALM);
    assert!(rounds <= 1000, "{rounds} rounds");
    assert_eq!(server.core.counters().reset_early, 1001);
}

#[test]
fn calls_that_are_cancelled_once_they_are_answered_are_no_abuse() {
    let mut server = Server::new();
    for stream in (1..20_001).step_by(2) {
        server.say(&request(stream, 0));
        server.core.respond(stream, 200, &Headers::new(), false);
        server.hear();
        server.say(&reset(stream));
        server.core.forget(stream);
    }
    assert_eq!(server.core.ended(), None);
    assert_eq!(server.core.counters().reset_early, 0);
}

#[test]
fn resets_now_and_then_are_no_abuse() {
    let mut server = Server::new();
    for stream in (1..20_001).step_by(2) {
        server.now += Duration::from_millis(20);
        server.say(&[request(stream, 0), reset(stream)].concat());
        server.core.forget(stream);
    }
    assert_eq!(server.core.ended(), None);
}

#[test]
fn streams_that_we_are_made_to_reset_are_stopped() {
    // CVE-2025-8671: the handlers go on, the streams do not count any more
    let mut server = Server::new();
    let (rounds, code) = server.wear_out(|round| {
        let stream = 2 * round + 1;
        [request(stream, 0), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    assert_eq!(code, code::ENHANCE_YOUR_CALM);
    assert!(rounds <= 1000, "{rounds} rounds");
}

#[test]
fn streams_whose_handlers_still_run_are_not_replaced_for_ever() {
    let mut server = Server::with(Settings { max_concurrent_streams: 10, ..Settings::default() });
    for stream in (1..801).step_by(2) {
        server.say(&[request(stream, 0), reset(stream)].concat()); // nobody forgets them
    }
    assert!(server.accepted.len() <= 2 * 10 + 100, "{} handlers", server.accepted.len());
    assert!(server.core.counters().refused > 200);
}

// ---- floods

#[test]
fn a_header_block_without_end_is_stopped() {
    // CVE-2024-27316 and its like
    for size in [0, 1, 16_384] {
        let mut server = Server::new();
        server.say(&frame(HEADERS, 0, 1, &block(&REQUEST)));
        let piece = frame(CONTINUATION, 0, 1, &vec![0; size]);
        let (rounds, code) = server.wear_out(|_| piece.clone());
        assert_eq!(code, code::ENHANCE_YOUR_CALM);
        assert!(rounds as usize * size <= 4 * 64 * 1024 && rounds <= 64, "{rounds} rounds of {size} bytes");
    }
}

#[test]
fn floods_of_what_has_to_be_answered_are_stopped() {
    let ping = frame(PING, 0, 0, &[1; 8]);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]);
    for (flood, name) in [(ping, "PING"), (settings, "SETTINGS")] {
        let mut server = Server::with(Settings {
            pings: Pings { min_interval: Duration::ZERO, without_calls: true, strikes: 2 },
            ..Settings::default()
        });
        let (rounds, code) = server.wear_out(|_| flood.clone());
        assert_eq!((code, rounds <= 200), (code::ENHANCE_YOUR_CALM, true), "{name}: {rounds} rounds");
    }
}

#[test]
fn empty_data_frames_are_stopped() {
    let mut server = Server::new();
    server.say(&request(1, 0));
    let (rounds, code) = server.wear_out(|_| frame(DATA, 0, 1, &[]));
    assert_eq!((code, rounds), (code::ENHANCE_YOUR_CALM, 1000));
    assert_eq!(server.core.counters().empty_frames, 1001);
}

#[test]
fn replies_that_nobody_reads_are_stopped() {
    let mut server = Server::with(Settings { max_concurrent_streams: 1, ..Settings::default() });
    server.say(&request(1, 0));
    for stream in (3..60_001).step_by(2) {
        server.say(&request(stream, 0)); // refused, each with a frame
    }
    assert!(server.core.ended().is_some());
    assert_eq!(server.core.counters().given_up, 1);
    let said = server.raw();
    assert!(said.len() < 160 * 1024);
    assert_eq!(parse(&said).iter().filter(|frame| frame.kind == GOAWAY).count(), 1);
}

/// A thousand bytes that lie in no table, as an error's details.
fn details(stream: Key) -> Headers {
    let mut trailers = Headers::new();
    trailers.push("grpc-message", format!("{stream:01000}"));
    trailers
}

#[test]
fn answers_that_nobody_reads_are_no_more_than_the_streams_that_a_client_may_have() {
    let mut server = Server::with(Settings { max_concurrent_streams: 100, ..Settings::default() });
    let mut answered = 0;
    for stream in (1..20_001).step_by(2) {
        server.say(&request(stream, END_STREAM));
        if server.core.view(stream).is_some() {
            server.core.respond(stream, 200, &details(stream), true);
            server.core.forget(stream);
            answered += 1;
        }
    }
    assert!((200..=300).contains(&answered), "{answered} answers");
    assert!(server.raw().len() < 512 * 1024);
}

#[test]
fn a_client_that_reads_its_answers_is_refused_nothing_however_many_it_asks_for_at_once() {
    let mut server = Server::with(Settings { max_concurrent_streams: 100, ..Settings::default() });
    let mut next = 1;
    for _ in 0..100 {
        let streams: Vec<Key> = (0..100).map(|nth| next + 2 * nth).collect();
        next += 200;
        for &stream in &streams {
            server.say(&request(stream, 0));
        }
        for &stream in &streams {
            server.core.respond(stream, 200, &details(stream), true);
            server.core.forget(stream); // the client has not ended it: it is reset behind the answer
        }
        server.raw();
    }
    assert_eq!((server.core.counters().refused, server.core.ended()), (0, None));
}

#[test]
fn what_needs_no_answer_costs_nothing() {
    let mut server = Server::new();
    for round in 0..50_000u32 {
        server.say(&frame(PRIORITY, 0, 2 * round + 1, &[0, 0, 0, 0, 1]));
        server.say(&frame(0x42, 0, round, &[0; 20]));
    }
    assert!(server.raw().is_empty());
    assert_eq!(server.core.ended(), None);
}

// ---- pings

fn pinged(server: &mut Server) -> Option<u32> {
    server.say(&frame(PING, 0, 0, &[7; 8]));
    server.hear().iter().find(|frame| frame.kind == GOAWAY).map(Frame::code)
}

#[test]
fn pings_that_come_too_often_are_stopped_as_in_grpc() {
    // grpc/doc/keepalive.md: two strikes within five minutes, or two hours without a call
    let mut server = Server::new();
    assert_eq!([(); 4].map(|()| pinged(&mut server)), [None, None, None, Some(code::ENHANCE_YOUR_CALM)]);
    assert_eq!(server.core.counters().ping_strikes, 3);
    assert_eq!(server.core.ended(), Some("too_many_pings"));
}

#[test]
fn pings_between_answers_are_not_too_many() {
    let mut server = Server::new();
    server.say(&request(1, 0));
    server.core.respond(1, 200, &Headers::new(), false);
    for _ in 0..50 {
        assert_eq!([pinged(&mut server), pinged(&mut server)], [None, None]);
        server.core.send(1, &[], Bytes::from_static(b"news"), false);
        server.hear();
    }
}

#[test]
fn pings_now_and_then_are_not_too_many() {
    let mut server = Server::new();
    server.say(&request(1, 0));
    for _ in 0..50 {
        server.now += Duration::from_secs(301);
        assert_eq!(pinged(&mut server), None);
    }
}

// ---- slow and never

#[test]
fn a_client_that_never_greets_is_given_up_in_time() {
    for said in [&b""[..], &PREFACE[..10], PREFACE] {
        let now = Instant::now();
        let mut server = Connection::server(&Settings::default(), now);
        server.feed(said, now);
        let deadline = server.next_deadline().expect("a limit");
        assert_eq!(deadline, now + Settings::default().patience);
        server.expire(deadline - Duration::from_millis(1));
        assert_eq!(server.ended(), None);
        server.expire(deadline);
        assert!(server.ended().is_some() && server.next_deadline().is_none());
    }
}

#[test]
fn half_a_header_block_is_given_up_in_time() {
    let mut server = Server::new();
    assert_eq!(server.core.next_deadline(), None);
    server.now += Duration::from_secs(100);
    server.say(&frame(HEADERS, 0, 1, &block(&REQUEST)));
    let deadline = server.core.next_deadline().expect("a limit");
    assert_eq!(deadline, server.now + Settings::default().patience);
    // Dribbling does not help.
    server.now += Duration::from_secs(15);
    server.say(&frame(CONTINUATION, 0, 1, &[0]));
    assert_eq!(server.core.next_deadline(), Some(deadline));
    server.core.expire(deadline);
    assert_eq!(server.hear().last().map(Frame::code), Some(code::ENHANCE_YOUR_CALM));
    assert!(server.core.ended().is_some());
}

#[test]
fn a_window_that_never_opens_holds_what_was_given_and_no_more() {
    let mut server = Server::new();
    server.say(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let mut streams: Vec<Key> = (1..2001).step_by(2).collect();
    for &stream in &streams {
        server.say(&request(stream, END_STREAM));
        server.core.respond(stream, 200, &Headers::new(), false);
        server.core.send(stream, &[], Bytes::from_static(&[0; 100_000]), false);
        assert!(server.core.view(stream).is_some_and(|view| view.unsent));
    }
    let said = server.hear();
    assert!(said.iter().all(|frame| frame.kind != DATA), "data without room");
    // Byte by byte, if it likes: work in proportion to what it says.
    for stream in streams.drain(..100) {
        server.say(&frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]));
        let [data] = &server.hear()[..] else { panic!("one frame") };
        assert_eq!((data.kind, data.stream, data.payload.len()), (DATA, stream, 1));
    }
}

#[test]
fn a_client_that_does_not_read_is_not_written_to_without_end() {
    let mut server = Server::new();
    let all = 0x7fff_ffff_u32 - 65_535;
    server.say(&frame(WINDOW_UPDATE, 0, 0, &all.to_be_bytes()));
    server.say(&request(1, END_STREAM));
    server.say(&frame(WINDOW_UPDATE, 0, 1, &all.to_be_bytes()));
    server.core.respond(1, 200, &Headers::new(), false);
    // Its windows have room for two gigabytes, its socket has not.
    let mut sent = 0;
    while !server.core.view(1).is_some_and(|view| view.unsent) {
        server.core.send(1, &[], Bytes::from_static(&[0; 10_000]), false);
        sent += 10_000;
        assert!(sent < 1 << 20, "nothing stops the writer");
    }
    assert!(server.raw().len() < 512 * 1024);
}

// ---- headers

#[test]
fn headers_beyond_the_limit_end_their_stream_only() {
    let mut server = Server::new();
    let long = "x".repeat(120);
    let many: Vec<(&str, &str)> = REQUEST.into_iter().chain(std::iter::repeat_n(("x-long", &*long), 1000)).collect();
    let whole = block(&many);
    let mut pieces: Vec<Vec<u8>> = vec![frame(HEADERS, 0, 1, &whole[..16_000])];
    pieces.extend(whole[16_000..].chunks(16_000).map(|piece| frame(CONTINUATION, 0, 1, piece)));
    pieces.push(frame(CONTINUATION, END_HEADERS, 1, &[]));
    server.say(&pieces.concat());
    let [refused] = &server.hear()[..] else { panic!("one frame") };
    assert_eq!((refused.kind, refused.stream, refused.code()), (RST_STREAM, 1, code::ENHANCE_YOUR_CALM));
    server.say(&request(3, END_STREAM));
    assert_eq!((server.accepted.as_slice(), server.core.ended()), (&[3][..], None));
    assert_eq!(server.core.counters().malformed, 1);
}

#[test]
fn a_few_bytes_that_stand_for_many_headers_are_refused_cheaply() {
    let mut server = Server::new();
    let mut bomb = block(&REQUEST);
    bomb.extend([0x40, 1, b'x', 126]); // enters the table...
    bomb.extend([b'v'; 126]);
    bomb.extend(std::iter::repeat_n(0xbe, 100_000)); // ...and is named a hundred thousand times
    let before = Instant::now();
    server.say(&frame(HEADERS, END_HEADERS, 1, &bomb[..bomb.len().min(131_072)]));
    assert_eq!(server.hear()[0].code(), code::ENHANCE_YOUR_CALM);
    assert!(before.elapsed() < Duration::from_secs(5));
    server.say(&request(3, END_STREAM));
    assert_eq!(server.accepted, [3]);
}

// ---- ends

#[test]
fn a_client_that_has_not_greeted_when_the_server_leaves_is_not_served() {
    let now = Instant::now();
    let mut server = Server { core: Connection::server(&Settings::default(), now), now, accepted: Vec::new() };
    server.core.shut_down();
    server.say(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request(1, END_STREAM)].concat());
    assert!(server.accepted.is_empty() && server.core.ended().is_some());
    assert_eq!(server.hear().last().map(|frame| frame.kind), Some(GOAWAY));
}

#[test]
fn a_server_that_leaves_serves_what_was_on_its_way() {
    let mut server = Server::new();
    server.core.shut_down();
    let said = server.hear();
    let [goaway, ping] = &said[..] else { panic!("two frames") };
    assert_eq!((goaway.code(), &goaway.payload[..4]), (code::NO_ERROR, &0x7fff_ffffu32.to_be_bytes()[..]));
    server.say(&[request(1, END_STREAM), frame(PING, ACK, 0, &ping.payload), request(3, END_STREAM)].concat());
    assert_eq!(server.accepted, [1]);
    let said = server.hear();
    assert_eq!((said[0].kind, &said[0].payload[..4]), (GOAWAY, &[0, 0, 0, 1][..]));
    server.answer(1);
    server.say(&[]);
    assert_eq!(server.core.ended(), Some("closed by this side"));
}

#[test]
fn a_server_that_ends_at_once_names_the_last_stream_that_it_took() {
    let mut server = Server::new();
    server.say(&request(1, END_STREAM));
    server.core.shut_down();
    server.hear();
    server.core.part();
    let said = server.hear();
    let [goaway] = &said[..] else { panic!("one frame") };
    assert_eq!((goaway.kind, goaway.code(), &goaway.payload[..4]), (GOAWAY, code::NO_ERROR, &[0, 0, 0, 1][..]));
    server.say(&request(3, END_STREAM));
    assert_eq!(server.accepted, [1]);
}

#[test]
fn a_client_that_leaves_takes_its_streams_with_it() {
    let mut server = Server::new();
    server.say(&[request(1, 0), request(3, END_STREAM)].concat());
    server.core.feed_eof();
    for stream in [1, 3] {
        let broken = server.core.view(stream).and_then(|view| view.broken.clone()).expect("broken");
        assert_eq!((broken.code, broken.unprocessed), (None, false));
        server.answer(stream); // too late, and no harm
    }
    assert!(server.core.view(1).is_none());
    server.core.assert_sound();
}

#[test]
fn padding_on_a_stream_that_broke_is_not_given_back_twice() {
    let mut server = Server::new();
    let padded = frame(DATA, PADDED, 1, &[9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    server.say(&[request(1, 0), frame(WINDOW_UPDATE, 0, 1, &[0; 4]), padded].concat());
    server.core.assert_sound();
    assert_eq!(server.core.ended(), None);
}

#[test]
fn nothing_is_sent_behind_the_end() {
    let mut server = Server::new();
    server.say(&[frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), request(1, 0)].concat());
    server.core.respond(1, 200, &Headers::new(), false);
    server.core.send(1, &[], Bytes::from_static(b"last"), true);
    server.core.send(1, &[], Bytes::from_static(b"late"), false);
    server.say(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 100]));
    let said = server.hear();
    let data: Vec<_> = said.iter().filter(|frame| frame.kind == DATA).collect();
    assert_eq!((data.len(), &data[0].payload[..], data[0].flags), (1, &b"last"[..], END_STREAM));
    assert!(server.core.view(1).is_some_and(|view| !view.unsent));
}
