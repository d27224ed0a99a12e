//! What h2spec does to servers, done to our client: a server that breaks the rules, and which error that is.

mod wire;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proxyless_core::http2::{Broken, Connection, Headers, Key, Outbox, Settings, Template, code};
use wire::*;

struct Client(Connection);

impl Client {
    /// Has sent a request on stream 1 that is whole, and one on stream 3 that is not.
    fn new(settings: &[u8]) -> Self {
        let mut client = Self(Connection::client(&Settings::default(), Instant::now()));
        let template = Arc::new(Template::new(REQUEST.into_iter().collect()));
        let whole = client.0.open(template.clone(), Headers::new());
        client.0.send(whole, &[], Bytes::from_static(b"all"), true);
        client.0.open(template, Headers::new());
        client.say(&frame(SETTINGS, 0, 0, settings));
        client.0.take_output(&mut Outbox::default());
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.feed(bytes, Instant::now());
        self.0.advance(&mut Vec::new(), &mut Vec::new());
        self.0.assert_sound();
    }

    fn hear(&mut self) -> Vec<Frame> {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        self.0.take_output(&mut outbox);
        outbox.write_to(&mut out);
        parse(&out)
    }

    fn broken(&mut self, key: Key) -> Option<Broken> {
        self.0.view(key).and_then(|view| view.broken.clone())
    }
}

fn head(stream: Key, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

const OK: [(&str, &str); 1] = [(":status", "200")];

#[test]
fn what_breaks_the_connection_is_told_in_goaway() {
    let ok = head(1, 0, &OK);
    let then = |more: Vec<u8>| [ok.clone(), more].concat();
    for (name, said, expected) in [
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), code::PROTOCOL_ERROR),
        ("DATA on a stream that nobody opened", frame(DATA, 0, 99, b"x"), code::PROTOCOL_ERROR),
        ("HEADERS on stream 0", head(0, 0, &OK), code::PROTOCOL_ERROR),
        ("HEADERS on a stream that nobody opened", head(99, 0, &OK), code::PROTOCOL_ERROR),
        ("a stream of the server's", head(2, 0, &OK), code::PROTOCOL_ERROR),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]), code::PROTOCOL_ERROR),
        ("more padding than frame", then(frame(DATA, PADDED, 1, &[9, 0])), code::PROTOCOL_ERROR),
        ("a frame that is too large", frame(DATA, 0, 1, &vec![0; 200_000]), code::FRAME_SIZE_ERROR),
        ("RST_STREAM of another length", frame(RST_STREAM, 0, 1, &[0; 3]), code::FRAME_SIZE_ERROR),
        ("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), code::PROTOCOL_ERROR),
        ("RST_STREAM of what nobody opened", frame(RST_STREAM, 0, 99, &[0; 4]), code::PROTOCOL_ERROR),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), code::PROTOCOL_ERROR),
        ("SETTINGS of odd length", frame(SETTINGS, 0, 0, &[0; 5]), code::FRAME_SIZE_ERROR),
        ("SETTINGS acknowledged with payload", frame(SETTINGS, ACK, 0, &[0; 6]), code::FRAME_SIZE_ERROR),
        ("a server that pushes", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1]), code::PROTOCOL_ERROR),
        ("a window over all bounds", frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0, 0, 0]), code::FLOW_CONTROL_ERROR),
        ("frames of no size", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0]), code::PROTOCOL_ERROR),
        ("PING of another length", frame(PING, 0, 0, &[0; 6]), code::FRAME_SIZE_ERROR),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), code::PROTOCOL_ERROR),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), code::PROTOCOL_ERROR),
        ("GOAWAY that is cut", frame(GOAWAY, 0, 0, &[0; 7]), code::FRAME_SIZE_ERROR),
        ("WINDOW_UPDATE by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), code::PROTOCOL_ERROR),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]), code::FLOW_CONTROL_ERROR),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &[]), code::PROTOCOL_ERROR),
        (
            "an interrupted header block",
            [frame(HEADERS, 0, 1, &[0x88]), frame(PING, 0, 0, &[0; 8])].concat(),
            code::PROTOCOL_ERROR,
        ),
        ("no header block", frame(HEADERS, END_HEADERS, 1, &[0xff; 6]), code::COMPRESSION_ERROR),
    ] {
        let mut client = Client::new(&[]);
        client.say(&said);
        let frames = client.hear();
        let goaway = frames.iter().find(|frame| frame.kind == GOAWAY).unwrap_or_else(|| panic!("{name}: no GOAWAY"));
        assert_eq!(goaway.code(), expected, "{name}");
        assert!(!client.0.usable() && client.0.ended().is_some(), "{name}");
        let broken = client.broken(1).unwrap_or_else(|| panic!("{name}: the call does not hear of it"));
        assert_eq!((broken.code, broken.unprocessed), (None, false), "{name}");
    }
}

