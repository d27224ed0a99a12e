//! A client core and a server core joined by nothing but their bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proxyless_core::grpc::message::Framed;
use proxyless_core::grpc::status::{self, Status, code};
use proxyless_core::grpc::{ANY_NUMBER, Connection, ConnectionPolicy};
use proxyless_core::http2::{Headers, Key, Outbox, Settings, Template};

const LIMIT: usize = 4 * 1024 * 1024;

struct Pair {
    client: Connection,
    server: Connection,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        Self::with(&Settings::default())
    }

    fn with(settings: &Settings) -> Self {
        let now = Instant::now();
        let client = Connection::client(settings, LIMIT, "test".into(), now);
        Self { client, server: Connection::server(settings, LIMIT, now), now }
    }

    /// Carries bytes until neither side has any; returns the server's new calls.
    fn settle(&mut self) -> Vec<Key> {
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            self.client.advance();
            output(&mut self.client, &mut up);
            self.server.feed(&up, self.now);
            self.server.advance();
            output(&mut self.server, &mut down);
            self.client.feed(&down, self.now);
            self.client.advance();
            if up.is_empty() && down.is_empty() {
                return self.server.take_accepted();
            }
        }
    }

    fn unary(&mut self, payload: &[u8]) -> Key {
        self.client.start(template(), Headers::new(), None, Some(framed(payload)))
    }

    fn reply(&mut self, key: Key, payload: &[u8]) {
        self.server.respond(key, head());
        self.server.send(key, framed(payload), false);
        self.server.finish(key, trailers(0, ""));
    }

    fn status(&self, key: Key) -> Status {
        self.client.call(key).and_then(|call| call.finished.clone()).expect("the call is over")
    }
}

fn output(from: &mut Connection, out: &mut Vec<u8>) {
    let mut outbox = Outbox::default();
    from.take_output(&mut outbox);
    outbox.write_to(out);
}

fn framed(payload: &[u8]) -> Framed {
    Framed::plain(Bytes::copy_from_slice(payload))
}

fn template() -> Arc<Template> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pkg.Service/Method"),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    Arc::new(Template::new(headers.into_iter().collect()))
}

fn head() -> Headers {
    [("content-type", "application/grpc")].into_iter().collect()
}

fn trailers(code: i32, text: &str) -> Headers {
    let mut trailers = Headers::new();
    status::write(code, text, &mut trailers);
    trailers
}

#[test]
fn a_unary_call_goes_there_and_back() {
    let mut pair = Pair::new();
    let call = pair.unary(b"question");
    let [served] = pair.settle()[..] else { panic!("one call") };
    let seen = pair.server.call(served).unwrap();
    assert_eq!((seen.path.as_str(), seen.half_closed), ("/pkg.Service/Method", true));
    assert_eq!(pair.server.take_message(served).unwrap(), &b"question"[..]);
    pair.reply(served, b"answer");
    pair.settle();
    assert_eq!(pair.status(call).code, code::OK);
    assert_eq!(pair.client.take_message(call).unwrap(), &b"answer"[..]);
}

#[test]
fn a_thousand_small_replies_in_one_read_do_not_end_the_connection() {
    let mut pair = Pair::new();
    let calls: Vec<Key> = (0..1000).map(|_| pair.unary(b"q")).collect();
    let mut served = pair.settle();
    assert_eq!(served.len(), calls.len());
    served.drain(..).for_each(|key| pair.reply(key, b"a"));
    pair.settle();
    assert!(calls.iter().all(|&call| pair.status(call).code == code::OK));
    assert!(pair.client.usable());
}

#[test]
fn calls_over_the_peers_limit_wait_and_are_not_refused() {
    let mut pair = Pair::with(&Settings { max_concurrent_streams: 2, ..Settings::default() });
    pair.settle(); // the limit is known now
    let calls: Vec<Key> = (0..5).map(|_| pair.unary(b"q")).collect();
    let mut answered = 0;
    while answered < calls.len() {
        let served = pair.settle();
        assert!((1..=2).contains(&served.len()), "{} at once", served.len());
        answered += served.len();
        for key in served {
            pair.reply(key, b"a");
            pair.server.forget(key);
        }
    }
    pair.settle();
    assert!(calls.iter().all(|&call| pair.status(call).code == code::OK));
}

