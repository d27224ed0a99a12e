//! What costs a peer little and us much is charged by what it costs, on both ends; what is legal is not.

mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proxyless_core::http2::{Connection, Headers, Key, Outbox, Settings, Template, code};
use wire::*;

const WINDOW: usize = 256 * 1024;
/// What may come late for no good reason.
const LENIENCY: usize = 1 << 20;
const NAME: usize = 3960;

/// One end of ours, spoken to by frames.
struct End {
    core: Connection,
    now: Instant,
}

impl End {
    fn server() -> Self {
        let now = Instant::now();
        let mut end = Self { core: Connection::server(&Settings::default(), now), now };
        end.say(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, ACK, 0, &[])].concat());
        end.hear();
        end
    }

    /// With so many requests under way, from stream 1 on, all of them whole.
    fn client(requests: usize) -> Self {
        let now = Instant::now();
        let mut end = Self { core: Connection::client(&Settings::default(), now), now };
        end.core.take_output(&mut Outbox::default());
        end.say(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat());
        let template = Arc::new(Template::new(REQUEST.into_iter().collect()));
        for _ in 0..requests {
            let key = end.core.open(template.clone(), Headers::new());
            end.core.send(key, &[], Bytes::new(), true);
        }
        end.core.take_output(&mut Outbox::default());
        end
    }

    /// Returns the code of the GOAWAY that this brought.
    fn say(&mut self, bytes: &[u8]) -> Option<u32> {
        self.core.feed(bytes, self.now);
        self.core.advance(&mut Vec::new(), &mut Vec::new());
        self.core.assert_sound();
        self.hear().iter().find(|frame| frame.kind == GOAWAY).map(Frame::code)
    }

    fn hear(&mut self) -> Vec<Frame> {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        self.core.take_output(&mut outbox);
        outbox.write_to(&mut out);
        parse(&out)
    }
}

/// Says it until it brings a GOAWAY; returns how many bytes that took, and the code.
fn worn_out(end: &mut End, most: usize, mut more: impl FnMut(u32) -> Vec<u8>) -> (usize, u32) {
    let mut said = 0;
    for round in 0.. {
        let bytes = more(round);
        said += bytes.len();
        if let Some(code) = end.say(&bytes) {
            return (said, code);
        }
        assert!(said <= most, "{said} bytes, and nothing stops it");
    }
    unreachable!()
}

/// A field of that name length that enters the table, in a block behind `fields`.
fn planted(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = block(fields);
    out.extend([0x40, 0x7f, ((NAME - 127) % 128 + 128) as u8, ((NAME - 127) / 128) as u8]);
    out.extend(std::iter::repeat_n(b'n', NAME));
    out.push(0);
    out
}

/// Fifteen bytes that become sixty thousand.
const BOMB: [u8; 15] = [0xbe; 15];

fn head(stream: Key, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, block)
}

// ---- header blocks

#[test]
fn requests_that_become_far_more_than_they_are_wear_a_server_out() {
    let mut server = End::server();
    server.say(&head(1, END_STREAM, &planted(&REQUEST)));
    let bomb = [&block(&REQUEST)[..], &BOMB].concat();
    let (said, code) = worn_out(&mut server, 1 << 20, |round| head(3 + 2 * round, END_STREAM, &bomb));
    assert_eq!(code, code::ENHANCE_YOUR_CALM);
    assert!(said < 512 * 1024, "{said} bytes");
    assert_eq!(server.core.counters().given_up, 1);
}

#[test]
fn responses_that_become_far_more_than_they_are_wear_a_client_out() {
    let fields = [(":status", "200")];
    let mut client = End::client(5000);
    client.say(&head(1, END_STREAM, &planted(&fields)));
    let bomb = [&block(&fields)[..], &BOMB].concat();
    let (_, code) = worn_out(&mut client, 1 << 20, |round| head(3 + 2 * round, END_STREAM, &bomb));
    assert_eq!(code, code::ENHANCE_YOUR_CALM);
}

#[test]
fn large_metadata_that_lies_in_the_table_is_no_abuse() {
    // Ten thousand calls a second, 4 KiB each, for four seconds.
    let mut server = End::server();
    server.say(&head(1, END_STREAM, &planted(&REQUEST)));
    let usual = [&block(&REQUEST)[..], &BOMB[..1]].concat();
    for call in 0..40_000u32 {
        server.now += Duration::from_micros(100);
        let stream = 3 + 2 * call;
        assert_eq!(server.say(&head(stream, END_STREAM, &usual)), None);
        server.core.respond(stream, 200, &Headers::new(), true);
        server.core.forget(stream);
    }
    assert_eq!(server.core.ended(), None);
}

