//! What a server sends that keeps to the rules, but for one slip sometimes.

use super::frames;
use super::random::Random;
use super::wire::*;

const OK: (&str, &str) = (":status", "200");

/// How far the answer on a stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    Body,
    Over,
}

pub struct Server {
    /// By stream, from 1 in steps of two: what the client has asked.
    streams: Vec<At>,
    /// The last stream that it takes.
    last: u32,
}

impl Server {
    pub fn new(calls: u32) -> Self {
        Self { streams: vec![At::Head; calls as usize], last: u32::MAX >> 1 }
    }

    fn some(&self, random: &mut Random, at: At) -> Option<u32> {
        let all: Vec<u32> =
            (0..).step_by(2).zip(&self.streams).filter(|(_, is)| **is == at).map(|(n, _)| n + 1).collect();
        all.get(random.below(all.len())).copied()
    }

    fn set(&mut self, stream: u32, at: At) {
        self.streams[stream as usize / 2] = at;
    }

    /// The next frames, by the rules.
    pub fn proper(&mut self, random: &mut Random) -> Vec<u8> {
        match (random.below(14), self.some(random, At::Head), self.some(random, At::Body)) {
            (0, Some(stream), _) => {
                let status = *random.pick(&["100", "103"]);
                frame(HEADERS, END_HEADERS, stream, &block(&[(":status", status), ("link", "x")]))
            }
            (1..=3, Some(stream), _) => self.head(random, stream),
            (4..=7, _, Some(stream)) => self.data(random, stream),
            (8, _, Some(stream)) => {
                self.set(stream, At::Over);
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("grpc-status", "0")]))
            }
            (9, _, Some(stream)) => {
                self.set(stream, At::Over);
                let code = *random.pick(&[0, 1, 2, 7, 8, 0xb, 0xdead]);
                frame(RST_STREAM, 0, stream, &u32::to_be_bytes(code))
            }
            (10, ..) => frame(0x42, random.number() as u8, random.below(9) as u32, b"unknown"),
            (11, ..) => frame(PING, 0, 0, &random.number().to_be_bytes()),
            (12, Some(stream), _) | (12, _, Some(stream)) => {
                frame(WINDOW_UPDATE, 0, stream, &(1 + random.below(1000) as u32).to_be_bytes())
            }
            (13, ..) if self.last > 1 => {
                // It leaves: the later ones of these calls were not taken. What it has answered, it took.
                let answered = self.streams.iter().rposition(|at| *at != At::Head).map_or(0, |at| 2 * at as u32 + 1);
                self.last = *random.pick(&[1, 3, 5, 127].map(|last: u32| last.max(answered).min(self.last)));
                self.streams.iter_mut().skip(self.last as usize / 2 + 1).for_each(|at| *at = At::Over);
                // Without an error: with one, h2 gives up the others as well.
                frame(GOAWAY, 0, 0, &[self.last.to_be_bytes(), [0; 4]].concat())
            }
            _ => match random.below(4) {
                0 => frame(PRIORITY, 0, 99, &[0, 0, 0, 1, 7]),
                1 => frame(WINDOW_UPDATE, 0, 0, &1000u32.to_be_bytes()),
                2 => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, random.number() as u8, 1]),
                _ => frame(SETTINGS, 0, 0, &[0, 9, 1, 2, 3, 4]),
            },
        }
    }

    fn head(&mut self, random: &mut Random, stream: u32) -> Vec<u8> {
        let end = random.once_in(4);
        self.set(stream, if end { At::Over } else { At::Body });
        let status = *random.pick(&["200", "200", "404", "503"]);
        let mut fields = vec![(":status", status), ("content-type", "application/grpc")];
        if random.once_in(2) {
            fields.push(("x-more", "again and again"));
        }
        let (mut payload, mut flags) = (block(&fields), u8::from(end) * END_STREAM);
        if random.once_in(5) {
            flags |= PADDED;
            payload = [&[3], &payload[..], &[0; 3]].concat();
        } else if random.once_in(4) {
            let rest = payload.split_off(random.below(payload.len()));
            return [frame(HEADERS, flags, stream, &payload), frame(CONTINUATION, END_HEADERS, stream, &rest)].concat();
        }
        frame(HEADERS, flags | END_HEADERS, stream, &payload)
    }

    fn data(&mut self, random: &mut Random, stream: u32) -> Vec<u8> {
        let end = random.once_in(5);
        if end {
            self.set(stream, At::Over);
        }
        frames::data(random, stream, end)
    }

    /// A slip, by name; one that needs a stream takes one whose head has not come.
    pub fn slip(&mut self, random: &mut Random) -> (&'static str, Vec<u8>) {
        let idle = 2 * self.streams.len() as u32 + 51;
        match self.some(random, At::Head) {
            Some(stream) if random.once_in(2) => {
                self.set(stream, At::Over);
                stream_slip(random, stream)
            }
            _ => connection_slip(random, idle),
        }
    }
}