#[test]
fn an_unread_stream_stops_its_sender_and_nobody_else() {
    let settings = Settings { stream_window: 64 * 1024, ..Settings::default() };
    let mut pair = Pair::with(&settings);
    let stalled = pair.client.start(template(), Headers::new(), None, None);
    pair.client.half_close(stalled);
    let [served] = pair.settle()[..] else { panic!("one call") };
    pair.server.respond(served, head());
    let mut sent = 0;
    while pair.server.call(served).unwrap().all_sent {
        pair.server.send(served, framed(&[0; 16 * 1024]), false);
        pair.settle();
        sent += 1;
        assert!(sent < 100, "nothing holds the sender back");
    }
    let call = pair.unary(b"q");
    let [other] = pair.settle()[..] else { panic!("one call") };
    pair.reply(other, b"a");
    pair.settle();
    assert_eq!(pair.status(call).code, code::OK);
    // The reader comes back: everything arrives.
    for _ in 0..sent {
        pair.client.want(stalled, 1);
        pair.settle();
        assert_eq!(pair.client.take_message(stalled).unwrap().len(), 16 * 1024);
    }
    assert!(pair.server.call(served).unwrap().all_sent);
}

#[test]
fn a_message_larger_than_the_window_gets_through() {
    let settings = Settings { stream_window: 64 * 1024, ..Settings::default() };
    let mut pair = Pair::with(&settings);
    let call = pair.unary(&[7; 1024 * 1024]);
    let [served] = pair.settle()[..] else { panic!("one call") };
    assert_eq!(pair.server.take_message(served).unwrap().len(), 1024 * 1024);
    pair.reply(served, &[8; 1024 * 1024]);
    pair.settle();
    assert_eq!(pair.client.take_message(call).unwrap().len(), 1024 * 1024);
}

#[test]
fn a_window_grows_so_that_large_messages_need_not_wait_for_it() {
    let mut pair = Pair::new();
    pair.settle();
    let large = vec![7; 1024 * 1024];
    for round in 0..3 {
        let call = pair.unary(&large);
        let mut up = Vec::new();
        output(&mut pair.client, &mut up);
        while pair.client.call(call).is_some() && !up.is_empty() {
            pair.server.feed(&std::mem::take(&mut up), pair.now);
            pair.server.advance();
            output(&mut pair.client, &mut up);
        }
        // Without a word from the server it has all of it, but for the first time.
        let came = pair.server.take_accepted();
        let whole = came.iter().any(|&key| pair.server.call(key).is_some_and(|call| call.half_closed));
        assert_eq!(whole, round > 0, "round {round}");
        pair.settle();
        let served = came[0];
        assert_eq!(pair.server.take_message(served).unwrap().len(), large.len());
        pair.reply(served, b"a");
        pair.server.forget(served);
        pair.settle();
        assert_eq!(pair.status(call).code, code::OK);
    }
}

#[test]
fn a_window_grows_no_further_than_its_share_of_the_connections() {
    let settings = Settings { connection_window: 8 * 1024 * 1024, stream_window: 65_535, ..Settings::default() };
    let mut pair = Pair::with(&settings);
    pair.settle();
    let call = pair.unary(&[7; 3 * 1024 * 1024]);
    let [served] = pair.settle()[..] else { panic!("one call") };
    assert_eq!(pair.server.take_message(served).unwrap().len(), 3 * 1024 * 1024);
    pair.reply(served, b"a");
    pair.settle();
    assert_eq!(pair.status(call).code, code::OK);
    // Nobody reads this one.
    let stalled = pair.client.start(template(), Headers::new(), None, None);
    let mut sent = 0;
    while pair.client.call(stalled).unwrap().all_sent {
        pair.client.send(stalled, framed(&[0; 16 * 1024]), false);
        pair.settle();
        sent += 16 * 1024;
        assert!(sent < 1024 * 1024, "nothing holds the sender back");
    }
    assert!(sent > 65_535 * 2, "the window has not grown: {sent}");
}