#[test]
fn blocks_that_nobody_will_look_at_become_nothing() {
    let mut client = End::client(2);
    client.say(&head(1, END_STREAM, &planted(&[(":status", "200")])));
    client.core.forget(1);
    for _ in 0..50_000 {
        assert_eq!(client.say(&head(1, END_STREAM, &BOMB)), None); // would be three gigabytes
    }
    // The table is right all the same.
    client.say(&head(3, END_STREAM, &[&block(&[(":status", "200")])[..], &BOMB[..1]].concat()));
    let view = client.core.view(3).expect("a view");
    assert_eq!(view.head.as_ref().map(Headers::len), Some(2));
}

// ---- DATA that comes late

fn piece(stream: Key) -> Vec<u8> {
    frame(DATA, 0, stream, &[0; 16_384])
}

#[test]
fn what_was_on_its_way_when_a_stream_was_reset_is_passed_over() {
    let mut server = End::server();
    for stream in (1..2001).step_by(2) {
        assert_eq!(server.say(&head(stream, 0, &block(&REQUEST))), None);
        server.core.respond(stream, 200, &Headers::new(), true);
        server.core.forget(stream);
        for _ in 0..WINDOW / 16_384 {
            assert_eq!(server.say(&piece(stream)), None);
        }
        assert_eq!(server.say(&frame(DATA, END_STREAM, stream, &[])), None);
    }
    assert_eq!(server.core.ended(), None);
}

#[test]
fn data_without_end_on_a_stream_that_we_reset_ends_the_connection() {
    let begun = head(1, 0, &block(&REQUEST));
    let reset: fn(&mut End) = |end| end.core.reset(1, code::CANCEL);
    let broken: fn(&mut End) = |end| assert_eq!(end.say(&frame(WINDOW_UPDATE, 0, 1, &[0; 4])), None);
    for (name, over) in [("reset", reset), ("broken, and still held", broken)] {
        let mut server = End::server();
        server.say(&begun);
        over(&mut server);
        let (said, code) = worn_out(&mut server, 4 << 20, |_| piece(1));
        assert_eq!(code, code::FLOW_CONTROL_ERROR, "{name}");
        assert!(said > WINDOW && said < LENIENCY + 2 * WINDOW, "{name}: {said} bytes");
    }
    let mut client = End::client(1);
    client.say(&head(1, 0, &block(&[(":status", "200")])));
    client.core.reset(1, code::CANCEL);
    let (said, code) = worn_out(&mut client, 4 << 20, |_| piece(1));
    assert_eq!(code, code::FLOW_CONTROL_ERROR);
    assert!(said > WINDOW && said < LENIENCY + 2 * WINDOW, "{said} bytes");
}

#[test]
fn data_on_a_call_that_is_over_ends_the_connection() {
    let mut client = End::client(1);
    client.say(&head(1, END_STREAM, &block(&[(":status", "200")])));
    client.core.forget(1);
    let (said, code) = worn_out(&mut client, 4 << 20, |_| piece(1));
    assert_eq!(code, code::FLOW_CONTROL_ERROR);
    assert!(said < 2 * LENIENCY, "{said} bytes");
}

#[test]
fn empty_data_on_a_stream_that_we_reset_is_charged_too() {
    let mut server = End::server();
    server.say(&head(1, 0, &block(&REQUEST)));
    server.core.reset(1, code::CANCEL);
    let (_, code) = worn_out(&mut server, 32 << 20, |_| frame(DATA, 0, 1, &[]).repeat(10_000));
    assert_eq!(code, code::FLOW_CONTROL_ERROR);
}

#[test]
fn frames_on_streams_that_are_none_wear_a_client_out() {
    let mut client = End::client(1);
    let (_, code) = worn_out(&mut client, 1 << 20, |round| frame(PRIORITY, 0, 2 * round + 3, &[0]));
    assert_eq!(code, code::ENHANCE_YOUR_CALM);
}

// ---- padding