#[test]
fn what_breaks_a_stream_is_told_in_its_reset() {
    let field = |name: &'static str, value: &'static str| head(1, 0, &[OK[0], (name, value)]);
    for (name, said, expected) in [
        ("no status", head(1, 0, &[("x", "y")]), code::PROTOCOL_ERROR),
        ("two statuses", head(1, 0, &[OK[0], OK[0]]), code::PROTOCOL_ERROR),
        ("a status that is no number", head(1, 0, &[(":status", "ok")]), code::PROTOCOL_ERROR),
        ("a request's field", field(":path", "/"), code::PROTOCOL_ERROR),
        ("a field of HTTP/1.1", field("transfer-encoding", "chunked"), code::PROTOCOL_ERROR),
        ("capitals", field("Big", "1"), code::PROTOCOL_ERROR),
        ("a new line", field("x", "1\r\ny: 2"), code::PROTOCOL_ERROR),
        ("switching protocols", head(1, 0, &[(":status", "101")]), code::PROTOCOL_ERROR),
        ("an interim response that ends", head(1, END_STREAM, &[(":status", "100")]), code::PROTOCOL_ERROR),
        ("DATA before the head", frame(DATA, 0, 1, b"x"), code::PROTOCOL_ERROR),
        ("a head inside the body", [head(1, 0, &OK), head(1, 0, &[("x", "y")])].concat(), code::PROTOCOL_ERROR),
        (
            "more than content-length",
            [head(1, 0, &[OK[0], ("content-length", "1")]), frame(DATA, 0, 1, b"xy")].concat(),
            code::PROTOCOL_ERROR,
        ),
        (
            "less than content-length",
            [head(1, 0, &[OK[0], ("content-length", "3")]), frame(DATA, END_STREAM, 1, b"xy")].concat(),
            code::PROTOCOL_ERROR,
        ),
        ("WINDOW_UPDATE by nothing", frame(WINDOW_UPDATE, 0, 1, &[0; 4]), code::PROTOCOL_ERROR),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255]), code::FLOW_CONTROL_ERROR),
        ("a stream that depends on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), code::PROTOCOL_ERROR),
    ] {
        let mut client = Client::new(&[]);
        client.say(&said);
        let frames = client.hear();
        let reset = frames.iter().find(|frame| frame.kind == RST_STREAM).unwrap_or_else(|| panic!("{name}: no reset"));
        assert_eq!((reset.stream, reset.code()), (1, expected), "{name}");
        assert_eq!(client.broken(1).and_then(|broken| broken.code), Some(expected), "{name}");
        assert_eq!((client.broken(3), client.0.ended()), (None, None), "{name}: others go on");
    }
}