#[test]
fn a_cancelled_call_ends_on_both_sides() {
    let mut pair = Pair::new();
    let call = pair.client.start(template(), Headers::new(), None, None);
    let [served] = pair.settle()[..] else { panic!("one call") };
    pair.client.cancel(call, Status::new(code::CANCELLED, "enough"));
    pair.settle();
    assert_eq!(pair.server.call(served).unwrap().finished.as_ref().unwrap().code, code::CANCELLED);
    assert_eq!(pair.status(call).message, "enough");
}

#[test]
fn a_deadline_ends_the_call_on_both_sides() {
    let mut pair = Pair::new();
    let deadline = pair.now + Duration::from_millis(1);
    let call = pair.client.start(template(), Headers::new(), Some(deadline), None);
    pair.client.watch_deadline(call);
    assert_eq!(pair.client.next_deadline(pair.now), Some(deadline));
    pair.client.expire(deadline);
    pair.settle();
    assert_eq!(pair.status(call).code, code::DEADLINE_EXCEEDED);
    assert_eq!(pair.client.next_deadline(deadline), None);
}

#[test]
fn a_calls_time_counts_from_when_it_came_as_the_driver_says() {
    let mut pair = Pair::new();
    pair.now += Duration::from_secs(3600);
    let extra = [("grpc-timeout", "1S")].into_iter().collect();
    pair.client.start(template(), extra, None, None);
    let [served] = pair.settle()[..] else { panic!("one call") };
    let deadline = pair.now + Duration::from_secs(1);
    assert_eq!(pair.server.call(served).unwrap().deadline, Some(deadline));
    pair.server.expire(deadline - Duration::from_millis(1));
    assert!(pair.server.call(served).unwrap().finished.is_none());
    pair.server.expire(deadline);
    assert_eq!(pair.server.call(served).unwrap().finished.as_ref().unwrap().code, code::DEADLINE_EXCEEDED);
}

#[test]
fn a_peer_that_resets_when_the_deadline_has_passed_is_no_cancellation() {
    let mut pair = Pair::new();
    let passed = pair.client.start(template(), Headers::new(), Some(pair.now), None);
    let ahead = pair.client.start(template(), Headers::new(), Some(pair.now + Duration::from_secs(3600)), None);
    for key in pair.settle() {
        pair.server.cancel(key, Status::new(code::CANCELLED, "its timer was first"));
    }
    pair.settle();
    assert_eq!(pair.status(passed).code, code::DEADLINE_EXCEEDED);
    assert_eq!(pair.status(ahead).code, code::CANCELLED);
}

#[test]
fn an_answer_before_the_request_ends_does_not_reset_the_stream() {
    let mut pair = Pair::new();
    let call = pair.client.start(template(), Headers::new(), None, None);
    let [served] = pair.settle()[..] else { panic!("one call") };
    pair.server.finish(served, trailers(code::UNIMPLEMENTED, "no"));
    pair.server.forget(served);
    pair.client.send(call, framed(b"late"), false); // crosses the answer
    pair.settle();
    assert_eq!((pair.status(call).code, pair.status(call).message.as_str()), (code::UNIMPLEMENTED, "no"));
    pair.client.forget(call);
    pair.settle();
    assert!(pair.server.call(served).is_none());
}

#[test]
fn a_draining_server_finishes_what_it_began_and_marks_the_rest_unprocessed() {
    let mut pair = Pair::new();
    let begun = pair.unary(b"q");
    let [served] = pair.settle()[..] else { panic!("one call") };
    pair.server.shut_down();
    pair.settle();
    assert!(!pair.client.usable());
    let late = pair.unary(b"q");
    pair.settle();
    assert!(pair.status(late).unprocessed);
    pair.reply(served, b"a");
    pair.settle();
    assert_eq!(pair.status(begun).code, code::OK);
}

