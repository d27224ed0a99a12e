//! The same bytes into our end and into h2's: both take the same requests, answers and bodies, tell the peer the same, and
//! a slip ends the same, with the same code.

use std::sync::Arc;

use proxyless_core::http2::{Headers, Template, code};

use super::endpoint::Endpoint;
use super::frames::Client;
use super::fuzz;
use super::random::Random;
use super::responses::Server;
use super::twins::{Heard, Twin, Twins};
use super::wire;

/// Where ours differs on purpose, by the slip, and the code of the reset that the standard wants. h2 ends the connection
/// over most of these, invents a path where there is none, and does not mind a server's `:path` or 101.
const DIFFERENT: &[(&str, u32)] = &[
    ("window update by nothing", code::PROTOCOL_ERROR),
    ("capitals", code::PROTOCOL_ERROR),
    ("data behind the end", code::STREAM_CLOSED),
    // of a client
    ("an unknown pseudo-header", code::PROTOCOL_ERROR),
    ("no path", code::PROTOCOL_ERROR),
    // of a server
    ("no status", code::PROTOCOL_ERROR),
    ("a status that is no number", code::PROTOCOL_ERROR),
    ("a request's field", code::PROTOCOL_ERROR),
    ("a new line", code::PROTOCOL_ERROR),
    ("switching protocols", code::PROTOCOL_ERROR),
    ("an interim response that ends", code::PROTOCOL_ERROR),
    ("data before the head", code::PROTOCOL_ERROR),
    ("less than content-length", code::PROTOCOL_ERROR),
    ("a window that overflows", code::FLOW_CONTROL_ERROR),
    ("trailers with a status", code::PROTOCOL_ERROR),
];
/// h2 does not mind it; the standard calls it a connection error (section 6.5.2).
const PUSHES: &str = "a server that pushes";

fn judge(twins: &Twins, slip: &str) {
    let ours = twins.ours.told();
    if let Some((_, code)) = DIFFERENT.iter().find(|(name, _)| *name == slip) {
        assert!(gone(twins) || ours.resets.values().any(|told| told == code), "{slip:?}: {ours:?}");
        assert_eq!(ours.goaway, None, "{slip:?}: others go on");
    } else if slip == PUSHES {
        assert!(gone(twins) || ours.goaway == Some(code::PROTOCOL_ERROR), "{slip:?}: {ours:?}");
    } else if slip.is_empty() || !gone(twins) {
        twins.compare(slip);
    }
}

/// The server had said that it leaves, and nothing was left to do: what comes then need not be heard.
fn gone(twins: &Twins) -> bool {
    twins.ours.endpoint.ended() == Some("the peer is going away")
        || twins.theirs.endpoint.ended() == Some("the peer closed the connection")
}

#[test]
fn the_same_bytes_mean_the_same_to_servers() {
    fuzz("parity", |random| {
        let mut twins = Twins::servers();
        let mut client = Client::new();
        let greeting = Client::greeting(random);
        let slip = converse(random, &mut twins, greeting, &mut client, Client::proper, Client::slip);
        judge(&twins, slip);
    });
}

#[test]
fn the_same_bytes_mean_the_same_to_clients() {
    fuzz("client_parity", |random| {
        let mut twins = Twins::clients();
        let calls = 1 + random.below(6);
        for _ in 0..calls {
            let (whole, length) = (random.once_in(2), random.size(500));
            call(&mut twins.ours, length, whole);
            call(&mut twins.theirs, length, whole);
        }
        twins.settle(); // h2 takes no answer to what it has not sent
        let mut server = Server::new(calls as u32);
        let greeting = wire::frame(wire::SETTINGS, 0, 0, &[]);
        let slip = converse(random, &mut twins, greeting, &mut server, Server::proper, Server::slip);
        judge(&twins, slip);
    });
}

fn call<E: Endpoint>(twin: &mut Twin<E>, length: usize, whole: bool) {
    let template = Arc::new(Template::new(wire::REQUEST.into_iter().collect()));
    let key = twin.endpoint.open(&template, &Headers::new());
    twin.endpoint.send(key, vec![0; length], whole);
    twin.heard.insert(key, Heard::default());
}

/// A peer that keeps to the rules, but for one slip sometimes, which is returned.
fn converse<P>(
    random: &mut Random,
    twins: &mut Twins,
    greeting: Vec<u8>,
    peer: &mut P,
    proper: impl Fn(&mut P, &mut Random) -> Vec<u8>,
    slip: impl Fn(&mut P, &mut Random) -> (&'static str, Vec<u8>),
) -> &'static str {
    let mut slipped = "";
    let mut said = greeting;
    let rounds = random.below(40);
    for round in 0..=rounds {
        let last = round == rounds && random.once_in(2);
        if slipped.is_empty() && (last || random.once_in(30)) {
            let (name, bytes) = slip(peer, random);
            slipped = name;
            said.extend(bytes);
        } else {
            said.extend(proper(peer, random));
        }
    }
    // The end of everything that came before shows.
    said.extend(wire::frame(wire::PING, 0, 0, b"the last"));
    twins.feed(random, &said);
    slipped
}