#[test]
fn data_beyond_a_window_is_an_error() {
    let mut client = Client::new(&[]);
    client.say(&head(1, 0, &OK));
    let window = Settings::default().stream_window as usize;
    for _ in 0..window / 16_384 {
        client.say(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    assert_eq!(client.broken(1), None);
    client.say(&frame(DATA, 0, 1, &[0]));
    assert_eq!(client.broken(1).and_then(|broken| broken.code), Some(code::FLOW_CONTROL_ERROR));
}

#[test]
fn what_is_allowed_is_taken() {
    let mut client = Client::new(&[]);
    client.say(&head(1, 0, &[(":status", "103"), ("link", "x")]));
    client.say(&frame(0x42, 0xff, 1, b"unknown"));
    client.say(&frame(SETTINGS, 0, 0, &[0, 0x42, 1, 2, 3, 4]));
    client.say(&frame(HEADERS, END_HEADERS | PADDED, 1, &[&[2][..], &block(&OK), &[0, 0]].concat()));
    client.say(&frame(DATA, PADDED, 1, &[3, b'y', b'e', b's', 0, 0, 0]));
    client.say(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]));
    client.say(&head(1, END_STREAM, &[("x-end", "1")]));
    let view = client.0.view(1).expect("there");
    assert_eq!(view.head.as_ref().and_then(|head| head.get(":status")), Some(&b"200"[..]));
    assert_eq!((&view.body[..], view.ended, view.broken.as_ref()), (&b"yes"[..], true, None));
    assert_eq!(view.trailers.as_ref().and_then(|trailers| trailers.get("x-end")), Some(&b"1"[..]));
    // What comes late for a stream that is over is nobody's any more.
    client.0.forget(1);
    client.say(&[frame(DATA, 0, 1, b"late"), frame(RST_STREAM, 0, 1, &[0; 4]), head(1, END_STREAM, &OK)].concat());
    assert_eq!(client.0.ended(), None);
}

#[test]
fn a_server_that_does_not_greet_is_given_up() {
    let now = Instant::now();
    let mut client = Connection::client(&Settings::default(), now);
    let deadline = client.next_deadline().expect("a limit");
    client.expire(deadline);
    assert!(client.ended().is_some());
}

#[test]
fn a_first_frame_that_is_no_settings_is_no_http2() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &frame(PING, 0, 0, &[0; 8]), &frame(SETTINGS, ACK, 0, &[])] {
        let mut client = Connection::client(&Settings::default(), Instant::now());
        client.feed(said, Instant::now());
        assert!(client.ended().is_some(), "{said:?}");
    }
}

#[test]
fn streams_that_were_not_processed_are_told_from_those_that_may_have_been() {
    let mut client = Client::new(&[]);
    client.say(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0xb, b'b', b'u', b's', b'y']));
    let late = client.broken(3).expect("not taken");
    assert_eq!((late.code, late.unprocessed), (None, true));
    assert!(late.reason.contains("ENHANCE_YOUR_CALM: busy"), "{}", late.reason);
    assert_eq!((client.broken(1), client.0.usable(), client.0.ended()), (None, false, None));
    client.say(&frame(RST_STREAM, 0, 1, &code::REFUSED_STREAM.to_be_bytes()));
    assert!(client.broken(1).is_some_and(|broken| broken.unprocessed));
    client.0.advance(&mut Vec::new(), &mut Vec::new());
    assert_eq!(client.0.ended(), Some("the peer is going away"));
}

#[test]
fn requests_that_the_peers_limits_forbid_do_not_reach_the_wire() {
    // One stream at a time, headers of at most 300 bytes
    let mut client = Client::new(&[0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 1, 44]);
    let template = Arc::new(Template::new(REQUEST.into_iter().collect()));
    let waits = client.0.open(template.clone(), Headers::new());
    let large = client.0.open(template, [("x", "y".repeat(200))].iter().map(|(name, value)| (*name, value)).collect());
    assert!(client.hear().is_empty());
    let broken = client.broken(large).expect("too large");
    assert_eq!(broken.code, Some(code::ENHANCE_YOUR_CALM));
    assert!(broken.reason.contains("300 bytes"), "{}", broken.reason);
    assert_eq!(client.broken(waits), None);
    // The two that were sent before the limit was known have to end first.
    for stream in [1, 3] {
        assert!(client.hear().is_empty());
        client.0.send(3, &[], Bytes::new(), true);
        client.hear();
        client.say(&head(stream, END_STREAM, &OK));
    }
    assert_eq!(client.hear()[0].stream, waits);
    client.0.reset(waits, code::CANCEL);
    assert_eq!(client.hear()[0].kind, RST_STREAM);
}

