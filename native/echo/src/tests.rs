//! The protocol alone, without sockets.

use std::time::{Duration, Instant};

use proxyless_core::grpc::status::{Status, code};
use proxyless_core::http2::Outbox;
use proxyless_drive::protocol::Protocol;

use crate::Connection;

fn pass(from: &mut Connection, to: &mut Connection, now: Instant) {
    let (mut out, mut bytes) = (Outbox::default(), Vec::new());
    from.take_output(&mut out);
    out.write_to(&mut bytes);
    for byte in bytes {
        to.feed(&[byte], now);
    }
}

fn pair() -> (Connection, Connection, Instant) {
    (Connection::new(true), Connection::new(false), Instant::now())
}

#[test]
fn calls_are_answered_in_any_order() {
    let (mut client, mut server, now) = pair();
    let keys = [client.start(b"a", None, now), client.start(b"b", None, now)];
    pass(&mut client, &mut server, now);
    let mut accepted = server.take_accepted();
    accepted.reverse();
    for key in accepted {
        let asked = server.call(key).and_then(|call| call.payload.clone()).unwrap();
        server.reply(key, &asked);
    }
    pass(&mut server, &mut client, now);
    assert_eq!(client.take_changed(), [keys[1], keys[0]]);
    let answers = keys.map(|key| client.take_outcome(key).payload.unwrap());
    assert_eq!(answers, [&b"a"[..], &b"b"[..]]);
}

#[test]
fn a_deadline_ends_the_call_on_both_sides() {
    let (mut client, mut server, now) = pair();
    let late = now + Duration::from_secs(1);
    let key = client.start(b"a", Some(late), now);
    pass(&mut client, &mut server, now);
    assert_eq!(server.next_deadline(), Some(late));
    client.expire(late);
    server.expire(late);
    assert_eq!(client.outcome(key).status.code, code::DEADLINE_EXCEEDED);
    let [changed] = server.take_changed()[..] else { panic!("one call has changed") };
    assert_eq!(server.outcome(changed).status.code, code::DEADLINE_EXCEEDED);
}

#[test]
fn who_goes_away_ends_after_the_last_call() {
    let (mut client, mut server, now) = pair();
    let key = client.start(b"a", None, now);
    pass(&mut client, &mut server, now);
    server.shut_down();
    pass(&mut server, &mut client, now);
    assert!(!client.usable() && client.ended().is_none());
    let [accepted] = server.take_accepted()[..] else { panic!("one call came") };
    server.fail(accepted, &Status::new(code::INTERNAL, "broken"));
    pass(&mut server, &mut client, now);
    assert!(client.ended().is_some() && server.ended().is_some());
    assert_eq!(client.outcome(key).status.message, "broken");
}

#[test]
fn what_is_another_protocol_ends_the_connection() {
    let (mut client, _, now) = pair();
    let key = client.start(b"a", None, now);
    client.feed(b"HTTP", now);
    assert_eq!(client.outcome(key).status.code, code::UNAVAILABLE);
}
