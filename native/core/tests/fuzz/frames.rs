//! What a client sends that keeps to the rules, but for one slip sometimes.

use super::random::Random;
use super::wire::*;

/// A client that keeps to the rules, but for one slip sometimes.
pub struct Client {
    next: u32,
    open: Vec<u32>,
    ended: Vec<u32>,
}

impl Client {
    pub fn new() -> Self {
        Self { next: 1, open: Vec::new(), ended: Vec::new() }
    }

    pub fn greeting(random: &mut Random) -> Vec<u8> {
        let mut settings = Vec::new();
        if random.once_in(3) {
            settings.extend([0, 4]);
            settings.extend((random.size(1 << 20) as u32).to_be_bytes());
        }
        [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
    }

    /// The next frames, by the rules.
    pub fn proper(&mut self, random: &mut Random) -> Vec<u8> {
        let stream = if self.open.is_empty() { None } else { Some(random.below(self.open.len())) };
        match (random.below(12), stream) {
            (0..=2, _) | (_, None) => {
                let end = random.once_in(3);
                let stream = self.next;
                self.next += 2 * (1 + random.below(2) as u32);
                if end {
                    self.ended.push(stream)
                } else {
                    self.open.push(stream)
                }
                request(random, stream, end)
            }
            (3..=6, Some(at)) => {
                let stream = self.open[at];
                let end = random.once_in(4);
                if end {
                    self.ended.push(self.open.remove(at));
                }
                data(random, stream, end)
            }
            (7, Some(at)) => {
                let stream = self.open.remove(at);
                self.ended.push(stream);
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-end", "1")]))
            }
            (8, Some(at)) => {
                let stream = self.open.remove(at);
                self.ended.push(stream);
                frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
            }
            (9, _) => frame(0x42, random.number() as u8, random.below(9) as u32, b"unknown"),
            (10, Some(at)) => frame(WINDOW_UPDATE, 0, self.open[at], &(1 + random.below(1000) as u32).to_be_bytes()),
            _ => match random.below(3) {
                0 => frame(PRIORITY, 0, self.next + 100, &[0, 0, 0, 1, 7]),
                1 => frame(WINDOW_UPDATE, 0, 0, &1000u32.to_be_bytes()),
                _ => frame(SETTINGS, 0, 0, &[0, 9, 1, 2, 3, 4]),
            },
        }
    }

    /// A slip, by name. One that needs a stream opens it first.
    pub fn slip(&mut self, random: &mut Random) -> (&'static str, Vec<u8>) {
        let fresh = self.next;
        self.next += 2;
        if random.once_in(2) { connection_slip(random, fresh) } else { self.stream_slip(random, fresh) }
    }

    fn stream_slip(&mut self, random: &mut Random, fresh: u32) -> (&'static str, Vec<u8>) {
        let opened = request(random, fresh, false);
        let over = self.ended.last().copied();
        let then = |more: Vec<u8>| [opened.clone(), more].concat();
        let bad = |fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, fresh, &block(fields));
        let with = |extra: (&'static str, &'static str)| bad(&[&REQUEST[..], &[extra]].concat());
        match random.below(21) {
            0 => ("too much padding", then(frame(DATA, PADDED, fresh, &[9, 1, 2]))),
            1 => ("window update by nothing", then(frame(WINDOW_UPDATE, 0, fresh, &[0; 4]))),
            2 => ("stream window overflow", then(frame(WINDOW_UPDATE, 0, fresh, &0x7fff_ffffu32.to_be_bytes()))),
            3 => ("reset of another length", then(frame(RST_STREAM, 0, fresh, &[0, 0, 8]))),
            4 => ("continuation of nothing", then(frame(CONTINUATION, END_HEADERS, fresh, &[]))),
            5 => {
                let half = frame(HEADERS, 0, fresh, &block(&REQUEST));
                ("an interrupted header block", [half, frame(DATA, 0, fresh, b"x")].concat())
            }
            6 => ("a promise", then(frame(PUSH_PROMISE, END_HEADERS, fresh, &[0, 0, 0, 2]))),
            7 => ("a block that is none", frame(HEADERS, END_HEADERS, fresh, &[0xff; 6])),
            8 => ("a frame that is too large", frame(DATA, 0, fresh, &vec![0; 200_000])),
            9 => ("headers too short for priority", frame(HEADERS, PRIORITIZED | END_HEADERS, fresh, &[0; 3])),
            10 => ("priority on stream 0", frame(PRIORITY, 0, 0, &[0; 5])),
            11 => ("capitals", with(("Big", "1"))),
            12 => ("connection", with(("connection", "close"))),
            13 => ("te", with(("te", "gzip"))),
            14 => ("an unknown pseudo-header", bad(&[&[(":new", "1")], &REQUEST[..]].concat())),
            15 => ("a pseudo-header behind", with((":path", "/b"))),
            16 => ("no path", bad(&[REQUEST[0], REQUEST[1]])),
            17 => ("a length and no body", with(("content-length", "5"))),
            18 => ("headers inside a body", then(frame(HEADERS, END_HEADERS, fresh, &block(&[("x", "y")])))),
            19 => match over {
                Some(over) => ("data behind the end", frame(DATA, 0, over, b"x")),
                None => ("nothing", Vec::new()),
            },
            _ => {
                let lengthy = [&REQUEST[..], &[("content-length", "1")]].concat();
                let head = frame(HEADERS, END_HEADERS, fresh, &block(&lengthy));
                ("more body than length", [head, frame(DATA, END_STREAM, fresh, b"xyz")].concat())
            }
        }
    }
}