#[test]
fn a_client_says_that_it_leaves() {
    let mut client = Client::new(&[]);
    client.0.shut_down();
    let [goaway] = &client.hear()[..] else { panic!("one frame") };
    assert_eq!((goaway.kind, goaway.code()), (GOAWAY, code::NO_ERROR));
    assert_eq!((client.0.usable(), client.0.ended()), (false, None));
    for stream in [1, 3] {
        client.say(&head(stream, END_STREAM, &OK));
        client.0.forget(stream);
    }
    client.0.advance(&mut Vec::new(), &mut Vec::new());
    assert_eq!(client.0.ended(), Some("closed by this side"));
}

#[test]
fn a_pings_answer_is_not_answered() {
    let mut client = Client::new(&[]);
    client.0.ping(42);
    let [ping] = &client.hear()[..] else { panic!("one frame") };
    assert_eq!((ping.kind, ping.flags, &ping.payload[..]), (PING, 0, &42u64.to_be_bytes()[..]));
    client.say(&frame(PING, ACK, 0, &ping.payload));
    assert!(client.hear().is_empty() && client.0.usable());
}

#[test]
fn a_stream_whose_window_overflowed_is_not_counted_again() {
    // What SETTINGS add to windows must not end the connection over a stream that broke already.
    let mut client = Client::new(&[]);
    client.say(&frame(WINDOW_UPDATE, 0, 3, &[0x7f, 255, 255, 255]));
    client.say(&frame(SETTINGS, 0, 0, &[0, 4, 0, 2, 0, 0]));
    assert_eq!((client.broken(1), client.0.ended()), (None, None));
    assert_eq!(client.broken(3).and_then(|broken| broken.code), Some(code::FLOW_CONTROL_ERROR));
}

#[test]
fn floods_of_what_is_no_answer_are_stopped() {
    let interim = head(1, 0, &[(":status", "103"), ("link", "x")]);
    for (name, flood) in [("103", interim), ("GOAWAY", frame(GOAWAY, 0, 0, &[0, 0, 0, 99, 0, 0, 0, 0]))] {
        let mut client = Client::new(&[]);
        let rounds = (0..100_000).take_while(|_| {
            client.say(&flood);
            client.0.ended().is_none()
        });
        assert!(rounds.count() <= 1000, "{name}: nothing stops it");
        let told = client.hear();
        assert_eq!(
            told.last().map(|frame| (frame.kind, frame.code())),
            Some((GOAWAY, code::ENHANCE_YOUR_CALM)),
            "{name}"
        );
        assert!(client.broken(1).is_some(), "{name}: the call hears of it");
        assert_eq!(client.0.counters().given_up, 1);
    }
}

#[test]
fn headers_and_trailers_without_end_are_stopped() {
    let begun = [
        frame(HEADERS, 0, 1, &block(&OK)),
        [head(1, 0, &OK), frame(HEADERS, END_STREAM, 1, &block(&[("x", "y")]))].concat(),
    ];
    for (begun, size) in begun.iter().flat_map(|begun| [0, 1, 16_384].map(|size| (begun, size))) {
        let mut client = Client::new(&[]);
        client.say(begun);
        let piece = frame(CONTINUATION, 0, 1, &vec![0; size]);
        let rounds = (0..100_000).take_while(|_| {
            client.say(&piece);
            client.0.ended().is_none()
        });
        assert!(rounds.count() <= 64, "{size} bytes each");
        assert_eq!(client.hear().last().map(Frame::code), Some(code::ENHANCE_YOUR_CALM));
    }
}

#[test]
fn floods_that_want_answers_are_stopped() {
    let ping = frame(PING, 0, 0, &[1; 8]);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]);
    // Far more of them in one frame than there are.
    let huge = frame(SETTINGS, 0, 0, &[0, 9, 1, 2, 3, 4].repeat(20_000));
    for (name, flood) in [("PING", ping), ("SETTINGS", settings), ("huge SETTINGS", huge)] {
        let mut client = Client::new(&[]);
        let rounds = (0..100_000).take_while(|_| {
            client.say(&flood);
            client.hear();
            client.0.ended().is_none()
        });
        assert!(rounds.count() <= 200, "{name}: nothing stops it");
        assert!(client.broken(1).is_some(), "{name}: the call hears of it");
    }
}