#[test]
fn a_client_that_is_slow_to_greet_is_not_idle() {
    let policy = ConnectionPolicy { max_idle: Some(Duration::from_millis(30)), ..ConnectionPolicy::default() };
    let mut pair = Pair::new();
    pair.server = Connection::server(&Settings::default(), LIMIT, pair.now).with_policy(&policy);
    pair.server.expire(pair.now + Duration::from_secs(10));
    assert!(pair.server.usable());
    pair.settle();
    let due = pair.server.next_deadline(pair.now).expect("it is idle from now on");
    pair.server.expire(due);
    assert!(!pair.server.usable());
}

#[test]
fn a_lost_connection_ends_every_call_as_unavailable() {
    let mut pair = Pair::new();
    let call = pair.unary(b"q");
    pair.settle();
    pair.client.feed_eof();
    pair.client.advance();
    let status = pair.status(call);
    assert_eq!((status.code, status.unprocessed), (code::UNAVAILABLE, false));
    assert!(!pair.client.usable());
}

#[test]
fn trailers_only_is_a_status_without_metadata() {
    let mut pair = Pair::new();
    let call = pair.unary(b"q");
    let [served] = pair.settle()[..] else { panic!("one call") };
    pair.server.finish(served, trailers(code::PERMISSION_DENIED, "not you"));
    pair.settle();
    let status = pair.status(call);
    assert_eq!((status.code, status.message.as_str()), (code::PERMISSION_DENIED, "not you"));
    assert!(pair.client.call(call).unwrap().head.as_ref().unwrap().is_empty());
}

#[test]
fn streams_flow_both_ways_and_end_in_order() {
    let mut pair = Pair::new();
    let call = pair.client.start(template(), Headers::new(), None, None);
    let [served] = pair.settle()[..] else { panic!("one call") };
    pair.server.respond(served, head());
    for round in 0..10u8 {
        pair.client.send(call, framed(&[round]), round == 9);
        pair.settle();
        assert_eq!(pair.server.take_message(served).unwrap(), Bytes::copy_from_slice(&[round]));
        pair.server.want(served, 1);
        pair.server.send(served, framed(&[round, round]), false);
    }
    pair.server.finish(served, trailers(0, ""));
    pair.settle();
    assert!(pair.server.call(served).unwrap().half_closed);
    pair.client.want(call, ANY_NUMBER);
    pair.settle();
    for round in 0..10u8 {
        assert_eq!(pair.client.take_message(call).unwrap(), Bytes::copy_from_slice(&[round, round]));
    }
    assert_eq!(pair.status(call).code, code::OK);
}

#[test]
fn garbage_instead_of_a_preface_ends_only_that_connection() {
    for garbage in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0; 64], &[0xff; 64]] {
        let now = Instant::now();
        let mut server = Connection::server(&Settings::default(), LIMIT, now);
        server.feed(garbage, now);
        server.advance();
        assert!(server.ended().is_some(), "{garbage:?}");
    }
}

#[test]
fn streams_over_the_peers_limit_wait_and_are_answered_one_by_one() {
    let mut pair = Pair::with(&Settings { max_concurrent_streams: 1, ..Settings::default() });
    pair.settle(); // the limit is known now
    let calls: Vec<Key> = (0..10)
        .map(|_| {
            let call = pair.client.start(template(), Headers::new(), None, None);
            pair.client.send(call, framed(b"q"), true);
            pair.client.advance();
            call
        })
        .collect();
    for &call in &calls {
        pair.client.want(call, 1);
        let mut served = pair.settle();
        while let Some(key) = served.pop() {
            pair.reply(key, b"a");
            pair.server.forget(key);
            served.extend(pair.settle());
        }
        assert_eq!(pair.client.take_message(call).unwrap(), &b"a"[..]);
        pair.client.want(call, 1);
        assert_eq!(pair.status(call).code, code::OK);
        pair.client.forget(call);
    }
}