#[test]
fn padding_is_no_content() {
    let fields = [&REQUEST[..], &[("content-length", "5")]].concat();
    let mut server = End::server();
    server.say(&head(1, 0, &block(&fields)));
    let padded = [&[200u8][..], b"abc", &[0; 200]].concat();
    server.say(&[frame(DATA, PADDED, 1, &padded), frame(DATA, PADDED | END_STREAM, 1, &[1, b'd', b'e', 0])].concat());
    let view = server.core.view(1).expect("a view");
    assert!(view.ended && view.broken.is_none(), "{:?}", view.broken);
    assert_eq!(&view.body[..], b"abcde");

    let mut client = End::client(1);
    client.say(&head(1, 0, &block(&[(":status", "200"), ("content-length", "3")])));
    client.say(&frame(DATA, PADDED | END_STREAM, 1, &padded));
    let view = client.core.view(1).expect("a view");
    assert!(view.ended && view.broken.is_none(), "{:?}", view.broken);
}

#[test]
fn more_or_less_content_than_said_is_found_behind_padding_too() {
    for length in ["2", "4"] {
        let mut server = End::server();
        let fields = [&REQUEST[..], &[("content-length", length)]].concat();
        server.say(&head(1, 0, &block(&fields)));
        server.say(&frame(DATA, PADDED | END_STREAM, 1, &[1, b'a', b'b', b'c', 0]));
        let broken = server.core.view(1).and_then(|view| view.broken.clone()).expect("broken");
        assert_eq!(broken.code, Some(code::PROTOCOL_ERROR));
    }
}

#[test]
fn padding_gives_its_room_back_though_nobody_reads() {
    let mut server = End::server();
    server.say(&head(1, 0, &block(&REQUEST)));
    let padding = frame(DATA, PADDED, 1, &[&[255u8][..], &[0; 255]].concat());
    let mut given = 0;
    for round in 0..4000u64 {
        server.now = server.now.checked_add(Duration::from_millis(10)).expect("a time");
        server.core.feed(&padding, server.now);
        given += server.hear().iter().filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 1).count();
        assert_eq!(server.core.ended(), None, "round {round}");
        assert!(server.core.view(1).is_some_and(|view| view.broken.is_none()), "round {round}");
    }
    assert!(given > 0);
}

// ---- what header lists hold

/// Streams that stay open, each with a list that became sixty thousand bytes of a few, until one is refused.
fn held(end: &mut End, key: impl Fn(u32) -> Key, fields: &[(&str, &str)], flags: u8) -> (usize, Vec<(Key, Headers)>) {
    let bomb = [&block(fields)[..], &BOMB].concat();
    let mut heads = Vec::new();
    for round in 0..900 {
        end.core.feed(&head(key(round), flags, &bomb), end.now);
        end.core.advance(&mut heads, &mut Vec::new());
        if let Some(reset) = end.hear().iter().find(|frame| frame.kind == RST_STREAM) {
            assert_eq!((reset.stream, reset.code()), (key(round), code::ENHANCE_YOUR_CALM));
            return (round as usize, heads);
        }
    }
    panic!("all of it is held");
}

#[test]
fn requests_hold_no_more_of_a_server_than_their_share_and_only_while_they_are_there() {
    let mut server = End::server();
    server.say(&head(1, END_STREAM, &planted(&REQUEST)));
    let (taken, mut heads) = held(&mut server, |round| 3 + 2 * round, &REQUEST, 0);
    assert!((100..200).contains(&taken), "{taken} lists of 60,000 bytes");
    let next = 3 + 2 * (taken as u32 + 1);
    assert!(server.say(&head(next, 0, &block(&REQUEST))).is_none());
    assert_eq!(server.core.counters().malformed, 1, "an ordinary request is taken all the same");
    heads.truncate(50);
    let (again, _) = held(&mut server, |round| next + 2 + 2 * round, &REQUEST, 0);
    assert_eq!(again, taken - 50, "what was let go of makes room, and no more");
}

#[test]
fn responses_hold_no_more_of_a_client_than_their_share() {
    let fields = [(":status", "200")];
    let mut client = End::client(1000);
    client.say(&head(1, END_STREAM, &planted(&fields)));
    let (taken, _) = held(&mut client, |round| 3 + 2 * round, &fields, 0);
    assert!((100..200).contains(&taken), "{taken} lists of 60,000 bytes");
}
