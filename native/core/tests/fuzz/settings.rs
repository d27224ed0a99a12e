//! Sequences of SETTINGS between requests and answers: legal ones move windows and frames as a model says, and end as
//! with h2; one that is illegal ends the connection with the code that h2 gives it.

use std::collections::BTreeMap;

use proxyless_core::http2::{Headers, Key, code};

use super::endpoint::Endpoint;
use super::fuzz;
use super::random::Random;
use super::twins::{Twin, Twins};
use super::wire::*;

const FRAME_SIZES: std::ops::RangeInclusive<u32> = 16_384..=(1 << 24) - 1;

/// What a client has said, and what it may be sent therefore.
struct Peer {
    initial_window: i64,
    max_frame: usize,
    streams: BTreeMap<Key, Stream>,
    acknowledged: bool,
    /// Frames of ours that were looked at.
    seen: usize,
}

struct Stream {
    /// Of all that is ever sent.
    allowed: i64,
    given: i64,
    /// The most of it that was allowed so far: what is out stays out.
    due: i64,
    sent: i64,
    begun: bool,
}

impl Peer {
    fn new() -> Self {
        Self { initial_window: 65_535, max_frame: 16_384, streams: BTreeMap::new(), acknowledged: false, seen: 0 }
    }

    /// Some entries, the same twice now and then, in any order.
    fn settings(&mut self, random: &mut Random) -> Vec<u8> {
        let mut payload = Vec::new();
        for _ in 0..random.below(6) {
            let (name, value) = match random.below(7) {
                0 => (1, *random.pick(&[0, 1, 31, 64, 4095, 4096, 4097, 65_536, u32::MAX])),
                1 => (2, random.below(2) as u32),
                2 => (3, *random.pick(&[0, 1, 100, u32::MAX])),
                3 => (4, random.size(1 << 20) as u32),
                4 => (5, FRAME_SIZES.start() + random.size((FRAME_SIZES.end() - FRAME_SIZES.start()) as usize) as u32),
                5 => (6, 65_536 + random.size(1 << 20) as u32),
                // Known to us by no name; 8 has a meaning to h2.
                _ => (9 + random.below(1000) as u16, random.number() as u32),
            };
            if name == 4 {
                let by = i64::from(value) - self.initial_window;
                self.initial_window = i64::from(value);
                self.streams.values_mut().for_each(|stream| stream.allowed += by);
            }
            if name == 5 {
                self.max_frame = value as usize;
            }
            payload.extend(u16::to_be_bytes(name));
            payload.extend(value.to_be_bytes());
        }
        frame(SETTINGS, 0, 0, &payload)
    }

    fn traffic(&mut self, random: &mut Random) -> Vec<u8> {
        let keys: Vec<Key> = self.streams.keys().copied().collect();
        match random.below(4) {
            0 if !self.acknowledged => {
                self.acknowledged = true;
                frame(SETTINGS, ACK, 0, &[])
            }
            1 if !keys.is_empty() => {
                let (key, by) = (*random.pick(&keys), 1 + random.size(1 << 16) as u32);
                self.streams.entry(key).and_modify(|stream| stream.allowed += i64::from(by));
                frame(WINDOW_UPDATE, 0, key, &by.to_be_bytes())
            }
            _ => {
                let key = keys.last().map_or(1, |last| last + 2);
                self.streams
                    .insert(key, Stream { allowed: self.initial_window, given: 0, due: 0, sent: 0, begun: false });
                frame(HEADERS, END_HEADERS, key, &block(&REQUEST))
            }
        }
    }

    /// What may go out has gone out, and nothing else, in frames that the client takes.
    fn check(&mut self, ours: &Twin<proxyless_core::http2::Connection>) {
        let frames = ours.frames();
        for data in frames[self.seen..].iter().filter(|frame| frame.kind == DATA) {
            assert!(data.payload.len() <= self.max_frame, "{} in a frame of {}", data.payload.len(), self.max_frame);
            self.streams.entry(data.stream).and_modify(|stream| stream.sent += data.payload.len() as i64);
        }
        self.seen = frames.len();
        for (key, stream) in &mut self.streams {
            stream.due = stream.due.max(stream.given.min(stream.allowed));
            assert_eq!(stream.sent, stream.due, "stream {key}");
        }
    }
}

/// The whole of a slip, by name.
fn slip(random: &mut Random) -> (&'static str, Vec<u8>) {
    let entry = |name: u16, value: u32| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let said = |payload: Vec<u8>| frame(SETTINGS, 0, 0, &payload);
    match random.below(9) {
        0 => ("odd length", said(vec![0; 1 + random.below(5)])),
        1 => ("on a stream", frame(SETTINGS, 0, 1, &entry(3, 1))),
        2 => ("acknowledged with payload", frame(SETTINGS, ACK, 0, &entry(3, 1))),
        3 => ("acknowledged too often", frame(SETTINGS, ACK, 0, &[]).repeat(2)),
        4 => ("push neither on nor off", said(entry(2, 2 + random.below(9) as u32))),
        5 => ("a window over all bounds", said(entry(4, (1 << 31) + random.below(9) as u32))),
        6 => ("frames too small", said(entry(5, random.below(16_384) as u32))),
        7 => ("frames too large", said(entry(5, (1 << 24) + random.below(9) as u32))),
        _ => ("good, then bad", said([entry(4, 10), entry(5, 0), entry(4, 20)].concat())),
    }
}

fn answer(endpoint: &mut impl Endpoint, key: Key, begins: bool, length: usize) {
    if begins {
        endpoint.respond(key, 200, &[("x-a", "b")].into_iter().collect::<Headers>(), false);
    }
    endpoint.send(key, vec![0; length], false);
}

#[test]
fn settings_mean_the_same_to_servers() {
    fuzz("settings", |random| {
        let (mut twins, mut peer) = (Twins::servers(), Peer::new());
        let greeting = [PREFACE, &peer.settings(random)].concat();
        twins.feed(random, &greeting);
        // So that streams' windows alone matter.
        twins.feed(random, &frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()));
        let mut slipped = "";
        for _ in 0..random.below(40) {
            match random.below(8) {
                0..=2 => {
                    let said = peer.settings(random);
                    twins.feed(random, &said);
                }
                3..=4 => {
                    let said = peer.traffic(random);
                    twins.feed(random, &said);
                }
                5..=6 => {
                    let keys: Vec<Key> = peer.streams.keys().copied().collect();
                    if !keys.is_empty() {
                        let (key, length) = (*random.pick(&keys), random.size(50_000));
                        let stream = peer.streams.get_mut(&key).expect("a stream");
                        let begins = !std::mem::replace(&mut stream.begun, true);
                        stream.given += length as i64;
                        answer(&mut twins.ours.endpoint, key, begins, length);
                        answer(&mut twins.theirs.endpoint, key, begins, length);
                    }
                }
                _ if random.once_in(4) => {
                    let (name, said) = slip(random);
                    slipped = name;
                    twins.feed(random, &said);
                    break;
                }
                _ => {}
            }
            twins.settle();
            peer.check(&twins.ours);
        }
        twins.feed(random, &frame(PING, 0, 0, b"the last"));
        assert_eq!(twins.ours.endpoint.ended().is_some(), !slipped.is_empty(), "{slipped:?}");
        let codes = [code::FRAME_SIZE_ERROR, code::PROTOCOL_ERROR, code::FLOW_CONTROL_ERROR];
        assert!(slipped.is_empty() || twins.ours.told().goaway.is_some_and(|code| codes.contains(&code)));
        twins.compare(slipped);
    });
}