#[test]
fn room_is_what_the_peers_limit_leaves_and_its_turnover_tells_when_to_look() {
    let mut pair = Pair::with(&Settings { max_concurrent_streams: 2, ..Settings::default() });
    pair.settle(); // the limit is known now
    assert_eq!(pair.client.room(), 2);
    let calls: Vec<Key> = (0..3).map(|_| pair.unary(b"q")).collect();
    let served = pair.settle();
    assert_eq!((pair.client.room(), served.len()), (0, 2));
    let before = pair.client.turnover();
    pair.client.cancel(calls[2], Status::new(code::CANCELLED, "it only waited"));
    assert_eq!((pair.client.room(), pair.client.turnover()), (0, before));
    pair.reply(served[0], b"a");
    pair.settle();
    assert_eq!(pair.client.room(), 1);
    assert_ne!(pair.client.turnover(), before);
    pair.server.shut_down();
    pair.settle();
    assert_eq!(pair.client.room(), 0, "a connection that is going away takes no calls");
}

/// Answers with metadata of that size, where the client takes 1,000 bytes; what the call ends with, on both sides.
fn answered_with_metadata(size: usize, in_head: bool, in_trailers: bool) -> (Status, Option<i32>, Pair) {
    let narrow = Settings { max_header_list_size: 1000, ..Settings::default() };
    let now = Instant::now();
    let server = Connection::server(&Settings::default(), LIMIT, now);
    let mut pair = Pair { client: Connection::client(&narrow, LIMIT, "test".into(), now), server, now };
    let call = pair.unary(b"q");
    let [served] = pair.settle()[..] else { panic!("one call") };
    let (mut head, mut trailers) = (head(), trailers(0, ""));
    let big = "x".repeat(size);
    if in_head {
        head.push("x-big", &big);
    }
    if in_trailers {
        trailers.push("x-big", &big);
    }
    pair.server.respond(served, head);
    pair.server.send(served, framed(b"a"), false);
    pair.server.finish(served, trailers);
    pair.settle();
    let told = pair.server.call(served).and_then(|call| call.finished.as_ref()).map(|status| status.code);
    (pair.status(call), told, pair)
}

#[test]
fn an_answer_with_more_metadata_than_the_client_takes_fails_its_call_with_a_clear_status() {
    for (in_head, in_trailers) in [(true, false), (false, true)] {
        let (status, told, mut pair) = answered_with_metadata(2000, in_head, in_trailers);
        assert_eq!(status.code, code::RESOURCE_EXHAUSTED);
        assert!(status.message.contains("the answer's metadata are larger than the client takes"), "{status:?}");
        assert_eq!(told, in_head.then_some(code::RESOURCE_EXHAUSTED), "what the handler still sends goes nowhere");
        assert_eq!(pair.client.counters().malformed, 0);
        let next = pair.unary(b"q");
        let [served] = pair.settle()[..] else { panic!("the connection goes on") };
        pair.reply(served, b"a");
        pair.settle();
        assert_eq!(pair.status(next).code, code::OK);
        let (status, ..) = answered_with_metadata(700, in_head, in_trailers);
        assert_eq!(status.code, code::OK);
    }
}

#[test]
fn calls_that_outlive_their_connection_are_counted_once_with_it() {
    let mut pair = Pair::new();
    let _call = pair.unary(b"q");
    let [served] = pair.settle()[..] else { panic!("one call") };
    assert_eq!((pair.server.tally().started, pair.server.tally().failed), (1, 0));
    pair.server.feed_eof();
    pair.server.advance();
    assert_eq!(pair.server.tally().failed, 1, "its handler still has it");
    pair.server.forget(served);
    assert_eq!(pair.server.tally().failed, 1);
}