fn connection_slip(random: &mut Random, fresh: u32) -> (&'static str, Vec<u8>) {
    match random.below(19) {
        0 => ("data on stream 0", frame(DATA, 0, 0, b"x")),
        1 => ("data on an idle stream", frame(DATA, 0, fresh + 50, b"x")),
        2 => ("headers on stream 0", frame(HEADERS, END_HEADERS, 0, &block(&REQUEST))),
        3 => ("an even stream", frame(HEADERS, END_HEADERS, fresh + 1, &block(&REQUEST))),
        4 => ("connection window update by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        5 => ("connection window overflow", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffffu32.to_be_bytes())),
        6 => ("window update of an idle stream", frame(WINDOW_UPDATE, 0, fresh + 50, &[0, 0, 0, 1])),
        7 => ("window update of another length", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])),
        8 => ("reset of an idle stream", frame(RST_STREAM, 0, fresh + 50, &[0, 0, 0, 8])),
        9 => ("reset on stream 0", frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])),
        10 => ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        11 => ("settings of odd length", frame(SETTINGS, 0, 0, &[1, 2, 3])),
        12 => ("settings acknowledged with payload", frame(SETTINGS, ACK, 0, &[0; 6])),
        13 => ("push neither on nor off", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        14 => ("a window over all bounds", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        15 => ("frames too small", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        16 => ("a short ping", frame(PING, 0, 0, &[0; 7])),
        17 => ("a ping on a stream", frame(PING, 0, 1, &[0; 8])),
        _ => ("goaway on a stream", frame(GOAWAY, 0, 1, &[0; 8])),
    }
}

fn request(random: &mut Random, stream: u32, end: bool) -> Vec<u8> {
    let path = format!("/{}", random.below(5));
    let mut fields = REQUEST.to_vec();
    fields[2].1 = &path;
    if random.once_in(2) {
        fields.push(("x-more", "again and again"));
    }
    let mut payload = block(&fields);
    let mut flags = u8::from(end) * END_STREAM;
    if random.once_in(5) {
        flags |= PRIORITIZED;
        payload.splice(0..0, [0, 0, 0, 0, 16]);
    }
    if random.once_in(5) {
        let cut = random.below(payload.len().min(20)).max(6);
        let rest = payload.split_off(cut);
        return [frame(HEADERS, flags, stream, &payload), frame(CONTINUATION, END_HEADERS, stream, &rest)].concat();
    }
    frame(HEADERS, flags | END_HEADERS, stream, &payload)
}

/// A DATA frame of some size, padded now and then.
pub fn data(random: &mut Random, stream: u32, end: bool) -> Vec<u8> {
    let length = random.size(900);
    let data = random.bytes(length);
    let end = u8::from(end) * END_STREAM;
    if random.once_in(4) {
        let padding = random.below(40);
        let payload = [&[padding as u8][..], &data, &vec![0; padding]].concat();
        return frame(DATA, PADDED | end, stream, &payload);
    }
    frame(DATA, end, stream, &data)
}