fn stream_slip(random: &mut Random, stream: u32) -> (&'static str, Vec<u8>) {
    let head = frame(HEADERS, END_HEADERS, stream, &block(&[OK]));
    let then = |more: Vec<u8>| [head.clone(), more].concat();
    let bad = |fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS, stream, &block(fields));
    let with = |name, value| bad(&[OK, (name, value)]);
    let lengthy = |length| frame(HEADERS, END_HEADERS, stream, &block(&[OK, ("content-length", length)]));
    match random.below(23) {
        0 => ("no status", bad(&[("x", "y")])),
        1 => ("two statuses", bad(&[OK, OK])),
        2 => ("a status that is no number", bad(&[(":status", "ok")])),
        3 => ("a request's field", with(":path", "/")),
        4 => ("a field of HTTP/1.1", with("transfer-encoding", "chunked")),
        5 => ("capitals", with("Big", "1")),
        6 => ("a new line", with("x", "1\r\ny: 2")),
        7 => ("switching protocols", bad(&[(":status", "101")])),
        8 => ("an interim response that ends", frame(HEADERS, END_HEADERS | 1, stream, &block(&[(":status", "100")]))),
        9 => ("data before the head", frame(DATA, 0, stream, b"x")),
        10 => ("a head inside the body", then(bad(&[("x", "y")]))),
        11 => ("more than content-length", [lengthy("1"), frame(DATA, 0, stream, b"xy")].concat()),
        12 => ("less than content-length", [lengthy("3"), frame(DATA, END_STREAM, stream, b"xy")].concat()),
        13 => ("window update by nothing", frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
        14 => ("a window that overflows", frame(WINDOW_UPDATE, 0, stream, &[0x7f, 255, 255, 255]).repeat(2)), // it may be below zero
        15 => {
            ("a stream that depends on itself", frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat()))
        }
        16 => {
            ("data behind the end", then([frame(DATA, END_STREAM, stream, b""), frame(DATA, 0, stream, b"x")].concat()))
        }
        17 => {
            let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            ("data behind the reset", then([reset, frame(DATA, 0, stream, b"x")].concat()))
        }
        18 => {
            ("an interrupted header block", [frame(HEADERS, 0, stream, &[0x88]), frame(PING, 0, 0, &[0; 8])].concat())
        }
        19 => ("more padding than frame", then(frame(DATA, PADDED, stream, &[9, 0]))),
        20 => ("a promise", frame(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x88])),
        21 => ("a block that is none", frame(HEADERS, END_HEADERS, stream, &[0xff; 6])),
        _ => ("trailers with a status", then(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[OK])))),
    }
}

fn connection_slip(random: &mut Random, idle: u32) -> (&'static str, Vec<u8>) {
    let settings = |entry: &[u8]| frame(SETTINGS, 0, 0, entry);
    match random.below(25) {
        0 => ("data on stream 0", frame(DATA, 0, 0, b"x")),
        1 => ("data on an idle stream", frame(DATA, 0, idle, b"x")),
        2 => ("headers on stream 0", frame(HEADERS, END_HEADERS, 0, &block(&[OK]))),
        3 => ("headers on an idle stream", frame(HEADERS, END_HEADERS, idle, &block(&[OK]))),
        4 => ("a stream of the server's", frame(HEADERS, END_HEADERS, 2, &block(&[OK]))),
        5 => ("a frame that is too large", frame(DATA, 0, 1, &vec![0; 200_000])),
        6 => ("a reset of another length", frame(RST_STREAM, 0, 1, &[0; 3])),
        7 => ("a reset on stream 0", frame(RST_STREAM, 0, 0, &[0; 4])),
        8 => ("a reset of an idle stream", frame(RST_STREAM, 0, idle, &[0; 4])),
        9 => ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        10 => ("settings of odd length", settings(&[0; 5])),
        11 => ("settings acknowledged with payload", frame(SETTINGS, ACK, 0, &[0; 6])),
        12 => ("a server that pushes", settings(&[0, 2, 0, 0, 0, 1])),
        13 => ("a window over all bounds", settings(&[0, 4, 0xff, 0, 0, 0])),
        14 => ("frames of no size", settings(&[0, 5, 0, 0, 0, 0])),
        15 => ("a ping of another length", frame(PING, 0, 0, &[0; 6])),
        16 => ("a ping on a stream", frame(PING, 0, 1, &[0; 8])),
        17 => ("goaway on a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        18 => ("goaway that is cut", frame(GOAWAY, 0, 0, &[0; 7])),
        19 => ("connection window update by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        20 => ("connection window overflow", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255])),
        21 => ("window update of an idle stream", frame(WINDOW_UPDATE, 0, idle, &[0, 0, 0, 1])),
        22 => ("continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &[])),
        23 => ("priority on stream 0", frame(PRIORITY, 0, 0, &[0; 5])),
        _ => ("a promise on stream 0", frame(PUSH_PROMISE, END_HEADERS, 0, &[0, 0, 0, 2, 0x88])),
    }
}
