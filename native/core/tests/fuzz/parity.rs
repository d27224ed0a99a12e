//! The same bytes into our server and into h2's: both take the same requests and bodies, and a slip ends the same.

use std::collections::BTreeMap;

use proxyless_core::http2::{Key, Settings, by_h2, connection};

use super::endpoint::Endpoint;
use super::frames::Client;
use super::fuzz;
use super::wire;

/// Where ours differs on purpose, by the slip. h2 ends the connection over these, or, without a path, invents one; to the
/// standard they are errors of the stream.
const DIFFERENT: &[&str] =
    &["capitals", "an unknown pseudo-header", "no path", "data behind the end", "window update by nothing"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    path: Vec<u8>,
    body: Vec<u8>,
    ended: bool,
    broken: bool,
}

struct Server<E> {
    endpoint: E,
    heard: BTreeMap<Key, Heard>,
}

impl<E: Endpoint> Server<E> {
    fn new() -> Self {
        Self { endpoint: E::server(&Settings::default()), heard: BTreeMap::new() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.endpoint.feed(bytes);
        for _ in 0..3 {
            let (accepted, _) = self.endpoint.advance();
            for (key, head) in accepted {
                let path = head.get(":path").unwrap_or_default().to_vec();
                self.heard.insert(key, Heard { path, ..Heard::default() });
            }
            for (&key, heard) in &mut self.heard {
                let Some(view) = self.endpoint.view(key) else { continue };
                heard.body.extend_from_slice(&view.body.split());
                heard.ended |= view.ended;
                heard.broken |= view.broken.is_some();
                self.endpoint.release(key, 0);
            }
            self.endpoint.output();
        }
    }
}

#[test]
fn the_same_bytes_mean_the_same() {
    fuzz("parity", |random| {
        let mut client = Client::new();
        let mut said = Client::greeting(random);
        let mut slip = "";
        for _ in 0..random.below(40) {
            if slip.is_empty() && random.once_in(30) {
                let (name, bytes) = client.slip(random);
                slip = name;
                said.extend(bytes);
            } else {
                said.extend(client.proper(random));
            }
        }
        if slip.is_empty() && random.once_in(2) {
            let (name, bytes) = client.slip(random);
            slip = name;
            said.extend(bytes);
        }
        // The end of everything that came before shows.
        said.extend(wire::frame(wire::PING, 0, 0, b"the last"));
        let (mut ours, mut theirs) = (Server::<connection::Connection>::new(), Server::<by_h2::Connection>::new());
        let mut rest = &said[..];
        while !rest.is_empty() {
            let most = if random.once_in(2) { rest.len() } else { 50 };
            let (piece, others) = rest.split_at(random.size(most).min(rest.len()));
            rest = others;
            ours.feed(piece);
            theirs.feed(piece);
            ours.endpoint.assert_sound();
        }
        if DIFFERENT.contains(&slip) {
            return;
        }
        let (our_end, their_end) = (ours.endpoint.ended(), theirs.endpoint.ended());
        assert_eq!(our_end.is_some(), their_end.is_some(), "{slip:?}: ours {our_end:?}, theirs {their_end:?}");
        if our_end.is_none() {
            assert_eq!(ours.heard, theirs.heard, "{slip:?}");
        }
    });
}
