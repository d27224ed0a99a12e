//! Ours and h2's at the same end of the same bytes: what the application hears and what the peer is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proxyless_core::http2::{self, Headers, Key, Settings, code};

use super::by_h2;
use super::endpoint::Endpoint;
use super::random::Random;
use super::wire::{self, Frame};

type Fields = Vec<(String, String)>;

/// What the application hears of one stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub path: String,
    /// `:status` of a response; nothing of a request.
    pub status: String,
    pub head: Option<Fields>,
    pub body: Body,
    pub ended: bool,
    pub trailers: Option<Fields>,
    /// The code that broke it, and whether it may be sent again.
    pub broken: Option<(Option<u32>, bool)>,
}

#[derive(Default, PartialEq, Eq)]
pub struct Body(Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What the peer is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// By stream: the code of its reset.
    pub resets: BTreeMap<Key, u32>,
    pub goaway: Option<u32>,
    pub pongs: usize,
    pub settings_acknowledged: usize,
}

pub struct Twin<E> {
    pub endpoint: E,
    pub heard: BTreeMap<Key, Heard>,
    output: Vec<u8>,
}

fn text(headers: &Headers, name: &str) -> String {
    headers.get(name).unwrap_or_default().escape_ascii().to_string()
}

fn sorted(headers: &Headers) -> Fields {
    let mut fields: Fields =
        headers.fields().map(|(name, value)| (name.to_owned(), value.escape_ascii().to_string())).collect();
    fields.sort();
    fields
}

impl<E: Endpoint> Twin<E> {
    fn new(endpoint: E) -> Self {
        Self { endpoint, heard: BTreeMap::new(), output: Vec::new() }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.endpoint.feed(bytes);
        for _ in 0..3 {
            for (key, head) in self.endpoint.advance() {
                let path = text(&head, ":path");
                self.heard.insert(key, Heard { path, head: Some(sorted(&head)), ..Heard::default() });
            }
            for (&key, heard) in &mut self.heard {
                listen(&mut self.endpoint, key, heard);
            }
            self.output.append(&mut self.endpoint.output());
        }
    }

    pub fn told(&self) -> Told {
        let mut told = Told::default();
        for frame in self.frames() {
            match frame.kind {
                wire::RST_STREAM => _ = told.resets.insert(frame.stream, frame.code()),
                wire::GOAWAY => told.goaway = Some(frame.code()),
                wire::PING if frame.flags & wire::ACK != 0 => told.pongs += 1,
                wire::SETTINGS if frame.flags & wire::ACK != 0 => told.settings_acknowledged += 1,
                _ => {}
            }
        }
        told
    }

    pub fn frames(&self) -> Vec<Frame> {
        wire::parse(self.output.strip_prefix(wire::PREFACE).unwrap_or(&self.output))
    }
}

fn listen(endpoint: &mut impl Endpoint, key: Key, heard: &mut Heard) {
    let Some(view) = endpoint.view(key) else { return };
    if let Some(head) = view.head.take() {
        heard.status = text(&head, ":status");
        heard.head = Some(sorted(&head));
    }
    heard.body.0.extend_from_slice(&view.body.split());
    heard.ended |= view.ended;
    if let Some(trailers) = view.trailers.take() {
        heard.trailers = Some(sorted(&trailers));
    }
    if heard.broken.is_none() {
        heard.broken = view.broken.as_ref().map(|broken| (broken.code, broken.unprocessed));
    }
    endpoint.release(key, 0);
}

pub struct Twins {
    pub ours: Twin<http2::Connection>,
    pub theirs: Twin<by_h2::Connection>,
}

impl Twins {
    pub fn servers() -> Self {
        Self { ours: Twin::new(server()), theirs: Twin::new(server()) }
    }

    pub fn clients() -> Self {
        Self { ours: Twin::new(client()), theirs: Twin::new(client()) }
    }

    /// Sends what waits to be sent.
    pub fn settle(&mut self) {
        self.ours.feed(&[]);
        self.theirs.feed(&[]);
    }

    /// The same bytes to both, in the same pieces.
    pub fn feed(&mut self, random: &mut Random, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if random.once_in(2) { rest.len() } else { 50 };
            let (piece, others) = rest.split_at(random.size(most).min(rest.len()));
            rest = others;
            self.ours.feed(piece);
            self.theirs.feed(piece);
            self.ours.endpoint.assert_sound();
        }
    }

    /// Both went the same way: the same streams with the same ends, or the same error.
    pub fn compare(&self, what: &str) {
        let (our_end, their_end) = (self.ours.endpoint.ended(), self.theirs.endpoint.ended());
        assert_eq!(our_end.is_some(), their_end.is_some(), "{what:?}: ours {our_end:?}, theirs {their_end:?}");
        assert_eq!(self.ours.endpoint.usable(), self.theirs.endpoint.usable(), "{what:?}: usable");
        let (ours, mut theirs) = (self.ours.told(), self.theirs.told());
        let specific = [code::FRAME_SIZE_ERROR, code::FLOW_CONTROL_ERROR, code::COMPRESSION_ERROR];
        if theirs.goaway == Some(code::PROTOCOL_ERROR) && ours.goaway.is_some_and(|code| specific.contains(&code)) {
            theirs.goaway = ours.goaway; // what h2 cannot parse is a protocol error to it, whatever it is
        }
        // Who was told to go and is done just goes; h2 says that it does.
        let wrong = |goaway: Option<u32>| goaway.filter(|code| *code != code::NO_ERROR);
        let (ours_wrong, theirs_wrong) = (wrong(ours.goaway), wrong(theirs.goaway));
        assert_eq!(ours_wrong, theirs_wrong, "{what:?}: ours {our_end:?}, theirs {their_end:?}");
        if our_end.is_none() {
            let streams: BTreeSet<_> = self.ours.heard.keys().chain(self.theirs.heard.keys()).collect();
            for key in streams {
                assert_eq!(self.ours.heard.get(key), self.theirs.heard.get(key), "{what:?}: stream {key}");
            }
            assert_eq!(ours, theirs, "{what:?}");
        }
    }
}

fn server<E: Endpoint>() -> E {
    E::server(&Settings::default())
}

fn client<E: Endpoint>() -> E {
    E::client(&Settings::default())
}
